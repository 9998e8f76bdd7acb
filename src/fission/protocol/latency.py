"""How long blocks are under way from each source to each sink, and which are late.

Rules
    Jobs report samples: the difference of two clocks (`fission.protocol.stamps`). On one machine it
    is the latency. Between two, it is corrected by the difference of their clocks, each as the
    node's pulses have measured it against the client's; the error of both is the uncertainty of the
    result. A sample between machines whose clocks are not measured yet is not used.
    A path's digest has the samples of the last `WINDOW_S`. A sample of more than the DEADLINE of
    the job counts as late; each job's first late block is a warning.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from fission.protocol.clock_offset import Clock
from fission.protocol.stamps import Sample

#: Seconds for which a sample counts. Arbitrary: long enough for a 99th percentile of ten samples a second, and what a person
#: who looks still calls "now".
WINDOW_S = 60.0
#: Largest number of samples of a path. Arbitrary: above what a window has of one source; the newest stay.
MOST_SAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency of a path, in seconds.

    Attributes:
        blocks: number of samples in the window.
        least: of all of them.
        median: half of them took no longer.
        p99: 99 of 100 took no longer.
        uncertainty: largest error that the clocks of two machines cause; 0 on one machine.
    """

    blocks: int
    least: float
    median: float
    p99: float
    uncertainty: float


def quantile(ordered: list[float], share: float) -> float:
    """Return the smallest value that at least this share of the values do not exceed.

    Args:
        ordered: the values, ascending; at least one.
        share: above 0, up to 1.
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Digest:
    """The samples of one path in a window of time."""

    def __init__(self, window_s: float = WINDOW_S, most: int = MOST_SAMPLES) -> None:
        """Begin without samples.

        Args:
            window_s: seconds for which a sample counts.
            most: largest number of samples; the newest stay.
        """
        self._window_s = window_s
        self._samples: deque[tuple[float, float, float]] = deque(maxlen=most)

    def add(self, now: float, seconds: float, uncertainty: float) -> None:
        """Add a sample."""
        self._samples.append((now, seconds, uncertainty))

    def latency(self, now: float) -> Latency | None:
        """Return what the window shows; None without samples."""
        samples = self._samples
        while samples and samples[0][0] <= now - self._window_s:
            samples.popleft()
        if not samples:
            return None
        ordered = sorted(seconds for _, seconds, _ in samples)
        uncertainty = max(error for _, _, error in samples)
        return Latency(len(ordered), ordered[0], quantile(ordered, 0.5), quantile(ordered, 0.99), uncertainty)


class Latencies:
    """The paths of a network, and its DEADLINEs.

    Attributes:
        late: number of sampled blocks that came later than the DEADLINE of a job, by job.
        judged: number of sampled blocks that were compared with it, by job.
    """

    def __init__(self, deadlines: Mapping[int, float | None]) -> None:
        """Begin without samples.

        Args:
            deadlines: DEADLINE of each job, in seconds; None: it has none.
        """
        self._deadlines = {job: deadline for job, deadline in deadlines.items() if deadline is not None}
        self._paths: dict[tuple[int, int], Digest] = {}
        self.late = dict.fromkeys(self._deadlines, 0)
        self.judged = dict.fromkeys(self._deadlines, 0)
        self._clocks: dict[str, Clock] = {}

    def measured(self, node: str, clock: Clock) -> None:
        """Record the clock of a node."""
        self._clocks[node] = clock

    def forget(self, node: str) -> None:
        """Forget the clock of a node: it may have another when it returns."""
        self._clocks.pop(node, None)

    def clock(self, node: str) -> Clock | None:
        """Return the clock of a node; None: not measured."""
        return self._clocks.get(node)

    def heard(
        self, job: int, node: str, samples: Iterable[Sample], source_node: Callable[[int, int], str | None], now: float
    ) -> float | None:
        """Take the samples that a job has reported.

        Args:
            job: id of the job.
            node: name of the machine that it runs on.
            samples: what it has reported.
            source_node: returns the name of the machine of an incarnation of a source; None: unknown.
            now: time on the client's clock.

        Returns:
            The latency of the first late block of this job; None if there is none, or was one
            before.
        """
        deadline, first = self._deadlines.get(job), None
        for source, incarnation, seconds in islice(samples, MOST_SAMPLES):
            known = self._correction(source_node(source, incarnation), node)
            if known is None:
                continue
            seconds += known.offset_s
            self._paths.setdefault((source, job), Digest()).add(now, seconds, known.error_s)
            if deadline is not None:
                self.judged[job] += 1
                if seconds > deadline:
                    first = seconds if not self.late[job] else first
                    self.late[job] += 1
        return first

    def _correction(self, source: str | None, here: str) -> Clock | None:
        if source is None:
            return None
        if source == here:
            return Clock(0.0, 0.0)
        ahead, behind = self._clocks.get(source), self._clocks.get(here)
        return None if ahead is None or behind is None else Clock(ahead.offset_s - behind.offset_s, ahead.error_s + behind.error_s)

    def paths(self, now: float) -> dict[tuple[int, int], Latency]:
        """Return the latency of each path with samples in the window, by source and job."""
        found = {path: digest.latency(now) for path, digest in sorted(self._paths.items())}
        return {path: latency for path, latency in found.items() if latency is not None}
