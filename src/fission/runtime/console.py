"""Lines that the client sends to a job that waits for them."""

from __future__ import annotations

import queue


class Console:
    """What was typed for one job."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def readline(self) -> str | None:
        """Block until there is a line; None when the console has ended."""
        return self._lines.get()

    def add(self, line: str | None) -> None:
        """Hand over a line; None ends the console."""
        self._lines.put(line)
