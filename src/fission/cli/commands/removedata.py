"""``fission NETWORK removedata``."""

from __future__ import annotations

import click

from fission.cli.loading import load_network
from fission.cli.node_files import show_outcome
from fission.cli.table import Session, example


@click.command(name="removedata", epilog=example("fission my_network removedata", "fission my_network removedata --json"))
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
@click.pass_obj
def command(session: Session, as_json: bool) -> int:
    """Remove the network's files from the nodes: code, DEPENDENCIES, folders of jobs with
    everything that the jobs wrote there, and logs.

    The next run sends again what it needs. A node that serves another network keeps the code, and
    removes this network's folders. The exit code is 1 if nothing was removed from some node.
    """
    from fission.client.attach.node_files import remove_data

    return show_outcome(remove_data(load_network(session)), "removed", as_json)
