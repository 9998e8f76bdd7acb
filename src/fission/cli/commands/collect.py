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
    """Copy the nodes' log files of the network into NETWORK/collection, one file for each node.

    If the network is running, its client copies them; otherwise the nodes are asked. Each NODE.log
    also has a link named after the node's address, fission-192-168-4-2.log, as in MARVELO.
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
