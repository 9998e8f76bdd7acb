"""The files of large buffers in shared memory: created, reserved, and removed.

A *segment* is a file in /dev/shm, laid out as `fission.protocol.shared_blocks` describes. The
`fission.adapters.shared_memory.arena.Arena` of its producer writes it,
`fission.adapters.shared_memory.views` reads it.

**Who removes files.** Only `Arena.close`, `sweep`, and the job's incarnation after the next: what a
killed producer has sent can still be taken. `multiprocessing.shared_memory` is not used: its
resource tracker would remove segments that other processes still use, and it neither reserves
memory (a full /dev/shm then causes SIGBUS) nor reuses it (a new page costs more than the copy).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import zlib

from fission.protocol import shared_blocks
from fission.protocol.shared_blocks import Extents

#: Folder of the segments, memory on every Linux. Other systems have no such folder; there all buffers use sockets.
FOLDER = "/dev/shm"


class Segment:
    """One file of an arena, and what of its address space is free.

    Memory is reserved before it is written: a full /dev/shm is then an error instead of a SIGBUS.
    """

    def __init__(self, path: str, size: int, entry_bytes: int, table_bytes: int) -> None:
        """Create the file.

        Raises:
            OSError: it cannot be created; nothing is left of it.
        """
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
        """Return the start of ``need`` free bytes; None if there is no room or no free entry."""
        return self._free.take(need) if self.entries else None

    def give(self, start: int, size: int) -> None:
        """Free the memory of a slot."""
        self._free.give(start, size)

    def lacking(self, need: int) -> int | None:
        """Return the number of bytes to reserve so that ``need`` contiguous bytes are free.

        None if the segment has no room for them.
        """
        lacking = need - self._free.free_before(self.committed)
        return lacking if self.entries and self.committed + lacking <= self._size else None

    def commit(self, size: int) -> None:
        """Reserve memory.

        Raises:
            OSError: the system refuses it.
        """
        os.posix_fallocate(self._descriptor, self.committed, size)
        self._free.give(self.committed, size)
        self.committed += size

    def close(self) -> None:
        """Remove the file; its memory is freed when no process maps it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        os.close(self._descriptor)
        self.stamps.release()
        with contextlib.suppress(BufferError):  # a `view` still exists: the mapping ends with it
            self.memory.close()


def run_prefix() -> str:
    """Return a prefix for the names of a new run.

    All runs with the same temporary directory share its first part (`mark`).
    """
    return f"{mark()}{os.urandom(4).hex()}"


def mark() -> str:
    """Return the prefix shared by the names of all runs of this temporary directory.

    A user with a private temporary directory can thus tell these runs from all others.
    """
    return f"fission-{zlib.crc32(os.fsencode(tempfile.gettempdir())) & 0xFFFF:04x}"


def sweep(prefix: str, *, folder: str = FOLDER) -> int:
    """Remove the segments of a run, job or incarnation; return how many there were.

    Processes that have them mapped keep the memory.

    Args:
        prefix: prefix of a run (``fission-TOKEN``), optionally followed by ``-JOB`` and
            ``.INCARNATION``.
        folder: folder of the arenas.

    Raises:
        LocalProtocolError: the prefix is invalid.
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


def sweep_older(owner: str, oldest: int, folder: str = FOLDER) -> None:
    """Remove the segments of a job's incarnations before ``oldest``.

    Args:
        owner: name of the job, from `fission.protocol.shared_blocks.owner_name`.
        oldest: incarnation whose blocks may still be in transit to their readers.
        folder: folder of the arenas.
    """
    for name in os.listdir(folder):
        parsed = shared_blocks.parse_name(name)
        if parsed and parsed[0] == owner and parsed[1] < oldest:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, name))
