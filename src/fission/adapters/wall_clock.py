"""The time of day of this machine, against the clock that cannot be set."""

from __future__ import annotations

import time

#: Readings of both clocks of which the best is taken; arbitrary: a busy machine rarely stops a process so many times in a row.
READINGS = 3


def wall_offset_s() -> float:
    """Return the time of day minus `time.monotonic`, in seconds: what changes only if the clock is set.

    Of some readings the one counts in which the process was held up least.
    """
    found = []
    for _ in range(READINGS):
        before, wall, after = time.monotonic(), time.time(), time.monotonic()
        found.append((after - before, wall - (before + after) / 2))
    return min(found)[1]
