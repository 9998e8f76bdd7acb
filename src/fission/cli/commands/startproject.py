"""``fission startproject NAME``."""

from __future__ import annotations

from pathlib import Path

import click

from fission.cli import interrupts
from fission.cli.table import Session, example
from fission.project.scaffold import start_project


@click.command(
    name="startproject",
    epilog=example("fission startproject my_project", "fission_admin.py my_project startproject"),
    short_help="Make a new project folder.",
)
@click.argument("name")
@click.pass_obj
def command(session: Session, name: str) -> None:
    """Make the folder NAME with a manage.py and a shared package for what several networks use."""
    interrupts.loaded()
    start_project(name, Path.cwd())
    click.echo(f"Made the project {name}. Next: cd {name}; python3 manage.py my_network startnetwork")
