"""What the end of a job's process means for the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from fission.client.reports.job_outcome import outcome_of
from fission.client.reports.job_reports import JobReports
from fission.client.run.jobs.counters import Counters
from fission.client.run.jobs.job_channel import JobChannel
from fission.client.run.jobs.processes import JobProcesses
from fission.client.run.jobs.stalled_jobs import StalledJobs
from fission.client.run.nodes.nodes import Nodes
from fission.ports import JobExited, Observer
from fission.protocol.supervision import JobEnded, JobRefused, Supervisor

log = logging.getLogger("fission.client")


class JobEnds:
    """Records and reports the ends of processes, and makes them events of supervision."""

    def __init__(
        self,
        names: Mapping[int, str],
        supervisor: Supervisor,
        nodes: Nodes,
        channel: JobChannel,
        counters: Counters,
        processes: JobProcesses,
        stalled_jobs: StalledJobs,
        reports: JobReports,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to record ends.

        Args:
            names: names of the jobs, by id.
            supervisor: knows the incarnations.
            nodes: know which node is the client's own.
            channel: knows which jobs have reported their end.
            counters: get the last counts of each process.
            processes: lose each process that has ended.
            stalled_jobs: know which processes were killed because they made no progress.
            reports: get the end of each job.
            clock: returns the time in seconds.
        """
        self._names, self._supervisor, self._nodes, self._channel = names, supervisor, nodes, channel
        self._counters, self._processes, self._stalled_jobs = counters, processes, stalled_jobs
        self._reports, self._clock = reports, clock

    def exited(self, event: JobExited, *, stopping: bool, observer: Observer) -> JobEnded | JobRefused | None:
        """Record and report the end of a process.

        Args:
            event: end of the process.
            stopping: whether the network is being stopped.
            observer: notified of the end.

        Returns:
            The event for supervision; None if the network is being stopped.
        """
        job, incarnation, report = event.job_id, event.incarnation, event.report
        newest_incarnation, node = self._supervisor.newest(job)
        newest = incarnation == newest_incarnation
        self._counters.report(job, incarnation, report.counts if report is not None else None, final=True)
        if newest:
            self._stalled_jobs.progress.ended(job)
        if event.node_fault:
            log.warning("the node could not start or keep %s: %s", self._names[job], event.node_fault)
            self._processes.ended(job, incarnation)
            return None if stopping else JobRefused(job=job, incarnation=incarnation, cause=event.node_fault)
        outcome, error, block = outcome_of(event, stopping=stopping, node=node, local=self._nodes.local(node))
        if report is None and (stalled := self._stalled_jobs.stalled(job, incarnation)):
            error = stalled
        ended = newest and job in self._channel.ends and outcome == "failed"
        if ended:
            outcome, error = "finished", None
        if newest:
            summary = self._counters.jobs[job]
            summary.outcome = "killed" if stopping and report is None and event.code else outcome
            self._reports.ended(job, summary.outcome, error, self._clock(), observer)
        self._processes.ended(job, incarnation)
        if stopping:
            return None
        if ended:
            return self.died_early(job, incarnation)
        hopeless = report is not None and report.hopeless
        return JobEnded(job=job, incarnation=incarnation, error=error, block=block, hopeless=hopeless)

    def died_early(self, job: int, incarnation: int) -> JobEnded:
        """End a job whose process died after it had reported the end of its work.

        Its consumers may not have noted the end yet, so the client notifies them in its place.
        """
        self._channel.send_ends(job)
        return JobEnded(job=job, incarnation=incarnation)
