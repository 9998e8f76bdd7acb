"""MARVELO's script ``fission_debug.py``, which shows the output of jobs, in terms of ``fission
NETWORK debug``.

In MARVELO each job listened at a TCP port of its own, 2000 less twice its id: ``--ip 192.168.4.2
--port 1996`` was job 2. Here the client of the running network passes on the output of its jobs, so
an address selects a node, and a port selects a job.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from fission.cli.table import Session, example
from fission.errors import UserError

#: A job's port in MARVELO is `FIRST_PORT` less `PORTS_PER_JOB` times its id.
FIRST_PORT, PORTS_PER_JOB = 2000, 2


@click.command(
    name="fission_debug.py",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("fission_debug.py --ip 192.168.4.2", "fission_debug.py --ip 192.168.4.2 --port 1996", "fission my_network debug"),
)
@click.argument("network", required=False, metavar="[NETWORK]")
@click.option("--ip", "ips", multiple=True, metavar="IP", help="Show the jobs on the node with this address. Repeatable.")
@click.option("--port", "ports", multiple=True, type=int, metavar="PORT", help="The job with this MARVELO port, 2000 - 2 * ID. Repeatable.")
@click.option("--pipe", "-p", "pipe", metavar="FILE", hidden=True)
@click.pass_obj
def command(session: Session, network: str | None, ips: tuple[str, ...], ports: tuple[int, ...], pipe: str | None) -> list[str]:
    """Show the output of the running NETWORK's jobs: on the nodes with these addresses, or with
    these ports.

    NETWORK is optional if only one network of the project is running. Equivalent to fission NETWORK
    debug, with --node and --job.
    """
    if pipe is not None:
        raise UserError("--pipe is not needed: `fission NETWORK debug` asks the running network itself; omit it")
    # with one port for each address, the addresses add nothing: debug follows a job to other nodes
    named = [] if ports and len(ports) == len(ips) else [word for ip in ips for word in ("--node", ip)]
    jobs = [word for port in ports for word in ("--job", str(_job(port)))]
    return [network or _running(session), "debug", *named, *jobs]


def _job(port: int) -> int:
    job, rest = divmod(FIRST_PORT - port, PORTS_PER_JOB)
    if rest or job < 1:
        raise UserError(
            f"--port must be that of a job, 2000 less twice the job's id (job 2: 1996), but is {port}; use --ip alone, or --job ID"
        )
    return job


def _running(session: Session) -> str:
    from fission.client.attach.attach import runs_here
    from fission.project.finding import list_networks

    networks = list_networks(session.root)
    running = [name for name in networks if runs_here(session.root / name)]
    if len(running) == 1:
        return running[0]
    if not running:
        raise UserError(f"no network of {session.root} is running on this machine; networks: {', '.join(networks) or 'none yet'}")
    raise UserError(f"several networks are running: {', '.join(running)}; name one of them first: fission_debug.py {running[0]} ...")


def translated(words: Sequence[str], session: Session) -> list[str]:
    """Return the equivalent words after ``fission``; none if only the help was requested, which is
    then shown.
    """
    result = command.main(args=list(words), prog_name=session.prog, standalone_mode=False, obj=session)
    return result if isinstance(result, list) else []
