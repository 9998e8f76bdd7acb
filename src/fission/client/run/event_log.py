"""The event log of a run: one JSON object a line (`fission.client.run.resume_state` reads it)."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fission import durable
from fission.protocol import supervision

log = logging.getLogger("fission.client")

#: The event log in a run's folder.
EVENTS = "events.jsonl"
#: Seconds until writing is tried again after it has failed; arbitrary.
RETRY_S = 1.0
#: Seconds after a warning in which there is no other one; arbitrary.
QUIET_S = 60.0


class EventLog:
    """Writes one. An entry survives the death of the client when `write` returns, and a power cut when `sync` does.

    What cannot be written waits, and is written as soon as it can be.
    """

    def __init__(self, report: Callable[[str, str], None] = lambda kind, text: None) -> None:
        """Begin to count time; what is written before `open` is not kept.

        Args:
            report: called with ("warning" or "notice", text) when writing fails, and when it succeeds again.
        """
        self.began = time.monotonic()
        self._report = report
        self._appender: durable.Appender | None = None
        self._path = Path()
        self._failing = self._reported = False
        self._quiet_until = 0.0
        self._retry: asyncio.TimerHandle | None = None
        self._after_sync: list[Callable[[], None]] = []

    def open(self, folder: Path) -> None:
        """Continue the log in a run's folder, or begin it; a torn end is removed. Does nothing when it is open.

        Raises:
            DamagedFileError: there is damage between whole lines.
            OSError: it cannot be opened.
        """
        if self._appender is not None:
            return
        self._path = folder / EVENTS
        keep_bytes = durable.sealed_lines(self._path)[1] if self._path.exists() else 0
        self._appender = durable.Appender(self._path, keep_bytes)

    def close(self) -> None:
        """Write what waits, if possible, and then no more."""
        if self._appender is not None:
            self.sync()
            if self._retry is not None:
                self._retry.cancel()
            self._appender.close()
            self._appender = None

    def write(self, what: Any) -> None:
        """Add an entry: a dict with ``what``, or a dataclass; the passing of time is none."""
        if self._appender is not None and not isinstance(what, supervision.Tick):
            told = what if isinstance(what, dict) else {"what": type(what).__name__, **dataclasses.asdict(what)}
            self._appender.add(durable.seal({"s": round(time.monotonic() - self.began, 4), **told}))
            if not self._failing:
                self._flush(to_device=False)

    def sync(self, then: Callable[[], None] | None = None) -> None:
        """Have the disk take all entries; blocks while it does.

        Args:
            then: called when it has them: now, or later if it takes nothing at the moment.
        """
        if then is not None:
            self._after_sync.append(then)
        if self._appender is None or self._flush(to_device=True):
            acts, self._after_sync = self._after_sync, []
            for act in acts:
                act()

    def _flush(self, *, to_device: bool) -> bool:
        if self._appender is None:
            return True
        try:
            self._appender.flush(to_device=to_device)
        except OSError as why:
            self._failed(why)
            return False
        self._failing = False
        if self._reported:
            self._reported = False
            self._report("notice", f"{self._path} can be written again")
        return True

    def _failed(self, why: OSError) -> None:
        self._failing = True
        log.warning("the event log cannot be written: %s", why)
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            self._reported = True
            text = f"{self._path} cannot be written: {why.strerror or why}; the network runs on"
            self._report("warning", f"{text}, but until it can be written, it cannot be resumed: free space on this disk, or mend it")
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self.sync()
