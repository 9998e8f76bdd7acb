"""SIGINT and SIGTERM for a process whose clean-up outlasts its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from fission.posix.signals import ENDING, SignalWatcher

#: Seconds after which a signal that the loop has not processed means that the loop is stuck. With
#: the kill of the jobs it stays below the 2 s that Ctrl-C may take.
STUCK_S = 1.0


class LoopSignals:
    """Handles the two signals inside a with-block of the main thread, then restores the handlers.

    Signals that come before `deliver` wait for it. Signals after `forget` are dropped: the
    remaining work is short and must be done. At no moment do the signals have their default effect,
    which would leave processes and files behind. (The handlers of asyncio exist only as long as the
    loop, so they are not used.)

    A loop that is stuck for `STUCK_S`, for example in a write to a pipe that is not read, gets a
    KeyboardInterrupt at its current position.
    """

    def __init__(self) -> None:
        self._pending: deque[int] = deque()
        self._since = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._act: Callable[[int], None] | None = None
        self._forgotten = False
        self._stuck = False
        self._before: dict[int, Any] = {}
        self._main = threading.get_ident()
        # Python runs handlers between its instructions; a loop that is about to wait executes none
        # and must be woken
        self._watcher = SignalWatcher(
            "fission-signals", woken=lambda numbers: self._wake_loop(), timeout=self._until_stuck, timed_out=self._interrupt_if_stuck
        )

    def __enter__(self) -> LoopSignals:
        self._watcher.start()
        self._before = {number: signal.signal(number, self._on_signal) for number in ENDING}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._forgotten = True
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._watcher.stop()

    def deliver(self, loop: asyncio.AbstractEventLoop, act: Callable[[int], None]) -> None:
        """Call ``act`` in the loop with the number of each signal.

        Signals that have already come are included.
        """
        self._loop, self._act = loop, act
        loop.call_soon(self._take)

    def hold(self) -> None:
        """Let signals wait for the next `deliver`, perhaps in another loop."""
        self._act = None

    def forget(self) -> None:
        """Drop the waiting signals and all later ones."""
        self._forgotten = True
        self._pending.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._forgotten:
            return
        if self._stuck:
            self.forget()
            raise KeyboardInterrupt
        if not self._pending:
            self._since = time.monotonic()
        self._pending.append(number)
        self._watcher.wake()  # it may have checked for pending signals too early
        self._wake_loop()

    def _wake_loop(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        while self._pending and self._act is not None:
            self._act(self._pending.popleft())

    def _until_stuck(self) -> float | None:
        return max(0.0, self._since + STUCK_S - time.monotonic()) if self._pending and not self._stuck else None

    def _interrupt_if_stuck(self) -> None:
        if self._pending and time.monotonic() - self._since >= STUCK_S:
            self._stuck = True
            signal.pthread_kill(self._main, signal.SIGINT)
