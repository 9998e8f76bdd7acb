"""``fission NETWORK allocate``."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import Any

import click

from fission.cli.jobs_table import terminal_width
from fission.cli.json_names import node_as_json
from fission.cli.loading import load_network
from fission.cli.nodes_table import MISSING, node_lines
from fission.cli.table import Session, example
from fission.errors import EXIT_NO_PLACE, EXIT_OK

#: Characters of a line where standard output is not a terminal.
WIDTH = 80
#: Least width of the reasons in characters, however long the names are; arbitrary.
LEAST = 24


@click.command(name="allocate", epilog=example("fission my_network allocate", "fission my_network allocate --json"))
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
@click.pass_obj
def command(session: Session, as_json: bool) -> int:
    """Show which node each job would go to if the network were started now, and why; nothing is
    started.

    The nodes are asked for their load. If the network is running, its client is asked, and the
    jobs' present nodes are shown too. The exit code is 3 if a job would have no place. The option
    --survive of `check` shows the effect of losing a node.
    """
    from fission.client.dry_run.allocation import allocate

    loaded = load_network(session)
    found = allocate(loaded)
    names = {number: job._fission_name for number, job in loaded.network.jobs.items()}
    for warning in found.warnings:
        click.secho("Warning: ", fg="yellow", bold=True, nl=False, err=True)
        click.echo(warning, err=True)
    if as_json:
        click.echo(json.dumps(_to_json(session.network, found, names), indent=2))
    else:
        for line in _lines(found, names, terminal_width() or WIDTH):
            click.echo(line)
    return EXIT_OK if found.complete else EXIT_NO_PLACE


def _to_json(network: str, found: Any, names: dict[int, str]) -> dict[str, object]:
    return {
        "network": network,
        "running": found.running,
        "ok": found.complete,
        "jobs": [{"id": number, "name": names[number], **asdict(place)} for number, place in found.places.items()],
        "nodes": [node_as_json(asdict(node)) for node in found.nodes],
        "missing": found.missing,
        "warnings": found.warnings,
    }


def _lines(found: Any, names: dict[int, str], width: int) -> list[str]:
    nodes: list[dict[str, Any]] = [{**asdict(node), "up": True} for node in found.nodes]
    nodes += [{**MISSING, "name": name} for name in found.missing]
    lines = [*node_lines(nodes, width), ""]
    lines += [line for hint in found.missing.values() if hint for line in textwrap.wrap(hint, width)]
    headings = ("JOB", "NODE", "NOW") if found.running else ("JOB", "NODE")
    cells = [[names[number], place.node or "-", *([place.now or "-"] if found.running else [])] for number, place in found.places.items()]
    widths = [max(len(row[column]) for row in (headings, *cells)) for column in range(len(headings))]
    indent = sum(widths) + 2 * len(widths)
    lines.append("  ".join([*(cell.ljust(size) for cell, size in zip(headings, widths, strict=True)), "WHY"]))
    for row, place in zip(cells, found.places.values(), strict=True):
        why = place.reason if place.node is not None else f"no place: {place.reason or 'there are no nodes'}"
        first, *rest = textwrap.wrap(why, max(LEAST, width - indent)) or [""]
        lines.append("  ".join([*(cell.ljust(size) for cell, size in zip(row, widths, strict=True)), first]))
        lines += [" " * indent + line for line in rest]
    return lines
