"""Groups: names that jobs and nodes share."""

from __future__ import annotations

from fission.core.base_node import BaseGroup

__all__ = ["ALL", "LOCAL", "BaseGroup"]

ALL = "ALL"  # the default group of jobs and nodes
LOCAL = "LOCAL"  # the client's group
