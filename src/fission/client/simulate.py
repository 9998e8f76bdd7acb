"""Runs a network on this machine to its end.

The shell around it is one asyncio loop: the engine's events come in, the state of the run
changes, orders go out. Signals are events too: the first Ctrl-C or SIGTERM stops the jobs in order, the second kills them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import tempfile
import time

from fission.adapters.local_engine import LocalEngine
from fission.client.consoles import Consoles
from fission.client.folders import alone, end_log, make_folders, start_log
from fission.client.signals import Signals
from fission.client.summary import JobSummary, Summary
from fission.core.base import BaseJob
from fission.core.network import Network
from fission.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, JobFailed
from fission.ports import JobBundle, JobExited, JobOutput, NodeLost, NodeName, Observer, Wiring
from fission.project.config import LoadedNetwork
from fission.project.shipping import pickled
from fission.protocol.window import WINDOW_BLOCKS, WINDOW_BYTES

#: Exit code after SIGTERM: 128 + 15, as shells report it.
EXIT_TERMINATED = 143
#: Seconds that a job has to stop after it was asked to. With what follows it keeps Ctrl-C below 2 s (SPEC section 1).
GRACE_S = 1.0
#: Seconds that the end of killed jobs is waited for; arbitrary.
KILLED_S = 0.5
#: What every job's process needs; loaded once by the zygote, before it forks.
PRELOAD = ("fission.adapters.zmq_links", "fission.runtime.job_process")
LINKS = "fission.adapters.zmq_links:ZmqLinks"

log = logging.getLogger("fission.client")


def simulate(loaded: LoadedNetwork, *, duration: float | None = None, observer: Observer | None = None, stdin: bool = True) -> Summary:
    """Run the network on this machine until it ends, fails, ``duration`` is over or a signal comes. Blocks.

    Every job gets the empty folder ``NETWORK/simulation/<job id>`` (with its DEPENDENCIES) and a process. Afterwards no process,
    socket or shared memory is left. Must be called in the main thread, because it takes SIGINT and SIGTERM meanwhile.

    Args:
        loaded: the network.
        duration: seconds after which it is stopped, which counts as a success; None: no limit.
        observer: told what happens.
        stdin: whether standard input may feed the network's InteractiveJob, if it has exactly one.

    Raises:
        DefinitionError: something of a job cannot be sent to its process; nothing was started.
        UserError: the network runs already, or its folder cannot be made anew; nothing was started.
        EngineError: processes cannot be started.
    """
    with Signals() as signals, alone(loaded):
        run_folder = tempfile.mkdtemp(prefix="fission-")
        try:
            run = _Run(loaded, run_folder, observer or Observer(), stdin)
            return asyncio.run(run.main(duration, signals))
        finally:
            signals.forget()
            shutil.rmtree(run_folder, ignore_errors=True)


class _Run:
    """One run of a network on this machine."""

    def __init__(self, loaded: LoadedNetwork, run_folder: str, observer: Observer, stdin: bool) -> None:
        self._loaded = loaded
        self._network = loaded.network
        self._run_folder = run_folder
        self._observer = observer
        self._folder = loaded.folder / "simulation"
        self._node = NodeName("client")
        self._engine = LocalEngine(run_folder, (self._node,), PRELOAD)
        self._running: set[int] = set()
        self._waiting_for = set(self._network.required)
        self._failures: list[JobFailed] = []
        self._error: Exception | None = None  # of the observer
        self._jobs = {number: JobSummary(job.name) for number, job in self._network.jobs.items()}
        self._exit_code = EXIT_OK
        self._reason = ""
        self._over = asyncio.Event()  # the network is to be stopped
        self._kill = asyncio.Event()  # and at once
        self._empty = asyncio.Event()  # no job runs any more
        self._consoles = Consoles(loaded, run_folder, self._folder, observer, stdin, self._control_address)

    async def main(self, duration: float | None, signals: Signals) -> Summary:
        started = time.monotonic()
        signals.deliver(asyncio.get_running_loop(), self._on_signal)
        handlers: list[logging.Handler] = []
        following: asyncio.Task[None] | None = None
        try:
            opening = asyncio.create_task(self._engine.open())
            await asyncio.sleep(0)  # the zygote starts while the folders are made
            make_folders(self._loaded, self._folder)
            handlers = start_log(self._loaded, self._folder / "fission.log", self._observer)
            bundles = [self._bundle(job) for job in self._network.jobs.values()]
            await self._unless_over(opening)
            following = asyncio.create_task(self._follow())
            if not self._over.is_set():
                await self._consoles.open()
            for bundle in bundles:
                if self._over.is_set():
                    break
                self._running.add(bundle.job_id)
                self._empty.clear()
                await self._engine.launch(bundle, self._node)
                self._observer.job_started(bundle.name, bundle.job_id)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._over.wait(), duration)
            await self._stop_all()
        finally:
            await self._engine.close()
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            await self._consoles.close()
            for path in self._folder.glob("*/.pipe_*.fifo"):  # of executables whose jobs had to be killed
                path.unlink(missing_ok=True)
            signals.forget()
            end_log(handlers)
        if self._error is not None:
            raise self._error
        for number in self._running:
            self._jobs[number].outcome = "killed"  # by the engine's end, which nobody followed
        return Summary(self._loaded.name, self._exit_code, self._reason, time.monotonic() - started, self._jobs, self._failures)

    async def _unless_over(self, opening: asyncio.Task[None]) -> None:
        over = asyncio.create_task(self._over.wait())
        await asyncio.wait({opening, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if opening.done():
            opening.result()
        else:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)

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

    async def _stop_all(self) -> None:
        self._end("time is over")
        for job in sorted(self._running):
            await self._engine.stop(job, self._node, grace=GRACE_S)
        if not self._running:
            return
        gone, kill = asyncio.create_task(self._empty.wait()), asyncio.create_task(self._kill.wait())
        await asyncio.wait({gone, kill}, timeout=GRACE_S + KILLED_S, return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, kill):
            task.cancel()

    # the engine's events

    async def _follow(self) -> None:
        async for event in self._engine.events():
            try:
                if isinstance(event, JobOutput):
                    name = self._network.jobs[event.job_id].name
                    for line in event.lines:
                        self._observer.job_output(name, event.job_id, event.stream, line)
                elif isinstance(event, JobExited):
                    self._on_exit(event)
                else:
                    self._on_lost(event)
            except Exception as why:
                # an error of an observer must not leave the network running with nobody looking: it is stopped in order
                self._error = self._error or why
                self._observer = Observer()
                self._exit_code = EXIT_FAILED
                self._end("the client failed")
            if not self._running:
                self._empty.set()

    def _on_lost(self, event: NodeLost) -> None:
        for number in self._running:
            self._jobs[number].outcome = "killed"
        self._running.clear()
        if not self._over.is_set():
            self._exit_code = EXIT_FAILED
            self._observer.warning(f"node {event.name} is lost: {event.reason}")
            self._end(f"node {event.name} is lost: {event.reason}")

    def _on_exit(self, event: JobExited) -> None:
        job = self._network.jobs[event.job_id]
        self._running.discard(event.job_id)
        self._waiting_for.discard(event.job_id)
        self._consoles.forget(event.job_id)
        outcome = str(event.report.get("outcome") or "failed")
        summary = self._jobs[event.job_id]
        summary.outcome, summary.counts = outcome, dict(event.report.get("counts") or {})
        if event.code and self._over.is_set() and outcome == "failed" and not event.report:
            summary.outcome = outcome = "killed"  # by us: it did not stop in time
        if outcome == "stopped" and not self._over.is_set():
            summary.outcome = "failed"
            self._on_failure(job, "its process was told to stop (SIGTERM) by somebody else")
        elif outcome == "failed":
            self._on_failure(job, str(event.report.get("error") or _death(event.code)))
        else:
            log.info("%s %s", job.name, outcome)
            self._observer.job_ended(job.name, job.id, outcome)
            if outcome == "ended":
                self._observer.warning(f"{job.name} returned None and has outputs: it has ended, and the jobs behind it are not told")
        if not self._waiting_for and not self._failures:
            self._end("finished")

    def _on_failure(self, job: BaseJob, error: str) -> None:
        failure = JobFailed(job.name, error)
        self._failures.append(failure)
        log.error("%s", failure)
        self._observer.job_failed(job.name, job.id, error)
        if not self._over.is_set():
            self._exit_code = EXIT_FAILED
        self._end(f"{job.name} failed")

    # bundles

    def _control_address(self, job: int) -> str:
        return f"ipc://{self._run_folder}/{job}.1.control"

    def _bundle(self, job: BaseJob) -> JobBundle:
        network = self._network
        data = {number: f"ipc://{self._run_folder}/{number}.1.data" for number in network.jobs}
        wiring = Wiring(
            data[job.id],
            self._control_address(job.id),
            {pipe.id: data[_end(network.consumer(pipe.id))] for pipe in job.outputs},
            {pipe.id: self._control_address(_end(network.producer(pipe.id))) for pipe in job.inputs},
        )
        return JobBundle(
            job_id=job.id,
            name=job.name,
            incarnation=1,
            folder=str(self._folder / str(job.id)),
            sys_path=(str(self._loaded.root),),
            log_file=str(self._folder / "fission.log"),
            log_level="DEBUG",
            links=LINKS,
            wiring=wiring,
            feedback=frozenset(pipe.id for pipe in job.inputs if pipe.ASYNC and _on_circle(network, pipe.id)),
            max_queues=_max_queues(network, job),
            plain=frozenset(pipe.id for pipe in (*job.inputs, *job.outputs) if _meets_executable(network, pipe.id)),
            head_size=self._loaded.config.head_size,
            window_blocks=WINDOW_BLOCKS,
            window_bytes=WINDOW_BYTES,
            pickled_job=pickled(job),
        )


def _end(job: BaseJob | None) -> int:
    return job.id if job is not None else 0  # a checked network has both ends of every pipe


def _max_queues(network: Network, job: BaseJob) -> dict[int, int]:
    found = {}
    for pipe in job.outputs:
        consumer = network.consumer(pipe.id)
        if consumer is not None and consumer.MAX_QUEUE and not pipe.ASYNC:
            found[pipe.id] = consumer.MAX_QUEUE
    return found


def _meets_executable(network: Network, pipe: int) -> bool:
    return any(hasattr(job, "EXECUTABLE") for job in (network.producer(pipe), network.consumer(pipe)))


def _on_circle(network: Network, pipe: int) -> bool:
    """Whether a way leads from the pipe's consumer back to its producer."""
    target, first = network.producer(pipe), network.consumer(pipe)
    waiting, seen = [first] if first else [], set()
    while waiting:
        job = waiting.pop()
        if job is target:
            return True
        if job.id not in seen:
            seen.add(job.id)
            waiting += [after for out in job.outputs if (after := network.consumer(out.id)) is not None]
    return False


def _death(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code} and without a word; a job ends by finish(), not by exit()"
    with contextlib.suppress(ValueError):
        return f"its process was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"its process was killed by signal {-code}"
