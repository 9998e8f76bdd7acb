"""The shell around supervision and liveness: feeds in events, performs and logs the decisions.

Events come from the engine (processes, pulses), from the jobs (messages) and from the clock. One
task of the client's loop handles them one at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fission.adapters.zmq_jobs import ZmqJobTransport
from fission.client.reports.job_reports import JobReports
from fission.client.reports.summary import JobSummary
from fission.client.run.inbox import Inbox
from fission.client.run.job_events import JobEvents
from fission.client.run.jobs.bundles import Addresses, Bundles
from fission.client.run.jobs.clock_reports import ClockReports
from fission.client.run.jobs.counters import Counters, restarted_pipes
from fission.client.run.jobs.job_channel import JobChannel
from fission.client.run.jobs.path_latencies import PathLatencies
from fission.client.run.jobs.processes import JobProcesses
from fission.client.run.jobs.stalled_jobs import StalledJobs
from fission.client.run.launcher import Launcher
from fission.client.run.nodes.gathering import Gathering
from fission.client.run.nodes.node_clocks import NodeClocks
from fission.client.run.nodes.node_watch import NodeWatch
from fission.client.run.nodes.nodes import Nodes
from fission.client.run.storage.checkpoint_service import CheckpointService
from fission.client.run.storage.disk_threads import Disk
from fission.client.run.storage.event_log import EventLog
from fission.client.run.storage.resume_state import RESUMED, ResumeState
from fission.client.run.storage.resuming import Found, Resuming
from fission.core.network import Network
from fission.core.nodes import NodeInfo
from fission.durable import DamagedFileError
from fission.errors import EXIT_FAILED, UserError
from fission.ports import (
    CheckpointStore,
    Engine,
    EngineEvent,
    EngineNotice,
    JobExited,
    JobOutput,
    LinksMeasured,
    NodeGone,
    NodeJoined,
    NodeName,
    NodePulse,
    Observer,
)
from fission.protocol import supervision
from fission.protocol.link_messages import JobMessage
from fission.protocol.messages.client_to_job import ClientToJob, CloseOutput, ReachClient, ResetGeneration
from fission.protocol.messages.client_to_viewer import CheckpointCounts, JobStandstill
from fission.protocol.supervision import JobState, NodeLost, NodeUp, Supervisor

log = logging.getLogger("fission.client")


class Coordinator:
    """Coordinates one run of a network.

    Attributes:
        jobs: the summary of each job, by id.
        result: (exit code, reason, error) once supervision has decided that the network is over.
        over: set together with ``result``.
        all_started: set once every job has been started.
        engine: hosts the jobs.
        supervisor: decides what happens to the jobs; read it, but feed it through this class.
        known_nodes: the nodes of the run.
        counters: the counts of its jobs.
        processes: the processes of its jobs.
        receivers: handlers of additional message classes (`Inbox`).
        on_launch: called with a job's id after a new incarnation of it was ordered to start.
    """

    def __init__(
        self,
        network: Network,
        plans: Sequence[supervision.JobPlan],
        nodes: Sequence[NodeInfo],
        engine: Engine,
        transport: ZmqJobTransport,
        store: CheckpointStore,
        observer: Observer,
        addresses: Addresses,
        *,
        pulse_interval_s: float,
        restart_window_s: float,
        allocation_timeout_s: float,
        on_console: Callable[[str, int, int], None],
        gather_s: float | None = None,
        history: ResumeState | None = None,
        clock: Callable[[], float] = time.monotonic,
        disk: Disk | None = None,
        deadline_s: float | None = None,
        on_failover: Callable[[supervision.Failover], None] = lambda failover: None,
    ) -> None:
        """Prepare the run; `run` begins it.

        Args:
            network: the network.
            plans: what supervision needs to know of each job.
            nodes: the expected nodes.
            engine: hosts the jobs.
            transport: carries messages between client and jobs.
            store: holds snapshots and retained values.
            observer: notified of what happens.
            addresses: where jobs and client listen.
            pulse_interval_s: seconds between the pulses of a node.
            restart_window_s: the network's setting ``restart_window``, in seconds.
            allocation_timeout_s: the network's setting ``allocation_timeout``, in seconds.
            on_console: called with (what, job, lines) on events of jobs with consoles, and at the
                end of each job.
            gather_s: seconds after which the network starts without the missing nodes; None: it
                needs all of them.
            history: state of the run to resume; None: this is a new run.
            clock: returns the time in seconds; every decision about time uses it.
            disk: writes to ``store``; by default in the caller's thread.
            deadline_s: the network's setting ``deadline``, in seconds; None: there is none.
            on_failover: called with each failover when it is over.
        """
        self._on_failover = on_failover
        self._clock, self._began = clock, clock()
        self.engine = engine
        self.observer = observer
        self._addresses = addresses
        self._names = {number: job._fission_name for number, job in network.jobs.items()}
        warn = lambda text: self.observer.warning(text)  # noqa: E731
        self.known_nodes = Nodes(network, nodes, several=gather_s is not None, tq=lambda node: self._nodes.quality(node), warn=warn)
        self._nodes = NodeWatch(pulse_interval_s, engine, self.known_nodes.local, clock)
        self._gathering = Gathering(self.known_nodes, self._nodes, gather_s, clock)
        self.supervisor = Supervisor(plans, self.known_nodes, restart_window_s=restart_window_s, allocation_timeout_s=allocation_timeout_s)
        self._channel = JobChannel(network, self.supervisor, transport, addresses)
        self.processes = JobProcesses(self.incarnation)
        self._stalled_jobs = StalledJobs(network, engine, self.processes, clock)
        several = gather_s is not None
        machine = lambda node: node if several and not self.known_nodes.local(node) else ""  # noqa: E731
        self.latencies = PathLatencies(network, self.processes, machine, clock, deadline_s=deadline_s)
        self.clocks = NodeClocks()
        self._clock_reports = ClockReports(self.clocks, machine, self.supervisor.newest, self._channel.command)
        self._inbox = Inbox(engine, transport, self.incarnation)
        self.receivers = self._inbox.receivers
        self._reports = JobReports(self._names, on_console)
        self._bundles: Bundles | None = None
        self._log = EventLog(self._report, clock)
        self._checkpoints = CheckpointService(store, self.command, self._report, self._note_stored, clock, disk=disk)
        self.stopping = False
        self.error: Exception | None = None
        self.counters = Counters(self._names, restarted_pipes(network, plans), resumed=history is not None)
        self.jobs = self.counters.jobs
        self._launcher = Launcher(
            network, engine, self.supervisor, self._channel, self._checkpoints, self.processes, self._stalled_jobs, on_console, clock
        )
        self._job_events = JobEvents(
            self._names,
            self.supervisor,
            self.known_nodes,
            self._channel,
            self.counters,
            self.processes,
            self._stalled_jobs,
            self.latencies,
            self._clock_reports,
            self._reports,
            self._checkpoints,
            engine,
            self._log,
            on_console,
            clock,
        )
        self.result: tuple[int, str, str] | None = None
        self.over = asyncio.Event()
        self.all_started = asyncio.Event()
        self._unstarted = sorted(self._names, reverse=True)
        self.on_launch: Callable[[int], None] = lambda job: None
        self._resuming = Resuming(history)
        self._resuming.restore(self.supervisor, addresses, self._channel, self.jobs)

    def _report(self, kind: str, text: str) -> None:
        (self.observer.warning if kind == "warning" else self.observer.notice)(text)

    def _note_stored(self, job: int, then: Callable[[], None]) -> None:
        self._log.write({"what": "Stored", "job": job})
        self._log.sync(then)

    async def _start(self) -> None:
        """Launch the jobs that should run and do not, now that the nodes are up."""
        missing = []
        for job, incarnation, how in self._resuming.found(self.supervisor, self._channel):
            if how is Found.FINISHED:
                self._channel.send_ends(job)
            elif how is Found.RUNNING:
                self.processes.started(job, incarnation, self.supervisor.newest(job)[1])
                self._stalled_jobs.progress.started(job, self._clock())
                self._stalled_jobs.progress.ready(job, self._clock())
                # the earlier client may have had another address
                self.command(job, ReachClient(address=self._addresses.client_for(self.supervisor.newest(job)[1])))
            elif how is Found.ENDED:
                await self._supervise(self._job_events.died_early(job, incarnation))
            else:
                missing.append(job)
        await self._perform(self.supervisor.start(self._clock(), missing))
        self._look_started()

    def summaries(self) -> Mapping[int, JobSummary]:
        """Return the summary of each job, with the counts of all its incarnations."""
        return self.counters.summaries(self.incarnation)

    @property
    def failovers(self) -> list[supervision.Failover]:
        """All failovers so far."""
        return self.supervisor.failovers

    def nodes(self) -> list[NodeInfo]:
        """Return every known node with the names of its jobs.

        Nodes that were never up have no room.
        """
        there: dict[str, list[int]] = {}
        for job in sorted(self._names):
            there.setdefault(self.supervisor.newest(job)[1], []).append(job)
        return self.known_nodes.infos(lambda node: there.get(node, ()))

    async def standing(self) -> Mapping[int, JobStandstill]:
        """Return the jobs that make no progress, by id, with the reason as far as it is known."""
        return await self._stalled_jobs.shown()

    def placed_because(self, job: int) -> str:
        """Return why a job is on its node; empty: it stayed there when it was started again, or is nowhere."""
        return self.supervisor.placed_because(job)

    def up(self, node: str) -> bool:
        """Return whether a node pulses."""
        return self._nodes.up(node)

    def incarnation(self, job: int) -> int:
        """Return the newest incarnation of a job; 0 if it has none yet."""
        return self.supervisor.newest(job)[0]

    def state(self, job: int) -> JobState:
        """Return the state of a job."""
        return self.supervisor.state(job)

    def stored(self, job: int) -> CheckpointCounts:
        """Return what was stored for a job so far."""
        return self._checkpoints.totals.of(job)

    def open_log(self, folder: Path) -> None:
        """Continue the event log in a run's folder, or begin it.

        Raises:
            UserError: the log is damaged or cannot be written.
        """
        try:
            self._log.open(folder)
        except (DamagedFileError, OSError) as why:
            raise UserError(f"the event log of the run cannot be written: {why}") from None
        if self._resuming.continues:
            self._log.write({"what": RESUMED})

    def begin(self, bundles: Bundles) -> None:
        """Expect the nodes; jobs can be launched from now on.

        Args:
            bundles: makes what the jobs' processes receive.
        """
        self._bundles = bundles
        for name in self.known_nodes:
            self._nodes.expect(name)

    async def run(self, bundles: Bundles) -> None:
        """Handle events until cancelled. Call `open_log` first."""
        try:
            async with self._inbox:
                self.begin(bundles)
                while True:
                    due = self.next_deadline()
                    event = await self._inbox.next(None if due is None else max(0.0, due - self._clock()))
                    await self._guarded(self.tick() if event is None else self.take(event))
        finally:
            self._checkpoints.close()
            self._log.close()

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except Exception as why:
            # a failing observer must not leave the network running unwatched, so the network is stopped in order
            self.error = self.error or why
            self.observer = Observer()
            self._decide(1, "the client failed", "")

    def next_deadline(self) -> float | None:
        """Return the moment by which `tick` must be called; None if nothing depends on time."""
        parts = (
            self.supervisor.due,
            self._nodes.due,
            self._reports.failures.due,
            self._stalled_jobs.progress.due,
            self._gathering.due,
        )
        return min((moment for moment in parts if moment is not None), default=None)

    # events

    async def take(self, event: EngineEvent | JobMessage) -> None:
        """Handle an event of the engine or a message of a job."""
        if isinstance(event, JobOutput | JobExited) and event.job_id not in self._names:
            log.warning("dropped a report about job %s, which does not exist", event.job_id)
        elif isinstance(event, JobOutput):
            for line in event.lines:
                self.observer.job_output(self._names[event.job_id], event.job_id, event.stream, line)
        elif isinstance(event, JobMessage):
            result = await self._job_events.message(event, self.observer)
            if result is not None:
                await self._supervise(result)
        elif isinstance(event, JobExited):
            end = self._job_events.exited(event, stopping=self.stopping, observer=self.observer)
            if end is not None:
                await self._supervise(end)
        elif isinstance(event, NodePulse):
            if event.means:
                self.known_nodes.measured(event.name, event.means)
                self._on_clock(event)
            await self._on_nodes(self._nodes.pulse(event.name, event.incarnation))
        elif isinstance(event, LinksMeasured):
            self.known_nodes.linked(event.name, event.links)
            await self._on_nodes(())
        elif isinstance(event, NodeJoined):
            await self._on_joined(event)
        elif isinstance(event, EngineNotice):
            self.observer.warning(event.text)
        elif isinstance(event, NodeGone):
            self._note_lost(event.name)
            self.processes.gone(event.name)
            if not self.stopping and self.known_nodes.local(event.name):
                # the client's own node is not restarted, and no other node takes local jobs
                self.observer.warning(f"node {event.name} is lost: {event.reason}")
                self._decide(EXIT_FAILED, f"node {event.name} is lost: {event.reason}", "")
                return
            await self._on_nodes(self._nodes.gone(event))

    def _on_clock(self, pulse: NodePulse) -> None:
        for text in self.clocks.heard(pulse.name, pulse.means):
            self.observer.warning(text)
        if (clock := self.clocks.steady(pulse.name)) is not None:
            self.latencies.clock_measured(pulse.name, clock)
            self._clock_reports.measured(pulse.name)

    def _note_lost(self, node: str) -> None:
        """Note that a node's jobs are lost, in case no later incarnation ends."""
        for job, summary in self.jobs.items():
            if self.supervisor.newest(job)[1] == node and self.supervisor.alive(job):
                summary.outcome = "lost"

    async def tick(self) -> None:
        """Handle the passing of time."""
        self._reports.failures.tick(self._clock(), self.observer)
        await self._stalled_jobs.end_stalled()
        await self._on_nodes(self._nodes.tick())
        if self._gathering.started:
            await self._supervise(supervision.Tick())

    async def _on_joined(self, event: NodeJoined) -> None:
        new = self.known_nodes.joined(event)
        self.clocks.joined(event.name)
        self.latencies.node_joined(event.name)
        self._resuming.joined(event.running)
        for job, incarnation in event.running:
            if incarnation < self.incarnation(job):  # moved by an earlier client, which may have ended before it stopped this incarnation
                await self.engine.stop(job, incarnation, NodeName(event.name), grace=0)
        self._log.write(event)
        if new:
            self._nodes.expect(event.name)

    async def _on_nodes(self, changes: Sequence[NodeUp | NodeLost]) -> None:
        for change in changes:
            if isinstance(change, NodeLost):
                self._note_lost(change.node)
                there = [job for job in self._channel.ends if self.supervisor.alive(job) and self.supervisor.newest(job)[1] == change.node]
                for job in there:
                    await self._supervise(self._job_events.died_early(job, self.supervisor.newest(job)[0]))
                await self.engine.lost(NodeName(change.node))
            await self._supervise(change)
        if self._gathering.may_start():
            self._gathering.started = True
            missing = self._gathering.missing()
            ended = [name for name in missing if self._nodes.ended(name)]
            for name in ended:
                self.observer.warning(f"node {name} is lost: {self._nodes.ended(name)}")
            away = [name for name in missing if name not in ended]
            hints = await asyncio.to_thread(self._absences, away) if away else {}
            self.observer.nodes_ready(self.nodes(), {**dict.fromkeys(ended, ""), **hints})
            await self._start()

    def _absences(self, missing: Sequence[str]) -> dict[str, str]:
        """Return each missing node with what to do about it."""
        return {name: self.engine.absence(NodeName(name)) for name in missing}

    # instructions

    async def _supervise(self, event: supervision.Event) -> None:
        self._log.write(event)
        await self._perform(self.supervisor.handle(event, self._clock()))

    async def _perform(self, instructions: Sequence[supervision.Instruction]) -> None:
        for instruction in instructions:
            self._log.write(instruction)
        if instructions:
            self._log.sync()  # a resumed client must know of everything that was begun
        for instruction in instructions:
            if self.stopping:
                return
            if isinstance(instruction, supervision.Launch):
                await self._launch(instruction)
            elif isinstance(instruction, supervision.Wire):
                self._channel.wire(instruction)
            elif isinstance(instruction, supervision.Close):
                self.command(instruction.job, CloseOutput(pipe=instruction.pipe))
            elif isinstance(instruction, supervision.Reset):
                self.command(instruction.job, ResetGeneration(generation=instruction.generation))
            elif isinstance(instruction, supervision.Kill):
                await self.engine.stop(instruction.job, instruction.incarnation, NodeName(instruction.node), grace=0)
            elif isinstance(instruction, supervision.Failover):
                self._on_failover(instruction)
                log.warning("%s", instruction, extra={"failover": instruction})
                self.observer.failover(str(instruction))
            elif isinstance(instruction, supervision.Notify):
                log.log(logging.WARNING if instruction.warning else logging.INFO, "%s", instruction.text)
                (self.observer.warning if instruction.warning else self.observer.notice)(instruction.text)
            else:
                self._decide(instruction.exit_code, instruction.reason, instruction.error)

    async def _launch(self, order: supervision.Launch) -> None:
        if self._bundles is None:
            return
        await self._launcher.launch(order, self._bundles)
        self._look_started()
        self.jobs[order.job].restarts = order.incarnation - 1
        self.on_launch(order.job)
        name = self._names[order.job]
        if order.incarnation == 1:
            self.jobs[order.job].waited = self._clock() - self._began
            self.observer.job_started(name, order.job)
        self.observer.job_placed(name, order.job, order.node)

    def _look_started(self) -> None:
        while self._unstarted and self.incarnation(self._unstarted[-1]):
            self._unstarted.pop()
        if not self._unstarted:
            self.all_started.set()

    def command(self, job: int, message: ClientToJob) -> None:
        """Send a message to the newest incarnation of a job, at once or when it has started."""
        self._channel.command(job, message)

    def _decide(self, exit_code: int, reason: str, error: str) -> None:
        if self.result is None:
            self.result = (exit_code, reason, error)
            self.over.set()
            if error and exit_code != EXIT_FAILED:
                self.observer.warning(error if error.startswith("no place for ") else f"{reason}: {error}")

    def end(self) -> None:
        """Report the failures held back, then the one that ended the run, if any.

        The jobs are stopped.
        """
        code, reason, error = self.result or (0, "", "")
        self._reports.end(code, reason, error, self.observer)
