"""Sources that stamp blocks only half of the time, to measure what stamps cost. For benchmarks only."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from fission.protocol import stamps
from fission.protocol.stamps import OutputStamps

#: File in the source's folder with the number of stamps so far.
COUNT_FILE = "stamps.txt"


def stamps_at(now: float, slot_s: float) -> bool:
    """Return whether sources stamp blocks at a time: yes, no, no, yes, and so on, so that what has a period of its own falls on both."""
    return int(now / slot_s) % 4 in (0, 3)


def install(slot_s: float, every_s: float) -> None:
    """Install this in a job's process, before its pipes are created.

    Args:
        slot_s: seconds of a slot (`stamps_at`), on the clock that all jobs of a machine share.
        every_s: seconds between two stamps, in place of `stamps.EVERY_S`.
    """
    sent = OutputStamps.sent
    stamps.EVERY_S = every_s
    made = noted = 0

    def sent_sometimes(self: Any, generation: int, first: int, count: int, put_at: float) -> Any:
        nonlocal made, noted
        now = time.time()
        if self._source is None:
            return sent(self, generation, first, count, put_at)
        if stamps_at(now, slot_s):
            found = sent(self, generation, first, count, put_at)
            made += len(found)
            return found
        if made > noted:
            noted = made
            Path(COUNT_FILE).write_text(str(made))
        self.due = put_at + slot_s - now % slot_s  # asked again when the next slot begins
        source, self._source = self._source, None
        try:
            return sent(self, generation, first, count, put_at)
        finally:
            self._source = source

    OutputStamps.sent = sent_sometimes  # type: ignore[method-assign]
