"""The loop of a source, or of a job whose inputs are all ASYNC: `run` never waits for a block."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import inf, isfinite, isnan
from types import GeneratorType
from typing import Any

from fission.core.block_time import BlockTime
from fission.core.head import Head
from fission.errors import Stopped, ValueFitError, value_text
from fission.protocol.block_times import pack
from fission.runtime.codec import NOT_FROZEN
from fission.runtime.compute_loop import ComputeLoop

#: Types of results that have no time of their own.
PLAIN = frozenset({int, float, bool, str, bytes, list, dict})


class SourceLoop(ComputeLoop):
    """Computes as fast as the outputs have room."""

    def _source_turns(self) -> Iterator[bool]:
        shell, outputs = self._shell, self._outputs
        results = self._results() if self._steps is None else self._steps.through(self._results())
        if outputs and not self._job.HEAD and not self._job.inputs and self._checkpointer is None:
            yield from self._plain_source_turns(results)
            return
        yield from self._renumbering()
        for result in results:
            self._number += 1
            if self._timed_out:
                self._give_time(self._number, result)
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

    def _give_time(self, number: int, result: Any) -> None:
        """Set the time of a block: what the job has set, or that of its sound, or the present."""
        job, given = self._job, None
        if job.BLOCK_TIME:
            given = job.__dict__.pop("block_time", None)
        if given is None and type(result) not in PLAIN:
            first = result[0] if type(result) is tuple and result else result
            given = first.time if getattr(type(first), "TIMES_ITS_BLOCK", False) else None
        if given is None:  # as `BlockTime.now`, for speed
            now, steady = time.time(), time.monotonic()
            self._shell.endpoint.times.made(number, pack((now, now, steady, steady)))
        else:
            self._shell.endpoint.times.made(number, pack(_block_time(job, given)))

    def _renumbering(self) -> Iterator[bool]:
        if self._shell.endpoint.reset_to != self._generation:
            self._renumber()
            while self._settles:
                yield True

    @property
    def _settles(self) -> bool:
        """Whether the state with which this job begins, or enters a new generation, is not stored yet.

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
        """Run the most frequent kind of source: no heads, no inputs, no snapshots."""
        job, output, endpoint = self._job, self._outputs[0].machine, self._shell.endpoint
        encode, put, put_value = self._results_out.encoders[0], self._outputs[0].put, self._outputs[0].put_value
        send_to_all = self._send_to_all
        freeze = self._results_out.freezers[0] if send_to_all is None else None
        generation, number, turn, timed = self._generation, self._number, self.turn, self._timed_out
        try:
            for result in results:
                if endpoint.reset_to != generation:
                    self._renumber()
                    generation, number = self._generation, 0
                number += 1
                if timed:
                    self._give_time(number, result)
                if result is None or type(result) is tuple or job.finished or number == 1:
                    self._number = number
                    endpoint.rule.done = number - 1  # an error names the block
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
                if output.closed and endpoint.unwanted:
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


def _block_time(job: Any, given: Any) -> BlockTime:
    """Return the time that a source has given its block."""
    try:
        if isinstance(given, BlockTime):
            time = BlockTime(*map(_number, given))
            if time.earliest <= time.latest < inf or (isnan(time.earliest) and isnan(time.latest)):
                return time
        elif isfinite(seconds := _number(given)):
            return BlockTime.at(seconds)
    except (TypeError, ValueError, OverflowError):
        pass
    must = "must be seconds since 1970 (a float), or a BlockTime whose earliest is not after its latest"
    raise ValueFitError(f"{job._fission_name}: block_time {must}, but is {value_text(given)}")


def _number(value: Any) -> float:
    """Return a number of any type as a float.

    Raises:
        TypeError: it is not a number.
    """
    if isinstance(value, (bool, str, bytes, bytearray)):  # all of which `float` takes
        raise TypeError
    return float(value)
