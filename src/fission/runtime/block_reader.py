"""What `read_wrapper` of a pipe reads from, where an executable is at the other end."""

from __future__ import annotations

import logging
import os
import time

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
        """Up to and with the next newline; without one only at the end."""
        while b"\n" not in self._data:
            if not self._fill(-1):
                break
        end = self._data.find(b"\n") + 1
        return self._take(end or len(self._data))

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
