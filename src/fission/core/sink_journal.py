"""The journal of a sink's file: which compute blocks the file contains, in records of fixed size.

- BLOCK: the file contains this compute block and all earlier ones; with the checksum of its bytes.
- SYNCED: file and journal are on the device up to here.

A damaged record does not hide those after it: they have the same size and their own checksums.
`fission.core.sink_file` decides what is recorded when, and what the records mean for the file.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path

from fission import durable

#: Name of the journal; in the job's own folder, where the next incarnation of the job finds it.
JOURNAL = ".fission-sink"
#: Size in bytes at which the journal is rewritten; arbitrary, 26,000 blocks.
JOURNAL_BYTES = 1 << 20

BLOCK, SYNCED = b"BLK1", b"SYN1"
_RECORD = struct.Struct("<4sIQQI")  # kind, generation, number, end, checksum of the block's bytes
_CHECKSUM = struct.Struct("<I")
RECORD_BYTES = _RECORD.size + _CHECKSUM.size


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a file.

    Attributes:
        generation: generation of the last compute block before it.
        number: number of that block; 0 before the first.
        end: offset of the end of that block in bytes.
    """

    generation: int
    number: int
    end: int

    @property
    def block(self) -> tuple[int, int]:
        """Generation and number, which only grow."""
        return self.generation, self.number


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A record of the journal.

    Attributes:
        kind: `BLOCK` or `SYNCED`.
        position: position after the compute block.
        checksum: CRC-32 of the block's bytes.
    """

    kind: bytes
    position: Position
    checksum: int


@dataclass(frozen=True, slots=True)
class JournalContent:
    """What can be read of a journal.

    Attributes:
        entries: the whole records, in order.
        gaps: indices in `entries` before which records are damaged; the number of entries if the
            end is.
    """

    entries: tuple[JournalEntry, ...] = ()
    gaps: tuple[int, ...] = ()


class Journal:
    """The journal that one process writes. Its methods are thread-safe."""

    def __init__(self, folder: Path, *, to_device: bool) -> None:
        """Prepare; `start` creates the file.

        Args:
            folder: folder whose entries `start` brings to the device: that of the sink's file.
            to_device: whether `start` and `sync` wait for the device.
        """
        self._path = Path(JOURNAL)
        self._folder = folder
        self._to_device = to_device
        self._file = -1
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """Whether it has been started; before that, nothing is recorded."""
        return self._file >= 0

    def start(self, entries: list[JournalEntry]) -> None:
        """Replace the content.

        Raises:
            OSError: it cannot be written; the old content stays.
        """
        with self._lock:
            self._start(entries)

    def add(self, records: bytes) -> None:
        """Append packed records; ignore them before `start`.

        Raises:
            OSError: they cannot be written; nothing of them is left.
        """
        with self._lock:
            self._add(records)

    def mark_synced(self, position: Position, oldest: tuple[int, int]) -> None:
        """Append a SYNCED record, or rewrite a long journal without the records before ``oldest``.

        Args:
            position: position up to which the file is on the device.
            oldest: (generation, number) of the oldest compute block that a reader may return to.

        Raises:
            OSError: as in `add` and `start`.
        """
        synced = JournalEntry(SYNCED, position, 0)
        with self._lock:
            if self._bytes <= JOURNAL_BYTES:
                self._add(packed(synced))
                return
            content = read_journal(self._path)
            trusted = content.entries[max(content.gaps, default=0) :]  # no process can return to a block before a gap
            blocks = [entry for entry in trusted if entry.kind == BLOCK]
            older = [entry for entry in blocks if entry.position.block <= oldest]
            newer = [entry for entry in blocks if entry.position.block > oldest]
            self._start([*older[-1:], *newer, synced])

    def sync(self) -> None:
        """Wait until the records are on the device, unless ``to_device`` is False.

        Raises:
            OSError: the device has failed.
        """
        if self._to_device:
            durable.sync(self._file, self._path)

    def close(self) -> None:
        """Close the file without a sync. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _add(self, records: bytes) -> None:
        if self._file < 0:
            return
        try:
            durable.write_all(self._file, records, self._path)
        except OSError:
            os.ftruncate(self._file, self._bytes)  # it is open for appending
            raise
        self._bytes += len(records)

    def _start(self, entries: list[JournalEntry]) -> None:
        content = b"".join(map(packed, entries))
        if self._to_device:
            durable.write_whole(self._path, content)
            durable.sync_folder(self._folder)
        else:
            fresh_path = self._path.with_suffix(".new")
            fresh_path.write_bytes(content)
            os.replace(fresh_path, self._path)
        fresh = durable.open_file(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._bytes = fresh, len(content)


def packed_block(generation: int, number: int, end: int, checksum: int, kind: bytes = BLOCK) -> bytes:
    """Return a record as bytes, from what `Position` and `JournalEntry` hold."""
    body = _RECORD.pack(kind, generation, number, end, checksum)
    return body + _CHECKSUM.pack(zlib.crc32(body))


def packed(entry: JournalEntry) -> bytes:
    """Return a record as bytes."""
    return packed_block(*entry.position.block, entry.position.end, entry.checksum, entry.kind)


def read_journal(path: Path) -> JournalContent:
    """Return the intact records of a journal; none if there is no file.

    Raises:
        OSError: it cannot be read.
    """
    try:
        content = durable.read_whole(path)
    except FileNotFoundError:
        return JournalContent()
    entries: list[JournalEntry] = []
    gaps: list[int] = []
    for at in range(0, len(content), RECORD_BYTES):
        body, rest = content[at : at + _RECORD.size], content[at + _RECORD.size : at + RECORD_BYTES]
        if len(rest) == _CHECKSUM.size and _CHECKSUM.unpack(rest)[0] == zlib.crc32(body):
            kind, generation, number, end, checksum = _RECORD.unpack(body)
            entries.append(JournalEntry(kind, Position(generation, number, end), checksum))
        elif gaps[-1:] != [len(entries)]:
            gaps.append(len(entries))
    return JournalContent(tuple(entries), tuple(gaps))
