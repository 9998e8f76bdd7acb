"""What a tap on a pipe sends: batches of the messages that passed, each with its time.

A batch has for each message a time (seconds since the epoch, double), the number of its frames
(u32), then each frame as a length (u32) and its bytes; little-endian. The format of a message is
that of `frames`, or its header alone if only numbers were requested.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fission.errors import RemoteProtocolError
from fission.protocol import frames
from fission.protocol.block_times import BYTES
from fission.protocol.frames import Buffer
from fission.protocol.link_messages import Data, End

_MESSAGE = struct.Struct("<dI")
_LENGTH = struct.Struct("<I")
HEADER_BYTES = struct.calcsize("<BBHIIIQIQ")  # size of a message's header; see frames

#: Maximum apparent difference in seconds between a producer's clock and ours before its times are
#: moved to ours. Arbitrary: more than the delay of a batch, less than the error of a clock that was
#: set.
LATE_S = 60.0
HEADER_SIZE = _MESSAGE.size + _LENGTH.size + HEADER_BYTES  # size of a header-only message in a batch


def size_of(message: Iterable[Buffer]) -> int:
    """Return the size of a message in a batch, in bytes."""
    return _MESSAGE.size + sum(_LENGTH.size + memoryview(frame).nbytes for frame in message)


@dataclass(frozen=True, slots=True)
class Seen:
    """Blocks that passed in one message.

    Attributes:
        time: time at which they passed, in seconds since the epoch.
        generation, sqn: generation and number of the first block; the others follow.
        count: number of blocks.
        payloads, heads: payload and head of each block; None and all 0 if only numbers were
            requested.
        times: times of the blocks (`block_times`), packed one after the other; None if the pipe
            carries none, or only numbers were requested.
    """

    time: float
    generation: int
    sqn: int
    count: int
    payloads: list[Any] | None = None
    heads: list[int] | None = None
    times: bytes | None = None


def encode(messages: Iterable[tuple[float, list[Buffer]]]) -> bytes:
    """Return a batch of messages with their times."""
    parts: list[Buffer] = []
    for time, message in messages:
        parts.append(_MESSAGE.pack(time, len(message)))
        for frame in message:
            parts += (_LENGTH.pack(memoryview(frame).nbytes), frame)
    return b"".join(parts)


def decode(batch: Buffer) -> Iterator[tuple[float, list[Buffer]]]:
    """Yield the messages of a batch with their times.

    Raises:
        RemoteProtocolError: the bytes are not a batch.
    """
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
    """Maps the times of taps to one monotonic clock.

    The times come from the clocks of other machines and other incarnations. The times of one pipe
    never run backwards.
    """

    def __init__(self, epoch_s: float, now_s: float) -> None:
        """Begin at the current time.

        Args:
            epoch_s: current time, in seconds since the epoch.
            now_s: the same moment on a monotonic clock.
        """
        self._epoch_s = epoch_s - now_s
        self._offsets: dict[int, float] = {}
        self._last: dict[int, float] = {}

    def at(self, pipe: int, stamp: float, now_s: float) -> float:
        """Return the time at which received blocks passed.

        Args:
            pipe: pipe on which they passed.
            stamp: time on the producer's clock, in seconds since the epoch.
            now_s: time of arrival on the monotonic clock.
        """
        here = self._epoch_s + now_s
        offset = self._offsets.get(pipe, 0.0)
        if not abs(here - stamp - offset) <= LATE_S:  # the producer's clock differs, or was set
            offset = here - stamp if math.isfinite(stamp) else 0.0
            self._offsets[pipe] = offset
        at = stamp + offset if math.isfinite(stamp) else here
        self._last[pipe] = at = max(at, self._last.get(pipe, at))
        return at


class Follower:
    """Tracks the blocks that one reader of a tap has received.

    It drops blocks that are sent again to a new incarnation of the consumer, and detects gaps.

    Attributes:
        missed: number of blocks missed between those that were seen, and after the last of them if
            the end was seen.
        restarts: number of times that numbering restarted.
        ended: whether the producer has announced that nothing follows. The blocks after the last
            that was seen are unknown as long as it has not.
    """

    def __init__(self) -> None:
        self.missed = 0
        self.restarts = 0
        self.ended = False
        self._generation: int | None = None
        self._high = 0

    def take(self, time: float, message: list[Buffer]) -> Seen | None:
        """Process a message; return its new blocks, or None if it has none.

        Raises:
            RemoteProtocolError: the message is malformed.
        """
        seen = _data(time, message)
        if seen is None:
            decoded = frames.decode(message)
            if isinstance(decoded, End):
                self._end(decoded)
            return None
        self.ended = False  # a new incarnation of the producer continues
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
        times = seen.times and seen.times[had * BYTES :]
        return Seen(time, seen.generation, seen.sqn + had, seen.count - had, payloads, heads, times)

    def _end(self, end: End) -> None:
        self.ended = not end.more
        if self._generation is None or end.generation < self._generation:
            return  # nothing was seen, so it is unknown which block would have been the first
        if end.generation > self._generation:
            self.restarts += 1
            self._generation, self._high = end.generation, 0
        self.missed += max(0, end.last - self._high)
        self._high = max(self._high, end.last)


def _data(time: float, message: list[Buffer]) -> Seen | None:
    """Return the blocks of a data message, or of the header of one; None for other messages."""
    first = message[0]
    if len(first) < HEADER_BYTES:
        raise RemoteProtocolError(f"a message starts with a header of {HEADER_BYTES} bytes; got {len(first)}")
    kind, generation, sqn, count = frames.header_of(first)
    if kind != frames.DATA:
        return None
    if len(first) == HEADER_BYTES:
        return Seen(time, generation, sqn, count)
    decoded = frames.decode(message)
    if not isinstance(decoded, Data):
        return None
    return Seen(time, generation, sqn, count, decoded.payloads, decoded.heads, decoded.times)
