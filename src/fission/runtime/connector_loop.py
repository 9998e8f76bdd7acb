"""The loop of a job that waits for its inputs: take compute blocks, call `run`, send its values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from fission.core.sink_file import BEYOND
from fission.errors import DefinitionError, Stopped
from fission.protocol.align import Aligner
from fission.protocol.batches import Batch
from fission.protocol.messages.job_to_client import JobWarning
from fission.runtime.codec import NOT_FROZEN
from fission.runtime.compute_loop import ComputeLoop
from fission.runtime.sink_position import repetition_warning

log = logging.getLogger("fission.runtime")


class ConnectorLoop(ComputeLoop):
    """Computes each compute block when it is complete."""

    def _connector_turns(self) -> Iterator[bool]:
        shell, endpoint, inputs = self._shell, self._shell.endpoint, self._shell.inputs
        aligner = inputs.aligner
        assert aligner is not None  # it has a non-ASYNC input
        checkpointer, job = self._checkpointer, self._job
        take = shell.take if inputs.eager else inputs.take  # which takes no lock
        exhausted = False
        while not self._over and not job.finished:
            if checkpointer is not None and checkpointer.settling:
                yield True
                continue
            batch = take()
            if batch is not None:
                self._compute(batch)
                self._refuse_own_time()
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

    def _refuse_own_time(self) -> None:
        """Check that a job that asks for times has not set one: it would read that one from then on.

        Raises:
            DefinitionError: it has.
        """
        job = self._job
        if job.BLOCK_TIME and "block_time" in job.__dict__:
            text = "must not set block_time: its blocks have the time of those that they come from; only a source sets it"
            raise DefinitionError(f"{job._fission_name} has inputs and {text}")

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
        self._settle_position(generation, first, aligner.acknowledged if self._restarted else 0)
        self._refuse_own_time()
        self._shell.begin(first)
        self._begun = True
        self._number = first - 1

    def _settle_position(self, generation: int, first: int, acknowledged: int) -> None:
        """Set the sink's file, and the position that the job can ask for, to the first block."""
        job = self._job
        if self._sink is not None:
            self._sink.begin(generation, first, acknowledged=acknowledged)
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
            self._compute_fully(batch)
            return
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
                if checkpointer is not None and number >= checkpointer.points.look_at:
                    checkpointer.after(number)
            self._number = number
        else:
            self._compute_outputs(run, decoded)

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
                self._sink.begin(self._generation, number, acknowledged=0)
            self._number = number - 1

    def _compute_outputs(self, run: Callable[..., Any], decoded: list[Any]) -> None:
        """Run the most frequent case, a job with outputs, in a loop that determines FISSION's speed."""
        job, rule, encode, put = self._job, self._shell.rule, self._results_out.encoders[0], self._outputs[0].put
        put_value, send_to_all = self._outputs[0].put_value, self._send_to_all
        freeze = self._results_out.freezers[0] if send_to_all is None else None
        checkpointer, number = self._checkpointer, self._number
        for arguments in zip(*decoded, strict=True):
            result = run(*arguments)
            number += 1
            if result is None or type(result) is tuple or job.finished:
                self._send(result, None)
                if self._over or job.finished:
                    break
            elif freeze is not None and (value := freeze(result)) is not NOT_FROZEN:
                put_value(value)
            elif send_to_all is not None:
                send_to_all(result, number)
            else:
                try:
                    payload = encode(result)
                except Stopped:
                    raise
                except BaseException as why:
                    raise self._results_out.misfit(0, result, why, number) from why
                put(payload)
            rule.done = self._number = number
            if checkpointer is not None and number >= checkpointer.points.look_at:
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
