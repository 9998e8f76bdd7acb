"""Groups: names that jobs and nodes have in common."""

from __future__ import annotations

from fission.core.base_node import BaseGroup

__all__ = ["ALL", "LOCAL", "BaseGroup"]

ALL = "ALL"  # the group of every job and node that says nothing else
LOCAL = "LOCAL"  # the client's group
