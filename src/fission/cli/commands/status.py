"""``fission NETWORK status``."""

from __future__ import annotations

import json
import time

import click

from fission.cli import interrupts
from fission.cli.jobs_table import jobs_table, standing_lines, terminal_width
from fission.cli.json_names import JOB_UNITS, NODE_UNITS, PATH_UNITS, job_as_json, node_as_json
from fission.cli.looking import folder_of
from fission.cli.nodes_table import clock_lines, link_lines, node_lines
from fission.cli.paths_table import path_lines
from fission.cli.table import Session, example

#: Seconds between the two samples that rates are computed from; arbitrary.
INTERVAL_S = 0.5


@click.command(name="status", epilog=example("fission my_network status", "fission my_network status --json"))
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
@click.pass_obj
def command(session: Session, as_json: bool) -> None:
    """Show the nodes and jobs of a running network, and its losses so far.

    For a network that is not running, say how the last run ended and how to continue it, with exit
    code 2.
    """
    from fission.client.attach.attach import status
    from fission.client.attach.follow import paths, rates
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
    jobs, ways = rates(before, after), paths(after)
    if as_json:
        found = {name: after[name] for name in ("network", "run", "pid", "time", "failovers")}
        found |= {"nodes": [node_as_json(node) for node in after["nodes"]], "jobs": [job_as_json(row) for row in jobs], "paths": ways}
        click.echo(json.dumps({**found, "units": {"nodes": NODE_UNITS, "jobs": JOB_UNITS, "paths": PATH_UNITS}}, indent=2))
        return
    width = terminal_width()
    nodes = after["nodes"]
    lines = [*node_lines(nodes, width), *link_lines(nodes, width), *clock_lines(nodes, width), ""]
    for line in [*lines, *jobs_table(jobs, width).lines(), *standing_lines(jobs), *path_lines(ways, width)]:
        click.echo(line)
    for text in after["failovers"]:
        click.echo(f"Failover: {text}")
