"""A clock that only sleeping advances: replaces `time.sleep`, `monotonic` and `time`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol


class Sleeper(Protocol):
    """The job whose turn it is. ``now`` is its clock, in seconds."""

    now: float


class ManualClock(contextlib.AbstractContextManager[None]):
    """Inside the with-block, this thread sees the clock of the current sleeper.

    Only sleeping advances that clock. Other threads see the real time.
    """

    def __init__(self, current: Callable[[], Sleeper]) -> None:
        """Prepare; entering the with-block replaces the functions.

        Args:
            current: returns the sleeper whose turn it is.
        """
        self._current = current
        self._thread = threading.get_ident()
        self._real: dict[str, Any] = {}
        self._began = time.time()

    def __enter__(self) -> None:
        self._real = {name: getattr(time, name) for name in ("sleep", "monotonic", "time")}
        for name in self._real:
            setattr(time, name, getattr(self, f"_{name}"))

    def __exit__(self, *_: object) -> None:
        for name, function in self._real.items():
            setattr(time, name, function)

    def _sleep(self, seconds: float) -> None:
        if threading.get_ident() != self._thread:
            self._real["sleep"](seconds)
            return
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self._current().now += seconds

    def _monotonic(self) -> float:
        return self._current().now if threading.get_ident() == self._thread else float(self._real["monotonic"]())

    def _time(self) -> float:
        return self._began + self._current().now if threading.get_ident() == self._thread else float(self._real["time"]())
