"""A file that a sink writes, and the journal of the compute blocks that the file contains.

A file continues exactly if, whenever a process dies, the next one knows the last compute block that
is whole in the file, and where it ends. So after each block the journal, a small file in the job's
folder, gets a record:

- BLOCK: the file contains this compute block and all earlier ones; with the checksum of its bytes.
- SYNCED: file and journal are on the device up to here. The producers of the blocks rely on it: a
  block is released (acknowledged) when such a record covers it, and not earlier.

The next process starts after the last SYNCED record and those later BLOCK records whose bytes are
in the file. It cuts off the rest of the file, which arrives again. If the file is shorter than the
last SYNCED record says, acknowledged data is lost, and that is an error.

A damaged record before the last SYNCED one costs nothing. Where the last one itself may be damaged,
the file is cut only in `begin`: the caller knows what was acknowledged, and can refuse before that.

Generation and number identify a compute block. Numbers that were left out have no bytes, but a
record: the next block is then known even if its process dies before it has written one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from time import sleep

from fission import durable
from fission.core.sink_journal import (
    BLOCK,
    JOURNAL,
    SYNCED,
    Journal,
    JournalContent,
    JournalEntry,
    Position,
    packed,
    packed_block,
    read_journal,
)
from fission.durable.files import about_to
from fission.errors import SinkFileError

#: A number beyond all blocks, from which one can still count.
BEYOND = 1 << 48
#: Seconds between two attempts to write to a full disk; arbitrary, too short for a person to notice.
FULL_DISK_S = 0.5

_PIECE_BYTES = 1 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class SinkFile:
    """One file, written by one process at a time.

    The job's main thread calls `append` and `record`, any one thread calls `sync`.

    Attributes:
        path: path of the file.
        position: position after the last whole compute block.
        synced: position up to which producers may rely on the file.
        keep_from: (generation, number) of the oldest compute block to which `begin` may have to
            return; earlier ones need no record.
        to_device: whether `sync` waits for the device.
        surplus: whether there is something behind the last block, which `begin` cuts off.
        damaged: whether the journal was damaged; then it may lack blocks that were acknowledged.
        on_full_disk: called once with a text when the disk is full; the job and its producers wait.
    """

    def __init__(self, path: Path, *, to_device: bool = True) -> None:
        """Open or create the file, and cut off everything after the last whole compute block.

        Args:
            path: path of the file; its folder exists.
            to_device: whether `sync` waits for the device; False leaves the time to the kernel.

        Raises:
            SinkFileError: the file has less than was acknowledged, or the journal does not say where
                its blocks begin.
            OSError: the file cannot be read or written.
        """
        self.path = path
        self.on_full_disk: Callable[[str], None] = lambda text: None
        self.keep_from: tuple[int, int] | None = None
        self.to_device = to_device
        self._journal = Journal(path.parent, to_device=to_device)
        self._sync_lock = threading.Lock()
        self._pending: list[bytes] = []  # records that `flush` writes
        self._recorded = (0, 0, 0)  # position after the last of them
        self._checksum = 0
        self.new = not path.exists()
        self._file = durable.open_file(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            self._content = read_journal(Path(JOURNAL))
            self.known = bool(self._content.entries)  # an earlier incarnation has written this file
            size = os.fstat(self._file).st_size
            self.synced = self.position = self._recovered(size)
            self._written = self.position.end
            self.surplus = self._written < size  # there is something to be cut off
            self.damaged = bool(self._content.gaps)
            if self.surplus and not self.damaged:
                self._cut(self._written)
            os.lseek(self._file, self._written, os.SEEK_SET)
        except BaseException:
            os.close(self._file)
            raise

    def _recovered(self, size: int) -> Position:
        """Return the position after the last block that is certainly in a file of this size."""
        entries, gaps = self._content.entries, self._content.gaps
        last = next((index for index in reversed(range(len(entries))) if entries[index].kind == SYNCED), None)
        if last is None:
            if entries or (gaps and self.to_device):
                raise SinkFileError(
                    f"{self.path}: its journal {os.path.abspath(JOURNAL)} is damaged, so it is unknown which blocks the file has; put the "
                    "job's folder back, or start a new run"
                )
            return Position(0, 0, size)  # not written by this run
        found = entries[last].position
        if size < found.end:
            raise SinkFileError(
                f"{self.path} must have at least {found.end} bytes, which were acknowledged up to compute block {found.number}, but has "
                f"{size}, so blocks are lost; put the whole file back, or start a new run"
            )
        whole = next((gap for gap in gaps if gap > last), len(entries))
        for entry in entries[last:whole]:
            if entry.kind == BLOCK and entry.position.block > found.block:
                if entry.position.end > size or self._checksum_of(found.end, entry.position.end) != entry.checksum:
                    break
                found = entry.position
        return found

    def _checksum_of(self, start: int, end: int) -> int:
        checksum = 0
        while start < end:
            piece = os.pread(self._file, min(_PIECE_BYTES, end - start), start)
            if not piece:
                return -1
            checksum = zlib.crc32(piece, checksum)
            start += len(piece)
        return checksum

    def adopt(self, size: int) -> None:
        """Keep this number of bytes of a file that no incarnation of this job has written, and
        continue after them.
        """
        if size < self._written:
            self._cut(size)
        self.synced = self.position = Position(0, 0, size)

    @property
    def size(self) -> int:
        """Size of the file in bytes, including data appended since the last whole block."""
        return self._written

    def read(self, size: int, offset: int) -> bytes:
        """Return at most this number of bytes from an offset."""
        return os.pread(self._file, size, offset)

    def first_number(self, generation: int) -> int:
        """Return the next compute block of this generation; `BEYOND` if the file has blocks of a
        newer one.
        """
        if generation != self.position.generation:
            return BEYOND if generation < self.position.generation else 1
        return self.position.number + 1

    def begin(self, generation: int, first: int) -> None:
        """Make this compute block the next one: go back to it if the file is ahead, or record that
        earlier ones were left out.

        Raises:
            SinkFileError: the file is ahead, and the journal no longer knows where the block began.
        """
        wanted = (generation, first - 1)
        if self.position.block > wanted:
            self._cut(self._end_of(wanted))
        elif self.surplus:
            self._cut(self._written)
        self.flush()
        position = Position(generation, first - 1, self._written)
        if not self._journal.open or self.position.block > wanted:
            if self.to_device:
                durable.sync(self._file, self.path)
            self._journal.start([JournalEntry(SYNCED, position, 0)])
            self.synced = position
        elif self.position != position:
            self._add(packed(JournalEntry(BLOCK, position, 0)))
        self._content = JournalContent()
        self.position = position
        self._checksum = 0

    def _end_of(self, wanted: tuple[int, int]) -> int:
        """Return the offset of the end of the last block up to this generation and number."""
        count = sum(entry.position.block <= wanted for entry in self._content.entries)  # they are in order
        before = self._content.entries[count - 1].position if count else None
        if before is None or (before.block != wanted and count in self._content.gaps):
            why = "does not go back that far" if before is None else "is damaged there"
            raise SinkFileError(f"{self.path} cannot return to compute block {wanted[1] + 1}: its journal {why}")
        return before.end

    def append(self, data: bytes | memoryview) -> None:
        """Append data. It counts when `record` is called; if the process dies before, it is cut
        off.
        """
        if type(data) is not bytes:
            data = memoryview(data).cast("B")
        try:
            self._append(data)
        except OSError as why:
            self._wait_for_room(why, lambda: self._append(data))

    def _append(self, data: bytes | memoryview) -> None:
        try:
            durable.write_all(self._file, data, self.path)
        except OSError:
            self._cut(self._written)
            raise
        self._written += len(data)
        self._checksum = zlib.crc32(data, self._checksum)

    def append_start(self, data: bytes) -> None:
        """Append a header, which may be overwritten later, before the first compute block."""
        self.flush()
        self.append(data)
        self._checksum = 0
        self.position = Position(*self.position.block, self._written)
        if not self._journal.open:
            self.synced = self.position
        else:
            self.sync()

    def overwrite(self, data: bytes, offset: int = 0) -> None:
        """Overwrite bytes that belong to no compute block: a header."""
        about_to("write", self.path)
        os.pwrite(self._file, data, offset)

    def record(self, generation: int, number: int) -> None:
        """Record that this compute block is complete. The record counts from the next `flush`."""
        self._pending.append(packed_block(generation, number, self._written, self._checksum))
        self._recorded = (generation, number, self._written)
        self._checksum = 0

    def flush(self) -> None:
        """Write the pending records, many at once."""
        if self._pending:
            records = b"".join(self._pending)
            self._pending.clear()
            self._add(records)
            self.position = Position(*self._recorded)

    @property
    def dirty(self) -> bool:
        """Whether there are recorded blocks that are not synced."""
        return self.position != self.synced

    def sync(self) -> None:
        """Wait until everything recorded is on the device, and may be acknowledged.

        Raises:
            OSError: the device has failed. Unsynced data is cut off: the kernel may have dropped
                it.
        """
        with self._sync_lock:
            if self.dirty and self._journal.open:
                self._sync(self.position)

    def _sync(self, position: Position) -> None:
        try:
            if self.to_device:
                durable.sync(self._file, self.path)
            self._journal.mark_synced(position, min(self.keep_from or position.block, position.block))
            self._journal.sync()
        except OSError:
            with contextlib.suppress(OSError):
                self._cut(self.synced.end)
            raise
        self.synced = position

    def sync_all(self) -> None:
        """Wait until appended but unrecorded data is on the device too: the last block of a job
        that finishes.
        """
        self.flush()
        self.sync()
        if self.to_device and self._file >= 0:
            durable.sync(self._file, self.path)

    def close(self) -> None:
        """Close file and journal without a sync. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
        self._journal.close()

    def _cut(self, size: int) -> None:
        about_to("truncate", self.path)
        os.ftruncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)
        self._written = size
        self.surplus = False

    def _add(self, records: bytes) -> None:
        try:
            self._journal.add(records)
        except OSError as why:
            self._wait_for_room(why, lambda: self._journal.add(records))

    def _wait_for_room(self, why: OSError, work: Callable[[], None]) -> None:
        """Repeat the work until the disk has space again; raise any other error."""
        warned = False
        while True:
            if why.errno not in _NO_ROOM:
                raise why
            if not warned:
                warned = True
                self.on_full_disk(f"the disk of {os.path.abspath(self.path)} is full: the job waits, and nothing is lost; free some space")
            sleep(FULL_DISK_S)
            try:
                work()
            except OSError as again:
                why = again
            else:
                return
