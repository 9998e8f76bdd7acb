"""``fission NETWORK debug``."""

from __future__ import annotations

import click

from fission.cli import interrupts
from fission.cli.looking import folder_of
from fission.cli.table import Session, example


@click.command(name="debug", epilog=example("fission my_network debug", "fission my_network debug --job 3 --job 4"))
@click.option("--job", "jobs", type=click.IntRange(1), multiple=True, metavar="ID", help="Only this job. Repeatable. Default: all.")
@click.pass_obj
def command(session: Session, jobs: tuple[int, ...]) -> int:
    """Show what the jobs of a running network write to their standard output and error, wherever they are, until it ends or Ctrl-C.

    A job that moves to another node is followed there.
    """
    from fission.cli.console import Console
    from fission.client.attach import attach

    interrupts.loaded()
    return attach(folder_of(session), Console(), jobs=jobs, events=False)[1]
