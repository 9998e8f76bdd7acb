"""``fission NETWORK debug``."""

from __future__ import annotations

import click

from fission.cli import completing, interrupts
from fission.cli.looking import folder_of, job_ids
from fission.cli.table import Session, example


@click.command(
    name="debug",
    epilog=example(
        "fission my_network debug", "fission my_network debug --job 3 --job Beamformer", "fission my_network debug --node kitchen"
    ),
)
@click.option(
    "--job",
    "jobs",
    multiple=True,
    metavar="JOB",
    shell_complete=completing.jobs,
    help="Only this job: its id, name or class. Repeatable. Default: all.",
)
@click.option("--node", "nodes", multiple=True, metavar="NODE", help="Only jobs on this node: its name or address. Repeatable.")
@click.pass_obj
def command(session: Session, jobs: tuple[str, ...], nodes: tuple[str, ...]) -> int:
    """Show the standard output and error of a running network's jobs, on every node, until it ends
    or Ctrl-C.

    A job that moves to another node is followed; with --node, only its output on that node is
    shown.
    """
    from fission.cli.console import ConsoleObserver
    from fission.client.attach.attach import attach

    interrupts.loaded()
    folder = folder_of(session)
    return attach(folder, ConsoleObserver(), jobs=job_ids(session, jobs), nodes=nodes, events=False)[1]
