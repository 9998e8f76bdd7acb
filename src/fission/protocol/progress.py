"""Which jobs make no progress, since when, and what they last reported to be doing.

Rules
    Once a second a job's process reports its counters and what its loop does: it waits for input,
    for room in an output or for the end of its consumers, or it runs the user's code. One that does
    little, and has no STALL_TIMEOUT, reports more rarely; each report says when the next one is due
    (`fission.protocol.counts`). A job makes progress while its counters change; a job that waits is
    not the one that stalls. Until a job's first report it is in `setup`. A job with STALL_TIMEOUT
    that has made no progress for that long is stalled, once for each incarnation. Before that
    judgement, reports that may already be on their way are awaited (`CONFIRM_S`): the client itself
    may have been frozen.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import Enum

from fission.protocol.deadlines import Deadlines

#: Seconds between the end of STALL_TIMEOUT and the judgement. A job reports its counters once a
#: second (`fission.protocol.counts`).
CONFIRM_S = 1.5
#: Seconds by which a report is late when its process counts as silent. Arbitrary: two more reports of a busy job.
LATE_S = 2.0


class Doing(Enum):
    """The activity of a job's loop."""

    SETUP = "in setup"
    RUN = "in run"
    INPUT = "waiting for input"
    ROOM = "waiting for room"
    END = "waiting until its consumers need nothing more"


@dataclass(slots=True)
class _JobProgress:
    since: float  # time of its last progress
    heard: float
    doing: Doing = Doing.SETUP
    next_s: float = 1.0  # seconds from `heard` to its next report
    mark: Hashable = None
    suspected: float | None = None
    judged: bool = False


@dataclass(frozen=True, slots=True)
class Stand:
    """A job that makes no progress.

    Attributes:
        seconds: seconds since its last progress.
        reported_s: the part of them until its last report, which is known; all of them if it is silent.
        where: its last known activity, in words.
        silent: whether its process reports nothing, so that only the kernel knows more.
    """

    seconds: float
    reported_s: float
    where: str
    silent: bool


class Progress:
    """The progress of a network's jobs; the caller passes the time."""

    def __init__(self, timeouts: Mapping[int, float | None]) -> None:
        """Prepare for one network.

        Args:
            timeouts: STALL_TIMEOUT of each job in seconds; None: the job never counts as stalled.
        """
        self._timeouts = timeouts
        self._jobs: dict[int, _JobProgress] = {}
        self._deadlines = Deadlines[int](self._judged_at)

    def started(self, job: int, now: float) -> None:
        """Record that an incarnation of a job was launched."""
        self._jobs[job] = _JobProgress(now, now)
        self._deadlines.add(job)

    def ready(self, job: int, now: float) -> None:
        """Record that the job's `setup` has returned."""
        known = self._jobs.get(job)
        if known is not None and known.doing is Doing.SETUP:
            self._jobs[job] = _JobProgress(now, now, Doing.RUN)
            self._deadlines.add(job)

    def heard(self, job: int, mark: Hashable, doing: str, now: float, next_s: float = 1.0) -> None:
        """Record a job's report.

        Args:
            job: id of the job.
            mark: its counters.
            doing: its activity, the name of a `Doing`.
            now: the current time.
            next_s: seconds until its next report.
        """
        known = self._jobs.get(job)
        if known is None:
            return
        known.heard, known.next_s = now, next_s
        known.doing = Doing.__members__.get(doing, Doing.RUN)
        if mark != known.mark or known.doing in (Doing.INPUT, Doing.ROOM, Doing.END):
            suspected, known.mark, known.since, known.suspected = known.suspected, mark, now, None
            if suspected is not None:
                self._deadlines.add(job)  # which may be before the end of the suspicion

    def ended(self, job: int) -> None:
        """Record that a job's process has ended."""
        self._jobs.pop(job, None)

    def stand(self, job: int, now: float) -> Stand | None:
        """Return the job's lack of progress; None if its process does not run."""
        known = self._jobs.get(job)
        if known is None:
            return None
        silent = known.doing is Doing.SETUP or now >= known.heard + known.next_s + LATE_S
        seconds = now - known.since
        return Stand(seconds, seconds if silent else known.heard - known.since, known.doing.value, silent)

    @property
    def due(self) -> float | None:
        """The latest time for the next call of `stalled`; None: never."""
        return self._deadlines.earliest

    def _judged_at(self, job: int) -> float | None:
        known, timeout = self._jobs.get(job), self._timeouts.get(job)
        if known is None or timeout is None or known.judged:
            return None
        return known.since + timeout if known.suspected is None else known.suspected + CONFIRM_S

    def stalled(self, now: float) -> list[int]:
        """Return the jobs that have become stalled."""
        found = []
        for job, known in self._jobs.items():
            timeout = self._timeouts.get(job)
            if timeout is None or known.judged or now < known.since + timeout:
                continue
            if known.suspected is None:
                known.suspected = now
            elif now >= known.suspected + CONFIRM_S:
                known.judged = True
                found.append(job)
        return found
