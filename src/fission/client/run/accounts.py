"""What a run tells of each of its jobs at the end, and whenever it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fission.client.run.summary import JobSummary
from fission.client.run.tally import Tally
from fission.core.network import Network
from fission.protocol.supervision import JobPlan


class Accounts:
    """The jobs of one run, with what all lives of each have counted.

    Attributes:
        jobs: by id.
        tally: where the lives' counts go.
    """

    def __init__(self, network: Network, plans: Sequence[JobPlan], *, resumed: bool = False) -> None:
        """Prepare.

        Args:
            network: that runs.
            plans: say which of its jobs cannot resume where an earlier incarnation of theirs was.
            resumed: whether another client has begun the run: what was done then counts for no rate.
        """
        self._resumed = resumed
        self.jobs = {number: JobSummary(job._fission_name) for number, job in network.jobs.items()}
        self.tally = Tally()
        self._network = network
        self._beginners = [plan.job for plan in plans if plan.source and not plan.resumable]

    def summaries(self, lives: Callable[[int], int]) -> Mapping[int, JobSummary]:
        """Return what the summary tells of each job; ``lives`` says how many a job had."""
        for number, summary in self.jobs.items():
            summary.counts = self.tally.total(number, lives(number))
            summary.before = self.tally.first(number) if self._resumed else 0
        for number in self._beginners:
            outputs: dict[str, dict[str, Any]] = self.jobs[number].counts.get("outputs", {})
            for pipe in self._network.jobs[number].outputs:
                consumer = self._network.consumer(pipe.id)
                if str(pipe.id) in outputs and consumer is not None and not pipe.ASYNC:
                    lost = self.tally.left_behind(number, pipe.id, consumer._fission_id, pipe.BLOCK_COUNT)
                    outputs[str(pipe.id)]["lost"] = lost
        return self.jobs
