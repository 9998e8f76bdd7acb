"""How long the client's machine was suspended: the clock that the decisions are made by does not count that time."""

from __future__ import annotations

import time

#: Seconds from which a suspension counts; arbitrary, far above what two readings of clocks can differ by.
LEAST_S = 0.05


def _suspended_s() -> float:
    """Seconds for which this machine was suspended since it was started; 0 where the system does not say."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux
    return 0.0 if boot is None else time.clock_gettime(boot) - time.monotonic()


class Suspension:
    """Notices suspensions of this machine."""

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
