"""How the user sees failures: each once, and the one that ended the network last.

Repeated failovers become one line.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from fission.ports import Observer
from fission.protocol.supervision import Failover

#: Seconds for which a failure is held back after its job runs again, and at most. Arbitrary: a failure that ends the
#: network recurs within that time, and is then the last thing on the screen instead of the first.
HOLD_S, MOST_HOLD_S = 2.0, 10.0


@dataclass(slots=True)
class _Held:
    job: str
    number: int
    report: str
    until: float


def what_happened(failover: Failover) -> tuple[str, str, tuple[str, ...]]:
    """Return what repeated failovers have in common."""
    return failover.what, failover.why, failover.moves


class FailureReports:
    """The failures of one run."""

    def __init__(self) -> None:
        """Begin without failures."""
        self._known: set[str] = set()
        self._held: list[_Held] = []

    @property
    def due(self) -> float | None:
        """The moment by which `tick` must be called; None: nothing is held back."""
        return min((one.until for one in self._held), default=None)

    def failed(self, job: str, number: int, report: str, now: float) -> None:
        """Hold back a job's failure; a known one is dropped."""
        if report not in self._known:
            self._known.add(report)
            self._held.append(_Held(job, number, report, now + MOST_HOLD_S))

    def ready(self, number: int, now: float) -> None:
        """Note that a job runs again."""
        for one in self._held:
            if one.number == number:
                one.until = min(one.until, now + HOLD_S)

    def tick(self, now: float, observer: Observer) -> None:
        """Report failures that were held back long enough."""
        ready = [one for one in self._held if now >= one.until]
        self._held = [one for one in self._held if now < one.until]
        for one in ready:
            observer.job_failed(one.job, one.number, one.report)

    def end(self, job: str, number: int, report: str, observer: Observer) -> None:
        """Report everything at the end of the network.

        Args:
            job: name of the failed job.
            number: id of the failed job.
            report: the failure that has ended the network; empty if none has.
            observer: notified of the failures.
        """
        self._held = [one for one in self._held if one.report != report]
        self.tick(float("inf"), observer)
        if report:
            observer.network_failed(job, number, report)


def grouped(failovers: list[Failover]) -> list[str]:
    """Return the failovers as lines; repeated ones share one line with their number."""
    counts = Counter(map(what_happened, failovers))
    lines = []
    for key, count in counts.items():
        same = [one for one in failovers if what_happened(one) == key]
        if count == 1:
            lines.append(str(same[0]))
            continue
        what, why, moves = key
        slowest, replayed = max(one.seconds for one in same), sum(one.replayed for one in same)
        total = Failover(what=what, why=why, moves=moves, seconds=slowest, replayed=replayed)
        lines.append(f"{total}; {count} times, the slowest is given")
    return lines
