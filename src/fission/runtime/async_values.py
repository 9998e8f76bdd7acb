"""The arguments of a PythonJob's `run` that come from an ASYNC input."""

from __future__ import annotations

from typing import Any

from fission.protocol.optional import DEFAULT, OptionalInput
from fission.runtime import codec


class OptionalArguments:
    """The values of one ASYNC input."""

    def __init__(self, one: OptionalInput, pipe: Any, decode: codec.Decoder, kept: int) -> None:
        """Prepare.

        Args:
            one: buffer of the input.
            pipe: pipe of the input.
            decode: function that makes a value from a block.
            kept: mask of the bits of a head that are shown.
        """
        self._one, self._decode, self._kept = one, decode, kept
        self._several = pipe.BLOCK_COUNT > 1
        default = pipe.OPTIONAL_DEFAULT
        self._default = None if default is None else pipe.unpack(default)

    def take(self) -> tuple[Any, Any]:
        """Return (value, head as a number) for the next compute block.

        With BLOCK_COUNT > 1, both are lists.

        Raises:
            BlockError: the block cannot be read.
        """
        payload, head = self._one.take()
        if self._several:
            return [self._value(part) for part in payload], [one & self._kept for one in head]
        return self._value(payload), head & self._kept

    def _value(self, payload: Any) -> Any:
        return self._default if payload is DEFAULT else self._decode(payload)
