"""The two ends of a link: the producer's replay window and the consumer's receive record.

`SendWindow` keeps every block that the consumer has not released, so that it can be sent to a new
incarnation of the consumer. It also stops a producer that runs ahead (back-pressure). `Receiver`
tracks a pipe's numbering at the consumer: it drops blocks that it has already had (a new
incarnation of the producer sends some again) and blocks of older incarnations, and detects gaps.

Neither does I/O. Blocks are opaque; they come in *items* of one or more consecutive blocks, as they
were sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

from fission.errors import LocalProtocolError
from fission.protocol.link_messages import CLOSED

Item = TypeVar("Item")

#: Maximum number of unreleased blocks on one link. Arbitrary: at 400,000 blocks/s this is 10 ms,
#: several times what a release takes from the sink back through a chain of jobs, and a window of
#: small blocks stays near 1 MB.
WINDOW_BLOCKS = 4096
#: The same where jobs with CHECKPOINT hold inputs back until a snapshot is on the disk. Arbitrary: taken once in 10 ms, and on the
#: disk 3 ms later, it must not stop 400,000 blocks/s, and half of the window asks for one. A window of small blocks stays near 4 MB.
SNAPSHOT_WINDOW_BLOCKS = 4 * WINDOW_BLOCKS
#: Maximum number of unreleased bytes on one link. Arbitrary: 32 blocks of 1 MB.
WINDOW_BYTES = 32 << 20


#: Maximum number of times that a grant is doubled. Arbitrary: 32 times the minimum that the paths
#: need.
GRANT_DOUBLINGS = 5
#: Replaces either limit: no limit, for an ASYNC pipe on which any number of blocks may wait.
NO_LIMIT = 1 << 62


class Sent(NamedTuple):
    """One item in the window: blocks ``first`` to ``last``, ``size`` bytes in total."""

    first: int
    last: int
    size: int
    item: Any


#: Makes a `Sent` without a Python-level call, because it runs for each message.
_make_sent = tuple.__new__


class SendWindow(Generic[Item]):
    """The numbered and unreleased blocks, in order.

    Attributes:
        next: number of the next block.
        released: number up to which blocks were released; `CLOSED`: the consumer needs nothing
            further.
        size: limit in bytes.
        used: bytes of the items in the window.
    """

    def __init__(self, blocks: int = WINDOW_BLOCKS, size: int = WINDOW_BYTES, *, mark: int = 0, needed: int = 1) -> None:
        """Begin after ``mark``.

        Args:
            blocks: limit in blocks.
            size: limit in bytes.
            mark: last number that counts as released.
            needed: number of blocks that the consumer and the jobs after it must be able to hold
                before any block is released (see `fission.core.rates.needed_blocks`). Twice as many
                always fit; otherwise the producer and they would wait for each other.

        Raises:
            LocalProtocolError: a limit is not positive.
        """
        if blocks < 1 or size < 1 or mark < 0 or needed < 1:
            raise LocalProtocolError(f"window limits must be positive; got {blocks} blocks, {size} bytes, mark {mark}, needed {needed}")
        self._needed = needed
        self._at_least = 2 * needed
        self._granted = mark
        self._grants = 0  # since the last release
        self._blocks = max(blocks, self._at_least)
        self.size = size
        self._items: deque[Sent] = deque()
        self.used = 0
        self.next = mark + 1
        self.released = mark
        self._foreign = mark  # blocks up to here come from an earlier incarnation

    def __len__(self) -> int:
        """Return the number of unreleased blocks."""
        return max(0, self.next - 1 - self.released)

    @property
    def room(self) -> int:
        """Number of further blocks that may be numbered now; 0 if the window is full."""
        unreleased = self.next - 1 - self.released  # not len(self): this runs for every message
        room = 0 if self.used >= self.size and unreleased >= self._at_least else self._blocks - max(0, unreleased)
        granted = self._granted - self.next + 1
        return granted if granted > room else max(0, room)

    def may_grant(self, worked_off: int) -> bool:
        """Whether the window is full and the consumer lacks blocks of a compute block.

        ``worked_off`` is the number up to which the consumer has processed blocks; the blocks after
        it may be waiting for the next ones.
        """
        return worked_off > self.next - 1 - self._needed and not self.room

    def grant(self) -> None:
        """Make room for ``needed`` further blocks.

        Call it when the consumer and all jobs after it have nothing left to do and yet do not
        release.

        Jobs with CHECKPOINT among them release only up to a snapshot. They take one after the last
        block that they were sent, and the jobs at the end of the paths may need some more blocks
        until they have released that far. Each grant without a release in between is twice as large
        as the previous one: a program after the window may hold many blocks in buffers of its own.
        """
        self._granted = self.next - 1 + (self._needed << min(self._grants, GRANT_DOUBLINGS))
        self._grants += 1

    def add(self, count: int, size: int, item: Item) -> int:
        """Number ``count`` blocks and keep them until they are released; return the first number.

        Room is not checked: the caller waits for it. Blocks that are already released (when a
        consumer is ahead of a new incarnation of its producer) get their numbers and are not kept.

        Raises:
            LocalProtocolError: count is below 1 or size below 0.
        """
        if count < 1 or size < 0:
            raise LocalProtocolError(f"an item has at least one block and no negative size; got {count} blocks, {size} bytes")
        first = self.next
        self.next += count
        if self.next - 1 > self.released:
            self._items.append(_make_sent(Sent, (first, self.next - 1, size, item)))
            self.used += size
        return first

    def skip(self, number: int) -> None:
        """Continue with block ``number``.

        The blocks in between (omitted compute blocks) will never exist.

        Raises:
            LocalProtocolError: ``number`` is below the next block.
        """
        if number < self.next:
            raise LocalProtocolError(f"the next block is {self.next}; numbering cannot go back to {number}")
        self.next = number
        self._settle()

    def resume_after(self, number: int) -> None:
        """Continue after block ``number``.

        The consumer has the blocks up to it from an earlier incarnation, and will release them.
        """
        if number >= self.next:
            self.next = number + 1
            self._foreign = number

    def release(self, upto: int) -> bool:
        """Discard all blocks up to ``upto``; return whether the release was new.

        Old and repeated releases change nothing. A release beyond the blocks that were sent is
        valid: the consumer may have received them from an earlier incarnation of this producer.
        """
        if upto <= self.released:
            return False
        self._grants = 0
        self.released = min(upto, CLOSED)
        while self._items and self._items[0].last <= upto:
            self.used -= self._items.popleft().size
        self._settle()
        return True

    def _settle(self) -> None:
        # without an item nothing is unreleased: skipped numbers never had a block
        if not self._items and self.released >= self._foreign:
            self.released = max(self.released, self.next - 1)

    def unreleased(self) -> Iterator[Sent]:
        """Iterate over the items for a new incarnation of the consumer, oldest first.

        Items may begin before ``released``.
        """
        return iter(tuple(self._items))


class Arrival(Enum):
    """The meaning of an `Open` for the receiver."""

    STALE = "from an older incarnation: drop it"
    KNOWN = "nothing new"
    NEW_INCARNATION = "a new incarnation of the producer, same numbering"
    NEW_GENERATION = "numbering starts again"


class Receiver:
    """The consumer's record of one input: incarnation, numbering, and received blocks.

    A link preserves order, so the blocks missing in a gap will never arrive.

    Attributes:
        incarnation: newest incarnation of the producer that has sent a message; 0 before the first.
        generation: generation of the numbering.
        mark: the producer's newest low watermark; None until a link was opened.
        high: last block that arrived or was skipped as lost; initially the mark.
        last: number of the last block once the pipe has ended; otherwise None.
        final: whether the pipe has ended for every later generation too.
        more: whether the pipe has ended only because a later generation follows.
        duplicates: number of blocks that were dropped because they had already arrived or came from
            an older incarnation.
    """

    def __init__(self) -> None:
        self.incarnation = 0
        self.generation = 0
        self.mark: int | None = None
        self.high = 0
        self.last: int | None = None
        self.final = False
        self.more = False
        self.duplicates = 0

    def open(self, incarnation: int, generation: int, mark: int) -> Arrival:
        """Process a producer's opening; one that is older than what is known changes nothing."""
        if incarnation < self.incarnation or generation < self.generation:
            return Arrival.STALE
        new_generation = generation > self.generation
        if not new_generation and incarnation == self.incarnation and self.mark is not None and mark <= self.mark:
            return Arrival.KNOWN
        first_time = self.mark is None
        self.incarnation = incarnation
        if new_generation:
            self.generation = generation
            self.mark = self.high = mark
            self.last = None
            self.more = False
            return Arrival.NEW_INCARNATION if first_time else Arrival.NEW_GENERATION
        self.mark = mark if self.mark is None else max(self.mark, mark)
        self.high = max(self.high, mark)
        return Arrival.NEW_INCARNATION

    def announce(self, incarnation: int) -> None:
        """Record the producer's new incarnation, as the supervisor announces it.

        Older incarnations no longer count, even before the new one has sent a message.
        """
        self.incarnation = max(self.incarnation, incarnation)

    def current(self, incarnation: int, generation: int) -> bool:
        """Whether a message of that incarnation counts.

        It does if its link was opened and nothing newer has arrived.
        """
        return self.mark is not None and incarnation == self.incarnation and generation == self.generation

    def accept(self, incarnation: int, generation: int, first: int, count: int) -> int:
        """Process ``count`` blocks from ``first`` on; return how many to drop at the start.

        The remaining blocks, if any, are new, and ``high`` is the number of the last one.
        """
        if not self.current(incarnation, generation):
            self.duplicates += count
            return count
        if first == self.high + 1:  # the usual case; the code below gives the same result
            self.high += count
            return 0
        had = min(count, max(0, self.high + 1 - first))
        self.duplicates += had
        if had < count:
            self.high = first + count - 1
        return had

    def skip(self, upto: int) -> None:
        """Count blocks up to ``upto`` as received: they are no longer of use."""
        self.high = max(self.high, upto)

    def end(self, incarnation: int, generation: int, last: int, *, final: bool = False, more: bool = False) -> bool:
        """Process an end after block ``last``; return whether it counts.

        Blocks that are missing up to ``last`` are lost.
        """
        if not self.current(incarnation, generation):
            return False
        self.last = last
        self.final = self.final or final
        self.more = more
        self.high = max(self.high, last)
        return True
