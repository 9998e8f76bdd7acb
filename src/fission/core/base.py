"""The public base names of jobs, pipes, nodes and groups.

`JOBS`, `PIPES`, `NODES` and `GROUPS` are views of the current registry; `reset` starts a new one.
"""

from __future__ import annotations

from fission.core.base_job import BaseJob
from fission.core.base_node import BaseGroup, BaseNode, group_names
from fission.core.base_pipe import BasePipe, TruncatedBlock, read_exactly
from fission.core.registry import (
    GROUPS,
    JOBS,
    NODES,
    PIPES,
    Registry,
    at,
    collecting,
    collecting_copy,
    current,
    place_of,
    reset,
    use,
    where,
)

__all__ = [
    "GROUPS",
    "JOBS",
    "NODES",
    "PIPES",
    "BaseGroup",
    "BaseJob",
    "BaseNode",
    "BasePipe",
    "Registry",
    "TruncatedBlock",
    "at",
    "collecting",
    "collecting_copy",
    "current",
    "group_names",
    "place_of",
    "read_exactly",
    "reset",
    "use",
    "where",
]
