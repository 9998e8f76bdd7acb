"""``fission startproject NAME``."""

from __future__ import annotations

from pathlib import Path

import click

from fission.cli import interrupts
from fission.cli.table import Session, example
from fission.errors import UserError
from fission.project.finding import find_project
from fission.project.scaffold import start_project


@click.command(
    name="startproject",
    epilog=example("fission startproject my_project", "fission_admin.py my_project startproject"),
    short_help="Make a new project folder.",
)
@click.argument("name")
@click.pass_obj
def command(session: Session, name: str) -> None:
    """Make the folder NAME with a manage.py and a package for code that several networks share."""
    interrupts.loaded()
    around = _project_around(Path.cwd())
    start_project(name, Path.cwd())
    if around is not None:
        click.secho("Warning: ", fg="yellow", bold=True, nl=False, err=True)
        click.echo(f"{name} is inside the project {around}; to add a network to that project: fission NAME startnetwork", err=True)
    click.echo(f"Made the project {name}. Next: cd {name}; fission my_network startnetwork")


def _project_around(folder: Path) -> Path | None:
    """Return the project that contains a folder; None if there is none."""
    try:
        return find_project(folder)
    except UserError:
        return None
