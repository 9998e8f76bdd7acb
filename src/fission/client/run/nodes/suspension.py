"""Measures how long the client's machine was suspended.

The clock behind the decisions does not count that time.
"""

from __future__ import annotations

import time

#: Seconds from which a suspension counts; arbitrary, far above the difference between two readings of the clocks.
LEAST_S = 0.05


def _suspended_s() -> float:
    """Return the seconds for which this machine was suspended since its start; 0 if unknown."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux
    return 0.0 if boot is None else time.clock_gettime(boot) - time.monotonic()


class Suspension:
    """Detects suspensions of this machine."""

    def __init__(self) -> None:
        """Count from now."""
        self._known_s = _suspended_s()

    def passed(self) -> float:
        """Return the seconds of suspension since the last call; 0.0 for none."""
        now_s = _suspended_s()
        passed_s = now_s - self._known_s
        if passed_s < LEAST_S:
            return 0.0
        self._known_s = now_s
        return passed_s
