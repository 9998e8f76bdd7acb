"""Groups: names that jobs and nodes share."""

from __future__ import annotations

from fission.core.base_node import BaseGroup

__all__ = ["ALL", "ANNOUNCED", "HAS_LOUDSPEAKER", "HAS_MIC", "LOCAL", "BaseGroup"]

ALL = "ALL"  # the default group of jobs and nodes
LOCAL = "LOCAL"  # the client's group
HAS_MIC = "HAS_MIC"  # a sound device that records
HAS_LOUDSPEAKER = "HAS_LOUDSPEAKER"  # one that plays
#: Groups that nodes announce by themselves, so NODES need not list them.
ANNOUNCED = (HAS_MIC, HAS_LOUDSPEAKER)
