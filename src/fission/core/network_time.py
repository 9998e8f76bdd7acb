"""The network's time: what `self.network_time()` returns."""

from __future__ import annotations

from typing import Any

__all__ = ["NetworkTime"]


class NetworkTime(float):
    """Time of day of the client's clock, in seconds since 1970-01-01 UTC, as known on another machine.

    A float: the results of calculations are plain floats.

    Attributes:
        error_s: largest error in seconds; infinity: the clocks have not been compared yet, and the
            time is that of this machine's clock.
    """

    error_s: float

    def __new__(cls, seconds: float, error_s: float) -> NetworkTime:
        made = super().__new__(cls, seconds)
        made.error_s = error_s
        return made

    def __getnewargs__(self) -> Any:
        return float(self), self.error_s
