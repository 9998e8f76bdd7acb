"""``fission keys``."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from fission.cli import interrupts
from fission.cli.table import example
from fission.errors import EXIT_OK


@click.command(
    name="keys",
    epilog=example("fission keys", "fission keys --dir ~/.fission/lab_keys", "fission keys --renew"),
    short_help="Make the keys with which the machines of a network authenticate each other.",
)
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), help="Folder. Default: FISSION_KEYS of the environment, or else ~/.fission/keys."
)
@click.option("--renew", is_flag=True, help="Replace existing keys. Nodes with the old ones are refused from then on.")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
def command(folder: Path | None, renew: bool, as_json: bool) -> int:
    """Make the keys for the encryption between client and nodes.

    Make the folder once, on one machine, and copy it to every other one. A machine that has it can
    join the networks, and start programs on the nodes.
    """
    interrupts.loaded()
    from fission.adapters import keys

    place = (folder or keys.default_folder()).absolute()
    made = keys.make_keys(place, renew=renew)
    files = [name.name for name in sorted(place.iterdir())]
    if as_json:
        click.echo(json.dumps({"folder": str(place), "name": made.name, "renewed": renew, "files": files}, indent=2))
        return EXIT_OK
    click.echo(f"Made the keys {made.name} in {place}.")
    click.echo("Copy the folder to each node, once:")
    click.echo("  ssh USER@NODE mkdir -p -m 700 .fission")
    click.echo(f"  scp -pr {shlex.quote(str(place))} USER@NODE:.fission/")
    if place.name != "keys":
        click.echo(f"Set FISSION_KEYS=~/.fission/{place.name} there, or rename the folder to keys.")
    return EXIT_OK
