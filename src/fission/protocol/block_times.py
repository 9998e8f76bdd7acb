"""Times of blocks: when the source's blocks that a block comes from were made (`self.block_time`).

Rules
    A *time* is that of the earliest and that of the latest of these blocks, each by the time of day
    and by the monotonic clock of its source's machine. It travels in the message that has the block,
    so it is kept, replayed, released and dropped with it.
    A source gives each of its blocks a time when it is put, the same on all outputs.
    The blocks of any other job have the time of the compute block that they result from: of all its
    input blocks, the earliest and the latest. This depends on the inputs alone, so a new incarnation,
    which gets the same blocks again, sends the same times.
    Of a block that arrives twice, the first time counts, as its content does.
    A new incarnation of a source that makes blocks again (CHECKPOINT) first asks its consumers for the
    times of the blocks that they have had (`Times`), and gives these blocks the same times. So only a
    block that none of its consumers has had can get another one. A consumer answers with its last
    blocks (`ReceivedTimes`), released or not: another consumer may be behind. One that has ended is
    not asked: its process may be gone.
    Where it is unknown from which block a block results (executables without a known ratio), the job
    counts as a source. ASYNC pipes carry no times.

Only pipes on a way to a job that asks for times carry them: `OutputSpec.timed`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import inf, isnan, nan
from struct import Struct
from types import MappingProxyType

from fission.protocol.link_messages import Data

_TIME = Struct("<4d")
#: Bytes of a packed time.
BYTES = _TIME.size
#: Largest number of generations to come whose times are kept; the nearest stay. Arbitrary, as in `stamps`.
MOST_GENERATIONS = 4
#: Number of times from which old ones are looked for. Arbitrary; so large that a look costs nothing for each block.
LOOK_AT = 1024
#: Largest number of missing numbers that are kept as unknown. Arbitrary: with more, memory would grow with what was lost.
MOST_MISSING = 1 << 14

Time = tuple[float, float, float, float]


def pack(time: Time) -> bytes:
    """Return a time as it travels.

    Args:
        time: earliest and latest time of day, then both by the monotonic clock; seconds.
    """
    return _TIME.pack(*time)


def unpack(packed: bytes) -> Time:
    """Return what `pack` was given."""
    return _TIME.unpack(packed)


#: Time of a block that comes from no block with a time, such as a dummy.
UNKNOWN = pack((nan, nan, nan, nan))


def join(one: bytes, other: bytes) -> bytes:
    """Return the time of what comes from both."""
    if one == other or other == UNKNOWN:
        return one
    first, second = unpack(one), unpack(other)
    if isnan(first[0]):
        return other
    if isnan(second[0]):
        return one
    early, late = (first if first[0] <= second[0] else second), (first if first[1] >= second[1] else second)
    return pack((early[0], late[1], early[2], late[3]))


class ReceivedTimes:
    """The times of the last blocks of an input, for the case that their source makes them again.

    No consumer of a source is further ahead of another one than by a window. One thread adds: `offer`
    before the blocks of a message are accepted, so that a question in between does not miss them,
    and `accept` after it, which takes back what was not accepted. Any thread may ask.
    """

    def __init__(self, most: int) -> None:
        """Begin without times.

        Args:
            most: number of times to keep at least.
        """
        self._most = most
        self._kept: tuple[int, deque[tuple[int, bytes]]] = 0, deque()  # generation; number of a first block, and times
        self._before = self._kept
        self._offered: tuple[int, bytes] | None = None

    def offer(self, generation: int, first: int, times: bytes) -> None:
        """Take the times of blocks that may be accepted, from number ``first`` on; those that are known stay."""
        self._before, self._offered = self._kept, None
        if generation > self._kept[0]:
            self._kept = generation, deque()
        pieces = self._kept[1]
        known = _end(pieces[-1]) if pieces else first
        if known > first:
            first, times = known, times[(known - first) * BYTES :]
        if generation == self._kept[0] and times:
            self._offered = first, times
            pieces.append(self._offered)

    def accept(self, first: int, times: bytes) -> None:
        """Take note which of the offered blocks were accepted.

        Args:
            first: number of the first one.
            times: of the accepted blocks; empty if there are none.
        """
        if self._offered != (first, times):
            generation, pieces = self._kept
            if self._offered is not None:
                pieces.pop()
            if not times:
                self._kept = self._before
                return
            # built apart: another thread may be asking
            kept = deque((begin, some[: (first - begin) * BYTES]) for begin, some in pieces if begin < first)
            kept.append((first, times))
            self._kept = generation, kept
        pieces = self._kept[1]
        while len(pieces) > 1 and _end(pieces[-1]) - pieces[1][0] >= self._most:
            pieces.popleft()

    def answer(self) -> tuple[int, int, bytes]:
        """Return the generation, the number of a first block, and the times from there on; they may be none."""
        generation, pieces = self._kept
        begin, found = 1, bytearray()
        for first, times in list(pieces):
            missing = first - begin - len(found) // BYTES
            if not found or missing > self._most:  # blocks in between were lost for good
                begin, found, missing = first, bytearray(), 0
            found += UNKNOWN * missing + times
        return generation, begin, bytes(found)


class _Consecutive:
    """The times of consecutive numbers. One thread writes; any thread may read."""

    def __init__(self) -> None:
        """Begin without times."""
        self._kept: tuple[int, bytearray] = 1, bytearray()  # number of the first one; replaced as a whole, or its end grows

    def __len__(self) -> int:
        return len(self._kept[1]) // BYTES

    @property
    def end(self) -> int:
        """The number after the last one."""
        return self._kept[0] + len(self)

    def put(self, first: int, times: bytes) -> None:
        """Add times from number ``first`` on, after those that are there; numbers in between are unknown."""
        missing = first - self.end
        if not len(self) or missing > MOST_MISSING:
            self._kept = first, bytearray(times)
        elif missing:
            self._kept[1].extend(UNKNOWN * missing + times)
        else:
            self._kept[1].extend(times)

    def get(self, first: int, count: int) -> bytes:
        """Return the times of ``count`` numbers from ``first`` on, one after the other."""
        begin, times = self._kept
        start = (first - begin) * BYTES
        if start >= 0:
            found = bytes(times[start : start + count * BYTES])
            return found + UNKNOWN * (count - len(found) // BYTES)
        before = min(begin - first, count)
        return UNKNOWN * before + (self.get(first + before, count - before) if count > before else b"")

    def forget(self, upto: float) -> None:
        """Drop the times of numbers up to this one."""
        begin, times = self._kept
        number = int(min(upto + 1 - begin, len(self)))
        if number > 0:
            self._kept = begin + number, times[number * BYTES :]


def _end(piece: tuple[int, bytes]) -> int:
    """Return the number after the last one of a piece."""
    return piece[0] + len(piece[1]) // BYTES


class BlockTimes:
    """The times of one job's blocks, until they are not needed any longer.

    Only the job's thread calls `arrived` and `made`; `of_outputs`, `switch` and `detach` need the
    caller's lock.

    Attributes:
        fresh: returns the present, packed, for blocks of a program whose time is not given.
        own: whether the job gives its blocks times of their own, as sources do.
    """

    def __init__(
        self,
        block_counts: Mapping[int, int],
        *,
        own: bool,
        ratio: Fraction | None,
        used: Callable[[], tuple[float, float]],
        asked_on: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """Begin without times.

        Args:
            block_counts: BLOCK_COUNT of each non-ASYNC input.
            own: whether the job is a source.
            ratio: output blocks for each compute block; None: unknown.
            used: returns the last compute block that the job is done with, and the number up to which
                all outputs have sent their blocks.
            asked_on: by input whose producer may ask for the times of its blocks, how many of them may
                be needed.
        """
        self.fresh: Callable[[], bytes] = lambda: UNKNOWN
        self.own = own or ratio is None
        self._ratio = Fraction(1) if ratio is None else ratio
        self._block_counts = block_counts
        self._used = used
        self._one_by_one = list(block_counts.values()) == [1]  # a compute block is a block
        self._generation = 0
        self._arrived: dict[int, bytes] = {}  # by compute block of this generation
        self._coming: dict[int, dict[int, bytes]] = {}  # by newer generation and compute block
        self._in_order = _Consecutive()  # in its place, if a compute block is a block
        self._made = _Consecutive()  # of output blocks, of a job with times of its own
        self._again: dict[int, bytes] = {}  # by number: what blocks had that this source makes again
        self._look_at = LOOK_AT
        self._received = {pipe: ReceivedTimes(most) for pipe, most in asked_on.items()}

    def arrived(self, message: Data, new: int) -> None:
        """Take the times of a message's blocks.

        Args:
            message: the message.
            new: how many of its blocks are new: the last ones.
        """
        times, count = message.times, self._block_counts.get(message.pipe, 0)
        if times is not None and message.pipe in self._received:
            self._received[message.pipe].accept(message.sqn + len(message.payloads) - new, times[len(times) - new * BYTES :])
        if times is None or not new or not count or message.generation < self._generation:
            return
        if self._one_by_one and message.generation == self._generation:
            if len(self._in_order) >= self._look_at:
                self._forget_arrived()
            self._in_order.put(message.sqn + len(message.payloads) - new, times[len(times) - new * BYTES :])
            return
        kept = self._arrived
        if message.generation > self._generation:
            kept = self._coming.setdefault(message.generation, {})
            while len(self._coming) > MOST_GENERATIONS:
                del self._coming[max(self._coming)]
        elif len(kept) >= self._look_at:
            self._forget_arrived()
            kept = self._arrived
        first = message.sqn + len(message.payloads) - new
        every = [times[at : at + BYTES] for at in range(len(times) - new * BYTES, len(times), BYTES)]
        for number, time in enumerate(every, first):
            block = (number - 1) // count + 1
            kept[block] = join(kept.get(block, UNKNOWN), time)

    def offer(self, message: Data) -> None:
        """Take the times of a message before its blocks are accepted, for `received`; `arrived` follows."""
        if message.times is not None and message.pipe in self._received:
            self._received[message.pipe].offer(message.generation, message.sqn, message.times)

    def received(self, pipe: int) -> tuple[int, int, bytes]:
        """Do as `ReceivedTimes.answer` for an input. Any thread may ask."""
        return self._received[pipe].answer()

    def remember(self, first: int, times: bytes) -> None:
        """Take the times that blocks of this source had when they were made before.

        Args:
            first: number of the first block.
            times: packed, one after the other.
        """
        for index in range(len(times) // BYTES):
            time = times[index * BYTES : (index + 1) * BYTES]
            if time != UNKNOWN:
                self._again.setdefault(first + index, time)

    def made(self, number: int, time: bytes) -> None:
        """Set the time of a source's next block, before it is put.

        Args:
            number: of the block.
            time: packed; not used if an earlier incarnation has given the block another one.
        """
        if len(self._made) >= self._look_at:
            self._forget_made()
        if self._again:
            time = self._again.pop(number, time)
        self._made.put(number, time)

    def of(self, block: int) -> bytes:
        """Return the time of a compute block of this generation.

        Args:
            block: its number.
        """
        return self._in_order.get(block, 1) if self._one_by_one else self._arrived.get(block, UNKNOWN)

    def of_outputs(self, first: int, count: int) -> bytes:
        """Return the times of output blocks that are sent now, one after the other.

        Args:
            first: number of the first block.
            count: number of blocks.
        """
        if self.own:
            if len(self._made) >= self._look_at:
                self._forget_made()
            if (end := self._made.end if len(self._made) else first) < first + count:  # of a program
                self._made.put(end, self.fresh() * (first + count - end))
            return self._made.get(first, count)
        if self._ratio != 1:
            return b"".join(map(self._of_output, range(first, first + count)))
        if self._one_by_one:
            return self._in_order.get(first, count)
        arrived = self._arrived
        return b"".join([arrived.get(number, UNKNOWN) for number in range(first, first + count)])

    def _of_output(self, number: int) -> bytes:
        found = UNKNOWN
        for block in range((number - 1) // self._ratio + 1, -(-number // self._ratio) + 1):
            found = join(found, self.of(block))
        return found

    def detach(self) -> None:
        """From now on it is unknown from which block a block results."""
        self.own = True

    def switch(self, generation: int) -> None:
        """Enter a new generation, after all blocks of this one were sent."""
        self._generation = generation
        self._arrived = self._coming.pop(generation, {})
        self._in_order = _Consecutive()
        for block in sorted(self._arrived) if self._one_by_one else ():
            self._in_order.put(block, self._arrived[block])
        self._coming = {number: blocks for number, blocks in self._coming.items() if number > generation}
        self._made, self._again = _Consecutive(), {}
        self._look_at = LOOK_AT

    def _forget_arrived(self) -> None:
        done, sent = self._used()
        upto = min(done, sent if sent == inf else sent // self._ratio)
        self._in_order.forget(upto)
        self._arrived = {block: time for block, time in self._arrived.items() if block > upto}
        self._look_at = max(LOOK_AT, 2 * (len(self._arrived) + len(self._in_order)))

    def _forget_made(self) -> None:
        self._made.forget(self._used()[1])
        self._look_at = max(LOOK_AT, 2 * len(self._made))
