"""Blocks in memory that the processes of a host share: descriptors, segment layout, free memory.

A *segment* is a named piece of memory. It begins with a table of one *entry* per slot, apart from
the data, so that a late write of any process goes into the table:

    entry 0      magic u64 | bytes of an entry u32 | number of entries u32
                 | for each reader its newest incarnation, u32
    entry 1 ...  stamp u64 | for each reader `INCARNATIONS` marks, u32 each

The *stamp* says which buffer the slot holds, 0 for none. A reader's *mark* says that it holds the
slot: it is the reader's incarnation, at the place ``incarnation % INCARNATIONS``, and only the
incarnation that set it clears it. A process that was stopped and replaced and then wakes up
therefore cannot clear its successor's marks. Numbers are in the machine's own byte order: a segment
never leaves its host.

Readers are the jobs that the producer sends its blocks to and, after them, the jobs that a block
may be *handed on* to: a job that returns a buffer unchanged sends the descriptor on instead of a
copy. The producer knows the incarnations of the former; the latter write their newest incarnation
into entry 0. The producer need not be notified of buffers that were handed on: it does not reuse a
slot before the job in between has released it, and that job waits for the release of what it has
handed on.

Names are ``PREFIX-JOB.INCARNATION-NUMBER``; the prefix is ``fission-TOKEN``, with a token that is
unique to the run.
"""

from __future__ import annotations

import functools
import re
import struct
from bisect import bisect
from typing import NamedTuple

from fission.errors import LocalProtocolError, RemoteProtocolError

#: Number of a reader's marks in an entry, one for each of its last incarnations. Arbitrary: one
#: would be enough, except for a process that is stopped between checking its mark and clearing it,
#: and wakes up some incarnations later.
INCARNATIONS = 4
#: Slots begin at, and consist of, multiples of this many bytes. A page of most machines: memory
#: comes in pages, and copies into them are fastest.
ALIGNMENT = 4096
#: Buffer size in bytes that a segment's table is designed for: buffers of this size fill it. As
#: `fission.runtime.codec.OUT_OF_BAND_BYTES`.
SMALLEST_BYTES = 64 << 10
#: Largest incarnation: a mark has 32 bits.
MAX_INCARNATION = 2**32 - 1
#: Sizes of a stamp and of a mark in bytes.
STAMP_BYTES, MARK_BYTES = 8, 4

_CACHE_LINE = 64
_make_tuple = tuple.__new__  # makes a named tuple in half the time
_MAGIC = 0x31_4D48_5353_4946  # "FISSHM1", read as a number
_HEAD = struct.Struct("=QII")
_WIRE = struct.Struct("<BBHIQQQ")
_OWN, _HANDED_ON = 1, 2
_PREFIX = r"fission-[A-Za-z0-9_]{1,100}"
_JOB = r"-\d{1,10}"
_NAME = re.compile(rf"({_PREFIX}{_JOB})\.(\d{{1,10}})-(\d{{1,6}})", re.ASCII)
_SWEPT = re.compile(rf"{_PREFIX}(?:{_JOB}(?:\.\d{{1,10}})?)?", re.ASCII)


class BlockGone(RemoteProtocolError):
    """The memory of a descriptor no longer holds the block.

    The descriptor belongs to a duplicate of a released block, or to a block of an older
    incarnation. The receiver must drop the message with the descriptor. If the producer itself has
    sent it, nothing is lost by that; a block that another job has handed on may be missing.
    """


class Descriptor(NamedTuple):
    """The location of a buffer.

    Attributes:
        segment: name of the segment.
        slot: the slot's entry in the segment's table.
        offset: position of the first byte in the segment.
        length: length in bytes.
        stamp: value of the slot's entry as long as the slot holds this buffer; unique among the
            producer's buffers.
        reader: number of the reader that this descriptor is for, among the producer's readers.
        handed_on: whether the sender is not the producer; a new incarnation of the producer then
            does not cause the block to be sent again.
    """

    segment: str
    slot: int
    offset: int
    length: int
    stamp: int
    reader: int = 0
    handed_on: bool = False

    def pack(self, reader: int | None = None) -> bytes:
        """Return the encoded descriptor, about 60 bytes.

        Args:
            reader: other reader that it is for; None: the descriptor's own.
        """
        segment, slot, offset, length, stamp, own, handed_on = self
        name = segment.encode()
        kind = _HANDED_ON if handed_on else _OWN
        return _WIRE.pack(kind, len(name), own if reader is None else reader, slot, offset, length, stamp) + name

    @staticmethod
    def unpack(data: bytes | bytearray | memoryview) -> Descriptor:
        """Return the descriptor that `pack` encoded.

        Raises:
            RemoteProtocolError: the bytes are not a descriptor.
        """
        if len(data) < _WIRE.size:
            raise RemoteProtocolError(f"a descriptor has at least {_WIRE.size} bytes; got {len(data)}")
        kind, name_length, reader, slot, offset, length, stamp = _WIRE.unpack_from(data)
        if kind not in (_OWN, _HANDED_ON) or len(data) != _WIRE.size + name_length:
            raise RemoteProtocolError(
                f"a descriptor is of kind {_OWN} or {_HANDED_ON} and, with a name of {name_length} bytes, has {_WIRE.size + name_length} "
                f"bytes; got kind {kind}, {len(data)} bytes"
            )
        name = str(data[_WIRE.size :], "ascii", "replace")
        if parse_name(name) is None:
            raise RemoteProtocolError(f"a segment's name is PREFIX-JOB.INCARNATION-NUMBER; got {name!r}")
        if not slot or not length or not stamp or offset % ALIGNMENT:
            raise RemoteProtocolError(f"a descriptor cannot have slot {slot}, offset {offset}, length {length} and stamp {stamp}")
        return _make_tuple(Descriptor, (name, slot, offset, length, stamp, reader, kind == _HANDED_ON))


# -- names ------------------------------------------------------------------------------------------------------------


def owner_name(prefix: str, job: int) -> str:
    """Return the beginning of the names of all segments of a job.

    Raises:
        LocalProtocolError: the prefix or the job's id is invalid.
    """
    name = f"{prefix}-{job}"
    if not re.fullmatch(_PREFIX + _JOB, name, re.ASCII):
        raise LocalProtocolError(f"the prefix of shared memory is fission- and up to 100 letters, digits and _; got {prefix!r}, job {job}")
    return name


def owner_job(owner: str) -> int:
    """Return the job id in such a name."""
    return int(owner.rpartition("-")[2])


def segment_name(owner: str, incarnation: int, number: int) -> str:
    """Return the name of a segment."""
    return f"{owner}.{incarnation}-{number}"


@functools.lru_cache(maxsize=256)  # called for every block
def parse_name(name: str) -> tuple[str, int] | None:
    """Return the owner and the incarnation in a segment's name; None if it is not one."""
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def is_below(name: str, prefix: str) -> bool:
    """Whether a name is that of a segment of a run, a job or an incarnation.

    ``prefix`` is ``fission-TOKEN`` for a run, followed by ``-JOB`` for a job and by
    ``.INCARNATION`` for an incarnation of it.

    Raises:
        LocalProtocolError: the prefix is none of these.
    """
    if not _SWEPT.fullmatch(prefix):
        raise LocalProtocolError(f"names of shared memory begin with fission- and a token; got {prefix!r}")
    return name.startswith(prefix) and name[len(prefix) : len(prefix) + 1] in ("-", ".") and parse_name(name) is not None


# -- layout -----------------------------------------------------------------------------------------------------------


def slot_bytes(length: int) -> int:
    """Return the size of the slot for a buffer.

    There are only eight sizes from one power of two to the next.
    """
    step = max(ALIGNMENT, 1 << max(0, (length - 1).bit_length() - 4))
    return -(-length // step) * step


def entry_bytes(readers: int) -> int:
    """Return the size of a table's entries for a number of readers.

    Entries are whole cache lines, so that no two slots share one.
    """
    return -(-(STAMP_BYTES + INCARNATIONS * MARK_BYTES * readers) // _CACHE_LINE) * _CACHE_LINE


def table_bytes(segment_bytes: int, entry: int) -> int:
    """Return the size of a segment's table in bytes."""
    entries = max(ALIGNMENT // _CACHE_LINE, segment_bytes // SMALLEST_BYTES)
    return -(-entries * entry // ALIGNMENT) * ALIGNMENT


def mark_offset(reader: int, incarnation: int) -> int:
    """Return the offset of a reader's mark in an entry, in bytes."""
    return STAMP_BYTES + MARK_BYTES * (reader * INCARNATIONS + incarnation % INCARNATIONS)


def incarnation_offset(reader: int) -> int:
    """Return the offset of a reader's newest incarnation in entry 0, in bytes."""
    return _HEAD.size + MARK_BYTES * reader


def pack_head(entry: int, table: int) -> bytes:
    """Return the first bytes of a segment."""
    return _HEAD.pack(_MAGIC, entry, table // entry)


def unpack_head(head: bytes | bytearray | memoryview, size: int) -> tuple[int, int]:
    """Return the sizes of an entry and of the table of a segment, from its first bytes.

    Args:
        head: first bytes of the segment.
        size: size of the segment in bytes.

    Raises:
        RemoteProtocolError: a segment does not begin with these bytes.
    """
    if len(head) >= _HEAD.size:
        magic, entry, entries = _HEAD.unpack_from(head)
        if magic == _MAGIC and entry and not entry % _CACHE_LINE and ALIGNMENT <= entry * entries <= size and not size % ALIGNMENT:
            return entry, entry * entries
    raise RemoteProtocolError(f"no segment of {size} bytes begins with {bytes(head[: _HEAD.size])!r}")


# -- free memory ------------------------------------------------------------------------------------------------------


class Extents:
    """The free bytes of a segment, in as few pieces as possible."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []  # (start, size), in order; no two of them touch

    def take(self, need: int) -> int | None:
        """Take ``need`` bytes and return their start; None if there is no such free piece.

        The lowest piece is taken: recently used memory is still in the processor's caches, and only
        few pages are ever touched.
        """
        for index, (start, size) in enumerate(self._free):
            if size >= need:
                self._free[index : index + 1] = [(start + need, size - need)] if size > need else []
                return start
        return None

    def give(self, start: int, size: int) -> None:
        """Free bytes, which must not be free already."""
        free = self._free
        index = bisect(free, (start, 0))
        if index < len(free) and start + size == free[index][0]:
            size += free.pop(index)[1]
        if index and sum(free[index - 1]) == start:
            index -= 1
            start, before = free.pop(index)
            size += before
        free.insert(index, (start, size))

    def free_before(self, end: int) -> int:
        """Return the number of free bytes directly before ``end``."""
        return self._free[-1][1] if self._free and sum(self._free[-1]) == end else 0
