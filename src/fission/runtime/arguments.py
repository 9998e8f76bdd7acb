"""The arguments of a PythonJob's `run`, made from the blocks of its inputs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from fission.core.head import FINISHED, RESET, bit_mask
from fission.core.jobs import PythonJob
from fission.errors import BlockError, InternalError, error_text
from fission.ports import JobBundle
from fission.runtime import codec
from fission.runtime.async_values import OptionalArguments
from fission.runtime.endpoint_shell import EndpointShell


class ArgumentsIn:
    """Unpacks blocks for one job.

    Attributes:
        optional: one entry per input; None for an input that is not ASYNC.
        required: indices of the inputs that are not ASYNC.
    """

    def __init__(self, job: PythonJob, shell: EndpointShell, bundle: JobBundle) -> None:
        self._job = job
        self._inputs = shell.inputs
        self._one = [codec.decoder(pipe, partial(self._unreadable, index)) for index, pipe in enumerate(job.inputs)]
        self._columns = [_column(pipe, decode) for pipe, decode in zip(job.inputs, self._one, strict=True)]
        # the end or the new numbering of an ASYNC pipe does not concern the compute block that takes its block
        kept = ~(bit_mask(FINISHED, bundle.head_size) | bit_mask(RESET, bundle.head_size))
        self.optional = [
            OptionalArguments(one, pipe, decode, kept) if (one := shell.inputs.optional.get(pipe.id)) else None
            for pipe, decode in zip(job.inputs, self._one, strict=True)
        ]
        self.required = [index for index, one in enumerate(self.optional) if one is None]

    def columns(self, columns: list[list[Any]]) -> list[Iterable[Any]]:
        """Return the values of several compute blocks, for each input that is not ASYNC.

        Reading the values raises BlockError.
        """
        if len(columns) == 1:  # for speed: the most frequent case
            return [self._columns[self.required[0]](columns[0])]
        return [self._columns[index](column) for index, column in zip(self.required, columns, strict=True)]

    def optional_value(self, index: int) -> tuple[Any, Any]:
        """Take (value, head) of an ASYNC input.

        Raises:
            BlockError: the block cannot be read.
        """
        one = self.optional[index]
        if one is None:
            raise InternalError(f"input {index + 1} of {self._job._fission_name} is not ASYNC")
        return one.take()

    def _unreadable(self, index: int, why: BaseException) -> BlockError:
        # a pickle names classes by module and name; the sender may import them from a place that the receiver does not search
        cause = error_text(why)
        imports = isinstance(why, ImportError) or cause.startswith("AttributeError: Can't get attribute")
        hint = "; the class of a value must be where its receiver can import it" if imports else ""
        where, block = f"{self._job._fission_name}, input {index + 1}", self._inputs.rule.done + 1
        return BlockError(f"{where}: a block of {self._job.inputs[index]} could not be read: {cause}{hint} (compute block {block})")


def _column(pipe: Any, decode: codec.Decoder) -> codec.ColumnDecoder:
    if pipe.BLOCK_COUNT == 1:
        return codec.column_decoder(pipe, decode)
    return partial(map, lambda payloads: [decode(payload) for payload in payloads])
