"""The table of nodes, fitted to the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fission.cli.fitted_table import Column, FittedTable, cells_of
from fission.cli.jobs_table import megabytes

#: Largest number of nodes in the table of links; arbitrary, so that it fits a terminal.
MOST_LINKED = 8

#: By heading, which has the unit. JOBS and ROOM are numbers of jobs: those that a node has, and those that it would still take.
COLUMNS: Mapping[str, Column] = {
    "NODE": Column(lambda node: str(node["name"]), left=True, least=16),
    "ADDRESS": Column(lambda node: str(node["ip"]), left=True, least=15, leaves=2),
    "STATE": Column(lambda node: "up" if node["up"] else "missing"),
    "JOBS": Column(lambda node: str(len(node["jobs"])) if node["up"] else "-"),
    "ROOM": Column(lambda node: str(max(0, node["max_jobs"] - len(node["jobs"]))) if node["up"] else "-", leaves=3),
    "CPU FREE %": Column(lambda node: f"{node['cpu']:.0f}" if node["up"] and node["cpu"] is not None else "-", leaves=5),
    "MEM FREE MB": Column(lambda node: megabytes(node["memory"] or None) if node["up"] else "-", leaves=4),
    "TQ": Column(lambda node: str(node["TQ"]) if node["up"] else "-", leaves=1),
}
#: The table of clocks: AHEAD is how far a node's time of day is ahead of the client's, +/- the largest error of that.
CLOCK_COLUMNS: Mapping[str, Column] = {
    "CLOCK OF": Column(lambda node: str(node["name"]), left=True, least=16),
    "AHEAD MS": Column(lambda node: f"{node['clock_offset'] * 1000:.1f}"),
    "+/- MS": Column(lambda node: f"{node['clock_error'] * 1000:.1f}"),
    "DRIFT PPM": Column(lambda node: f"{node['clock_drift'] * 1e6:.0f}", leaves=1),
}
#: What a node that is missing has.
MISSING: Mapping[str, Any] = {"ip": "-", "up": False}


def node_lines(nodes: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """Return the table of nodes as lines.

    Args:
        nodes: each a `core.nodes.NodeInfo` as JSON values, and ``up``; of one that is not up only
            ``name`` and ``ip`` are read.
        width: cells of a line; None: no limit.
    """
    return FittedTable(COLUMNS, nodes, width).lines()


def clock_lines(nodes: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """Return a table of how far the clocks of nodes are ahead of the client's, an empty line first; empty if none is known.

    Args:
        nodes: as in `node_lines`.
        width: cells of a line; None: no limit.
    """
    known = [node for node in nodes if node["up"] and node.get("clock_offset") is not None]
    return ["", *FittedTable(CLOCK_COLUMNS, known, width).lines()] if known else []


def link_lines(nodes: Sequence[Mapping[str, Any]], width: int | None = None) -> list[str]:
    """Return a table of the link qualities that nodes have measured, a row for each node; empty if
    there are none.

    Args:
        nodes: as in `node_lines`.
        width: cells of a line; None: no limit.
    """
    known = {node["name"]: node["links"] for node in nodes if node["up"] and node.get("links")}
    if not known:
        return []
    linked = {*known, *(other for links in known.values() for other in links)}
    names = [node["name"] for node in nodes if node["up"] and node["name"] in linked]
    columns = {"TQ FROM": Column(lambda row: str(row["name"]), left=True)}
    columns |= {name: Column(lambda row, name=name: _quality(row["name"], name, row["links"])) for name in names}  # type: ignore[misc]
    lines = FittedTable(columns, [{"name": name, "links": links} for name, links in known.items()], None).lines()
    if len(names) > MOST_LINKED or (width is not None and max(map(cells_of, lines)) > width):
        return ["", f"TQ between {len(names)} nodes: too many for a table; see status --json"]
    return ["", *lines]


def _quality(name: str, other: str, links: Mapping[str, Any]) -> str:
    return str(links[other]["TQ"]) if other in links else "" if other == name else "-"
