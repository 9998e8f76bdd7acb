"""``fission NETWORK collect``."""

from __future__ import annotations

import json

import click

from fission.cli.loading import load_network
from fission.cli.table import Session, example


@click.command(name="collect", epilog=example("fission my_network collect", "fission my_network collect --json"))
@click.option("--json", "as_json", is_flag=True, help="Write the files' names as JSON to standard output.")
@click.pass_obj
def command(session: Session, as_json: bool) -> int:
    """Copy the nodes' log files of the network into NETWORK/collection, one file a node.

    From a running network by its client; else the nodes are asked for them. Beside NODE.log stands a link to it by the node's address,
    fission-192-168-4-2.log, as MARVELO named it.
    """
    from fission.client.attach.collect import collect

    loaded = load_network(session)
    found = collect(loaded, lambda text: click.echo(text, err=True))
    if as_json:
        click.echo(json.dumps({node: str(path) for node, path in found.items()}, indent=2))
    else:
        for node, path in found.items():
            click.echo(f"{node}: {path}")
    return 0 if found else 1
