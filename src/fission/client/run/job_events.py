"""What jobs report and how their processes end: recorded, and made events of supervision."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from fission.client.reports.job_outcome import outcome_of
from fission.client.reports.job_reports import JobReports
from fission.client.run.jobs.clock_reports import ClockReports
from fission.client.run.jobs.counters import Counters
from fission.client.run.jobs.job_channel import JobChannel
from fission.client.run.jobs.path_latencies import PathLatencies
from fission.client.run.jobs.processes import JobProcesses
from fission.client.run.jobs.stalled_jobs import StalledJobs
from fission.client.run.nodes.nodes import Nodes
from fission.client.run.storage.checkpoint_service import CheckpointService
from fission.client.run.storage.event_log import EventLog
from fission.ports import Engine, JobExited, NodeName, Observer
from fission.protocol.link_messages import JobMessage
from fission.protocol.messages.client_to_job import AcknowledgeEnd
from fission.protocol.messages.job_to_client import (
    AskClock,
    BlocksReplayed,
    CountsReport,
    JobHello,
    JobWarning,
    LinesTaken,
    RetainValue,
    SaveSnapshot,
    SnapshotNeeded,
    SnapshotStable,
    WorkDone,
)
from fission.protocol.supervision import JobEnded, JobReady, JobRefused, Replayed, Supervisor

log = logging.getLogger("fission.client")


class JobEvents:
    """Handles the messages and the ends of the jobs of one run."""

    def __init__(
        self,
        names: Mapping[int, str],
        supervisor: Supervisor,
        nodes: Nodes,
        channel: JobChannel,
        counters: Counters,
        processes: JobProcesses,
        stalled_jobs: StalledJobs,
        latencies: PathLatencies,
        clock_reports: ClockReports,
        reports: JobReports,
        checkpoints: CheckpointService,
        engine: Engine,
        event_log: EventLog,
        on_console: Callable[[str, int, int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to handle events.

        Args:
            names: names of the jobs, by id.
            supervisor: knows the incarnations.
            nodes: know which node is the client's own.
            channel: knows which jobs have reported their end.
            counters: get the last counts of each process.
            processes: lose each process that has ended.
            stalled_jobs: know which processes were killed because they made no progress.
            latencies: get the times that blocks were under way.
            clock_reports: answer jobs that ask for the client's clock.
            reports: get the end of each job.
            checkpoints: store what jobs send.
            engine: brings snapshots to jobs on other machines.
            event_log: records what a resumed client must know.
            on_console: called with ("typed", job, lines) when a job has taken lines.
            clock: returns the time in seconds.
        """
        self._names, self._supervisor, self._nodes, self._channel = names, supervisor, nodes, channel
        self._counters, self._processes, self._stalled_jobs = counters, processes, stalled_jobs
        self._latencies, self._reports, self._checkpoints, self._engine = latencies, reports, checkpoints, engine
        self._clock_reports = clock_reports
        self._log, self._on_console, self._clock = event_log, on_console, clock

    async def message(self, found: JobMessage, observer: Observer) -> JobReady | Replayed | None:
        """Handle a message of a job.

        Args:
            found: the message, of an incarnation that was started.
            observer: notified of warnings.

        Returns:
            The event for supervision, if any.
        """
        job, incarnation, message = found.job, found.incarnation, found.message
        if isinstance(message, CountsReport | WorkDone):
            self._counters.report(job, incarnation, message.counts, final=isinstance(message, WorkDone))
        newest, node = self._supervisor.newest(job)
        if incarnation != newest:
            return None  # fenced: its job has a newer incarnation
        match message:
            case CountsReport():
                self._stalled_jobs.heard(job, message)
                if text := self._latencies.heard(job, node, message.latencies):
                    observer.warning(text)
            case JobHello():
                return self._hello(job, incarnation, message)
            case BlocksReplayed():
                if message.incarnation > 1:  # the first incarnation was not there yet, so its blocks are no replay
                    self._counters.replayed(job, message.pipe, message.blocks)
                return Replayed(job=message.job, incarnation=message.incarnation, blocks=message.blocks)
            case WorkDone():
                self._work_done(job, incarnation, message)
            case LinesTaken():
                self._on_console("typed", job, message.lines)
            case JobWarning():
                self._reports.warning(job, message, observer)
            case SnapshotNeeded():
                name = f"{message.generation}.{message.block}"
                pieces = self._checkpoints.pieces(job, message.generation, message.block)
                await self._engine.bring(job, incarnation, NodeName(node), name, pieces)
            case AskClock():
                self._clock_reports.asked(job, incarnation)
            case SaveSnapshot() | SnapshotStable() | RetainValue():
                self._checkpoints.take(job, message, found.payload)
            case _:
                log.warning("dropped a %s from %s: nothing handles it", type(message).__name__, self._names.get(job))
        return None

    def _hello(self, job: int, incarnation: int, hello: JobHello) -> JobReady:
        now = self._clock()
        self._log.write({"what": "Hello", "job": job, "incarnation": incarnation, "process": hello.process, "addresses": hello.addresses})
        self._channel.said_hello(job, incarnation, hello.addresses)
        self._processes.said_hello(job, incarnation, hello.process)
        self._stalled_jobs.progress.ready(job, now)
        self._reports.failures.ready(job, now)
        return JobReady(job=job, incarnation=incarnation)

    def _work_done(self, job: int, incarnation: int, message: WorkDone) -> None:
        if not self._supervisor.alive(job):
            return  # given up with its node and waiting for a place: its next incarnation ends by itself
        # all its work is done and released, so nothing that happens to its process from here on is a failure
        self._channel.ends[job] = {pipe: (incarnation, *last) for pipe, last in message.ends.items()}
        self._log.write({"what": "Ended", "job": job, "ends": self._channel.ends[job]})
        self._log.sync(lambda: self._channel.command(job, AcknowledgeEnd()))

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
