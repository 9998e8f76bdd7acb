"""``fission list``."""

from __future__ import annotations

import json

import click

from fission.cli.table import Session, example


@click.command(name="list", epilog=example("fission list", "fission list --json"))
@click.option("--json", "as_json", is_flag=True, help="One JSON object: project, networks.")
@click.pass_obj
def command(session: Session, as_json: bool) -> None:
    """List the networks of the project that contains the current folder: its folders with a
    config.py.
    """
    from fission.project.finding import list_networks

    networks = list_networks(session.root)
    if as_json:
        click.echo(json.dumps({"project": str(session.root), "networks": networks}))
        return
    for name in networks:
        click.echo(name)
    if not networks:
        click.echo(f"{session.root} has no network yet; make one with: {session.prog} NAME startnetwork", err=True)
