"""The two ends of a link: the producer's replay window and the consumer's memory of what it has had.

`SendWindow` keeps every block that its consumer has not released, so that a new life of the consumer can have them again, and
is what stops a producer that runs ahead (back-pressure). `Receiver` numbers a pipe's life at the consumer: it drops what it
has had (a producer's new life sends some blocks again), what comes from an older life, and notices gaps.

Neither has I/O. Blocks are opaque; they come in *items* of one or more consecutive blocks, as they were sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

from fission.errors import LocalProtocolError
from fission.protocol.frames import CLOSED

Item = TypeVar("Item")

#: Blocks that may be unreleased on one link. Arbitrary: at 400,000 blocks/s this is 10 ms, several times what a release takes
#: from the sink back through a chain of jobs, and a window of small blocks stays near 1 MB.
WINDOW_BLOCKS = 4096
#: Bytes that may be unreleased on one link. Arbitrary: 32 blocks of 1 MB.
WINDOW_BYTES = 32 << 20


#: How often a grant may be doubled; arbitrary, 32 times what the ways need at least.
GRANT_DOUBLINGS = 5
#: In place of either: no limit, for an ASYNC pipe of which any number of blocks may wait.
NO_LIMIT = 1 << 62


class Sent(NamedTuple):
    """One item in the window: blocks ``first`` to ``last``, ``size`` bytes in all."""

    first: int
    last: int
    size: int
    item: Any


#: Makes one without a call of Python's own: it is done for each message.
_make_sent = tuple.__new__


class SendWindow(Generic[Item]):
    """Blocks that were numbered and not yet released, in order.

    Attributes:
        next: the number of the next block.
        released: everything up to this number was released (`CLOSED`: the consumer needs nothing any more).
        dropped: blocks that were given up by `drop_oldest`, in all.
        size: limit in bytes.
        used: bytes of the items in the window.
    """

    def __init__(self, blocks: int = WINDOW_BLOCKS, size: int = WINDOW_BYTES, *, mark: int = 0, needed: int = 1) -> None:
        """Begin behind ``mark``.

        Args:
            blocks: limit in blocks.
            size: limit in bytes.
            mark: the last number that counts as released.
            needed: blocks that the consumer, and those after it, must be able to have at once before any is released (see
                `fission.core.rates.needed_blocks`); twice as many always fit, else they and the producer would wait for each other.
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
        self._foreign = mark  # blocks up to here are of an earlier incarnation
        self.dropped = 0

    def __len__(self) -> int:
        """Blocks that are unreleased."""
        return max(0, self.next - 1 - self.released)

    @property
    def room(self) -> int:
        """How many further blocks may be numbered now; 0 if the window is full."""
        unreleased = self.next - 1 - self.released  # not len(self): it is asked for with every message
        room = 0 if self.used >= self.size and unreleased >= self._at_least else self._blocks - max(0, unreleased)
        granted = self._granted - self.next + 1
        return granted if granted > room else max(0, room)

    def may_grant(self, worked_off: int) -> bool:
        """Whether the consumer, which has worked off so much, lacks only what completes it: the rest may wait for what comes next."""
        return worked_off > self.next - 1 - self._needed and not self.room

    def grant(self) -> None:
        """Make room for ``needed`` further blocks: the consumer and all behind it have nothing left to do, and yet do not release.

        Jobs with CHECKPOINT among them release only up to a snapshot; they have one behind the last block that they were sent, and what
        is at the end of the ways may need some more blocks until it has released that far. Each grant without a release in between is
        twice as large as the one before it: a program behind the window may hold many blocks in buffers of its own.
        """
        self._granted = self.next - 1 + (self._needed << min(self._grants, GRANT_DOUBLINGS))
        self._grants += 1

    def add(self, count: int, size: int, item: Item) -> int:
        """Number ``count`` blocks and keep them until they are released; return the first number.

        Does not ask for room: the caller waits for it. Blocks that are released already (a consumer that is ahead of a new
        life of its producer) get their numbers and are not kept.

        Raises:
            LocalProtocolError: count below 1 or size below 0.
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
        """Go on with block ``number``: those in between will never exist (compute blocks that were left out).

        Raises:
            LocalProtocolError: it lies behind.
        """
        if number < self.next:
            raise LocalProtocolError(f"the next block is {self.next}; numbering cannot go back to {number}")
        self.next = number
        self._settle()

    def resume_after(self, number: int) -> None:
        """The next block comes after ``number``: the consumer has those up to there of an earlier incarnation, and will release them."""
        if number >= self.next:
            self.next = number + 1
            self._foreign = number

    def release(self, upto: int) -> bool:
        """Let go of everything up to ``upto``; return whether that was news.

        Old and repeated releases change nothing. A release beyond what was sent is right: the consumer may have had those
        blocks from an earlier life of this producer.
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
        # without an item nothing is unreleased: numbers that were skipped never had a block
        if not self._items and self.released >= self._foreign:
            self.released = max(self.released, self.next - 1)

    def drop_oldest(self) -> int:
        """Give up the oldest item; return how many of its blocks were unreleased (0 if there is no item).

        They count as released; the consumer sees a gap if they had not reached it.
        """
        if not self._items:
            return 0
        sent = self._items.popleft()
        self.used -= sent.size
        lost = sent.last - max(self.released, sent.first - 1)
        self.released = max(self.released, sent.last)
        self.dropped += lost
        self._settle()
        return lost

    def unreleased(self) -> Iterator[Sent]:
        """Iterate over what a new life of the consumer must be sent, oldest first. Items may begin before ``released``."""
        return iter(tuple(self._items))


class Arrival(Enum):
    """What an `Open` was."""

    STALE = "from an older life: drop it"
    KNOWN = "nothing new"
    NEW_INCARNATION = "a new life of the producer, same numbering"
    NEW_GENERATION = "numbering starts again"


class Receiver:
    """What the consumer knows of one input: the producer's life, its numbering, what has arrived.

    A link is in order, so a gap before a block means that what is missing will never come.

    Attributes:
        incarnation: the producer's newest life that spoke; 0 before the first.
        generation: of the numbering.
        mark: the producer's newest mark, None until a link was opened.
        high: the last block that arrived or was skipped as lost; the mark at first.
        last: the number of the last block, once the pipe has ended; else None.
        final: whether it has ended for every later generation too.
        more: whether it has ended only because a later generation follows.
        duplicates: blocks that were dropped because they had been there before, or came from an older life.
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
        """A producer says where it stands. Anything older than what is known changes nothing."""
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
        """The producer has this life now, says the supervisor: older ones do not count any more, before it has spoken."""
        self.incarnation = max(self.incarnation, incarnation)

    def current(self, incarnation: int, generation: int) -> bool:
        """Whether a message of that life counts: its link was opened and nothing newer has spoken."""
        return self.mark is not None and incarnation == self.incarnation and generation == self.generation

    def accept(self, incarnation: int, generation: int, first: int, count: int) -> int:
        """Blocks ``first`` and following have arrived; return how many of them, from the start, are to be dropped.

        The rest, if any, is new and ``high`` is its last number.
        """
        if not self.current(incarnation, generation):
            self.duplicates += count
            return count
        if first == self.high + 1:  # as nearly always; what follows does the same
            self.high += count
            return 0
        had = min(count, max(0, self.high + 1 - first))
        self.duplicates += had
        if had < count:
            self.high = first + count - 1
        return had

    def skip(self, upto: int) -> None:
        """Blocks up to ``upto`` are of no use any more: they count as had."""
        self.high = max(self.high, upto)

    def end(self, incarnation: int, generation: int, last: int, *, final: bool = False, more: bool = False) -> bool:
        """The pipe has ended behind block ``last``; return whether that counts. What is missing up to there is lost."""
        if not self.current(incarnation, generation):
            return False
        self.last = last
        self.final = self.final or final
        self.more = more
        self.high = max(self.high, last)
        return True
