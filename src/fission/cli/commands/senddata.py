"""``fission NETWORK senddata``."""

from __future__ import annotations

import click

from fission.cli.loading import load_network
from fission.cli.node_files import show_outcome
from fission.cli.table import Session, example


@click.command(name="senddata", epilog=example("fission my_network senddata", "fission my_network senddata --json"))
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
@click.pass_obj
def command(session: Session, as_json: bool) -> int:
    """Send the project's code and the DEPENDENCIES of its jobs to every available node, before a
    run.

    A run sends missing files by itself, and with PRE_COPY = True everything to every node at its
    start, so this only shortens the next start. Files that a node already has are not sent again.
    The exit code is 1 if a node did not receive them.
    """
    from fission.client.attach.node_files import send_data

    return show_outcome(send_data(load_network(session)), "has everything", as_json)
