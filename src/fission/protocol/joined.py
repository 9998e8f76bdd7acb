"""Blocks that are encoded together: the small plain values of one message.

A pickle for each of them takes several times as long, at both ends. Only numbers, short text and
bytes, and flat lists of such are joined. Each is a copy of what the job gave, made when it gave it,
so it does not matter that it is encoded later, and no two of them share anything that can change.
The encoding is that of `marshal`, which takes half the time of a pickle. It is never stored, and
any supported Python reads this version of it.

Between `frames.decode` and the decoder of its pipe, a joined block is the tuple (`Joined`, index).
"""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Sequence
from itertools import repeat
from typing import Any, TypeAlias

from fission.errors import RemoteProtocolError

JoinedBlock: TypeAlias = "tuple[Joined, int]"

_PICKLE_PROTOCOL = 5
_MARSHAL_VERSION = 4
_TAKEN = object()


def encode_value(value: Any) -> bytes:
    """Return the payload of one value: what the codec of a pipe that pickles makes of it."""
    return pickle.dumps(value, _PICKLE_PROTOCOL)


def join(values: list[Any]) -> bytes:
    """Return the joined encoding of values."""
    return marshal.dumps(values, _MARSHAL_VERSION)


def separate(payloads: Sequence[Any]) -> Sequence[Any]:
    """Return payloads in which each joined or packed block is replaced by a payload of its own.

    Raises:
        RemoteProtocolError: joined blocks are malformed.
    """
    if not any(type(payload) is tuple for payload in payloads):
        return payloads
    return [payload[0].encoded(payload[1]) if type(payload) is tuple else payload for payload in payloads]


class Joined:
    """The blocks of one message that were encoded together. It is used by one thread."""

    __slots__ = ("_values", "count", "payload")

    def __init__(self, payload: bytes, count: int) -> None:
        """Keep the encoding; it is decoded when a value is taken.

        Args:
            payload: what `join` returned.
            count: number of blocks.
        """
        self.payload = payload
        self.count = count
        self._values: list[Any] | None = None

    def blocks(self) -> list[JoinedBlock]:
        """Return all blocks, in order."""
        return list(zip(repeat(self), range(self.count)))

    def take(self, index: int) -> Any:
        """Return the value of one block; a new object each time.

        Raises:
            RemoteProtocolError: the blocks are malformed.
        """
        if self._values is None:
            self._values = self._load()
        value = self._values[index]
        if value is _TAKEN:  # the block is taken again, as the dummy of a lost one
            return self._load()[index]
        self._values[index] = _TAKEN
        return value

    def encoded(self, index: int) -> bytes:
        """Return the payload that the block would have alone.

        Raises:
            RemoteProtocolError: the blocks are malformed.
        """
        return encode_value(self.take(index))

    def take_run(self, first: int, count: int) -> Sequence[Any]:
        """Return the values of consecutive blocks, as `take` would.

        Args:
            first: index of the first block.
            count: number of blocks.

        Raises:
            RemoteProtocolError: the blocks are malformed.
        """
        if count == self.count and self._values is None:
            return self._load()
        return [self.take(index) for index in range(first, first + count)]

    def _load(self) -> list[Any]:
        try:
            values = marshal.loads(self.payload)
        except Exception as why:
            raise RemoteProtocolError(f"joined blocks cannot be decoded: {why}") from None
        if type(values) is not list or len(values) != self.count:
            raise RemoteProtocolError(f"a list of {self.count} joined blocks was announced; got a {type(values).__name__}")
        return values


def take_column(blocks: Sequence[Any]) -> Sequence[Any] | None:
    """Return the values of the blocks of a column if they are a run of one message; else None.

    The blocks are joined, or packed (`fission.protocol.packed`).

    The ends tell: the numbers of a column are consecutive, and a dummy in it, which repeats the
    block before, makes the run of indexes shorter than the column.
    """
    (joined, first), last = blocks[0], blocks[-1]
    if type(last) is not tuple or last[0] is not joined or last[1] - first + 1 != len(blocks):
        return None
    run: Sequence[Any] = joined.take_run(first, len(blocks))
    return run
