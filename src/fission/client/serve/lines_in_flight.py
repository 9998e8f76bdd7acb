"""How many lines may be on their way to a console before its job has taken them, so that whoever types faster waits."""

from __future__ import annotations

import threading
from collections import deque

#: Lines and bytes that may be under way to one console; arbitrary: more than a person types ahead, little memory.
MAX_LINES = 1000
MAX_BYTES = 1 << 20


class LinesInFlight:
    """The lines under way to one console. Any thread may call anything."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._taken = 0
        self._over = False

    @property
    def over(self) -> bool:
        """Whether nobody takes lines any more."""
        return self._over

    def add(self, size: int, timeout: float | None) -> bool:
        """A line is to go: block until there is room, or nobody takes lines any more; whether it may. ``timeout``: seconds at most."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._over or self._room, timeout) or self._over:
                return False
            self._sizes.append(size)
            self._bytes += size
            return True

    @property
    def _room(self) -> bool:
        return not self._sizes or (len(self._sizes) < MAX_LINES and self._bytes < MAX_BYTES)

    def taken(self, lines: int) -> None:
        """The job's newest life has taken so many lines in all."""
        with self._changed:
            while self._taken < lines and self._sizes:
                self._taken += 1
                self._bytes -= self._sizes.popleft()
            self._changed.notify_all()

    def forget(self) -> None:
        """The job has a new life, which takes what comes from here on."""
        with self._changed:
            self._sizes.clear()
            self._bytes = self._taken = 0
            self._changed.notify_all()

    def end(self) -> None:
        """The job has ended, or the network."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
