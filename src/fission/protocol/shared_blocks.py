"""Blocks in memory that processes of one host share: what a descriptor is, how a segment is laid out, which memory is free.

A *segment* is a piece of memory with a name. It begins with a table of one *entry* a slot, apart from the data, so that whatever a
process writes too late, it writes into the table:

    entry 0      magic u64 | bytes of an entry u32 | number of entries u32 | for each reader its newest life, u32
    entry 1 ...  stamp u64 | for each reader `LIVES` marks, u32 each

The *stamp* says which buffer the slot holds, 0 for none. A reader's *mark* says that it holds the slot: it is the reader's incarnation,
at the place ``incarnation % LIVES``, and is cleared only by the life that set it. So a process that was stopped, replaced and wakes up
cannot clear its successor's marks. Numbers are in the machine's own byte order: a segment never leaves its host.

Readers are those that the producer sends its blocks to, and behind them those that a block may be *handed on* to: a job that returns
a buffer as it was given it sends the descriptor on instead of a copy. The producer knows the lives of the former; the latter write
their newest life into entry 0. Nobody needs to tell the producer of what was handed on: it uses no slot again before the job in
between has released it, which waits for the release of what it has handed on.

Names are ``PREFIX-JOB.INCARNATION-NUMBER``, the prefix is ``fission-TOKEN`` with a token that only one run has.
"""

from __future__ import annotations

import functools
import re
import struct
from bisect import bisect
from typing import TYPE_CHECKING, NamedTuple

from fission.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from fission.protocol.frames import Buffer

#: Marks that a reader has in an entry, one for each of its last lives. Arbitrary: one could do but for a process that is stopped
#: between the look at its mark and the clearing of it, and wakes up some lives later.
LIVES = 4
#: Slots begin at, and are made of, so many bytes. A page of most machines: memory is had in pages, and copies into them are quickest.
ALIGNMENT = 4096
#: What the table of a segment is laid out for: buffers of this many bytes fill it. From the issue, "64 KB and more".
SMALLEST_BYTES = 64 << 10
#: Largest incarnation: a mark has 32 bits.
MAX_INCARNATION = 2**32 - 1
#: Bytes of a stamp, and of a mark.
STAMP_BYTES, MARK_BYTES = 8, 4

_CACHE_LINE = 64
_make_tuple = tuple.__new__  # a named tuple in half the time
_MAGIC = 0x31_4D48_5353_4946  # "FISSHM1", read as a number
_HEAD = struct.Struct("=QII")
_WIRE = struct.Struct("<BBHIQQQ")
_OWN, _HANDED_ON = 1, 2
_PREFIX = r"fission-[A-Za-z0-9_]{1,100}"
_JOB = r"-\d{1,10}"
_NAME = re.compile(rf"({_PREFIX}{_JOB})\.(\d{{1,10}})-(\d{{1,6}})", re.ASCII)
_SWEPT = re.compile(rf"{_PREFIX}(?:{_JOB}(?:\.\d{{1,10}})?)?", re.ASCII)


class BlockGone(RemoteProtocolError):
    """The memory behind a descriptor holds that block no longer: a duplicate of a released block, or one of an older life.

    The message with the descriptor is to be dropped. Nothing was lost by that if the producer itself has sent it; what another job
    has handed on may be lacking.
    """


class Descriptor(NamedTuple):
    """Where a buffer is.

    Attributes:
        segment: name of the segment.
        slot: its entry in the segment's table.
        offset: of the first byte in the segment.
        length: in bytes.
        stamp: what the slot's entry says as long as the slot holds this buffer; unique among the producer's.
        reader: for which of the producer's readers this descriptor is.
        handed_on: who sends it is not the producer, and nobody will send the block again because the producer has a new life.
    """

    segment: str
    slot: int
    offset: int
    length: int
    stamp: int
    reader: int = 0
    handed_on: bool = False

    def pack(self, reader: int | None = None) -> bytes:
        """Return the descriptor as it travels, about 60 bytes; for another reader if one is given."""
        segment, slot, offset, length, stamp, own, handed_on = self
        name = segment.encode()
        kind = _HANDED_ON if handed_on else _OWN
        return _WIRE.pack(kind, len(name), own if reader is None else reader, slot, offset, length, stamp) + name

    @staticmethod
    def unpack(data: Buffer) -> Descriptor:
        """Return the descriptor that `pack` gave.

        Raises:
            RemoteProtocolError: the bytes are none.
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
    """Return what the names of all segments of a job begin with.

    Raises:
        LocalProtocolError: the prefix or the job's id is none.
    """
    name = f"{prefix}-{job}"
    if not re.fullmatch(_PREFIX + _JOB, name, re.ASCII):
        raise LocalProtocolError(f"the prefix of shared memory is fission- and up to 100 letters, digits and _; got {prefix!r}, job {job}")
    return name


def owner_job(owner: str) -> int:
    """Return the job of such a name."""
    return int(owner.rpartition("-")[2])


def segment_name(owner: str, incarnation: int, number: int) -> str:
    """Return a segment's name."""
    return f"{owner}.{incarnation}-{number}"


@functools.lru_cache(maxsize=256)  # it is asked for with every block
def parse_name(name: str) -> tuple[str, int] | None:
    """Return owner and incarnation of a segment; None if that is no segment's name."""
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def is_below(name: str, prefix: str) -> bool:
    """Whether a name is a segment's of that run (``fission-TOKEN``), job (``-JOB`` behind it) or life (``.INCARNATION`` behind it).

    Raises:
        LocalProtocolError: the prefix is none of them.
    """
    if not _SWEPT.fullmatch(prefix):
        raise LocalProtocolError(f"names of shared memory begin with fission- and a token; got {prefix!r}")
    return name.startswith(prefix) and name[len(prefix) : len(prefix) + 1] in ("-", ".") and parse_name(name) is not None


# -- layout -----------------------------------------------------------------------------------------------------------


def slot_bytes(length: int) -> int:
    """Return the size of the slot for a buffer. There are only eight sizes from one power of two to the next."""
    step = max(ALIGNMENT, 1 << max(0, (length - 1).bit_length() - 4))
    return -(-length // step) * step


def entry_bytes(readers: int) -> int:
    """Return the size of a table's entries for so many readers: whole cache lines, so that no two slots share one."""
    return -(-(STAMP_BYTES + LIVES * MARK_BYTES * readers) // _CACHE_LINE) * _CACHE_LINE


def table_bytes(segment_bytes: int, entry: int) -> int:
    """Return the size of the table of a segment."""
    entries = max(ALIGNMENT // _CACHE_LINE, segment_bytes // SMALLEST_BYTES)
    return -(-entries * entry // ALIGNMENT) * ALIGNMENT


def mark_offset(reader: int, incarnation: int) -> int:
    """Return where in an entry a reader's mark is, in bytes."""
    return STAMP_BYTES + MARK_BYTES * (reader * LIVES + incarnation % LIVES)


def incarnation_offset(reader: int) -> int:
    """Return where in entry 0 the newest life of a reader is, in bytes."""
    return _HEAD.size + MARK_BYTES * reader


def pack_head(entry: int, table: int) -> bytes:
    """Return a segment's first bytes."""
    return _HEAD.pack(_MAGIC, entry, table // entry)


def unpack_head(head: Buffer, size: int) -> tuple[int, int]:
    """Return the sizes of an entry and of the table of a segment of ``size`` bytes that begins like this.

    Raises:
        RemoteProtocolError: no segment begins like this.
    """
    if len(head) >= _HEAD.size:
        magic, entry, entries = _HEAD.unpack_from(head)
        if magic == _MAGIC and entry and not entry % _CACHE_LINE and ALIGNMENT <= entry * entries <= size and not size % ALIGNMENT:
            return entry, entry * entries
    raise RemoteProtocolError(f"no segment of {size} bytes begins with {bytes(head[: _HEAD.size])!r}")


# -- free memory ------------------------------------------------------------------------------------------------------


class Extents:
    """The free bytes of a segment, in as few pieces as there can be."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []  # (start, size), ordered, no two of them touch

    def take(self, need: int) -> int | None:
        """Return the start of ``need`` free bytes, now taken; None if there are none.

        The lowest: what was used last is still in the processor's caches, and few pages are ever touched.
        """
        for index, (start, size) in enumerate(self._free):
            if size >= need:
                self._free[index : index + 1] = [(start + need, size - need)] if size > need else []
                return start
        return None

    def give(self, start: int, size: int) -> None:
        """Make bytes free. They must not be."""
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
        """Return how many bytes right before ``end`` are free."""
        return self._free[-1][1] if self._free and sum(self._free[-1]) == end else 0
