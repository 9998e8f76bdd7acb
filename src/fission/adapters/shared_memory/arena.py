"""The producer's side of large buffers in shared memory: copied once, here; a descriptor travels.

An `Arena` is a few files in /dev/shm, laid out as `fission.protocol.shared_blocks` describes. A
slot is reused when two conditions hold:

- every reader's window has released the block (`Arena.release`), and
- no reader holds it: a reader marks a slot when it takes the descriptor, and clears the mark when
  the last object on the memory (array, slice, memoryview) is gone; see
  `fission.adapters.shared_memory.views`.

Memory is thus freed at the later of the two events, no process waits for another, and holding needs
no message. Marks of killed readers become void when the producer learns of a new incarnation
(`Arena.forget_reader`), or when a new incarnation of a downstream reader itself reads here.

**Order of memory accesses.** A reader releases a block by a message that it sends after it has
marked the slot, so the mark is there when the producer looks. Taking the descriptor of a block that
has already been released is a bug or comes from an older incarnation; the stamp reveals it.

The files, and who removes them, are described in `fission.adapters.shared_memory.segments`.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from fission.adapters.shared_memory.array_memory import OWNER, ArrayLease, ArrayMemory, memory_type
from fission.adapters.shared_memory.segments import FOLDER, Segment, sweep_older
from fission.errors import LocalProtocolError
from fission.protocol import shared_blocks
from fission.protocol.shared_blocks import ALIGNMENT, INCARNATIONS, MAX_INCARNATION, STAMP_BYTES, Descriptor

#: Bytes of address space of a segment; memory is committed piece by piece. Arbitrary: two windows, so that most jobs need one segment.
SEGMENT_BYTES = 64 << 20
#: Largest memory of one arena in bytes. Arbitrary: windows need far less; the rest is for what readers hold.
LIMIT_BYTES = 1 << 30
#: Released slots that a `put` checks for readers that still hold them. Measured: 0.15 us each.
PROBES = 16
#: Number of puts that do not ask again for a size that the system has refused. Arbitrary: a refusal costs as much as a copy.
REFUSED_PUTS = 64

log = logging.getLogger("fission.shared_memory")


class _Slot:
    """A buffer in an arena, from `put` until its memory is free again."""

    __slots__ = ("entry", "offset", "segment", "size", "waiting")

    def __init__(self, segment: Segment, entry: int, offset: int, size: int, waiting: set[int]) -> None:
        self.segment, self.entry, self.offset, self.size = segment, entry, offset, size
        self.waiting = waiting  # readers that have not released it


class ArenaLease:
    """A buffer in an arena; the end of this object releases it for all its readers.

    The object ends when the last window has released the block.

    Attributes:
        descriptor: descriptor for the first of its readers.
        nbytes: length of the buffer in bytes.
        readers: numbers of the readers to which the buffer is lent.
    """

    __slots__ = ("_arena", "descriptor", "nbytes", "readers")
    handed_on = False

    def __init__(self, arena: Arena, descriptor: Descriptor, readers: Collection[int]) -> None:
        self.descriptor = descriptor
        self.nbytes = descriptor.length
        self._arena = arena
        self.readers = readers

    def pack(self, reader: int) -> bytes:
        """Return the encoded descriptor for one of its readers."""
        return self.descriptor.pack(reader)

    def view(self) -> memoryview:
        """Return the producer's own view; see `Arena.view`."""
        return self._arena.view(self.descriptor)

    def __del__(self) -> None:
        self._arena.release_for(self.descriptor.stamp, self.readers)


class Arena:
    """The shared memory of one producer.

    `put`, `allocate` and `close` belong to one thread; all other methods are thread-safe.

    Attributes:
        refused: total number of buffers that found no room.
    """

    def __init__(
        self,
        prefix: str,
        job: int,
        incarnation: int,
        readers: Sequence[int],
        *,
        downstream: int = 0,
        limit: int = LIMIT_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        folder: str = FOLDER,
    ) -> None:
        """Prepare; the first buffer creates the files.

        Args:
            prefix: prefix of the run's names: ``fission-`` and a token unique to the run.
            job: id of the producer.
            incarnation: incarnation of the producer.
            readers: incarnation of each reader; readers are numbered from 0 in this order, that of
                the job's outputs.
            downstream: number of downstream readers, to which these may forward blocks; they are
                numbered after them.
            limit: largest memory of the arena in bytes.
            segment_bytes: address space of a segment in bytes.
            folder: folder on a file system in memory.

        Raises:
            LocalProtocolError: the prefix or an incarnation is invalid, or there is no reader.
        """
        self._owner = shared_blocks.owner_name(prefix, job)
        if not readers or not all(1 <= number <= MAX_INCARNATION for number in (incarnation, *readers)):
            raise LocalProtocolError(f"incarnations are 1 to {MAX_INCARNATION}; got {incarnation} and, of the readers, {list(readers)}")
        self.refused = 0
        self._incarnation = incarnation
        self.readers = list(readers)
        self._limit, self._folder = limit, folder
        self._segment_bytes = -(-segment_bytes // ALIGNMENT) * ALIGNMENT
        self._downstream = downstream
        self._entry_bytes = shared_blocks.entry_bytes(len(self.readers) + downstream)
        self._unmarked = bytes(self._entry_bytes - STAMP_BYTES)
        self._segments: list[Segment] = []
        self._slots: dict[int, _Slot] = {}  # by stamp
        self._returned: deque[tuple[int, int]] = deque()  # releases since the last put: (stamp, reader)
        self._released: deque[int] = deque()  # stamps of slots that all readers have released but may still hold
        # random, so that a descriptor of an earlier arena of the same name does not match by chance
        self._stamp = 1 << 55 | int.from_bytes(os.urandom(6), "little")
        self._refusals, self._refused_size = 0, 0
        self._warned = False
        self._closed = not (os.path.isdir(folder) and hasattr(os, "posix_fallocate"))
        if self._closed:
            log.info("there is no %s; large blocks use sockets", folder)

    @property
    def committed(self) -> int:
        """Bytes of memory that the arena has reserved."""
        return sum(segment.committed for segment in self._segments)

    @property
    def slots(self) -> int:
        """Number of buffers whose memory may be in use; the next `put` checks them."""
        return len(self._slots)

    def put(self, buffer: Any, readers: Collection[int] | None = None) -> Descriptor | None:
        """Copy a buffer and return its descriptor for the first of its readers.

        ``_replace(reader=...)`` gives the descriptors of the other readers. The result is None if
        there is no room, or no shared memory at all: the buffer must then use a socket. The first
        such case logs a warning.

        Args:
            buffer: contiguous object with the buffer protocol and at least one byte.
            readers: numbers of the readers that receive the descriptor and release it; None: all.

        Raises:
            LocalProtocolError: the buffer or a reader is invalid.
        """
        with memoryview(buffer) as view:
            length = view.nbytes
            if not view.c_contiguous or not length:
                raise LocalProtocolError(f"a buffer must be contiguous and not empty; got {length} bytes in strides of {view.strides}")
        waiting = set(range(len(self.readers))) if readers is None else set(readers)
        if not waiting or min(waiting) < 0 or max(waiting) >= len(self.readers):
            raise LocalProtocolError(f"readers are 0 to {len(self.readers) - 1}, at least one; got {readers}")
        size = shared_blocks.slot_bytes(length)
        slot = self._new_slot(size, waiting)
        if slot is None:
            self.refused += 1
            return None
        segment, offset = slot.segment, slot.offset
        segment.memory[offset : offset + length] = buffer
        return Descriptor(segment.name, slot.entry, offset, length, self._stamp, min(waiting))

    def allocate(self, length: int) -> ArrayMemory | None:
        """Return memory for an array, uninitialised; None if there is no room.

        Its slot is free when neither the result, nor anything on it, nor a lease of it is referenced,
        and no reader holds it.

        Args:
            length: number of bytes, at least 1.
        """
        slot = self._new_slot(shared_blocks.slot_bytes(length), {OWNER})
        if slot is None:
            return None
        memory: ArrayMemory = memory_type(slot.size).from_buffer(slot.segment.memory, slot.offset)
        memory.length, memory.ended = length, self._returned
        memory.descriptor = Descriptor(slot.segment.name, slot.entry, slot.offset, length, self._stamp)
        return memory

    def lend_memory(self, memory: Any, readers: Collection[int]) -> ArrayLease | None:
        """Lend an array's memory to some readers, again if need be; nothing may change it afterwards.

        The result is None if the memory is not one that `allocate` has returned.
        """
        return ArrayLease(memory, readers) if isinstance(memory, ArrayMemory) and memory.ended is self._returned else None

    def _new_slot(self, size: int, waiting: set[int]) -> _Slot | None:
        """Take a slot with a new stamp; None if there is no room."""
        found = None if self._closed else self._find(size)
        if found is None:
            return None
        segment, offset = found
        entry = segment.entries.pop()
        self._stamp += 1
        segment.stamps[entry * self._entry_bytes // STAMP_BYTES] = self._stamp
        slot = self._slots[self._stamp] = _Slot(segment, entry, offset, size, waiting)
        return slot

    def lend(self, buffer: Any, readers: Collection[int] | None = None) -> ArenaLease | None:
        """Copy a buffer like `put`; the end of the returned lease releases it.

        The replay buffer that keeps the block for its readers keeps the lease.
        """
        readers = range(len(self.readers)) if readers is None else readers
        descriptor = self.put(buffer, readers)
        return None if descriptor is None else ArenaLease(self, descriptor, readers)

    def release(self, descriptor: Descriptor) -> None:
        """Record that the descriptor's reader will never be sent the block again. Idempotent."""
        self._returned.append((descriptor.stamp, descriptor.reader))

    def release_for(self, stamp: int, readers: Collection[int]) -> None:
        """Release the buffer with this stamp for several readers."""
        for reader in readers:
            self._returned.append((stamp, reader))

    def forget_reader(self, reader: int, incarnation: int) -> None:
        """Void the marks of a reader's incarnations before ``incarnation``.

        Outdated notifications have no effect.
        """
        self.readers[reader] = max(self.readers[reader], incarnation)

    def view(self, descriptor: Descriptor) -> memoryview:
        """Return the producer's own view of a block, for a reader on another machine.

        The view is only valid until the block is released.

        Raises:
                LocalProtocolError: the block has been released.
        """
        slot = self._slots.get(descriptor.stamp)
        if slot is None:
            raise LocalProtocolError(f"the block was released: {descriptor}")
        return memoryview(slot.segment.memory)[slot.offset : slot.offset + descriptor.length].toreadonly()

    def close(self) -> None:
        """Remove the segments. Idempotent.

        Readers keep what they hold; what they have not taken is gone.
        """
        self._closed = True
        self._slots.clear()
        self._released.clear()
        while self._segments:
            self._segments.pop().close()

    def _find(self, need: int) -> tuple[Segment, int] | None:
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

    def _fit(self, need: int) -> tuple[Segment, int] | None:
        for segment in self._segments:
            offset = segment.take(need)
            if offset is not None:
                return segment, offset
        return None

    def _reclaim(self, probes: int) -> None:
        """Check some of the released slots for reuse.

        The slots take turns, so that many long-held ones do not slow down every put.
        """
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
        # an incarnation that the producer has not heard of yet counts, an older one does not
        newest = [*self.readers, *self._downstream_incarnations(slot.segment)]
        return any(max(words[INCARNATIONS * index : INCARNATIONS * (index + 1)]) >= incarnation for index, incarnation in enumerate(newest))

    def _downstream_incarnations(self, segment: Segment) -> list[int]:
        """Return the newest incarnations of the downstream readers that have read in a segment.

        An incarnation of 1 stands for readers that have not.
        """
        first = len(self.readers)
        words = segment.memory[shared_blocks.incarnation_offset(first) : shared_blocks.incarnation_offset(first + self._downstream)]
        return [max(1, incarnation) for incarnation in memoryview(words).cast("I")]

    def _grow(self, need: int) -> bool:
        """Reserve the additional memory that a slot needs; return whether that succeeded."""
        if self._refusals and need >= self._refused_size:
            self._refusals -= 1
            return False
        segment = next((each for each in self._segments if each.lacking(need) is not None), None)
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

    def _new_segment(self, size: int, table: int) -> Segment:
        if not self._segments:
            sweep_older(self._owner, self._incarnation - 1, self._folder)
        path = os.path.join(self._folder, shared_blocks.segment_name(self._owner, self._incarnation, len(self._segments)))
        self._segments.append(Segment(path, max(self._segment_bytes, size), self._entry_bytes, table))
        return self._segments[-1]

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("shared memory is full; large blocks use sockets until space frees up: %s", why)
