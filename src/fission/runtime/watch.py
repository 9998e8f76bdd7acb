"""Observation of a running job: copies of an output's messages (taps), and its progress (measures).

Both cost nothing while there is no viewer. A tap sees what an output sends from a request on until
the next one. It never waits: it copies messages while its viewer has given it
credit (bytes), and does not copy messages sent without credit. The job's thread only records a sent
message; the control thread sends the copies to the client as messages, many at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from fission.errors import RemoteProtocolError
from fission.protocol import frames, tapped
from fission.protocol.activity import Activity, Observed
from fission.protocol.frames import Buffer
from fission.protocol.link_messages import Data, End
from fission.protocol.messages.client_to_job import CloseTap, ExtendTap, MeasureJob, OpenTap
from fission.protocol.messages.job_to_client import InputMeasures, JobMeasured, OutputMeasures, TapCopies
from fission.protocol.output import Output
from fission.runtime.control import NEVER
from fission.runtime.endpoint_shell import EndpointShell

log = logging.getLogger("fission.runtime")

#: Longest time that a copy waits for others, in seconds. Arbitrary: below what a person notices.
GATHER_S = 0.02
#: Bytes at which a batch is sent. Arbitrary: the size of a message of small blocks.
GATHER_BYTES = 64 << 10
#: Seconds after which a viewer that has not asked again counts as gone.
MEASURED_S = 10.0
#: Seconds between two looks whether a program has read its blocks. Arbitrary: several within the shortest interval of `status`.
SAMPLE_S = 0.1


class Tap:
    """One viewer of one output.

    `saw` is called with the endpoint's lock held, as `take` must be; the control thread calls the
    other methods.
    """

    def __init__(self, number: int, credit: int, *, payload: bool, share: float, arm: Callable[[float], None], largest: int = 0) -> None:
        """Prepare the tap.

        Args:
            number: id of the tap.
            credit: number of bytes that may be copied.
            payload: whether payloads are copied, or only the numbers of blocks.
            share: share of the job's time that copies out of shared memory may take.
            arm: function that requests a call of `take` at a moment.
            largest: bytes of the largest message that is copied; of a larger one only the header
                is; 0: no limit.
        """
        self.number = number
        self._credit = self._full = credit
        self._shut = False  # a message did not fit: skip all messages, at the least cost, until there is more credit
        self._payload = payload
        self._largest = largest
        self._share = share
        self._arm = arm
        self._gathered: list[tuple[float, list[Buffer]]] = []
        self._size = 0
        self._not_before = 0.0
        self._epoch = time.time() - perf_counter()  # fixed, so that the times of a tap do not jump when the wall clock is set

    def saw(self, message: Any) -> None:
        """Copy a message that was sent, if the credit allows it."""
        if self._shut:
            return
        first = message[0]
        if frames.is_stamp(first):
            return  # it says more of a block that the viewer gets
        size = tapped.size_of(message) if self._payload else tapped.HEADER_SIZE
        header_only = not self._payload or (0 < self._largest < size + sum(lease.nbytes for lease in getattr(message, "leases", ())))
        if header_only:
            size = tapped.HEADER_SIZE
        if self._too_big(size):
            return
        if header_only:
            copy: Any = [bytes(first[: tapped.HEADER_BYTES])]
        elif hasattr(message, "leases"):
            copy = self._out_of_shared_memory(message)
            if copy is None:
                return
            size = tapped.size_of(copy)
        else:
            copy = message
        self._credit -= size
        now = perf_counter()
        self._gathered.append((self._epoch + now, copy))
        self._size += size
        self._arm(now if self._size >= GATHER_BYTES else now + GATHER_S)

    def _too_big(self, size: int) -> bool:
        # a single message may exceed the full credit: it is copied if no other copy is in transit
        self._shut = size > self._credit < self._full
        return self._shut

    def _out_of_shared_memory(self, message: Any) -> list[Buffer] | None:
        began = perf_counter()
        block = frames.decode(message)
        size = sum(lease.nbytes for lease in message.leases)
        if began < self._not_before or self._too_big(size) or not isinstance(block, Data):
            return None
        if type(block.payloads[0]) is tuple:  # packed: these bytes are a copy
            return list(message.for_afar())
        leases = iter(message.leases)
        blocks = [[payload, *(bytes(next(leases).view()) for _ in own)] for payload, *own in block.payloads]
        copy = frames.encode_big(block.pipe, block.incarnation, block.generation, block.sqn, blocks, block.heads)
        if block.times is not None:
            copy[0] = frames.add_times(copy[0], block.times)
        took = perf_counter() - began
        self._not_before = began + took / self._share
        return copy

    def end(self, output: Output, incarnation: int) -> None:
        """Add the last number of the output: the viewer then knows what it has missed."""
        generation, last = output.last
        self._gathered.append((self._epoch + perf_counter(), [frames.encode_end(End(output.pipe, incarnation, generation, last))]))

    def take(self) -> list[tuple[float, list[Buffer]]]:
        """Return the copies made since the last call."""
        found, self._gathered, self._size = self._gathered, [], 0
        return found

    def more(self, credit: int) -> None:
        """Add credit, because the viewer has room again."""
        self._credit += credit
        self._shut = False


class Meter:
    """Measures the time from sending to release, for one block of an output at a time."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._waits: tuple[int, int, float] | None = None
        self.seconds = 0.0
        self.blocks = 0

    def saw(self, message: Any) -> None:
        """Start a measurement with a message that was sent, if none is running."""
        if self._waits is None:
            kind, generation, sqn, count = frames.header_of(message[0])
            if kind == frames.DATA:
                self._waits = (generation, sqn + count - 1, perf_counter())

    def released(self) -> None:
        """End the measurement if the consumer has released the measured block."""
        waits = self._waits
        if waits is None:
            return
        generation, number, since = waits
        if self._output.last[0] != generation:
            self._waits = None  # numbering began again
        elif self._output.released >= number:
            self.seconds += perf_counter() - since
            self.blocks += 1
            self._waits = None


class JobWatch:
    """Observes the shell of a job's endpoint: it is the shell's `Watcher`."""

    def __init__(self, shell: EndpointShell, *, program: bool = False) -> None:
        """Handle the commands of viewers from now on.

        Args:
            shell: shell of the endpoint; set its `watcher` to this object.
            program: whether the job is a program.
        """
        self._shell = shell
        self._program = program
        self._endpoint = shell.endpoint
        self._taps: dict[int, tuple[int, Tap]] = {}  # (output pipe, tap), by id
        self._meters: dict[int, Meter] = {}
        self._measured_until = 0.0
        self._process: Any = None
        self._activity = Activity(perf_counter(), program=program)
        self._host_waited_s = self._starved_s = 0.0
        self._cpu_s = 0.0
        self._ready = ReadyTimes()
        shell.commands.update(
            {
                OpenTap: self._open_tap,
                ExtendTap: self._extend_tap,
                CloseTap: lambda message: self._close_tap(message.tap),
                MeasureJob: self._measure,
            }
        )

    def tick(self, now: float) -> float:
        """Send the copies that taps have gathered; return the time of the next call."""
        for _, tap in list(self._taps.values()):
            with self._shell.lock:
                batch = tap.take()
            if batch:
                self._shell.say(TapCopies(tap=tap.number), tapped.encode(batch))
        if not self._meters:
            return NEVER
        if now < self._measured_until:
            if not self._program:
                return self._measured_until
            self._sample(now)
            return now + SAMPLE_S
        self._stop_meters()
        return NEVER

    def control_received(self) -> None:
        """Look whether a measured block was released."""
        for meter in self._meters.values():
            meter.released()

    def close(self) -> None:
        """Send the copies that taps have gathered, and where the outputs have ended."""
        if self._taps:
            with self._shell.lock:
                for pipe, tap in self._taps.values():
                    tap.end(self._endpoint.by_pipe[pipe], self._endpoint.spec.incarnation)
            self.tick(NEVER)
            for _, tap in self._taps.values():
                self._shell.say(TapCopies(tap=tap.number, last=True))

    # taps

    def _open_tap(self, order: OpenTap) -> None:
        if order.pipe not in self._endpoint.by_pipe:
            raise RemoteProtocolError(f"pipe {order.pipe} is not an output of this job")
        self._close_tap(order.tap)
        share = max(1e-3, min(1.0, order.share))
        tap = Tap(order.tap, order.credit, payload=order.payload, share=share, arm=self._shell.control.arm, largest=order.largest)
        self._taps[order.tap] = (order.pipe, tap)
        self._shell.watch(order.pipe, tap.saw)
        log.info("pipe %s has a viewer (tap %s)", order.pipe, order.tap)

    def _extend_tap(self, order: ExtendTap) -> None:
        found = self._taps.get(order.tap)
        if found is not None:
            found[1].more(order.credit)

    def _close_tap(self, number: int) -> None:
        found = self._taps.pop(number, None)
        if found is not None:
            self._shell.unwatch(found[0], found[1].saw)
            log.info("the viewer of pipe %s has left (tap %s)", found[0], number)

    # measures

    def _measure(self, question: MeasureJob) -> None:
        now = perf_counter()
        endpoint = self._endpoint
        self._measured_until = now + MEASURED_S
        if not self._meters:
            for output in endpoint.outputs:
                self._meters[output.pipe] = Meter(output)
                self._shell.watch(output.pipe, self._meters[output.pipe].saw)
        self._sample(now)
        cpu_s, ready_s, memory = self._usage()
        spent = self._activity.observe(Observed(now, cpu_s, ready_s, self._starved_s, endpoint.room_wait.seconds(now)))
        self._shell.say(
            JobMeasured(
                key=question.key,
                at=now,
                # the loop of a source does not record its progress while it runs
                blocks=max([endpoint.rule.done, *(output.sent for output in endpoint.outputs if endpoint.spec.is_source)]),
                inputs={pipe: InputMeasures(done=done) for pipe, done in self._inputs_done().items()},
                outputs={output.pipe: self._output(output) for output in endpoint.outputs},
                busy_s=spent.busy_s,
                idle_s=spent.idle_s,
                starved_s=spent.starved_s,
                blocked_s=spent.blocked_s,
                cpu_s=cpu_s,
                memory=memory,
            )
        )

    def _inputs_done(self) -> dict[int, int]:
        """Return the number of blocks processed on each input.

        The number that has arrived would say less: blocks arrive by the hundred, and wait.
        """
        inputs = self._endpoint.inputs
        done = {pipe: one.received for pipe, one in inputs.optional.items()}
        if inputs.aligner is not None:
            done |= inputs.aligner.worked_off(self._endpoint.rule.done, whole=False)
        return done

    def _output(self, output: Output) -> OutputMeasures:
        meter = self._meters[output.pipe]
        return OutputMeasures(sent=output.sent, queue=output.queue, dropped=output.dropped, way_s=meter.seconds, way_blocks=meter.blocks)

    def _sample(self, now: float) -> None:
        """Add the time since the last sample in which the job waited for blocks.

        A program does not wait for blocks while there are some that it has not read.
        """
        endpoint, program_waits = self._endpoint, self._shell.program_waits or (lambda: not self._program)
        waited_s = endpoint.starved_s + (0.0 if endpoint.settling else _current_wait(endpoint.starved_since, now))
        if program_waits():
            self._starved_s += max(0.0, waited_s - self._host_waited_s)
        self._host_waited_s = waited_s

    def _usage(self) -> tuple[float, float, int]:
        """Return seconds on a processor, seconds of waiting for one, and bytes of memory.

        They are of this process and its descendants, also of those that have ended.
        """
        import psutil  # imported only when there is a viewer

        self._process = self._process or psutil.Process()
        seconds, memory = 0.0, 0
        ready: dict[int, float] = {}
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                times = process.cpu_times()
                memory += process.memory_info().rss
            except psutil.Error:  # the process has just ended
                continue
            # with what its ended children have used: the sum must not fall when one ends
            seconds += times.user + times.system + times.children_user + times.children_system
            ready[process.pid] = _ready_s(process.pid)
        self._cpu_s = max(self._cpu_s, seconds)  # not every platform knows them
        return self._cpu_s, self._ready.add(ready), memory

    def _stop_meters(self) -> None:
        for pipe, meter in self._meters.items():
            self._shell.unwatch(pipe, meter.saw)
        self._meters = {}


class ReadyTimes:
    """The seconds in which processes waited for a processor; those of ended ones stay in the sum."""

    def __init__(self) -> None:
        self._total_s = 0.0
        self._last: Mapping[int, float] = {}

    def add(self, ready: Mapping[int, float]) -> float:
        """Return the sum of all processes so far.

        Args:
            ready: seconds since its start of each process that exists, by process id.
        """
        for process, seconds in ready.items():
            before = self._last.get(process, 0.0)
            self._total_s += seconds - before if seconds >= before else seconds  # less: another process has got the number
        self._last = ready
        return self._total_s


def _current_wait(since: float, now: float) -> float:
    return max(0.0, now - since) if since else 0.0


def _ready_s(process: int) -> float:
    """Return the seconds in which the main thread of a process was ready and waited for a processor.

    0 where the kernel does not count it. Source of the layout: the kernel's own documentation of
    /proc/PID/schedstat, in sched-stats.rst: time on a processor, time in its queue, both in
    nanoseconds.
    """
    try:
        with open(f"/proc/{process}/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
