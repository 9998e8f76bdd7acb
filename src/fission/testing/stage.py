"""Runs one job alone, in its own process and by its real host, and plays everything around it.

The job behaves as in a network: its links, windows, releases and messages are the real ones. Its
output, its blocks and its exit are the events that `JobStage.next` returns.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from fission.adapters.run_folder import make_run_folder
from fission.adapters.zmq_neighbours import ZmqNeighbours
from fission.core.base import BaseJob
from fission.core.block_time import BlockTime
from fission.errors import EngineError, RemoteProtocolError, UserError
from fission.ports import JobBundle, Wiring
from fission.posix.exit_status import how_ended
from fission.project.finding import find_project
from fission.project.shipping import copy_dependencies, pickled
from fission.protocol import frames
from fission.protocol.block_times import BYTES, pack
from fission.protocol.large_blocks import add_times
from fission.protocol.link_messages import CLOSED, Command, Data, End, JobMessage, Open, Release, Stamp, Starved, Times
from fission.protocol.messages.client_to_job import AcknowledgeEnd, CheckpointStored, ClientClock, ClientToJob
from fission.protocol.messages.job_to_client import AskClock, SaveSnapshot, WorkDone
from fission.protocol.messages.process_to_engine import ProcessReport, read_report
from fission.testing.job_folder import claim_folder

#: Seconds that a job has to end after SIGTERM; arbitrary, as in `simulate`.
GRACE_S = 1.0
LINKS = "fission.adapters.zmq_links:ZmqLinks"


@dataclass(frozen=True, slots=True)
class Printed:
    """The job wrote to its standard output ("stdout") or error ("stderr")."""

    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The job's process has exited; all that it printed and sent was returned before."""

    code: int
    report: ProcessReport | None = None

    @property
    def outcome(self) -> str:
        """The reported outcome; empty if there is no report."""
        return "" if self.report is None else self.report.outcome

    @property
    def error(self) -> str:
        """The reported error, or how its process ended."""
        return (self.report.error if self.report is not None else "") or f"its process {how_ended(self.code)}"


Event: TypeAlias = "Printed | Exited | Data | End | Release | JobMessage"


def _bundle(job: BaseJob, wiring: Wiring, root: Path, folder: Path) -> JobBundle:
    """Return what the process of a job that has no neighbours receives, with limits for small
    tests.
    """
    pipes = (*job.inputs, *job.outputs) if hasattr(job, "EXECUTABLE") else ()
    return JobBundle(
        job_id=job._fission_id,
        name=job._fission_name,
        incarnation=1,
        folder=str(folder),
        sys_path=tuple(dict.fromkeys([str(root), *(os.path.abspath(path) for path in sys.path)])),
        log_file=str(folder.parent / "fission.log"),
        log_level="DEBUG",
        links=LINKS,
        wiring=wiring,
        # released on arrival: no other job waits for it, and the job may finish with unused blocks
        feedback=frozenset(pipe.id for pipe in job.inputs if pipe.ASYNC),
        max_queues={},
        timed=frozenset(pipe.id for pipe in job.inputs if job.BLOCK_TIME and not pipe.ASYNC),
        plain=frozenset(pipe.id for pipe in pipes),
        head_size=1,
        window_blocks=1,
        window_bytes=1 << 40,
        pickled_job=b"",
    )


class JobStage:
    """One job alone.

    Attributes:
        folder: working folder of the job.
        running: whether its process has not exited yet.
    """

    def __init__(
        self,
        job: BaseJob,
        base: Path,
        *,
        head_size: int = 1,
        window_blocks: int = 1,
        needed: int = 1,
        opened: bool = True,
        start: bool = True,
    ) -> None:
        """Create the job's folder and start the job.

        Args:
            job: the job, of which a copy runs; it is not changed.
            base: parent of the job's folder, which is emptied first.
            head_size: size of heads in bytes.
            window_blocks: limit of each output's window.
            needed: blocks of an output that must fit into its window.
            opened: whether to open its inputs at once, with block 1 next; otherwise `open` does.
            start: whether to start it now; otherwise `start` does.

        Raises:
            DefinitionError: a part of the job cannot be sent to its process.
            UserError: its DEPENDENCIES cannot be copied.
            OSError: its folder cannot be created.
        """
        self._job = job
        self._ended: Exited | None = None
        self._events: deque[Event] = deque()
        root = project_here()
        pickled_job = pickled(job)
        self.folder, lock = claim_folder(base, job)
        try:
            copy_dependencies(job, root, self.folder)
        except BaseException:
            os.close(lock)
            raise
        self._run_folder = make_run_folder("fission-alone-")
        data, control, back = (f"ipc://{self._run_folder}/{name}" for name in ("data", "control", "back"))
        wiring = Wiring(data, control, {pipe.id: back for pipe in job.outputs}, {pipe.id: back for pipe in job.inputs}, back)
        self._bundle = replace(
            _bundle(job, wiring, root, self.folder),
            head_size=head_size,
            window_blocks=window_blocks,
            pickled_job=pickled_job,
            needed={pipe.id: needed for pipe in job.outputs},
        )
        self._neighbours = ZmqNeighbours(data, control, back)
        self._process: subprocess.Popen[bytes] | None = None
        self._report = -1
        self._report_text = b""
        self._streams: dict[int, str] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._descriptors = [lock]
        self._finalizer = weakref.finalize(self, _give_up, self._processes, self._neighbours, self._run_folder, self._descriptors)
        if start:
            try:
                self._launch()
            except BaseException:
                self._finalizer()
                raise
        if opened:
            for pipe in job.inputs:
                self.open(pipe.id, 0)

    @property
    def started(self) -> bool:
        """Whether the job was started."""
        return self._process is not None

    def start(self) -> None:
        """Start the job in its present state. Idempotent.

        Raises:
            DefinitionError: a part of the job cannot be sent to its process.
        """
        if not self.started:
            self._bundle = replace(self._bundle, pickled_job=pickled(self._job))
            self._launch()

    def _launch(self) -> None:
        self._process, self._report, alive = _start(self._bundle, _modules(self._job))
        self._processes.append(self._process)
        self._descriptors += [self._report, alive]
        self._streams = {self._descriptor("stdout"): "stdout", self._descriptor("stderr"): "stderr"}
        for descriptor in self._streams:
            os.set_blocking(descriptor, False)

    def _descriptor(self, name: str) -> int:
        stream: Any = getattr(self._process, name)
        return int(stream.fileno())

    @property
    def running(self) -> bool:
        """Whether its process has not exited yet, as far as events have been returned."""
        return self._ended is None and self._finalizer.alive

    # what is sent to the job

    def open(self, pipe: int, mark: int, generation: int = 0) -> None:
        """Open an input; its first block is the one after ``mark``."""
        self._neighbours.send([frames.encode_open(Open(pipe, 1, generation, mark))])

    def send(
        self,
        pipe: int,
        number: int,
        payloads: Sequence[Any],
        heads: Sequence[int] | None = None,
        generation: int = 0,
        times: bytes | None = None,
    ) -> None:
        """Send consecutive blocks of an input, from ``number`` on.

        A payload that is a list travels alone, as large blocks do.

        Args:
            pipe: id of the input.
            number: number of the first block.
            payloads: the blocks.
            heads: their heads; None: all are 0.
            generation: generation of the numbers.
            times: their times (`block_times`), packed one after the other; None: the present.
        """
        small = [payload for payload in payloads if type(payload) is not list]
        if len(small) == len(payloads):
            message: list[frames.Buffer] = [frames.encode_data(pipe, 1, generation, number, payloads, heads)]
            self._neighbours.send(self._timed(pipe, message, times or pack(BlockTime.now()) * len(payloads)))
            return
        for index, payload in enumerate(payloads):
            parts = payload if type(payload) is list else [payload]
            message = frames.encode_big(pipe, 1, generation, number + index, [parts], [heads[index]] if heads else None)
            made = times[BYTES * index : BYTES * (index + 1)] if times else pack(BlockTime.now())
            self._neighbours.send(self._timed(pipe, message, made))

    def _timed(self, pipe: int, message: list[frames.Buffer], times: bytes) -> list[frames.Buffer]:
        """Give blocks their times, if the job asks for times."""
        if pipe in self._bundle.timed:
            add_times(message, times)
        return message

    def end(self, pipe: int, last: int, generation: int = 0) -> None:
        """End an input after block ``last``."""
        self._neighbours.send([frames.encode_end(End(pipe, 1, generation, last, final=True))])

    def release(self, pipe: int, upto: int, generation: int = 0) -> None:
        """Release the blocks of an output up to a number (`CLOSED`: all, for good)."""
        taken = upto if upto == CLOSED else 0
        self._neighbours.command(frames.encode_release(Release(pipe, 1, generation, upto, taken)))

    def command(self, message: ClientToJob) -> None:
        """Send the job a command."""
        self._neighbours.command(frames.encode_command(message))

    # what it does

    def next(self, timeout: float | None) -> Event | None:
        """Return the next event.

        Args:
            timeout: maximum wait in seconds; None: no limit.

        Returns:
            The event; None after the timeout, or if the exit was returned before.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._events and self.running:
            if self._ended is None:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                self._look(left)
            if not self._events and deadline is not None and time.monotonic() >= deadline:
                return None
        return self._events.popleft() if self._events else None

    def drain(self) -> list[Printed]:
        """Return what it has printed so far and `next` has not returned."""
        for descriptor in list(self._streams):
            self._read(descriptor)
        found = [event for event in self._events if isinstance(event, Printed)]
        self._events = deque(event for event in self._events if not isinstance(event, Printed))
        return found

    def _look(self, timeout: float | None) -> None:
        descriptors = [*self._streams, *([self._report] if self._report >= 0 else [])]
        ready = self._neighbours.wait(descriptors, timeout)
        for descriptor in ready & set(self._streams):
            self._read(descriptor)
        while (message := self._neighbours.receive()) is not None:
            self._take(message)
        if self._report in ready:
            chunk = os.read(self._report, 1 << 16)
            self._report_text += chunk
            if not chunk:
                self._end()

    def _read(self, descriptor: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(descriptor, 1 << 16):
                self._events.append(Printed(self._streams[descriptor], chunk.decode("utf-8", "replace")))
            del self._streams[descriptor]

    def _take(self, message: list[frames.Buffer]) -> None:
        decoded = frames.decode(message)
        if isinstance(decoded, JobMessage):
            if isinstance(decoded.message, WorkDone):
                self.command(AcknowledgeEnd())
            elif isinstance(decoded.message, AskClock):
                self.command(ClientClock(local=True))
            elif isinstance(decoded.message, SaveSnapshot):
                self.command(CheckpointStored(generation=decoded.message.generation, block=decoded.message.block))
        elif isinstance(decoded, End):
            self.release(decoded.pipe, CLOSED, decoded.generation)
        elif isinstance(decoded, Open | Stamp | Starved | Times):
            return
        elif isinstance(decoded, Command):
            raise RemoteProtocolError("a job that runs alone sends no commands")
        self._events.append(decoded)

    def _end(self) -> None:
        code = self._process.wait() if self._process else 0
        while (message := self._neighbours.receive()) is not None:
            self._take(message)
        for descriptor in list(self._streams):
            self._read(descriptor)
        self._ended = Exited(code, read_report(self._report_text))
        self._events.append(self._ended)
        self._finalizer()

    def kill(self) -> None:
        """Stop the job (its ``finally`` blocks run), kill what remains, and release all resources.

        Idempotent.
        """
        self._finalizer()


def project_here() -> Path:
    """Return the project that contains the current folder; outside of one, the current folder."""
    try:
        return find_project(Path.cwd())
    except UserError:
        return Path.cwd()


def _modules(job: BaseJob) -> list[tuple[str, str]]:
    """Return the modules and files that define the classes of the job and its pipes, if any."""
    names = dict.fromkeys(type(thing).__module__ for thing in (job, *job.inputs, *job.outputs))
    found = [(name, getattr(sys.modules.get(name), "__file__", None)) for name in names if not name.startswith("fission.")]
    return [(name, os.path.abspath(file)) for name, file in found if file]


def _start(bundle: JobBundle, modules: list[tuple[str, str]]) -> tuple[subprocess.Popen[bytes], int, int]:
    report_read, report_write = os.pipe()
    alive_read, alive_write = os.pipe()
    command = [sys.executable, "-m", "fission.testing.alone", str(report_write), str(alive_read)]
    source = str(Path(__file__).resolve().parent.parent.parent)
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(report_write, alive_read),
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
    except OSError as why:
        for descriptor in (report_read, alive_write):
            os.close(descriptor)
        raise EngineError(f"{bundle.name}: its process cannot be started: {why}") from None
    finally:
        os.close(report_write)
        os.close(alive_read)
    assert process.stdin is not None  # guaranteed by PIPE
    with contextlib.suppress(BrokenPipeError):  # it has died, which becomes an event
        process.stdin.write(pickle.dumps((bundle, modules), 5))
        process.stdin.close()
    return process, report_read, alive_write


def _give_up(processes: list[subprocess.Popen[bytes]], neighbours: ZmqNeighbours, run_folder: str, descriptors: list[int]) -> None:
    for process in processes:
        _end_process(process)
    for descriptor in descriptors:
        os.close(descriptor)
    neighbours.close()
    shutil.rmtree(run_folder, ignore_errors=True)


def _end_process(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _quietly(lambda: os.kill(process.pid, signal.SIGTERM))
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    _quietly(lambda: os.killpg(process.pid, signal.SIGKILL))  # includes what the job has started
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            _quietly(stream.close)


def _quietly(act: Callable[[], Any]) -> None:
    with contextlib.suppress(OSError):
        act()
