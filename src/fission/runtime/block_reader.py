"""What `read_wrapper` of a pipe reads from, where an executable is at the other end."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from typing import Any

log = logging.getLogger("fission.runtime")

#: Seconds after which the log says that an executable still owes the rest of a block. Arbitrary.
SAY_WAITING_S = 5.0


class BlockReader:
    """A descriptor, with the number of bytes that are still awaited.

    Attributes:
        waits: (bytes that are there, bytes that are wanted, since when by `time.monotonic`) while it waits; else None.
    """

    def __init__(self, descriptor: int, owner: str) -> None:
        self._descriptor = descriptor
        self._owner = owner
        self._data = bytearray()
        self._said = False
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

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _fill(self, wanted: int) -> bool:
        self.waits = (len(self._data), wanted, time.monotonic())
        chunk = os.read(self._descriptor, 1 << 16)
        self.waits, self._said = None, False
        self._data += chunk
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
