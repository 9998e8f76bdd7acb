"""Performs one run of a network as its `RunPlan` says.

Everything runs in one asyncio loop, signals included. The first Ctrl-C or SIGTERM stops the jobs in
order; the second kills them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

from fission.adapters.descriptors import Reserve
from fission.adapters.file_checkpoints import FileCheckpoints
from fission.adapters.machine import Means
from fission.adapters.shared_memory.segments import sweep
from fission.adapters.zmq_jobs import ZmqJobTransport
from fission.client.folders.endings import ENDING_FILE, write_ending
from fission.client.folders.work_folder import end_log, start_log
from fission.client.reports.job_outcome import failed_job
from fission.client.reports.summary import Summary
from fission.client.run.coordinator import Coordinator
from fission.client.run.jobs.bundles import Bundles, plans
from fission.client.run.nodes.loss import answer_losses
from fission.client.run.plan import RunPlan
from fission.client.run.run_counts import answer_counts
from fission.client.run.run_telemetry import RunTelemetry, open_telemetry
from fission.client.run.service_notices import report_to
from fission.client.run.storage.disk_threads import DiskThreads
from fission.client.serve.actions import answer_actions
from fission.client.serve.broadcast import Broadcast
from fission.client.serve.consoles import Consoles
from fission.client.serve.control_server import RUNNING_FILE, Connection, ControlServer
from fission.client.serve.description import answer_description
from fission.client.serve.taps import Taps
from fission.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_TERMINATED, FissionError, InternalError, JobFailed, UserError
from fission.ports import Engine, NodeName, Observer
from fission.posix.loop_signals import LoopSignals
from fission.protocol.messages.client_to_viewer import LinkRow, LogsCollected, NodeRow, RunStatus, RunStopping
from fission.protocol.messages.viewer_to_client import CollectLogs, InspectRun, StopRun

log = logging.getLogger("fission.client")

#: Seconds that a job has to stop after the request. Ctrl-C must take at most 2 s, with what follows.
GRACE_S = 1.0
#: Seconds to wait for the end of killed jobs; arbitrary.
KILLED_S = 0.5
#: Seconds that viewers of a network that ended well may take to read the last blocks; arbitrary.
VIEWERS_S = 30.0
#: Folder of snapshots in a run's folder.
CHECKPOINTS = ".checkpoints"


class ClientMovedError(Exception):
    """The nodes must reach this machine at another address: the run must be resumed there."""


class NetworkRun:
    """One run of a network."""

    def __init__(self, plan: RunPlan, observer: Observer) -> None:
        """Prepare the run; `main` performs it.

        Args:
            plan: what to run.
            observer: notified of what happens.
        """
        self._plan = plan
        self._loaded, self._folder, self._engine = plan.loaded, plan.folder, plan.engine
        self._windowed = False  # the output of jobs has its own window
        self._broadcast = Broadcast(observer, show_outputs=self._shows)
        self._observer: Observer = self._broadcast
        self._means = Means(plan.folder.parent)
        self._exit_code = EXIT_OK
        self._reason = ""
        self._over = asyncio.Event()  # the network must stop
        self._kill = asyncio.Event()  # the network must stop at once
        self._moving = False  # this client leaves the network to one at another address

    def _shows(self, job: int) -> bool:
        return job in self._plan.shown_jobs or (self._plan.windows is not None and not self._windowed)

    async def _follow(self, on: bool) -> None:
        await self._engine.follow(on or self._plan.windows is not None)

    def _answer(self, requests: ControlServer, coordinator: Coordinator) -> None:
        """Answer requests for the output (by `Broadcast`), stop, status and logs.

        `Taps` and `Consoles` answer all others.
        """
        engine = self._engine
        self._means.sample(time.monotonic())
        self._broadcast.open(requests, sorted(self._loaded.network.jobs), self._follow)

        async def stop(request: StopRun, connection: Connection) -> RunStopping:
            if request.by:
                self._observer.notice(f"{request.by} has stopped the network")
            self._end("stopped")
            return RunStopping(pid=os.getpid())

        async def status(request: InspectRun, connection: Connection) -> RunStatus:
            self._means.sample(time.monotonic())
            here = asdict(self._means.load())
            nodes = []
            for node in coordinator.nodes():
                links = {
                    other: LinkRow(TQ=link.quality, rtt=link.rtt_s) for other, link in coordinator.known_nodes.links(node.name).items()
                }
                values = {**asdict(node), "up": coordinator.up(node.name), "links": links}
                if (clock := coordinator.clocks.wall(node.name)) is not None:
                    values |= {"clock_offset": clock.offset_s, "clock_error": clock.error_s, "clock_drift": clock.drift}
                if not coordinator.known_nodes.is_measured(node.name):
                    virtual = engine.stopped(NodeName(node.name)) is not None
                    values |= here if virtual else dict.fromkeys(here)
                nodes.append(NodeRow(**values))
            failovers = tuple(map(str, coordinator.failovers))
            return RunStatus(nodes=tuple(nodes), failovers=failovers, run=self._folder.name, pid=os.getpid())

        async def collect(request: CollectLogs, connection: Connection) -> LogsCollected:
            logs = {str(node): text for node, text in (await engine.logs(self._loaded.name)).items()}
            return LogsCollected(logs=logs, ips={node.name: node.ip for node in coordinator.nodes()})

        requests.answer(StopRun, stop)
        requests.answer(InspectRun, status)
        answer_actions(self._observer, requests)
        answer_description(self._loaded.network, requests)
        answer_counts(coordinator, requests)
        answer_losses(self._loaded.network, coordinator.known_nodes, coordinator.supervisor, requests)
        if self._plan.collects_logs:
            requests.answer(CollectLogs, collect)

    # the run

    async def main(self, duration: float | None, signals: LoopSignals) -> Summary:
        """Run to the end and return the summary.

        Raises:
            ClientMovedError: this machine's address has changed. The network was left as by the
                death of this process: the jobs of the nodes continue, and a resume finds them.
        """
        started = time.monotonic()
        plan, config, network = self._plan, self._loaded.config, self._loaded.network
        signals.deliver(asyncio.get_running_loop(), self._on_signal)
        engine = self._engine
        for text in plan.warnings:
            self._observer.warning(text)
        transport = ZmqJobTransport(plan.addresses.client, plan.remote_address, plan.guard)
        coordinator = Coordinator(
            network,
            plans(network, config.restarts),
            plan.nodes,
            engine,
            transport,
            FileCheckpoints(self._folder / CHECKPOINTS),
            self._observer,
            plan.addresses,
            pulse_interval_s=config.pulse_interval,
            restart_window_s=config.restart_window,
            deadline_s=config.deadline,
            on_failover=lambda failover: telemetry.failed_over(failover),
            allocation_timeout_s=config.allocation_timeout,
            on_console=lambda what, job, lines: hear(what, job, lines),
            gather_s=plan.gather_s,
            history=plan.resume_state,
            disk=DiskThreads(),
        )
        requests = ControlServer(f"{plan.run_folder}/requests", self._folder / RUNNING_FILE, nodes=bool(plan.remote_address))
        taps = Taps(network, coordinator, requests)
        consoles = Consoles(self._loaded, requests, self._observer, plan.stdin, coordinator.command)

        def hear(what: str, job: int, lines: int) -> None:
            consoles.hear(what, job, lines)
            if what == "ended":
                taps.ended(job)

        reserve = Reserve()
        telemetry = RunTelemetry()
        handlers: list[logging.Handler] = []
        tasks: list[asyncio.Task[Any]] = []
        summary: Summary | None = None
        try:
            opening = asyncio.create_task(engine.open())
            await asyncio.sleep(0)  # the fork servers start while the folders are made
            if self._loaded.config.preload:
                await self._unless_over(opening)  # a module that cannot be imported is a fault of the config, which touches no file
            telemetry = await open_telemetry(
                self._loaded.name, {number: job._fission_name for number, job in network.jobs.items()}, self._folder, self._observer
            )
            plan.make_folders()
            with contextlib.suppress(OSError):
                (self._folder / ENDING_FILE).unlink(missing_ok=True)
            coordinator.open_log(self._folder)
            handlers = start_log(self._loaded, self._folder / "fission.log", self._observer, telemetry.handler(config.log_level))
            for note in self._loaded.notes:
                log.debug("%s", note)
            bundles = Bundles(self._loaded, str(self._folder), plan.addresses, coordinator.incarnation)
            await self._unless_over(opening)
            if not self._over.is_set():
                try:
                    self._answer(requests, coordinator)
                    await requests.open()
                    consoles.open()
                except OSError as why:
                    raise UserError(f"the run cannot start: {why.filename or self._folder}: {why.strerror or why}") from None
                if plan.windows is not None:
                    self._windowed = plan.windows.open(self._loaded.name, "debug")
                coordinating = asyncio.create_task(coordinator.run(bundles))
                tasks += [coordinating, asyncio.create_task(plan.manager.keep_alive(lambda: not coordinating.done()))]
                if plan.manager.wanted:
                    tasks.append(asyncio.create_task(report_to(plan.manager, coordinator)))
                tasks += [asyncio.ensure_future(companion(coordinator)) for companion in plan.companions]
                if plan.moved is not None:
                    tasks.append(asyncio.ensure_future(self._leave_when(plan.moved)))
                await self._until_over(coordinator, duration)
            reserve.release()  # lets the last files be written even if all other descriptors are taken
            if not self._moving:
                plan.manager.stopping()
                await self._stop_all(engine, coordinator)
            if plan.windows is not None:
                plan.windows.close()
            if self._moving:
                signals.hold()
                raise ClientMovedError
            await engine.dismiss()
            coordinator.end()
            summary = self._summary(coordinator, time.monotonic() - started)
        finally:
            reserve.release()
            if self._moving:
                await _cancelled(tasks)  # first: the ends of this machine's jobs are no failures
            else:
                self._note_end(coordinator, summary, sys.exc_info()[1])
            reason = self._reason or str(coordinator.error or sys.exc_info()[1] or "")
            await telemetry.close(self._observer, reason, EXIT_FAILED if summary is None else summary.exit_code)
            await self._broadcast.close(summary)
            if not self._moving:
                await taps.settle(VIEWERS_S if self._exit_code == EXIT_OK else GRACE_S / 2)
            await requests.close()
            await engine.close()
            await _cancelled(tasks)
            consoles.close()
            transport.close()
            sweep(plan.addresses.shared_prefix)
            for path in self._folder.glob("*/.pipe_*.fifo"):  # left by executables whose jobs had to be killed
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            if not self._moving:
                signals.forget()
            end_log(handlers)
        if coordinator.error is not None:
            raise coordinator.error
        if summary is None:
            raise InternalError("a run has ended without a summary and without an error")
        return summary

    def _note_end(self, coordinator: Coordinator, summary: Summary | None, error: BaseException | None) -> None:
        """Write down how the run ended, for later requests."""
        if not self._folder.is_dir():
            return
        error = error or coordinator.error
        if error is not None or summary is None:
            exit_code = error.exit_code if isinstance(error, FissionError) else EXIT_FAILED
            reason, lines = str(error) or type(error).__name__, [f"Error: {error}"]
        else:
            exit_code, reason, lines = summary.exit_code, summary.reason, summary.lines()
            lines += [line for failure in summary.failures for line in str(failure).splitlines()]
        for line in lines:
            log.log(logging.ERROR if exit_code else logging.DEBUG, "%s", line)
        write_ending(self._folder, exit_code, reason, lines)

    async def _unless_over(self, opening: asyncio.Task[None]) -> None:
        await first_of(opening, self._over.wait())
        if opening.cancelled():
            return
        if opening.done():
            opening.result()
        else:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)

    async def _until_over(self, coordinator: Coordinator, duration: float | None) -> None:
        # the time that nodes take to come up does not count
        await first_of(self._over.wait(), coordinator.over.wait(), coordinator.all_started.wait())
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(first_of(self._over.wait(), coordinator.over.wait()), duration)
        if coordinator.result is not None:
            self._end(coordinator.result[1])
        self._end("time is over")

    async def _leave_when(self, moved: Callable[[Observer], Awaitable[None]]) -> None:
        await moved(self._observer)
        if not self._over.is_set():
            self._moving = True
            self._over.set()

    # signals and the end

    def _on_signal(self, number: int) -> None:
        if self._over.is_set():
            self._kill.set()
            return
        self._exit_code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TERMINATED
        self._end("interrupted" if number == signal.SIGINT else "terminated")

    def _end(self, reason: str) -> None:
        if not self._over.is_set():
            self._reason = reason
            self._over.set()

    async def _stop_all(self, engine: Engine, coordinator: Coordinator) -> None:
        coordinator.stopping = True
        for job, incarnation, node in coordinator.processes.newest():
            await engine.stop(job, incarnation, NodeName(node), grace=GRACE_S)
        if not coordinator.processes.empty.is_set():
            # whatever is left, the engine's end kills; a limit above this one would be an error when this process was frozen meanwhile
            await first_of(coordinator.processes.empty.wait(), self._kill.wait(), asyncio.sleep(GRACE_S + KILLED_S))

    def _summary(self, coordinator: Coordinator, seconds: float) -> Summary:
        for job, _, _ in coordinator.processes.newest():
            coordinator.jobs[job].outcome = "killed"  # by the engine's end, which is not reported
        failures = []
        if coordinator.result is not None and self._exit_code == EXIT_OK:
            self._exit_code, reason, error = coordinator.result
            if error:
                failures = [JobFailed(failed_job(reason), error)]
        return Summary(
            self._loaded.name, self._exit_code, self._reason, seconds, coordinator.summaries(), failures, tuple(coordinator.failovers)
        )


async def _cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def first_of(*waits: object) -> None:
    """Wait until the first of ``waits`` is done.

    The others are cancelled, except tasks, which belong to the caller.
    """
    tasks = [wait if isinstance(wait, asyncio.Task) else asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait, task in zip(waits, tasks, strict=True):
            if wait is not task:
                task.cancel()
