"""The loop of a PythonJob: take compute blocks, call `run`, send its values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import GeneratorType
from typing import Any, Protocol

from fission.core.head import FINISHED, RESET, Head, bit_mask
from fission.core.jobs import PythonJob
from fission.core.sink_file import BEYOND
from fission.errors import Stopped
from fission.ports import JobBundle
from fission.protocol.align import Aligner
from fission.protocol.batches import Batch
from fission.protocol.messages.job_to_client import JobWarning
from fission.runtime import report
from fission.runtime.arguments import ArgumentsIn
from fission.runtime.checkpointer import make_checkpointer
from fission.runtime.endpoint_shell import EndpointShell
from fission.runtime.heads import HeadsIn
from fission.runtime.results import ResultsOut
from fission.runtime.sink_position import SinkSync, make_sink_sync, repetition_warning

log = logging.getLogger("fission.runtime")


class Steps(Protocol):
    """Decides when a job computes, and hears what it has computed. See `fission.testing.alone`."""

    def through(self, results: Iterator[Any]) -> Iterator[Any]:
        """Return the results of a source, each when it may be computed."""
        ...

    def computed(self, number: int) -> None:
        """Take note that a job with inputs has processed compute blocks up to ``number``."""
        ...


class PythonHost:
    """Runs one PythonJob on the shell of its endpoint, in the calling thread.

    Attributes:
        turn: largest number of blocks in one turn of a plain source. Arbitrary: large enough that a
            turn costs nothing.
    """

    turn = 256

    def __init__(self, job: PythonJob, shell: EndpointShell, bundle: JobBundle, steps: Steps | None = None) -> None:
        """Prepare; `run` or `turns` runs the job.

        Args:
            job: job to run.
            shell: shell of its endpoint.
            bundle: settings of the job.
            steps: decides when the job computes; None for a job that computes when it can.
        """
        self._job = job
        self._steps = steps
        self._shell = shell
        self._outputs = shell.outputs
        self._results_out = ResultsOut(job, shell, bundle)
        self._arguments_in = ArgumentsIn(job, shell, bundle)
        self._detours = job.HEAD or any(self._arguments_in.optional)
        self._head_size = bundle.head_size
        self._heads_in = HeadsIn(job, bundle.head_size)
        self._reset_head = bit_mask(RESET, bundle.head_size)
        self._finished_head = bit_mask(FINISHED, bundle.head_size)
        self._generation = bundle.generation if job._fission_is_source else 0
        self._begun = False
        self._checkpointer = make_checkpointer(job, shell, bundle)
        self._sink: SinkSync | None = None
        self._restarted = bundle.incarnation > 1
        self._number = 0
        self._first = 1
        self._over = ""
        self._set_up = False
        #: Makes the context manager in which the job's `teardown` runs.
        self.limit: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def ends_with(self) -> str:
        """The outcome of the job; empty until it is decided."""
        return self._over

    def run(self) -> str:
        """Call `setup`, then `run` until the end; return the outcome (`fission.runtime.report`).

        Raises:
            ValueFitError: a value or a head does not fit its output.
            BlockError: a block cannot be read.
            Exception: any exception of the job's code.
        """
        for waits in self.turns():
            if waits:
                self._shell.receive()
        if self._sink is not None:
            self._sink.finish()
        self._shell.finish(sends_ends=self._over != report.ENDED)
        self._shell.rule.done = self._number
        return self._over or report.FINISHED

    def turns(self) -> Iterator[bool]:
        """Process everything up to the last compute block, in turns of a few blocks.

        Yields True when there is nothing to do until a message arrives.
        """
        job, shell = self._job, self._shell
        job.__dict__["_fission_console"] = shell.console
        job.__dict__["_fission_head_size"] = self._head_size
        job.__dict__["_fission_host"] = self
        # the `setup` of a sink may ask for its position, which only its producers know
        waits = self._restarted and not job.outputs and shell.inputs.aligner is not None
        if waits:
            shell.start()
            yield from self._opening(shell.inputs.aligner)
        job.setup()
        self._set_up = True
        self._sink = shell.sink = make_sink_sync(job, lambda text: shell.say(JobWarning(text=text)))
        if not waits:
            shell.start()
        while shell.endpoint.retained.settling:
            yield True
        if job._fission_is_source:
            if self._checkpointer is not None:
                first = self._checkpointer.begin(self._generation, 1)
                shell.begin(first)
                self._number = first - 1
            shell.endpoint.begun = True
            yield from self._source_turns()
        else:
            yield from self._connector_turns()
        # before the end is sent: if `teardown` raises, the job fails while its last blocks can still be replayed
        self.teardown()

    def teardown(self) -> None:
        """Call the job's `teardown`, if its `setup` has returned. Idempotent."""
        if self._set_up:
            self._set_up = False
            with self.limit():
                self._job.teardown()

    def _opening(self, aligner: Aligner | None) -> Iterator[bool]:
        """Wait until all producers have reported where their blocks begin."""
        while aligner is not None and aligner.beginning is None and not (self._shell.inputs.final or self._shell.endpoint.unwanted):
            yield True
        if aligner is not None and aligner.beginning is not None:
            self._job.__dict__["_fission_position"] = aligner.beginning

    @property
    def current_number(self) -> int:
        """The number of the compute block that `run` is processing, for a job with inputs."""
        return self._number + 1

    # a source, or a job whose inputs are all ASYNC: `run` never waits

    def _source_turns(self) -> Iterator[bool]:
        shell, outputs = self._shell, self._outputs
        results = self._results() if self._steps is None else self._steps.through(self._results())
        if len(outputs) == 1 and not self._job.HEAD and not self._job.inputs and self._checkpointer is None:
            yield from self._plain_source_turns(results)
            return
        yield from self._renumbering()
        for result in results:
            self._number += 1
            if outputs:
                self._send(result, self._results_out.heads(0) if self._job.HEAD else None)
            shell.rule.done = self._number
            if self._over or self._job.finished or shell.endpoint.unwanted:
                break
            if self._checkpointer is not None:
                self._checkpointer.after(self._number)
            if self._job.inputs or self._checkpointer is not None:
                shell.advance(self._number)
            yield False
            # at this point, the snapshot contains no result that the new numbering lacks
            yield from self._renumbering()

    def _renumbering(self) -> Iterator[bool]:
        if self._shell.endpoint.reset_to != self._generation:
            self._renumber()
            while self._settles:
                yield True

    @property
    def _settles(self) -> bool:
        """Whether the state with which this job enters the new generation is not stored yet.

        Until it is stored, a new incarnation could not send the same blocks.
        """
        return self._checkpointer is not None and self._checkpointer.settling

    def _renumber(self) -> None:
        """Number from 1 again: the client began a new generation in this part of the network."""
        self._generation = self._shell.endpoint.reset_to
        self._shell.switch(self._generation)
        self._number = 0
        if self._checkpointer is not None:
            self._checkpointer.first_of_generation(self._generation, 1)

    def _plain_source_turns(self, results: Iterator[Any]) -> Iterator[bool]:
        """Run the most frequent kind of source: one output, no heads, no inputs, no snapshots."""
        job, output, endpoint = self._job, self._outputs[0].machine, self._shell.endpoint
        encode, put = self._results_out.encoders[0], self._outputs[0].put
        generation, number, turn = self._generation, self._number, self.turn
        try:
            for result in results:
                if endpoint.reset_to != generation:
                    self._renumber()
                    generation, number = self._generation, 0
                number += 1
                if result is None or type(result) is tuple or job.finished or number == 1:
                    self._number = number
                    self._send(result, None)
                    if self._over or job.finished:
                        break
                else:
                    try:
                        payload = encode(result)
                    except Stopped:
                        raise
                    except BaseException as why:
                        raise self._results_out.misfit(0, result, why, number) from why
                    put(payload)
                if output.closed:
                    break
                if not number % turn:
                    yield False
        finally:
            # for the summary, which also covers a job that was stopped or has failed
            endpoint.rule.done = self._number = number

    def _results(self) -> Iterator[Any]:
        job = self._job
        arguments = self._source_arguments()
        self._reset_heads()
        first = job.run(*arguments)
        if isinstance(first, GeneratorType):
            if not job.HEAD:
                yield from first
                return
            # the generator's code runs at each step, so heads are reset between the steps
            for value in first:
                yield value
                self._reset_heads()
            return
        yield first
        while not (job.inputs and self._shell.inputs.final):
            arguments = self._source_arguments()
            self._reset_heads()
            yield job.run(*arguments)

    def _source_arguments(self) -> list[Any]:
        if not self._job.inputs:
            return []
        self._shell.drain_inputs()
        pairs = [self._arguments_in.optional_value(index) for index in range(len(self._job.inputs))]
        if self._job.HEAD:
            self._job.in_heads = self._heads_in.shown([head for _, head in pairs])
        return [value for value, _ in pairs]

    def _reset_heads(self) -> None:
        if self._job.HEAD:
            self._job.head = self._job.head_reduce() if self._job.inputs else Head(0, self._head_size)
            self._job.out_heads = [None] * len(self._outputs)

    # a job that waits for its inputs

    def _connector_turns(self) -> Iterator[bool]:
        shell, endpoint, inputs = self._shell, self._shell.endpoint, self._shell.inputs
        aligner = inputs.aligner
        assert aligner is not None  # it has a non-ASYNC input
        checkpointer, job = self._checkpointer, self._job
        exhausted = False
        while not self._over and not job.finished:
            if checkpointer is not None and checkpointer.settling:
                yield True
                continue
            batch = shell.take()
            if batch is not None:
                self._compute(batch)
                if self._steps is not None:
                    self._steps.computed(self._number)
                if self._sink is not None:
                    self._sink.flush()
                if endpoint.pressed:
                    self._pressed()
                shell.release()
                yield False
                continue
            if self._begun and aligner.next > self._number + 1:
                self._leave_out(aligner.next)
            if aligner.flowing and not (endpoint.pressed or endpoint.unwanted):
                yield True  # a shortcut for the usual case: the code below does the same, but slower
                continue
            beginning = aligner.beginning
            if beginning is not None:
                self._begin(aligner, beginning)
                if exhausted:
                    exhausted = False
                    inputs.exhaust(exhausted=False)
                continue
            if inputs.final or (endpoint.unwanted and not exhausted):
                break
            if endpoint.pressed:
                self._pressed()
            if aligner.exhausted and not exhausted:
                # the consumers must not wait for inputs that this job no longer uses: blocks that they hold may keep those from ending
                exhausted = True
                inputs.exhaust(exhausted=True)
                shell.end_outputs(more=aligner.changing)
                self._pressed()
            yield True
        for pipe, blocks in aligner.left_over().items():
            log.info("pipe %s ended %s blocks behind its last whole compute block; they were not used", pipe, blocks)

    def _pressed(self) -> None:
        """Take a snapshot and answer the producers: releases held back here block other jobs."""
        if self._checkpointer is not None and self._begun and not self._job.finished:
            self._checkpointer.after(self._number, pressed=True)
        self._shell.answer_pressed(self._number)

    def _begin(self, aligner: Aligner, beginning: int) -> None:
        """Begin where the inputs open: the first time, in a new generation, or at a later block."""
        generation = aligner.generation
        switched = generation != self._generation
        if switched:
            self._shell.switch(generation)
            self._generation = generation
        first = beginning
        if self._sink is not None:
            written = self._sink.first_number(generation)
            # with snapshots, the file returns to the block of the restored snapshot
            if self._checkpointer is None or written >= BEYOND:
                first = max(beginning, written)
        if self._checkpointer is not None:
            if switched and self._begun:
                first = self._checkpointer.first_of_generation(generation, first)
            else:
                first = self._checkpointer.begin(generation, first)
        self._settle_position(generation, first)
        self._shell.begin(first)
        self._begun = True
        self._number = first - 1

    def _settle_position(self, generation: int, first: int) -> None:
        """Set the sink's file, and the position that the job can ask for, to the first block."""
        job = self._job
        if self._sink is not None:
            self._sink.begin(generation, first, restarted=self._restarted)
        if self._number == self._first - 1:  # no block yet: a producer that also restarts reports its position late
            self._first = job.__dict__["_fission_position"] = first
        job.__dict__["_fission_generation"] = generation
        if self._restarted and not self._begun and (text := repetition_warning(job, first)):
            self._shell.say(JobWarning(text=text, once="repetition"))

    def _compute(self, batch: Batch) -> None:
        """Run the job on each compute block.

        If the job finishes, its last block does not count as done: a new incarnation must reach it
        too.
        """
        if self._checkpointer is not None:
            self._checkpointer.check()
        if batch.numbers[0] != self._number + 1:
            self._expect(batch.numbers[0])
            for output in self._outputs:
                output.seek(batch.numbers[0])
        if self._detours or batch.heads is not None or isinstance(batch.numbers, list):
            return self._compute_fully(batch)
        decoded = self._arguments_in.columns(batch.columns)
        job, run, rule, checkpointer, sink = self._job, self._job.run, self._shell.rule, self._checkpointer, self._sink
        if not self._outputs:
            number = self._number
            for arguments in zip(*decoded, strict=True):
                run(*arguments)
                number += 1
                if job.finished:
                    break
                if sink is not None:
                    sink.record(self._generation, number)
                rule.done = self._number = number
                if checkpointer is not None:
                    checkpointer.after(number)
            self._number = number
        elif len(self._outputs) == 1:
            return self._compute_one_output(run, decoded)
        else:
            for arguments in zip(*decoded, strict=True):
                self._send(run(*arguments), None)
                self._number += 1
                if self._over or job.finished:
                    return None
                rule.done = self._number
                if checkpointer is not None:
                    checkpointer.after(self._number)
        return None

    def _leave_out(self, number: int) -> None:
        """Release the skipped compute blocks before this one without waiting for the next one."""
        self._expect(number)
        for output in self._outputs:
            output.seek(number)
        self._shell.advance(number - 1)

    def _expect(self, number: int) -> None:
        """Expect this compute block next; those in between were skipped."""
        if number != self._number + 1:
            if self._sink is not None:
                self._sink.begin(self._generation, number, restarted=False)
            self._number = number - 1

    def _compute_one_output(self, run: Callable[..., Any], decoded: list[Any]) -> None:
        """Run the most frequent case, one output, in a loop that determines FISSION's speed."""
        job, rule, encode, put = self._job, self._shell.rule, self._results_out.encoders[0], self._outputs[0].put
        checkpointer, number = self._checkpointer, self._number
        for arguments in zip(*decoded, strict=True):
            result = run(*arguments)
            number += 1
            if result is None or type(result) is tuple or job.finished:
                self._send(result, None)
                if self._over or job.finished:
                    break
            else:
                try:
                    payload = encode(result)
                except Stopped:
                    raise
                except BaseException as why:
                    raise self._results_out.misfit(0, result, why, number) from why
                put(payload)
            rule.done = self._number = number
            if checkpointer is not None:
                checkpointer.after(number)
        self._number = number

    def _compute_fully(self, batch: Batch) -> None:
        """Run a batch that has heads, ASYNC inputs or skipped numbers."""
        job, arguments_in = self._job, self._arguments_in
        arguments: list[Any] = [None] * len(job.inputs)
        heads: list[Any] = [0] * len(job.inputs)
        values = zip(*arguments_in.columns(batch.columns), strict=True)
        for position, number in enumerate(batch.numbers):
            for column, (index, value) in enumerate(zip(arguments_in.required, next(values), strict=True)):
                arguments[index] = value
                heads[index] = batch.heads[column][position] if batch.heads else 0
            for index, one in enumerate(arguments_in.optional):
                if one is not None:
                    arguments[index], heads[index] = arguments_in.optional_value(index)
            for output in self._outputs:
                output.seek(number)
            self._expect(number)
            reduced = self._set_heads(heads)
            result = job.run(*arguments)
            if self._outputs:
                self._send(result, self._results_out.heads(reduced))
            self._number = number
            if self._over or job.finished:
                return
            if self._sink is not None:
                self._sink.record(self._generation, number)
            self._shell.rule.done = number
            if self._checkpointer is not None:
                self._checkpointer.after(number)

    def _set_heads(self, heads: list[Any]) -> int:
        """Show the heads to a job with HEAD; return the bits that are sent whatever the job sets.

        These are the reset bit for a job with HEAD, and all bits for any other job.
        """
        job, reduced = self._job, 0
        for entry in heads:
            for head in entry if isinstance(entry, list) else (entry,):
                reduced |= int(head)
        if not job.HEAD:
            return reduced
        job.in_heads = self._heads_in.shown(heads)
        job.head = job.head_reduce()
        job.out_heads = [None] * len(self._outputs)
        return reduced & self._reset_head

    # results of `run` -> outputs

    def _send(self, result: Any, heads: list[int] | None) -> None:
        if result is None:
            self._over = report.ENDED
            log.warning("%s returned None and has outputs: it ends here, and the jobs after it are not notified", self._job._fission_name)
            return
        payloads = self._results_out.payloads(result)
        flags = self._finished_head if self._job.finished else 0
        if self._number == 1 and self._job._fission_is_source:
            flags |= self._reset_head
        if len(self._outputs) == 1:
            self._outputs[0].put(payloads[0], (heads[0] if heads else 0) | flags)
            return
        # put all blocks before waiting for room on any output: a join may hold the blocks whose release would make room until it has
        # this block's other outputs
        for index, output in enumerate(self._outputs):
            output.put(payloads[index], (heads[index] if heads else 0) | flags, wait=False)
        for output in self._outputs:
            output.wait_for_room()
