"""The consumer's side of big buffers in shared memory: descriptors become read-only memory that nobody copies.

`Views` maps each segment once. What `Views.get` returns keeps a *hold* alive, a small object that exports the slot's memory. Everything
that is made from the memory (a slice, an array that pickle builds on it) refers to the hold, so the hold goes last, and clears the mark
by which the producer knows that the slot is in use. Layout and marks are described in `fission.protocol.shared_blocks`, what the
producer does in `fission.adapters.shared_memory`.

A mark and its clearing are single stores that rely on the interpreter's lock to come in order; not for Pythons without one.

A reader that returns a buffer as it got it may send its descriptor on: `Views.taken` finds the block, `TakenView.lease` lends it. The one
behind marks the producer's slot itself, at a place of its own, so what it holds does not depend on the life of the job in between.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import stat
import types
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from fission.errors import EngineError, LocalProtocolError, RemoteProtocolError
from fission.protocol import shared_blocks
from fission.protocol.shared_blocks import MARK_BYTES, MAX_INCARNATION, STAMP_BYTES, BlockGone, Descriptor

#: Where segments live, as the producers have it.
FOLDER = "/dev/shm"


class _Hold:
    """What all objects on a slot's memory keep alive. It ends in any thread, at any moment: it takes no locks."""

    # all marks of the segment, the place of this one, who has set it, and something that is empty in a child of that process
    mark: tuple[memoryview, int, int, list[bool]] | None = None
    descriptor: Descriptor
    taken_for: Any

    def __del__(self) -> None:
        if self.mark is not None:
            marks, place, incarnation, ours = self.mark
            # a child that the job has forked has copies of its objects, but the job itself still reads
            if marks[place] == incarnation and ours:
                marks[place] = 0


@functools.lru_cache(maxsize=1024)
def _hold_type(size: int) -> Any:
    """A kind of `_Hold` with so many bytes. Slots have few sizes, so there are few kinds."""
    return types.new_class("_Hold", (_Hold, ctypes.c_char * size))


class _Mapped(NamedTuple):
    """A segment."""

    memory: mmap.mmap
    stamps: memoryview
    marks: memoryview
    entry_bytes: int


class HandedOn:
    """A `Lease` of a block that another job has put into its arena: this one got it, and hands it on as it is."""

    __slots__ = ("_descriptor", "_numbers", "_view", "nbytes", "readers")
    handed_on = True

    def __init__(self, view: memoryview, descriptor: Descriptor, numbers: Mapping[int, int]) -> None:
        self.nbytes = descriptor.length
        self.readers: Collection[int] = numbers.keys()
        self._view = view  # as long as it is there, the slot is marked as ours
        self._descriptor = descriptor
        self._numbers = numbers

    def pack(self, reader: int) -> bytes:
        return self._descriptor.pack(self._numbers[reader])

    def view(self) -> memoryview:
        return self._view


class TakenView(NamedTuple):
    """A block that a buffer is the whole of; see `Views.taken`.

    Attributes:
        producer: the job whose arena it is in.
        taken_for: what `Views.get` was told.
    """

    producer: int
    taken_for: Any
    view: memoryview
    descriptor: Descriptor

    def lease(self, numbers: Mapping[int, int]) -> HandedOn:
        """Lend it on; ``numbers``: of the outputs that it goes to, as the producer numbers its readers."""
        return HandedOn(self.view, Descriptor(*self.descriptor[:-1], handed_on=True), numbers)


class Views:
    """A consumer's views of the blocks of all its producers. `get` and `close` belong to one thread; views end in any."""

    def __init__(self, incarnation: int, *, folder: str = FOLDER) -> None:
        """Prepare.

        Args:
            incarnation: of the consumer.
            folder: as the producers'.
        """
        if not 1 <= incarnation <= MAX_INCARNATION:
            raise LocalProtocolError(f"incarnations are 1 to {MAX_INCARNATION}; got {incarnation}")
        self._incarnation = incarnation
        self._folder = folder
        self._mapped: dict[str, _Mapped] = {}
        # by producer, and which of its readers we are there, the oldest life that is listened to: what others have handed on comes later
        self._oldest: dict[str, dict[int, int]] = {}
        self._ours = [True]
        os.register_at_fork(after_in_child=self._ours.clear)

    def get(self, descriptor: Descriptor, taken_for: Any = None) -> memoryview:
        """Return the block's memory, read-only; it stays as it is for as long as any object on it lives.

        Call it before the block is released. For a block that is held already it returns a copy.

        Args:
            descriptor: of the block.
            taken_for: what `taken` is to tell of it.

        Raises:
            BlockGone: the block was released before, or comes from a life of its producer that is over.
            RemoteProtocolError: the descriptor does not fit its segment.
            EngineError: the segment cannot be mapped.
        """
        name, slot, offset, length, stamp, reader, _ = descriptor
        memory, stamps, marks, entry_bytes = self._mapped.get(name) or self._map(name, reader)
        size = shared_blocks.slot_bytes(length)
        place = shared_blocks.mark_offset(reader, self._incarnation)
        entry = slot * entry_bytes
        if place >= entry_bytes or entry + entry_bytes > stamps.nbytes or offset < stamps.nbytes or offset + size > len(memory):
            raise RemoteProtocolError(f"a segment of {len(memory)} bytes, {stamps.nbytes} of them a table, does not hold {descriptor}")
        place = (entry + place) // MARK_BYTES
        stamped = entry // STAMP_BYTES
        life = shared_blocks.incarnation_offset(reader) // MARK_BYTES
        if marks[life] < self._incarnation:
            marks[life] = self._incarnation
        if stamps[stamped] == stamp:
            if marks[place] == self._incarnation:
                # two holds would share a mark, and the first to go would clear it; a block that is not released needs none
                copy = memory[offset : offset + length]
                if stamps[stamped] == stamp:
                    return memoryview(copy)
            else:
                hold = _hold_type(size).from_buffer(memory, offset)
                marks[place] = self._incarnation
                hold.mark = marks, place, self._incarnation, self._ours
                hold.descriptor, hold.taken_for = descriptor, taken_for
                if stamps[stamped] == stamp:
                    return memoryview(hold).cast("B")[:length].toreadonly()
        raise BlockGone(f"the block was released: {descriptor}")

    def taken(self, buffer: memoryview) -> TakenView | None:
        """Return the block that a buffer is the whole of; None if it is none, or in other memory.

        Any thread.

        Args:
            buffer: contiguous: of a numpy array, or what `get` has returned.
        """
        source: Any = buffer.obj
        # an array says on whose memory it stands; what another kind of object calls its base may be anything
        while type(source).__name__ == "ndarray" and type(source).__module__ == "numpy":
            source = source.base
        if isinstance(source, memoryview):
            source = source.obj
        if not isinstance(source, _Hold) or source.descriptor.length != buffer.nbytes:
            return None
        parsed = shared_blocks.parse_name(source.descriptor.segment)
        return TakenView(shared_blocks.owner_job(parsed[0]), source.taken_for, buffer, source.descriptor) if parsed else None

    def close(self) -> None:
        """Let go of all segments; one on which views stand goes with the last of them. Calling it twice is right."""
        self._mapped.clear()

    def _map(self, name: str, reader: int) -> _Mapped:
        parsed = shared_blocks.parse_name(name)
        if parsed is None:
            raise RemoteProtocolError(f"a segment's name is PREFIX-JOB.INCARNATION-NUMBER; got {name!r}")
        owner, life = parsed
        if life < self._oldest.get(owner, {}).get(reader, 0):
            raise BlockGone(f"{name} is of a life of its producer that is over")
        try:
            mapped = _map(os.path.join(self._folder, name))
        except FileNotFoundError:
            # a life's blocks are taken all or none: one that is refused before one that is taken would count as lost
            self._forget_before(owner, reader, life + 1)
            raise BlockGone(f"{name} was removed") from None
        except OSError as why:
            raise EngineError(f"the shared memory {name} cannot be mapped: {why}") from None
        self._forget_before(owner, reader, life)
        self._mapped[name] = mapped
        return mapped

    def _forget_before(self, owner: str, reader: int, life: int) -> None:
        lives = self._oldest.setdefault(owner, {})
        lives[reader] = life
        for name in list(self._mapped):
            parsed = shared_blocks.parse_name(name)
            # the producer has removed what its last life but one had, so that no more than two of its lives are kept here
            if parsed and parsed[0] == owner and parsed[1] < max(min(lives.values()), max(lives.values()) - 1):
                del self._mapped[name]


def _map(path: str) -> _Mapped:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or not status.st_size:
            raise RemoteProtocolError(f"{path} is no segment of this user")
        memory = mmap.mmap(descriptor, status.st_size)
    finally:
        os.close(descriptor)
    entry_bytes, table_bytes = shared_blocks.unpack_head(memory[: shared_blocks.ALIGNMENT], status.st_size)
    table = memoryview(memory)[:table_bytes]
    return _Mapped(memory, table.cast("Q"), table.cast("I"), entry_bytes)
