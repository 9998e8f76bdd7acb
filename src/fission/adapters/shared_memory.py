"""The producer's side of big buffers in shared memory: copied once, here; what travels is a descriptor.

An `Arena` is a few files below /dev/shm, laid out as `fission.protocol.shared_blocks` says. A slot is used again when two things are true:

- every reader's window has let go of the block (`Arena.release`), and
- no reader holds it: a reader marks a slot when it takes the descriptor, and clears the mark when the last object that stands on the
  memory (array, slice, memoryview) is gone; see `fission.adapters.shared_views`.

So memory is given back at the later of the two, nobody waits for anybody, and holding needs no message. Marks of the killed go away
when the producer hears of a new life (`Arena.forget_reader`), or a new life of a reader behind its own reads here itself.

**Order of memory accesses.** A block is released by a message that its reader sends after it has marked, so the mark is there when the
producer looks. Taking a descriptor of a block that was released before is a mistake or an old life; the stamp shows it.

**Who removes files.** Nothing but `Arena.close`, `sweep`, and the next but one life of the same job: what a killed producer has sent can
still be taken. `multiprocessing.shared_memory` is not used: its resource tracker would remove segments under the feet of other
processes, and it neither reserves memory (a full /dev/shm is a SIGBUS then) nor uses it again (a new page costs more than the copy).
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import secrets
import tempfile
import zlib
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from fission.errors import LocalProtocolError
from fission.protocol import shared_blocks
from fission.protocol.shared_blocks import ALIGNMENT, LIVES, MAX_INCARNATION, STAMP_BYTES, Descriptor, Extents

#: Where segments live: memory on every Linux. Elsewhere there is no such folder, and all goes the slow way.
FOLDER = "/dev/shm"
#: Bytes of address space of a segment; memory is taken piece by piece. Arbitrary: two windows, so that most jobs need one.
SEGMENT_BYTES = 64 << 20
#: Most bytes of memory in one arena. Arbitrary: windows need far less, what readers keep is the rest.
LIMIT_BYTES = 1 << 30
#: Released slots that a `put` looks at, whether they are still held. Measured: 0.15 us each.
PROBES = 16
#: After the system refused memory, so many puts of that size do not ask again. Arbitrary: a refusal costs as much as a copy.
REFUSED_PUTS = 64

log = logging.getLogger("fission.shared_memory")


class _Slot:
    """A buffer in an arena, from `put` until its memory is free again."""

    __slots__ = ("entry", "offset", "segment", "size", "waiting")

    def __init__(self, segment: _Segment, entry: int, offset: int, size: int, waiting: set[int]) -> None:
        self.segment, self.entry, self.offset, self.size = segment, entry, offset, size
        self.waiting = waiting  # readers that have not released it


class _Segment:
    """One file of an arena. Memory is reserved before anything is written there: then a full /dev/shm is an error, else a SIGBUS."""

    def __init__(self, path: str, size: int, entry_bytes: int, table_bytes: int) -> None:
        """Create it. Raises OSError; then nothing is left."""
        self.name = os.path.basename(path)
        self.committed = table_bytes
        self.entries = list(range(table_bytes // entry_bytes - 1, 0, -1))
        self._path = path
        self._size = size
        self._free = Extents()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(self._descriptor, size)
            os.posix_fallocate(self._descriptor, 0, table_bytes)
            self.memory = mmap.mmap(self._descriptor, size)
        except BaseException:
            os.close(self._descriptor)
            os.unlink(path)
            raise
        head = shared_blocks.pack_head(entry_bytes, table_bytes)
        self.memory[: len(head)] = head
        self.stamps = memoryview(self.memory)[:table_bytes].cast("Q")

    def take(self, need: int) -> int | None:
        """Return the start of ``need`` bytes for a slot; None if there are none, or no entry."""
        return self._free.take(need) if self.entries else None

    def give(self, start: int, size: int) -> None:
        """The memory of a slot is free."""
        self._free.give(start, size)

    def lacking(self, need: int) -> int | None:
        """Return how many bytes must be reserved so that ``need`` bytes are free in one piece; None if the segment has no such place."""
        lacking = need - self._free.free_before(self.committed)
        return lacking if self.entries and self.committed + lacking <= self._size else None

    def commit(self, size: int) -> None:
        """Reserve memory. Raises OSError."""
        os.posix_fallocate(self._descriptor, self.committed, size)
        self._free.give(self.committed, size)
        self.committed += size

    def close(self) -> None:
        """Remove the file; its memory goes when nobody has it mapped any more."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        os.close(self._descriptor)
        self.stamps.release()
        with contextlib.suppress(BufferError):  # somebody still has a `view`: it goes with that
            self.memory.close()


class ArenaLease:
    """A buffer in an arena for as long as this object lives: when the last window has let go of it, all its readers have released it.

    Attributes:
        descriptor: for the first of its readers.
        nbytes: length of the buffer.
        readers: numbers of those that it was lent for.
    """

    __slots__ = ("_arena", "descriptor", "nbytes", "readers")
    handed_on = False

    def __init__(self, arena: Arena, descriptor: Descriptor, readers: Collection[int]) -> None:
        self.descriptor = descriptor
        self.nbytes = descriptor.length
        self._arena = arena
        self.readers = readers

    def pack(self, reader: int) -> bytes:
        """Return the descriptor for one of its readers, as it travels."""
        return self.descriptor.pack(reader)

    def view(self) -> memoryview:
        """Return the producer's own view; see `Arena.view`."""
        return self._arena.view(self.descriptor)

    def __del__(self) -> None:
        self._arena.release_for(self.descriptor.stamp, self.readers)


class Arena:
    """The shared memory of one producer. `put` and `close` belong to one thread, everything else to any.

    Attributes:
        refused: buffers that found no room, in all.
    """

    def __init__(
        self,
        prefix: str,
        job: int,
        incarnation: int,
        readers: Sequence[int],
        *,
        behind: int = 0,
        limit: int = LIMIT_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        folder: str = FOLDER,
    ) -> None:
        """Prepare; files are made when the first buffer comes.

        Args:
            prefix: of all names of the run: ``fission-`` and a token that no other run has.
            job: id of the producer.
            incarnation: of the producer.
            readers: for each reader, its incarnation; readers are numbered from 0 in this order (the job's outputs).
            behind: readers that those may hand blocks on to, numbered behind them.
            limit: most bytes of memory.
            segment_bytes: address space of a segment.
            folder: of a file system in memory.

        Raises:
            LocalProtocolError: the prefix or an incarnation is none, or there is no reader.
        """
        self._owner = shared_blocks.owner_name(prefix, job)
        if not readers or not all(1 <= one <= MAX_INCARNATION for one in (incarnation, *readers)):
            raise LocalProtocolError(f"incarnations are 1 to {MAX_INCARNATION}; got {incarnation} and, of the readers, {list(readers)}")
        self.refused = 0
        self._incarnation = incarnation
        self.readers = list(readers)
        self._limit, self._folder = limit, folder
        self._segment_bytes = -(-segment_bytes // ALIGNMENT) * ALIGNMENT
        self._behind = behind
        self._entry_bytes = shared_blocks.entry_bytes(len(self.readers) + behind)
        self._unmarked = bytes(self._entry_bytes - STAMP_BYTES)
        self._segments: list[_Segment] = []
        self._slots: dict[int, _Slot] = {}  # by stamp
        self._returned: deque[tuple[int, int]] = deque()  # releases that came in since the last put: (stamp, reader)
        self._released: deque[int] = deque()  # stamps of slots that all readers have released, and perhaps hold
        # random, so that a descriptor of an arena that had the same name does not fit by chance
        self._stamp = 1 << 55 | int.from_bytes(os.urandom(6), "little")
        self._refusals, self._refused_size = 0, 0
        self._warned = False
        self._closed = not (os.path.isdir(folder) and hasattr(os, "posix_fallocate"))
        if self._closed:
            log.info("there is no %s: big blocks go the slow way", folder)

    @property
    def committed(self) -> int:
        """Bytes of memory that the arena has taken from the system."""
        return sum(segment.committed for segment in self._segments)

    @property
    def slots(self) -> int:
        """Buffers whose memory is not known to be free; the next `put` looks."""
        return len(self._slots)

    def put(self, buffer: Any, readers: Collection[int] | None = None) -> Descriptor | None:
        """Copy a buffer; return its descriptor for the first of its readers (``_replace(reader=...)`` gives the others').

        None if there is no room, or no shared memory at all: the buffer must go another way. The first time a warning is logged.

        Args:
            buffer: something with the buffer protocol, its bytes contiguous and at least one.
            readers: who will be sent the descriptor, and is to release it; by default all.

        Raises:
            LocalProtocolError: no such buffer or reader.
        """
        with memoryview(buffer) as view:
            length = view.nbytes
            if not view.c_contiguous or not length:
                raise LocalProtocolError(f"a buffer must be contiguous and not empty; got {length} bytes in strides of {view.strides}")
        waiting = set(range(len(self.readers))) if readers is None else set(readers)
        if not waiting or min(waiting) < 0 or max(waiting) >= len(self.readers):
            raise LocalProtocolError(f"readers are 0 to {len(self.readers) - 1}, at least one; got {readers}")
        size = shared_blocks.slot_bytes(length)
        found = None if self._closed else self._find(size)
        if found is None:
            self.refused += 1
            return None
        segment, offset = found
        entry = segment.entries.pop()
        segment.memory[offset : offset + length] = buffer
        self._stamp += 1
        segment.stamps[entry * self._entry_bytes // STAMP_BYTES] = self._stamp
        self._slots[self._stamp] = _Slot(segment, entry, offset, size, waiting)
        return Descriptor(segment.name, entry, offset, length, self._stamp, min(waiting))

    def lend(self, buffer: Any, readers: Collection[int] | None = None) -> ArenaLease | None:
        """As `put`, but nobody needs to call `release`: whoever keeps the block for its readers keeps the lease."""
        readers = range(len(self.readers)) if readers is None else readers
        descriptor = self.put(buffer, readers)
        return None if descriptor is None else ArenaLease(self, descriptor, readers)

    def release(self, descriptor: Descriptor) -> None:
        """The descriptor's reader will never be sent the block again. Doing it twice is right."""
        self._returned.append((descriptor.stamp, descriptor.reader))

    def release_for(self, stamp: int, readers: Collection[int]) -> None:
        """As `release`, for several readers of the buffer with that stamp."""
        for reader in readers:
            self._returned.append((stamp, reader))

    def forget_reader(self, reader: int, incarnation: int) -> None:
        """A reader lives its ``incarnation``: what older lives of it hold does not count any more. Older news change nothing."""
        self.readers[reader] = max(self.readers[reader], incarnation)

    def view(self, descriptor: Descriptor) -> memoryview:
        """Return the producer's own view of a block, for a reader on another host. Only valid until the block is released.

        Raises:
            LocalProtocolError: it was released.
        """
        slot = self._slots.get(descriptor.stamp)
        if slot is None:
            raise LocalProtocolError(f"the block was released: {descriptor}")
        return memoryview(slot.segment.memory)[slot.offset : slot.offset + descriptor.length].toreadonly()

    def close(self) -> None:
        """Remove the segments; what readers hold stays theirs, what they have not taken is gone. Calling it twice is right."""
        self._closed = True
        self._slots.clear()
        self._released.clear()
        while self._segments:
            self._segments.pop().close()

    def _find(self, need: int) -> tuple[_Segment, int] | None:
        while self._returned:
            stamp, reader = self._returned.popleft()
            slot = self._slots.get(stamp)
            if slot is not None and reader in slot.waiting:
                slot.waiting.discard(reader)
                if not slot.waiting:
                    self._released.append(stamp)
        self._reclaim(PROBES)
        found = self._fit(need)
        if found is None:
            if not self._grow(need):
                self._reclaim(len(self._released))
            found = self._fit(need)
        return found

    def _fit(self, need: int) -> tuple[_Segment, int] | None:
        for segment in self._segments:
            offset = segment.take(need)
            if offset is not None:
                return segment, offset
        return None

    def _reclaim(self, probes: int) -> None:
        """Look at some of the released slots; in turns, so that many that are held for long do not slow down every put."""
        released = self._released
        for _ in range(min(probes, len(released))):
            stamp = released.popleft()
            slot = self._slots[stamp]
            if self._is_held(slot):
                released.append(stamp)
            else:
                del self._slots[stamp]
                slot.segment.stamps[slot.entry * self._entry_bytes // STAMP_BYTES] = 0
                slot.segment.entries.append(slot.entry)
                slot.segment.give(slot.offset, slot.size)

    def _is_held(self, slot: _Slot) -> bool:
        end = (slot.entry + 1) * self._entry_bytes
        marks = slot.segment.memory[end - len(self._unmarked) : end]
        if marks == self._unmarked:
            return False
        words = memoryview(marks).cast("I")
        # a life that we have not heard of yet counts, an older one does not
        lives = [*self.readers, *self._lives_behind(slot.segment)]
        return any(max(words[LIVES * index : LIVES * index + LIVES]) >= life for index, life in enumerate(lives))

    def _lives_behind(self, segment: _Segment) -> list[int]:
        """The newest lives of the readers behind ours that have read in a segment; the first counts where none has."""
        first = len(self.readers)
        words = segment.memory[shared_blocks.incarnation_offset(first) : shared_blocks.incarnation_offset(first + self._behind)]
        return [max(1, life) for life in memoryview(words).cast("I")]

    def _grow(self, need: int) -> bool:
        """Take more memory, as little as will do; return whether there was some."""
        if self._refusals and need >= self._refused_size:
            self._refusals -= 1
            return False
        segment = next((one for one in self._segments if one.lacking(need) is not None), None)
        table = 0 if segment else shared_blocks.table_bytes(self._segment_bytes, self._entry_bytes)
        lacking = segment.lacking(need) or 0 if segment else need
        if self.committed + table + lacking > self._limit:
            self._warn(f"{self.committed} bytes are in use, {table + lacking} more are needed, the limit is {self._limit}")
            return False
        try:
            if segment is None:
                segment = self._new_segment(table + need, table)
            segment.commit(lacking)
        except OSError as why:
            self._refusals, self._refused_size = REFUSED_PUTS, need
            self._warn(str(why))
            return False
        return True

    def _new_segment(self, size: int, table: int) -> _Segment:
        if not self._segments:
            self._sweep_older()
        path = os.path.join(self._folder, shared_blocks.segment_name(self._owner, self._incarnation, len(self._segments)))
        self._segments.append(_Segment(path, max(self._segment_bytes, size), self._entry_bytes, table))
        return self._segments[-1]

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("no room in shared memory; big blocks go the slow way until there is some: %s", why)

    def _sweep_older(self) -> None:
        """Remove what lives before the last one left. The last one's blocks may still be on their way to their readers."""
        for name in os.listdir(self._folder):
            parsed = shared_blocks.parse_name(name)
            if parsed and parsed[0] == self._owner and parsed[1] < self._incarnation - 1:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self._folder, name))


def run_prefix() -> str:
    """Return a prefix for the names of a new run. It begins as those of all runs with the same temp directory do (`mark`)."""
    return f"{mark()}{secrets.token_hex(4)}"


def mark() -> str:
    """What the names of this temp directory's runs begin with: somebody with one of their own can tell their runs from others'."""
    return f"fission-{zlib.crc32(os.fsencode(tempfile.gettempdir())) & 0xFFFF:04x}"


def sweep(prefix: str, *, folder: str = FOLDER) -> int:
    """Remove what a run, a job or a life has left; return how many segments that were. Whoever has them mapped keeps the memory.

    Args:
        prefix: of a run (``fission-TOKEN``), or with ``-JOB`` and perhaps ``.INCARNATION`` behind it.
        folder: as the arenas'.

    Raises:
        LocalProtocolError: the prefix is none of these.
    """
    removed = 0
    shared_blocks.is_below("", prefix)
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if shared_blocks.is_below(name, prefix):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, name))
                    removed += 1
    return removed
