"""What viewers see of a running network's jobs: blocks on its pipes, and the jobs' progress.

This module needs three things of a run: a way to send a job a command, the returning `TapCopies`
and `JobMeasured`, and the jobs' nodes. So it works alike for a network on one machine and on many.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fission.client.serve.control_server import Connection, ControlServer
from fission.core.network import Network
from fission.errors import UnknownNameError, UserError
from fission.project.names import did_you_mean
from fission.protocol.link_messages import JobMessage
from fission.protocol.messages.client_to_job import ClientToJob, CloseTap, ExtendTap, MeasureJob, OpenTap
from fission.protocol.messages.client_to_viewer import (
    JobRow,
    JobsLocated,
    JobsMeasured,
    JobStandstill,
    MeasuredJob,
    PathRow,
    PipeRow,
    PipesTapped,
)
from fission.protocol.messages.job_to_client import JobMeasured, JobToClient, TapCopies
from fission.protocol.messages.viewer_to_client import LocateJobs, MeasureJobs, TapPipes
from fission.protocol.supervision_messages import JobState

#: Seconds to wait for the jobs' answers. Arbitrary: a job answers within milliseconds unless its machine is stuck.
MEASURE_S = 2.0
#: Seconds of silence after which no more copies are expected of a job that was killed; arbitrary, within the 2 s of Ctrl-C.
LAST_S = 0.25
#: The same for a job that has ended by itself, and says when its last copy was sent; and seconds without movement after which a
#: viewer counts as stuck. Arbitrary: longer than a busy machine takes to deliver a message.
DELIVERED_S = 5.0
#: Maximum bytes of copies in flight to one viewer, for each pipe. Arbitrary bound of the client's memory.
MOST_CREDIT = 64 << 20
#: Maximum share of a job's time that copies of large blocks out of shared memory take, unless the viewer wants all.
#: Arbitrary.
SHARE = 0.02

#: How many times its credit a viewer may get of larger messages than that, in the same time. Arbitrary: a byte of a large block costs less
#: than a tenth of one of small blocks.
LARGER = 8
#: Longest time in seconds after which a viewer's used credit may be given again. Arbitrary.
MOST_EVERY_S = 60.0

_PIPE = struct.Struct("<I")


class TappedProcesses(Protocol):
    """What taps need of the processes of a run; its `JobProcesses`."""

    def newest(self) -> list[tuple[int, int, str]]:
        """Return (job, incarnation, node) of every newest incarnation whose process runs."""

    def id_of(self, job: int) -> int | None:
        """Return the process id of a job's newest incarnation on its node; None: unknown."""


class MeasuredPaths(Protocol):
    """What taps need of the latencies of a run; its `PathLatencies`."""

    def late(self, job: int) -> tuple[int | None, int | None]:
        """Return the numbers of late and of judged blocks of a job; None without DEADLINE."""

    def rows(self) -> tuple[tuple[PathRow, ...], tuple[PathRow, ...]]:
        """Return the paths to sinks, and those to other jobs."""


class TappedRun(Protocol):
    """What taps need of a run; the client's `Coordinator`."""

    receivers: dict[type[JobToClient], Callable[[JobMessage], None]]
    on_launch: Callable[[int], None]

    def command(self, job: int, message: ClientToJob) -> None:
        """Send a message to the newest incarnation of a job."""

    def state(self, job: int) -> JobState:
        """Return the state of a job."""

    def placed_because(self, job: int) -> str:
        """Return why a job is on its node; empty: it stayed there, or is nowhere."""

    async def standing(self) -> Mapping[int, JobStandstill]:
        """Return the jobs that make no progress, by id."""

    @property
    def latencies(self) -> MeasuredPaths:
        """The latencies of its paths."""

    @property
    def processes(self) -> TappedProcesses:
        """The processes of its jobs."""

    @property
    def jobs(self) -> Mapping[int, Any]:
        """The summary of each job: ``name``, ``outcome``, ``restarts``."""


class Taps:
    """Answers `MeasureJobs`, `LocateJobs` and `TapPipes` for a run's `ControlServer`."""

    def __init__(self, network: Network, run: TappedRun, requests: ControlServer) -> None:
        """Register the answers.

        Args:
            network: the running network.
            run: the client of the run.
            requests: the server that viewers connect to.
        """
        self._network = network
        self._run = run
        self._numbers = itertools.count(1)
        self._taps: dict[int, _Tap] = {}
        self._answers: dict[int, tuple[dict[int, MeasuredJob], asyncio.Event, set[int]]] = {}
        run.receivers[TapCopies] = self._on_tapped
        run.receivers[JobMeasured] = self._on_measured
        run.on_launch = self._on_launch
        requests.answer(MeasureJobs, self._measure)
        requests.answer(TapPipes, self._tap)
        requests.answer(LocateJobs, self._locate)

    def ended(self, job: int) -> None:
        """Note the end of a job: viewers that follow only this job have seen everything."""
        for tap in self._taps.values():
            if tap.job == job:
                tap.end_when_silent(LAST_S if self._run.jobs[job].outcome == "killed" else DELIVERED_S)

    async def settle(self, most_s: float) -> None:
        """Let viewers receive the last copies of the jobs, while there are any.

        Args:
            most_s: maximum time, in seconds.
        """
        senders = {tap.sender for tap in self._taps.values() if tap.sender is not None}
        end = quiet = time.monotonic()
        moved = -1
        while senders and not all(sender.settled for sender in senders) and time.monotonic() < min(end + most_s, quiet + DELIVERED_S):
            if moved != (moved := sum(sender.moved for sender in senders)):
                quiet = time.monotonic()
            await asyncio.sleep(0.01)

    # progress of jobs

    async def _locate(self, request: LocateJobs, connection: Connection) -> JobsLocated:
        return JobsLocated(nodes={job: node for job, _, node in self._run.processes.newest()})

    async def _measure(self, request: MeasureJobs, connection: Connection) -> JobsMeasured:
        key = next(self._numbers)
        running = {job: node for job, _, node in self._run.processes.newest() if self._run.state(job) is JobState.RUNNING}
        answers: dict[int, MeasuredJob] = {}
        complete = asyncio.Event()
        self._answers[key] = (answers, complete, set(running))
        try:
            for job in running:
                self._run.command(job, MeasureJob(key=key))
            if running:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(complete.wait(), MEASURE_S)
        finally:
            del self._answers[key]
        standing = await self._run.standing()
        rows = tuple(self._row(job, running.get(job), answers.get(job), standing.get(job)) for job in self._run.jobs)
        paths, inner = self._run.latencies.rows()
        return JobsMeasured(time=time.time(), network=self._network.name, jobs=rows, paths=paths, inner_paths=inner)

    def _row(self, job: int, node: str | None, measured: MeasuredJob | None, standing: JobStandstill | None) -> JobRow:
        summary, state = self._run.jobs[job], self._run.state(job)
        late, judged = self._run.latencies.late(job)
        return JobRow(
            id=job,
            name=summary.name,
            state=summary.outcome if state is JobState.FINISHED else state.name.lower(),
            node=node,
            restarts=summary.restarts,
            pid=self._run.processes.id_of(job),
            measured=measured,
            standing=standing,
            placed=self._run.placed_because(job),
            late=late,
            judged=judged,
        )

    def _on_measured(self, received: JobMessage) -> None:
        if not isinstance(received.message, JobMeasured) or received.message.key not in self._answers:
            return  # too late
        answers, complete, missing = self._answers[received.message.key]
        measured = {name: getattr(received.message, name) for name in MeasuredJob.__struct_fields__ if name != "incarnation"}
        answers[received.job] = MeasuredJob(incarnation=received.incarnation, **measured)
        missing.discard(received.job)
        if not missing:
            complete.set()

    # blocks on pipes

    async def _tap(self, request: TapPipes, connection: Connection) -> PipesTapped:
        pipes = [self._pipe(number) for number in request.pipes]
        if not pipes:
            raise UserError("name at least one pipe")
        taps = [_Tap(next(self._numbers), job, pipe, request, self._run) for pipe, job in pipes]
        # one sender for all its pipes: one task sends what was gathered, in the order of arrival
        sender = _Sender(connection, taps)
        for tap in taps:
            self._taps[tap.number] = tap
            tap.sender = sender
            tap.begin()
        connection.on_close.append(lambda: self._forget(taps, sender))
        sender.start()
        return PipesTapped(pipes=tuple(PipeRow(pipe=tap.pipe, job=tap.job) for tap in taps))

    def _pipe(self, number: int) -> tuple[int, int]:
        """Return (pipe, job that feeds it).

        Raises:
            UserError: the pipe is unknown, or has ended.
        """
        pipes = self._network.pipes
        job = self._network.producer(number) if number in pipes else None
        if job is None:
            known = [str(pipe) for pipe in pipes]
            raise UnknownNameError(
                f"there is no pipe {number} in {self._network.name}{did_you_mean(str(number), known)}. Pipes: {', '.join(known)}"
            )
        if self._run.state(job._fission_id) is JobState.FINISHED:
            raise UserError(f"{pipes[number]} has ended: {job._fission_name} {self._run.jobs[job._fission_id].outcome}")
        return number, job._fission_id

    def _on_launch(self, job: int) -> None:
        for tap in self._taps.values():
            if tap.job == job:
                tap.begin()  # the new incarnation does not know of the tap

    def _on_tapped(self, received: JobMessage) -> None:
        if not isinstance(received.message, TapCopies) or (tap := self._taps.get(received.message.tap)) is None:
            return  # ended meanwhile
        tap.gather(received.payload)
        if received.message.last:
            tap.end()

    def _forget(self, taps: list[_Tap], sender: _Sender) -> None:
        sender.stop()
        for tap in taps:
            tap.close()
            if self._taps.pop(tap.number, None) is not None and self._run.state(tap.job) is not JobState.FINISHED:
                self._run.command(tap.job, CloseTap(tap=tap.number))


class _Tap:
    """One pipe that a viewer follows."""

    def __init__(self, number: int, job: int, pipe: int, request: TapPipes, run: TappedRun) -> None:
        self.number, self.job, self.pipe = number, job, pipe
        credit, share = max(1, min(MOST_CREDIT, request.credit)), 1.0 if request.everything else SHARE
        self._order = OpenTap(tap=number, pipe=pipe, credit=credit, payload=request.payload, share=share, largest=request.largest)
        self._every_s = min(request.every_s, MOST_EVERY_S)
        self._run = run
        self._incarnations = self._heard = self._used = 0
        self._refill: asyncio.TimerHandle | None = None
        self.over = False
        self.sender: _Sender | None = None

    def begin(self) -> None:
        self._incarnations += 1  # a new incarnation has its own credit
        self._used = 0
        self._run.command(self.job, self._order)

    def gather(self, payload: bytes) -> None:
        self._heard += 1
        if self.sender is not None and payload:
            self.sender.put(self, self._incarnations, payload)

    def sent(self, incarnation: int, size: int) -> None:
        if self.over or incarnation != self._incarnations:
            return
        if not self._every_s > 0:
            self._run.command(self.job, ExtendTap(tap=self.number, credit=size))
            return
        self._used += size
        if self._refill is None:
            self._refill = asyncio.get_running_loop().call_later(self._every_s, self._give_again)

    def _give_again(self) -> None:
        """Give used credit again; the credit of a message that is much larger than all of it, in parts."""
        self._refill = None
        given = min(self._used, LARGER * self._order.credit)
        if self.over or not given:
            return
        self._used -= given
        self._run.command(self.job, ExtendTap(tap=self.number, credit=given))
        if self._used:
            self._refill = asyncio.get_running_loop().call_later(self._every_s, self._give_again)

    def close(self) -> None:
        """End without a packet for the viewer, who is gone. Idempotent."""
        self.over = True
        if self._refill is not None:
            self._refill.cancel()
            self._refill = None

    def end_when_silent(self, silent_s: float) -> None:
        """End once nothing arrives: the last copies may come after the end of the process."""
        asyncio.get_running_loop().call_later(silent_s, self._end_if_silent, self._heard, silent_s)

    def _end_if_silent(self, heard: int, silent_s: float) -> None:
        if self._heard == heard:
            self.end()
        elif not self.over:
            self.end_when_silent(silent_s)

    def end(self) -> None:
        if self.sender is not None and not self.over:
            self.over = True
            self.sender.put(self, 0, b"")


class _Sender:
    """Sends what the jobs deliver to one viewer.

    The credit of its taps bounds what waits, for each incarnation of a job.
    """

    def __init__(self, connection: Connection, taps: list[_Tap]) -> None:
        self._connection = connection
        self._taps = taps
        self._waiting: deque[tuple[_Tap, int, bytes]] = deque()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.moved = 0  # number of batches put and sent

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @property
    def settled(self) -> bool:
        """Whether everything has arrived and was sent, or the viewer is gone."""
        return self._task is None or self._task.done() or (not self._waiting and all(tap.over for tap in self._taps))

    def put(self, tap: _Tap, incarnation: int, payload: bytes) -> None:
        self._waiting.append((tap, incarnation, payload))
        self.moved += 1
        self._news.set()

    async def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                while self._waiting:
                    tap, incarnation, payload = self._waiting.popleft()
                    # an empty batch means that the pipe has ended in this run
                    await self._connection.send(_PIPE.pack(tap.pipe) + payload)
                    self.moved += 1
                    if payload:
                        tap.sent(incarnation, len(payload))
                if all(tap.over for tap in self._taps):
                    self._connection.hang_up()
                    return
                self._news.clear()
                await self._news.wait()


def split(packet: bytes) -> tuple[int, bytes]:
    """Split a packet for a viewer into (pipe, batch); an empty batch: the pipe has ended."""
    return _PIPE.unpack_from(packet)[0], packet[_PIPE.size :]
