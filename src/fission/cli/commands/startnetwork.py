"""``fission NETWORK startnetwork``."""

from __future__ import annotations

import click

from fission.cli import interrupts
from fission.cli.table import Session, example
from fission.project.scaffold import start_network


@click.command(name="startnetwork", epilog=example("fission my_network startnetwork", "python3 manage.py my_network startnetwork"))
@click.pass_obj
def command(session: Session) -> None:
    """Make the folder NETWORK in the project, with a commented config.py and packages for jobs,
    pipes and nodes.
    """
    interrupts.loaded()
    start_network(session.network, session.root)
    click.echo(
        f"Made the network {session.network}. Next: write jobs in {session.network}/jobs/jobs.py, join them in {session.network}/config.py"
    )
