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
    epilog=example("fission keys", "fission keys --renew", "fission keys --token anna --role viewer", "fission keys --export-ca ca.pem"),
    short_help="Make the keys with which the machines of a network authenticate each other.",
)
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), help="Folder. Default: FISSION_KEYS of the environment, or else ~/.fission/keys."
)
@click.option("--renew", is_flag=True, help="Replace existing keys. Nodes with the old ones are refused from then on.")
@click.option("--token", metavar="NAME", help="Make a token for pages that are served to other machines; it is shown once.")
@click.option("--role", type=click.Choice(["viewer", "operator"]), default="viewer", help="What the token allows. Default: viewer.")
@click.option("--tokens", is_flag=True, help="List the tokens of pages.")
@click.option("--revoke-token", metavar="NAME", help="Make a token of pages invalid.")
@click.option(
    "--export-ca", type=click.Path(path_type=Path), metavar="FILE", help="Write the certificate with which browsers trust the pages."
)
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
def command(
    folder: Path | None,
    renew: bool,
    token: str | None,
    role: str,
    tokens: bool,
    revoke_token: str | None,
    export_ca: Path | None,
    as_json: bool,
) -> int:
    """Make the keys for the encryption between client and nodes.

    Make the folder once, on one machine, and copy it to every other one. A machine that has it can
    join the networks, and start programs on the nodes.

    The other options are for the web page of a network (`fission NETWORK dashboard --host`): who
    may see it from other machines. A viewer may look, an operator may also stop the network.
    """
    interrupts.loaded()
    from fission.adapters import keys
    from fission.cli import page_keys

    place = (folder or keys.default_folder()).absolute()
    asked = [token is not None, tokens, revoke_token is not None, export_ca is not None]
    if sum(asked) + renew > 1:
        raise click.UsageError("--renew, --token, --tokens, --revoke-token and --export-ca are different tasks; name one of them")
    if any(asked):
        click.echo(page_keys.performed(place, token, role, revoke_token, export_ca, as_json=as_json))
        return EXIT_OK
    made = keys.make_keys(place, renew=renew)
    if renew:
        page_keys.discard(place)
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
