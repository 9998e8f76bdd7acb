"""Conversion of the results of a PythonJob's `run` to payloads and heads for its outputs."""

from __future__ import annotations

import functools
import pickle
from typing import Any

from fission.core.base_pipe import BasePipe
from fission.core.head import Head
from fission.core.jobs import PythonJob
from fission.errors import Stopped, ValueFitError, error_text, value_text
from fission.ports import JobBundle
from fission.runtime import codec
from fission.runtime.endpoint_shell import EndpointShell
from fission.runtime.heads import HeadsOut

#: Attributes of a pipe that do not affect its encoding.
_OF_ONE_PIPE = frozenset({"id", "created_at", "source", "destination"})


class ResultsOut:
    """Packs values and heads for all outputs of one job.

    Attributes:
        encoders: one encoder per output.
        freezers: one `codec.freezer` per output; None if it takes only payloads.
        for_all: encoder of a single value for all of several outputs; None if they encode it in
            different ways.
    """

    def __init__(self, job: PythonJob, shell: EndpointShell, bundle: JobBundle) -> None:
        self._job = job
        self._inputs = shell.inputs
        self._head_size = bundle.head_size
        self._heads_out = HeadsOut(job, bundle.head_size)
        lend = shell.lending.lend if shell.lending is not None else None
        self.encoders = [
            codec.encoder(pipe, plain=pipe.id in bundle.plain, lend=lend and functools.partial(lend, readers=(index,)))
            for index, pipe in enumerate(job.outputs)
        ]
        self.freezers = [
            codec.freezer(pipe, plain=pipe.id in bundle.plain) if output.joins else None
            for pipe, output in zip(job.outputs, shell.outputs, strict=True)
        ]
        # a single value for all outputs is encoded once if all pipes encode it the same way
        kinds = {(type(pipe), pipe.id in bundle.plain, _settings(pipe)) for pipe in job.outputs}
        self.for_all = codec.encoder(job.outputs[0], plain=job.outputs[0].id in bundle.plain, lend=lend) if len(kinds) == 1 else None

    def payloads(self, result: Any) -> list[Any]:
        """Return one payload per output.

        Raises:
            ValueFitError: the result does not fit the outputs.
        """
        count = len(self.encoders)
        if type(result) is tuple:
            if len(result) != count:
                raise ValueFitError(
                    f"{self._job._fission_name}: run must return one value for each of its {count} outputs, or one value that is not a "
                    f"tuple for all of them; it returned a tuple of {len(result)}. To send the tuple itself, put it into a tuple."
                )
            return [self._encode(index, value) for index, value in enumerate(result)]
        if self.for_all is not None and count > 1:
            try:
                return [self.for_all(result)] * count
            except Stopped:
                raise
            except BaseException as why:
                raise self.misfit(0, result, why) from why
        return [self._encode(index, result) for index in range(count)]

    def misfit(self, index: int, value: Any, why: BaseException, number: int | None = None) -> ValueFitError:
        """Return the error to raise for a value that does not fit an output.

        Args:
            index: index of the output.
            value: value that does not fit.
            why: error of the encoder.
            number: compute block of the value; by default the current one.
        """
        number = self._inputs.rule.done + 1 if number is None else number
        return ValueFitError(
            f"{self._job._fission_name}, output {index + 1}: a value of type {type(value).__name__} does not fit "
            f"{self._job.outputs[index]}: "
            f"{error_text(why)} (compute block {number})"
        )

    def _encode(self, index: int, value: Any) -> Any:
        try:
            return self.encoders[index](value)
        except Stopped:
            raise
        except BaseException as why:
            raise self.misfit(index, value, why) from why

    def heads(self, reduced: int) -> list[int]:
        """Return one head per output, as set by the job, with the bits of ``reduced`` added.

        Raises:
            ValueFitError: the job has set a wrong number of heads, or an invalid head.
        """
        job = self._job
        if not job.HEAD:
            return [reduced] * len(self.encoders)
        if len(job.out_heads) != len(self.encoders):
            raise ValueFitError(
                f"{job._fission_name}: out_heads must have one entry (a Head or None) for each of its {len(self.encoders)} outputs; "
                f"it has {len(job.out_heads)}"
            )
        common = self._head_number(job.head or 0)
        wanted = self._heads_out.sent([common if head is None else self._head_number(head) for head in job.out_heads])
        return [head | reduced for head in wanted] if reduced else wanted

    def _head_number(self, head: Any) -> int:
        size = self._head_size
        if (isinstance(head, Head) and len(head) == size) or (isinstance(head, int) and 0 <= head < 1 << 8 * size):
            return int(head)
        raise ValueFitError(
            f"{self._job._fission_name}: head and the entries of out_heads must be a Head, or a number, of {size} bytes (HEAD_SIZE); "
            f"{value_text(head)} ({type(head).__name__}) is none"
        )


def _settings(pipe: BasePipe) -> bytes:
    """Return a pipe's settings; pipes of one class that differ in them may encode differently."""
    return pickle.dumps({name: value for name, value in pipe.__getstate__().items() if name not in _OF_ONE_PIPE}, 5)
