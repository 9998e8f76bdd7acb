"""The loop of an ExecutableJob: feed compute blocks to its program, and send the program's blocks.

With a RATIO, an input is released when the resulting outputs are released
(`fission.protocol.relay`), so that a new incarnation can feed a new program from the first
unreleased block. With RATIO = None, or without outputs, a block is done when the program has read
it. A job that declares no RATIO begins with 1, and continues as with None if its program proves to
behave otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

from fission.core.executable_job import output_ratio
from fission.errors import ExecutableError
from fission.posix.exit_status import how_program_failed
from fission.protocol.align import Aligner
from fission.protocol.batches import Batch
from fission.protocol.frames import Buffer
from fission.protocol.link_messages import CLOSED
from fission.protocol.messages.job_to_client import JobWarning
from fission.protocol.optional import DEFAULT
from fission.protocol.packed import pieces
from fission.protocol.relay import gives_otherwise
from fission.runtime import codec, report
from fission.runtime.executable_outputs import GENERATION, ExecutableOutputs
from fission.runtime.program import Program
from fission.runtime.program_input import Blocks, Intake

#: Size in bytes at which a batch is complete. Arbitrary: as much as a pipe takes at once.
BATCH_BYTES = 256 << 10
#: Seconds between checks for messages while an executable, which may read its inputs in any order, reads nothing. Arbitrary.
ROOM_S = 0.1
#: Seconds that a program may take to answer its blocks before numbering begins again; after that it is restarted. Arbitrary.
DRAIN_S = 1.0


class ExecutableHost(ExecutableOutputs):
    """Runs one ExecutableJob on the shell of its endpoint: feeds its program, numbers blocks and ends the job."""

    def run(self) -> str:
        """Run the executable to its end; return the outcome.

        Raises:
            ExecutableError: the executable cannot be started, its exit code is not 0, or its output
                is not a block of its pipe.
            RatioError: the executable gave more or fewer blocks than its declared RATIO promises.
        """
        try:
            self._program = Program(self._job, self._bundle.folder, self)
            if self._job._fission_is_source:
                self._numbered.set()
            self._shell.start()  # before the executable, whose first block may arrive at once
            self._program.start()
            if self._job._fission_is_source:
                self._shell.endpoint.begun = True
            self._feed_inputs(self._program)
            self._end_inputs()
            self._await_end(self._program)
            self._shell.finish(sends_ends=True)
            return report.FINISHED
        finally:
            self.stop()
            if self._program is not None:
                self._program.remove_pipes()

    def stop(self) -> None:
        """Any thread: end the program if it still runs."""
        if self._program is not None:
            self._program.stop()

    # releases

    def _answer_pressed(self, program: Program) -> None:
        """Report the progress of this job, and of all jobs after it, to waiting producers."""
        shell, relay = self._shell, self._relay
        done = shell.rule.done
        idle = all(intake.all_read for intake in program.intakes)
        watch = self._watch
        if relay is None or watch is None:
            shell.answer_pressed(self._passed if idle else done)
            return
        shell.endpoint.pressed = False
        with self._lock:
            # a program may need more input before it flushes its own buffers, so blocks in them count as done; but a program that
            # may keep them for good gets no more than a window
            if idle and watch.buffers and watch.declared:
                done = relay.passed
            number = min((shell.endpoint.worked_off(output) for output in shell.endpoint.outputs if not output.closed), default=CLOSED)
            sent = max((output.last[1] for output in shell.endpoint.outputs if not output.closed), default=0)
            through = done if number >= sent else min(done, relay.covered(number))
            owed = relay.owed
        shell.report_progress(through, done)
        if idle and owed and number >= sent and not any(intake.shut for intake in program.intakes):
            if not watch.declared:
                if gives_otherwise(relay, silent=watch.idle_s()):
                    self._give_up_ratio()
                return
            error = watch.look(owed, full=done < relay.passed)
            if error is not None:
                self._fail(error)

    # the loop

    def _feed_inputs(self, program: Program) -> None:
        shell, inputs = self._shell, self._shell.inputs
        aligner = inputs.aligner
        if aligner is None:
            self._feed_as_it_comes(program)
            return
        while not self._ended.is_set():
            program = self._program or program
            if shell.endpoint.retained.settling:
                shell.receive()
                continue
            if shell.endpoint.pressed:
                self._answer_pressed(program)
            batch = shell.take()
            if batch is not None:
                self._write(program, batch)
            elif (beginning := aligner.beginning) is not None:
                self._begin(aligner, beginning)
            elif aligner.next > self._passed + 1:
                self._leave_out(program, aligner.next - 1)  # the blocks after the last one do not exist
            elif inputs.finished or shell.endpoint.unwanted:
                return
            else:
                if inputs.exhausted:
                    self._end_inputs()  # before the end: blocks that wait for the executable may keep the other inputs from ending
                shell.receive()

    def _begin(self, aligner: Aligner, beginning: int) -> None:
        """Begin where the inputs open: the first time, in a new generation, or at a later block."""
        shell = self._shell
        if self._passed:
            self._drain()
            beginning = aligner.beginning or 0
            if not beginning:
                return
        if self._relay is not None:
            beginning = self._relay.first_from(beginning)
        if aligner.generation != shell.rule.generation:
            shell.switch(aligner.generation)
        with self._lock:
            self._passed = beginning - 1
            self._base, self._read = aligner.generation * GENERATION, 0
            if self._relay is not None and self._watch is not None:
                self._relay.begin(beginning)
                self._watch.begin()
        if self._reads and self._job.outputs:
            self._begin_outputs(beginning)
        else:
            shell.begin(beginning, self._first_output(beginning))

    def _first_output(self, beginning: int) -> int:
        ratio = output_ratio(self._job)
        return beginning if ratio is None else (beginning - 1) * ratio.numerator // ratio.denominator + 1

    def _begin_outputs(self, beginning: int) -> None:
        """Number the outputs after the blocks that the consumers had from earlier incarnations.

        With RATIO = None, the input block of an output block is unknown.
        """
        shell, job = self._shell, self._job
        again = self._bundle.incarnation > 1 and not shell.endpoint.begun
        shell.begin(beginning, 1)
        if not again:
            self._numbered.set()
            return
        while any(output.had is None and not output.closed for output in shell.endpoint.outputs) and not self._ended.is_set():
            shell.receive()
        given = (beginning - 1) * job.inputs[self._sync[0]].BLOCK_COUNT
        for output in shell.outputs:
            output.continue_after(output.machine.had or 0, given)
        self._numbered.set()
        if given:
            had = " and ".join(f"{output.had or 0} blocks of pipe {output.pipe}" for output in shell.endpoint.outputs)
            ratio = "has RATIO = None" if job.RATIO is None else "runs as with RATIO = None"
            text = f"{job._fission_name} was started anew and {ratio}: of {given} blocks that it had read, {had} came; the rest is lost"
            shell.say(JobWarning(text=text))

    def _drain(self) -> None:
        """Wait until the program has answered all its blocks, because numbering begins again.

        A program that holds blocks back is restarted.
        """
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
            self._shell.drain_inputs()
        self._end_inputs()
        self._await_end(program)
        if self._watch is not None and not self._watch.declared and gives_otherwise(relay, over=True):
            self._give_up_ratio()
            self._varied.wait()
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
                self._shell.rule.done = self._relay.answered
            elif all(intake.all_read for intake in program.intakes):
                self._shell.rule.done = number
        self._shell.release()

    def _feed_as_it_comes(self, program: Program) -> None:
        """Feed every block of the inputs, which are all ASYNC, once, when it arrives.

        The start of a compute block is unknown here. Defaults and retained values are not fed: how
        often the program wants them is unknown, and they would fill a named pipe.
        """
        shell = self._shell
        inputs = [(pipe, shell.inputs.optional[pipe.id], one) for pipe, one in zip(self._job.inputs, program.intakes, strict=True)]
        while inputs and not self._ended.is_set() and not shell.endpoint.unwanted:
            for pipe, values, intake in inputs:
                while values.waiting >= pipe.BLOCK_COUNT and not intake.queue.full():
                    for payload, head in _pairs(*values.take(), pipe.BLOCK_COUNT):
                        self._put(intake, Blocks([self._bytes(pipe, payload, head)]))
                if values.finished:
                    self._put(intake, None)
            inputs = [entry for entry in inputs if not entry[1].finished]
            if any(values.waiting >= pipe.BLOCK_COUNT for pipe, values, _ in inputs):
                shell.drain_inputs()
                self._room.wait(ROOM_S)  # until the program has read some of the waiting blocks
                self._room.clear()
            elif inputs:
                shell.receive()
        shell.release(force=True)

    def _write(self, program: Program, batch: Batch) -> None:
        columns = {index: column for column, index in enumerate(self._sync)}
        watch, relay, bundle = self._watch, self._relay, self._bundle
        looks = watch is None or not watch.declared  # only then does the program's reading progress matter
        if looks and watch and relay and gives_otherwise(relay, held=watch.held(bundle.window_blocks, bundle.window_bytes)):
            self._give_up_ratio()
        if self._plain_input:
            self._write_column(program, batch, looks)
            return
        gathered, size = _gathering(len(program.intakes)), 0
        for position, number in enumerate(batch.numbers):
            with self._lock:
                self._passed = number
                if relay is not None:
                    relay.feed(number)
            for index, pipe in enumerate(self._job.inputs):
                if index in columns:
                    column = columns[index]
                    payload, head = batch.columns[column][position], batch.heads[column][position] if batch.heads else 0
                else:
                    payload, head = self._shell.inputs.optional[pipe.id].take()
                parts = _pairs(payload, head, pipe.BLOCK_COUNT)
                for place, (part, part_head) in enumerate(parts, 1):
                    data = self._bytes(pipe, part, part_head)
                    size += len(data)
                    gathered[index][0].append(data)
                    if looks:
                        gathered[index][1].append(self._base + number if place == len(parts) and index in columns else 0)
            if size >= BATCH_BYTES or position == len(batch.numbers) - 1:
                if watch is not None:
                    watch.fed(size)
                for intake, blocks in zip(program.intakes, gathered, strict=True):
                    self._put(intake, Blocks(*blocks))
                gathered, size = _gathering(len(program.intakes)), 0
                if self._after_put():
                    return

    def _write_column(self, program: Program, batch: Batch, looks: bool) -> None:
        """Do as `_write` for the only input of a job, many blocks at a time."""
        column, numbers = batch.columns[0], batch.numbers
        packed = pieces(column) if isinstance(numbers, range) else None
        if packed is not None:
            start = 0
            for view, size in packed:
                some = numbers[start : start + len(view) // size]
                start += len(some)
                if self._write_run(program, [view], some, looks, size):
                    return
            return
        data = [payload if type(payload) is bytes else codec.block_view(payload) for payload in column]
        step = max(1, BATCH_BYTES * len(data) // max(1, sum(map(len, data))))
        for start in range(0, len(data), step):
            if self._write_run(program, data[start : start + step], numbers[start : start + step], looks):
                return

    def _write_run(self, program: Program, data: Sequence[Buffer], numbers: Sequence[int], looks: bool, size: int = 0) -> bool:
        """Write blocks with these numbers to the only input; return whether the program has ended."""
        with self._lock:
            self._passed = numbers[-1]
            if self._relay is not None:
                self._relay.feed_run(numbers)
        if self._watch is not None:
            self._watch.fed(sum(map(len, data)))
        base = self._base
        moved = range(base + numbers[0], base + numbers[-1] + 1) if size else [base + number for number in numbers]
        self._put(program.intakes[0], Blocks(data, moved if looks else [], size))
        return self._after_put()

    def _after_put(self) -> bool:
        """Answer producers that wait for room; return whether the program has ended."""
        if self._shell.endpoint.pressed and self._program is not None:
            self._answer_pressed(self._program)
        return self._ended.is_set()

    def _bytes(self, pipe: Any, payload: Any, head: int) -> bytes:
        if payload is DEFAULT:
            default = pipe.OPTIONAL_DEFAULT
            value = None if default is None else pipe.unpack(default)
            payload = codec.encoder(pipe, plain=True)(value)
        return head.to_bytes(self._head_size, "big") + codec.block_bytes(payload) if self._job.HEAD else codec.block_bytes(payload)

    def _put(self, target: Intake, blocks: Blocks | None) -> None:
        while not self._ended.is_set():
            if target.enqueue(None, ROOM_S) if blocks is None else target.put(blocks, ROOM_S):
                if self._reads:
                    self.has_read()
                return
            # do this even while the program is busy: a producer that waits for room must get its answer, and in a cycle of jobs the
            # program may wait for room in an output whose consumer waits for this job to take its blocks
            self._shell.drain_inputs()
            if self._shell.endpoint.pressed and self._program is not None:
                self._answer_pressed(self._program)

    # the end

    def _end_inputs(self) -> None:
        if not self._inputs_ended and self._program is not None:
            self._inputs_ended = True
            for intake in self._program.intakes:
                self._put(intake, None)

    def _await_end(self, program: Program) -> None:
        while not self._ended.wait(ROOM_S):
            if self._shell.endpoint.unwanted:
                program.stop()
            else:
                self._shell.drain_inputs()
                if self._shell.endpoint.pressed:
                    self._answer_pressed(program)
        program.join_outputs()
        if self._asked:
            self._varied.wait()  # a new incarnation goes by what was read, as soon as the client has retained this
        if self._reads:
            # the pipes still hold the bytes that a killed program has not read: it has read all earlier blocks, which a new program
            # must not answer again
            self.has_read()
            self._shell.release(force=True)
        self._raise_failure(program)

    def _raise_failure(self, program: Program) -> None:
        if self._failure is not None:
            raise self._failure
        unwanted = self._shell.endpoint.unwanted
        if program.exit_code and not unwanted:
            ending = how_program_failed(program.exit_code)
            raise ExecutableError(f"{self._job._fission_name}: {program.command[0]} {ending}; what it wrote to standard error is above")
        relay = self._relay
        if (
            relay is not None
            and self._watch is not None
            and relay.owed
            and not unwanted
            and all(program.intakes[index].ended for index in self._sync)
        ):
            if self._watch.declared:
                raise self._watch.too_few()
            self._watch.say_otherwise()


def _gathering(inputs: int) -> list[tuple[list[Buffer], list[int]]]:
    """Return, for each input, a list for blocks and one for their numbers."""
    return [([], []) for _ in range(inputs)]


def _pairs(payload: Any, head: Any, count: int) -> list[tuple[Any, int]]:
    if count == 1:
        return [(payload, head)]
    heads = head if isinstance(head, list) else [head] * count
    return list(zip(payload, heads, strict=True))
