"""The event log of a run: one JSON object per line; `resume_state` reads it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fission import durable
from fission.client.folders.run_folders import EVENTS
from fission.protocol import supervision

log = logging.getLogger("fission.client")

#: Seconds until a failed write is tried again; arbitrary.
RETRY_S = 1.0
#: Seconds without another warning after a warning; arbitrary.
QUIET_S = 60.0


class EventLog:
    """Writes the event log of a run.

    An entry survives the death of the client once `write` returns, and a power cut once `sync`
    returns. What cannot be written waits, and is written as soon as possible.
    """

    def __init__(
        self,
        report: Callable[[str, str], None] = lambda kind, text: None,
        clock: Callable[[], float] = time.monotonic,
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        """Begin to count time; entries written before `open` are dropped.

        Args:
            report: called with ("warning" or "notice", text) when writing fails, and when it
                succeeds again.
            clock: returns the time in seconds.
            retry_s: seconds until a failed write is tried again.
        """
        self._clock, self._retry_s = clock, retry_s
        self.began = clock()
        self._report = report
        self._appender: durable.Appender | None = None
        self._path = Path()
        self._failing = self._reported = False
        self._quiet_until = 0.0
        self._retry: asyncio.TimerHandle | None = None
        self._after_sync: list[Callable[[], None]] = []

    def open(self, folder: Path) -> None:
        """Continue the log in a run's folder, or begin it; a torn end is removed. Idempotent.

        Raises:
            DamagedFileError: there is damage between whole lines.
            OSError: the log cannot be opened.
        """
        if self._appender is not None:
            return
        self._path = folder / EVENTS
        keep_bytes = durable.sealed_lines(self._path)[1] if self._path.exists() else 0
        self._appender = durable.Appender(self._path, keep_bytes)

    def close(self) -> None:
        """Write what waits, if possible, and close the log."""
        if self._appender is not None:
            self.sync()
            if self._retry is not None:
                self._retry.cancel()
            self._appender.close()
            self._appender = None

    def write(self, what: Any) -> None:
        """Add an entry: a dict with ``what``, or a dataclass. Ticks are not logged."""
        if self._appender is not None and not isinstance(what, supervision.Tick):
            entry = what if isinstance(what, dict) else {"what": type(what).__name__, **dataclasses.asdict(what)}
            self._appender.add(durable.seal({"s": round(self._clock() - self.began, 4), **entry}))
            if not self._failing:
                self._flush(to_device=False)

    def sync(self, then: Callable[[], None] | None = None) -> None:
        """Sync all entries to the disk; blocks while it does.

        Args:
            then: called once the entries are on the disk: now, or later if the disk cannot be
                written at present.
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
        now = self._clock()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            self._reported = True
            text = f"{self._path} cannot be written: {why.strerror or why}; the network continues, but could not be resumed"
            self._report("warning", f"{text}; free space on this disk, or repair it")
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(self._retry_s, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self.sync()
