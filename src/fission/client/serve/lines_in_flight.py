"""How many lines may be in flight to a console before its job takes them; a faster sender waits."""

from __future__ import annotations

import threading
from collections import deque

#: Maximum lines and bytes in flight to one console; arbitrary: more than a person types ahead, little memory.
MAX_LINES = 1000
MAX_BYTES = 1 << 20


class LinesInFlight:
    """The lines in flight to one console. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._taken = 0
        self._over = False

    @property
    def over(self) -> bool:
        """Whether lines are no longer taken."""
        return self._over

    def add(self, size: int, timeout: float | None) -> bool:
        """Add a line in flight; block until there is room or lines are no longer taken.

        Args:
            size: size of the line, in bytes or characters.
            timeout: maximum seconds to block; None: no limit.

        Returns:
            Whether the line may be sent.
        """
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
        """Note how many lines in all the job's newest incarnation has taken."""
        with self._changed:
            while self._taken < lines and self._sizes:
                self._taken += 1
                self._bytes -= self._sizes.popleft()
            self._changed.notify_all()

    def forget(self) -> None:
        """Begin anew for a new incarnation of the job, which takes the lines from now on."""
        with self._changed:
            self._sizes.clear()
            self._bytes = self._taken = 0
            self._changed.notify_all()

    def end(self) -> None:
        """Note the end of the job or of the network."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
