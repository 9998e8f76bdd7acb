"""The event log of a run: what happened and what was decided, one JSON object a line (`fission.client.history` reads it)."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, TextIO

from fission.protocol import supervision

#: The event log in a run's folder.
EVENTS = "events.jsonl"


class EventLog:
    """Writes one; every entry is in the file when `write` returns, for the client may be killed at any moment."""

    def __init__(self) -> None:
        """Times count from now. What is written before `open` is not kept."""
        self.began = time.monotonic()
        self._file: TextIO | None = None

    def open(self, folder: Path) -> None:
        """Go on with the log in a run's folder, or begin it."""
        self._file = (folder / EVENTS).open("a", encoding="utf-8")

    def close(self) -> None:
        """Write no more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, what: Any) -> None:
        """Add an entry: a dict with ``what``, or a dataclass; the passing of time is none."""
        if self._file is not None and not isinstance(what, supervision.Tick):
            told = what if isinstance(what, dict) else {"what": type(what).__name__, **dataclasses.asdict(what)}
            entry = {"s": round(time.monotonic() - self.began, 4), **told}
            self._file.write(json.dumps(entry, default=str) + "\n")
            self._file.flush()
