"""Deadlines of tests, which are later if the machine had no processor for what is awaited."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

#: Where Linux counts the microseconds in which some process was ready and waited for a processor.
#: Source: the kernel's document "PSI - Pressure Stall Information".
PRESSURE = Path("/proc/pressure/cpu")
#: How many times, and how many seconds, a deadline is later if that was so all the time. Arbitrary:
#: twice as many processes as processors halve the speed of each, and a test has 60 s.
MOST_TIMES, MOST_S = 2.0, 20.0


def stalled_s() -> float:
    """Return the seconds since the start of the machine in which a process waited for a processor; 0 if nothing counts them."""
    try:
        found = re.search(r"^some .*total=(\d+)", PRESSURE.read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1e6 if found else 0.0


class Deadline:
    """The end of a time that begins now."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic, stalled: Callable[[], float] = stalled_s) -> None:
        """Begin.

        Args:
            seconds: length of the time on a machine that has a processor for all that is ready.
            clock: monotonic clock, in seconds.
            stalled: as `stalled_s`.
        """
        self.seconds = seconds
        self._clock, self._stalled = clock, stalled
        self._began, self._stalled_before = clock(), stalled()

    @property
    def passed_s(self) -> float:
        """Seconds since the begin."""
        return self._clock() - self._began

    @property
    def left_s(self) -> float:
        """Seconds until the end, if nothing changes; 0 or less: it is over."""
        passed = self.passed_s
        if passed < self.seconds:
            return self.seconds - passed
        share = min(1.0, (self._stalled() - self._stalled_before) / passed) if passed > 0 else 0.0
        return self.seconds + min(MOST_TIMES * self.seconds, MOST_S) * share - passed

    @property
    def over(self) -> bool:
        """Whether the time has passed."""
        return self.left_s <= 0
