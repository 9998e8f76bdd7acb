"""The table of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fission.cli.looking import table

#: Largest number of nodes in the table of links; arbitrary, so that it fits a terminal.
MOST_LINKED = 8
HEADINGS = ("NODE", "ADDRESS", "STATE", "JOBS", "ROOM", "CPU FREE", "MEMORY FREE", "TQ")


def node_cells(node: Mapping[str, Any], *, up: bool) -> list[str]:
    """Return the cells of a node (`core.nodes.NodeInfo` as JSON values)."""
    if not up:
        return [node["name"], node["ip"], "missing", "-", "-", "-", "-", "-"]
    memory = f"{node['memory'] / 1e6:.0f} MB" if node["memory"] else "-"
    return [
        node["name"],
        node["ip"],
        "up",
        str(len(node["jobs"])),
        str(max(0, node["max_jobs"] - len(node["jobs"]))),
        "-" if node["cpu"] is None else f"{node['cpu']:.0f} %",
        memory,
        str(node["TQ"]),
    ]


def link_lines(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table of the link qualities that nodes have measured, a row for each node; empty if
    there are none.
    """
    known = {node["name"]: node["links"] for node in nodes if node["up"] and node.get("links")}
    if not known:
        return []
    linked = {*known, *(other for links in known.values() for other in links)}
    names = [node["name"] for node in nodes if node["up"] and node["name"] in linked]
    if len(names) > MOST_LINKED:
        return ["", f"TQ between {len(names)} nodes: too many for a table; see status --json"]
    rows = [[name, *(_quality(name, other, links) for other in names)] for name, links in known.items()]
    return ["", *table(("TQ FROM", *names), rows)]


def _quality(name: str, other: str, links: Mapping[str, Any]) -> str:
    return str(links[other]["TQ"]) if other in links else "" if other == name else "-"
