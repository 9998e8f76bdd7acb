"""Lines that the client sends to a job that waits for them."""

from __future__ import annotations

import queue
from collections.abc import Callable

#: Largest number of lines taken without notifying the client. Arbitrary: a fraction of the lines that it allows in transit.
REPORT_LINES = 100


class Console:
    """The lines typed for one job.

    Attributes:
        waiting: whether the job waits for a line.
    """

    def __init__(self, report: Callable[[int], None]) -> None:
        """Begin without lines.

        Args:
            report: function called with the total number of lines taken, so that more can be sent.
        """
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._report = report
        self._taken = self._reported = 0
        self.waiting = False
        self._pieces: list[str] | None = None  # pieces of a long line; None if no line has begun

    def readline(self) -> str | None:
        """Block until there is a line; None when the console has ended."""
        if self._taken - self._reported >= REPORT_LINES or (self._taken > self._reported and self._lines.empty()):
            self._reported = self._taken
            self._report(self._taken)
        self.waiting = True
        line = self._lines.get()
        self.waiting = False
        self._taken += 1
        return line

    def add(self, line: str | None) -> None:
        """Hand over a line; None ends the console."""
        self._lines.put(line)

    def add_piece(self, piece: str, *, first: bool, last: bool) -> None:
        """Hand over a piece of a long line.

        A line whose first pieces went to an earlier incarnation is dropped.
        """
        if first:
            self._pieces = []
        if self._pieces is None:
            return
        self._pieces.append(piece)
        if last:
            self.add("".join(self._pieces))
            self._pieces = None
