"""``fission node``."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import click

from fission.cli import interrupts
from fission.cli.table import example
from fission.errors import EXIT_OK, EngineError, UserError

#: Least number of parts of the path of a node's folder, as for REMOTE_ROOT: "/", a top-level folder, and its own.
SHALLOWEST = 3


def _healthcheck(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Ask the services of this user, and end the program."""
    if not wanted or context.resilient_parsing:
        return
    from fission.service.health import ask_services, run_folders

    answers, silent = ask_services(run_folders())
    for state in answers:
        connected = "connected to" if state["connected"] else "waits for"
        serves = f", serves {state['network']}: {state['jobs']} jobs" if state["network"] else ""
        click.echo(f"node {state['name']}: {connected} the client at {state['client']}{serves}")
    if silent:
        raise EngineError(f"the service with the run folder {silent[0]} must answer, but does not; restart it")
    if not answers:
        raise EngineError("a node must run here as this user, but none does; start one: fission node --client IP")
    context.exit(EXIT_OK)


@click.command(
    name="node",
    epilog=example("fission node --client 192.168.4.1", "fission node --client 192.168.4.1 --name kitchen --jobs 2 --root /srv/fission"),
    short_help="Serve as a node: host jobs of the networks that a client runs.",
)
@click.option("--client", required=True, metavar="IP", help="Address of the machine that runs the networks (CLIENT_IP of their configs).")
@click.option("--port", type=click.IntRange(1, 65535), default=8786, show_default=True, help="PORT of their configs.")
@click.option("--ip", metavar="IP", help="Address at which others reach this machine. Default: the one that the client is reached from.")
@click.option("--name", help="Name of this node in messages. Default: its host name.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Maximum number of jobs on this node. Default: its number of CPUs.")
@click.option(
    "--healthcheck",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_healthcheck,
    help="Ask this user's nodes on this machine how they are; exit code 1 if one does not answer, or none runs.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for code and jobs. Default: REMOTE_ROOT of the config, or else ~/fission.",
)
@click.option(
    "--keys", "folder", type=click.Path(path_type=Path), metavar="DIR", help="The network's keys. Default: as for `fission keys`."
)
@click.option(
    "--announce",
    default="auto",
    show_default=True,
    metavar="GROUPS",
    help="Groups that this node is in beside those of NODES: auto (HAS_MIC and HAS_LOUDSPEAKER, as the machine has them), none, or names "
    "of these with commas.",
)
@click.option(
    "--insecure",
    is_flag=True,
    help="No encryption, for networks with SECURITY = False. Anyone who can reach this port can run code here.",
)
def command(
    client: str,
    port: int,
    ip: str | None,
    name: str | None,
    jobs: int | None,
    root: Path | None,
    folder: Path | None,
    announce: str,
    insecure: bool,
) -> int:
    """Serve as a node until Ctrl-C or SIGTERM.

    Waits for a client, hosts the jobs that the client places here, and waits for the next one. When
    the client is lost, its jobs continue for ORPHAN_TIMEOUT. Runs no user code in its own process.
    """
    from fission.adapters.cluster.lean_imports import import_dask_alone

    import_dask_alone()
    from fission.service.start import serve

    interrupts.loaded()
    if root is not None and len(Path(os.path.normpath(root.absolute())).parts) < SHALLOWEST:
        raise UserError(
            f"--root must be a folder below a top-level folder, like /home/pi/fission, but is {str(root)!r}: folders of jobs are "
            "emptied there; choose another folder"
        )
    return serve(
        client=client,
        port=port,
        ip=ip,
        name=name or socket.gethostname(),
        jobs=jobs,
        root=None if root is None else root.absolute(),
        keys_folder=folder,
        insecure=insecure,
        announce=_announced(announce),
    )


def _announced(text: str) -> tuple[str, ...] | None:
    """Return the groups to announce; None: what the machine has.

    Raises:
        UserError: one is not a group that nodes announce.
    """
    from fission.core.groups import ANNOUNCED

    if text == "auto":
        return None
    names = () if text == "none" else tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in ANNOUNCED:
            raise UserError(f"--announce must be auto, none, or some of {', '.join(ANNOUNCED)} with commas, but has {name!r}")
    return names
