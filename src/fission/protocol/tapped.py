"""What a tap on a pipe sends: messages of the pipe as they went by, each with its time, many in one batch.

Batch: for each message a time (seconds since the epoch, double), the number of its frames (u32), then each frame as a length (u32) and
its bytes; little endian. A message is what `frames` says, or its header alone where only numbers were asked for.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fission.errors import RemoteProtocolError
from fission.protocol import frames
from fission.protocol.frames import Buffer

_MESSAGE = struct.Struct("<dI")
_LENGTH = struct.Struct("<I")
HEADER_BYTES = struct.calcsize("<BBHIIIQIQ")  # of a message; see frames

#: Seconds by which the clock of a producer may seem to differ from ours before its times are moved to ours. Arbitrary: more than a batch
#: may be late, less than a clock that was set is wrong.
LATE_S = 60.0
HEADER_SIZE = _MESSAGE.size + _LENGTH.size + HEADER_BYTES  # of such a message in a batch


def size_of(message: Iterable[Buffer]) -> int:
    """Bytes that a message takes in a batch."""
    return _MESSAGE.size + sum(_LENGTH.size + memoryview(frame).nbytes for frame in message)


@dataclass(frozen=True, slots=True)
class Seen:
    """Blocks that went by in one message.

    Attributes:
        time: when, in seconds since the epoch.
        generation, sqn: of the first of them; the others follow.
        count: how many.
        payloads, heads: of each; None and all 0 where only numbers were asked for.
    """

    time: float
    generation: int
    sqn: int
    count: int
    payloads: list[Any] | None = None
    heads: list[int] | None = None


def encode(messages: Iterable[tuple[float, list[Buffer]]]) -> bytes:
    """Return a batch."""
    parts: list[Buffer] = []
    for time, message in messages:
        parts.append(_MESSAGE.pack(time, len(message)))
        for frame in message:
            parts += (_LENGTH.pack(memoryview(frame).nbytes), frame)
    return b"".join(parts)


def decode(batch: Buffer) -> Iterator[tuple[float, list[Buffer]]]:
    """The messages of a batch, with their times. Raises RemoteProtocolError: it is none."""
    view, position = memoryview(batch), 0
    while position < len(view):
        try:
            time, count = _MESSAGE.unpack_from(view, position)
            position += _MESSAGE.size
            message: list[Buffer] = []
            for _ in range(count):
                (length,) = _LENGTH.unpack_from(view, position)
                position += _LENGTH.size
                if position + length > len(view):
                    raise RemoteProtocolError(f"a frame of {length} bytes does not fit into a batch of {len(view)}")
                message.append(bytes(view[position : position + length]))
                position += length
        except struct.error as why:
            raise RemoteProtocolError(f"a batch of a tap ends in the middle: {why}") from None
        yield time, message


class Timeline:
    """Times of taps, from the clocks of other machines and other incarnations, on one clock that never steps.

    The times of one pipe never run backwards.
    """

    def __init__(self, epoch_s: float, now_s: float) -> None:
        """Begin.

        Args:
            epoch_s: time now, in seconds since the epoch.
            now_s: the same moment on a clock that never steps.
        """
        self._epoch_s = epoch_s - now_s
        self._offsets: dict[int, float] = {}
        self._last: dict[int, float] = {}

    def at(self, pipe: int, stamp: float, now_s: float) -> float:
        """Return when blocks went by that have arrived at a moment.

        Args:
            pipe: that they went by on.
            stamp: what the clock of their producer said, in seconds since the epoch.
            now_s: moment of the arrival, on the clock that never steps.
        """
        here = self._epoch_s + now_s
        offset = self._offsets.get(pipe, 0.0)
        if not abs(here - stamp - offset) <= LATE_S:  # the clock of the producer is another one, or was set
            offset = here - stamp if math.isfinite(stamp) else 0.0
            self._offsets[pipe] = offset
        at = stamp + offset if math.isfinite(stamp) else here
        self._last[pipe] = at = max(at, self._last.get(pipe, at))
        return at


class Follower:
    """What one reader of a tap has had: it drops what is sent again to a new life of the consumer, and notices gaps.

    Attributes:
        missed: blocks that went by unseen, between those that were seen.
        restarts: how often numbering began again.
        ended: whether the producer has said that nothing follows.
    """

    def __init__(self) -> None:
        self.missed = 0
        self.restarts = 0
        self.ended = False
        self._generation: int | None = None
        self._high = 0

    def take(self, time: float, message: list[Buffer]) -> Seen | None:
        """Take a message; None if it has no block that is new. Raises RemoteProtocolError: it is none."""
        seen = _data(time, message)
        if seen is None:
            decoded = frames.decode(message)
            self.ended = isinstance(decoded, frames.End) and not decoded.more
            return None
        if self._generation is None or seen.generation > self._generation:
            self.restarts += self._generation is not None
            self._generation, self._high = seen.generation, seen.sqn - 1
        had = max(0, self._high + 1 - seen.sqn)
        if seen.generation < self._generation or had >= seen.count:
            return None
        self.missed += max(0, seen.sqn - self._high - 1)
        self._high = seen.sqn + seen.count - 1
        if not had:
            return seen
        payloads, heads = seen.payloads and seen.payloads[had:], seen.heads and seen.heads[had:]
        return Seen(time, seen.generation, seen.sqn + had, seen.count - had, payloads, heads)


def _data(time: float, message: list[Buffer]) -> Seen | None:
    """The blocks of a data message, or of a header of one; None for other messages."""
    first = message[0]
    if len(first) < HEADER_BYTES:
        raise RemoteProtocolError(f"a message starts with a header of {HEADER_BYTES} bytes; got {len(first)}")
    kind, generation, sqn, count = frames.header_of(first)
    if kind != frames.DATA:
        return None
    if len(first) == HEADER_BYTES:
        return Seen(time, generation, sqn, count)
    decoded = frames.decode(message)
    if not isinstance(decoded, frames.Data):
        return None
    return Seen(time, generation, sqn, count, decoded.payloads, decoded.heads)
