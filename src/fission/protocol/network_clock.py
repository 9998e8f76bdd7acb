"""The client's time of day, from what the client reports and this machine's clock that cannot be set.

Rules
    The client reports to a job how far the clock of its machine is ahead (`clock_offset`), and its own
    time of day against its own clock. The job adds what has passed since on its machine's clock, less
    the drift. A clock of this machine that is set changes nothing; one of the client is in its next
    report.
    A report was measured before it arrives. So the largest error grows with its age, by the largest
    drift of two clocks, and from `LATE_S` before it arrived.
    On the client's own machine there is nothing to compare.
"""

from __future__ import annotations

from math import inf

from fission.protocol.clock_offset import MOST_DRIFT
from fission.protocol.messages.client_to_job import ClientClock

#: Most seconds between a measurement and the arrival of its report at a job. Arbitrary: a pulse of a node is sent each 0.1 s, and links
#: with more delay than this know the offset much worse than this makes of it (0.12 ms).
LATE_S = 0.2


class NetworkClock:
    """The client's time of day, at one job."""

    def __init__(self) -> None:
        """Begin without a report."""
        self._report: tuple[ClientClock, float] | None = None  # with the time of its arrival; one attribute: threads share it

    def reported(self, message: ClientClock, now: float) -> None:
        """Take a report of the client.

        Args:
            message: the report.
            now: time on this machine's clock that cannot be set.
        """
        self._report = message, now

    @property
    def local(self) -> bool:
        """Whether the client is on this machine."""
        return self._report is not None and self._report[0].local

    def age_s(self, now: float) -> float:
        """Return the seconds since the last report; infinity: there was none.

        Args:
            now: as in `reported`.
        """
        return inf if self._report is None else now - self._report[1]

    def read(self, now: float, wall: float) -> tuple[float, float]:
        """Return the client's time of day, and its largest error; infinity: it is not known.

        Args:
            now: as in `reported`.
            wall: time of day of this machine, which is returned if the client's is not known.
        """
        if self._report is None or not (self._report[0].known or self._report[0].local):
            return wall, inf
        message, arrived = self._report
        if message.local:
            return wall, 0.0
        age_s = max(0.0, now - arrived)
        offset_s = message.offset_s + message.drift * age_s
        return now - offset_s + message.wall_s, message.error_s + MOST_DRIFT * (age_s + LATE_S)
