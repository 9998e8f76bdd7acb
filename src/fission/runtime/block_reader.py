"""The file object that a pipe's `read_wrapper` reads from, with an executable at the other end."""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from fission.protocol.pacing import COALESCE_BYTES

log = logging.getLogger("fission.runtime")

#: Seconds after which the log reports that the rest of a block is still missing. Arbitrary.
SAY_WAITING_S = 5.0
#: Size in bytes from which a block is read without the reader's own buffer. Arbitrary: what a pipe holds.
LARGE_BYTES = 1 << 16
#: Bytes that are read ahead at once. Arbitrary: what a pipe holds.
READ_BYTES = 1 << 16
#: The same for blocks of one length, which are not copied: as many as fit into a message.
RUN_BYTES = COALESCE_BYTES


class BlockReader:
    """Reads from a descriptor, and shows how many bytes it waits for.

    Attributes:
        ended: whether reading has reached the end of the stream.
        waits: (bytes available, bytes wanted, start of the wait by `time.monotonic`) during a wait;
            otherwise None.
        before_wait: function called before each read from the descriptor, which may block.
    """

    def __init__(self, descriptor: int, owner: str) -> None:
        self._descriptor = descriptor
        self._owner = owner
        self._data = bytearray()
        self._received = 0
        self._said = False
        self._pumped: int | None = None  # descriptor to read from after a call of `fileno`
        self.ended = False
        self.waits: tuple[int, int, float] | None = None
        self.before_wait: Callable[[], None] = lambda: None

    def read(self, size: int | None = -1) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end; all if it is negative or None."""
        size = -1 if size is None else size
        if size >= LARGE_BYTES and self._pumped is None:
            return self._read_large(size)
        while size < 0 or len(self._data) < size:
            if not self._fill(size):
                break
        return self._take(len(self._data) if size < 0 else size)

    def read_blocks(self, size: int, most: int = 0) -> memoryview:
        """Return whole blocks of ``size`` bytes, one after the other: all that are there, at least one.

        It returns none at the end; an incomplete block is left for `read`.

        Args:
            size: length of each block, in bytes.
            most: largest number of blocks; 0: no limit.
        """
        found = self._read_blocks(size)
        if most and len(found) > most * size:
            self._data[:0] = found[most * size :]
            found = found[: most * size]
        return found

    def _read_blocks(self, size: int) -> memoryview:
        if size >= LARGE_BYTES:
            block = self.read(size)
            if len(block) < size:
                self._data[:0] = block
            return memoryview(block)[: len(block) - len(block) % size]
        while len(self._data) < size:
            chunk = self._next(size - len(self._data), RUN_BYTES)
            if not chunk:
                return memoryview(b"")
            if not self._data and len(chunk) >= size:  # the usual case, without a copy
                whole = len(chunk) - len(chunk) % size
                self._data += memoryview(chunk)[whole:]
                return memoryview(chunk)[:whole]
            self._data += chunk
        return memoryview(self._take(len(self._data) - len(self._data) % size))

    @property
    def available(self) -> int:
        """Number of bytes that can be read without waiting, as far as the system tells."""
        if self._pumped is not None:
            return len(self._data)
        try:
            return len(self._data) + int(struct.unpack("i", fcntl.ioctl(self._descriptor, termios.FIONREAD, b"\0\0\0\0"))[0])
        except OSError:
            return len(self._data)

    def read_into(self, view: memoryview, size: int) -> int:
        """Do as `read_blocks`, without a copy: read whole blocks into memory; return their bytes.

        Args:
            view: memory for at least one block.
            size: length of each block, in bytes.
        """
        there = min(len(self._data), len(view))
        view[:there] = self._take(there)
        while there < len(view) and not (there >= size and self.available == 0):
            self.before_wait()
            self.waits = (there % size, size, time.monotonic())
            count = 0 if self.ended else os.readv(self._descriptor, [view[there:]])
            self.waits, self._said = None, False
            there += count
            self._received += count
            if not count:
                self.ended = True
                break
        whole = there - there % size
        self._data[:0] = view[whole:there]
        return whole

    def readline(self, size: int = -1) -> bytes:
        """Return the bytes up to and including the next newline.

        The newline is missing only at the end, or if ``size`` bytes (unless negative) are reached.
        """
        searched = 0
        while (end := self._data.find(b"\n", searched) + 1) == 0 and not 0 <= size <= len(self._data):
            searched = len(self._data)
            if not self._fill(-1):
                break
        end = end or len(self._data)
        return self._take(min(end, size) if size >= 0 else end)

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; return the number of bytes, which is below its length only at the end."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def peek(self, size: int = 0) -> bytes:
        """Return the next bytes without consuming them, at least one unless the stream has ended.

        ``size`` is ignored.
        """
        if not self._data:
            self._fill(-1)
        return bytes(self._data)

    @property
    def consumed(self) -> int:
        """Number of bytes that were read from this object, except by way of `fileno`."""
        return self._received - len(self._data)

    @property
    def shared(self) -> bool:
        """Whether `fileno` was called, so that others read from the descriptor too."""
        return self._pumped is not None

    def fileno(self) -> int:
        """Return a descriptor that provides everything not read yet.

        From now on nothing is read ahead, so that both this object and the descriptor can be read.
        """
        if self._pumped is None:
            self._pumped, target = os.pipe()
            rest, self._data = bytes(self._data), bytearray()
            threading.Thread(target=_pump, args=(rest, os.dup(self._descriptor), target), daemon=True, name=f"{self._owner} pump").start()
        return self._pumped

    def close(self) -> None:
        """Close the descriptor that `fileno` has opened. Idempotent."""
        if self._pumped is not None:
            os.close(self._pumped)
            self._pumped, self.ended = None, True

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if line := self.readline():
            return line
        raise StopIteration

    def _fill(self, wanted: int) -> bool:
        chunk = self._next(wanted - len(self._data), READ_BYTES)
        self._data += chunk
        return bool(chunk)

    def _next(self, missing: int, most: int) -> bytes:
        """Return what the descriptor has, up to ``most`` bytes; empty at the end.

        Args:
            missing: number of bytes that are missing from a block; negative if only its end tells.
            most: largest number of bytes to read ahead.
        """
        self.before_wait()
        self.waits = (len(self._data), len(self._data) + missing if missing >= 0 else -1, time.monotonic())
        if self._pumped is None:
            chunk = b"" if self.ended else os.read(self._descriptor, most)
        else:
            chunk = os.read(self._pumped, max(1, missing))
        self.waits, self._said = None, False
        self.ended = not chunk
        self._received += len(chunk)
        return chunk

    def _read_large(self, size: int) -> bytes:
        """Do as `read`, and copy the bytes only once."""
        buffer = bytearray(size)
        view, there = memoryview(buffer), min(size, len(self._data))
        view[:there] = self._take(there)
        while there < size and not self.ended:
            self.before_wait()
            self.waits = (there, size, time.monotonic())
            count = os.readv(self._descriptor, [view[there:]])
            self.waits, self._said = None, False
            there += count
            self._received += count
            self.ended = not count
        return bytes(view[:there])

    def _take(self, size: int) -> bytes:
        found = bytes(self._data[:size])
        del self._data[:size]
        return found

    def say_waiting(self, now: float) -> None:
        """Log a long wait, once per wait, with the bytes that are missing."""
        waits = self.waits
        if waits is None or self._said or now - waits[2] < SAY_WAITING_S:
            return
        self._said = True
        there, wanted, _ = waits
        rest = f"{there} of {wanted} bytes of a block are there" if wanted > 0 else f"{there} bytes are there, the end of the block is not"
        log.info("waits for %s: %s", self._owner, rest)


def _pump(data: bytes, source: int, target: int) -> None:
    """Copy ``data`` and then everything from ``source`` to ``target``, and close both."""
    try:
        while data := data or os.read(source, 1 << 16):
            data = data[os.write(target, data) :]
    except OSError as why:  # BrokenPipeError: the reader needs no more
        log.debug("the rest of a pipe is not read: %s", why)
    finally:
        os.close(source)
        os.close(target)
