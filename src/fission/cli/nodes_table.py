"""Nodes as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADINGS = ("NODE", "ADDRESS", "STATE", "JOBS", "ROOM", "CPU FREE", "MEMORY FREE", "TQ")


def node_cells(node: Mapping[str, Any], *, up: bool) -> list[str]:
    """The cells of a node (`core.nodes.NodeInfo` as JSON values)."""
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
