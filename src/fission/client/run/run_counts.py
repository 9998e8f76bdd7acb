"""Answers what a run has counted so far, without asking its jobs."""

from __future__ import annotations

import time

from fission.client.run.coordinator import Coordinator
from fission.client.serve.control_server import Connection, ControlServer
from fission.protocol.messages.client_to_viewer import JobTotals, RunCounted
from fission.protocol.messages.viewer_to_client import CountRun


def answer_counts(coordinator: Coordinator, requests: ControlServer) -> None:
    """Answer `CountRun`; what is counted begins with this call.

    Args:
        coordinator: of the run.
        requests: the server of the run.
    """
    since = time.time()

    def totals(job: int) -> JobTotals:
        return coordinator.counters.since_begin(job, coordinator.state(job).name.lower(), coordinator.stored(job))

    async def answer(request: CountRun, connection: Connection) -> RunCounted:
        failovers = coordinator.failovers
        return RunCounted(
            since=since,
            jobs=tuple(map(totals, coordinator.jobs)),
            failovers=len(failovers),
            failover_s=sum(failover.seconds for failover in failovers),
        )

    requests.answer(CountRun, answer)
