"""When a block was made: what `self.block_time` gives."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

__all__ = ["BlockTime"]


class BlockTime(NamedTuple):
    """When the source's blocks that a compute block comes from were made.

    A compute block may come from several blocks of sources (several inputs, BLOCK_COUNT above 1):
    then the earliest and the latest differ.

    Attributes:
        earliest: seconds since 1970-01-01 UTC, by the clock of the node of that source; NaN: unknown.
        latest: the same of the latest block.
        earliest_monotonic: the same moment as ``earliest`` by the same node's `time.monotonic`, which
            cannot be set; only differences between blocks of one source mean something.
        latest_monotonic: the same of ``latest``.
    """

    earliest: float
    latest: float
    earliest_monotonic: float
    latest_monotonic: float

    @classmethod
    def now(cls) -> BlockTime:
        """Return the present, by the clocks of this machine."""
        wall, monotonic = time.time(), time.monotonic()
        return cls(wall, wall, monotonic, monotonic)

    @classmethod
    def at(cls, wall: float) -> BlockTime:
        """Return a time of day of this machine.

        Args:
            wall: seconds since 1970-01-01 UTC.
        """
        now = cls.now()
        monotonic = now.earliest_monotonic + (wall - now.earliest)
        return cls(wall, wall, monotonic, monotonic)

    @property
    def known(self) -> bool:
        """Whether any block with a time is among those that it comes from."""
        return not math.isnan(self.earliest)
