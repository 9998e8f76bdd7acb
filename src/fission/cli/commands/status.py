"""``fission NETWORK status``."""

from __future__ import annotations

import json
import time

import click

from fission.cli import interrupts
from fission.cli.jobs_table import job_lines, standing_lines, terminal_width
from fission.cli.looking import folder_of, table
from fission.cli.nodes_table import HEADINGS as NODE_HEADINGS
from fission.cli.nodes_table import link_lines, node_cells
from fission.cli.table import Session, example

#: Seconds between the two samples that rates are computed from; arbitrary.
INTERVAL_S = 0.5
#: Meaning and unit of each value of a node.
UNITS = {
    "cpu": "free time of all processors of the machine, percent; null: not measured",
    "memory": "free memory of the machine, bytes; null: not measured",
    "disk": "free space of the disk that jobs work on, bytes; null: not measured",
    "swap": "swap of the machine in use, percent; null: not measured",
    "rtt": "round trip to the node, seconds; null: not measured",
    "TQ": "quality of the link from the client to the node, 0 to 255",
    "links": "links that the node has measured, by the name of the other node: TQ, 0 to 255, and rtt, seconds; null: not measured",
}


@click.command(name="status", epilog=example("fission my_network status", "fission my_network status --json"))
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
@click.pass_obj
def command(session: Session, as_json: bool) -> None:
    """Show the nodes and jobs of a running network, and its losses so far.

    For a network that is not running, say how the last run ended and how to continue it, with exit
    code 2.
    """
    from fission.client.attach.attach import status
    from fission.client.attach.follow import rates
    from fission.client.folders.endings import NotRunningError, to_json

    interrupts.loaded()
    folder = folder_of(session)
    try:
        before = status(folder)
    except NotRunningError as why:
        if as_json:
            click.echo(json.dumps(to_json(session.network, why.last), indent=2))
        raise
    time.sleep(INTERVAL_S)
    after = status(folder)
    jobs = rates(before, after)
    if as_json:
        found = {name: after[name] for name in ("network", "run", "pid", "time", "nodes", "failovers")}
        click.echo(json.dumps({**found, "units": UNITS, "jobs": jobs}, indent=2))
        return
    for line in table(NODE_HEADINGS, [node_cells(node, up=node["up"]) for node in after["nodes"]]):
        click.echo(line)
    for line in link_lines(after["nodes"]):
        click.echo(line)
    click.echo()
    for line in [*job_lines(jobs, terminal_width()), *standing_lines(jobs)]:
        click.echo(line)
    for text in after["failovers"]:
        click.echo(f"Failover: {text}")
