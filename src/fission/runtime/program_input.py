"""One input of a program: what is written to its pipe, and how much of it the program has read.

The job's thread writes blocks itself as far as the pipe has room for them. A thread of the input
writes what is left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import select
import struct
import termios
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from fission.protocol.frames import Buffer

#: Batches of blocks that wait for a slow executable besides what is in its pipe. Arbitrary: the window holds the rest.
QUEUE_BATCHES = 4
#: Blocks of so many bytes on average are written where they are; smaller ones are joined first. Arbitrary: a page.
PIECE_BYTES = 4096
#: Largest number of pieces in a write. Arbitrary: POSIX promises 16, Linux takes 1024.
MOST_PIECES = 256


class Ends(NamedTuple):
    """Where compute blocks end in the stream to the program.

    Attributes:
        end: total number of bytes up to the end of the first one.
        number: number of the first one.
        size: bytes from one end to the next.
        blocks: number of compute blocks, whose numbers follow each other.
    """

    end: int
    number: int
    size: int = 0
    blocks: int = 1

    def upto(self, taken: int) -> int:
        """Return how many of them end within so many bytes."""
        if self.end > taken:
            return 0
        return min(self.blocks, (taken - self.end) // self.size + 1) if self.size else 1

    def follows(self, other: Ends) -> bool:
        """Whether these and other ones before them are equally far apart, so that they are one run."""
        return self[1:3] == (other.number + other.blocks, other.size) and self.end == other.end + other.blocks * other.size

    def after(self, count: int) -> Ends:
        """Return the rest without the first ones."""
        return Ends(self.end + count * self.size, self.number + count, self.size, self.blocks - count)


@dataclass(slots=True)
class Blocks:
    """Consecutive blocks of one input.

    Attributes:
        data: bytes of each block; with ``size``, of several blocks each.
        numbers: for each block, the number of the compute block that ends with it, or 0; empty if
            the program's reading progress does not matter.
        size: length of each block in bytes, if they have one length; then ``numbers`` follow each
            other. Otherwise 0.
        rest: pieces that are left to write; None before the beginning.
    """

    data: Sequence[Buffer] = field(default_factory=list)
    numbers: Sequence[int] = field(default_factory=list)
    size: int = 0
    rest: list[Buffer] | None = None

    def pieces(self) -> list[Buffer]:
        """Return what to write, large blocks without a copy."""
        data = self.data
        if len(data) == 1 or (len(data) <= MOST_PIECES and sum(map(len, data)) >= PIECE_BYTES * len(data)):
            return list(data)
        return [b"".join(data)]

    def ends(self, start: int) -> list[Ends]:
        """Return where its compute blocks end, if it begins after so many bytes."""
        if not self.numbers:
            return []
        if self.size:
            return [Ends(start + self.size, self.numbers[0], self.size, len(self.numbers))]
        ends = accumulate(map(len, self.data), initial=start)
        next(ends)
        return [Ends(end, number) for end, number in zip(ends, self.numbers, strict=True) if number]

    @property
    def last(self) -> int:
        """The largest of its numbers; 0 if it has none."""
        return max(self.numbers[-1] if self.size else max(self.numbers), 0) if self.numbers else 0


class Intake:
    """One input of the program.

    Attributes:
        queue: batches of blocks; None ends the input.
        shut: whether the program has closed its end.
        closed: whether writing is over.
        ended: whether the program had read everything before its input was closed.
    """

    def __init__(self) -> None:
        self.queue: queue.Queue[Blocks | None] = queue.Queue(QUEUE_BATCHES)
        self.shut = self.closed = self.ended = False
        self.descriptor = -1
        self.lock = threading.Lock()
        self._written = 0
        self._ends: deque[Ends] = deque()
        self._read = self._last = 0
        self._writing = 0  # total bytes written, including the current write
        self._waits = threading.Event()
        self._put = self._taken = self._finished = 0  # batches that were queued, taken by the thread and written by it
        self._room = select.poll()

    def open(self, descriptor: int) -> None:
        """Writing thread: write to this descriptor from now on."""
        os.set_blocking(descriptor, False)  # a write that blocks would hide how much of it the program has read
        self._room.register(descriptor, select.POLLOUT)
        self.descriptor = descriptor

    def put(self, blocks: Blocks, timeout: float) -> bool:
        """Job's thread: write blocks, now as far as there is room, and the rest from the queue.

        Args:
            blocks: blocks to write.
            timeout: seconds to wait for room in the queue.

        Returns:
            Whether the blocks were taken; if not, the call must be repeated.
        """
        # while the thread has nothing to write, it does not touch the descriptor, and only this thread gives it something
        if self._put == self._finished and self.descriptor >= 0 and not self.shut:
            with contextlib.suppress(BrokenPipeError):  # the thread of the input will see it too, and decide
                if self._write_some(blocks):
                    return True
        return self.enqueue(blocks, timeout)

    def enqueue(self, blocks: Blocks | None, timeout: float) -> bool:
        """Job's thread: queue blocks, or the end (None); return whether there was room within ``timeout`` seconds."""
        try:
            self.queue.put(blocks, timeout=timeout)
        except queue.Full:
            return False
        self._put += 1
        return True

    def take(self) -> Blocks | None:
        """Writing thread: return the next blocks to write; None at the end.

        The previous ones have been written completely.
        """
        self._finished = self._taken
        self._waits.set()
        try:
            return self.queue.get()
        finally:
            self._waits.clear()
            self._taken += 1

    def refuse(self, blocks: Blocks) -> None:
        """Count blocks as read, because the program has closed its end and refuses them."""
        self._read = self._last = blocks.last or self._read

    def write(self, blocks: Blocks) -> None:
        """Write blocks. Waits while the pipe is full.

        Raises:
            BrokenPipeError: the program no longer reads.
        """
        while not self._write_some(blocks):
            self._room.poll()

    def _write_some(self, blocks: Blocks) -> bool:
        """Write as much of the blocks as there is room for; return whether nothing is left."""
        rest = blocks.rest
        if rest is None:
            rest = blocks.pieces()
            with self.lock:
                for ends in blocks.ends(self._written):
                    if self._ends and ends.follows(self._ends[-1]):
                        self._ends[-1] = self._ends[-1]._replace(blocks=self._ends[-1].blocks + ends.blocks)
                    else:
                        self._ends.append(ends)
                self._last = max(self._last, blocks.last)
                self._writing = self._written + sum(map(len, rest))
        try:
            while rest:
                try:
                    count = os.writev(self.descriptor, rest)
                except BlockingIOError:
                    return False
                with self.lock:
                    self._written += count
                rest = _after(rest, count)
        finally:
            blocks.rest = rest
        return True

    @property
    def unread(self) -> int:
        """The number of bytes that were written and that the program has not read."""
        if self.shut or self.descriptor < 0:
            return 0
        try:
            return int(struct.unpack("i", fcntl.ioctl(self.descriptor, termios.FIONREAD, b"\0\0\0\0"))[0])
        except OSError:
            return 0  # the system cannot report it: all bytes written count as read

    def read_upto(self) -> int:
        """Return the last compute block that the program has read in full; 0 before the first."""
        with self.lock:
            if not self.closed:
                self._look()
            return self._read

    def _look(self) -> None:
        taken = self._written - self.unread
        while self._ends and (count := self._ends[0].upto(taken)):
            first = self._ends.popleft()
            self._read = first.number + count - 1
            if count < first.blocks:
                self._ends.appendleft(first.after(count))

    def read_at_most(self) -> int:
        """Return the last compute block that the program may have read, even while it is written.

        The judgement whether a program answers before it has read must not depend on the scheduling
        of this process's threads.
        """
        unread = self.unread  # before the lock: later writes only increase it
        with self.lock:
            if self.closed or self.shut:
                return self._last  # the pipe can no longer be inspected
            self._look()
            taken = self._writing - unread
            upto = self._read
            for ends in self._ends:
                count = ends.upto(taken)
                if not count:
                    break
                upto = ends.number + count - 1
            return upto

    @property
    def all_read(self) -> bool:
        """Whether the program has read everything that was queued for it."""
        return self._waits.is_set() and self.queue.empty() and not self.unread

    def close(self) -> None:
        """Close the descriptor, so that the program sees the end.

        Bytes that it has not read by now count as unread.
        """
        with self.lock:
            if self.descriptor >= 0:
                self._look()
                os.close(self.descriptor)
            self.descriptor, self.closed = -1, True


def _after(pieces: list[Buffer], count: int) -> list[Buffer]:
    """Return the pieces without their first ``count`` bytes; none of them is empty."""
    for index, piece in enumerate(pieces):
        if count < len(piece):
            return [memoryview(piece)[count:], *pieces[index + 1 :]]
        count -= len(piece)
    return []
