"""The loop of an ExecutableJob: compute blocks into its program, blocks out of it.

With a RATIO, an input is released when what came of it is released (`fission.protocol.relay`), so that a new incarnation can feed a new
program from the first unreleased block. Without one (RATIO = None), and without outputs, a block is done when the program has read it.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from time import monotonic
from typing import Any

from fission.core.base_pipe import TruncatedBlock
from fission.core.executable_job import output_ratio
from fission.core.jobs import ExecutableJob
from fission.errors import ExecutableError, RatioError, error_text
from fission.ports import JobBundle
from fission.protocol.align import Aligner, Batch
from fission.protocol.frames import CLOSED
from fission.protocol.optional import DEFAULT
from fission.protocol.relay import Relay
from fission.runtime import codec, report
from fission.runtime.exchange import Exchange
from fission.runtime.outlet import Outlet
from fission.runtime.program import Intake, Program
from fission.runtime.program_ends import ending_of
from fission.runtime.ratio_watch import RatioWatch

log = logging.getLogger("fission.runtime")

#: Seconds between looks at what comes while an executable reads nothing, where it may read its inputs in any order. Arbitrary.
ROOM_S = 0.1
#: Seconds that a program may take to answer what it was given before numbering begins again; then it is ended and started anew. Arbitrary.
DRAIN_S = 1.0


class ExecutableHost:
    """Runs one ExecutableJob on an exchange: feeding, numbering, end."""

    def __init__(self, job: ExecutableJob, exchange: Exchange, bundle: JobBundle) -> None:
        self._job = job
        self._exchange = exchange
        self._bundle = bundle
        self._head_size = bundle.head_size
        ratio = output_ratio(job)
        self._lock = threading.Lock()
        waits = bool(job.inputs) and not job.is_source
        self._relay = Relay(ratio, len(job.outputs)) if waits and job.outputs and ratio is not None else None
        self._reads = waits and self._relay is None  # what was read is done with
        self._sync = [index for index, pipe in enumerate(job.inputs) if not pipe.ASYNC]
        self._inputs_ended = False
        self._passed = 0  # compute blocks up to here were given to the program, or left out
        self._failure: BaseException | None = None  # of a thread, the first one
        self._ended = threading.Event()
        self._room = threading.Event()  # an intake's queue has room again
        self._watch = RatioWatch(job, self._relay, lambda text: exchange.say("warning", {"text": text})) if self._relay else None
        self._numbered = threading.Event()  # the outputs' first numbers are known
        self._program: Program | None = None
        exchange.inputs_follow = self._releasable if waits else None

    def run(self) -> str:
        """Run the executable to its end; return the outcome.

        Raises:
            ExecutableError: it cannot be started, its exit code is not 0, or what it wrote is no block of its pipe.
            RatioError: it gave more or fewer blocks than it promises.
        """
        try:
            self._program = Program(self._job, self._bundle.folder, self)
            if self._job.is_source:
                self._numbered.set()
            self._exchange.start()  # before the executable, whose first block may come at once
            self._program.start()
            self._feed_inputs(self._program)
            self._end_inputs()
            self._await_end(self._program)
            self._exchange.finish(tell=True)
            return report.FINISHED
        finally:
            if self._program is not None:
                self._program.stop()
                self._program.remove_pipes()

    # called by the program's threads

    def ended(self) -> None:
        """The process has ended."""
        self._ended.set()
        self._exchange.wake()

    def has_read(self) -> None:
        """The program may have read more of its inputs."""
        self._room.set()
        if not self._reads or self._program is None:
            return
        with self._lock:
            done = min((self._program.intakes[index].read_upto() for index in self._sync), default=0)
            if done > self._exchange.inlets.done:
                self._exchange.inlets.done = done
        self._exchange.release()

    def read_output(self, index: int, reader: Any) -> None:
        """Take what comes on an output until its end."""
        pipe, outlet = self._job.outputs[index], self._exchange.outlets[index]
        try:
            self._read_blocks(index, pipe, outlet, reader)
        except TruncatedBlock as why:
            log.warning("%s; what came of it was not used", why)
        except EOFError as why:
            log.debug("%s: %s", pipe, str(why) or "end")
        except RatioError as why:
            self._fail(why)
        except BaseException as why:  # read_wrapper may be the user's; nothing else would report what ends this thread
            error = ExecutableError(
                f"{self._job.name}, output {index + 1}: what {self._job.EXECUTABLE} wrote is no block of {pipe}: {error_text(why)}"
            )
            error.__cause__ = why
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        if self._program is not None:
            self._program.stop()

    def _read_blocks(self, index: int, pipe: Any, outlet: Outlet, reader: Any) -> None:
        while True:
            head = 0
            if self._job.HEAD:
                start = reader.read(self._head_size)
                if len(start) < self._head_size:
                    return
                head = int.from_bytes(start, "big")
            payload = bytes(pipe.read_wrapper(reader))
            if not payload:
                return
            if self._relay is None or self._watch is None:
                self._numbered.wait()
                outlet.put(payload, head)
                outlet.flush()
                continue
            self._watch.moved()
            with self._lock:
                number = self._relay.give(index)
            if number is None:
                raise self._watch.surplus(index)
            if not outlet.closed:
                outlet.seek(number)
                outlet.put(payload, head)
                outlet.flush()
            with self._lock:
                self._exchange.inlets.done = self._relay.answered
            self._exchange.release()

    # what may be released

    def _releasable(self, released: int) -> int:
        """Any thread: the compute block up to which inputs may go when all output blocks up to ``released`` are released."""
        if self._relay is None:
            return self._exchange.inlets.done
        with self._lock:
            return min(self._exchange.inlets.done, self._relay.release(released))

    def _answer_pressed(self, program: Program) -> None:
        """A producer waits for room: say how far this job and all after it have worked off what they were sent."""
        exchange, relay = self._exchange, self._relay
        done = exchange.inlets.done
        idle = all(intake.all_read for intake in program.intakes)
        watch = self._watch
        if relay is None or watch is None:
            exchange.answer_pressed(self._passed if idle else done)
            return
        exchange.pressed = False
        with self._lock:
            # what it holds in buffers of its own it may give only when there is more
            if idle and watch.buffers:
                done = relay.passed
            number = min((exchange.worked_off(outlet) for outlet in exchange.outlets if not outlet.closed), default=CLOSED)
            sent = max((outlet.last[1] for outlet in exchange.outlets if not outlet.closed), default=0)
            through = done if number >= sent else min(done, relay.covered(number))
            owed = relay.owed
        exchange.inlets.say_starved(through, done)
        if idle and owed and number >= sent and not any(intake.shut for intake in program.intakes):
            error = watch.look(owed, full=done < relay.passed)
            if error is not None:
                self._fail(error)

    # the loop

    def _feed_inputs(self, program: Program) -> None:
        exchange, inlets = self._exchange, self._exchange.inlets
        aligner = inlets.aligner
        if aligner is None:
            self._feed_as_it_comes(program)
            return
        while not self._ended.is_set():
            program = self._program or program
            if exchange.stored.settling:
                exchange.receive()
                continue
            if exchange.pressed:
                self._answer_pressed(program)
            batch = inlets.take()
            if batch is not None:
                self._write(program, batch)
            elif (beginning := aligner.beginning) is not None:
                self._begin(aligner, beginning)
            elif aligner.next > self._passed + 1:
                self._leave_out(program, aligner.next - 1)  # those after the last one do not exist
            elif inlets.finished or exchange.unwanted:
                return
            else:
                if inlets.exhausted:
                    self._end_inputs()  # not at the end: what waits for the executable may be what keeps the other inputs from ending
                exchange.receive()

    def _begin(self, aligner: Aligner, beginning: int) -> None:
        """The inputs are open, for the first time, in a new generation, or further on than they were."""
        exchange = self._exchange
        if self._passed:
            self._drain()
            beginning = aligner.beginning or 0
            if not beginning:
                return
        if self._relay is not None:
            beginning = self._relay.first_from(beginning)
        if aligner.generation != exchange.inlets.generation:
            exchange.switch(aligner.generation)
        aligner.begin(beginning)
        with self._lock:
            self._passed = beginning - 1
            if self._relay is not None and self._watch is not None:
                self._relay.begin(beginning)
                self._watch.begin()
        if self._reads and self._job.outputs:
            self._begin_outputs(beginning)
        else:
            exchange.begin(beginning, self._first_output(beginning))

    def _first_output(self, beginning: int) -> int:
        ratio = output_ratio(self._job)
        return beginning if ratio is None else (beginning - 1) * ratio.numerator // ratio.denominator + 1

    def _begin_outputs(self, beginning: int) -> None:
        """Nothing says which output block belongs to which input: number on after what the consumers have had of earlier incarnations."""
        exchange, job = self._exchange, self._job
        again = self._bundle.incarnation > 1 and not exchange.begun
        exchange.begin(beginning, 1)
        if not again:
            self._numbered.set()
            return
        while any(outlet.had is None and not outlet.closed for outlet in exchange.outlets) and not self._ended.is_set():
            exchange.receive()
        given = (beginning - 1) * job.inputs[self._sync[0]].BLOCK_COUNT
        for outlet in exchange.outlets:
            outlet.go_on_after(outlet.had or 0, given)
        self._numbered.set()
        if given:
            had = " and ".join(f"{outlet.had or 0} blocks of pipe {outlet.pipe}" for outlet in exchange.outlets)
            text = f"{job.name} was started anew and has RATIO = None: of {given} blocks that it had read, {had} came; the rest is lost"
            exchange.say("warning", {"text": text})

    def _drain(self) -> None:
        """Before numbering begins again, the program must have answered what it was given; one that holds blocks back is started anew."""
        program, relay = self._program, self._relay
        if relay is None or program is None:
            return
        until = monotonic() + DRAIN_S
        while monotonic() < until and not self._ended.is_set():
            with self._lock:
                if not relay.fed or (relay.owed == 0 and relay.answered == relay.passed):
                    return
            self._room.wait(ROOM_S / 10)
            self._room.clear()
            self._exchange._drain_inputs()
        self._end_inputs()
        self._await_end(program)
        program.remove_pipes()
        self._inputs_ended = False
        self._ended.clear()
        self._program = Program(self._job, self._bundle.folder, self)
        self._program.start()

    def _leave_out(self, program: Program, number: int) -> None:
        with self._lock:
            self._passed = number
            if self._relay is not None:
                self._relay.skip(number)
                self._exchange.inlets.done = self._relay.answered
            elif all(intake.all_read for intake in program.intakes):
                self._exchange.inlets.done = number
        self._exchange.release()

    def _feed_as_it_comes(self, program: Program) -> None:
        """All inputs are ASYNC: nothing says when a compute block begins, so it gets every block, once, as it comes.

        Neither the default nor a stored value: how often it wants them is unknown, and a named pipe would be full of them.
        """
        exchange = self._exchange
        inputs = [(pipe, exchange.inlets.optional[pipe.id], one) for pipe, one in zip(self._job.inputs, program.intakes, strict=True)]
        while inputs and not self._ended.is_set() and not exchange.unwanted:
            for pipe, values, intake in inputs:
                while values.waiting >= pipe.BLOCK_COUNT and not intake.queue.full():
                    for payload, head in _pairs(*values.take(), pipe.BLOCK_COUNT):
                        self._put(intake, self._bytes(pipe, payload, head))
                if values.finished:
                    self._put(intake, None)
            inputs = [entry for entry in inputs if not entry[1].finished]
            if any(values.waiting >= pipe.BLOCK_COUNT for pipe, values, _ in inputs):
                exchange._drain_inputs()
                self._room.wait(ROOM_S)  # until it has read some of what waits for it
                self._room.clear()
            elif inputs:
                exchange.receive()
        exchange.release(force=True)

    def _write(self, program: Program, batch: Batch) -> None:
        columns = {index: column for column, index in enumerate(self._sync)}
        for position, number in enumerate(batch.numbers):
            with self._lock:
                self._passed = number
                if self._relay is not None:
                    self._relay.feed(number)
            for index, pipe in enumerate(self._job.inputs):
                if index in columns:
                    column = columns[index]
                    payload, head = batch.columns[column][position], batch.heads[column][position] if batch.heads else 0
                else:
                    payload, head = self._exchange.inlets.optional[pipe.id].take()
                parts = _pairs(payload, head, pipe.BLOCK_COUNT)
                for place, (part, part_head) in enumerate(parts, 1):
                    data = self._bytes(pipe, part, part_head)
                    if self._watch is not None:
                        self._watch.fed(len(data))
                    self._put(program.intakes[index], data, number if place == len(parts) else 0)
            if self._exchange.pressed:
                self._answer_pressed(program)
            if self._ended.is_set():
                return

    def _bytes(self, pipe: Any, payload: Any, head: int) -> bytes:
        if payload is DEFAULT:
            default = pipe.OPTIONAL_DEFAULT
            value = None if default is None else pipe.unpack(default)
            payload = codec.encoder(pipe, plain=True)(value)
        return head.to_bytes(self._head_size, "big") + payload if self._job.HEAD else bytes(payload)

    def _put(self, target: Intake, data: bytes | None, number: int = 0) -> None:
        item = None if data is None else (data, number)
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                target.queue.put(item, timeout=ROOM_S)
                return
            # also while it is busy: a producer that waits for room must get its answer, and in a circle of jobs the program may wait for
            # room in an output whose consumer waits for this job to take what it sends
            self._exchange._drain_inputs()
            if self._exchange.pressed and self._program is not None:
                self._answer_pressed(self._program)

    # the end

    def _end_inputs(self) -> None:
        if not self._inputs_ended and self._program is not None:
            self._inputs_ended = True
            for intake in self._program.intakes:
                self._put(intake, None)

    def _await_end(self, program: Program) -> None:
        while not self._ended.wait(ROOM_S):
            if self._exchange.unwanted:
                program.stop()
            else:
                self._exchange._drain_inputs()
                if self._exchange.pressed:
                    self._answer_pressed(program)
        program.join_outputs()
        self._raise_failure(program)

    def _raise_failure(self, program: Program) -> None:
        if self._failure is not None:
            raise self._failure
        unwanted = self._exchange.unwanted
        if program.exit_code and not unwanted:
            ending = ending_of(program.exit_code)
            raise ExecutableError(f"{self._job.name}: {program.command[0]} {ending}; what it wrote to standard error is above")
        relay = self._relay
        if (
            relay is not None
            and self._watch is not None
            and relay.owed
            and not unwanted
            and all(program.intakes[index].ended for index in self._sync)
        ):
            raise self._watch.too_few()


def _pairs(payload: Any, head: Any, count: int) -> list[tuple[Any, int]]:
    if count == 1:
        return [(payload, head)]
    heads = head if isinstance(head, list) else [head] * count
    return list(zip(payload, heads, strict=True))
