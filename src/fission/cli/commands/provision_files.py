"""``fission provision init``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fission.cli import interrupts
from fission.cli.table import example


@click.command(name="init", epilog=example("fission provision init", "fission provision init --roles"))
@click.option("--roles", is_flag=True, help="Copy the role too, to change it: ansible/roles/setup is used from then on.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: folder, made.")
def init(roles: bool, as_json: bool) -> None:
    """Write ansible/ into the current folder: the list of hosts, their settings, and a README.

    Existing files stay as they are.
    """
    from fission.provision.places import HOSTS, SETTINGS, make_folder

    interrupts.loaded()
    here = Path.cwd()
    made = make_folder(here, roles=roles)
    if as_json:
        click.echo(json.dumps({"folder": str(here / "ansible"), "made": [str(path.relative_to(here)) for path in made]}))
        return
    for path in made:
        click.echo(f"made {path.relative_to(here)}")
    click.echo(f"List your hosts in ansible/{HOSTS}, set ansible_user in ansible/{SETTINGS}, then: fission provision servers")
