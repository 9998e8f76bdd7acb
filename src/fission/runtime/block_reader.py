"""What `read_wrapper` of a pipe reads from, where an executable is at the other end."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

log = logging.getLogger("fission.runtime")

#: Seconds after which the log says that an executable still owes the rest of a block. Arbitrary.
SAY_WAITING_S = 5.0


class BlockReader:
    """A descriptor, with the number of bytes that are still awaited.

    Attributes:
        ended: whether the stream has ended, as far as was read.
        waits: (bytes that are there, bytes that are wanted, since when by `time.monotonic`) while it waits; else None.
    """

    def __init__(self, descriptor: int, owner: str) -> None:
        self._descriptor = descriptor
        self._owner = owner
        self._data = bytearray()
        self._said = False
        self._pumped: int | None = None  # what is read from since there was a `fileno`
        self.ended = False
        self.waits: tuple[int, int, float] | None = None

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes; fewer only at the end."""
        while size < 0 or len(self._data) < size:
            if not self._fill(size):
                break
        return self._take(len(self._data) if size < 0 else size)

    def readline(self, size: int = -1) -> bytes:
        """Up to and with the next newline; without one only at the end, or when ``size`` bytes (if not negative) are reached."""
        searched = 0
        while (end := self._data.find(b"\n", searched) + 1) == 0 and not 0 <= size <= len(self._data):
            searched = len(self._data)
            if not self._fill(-1):
                break
        end = end or len(self._data)
        return self._take(min(end, size) if size >= 0 else end)

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; return the number of bytes, fewer than its length only at the end."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def peek(self, size: int = 0) -> bytes:
        """Return bytes that follow, at least one unless the stream has ended, without moving on; ``size`` is ignored."""
        if not self._data:
            self._fill(-1)
        return bytes(self._data)

    def fileno(self) -> int:
        """Return a descriptor that has everything not read yet. From then on nothing is read ahead, so that both may be read from."""
        if self._pumped is None:
            self._pumped, target = os.pipe()
            rest, self._data = bytes(self._data), bytearray()
            threading.Thread(target=_pump, args=(rest, os.dup(self._descriptor), target), daemon=True, name=f"{self._owner} pump").start()
        return self._pumped

    def close(self) -> None:
        """Give back what `fileno` has opened. Idempotent."""
        if self._pumped is not None:
            os.close(self._pumped)
            self._pumped, self.ended = None, True

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _fill(self, wanted: int) -> bool:
        self.waits = (len(self._data), wanted, time.monotonic())
        if self._pumped is None:
            chunk = b"" if self.ended else os.read(self._descriptor, 1 << 16)
        else:
            chunk = os.read(self._pumped, max(1, wanted - len(self._data)))
        self.waits, self._said = None, False
        self._data += chunk
        self.ended = not chunk
        return bool(chunk)

    def _take(self, size: int) -> bytes:
        found = bytes(self._data[:size])
        del self._data[:size]
        return found

    def say_waiting(self, now: float) -> None:
        """Log what is awaited if that takes long, once for each wait."""
        waits = self.waits
        if waits is None or self._said or now - waits[2] < SAY_WAITING_S:
            return
        self._said = True
        there, wanted, _ = waits
        rest = f"{there} of {wanted} bytes of a block are there" if wanted > 0 else f"{there} bytes are there, the end of the block is not"
        log.info("waits for %s: %s", self._owner, rest)


def _pump(data: bytes, source: int, target: int) -> None:
    """Copy ``data``, and what comes from ``source`` until its end, to ``target``, and close both."""
    try:
        while data := data or os.read(source, 1 << 16):
            data = data[os.write(target, data) :]
    except OSError as why:  # BrokenPipeError: the reader needs no more
        log.debug("the rest of a pipe is not read: %s", why)
    finally:
        os.close(source)
        os.close(target)
