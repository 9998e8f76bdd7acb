"""The script ``fission_debug.py`` of MARVELO, which shows what jobs write: it does what ``fission NETWORK debug`` does.

There, each job listened at a TCP port of its own: ``--ip 192.168.4.2 --port 1996`` was job 2, for a job's port was 2000 less twice its id.
Here the client of the running network hands on what its jobs write, so an address says which node is meant, and a port which job.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from fission.cli.table import Session, example
from fission.errors import UserError

#: The port of a job in MARVELO is this, less `PORTS_PER_JOB` for each job id.
FIRST_PORT, PORTS_PER_JOB = 2000, 2


@click.command(
    name="fission_debug.py",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("fission_debug.py --ip 192.168.4.2", "fission_debug.py --ip 192.168.4.2 --port 1996", "fission my_network debug"),
)
@click.argument("network", required=False, metavar="[NETWORK]")
@click.option("--ip", "ips", multiple=True, metavar="IP", help="Show the jobs on the node with this address. Repeatable.")
@click.option("--port", "ports", multiple=True, type=int, metavar="PORT", help="Job ID, as MARVELO's port: 2000 - 2 * ID. Repeatable.")
@click.option("--pipe", "-p", "pipe", metavar="FILE", hidden=True)
@click.pass_obj
def command(session: Session, network: str | None, ips: tuple[str, ...], ports: tuple[int, ...], pipe: str | None) -> list[str]:
    """Show what the jobs of the running NETWORK write: on the nodes with these addresses, or the jobs with these ports.

    NETWORK can be left out if only one network of the project runs here. The same as fission NETWORK debug, with --node and --job.
    """
    if pipe is not None:
        raise UserError("--pipe is not needed: `fission NETWORK debug` asks the running network itself; leave it out")
    # with a port for each address, an address adds nothing: a job is followed to other nodes
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
    raise UserError(
        f"several networks are running: {', '.join(running)}; put the one that you mean first: fission_debug.py {running[0]} ..."
    )


def translated(words: Sequence[str], session: Session) -> list[str]:
    """Return the words behind ``fission`` that do the same; none if only help was asked for, which is shown then."""
    result = command.main(args=list(words), prog_name=session.prog, standalone_mode=False, obj=session)
    return result if isinstance(result, list) else []
