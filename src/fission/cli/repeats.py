"""Limits the rate of repeated lines: shows the first one at once, later ones at intervals, with
their number.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds from a line to its next repetition, initially and at most; doubled each time. Arbitrary.
FIRST_S, MOST_S = 1.0, 300.0
#: The part that differs between otherwise identical failovers: their duration, and the number of replayed blocks.
VARIES = re.compile(r"; [\d.]+ s, \d+ blocks? replayed$")


@dataclass(slots=True)
class _Line:
    count: int
    since: float
    shown_at: float
    gap_s: float


class Repeats:
    """Limits the rate of repeated lines."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Args: clock: returns the time in seconds; monotonic."""
        self._clock = clock
        self._lines: dict[str, _Line] = {}

    def take(self, text: str) -> str | None:
        """Return the line to show for a text, with its count if it repeats; None for no line."""
        now, key = self._clock(), VARIES.sub("", text)
        known = self._lines.get(key)
        if known is None or now - known.shown_at > 2 * MOST_S:
            self._lines[key] = _Line(1, now, now, FIRST_S)
            return text
        known.count += 1
        if now < known.shown_at + known.gap_s:
            return None
        known.shown_at, known.gap_s = now, min(2 * known.gap_s, MOST_S)
        return f"{text} ({known.count} times within {now - known.since:.1f} s)"
