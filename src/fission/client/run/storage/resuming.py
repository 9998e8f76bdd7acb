"""What a client restores of the run that it resumes, and which incarnations it finds running."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import Enum

from fission.client.reports.summary import JobSummary
from fission.client.run.jobs.bundles import Addresses
from fission.client.run.jobs.job_channel import JobChannel
from fission.client.run.storage.resume_state import ResumeState
from fission.protocol.supervision import JobState, Supervisor


class Found(Enum):
    """How a client finds a job that an earlier client had launched."""

    FINISHED = "finished, as the earlier client noted"
    RUNNING = "its process runs"
    ENDED = "it had reported its end, and its process is gone"
    MISSING = "its process is gone"


class Resuming:
    """A run that is resumed. A new run has nothing to restore."""

    def __init__(self, history: ResumeState | None) -> None:
        """Prepare the resume.

        Args:
            history: state of the run to resume; None: this is a new run.
        """
        self._history = history
        self._running: set[tuple[int, int]] = set()  # incarnations that nodes had when they joined

    @property
    def continues(self) -> bool:
        """Whether an earlier client began the run."""
        return self._history is not None

    def restore(self, supervisor: Supervisor, addresses: Addresses, channel: JobChannel, jobs: Mapping[int, JobSummary]) -> None:
        """Restore what the earlier client knew.

        Args:
            supervisor: gets the incarnations, generations and finished jobs.
            addresses: get the addresses of each incarnation.
            channel: gets the ends of jobs that had ended.
            jobs: get their restarts and outcomes.
        """
        if self._history is None:
            return
        network = self._history.network
        supervisor.resume(network)
        addresses.recall(network.incarnations, self._history.addresses)
        channel.ends.update({job: dict(ends) for job, ends in self._history.ends.items()})
        for job, (incarnation, _) in network.incarnations.items():
            jobs[job].restarts = incarnation - 1
            if job in network.finished:
                jobs[job].outcome = "finished"

    def joined(self, incarnations: Collection[tuple[int, int]]) -> None:
        """Record the incarnations of a node that has joined, as (job, incarnation)."""
        self._running.update(incarnations)

    def found(self, supervisor: Supervisor, channel: JobChannel) -> Iterator[tuple[int, int, Found]]:
        """Yield (job, incarnation, how it is found) of each job launched by the earlier client.

        Call it once the nodes have joined.
        """
        for job, (incarnation, _) in self._history.network.incarnations.items() if self._history is not None else ():
            if supervisor.state(job) is JobState.FINISHED:
                yield job, incarnation, Found.FINISHED
            elif (job, incarnation) in self._running:
                yield job, incarnation, Found.RUNNING
            else:
                yield job, incarnation, Found.ENDED if job in channel.ends else Found.MISSING
