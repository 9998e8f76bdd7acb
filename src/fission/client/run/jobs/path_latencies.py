"""The latencies of a run's paths: what jobs report, joined with where they run and how clocks differ."""

from __future__ import annotations

import time
from collections.abc import Callable

from fission.client.run.jobs.processes import JobProcesses
from fission.core.base import BaseJob
from fission.core.network import Network
from fission.protocol.clock_offset import Clock
from fission.protocol.latency import Latencies
from fission.protocol.messages.client_to_viewer import PathRow
from fission.protocol.messages.job_to_client import LatencySample
from fission.protocol.stamps import Sample

#: The clock of this machine.
OWN = Clock(0.0, 0.0)


class PathLatencies:
    """The latencies of one run."""

    def __init__(
        self,
        network: Network,
        processes: JobProcesses,
        machine: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
        *,
        deadline_s: float | None = None,
    ) -> None:
        """Begin without samples.

        Args:
            network: the running network.
            processes: know where each incarnation of a job is or was.
            machine: returns the machine of a node: "" for this one, else its name.
            clock: returns the time in seconds.
            deadline_s: DEADLINE, in seconds, of each job without outputs that has none of its own;
                None: it has none.
        """
        self._deadlines = {number: _deadline(job, deadline_s) for number, job in network.jobs.items()}
        self._measured = {number for number, job in network.jobs.items() if not job.outputs or self._deadlines[number] is not None}
        self._latencies = Latencies(self._deadlines)
        self._latencies.measured("", OWN)
        self._names = {number: job._fission_name for number, job in network.jobs.items()}
        self._processes, self._machine, self._clock = processes, machine, clock

    def clock_measured(self, node: str, clock: Clock) -> None:
        """Take the clock of a node."""
        if machine := self._machine(node):
            self._latencies.measured(machine, clock)

    def node_joined(self, node: str) -> None:
        """Forget the clock of a node that has joined, perhaps again: its machine may have been started again."""
        if machine := self._machine(node):
            self._latencies.forget(machine)

    def heard(self, job: int, node: str, samples: tuple[LatencySample, ...]) -> str:
        """Take what a job has reported; return a warning for the user, empty if there is none."""
        if not samples:
            return ""
        values = [Sample(one.source, one.incarnation, one.seconds) for one in samples]
        late = self._latencies.heard(job, self._machine(node), values, self._source, self._clock())
        if late is None:
            return ""
        return (
            f"{self._names[job]}: a block came {late:.3g} s after it was made, later than DEADLINE = {self._deadlines[job]:g}; "
            f"status and top count the late blocks"
        )

    def _source(self, job: int, incarnation: int) -> str | None:
        node = self._processes.node_of(job, incarnation)
        return None if node is None else self._machine(node)

    def late(self, job: int) -> tuple[int | None, int | None]:
        """Return the numbers of late and of judged blocks of a job; None without DEADLINE."""
        return self._latencies.late.get(job), self._latencies.judged.get(job)

    def rows(self) -> tuple[tuple[PathRow, ...], tuple[PathRow, ...]]:
        """Return the paths from sources to sinks and to jobs with a DEADLINE; and those to the other jobs."""
        rows = [
            PathRow(
                source=source,
                sink=sink,
                blocks=found.blocks,
                min_s=found.least,
                p50_s=found.median,
                p99_s=found.p99,
                uncertainty_s=found.uncertainty,
            )
            for (source, sink), found in self._latencies.paths(self._clock()).items()
        ]
        return tuple(row for row in rows if row.sink in self._measured), tuple(row for row in rows if row.sink not in self._measured)


def _deadline(job: BaseJob, of_sinks: float | None) -> float | None:
    if job.DEADLINE is not None or job.outputs:
        return job.DEADLINE
    return of_sinks
