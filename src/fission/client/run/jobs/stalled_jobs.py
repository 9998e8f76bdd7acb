"""Jobs that make no progress: what the user sees of them, and the end of stalled ones."""

from __future__ import annotations

import time
from collections.abc import Callable

from fission.client.run.jobs.processes import JobProcesses
from fission.core.network import Network
from fission.ports import Engine, NodeName
from fission.protocol.messages.client_to_viewer import JobStandstill
from fission.protocol.messages.job_to_client import CountsReport
from fission.protocol.progress import Progress, Stand

#: Seconds without progress after which it is shown; arbitrary, above the second between two reports of a busy job.
SHOWN_S = 3.0


class StalledJobs:
    """The jobs of one run that make no progress.

    Attributes:
        progress: tracks the progress of each job.
    """

    def __init__(self, network: Network, engine: Engine, processes: JobProcesses, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to track progress.

        Args:
            network: the running network.
            engine: knows the processes.
            processes: the newest incarnations.
            clock: returns the time in seconds.
        """
        self.progress = Progress({number: job.STALL_TIMEOUT for number, job in network.jobs.items()})
        self._engine, self._processes, self._clock = engine, processes, clock
        self._stalls: dict[tuple[int, int], str] = {}

    def heard(self, job: int, report: CountsReport) -> None:
        """Take the counts that a job has reported."""
        counts = report.counts
        sent = [pipe.sent for pipe in counts.outputs.values()]
        received = [pipe.received for pipe in counts.inputs.values()]
        self.progress.heard(job, repr((counts.compute_blocks, sent, received)), report.doing, self._clock(), report.next_s)

    async def shown(self) -> dict[int, JobStandstill]:
        """Return the jobs that make no progress, by id."""
        found = {}
        for job, incarnation, node in self._processes.newest():
            stand = self.progress.stand(job, self._clock())
            if stand is not None and stand.reported_s >= SHOWN_S:
                reason = await self._reason(stand, job, incarnation, node)
                found[job] = JobStandstill(seconds=round(stand.seconds, 1), reason=reason)
        return found

    async def end_stalled(self) -> None:
        """Kill the stalled processes; their ends arrive as events."""
        stalled = set(self.progress.stalled(self._clock()))
        for job, incarnation, node in self._processes.newest():
            stand = self.progress.stand(job, self._clock())
            if job in stalled and stand is not None:
                reason = await self._reason(stand, job, incarnation, node)
                self._stalls[job, incarnation] = f"no progress for {stand.seconds:.1f} s: {reason} (STALL_TIMEOUT)"
                await self._engine.stop(job, incarnation, NodeName(node), grace=0)

    def stalled(self, job: int, incarnation: int) -> str:
        """Return why an incarnation was killed here, as its error; empty if it was not."""
        return self._stalls.pop((job, incarnation), "")

    async def _reason(self, stand: Stand, job: int, incarnation: int, node: str) -> str:
        if not stand.silent:
            return stand.where
        known = await self._engine.look(job, incarnation, NodeName(node))
        return f"its process is {known}, {stand.where}" if known else stand.where
