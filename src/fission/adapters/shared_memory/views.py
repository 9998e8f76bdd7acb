"""The consumer's side of large buffers in shared memory: descriptors become memory without a copy.

`Views` maps each segment once. The result of `Views.get` keeps a *hold* alive, a small object that
exports the slot's memory. Everything made from the memory (a slice, an array that pickle builds on
it) refers to the hold. The hold therefore goes last, and clears the mark that shows the producer
that the slot is in use. `fission.protocol.shared_blocks` describes the layout and the marks,
`fission.adapters.shared_memory.arena` the producer.

Setting and clearing a mark are single stores whose order relies on the interpreter lock: the scheme
does not work in a Python without one.

A reader that returns a buffer unchanged may forward its descriptor: `Views.taken` finds the block,
`TakenView.lease` lends it. The downstream reader marks the producer's slot itself, in a place of
its own, so its hold does not depend on the incarnation of the job in between.
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

from fission.adapters.shared_memory.segments import FOLDER
from fission.errors import EngineError, LocalProtocolError, RemoteProtocolError
from fission.protocol import shared_blocks
from fission.protocol.shared_blocks import MARK_BYTES, MAX_INCARNATION, STAMP_BYTES, BlockGone, Descriptor


class _Hold:
    """The object that everything on a slot's memory keeps alive.

    It may end in any thread at any moment and takes no locks.
    """

    # all marks of the segment, the place of this one, the incarnation that set it, and a list that is empty in forked children
    mark: tuple[memoryview, int, int, list[bool]] | None = None
    descriptor: Descriptor
    taken_for: Any

    def __del__(self) -> None:
        if self.mark is not None:
            marks, place, incarnation, ours = self.mark
            # a forked child has copies of the job's objects, but the job itself still reads
            if marks[place] == incarnation and ours:
                marks[place] = 0


@functools.lru_cache(maxsize=1024)
def _hold_type(size: int) -> Any:
    """Return the subclass of `_Hold` for ``size`` bytes; slots have few sizes."""
    return types.new_class("_Hold", (_Hold, ctypes.c_char * size))


class _Mapped(NamedTuple):
    """A mapped segment."""

    memory: mmap.mmap
    stamps: memoryview
    marks: memoryview
    entry_bytes: int


class HandedOn:
    """A `Lease` of a block in another job's arena, which this job forwards unchanged."""

    __slots__ = ("_descriptor", "_numbers", "_view", "nbytes", "readers")
    handed_on = True

    def __init__(self, view: memoryview, descriptor: Descriptor, numbers: Mapping[int, int]) -> None:
        self.nbytes = descriptor.length
        self.readers: Collection[int] = numbers.keys()
        self._view = view  # keeps the slot marked as ours
        self._descriptor = descriptor
        self._numbers = numbers

    def pack(self, reader: int) -> bytes:
        return self._descriptor.pack(self._numbers[reader])

    def view(self) -> memoryview:
        return self._view


class TakenView(NamedTuple):
    """A block of which a buffer is the whole; see `Views.taken`.

    Attributes:
        producer: job whose arena contains the block.
        taken_for: value that was passed to `Views.get`.
        view: memory of the block.
        descriptor: descriptor of the block.
    """

    producer: int
    taken_for: Any
    view: memoryview
    descriptor: Descriptor

    def lease(self, numbers: Mapping[int, int]) -> HandedOn:
        """Lend the block to further readers.

        Args:
            numbers: for each output that receives the block, its number among the producer's
                readers.
        """
        return HandedOn(self.view, Descriptor(*self.descriptor[:-1], handed_on=True), numbers)


class Views:
    """A consumer's views of the blocks of all its producers.

    `get` and `close` belong to one thread; views may end in any thread.
    """

    def __init__(self, incarnation: int, *, folder: str = FOLDER) -> None:
        """Prepare.

        Args:
            incarnation: incarnation of the consumer.
            folder: folder of the producers' segments.

        Raises:
            LocalProtocolError: the incarnation is invalid.
        """
        if not 1 <= incarnation <= MAX_INCARNATION:
            raise LocalProtocolError(f"incarnations are 1 to {MAX_INCARNATION}; got {incarnation}")
        self._incarnation = incarnation
        self._folder = folder
        self._mapped: dict[str, _Mapped] = {}
        # by producer and our reader number there: the oldest incarnation that is still accepted; forwarded blocks arrive later
        self._oldest: dict[str, dict[int, int]] = {}
        self._ours = [True]
        os.register_at_fork(after_in_child=self._ours.clear)

    def get(self, descriptor: Descriptor, taken_for: Any = None) -> memoryview:
        """Return the block's memory, read-only; it does not change while any object on it exists.

        Call it before the block is released. For a block that is already held it returns a copy.

        Args:
            descriptor: descriptor of the block.
            taken_for: value that `taken` returns for the block.

        Raises:
            BlockGone: the block has been released, or its producer's incarnation has been replaced.
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
        newest = shared_blocks.incarnation_offset(reader) // MARK_BYTES
        if marks[newest] < self._incarnation:
            marks[newest] = self._incarnation
        if stamps[stamped] == stamp:
            if marks[place] == self._incarnation:
                # two holds would share a mark, and the first to end would clear it; an unreleased block needs no mark
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
        """Return the block of which a buffer is the whole; None if there is no such block.

        Thread-safe.

        Args:
            buffer: contiguous memory of a numpy array, or a result of `get`.
        """
        source: Any = buffer.obj
        # an array's base is the memory that it uses; the base of another kind of object may be anything
        while type(source).__name__ == "ndarray" and type(source).__module__ == "numpy":
            source = source.base
        if isinstance(source, memoryview):
            source = source.obj
        if not isinstance(source, _Hold) or source.descriptor.length != buffer.nbytes:
            return None
        parsed = shared_blocks.parse_name(source.descriptor.segment)
        return TakenView(shared_blocks.owner_job(parsed[0]), source.taken_for, buffer, source.descriptor) if parsed else None

    def close(self) -> None:
        """Unmap all segments; one with views on it stays until the last view ends. Idempotent."""
        self._mapped.clear()

    def _map(self, name: str, reader: int) -> _Mapped:
        parsed = shared_blocks.parse_name(name)
        if parsed is None:
            raise RemoteProtocolError(f"a segment's name is PREFIX-JOB.INCARNATION-NUMBER; got {name!r}")
        owner, incarnation = parsed
        if incarnation < self._oldest.get(owner, {}).get(reader, 0):
            raise BlockGone(f"{name} belongs to an earlier incarnation of its producer")
        try:
            mapped = _map(os.path.join(self._folder, name))
        except FileNotFoundError:
            # an incarnation's blocks are taken all or none: a refused one before a taken one would count as lost
            self._forget_before(owner, reader, incarnation + 1)
            raise BlockGone(f"{name} was removed") from None
        except OSError as why:
            raise EngineError(f"the shared memory {name} cannot be mapped: {why}") from None
        self._forget_before(owner, reader, incarnation)
        self._mapped[name] = mapped
        return mapped

    def _forget_before(self, owner: str, reader: int, incarnation: int) -> None:
        oldest = self._oldest.setdefault(owner, {})
        oldest[reader] = incarnation
        for name in list(self._mapped):
            parsed = shared_blocks.parse_name(name)
            # the producer has removed the segments of its incarnation before the previous one: at most two are kept here
            if parsed and parsed[0] == owner and parsed[1] < max(min(oldest.values()), max(oldest.values()) - 1):
                del self._mapped[name]


def _map(path: str) -> _Mapped:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or not status.st_size:
            raise RemoteProtocolError(f"{path} is not a segment of this user")
        memory = mmap.mmap(descriptor, status.st_size)
    finally:
        os.close(descriptor)
    entry_bytes, table_bytes = shared_blocks.unpack_head(memory[: shared_blocks.ALIGNMENT], status.st_size)
    table = memoryview(memory)[:table_bytes]
    return _Mapped(memory, table.cast("Q"), table.cast("I"), entry_bytes)
