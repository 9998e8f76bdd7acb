"""Which jobs make no progress, since when, and where they were when it was known last.

Rules
    A job's process says once a second what it has counted, and what its loop does: it waits for input, for room in an output or for the end
    of its consumers, or is in the user's code. A job makes progress while its counts change; one that waits is not what stands still.
    Before a job says anything, it is in `setup`.
    A job with STALL_TIMEOUT that has made no progress for so long is stalled, once for each incarnation. What it may have said already
    is waited for before that judgement (`CONFIRM_S`): the client itself may have been what stood still.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import Enum

#: Seconds between the end of STALL_TIMEOUT and the judgement; a job says its counts once a second (`fission.runtime.counts`).
CONFIRM_S = 1.5
#: Seconds of silence after which a process counts as silent; three of those sayings.
SILENT_S = 3.0


class Doing(Enum):
    """What a job's loop does."""

    SETUP = "in setup"
    RUN = "in run"
    INPUT = "waiting for input"
    ROOM = "waiting for room"
    END = "waiting until its consumers need nothing more"


@dataclass(slots=True)
class _JobProgress:
    since: float  # of its last progress
    heard: float
    doing: Doing = Doing.SETUP
    mark: Hashable = None
    suspected: float | None = None
    judged: bool = False


@dataclass(frozen=True, slots=True)
class Stand:
    """A job that makes no progress.

    Attributes:
        seconds: for how long.
        where: what it did last, in words.
        silent: whether its process says nothing, so that only the kernel knows more.
    """

    seconds: float
    where: str
    silent: bool


class Progress:
    """The jobs of one network; time is handed in."""

    def __init__(self, timeouts: Mapping[int, float | None]) -> None:
        """Args: timeouts: STALL_TIMEOUT of each job, in seconds; None: it is never stalled."""
        self._timeouts = timeouts
        self._jobs: dict[int, _JobProgress] = {}

    def started(self, job: int, now: float) -> None:
        """An incarnation of a job was ordered."""
        self._jobs[job] = _JobProgress(now, now)

    def ready(self, job: int, now: float) -> None:
        """Its `setup` has returned."""
        known = self._jobs.get(job)
        if known is not None and known.doing is Doing.SETUP:
            self._jobs[job] = _JobProgress(now, now, Doing.RUN)

    def heard(self, job: int, mark: Hashable, doing: str, now: float) -> None:
        """A job has said what it has counted, ``mark``, and what it does: the name of a `Doing`."""
        known = self._jobs.get(job)
        if known is None:
            return
        known.heard = now
        known.doing = Doing.__members__.get(doing, Doing.RUN)
        if mark != known.mark or known.doing in (Doing.INPUT, Doing.ROOM, Doing.END):
            known.mark, known.since, known.suspected = mark, now, None

    def ended(self, job: int) -> None:
        """A job's process has ended."""
        self._jobs.pop(job, None)

    def stand(self, job: int, now: float) -> Stand | None:
        """Return how a job stands still; None if its process does not run."""
        known = self._jobs.get(job)
        if known is None:
            return None
        silent = known.doing is Doing.SETUP or now >= known.heard + SILENT_S
        return Stand(now - known.since, known.doing.value, silent)

    @property
    def due(self) -> float | None:
        """The moment at which `stalled` is to be called at the latest; None: never."""
        moments = []
        for job, known in self._jobs.items():
            timeout = self._timeouts.get(job)
            if timeout is not None and not known.judged:
                moments.append(known.since + timeout if known.suspected is None else known.suspected + CONFIRM_S)
        return min(moments, default=None)

    def stalled(self, now: float) -> list[int]:
        """Return the jobs that are stalled since now."""
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
