"""What the Router counts since its start: pipelines and jobs that have ended, with the last minutes. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from fission.protocol.messages.pipelines.router_to_client import CountedMoment
from fission.protocol.pipeline_records import ENDED, EndRecord

#: Seconds between two remembered moments, and number of them: five minutes. Arbitrary: a chart has about 60 points.
SAMPLE_S, SAMPLES = 5.0, 60
#: How a try of a job ends, by the state of its record.
OUTCOMES = {"finished": "finished", "raised": "retried", "failed": "failed", "lost": "lost"}


class RouterCounters:
    """See the module. For one thread; ``now`` is in monotonic seconds.

    Attributes:
        jobs: tries of jobs by outcome.
        ended: pipelines by the state in which they ended.
    """

    def __init__(self) -> None:
        """Begin at 0."""
        self.jobs = dict.fromkeys(OUTCOMES.values(), 0)
        self.ended = dict.fromkeys(sorted(ENDED), 0)
        self._moments: deque[tuple[float, int, int, int]] = deque(maxlen=SAMPLES)

    def job(self, state: str) -> None:
        """Count a try of a job that has ended.

        Args:
            state: of its record, or "lost".
        """
        self.jobs[OUTCOMES[state]] += 1

    def pipelines(self, ends: Iterable[EndRecord]) -> None:
        """Count pipelines that have ended."""
        for end in ends:
            self.ended[end.state] += 1

    def tick(self, now: float) -> None:
        """Remember this moment, unless the last one is near. Call it at least every few seconds."""
        if not self._moments or now - self._moments[-1][0] >= SAMPLE_S:
            self._moments.append(self._moment(now))

    def recent(self, now: float) -> list[CountedMoment]:
        """Return the moments of the last minutes, oldest first, and this one."""
        moments = [*self._moments, self._moment(now)]
        return [CountedMoment(max(0.0, now - at), finished, failed, ended) for at, finished, failed, ended in moments]

    def _moment(self, now: float) -> tuple[float, int, int, int]:
        return now, self.jobs["finished"], self.jobs["retried"] + self.jobs["failed"], sum(self.ended.values())
