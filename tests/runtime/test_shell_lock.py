"""A stop (an exception out of a signal handler) may strike anywhere; the lock of a job's pipes is free afterwards."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from fission.errors import Stopped
from tests.one_pipe import Consumer

#: Where the interpreter calls signal handlers: at the start of a function, and after a call of a C function.
SIGNALS = ("call", "c_return")


def _held_after(call: Callable[[Callable[[], Any]], Any], locked: Callable[[], bool]) -> int:
    """Strike at every call and return of a function, one at a time; return the first moment after which the lock is held, or 0."""
    for moment in range(1, 1000):
        events = 0

        def strike(frame: FrameType, event: str, arg: object) -> None:
            nonlocal events
            events += event in SIGNALS
            if event in SIGNALS and events == moment:  # noqa: B023
                raise Stopped

        sys.setprofile(strike)
        try:
            call(lambda: None)
        except Stopped as stop:
            sys.setprofile(None)
            if locked():  # while the traceback is alive, as in a job that is being stopped
                return moment
            del stop
        else:
            return 0
        finally:
            sys.setprofile(None)
    raise AssertionError("the function has no end")


def test_a_stop_at_any_moment_leaves_the_lock_free() -> None:
    shell = Consumer(None).shell
    assert _held_after(shell.do, shell.lock.locked) == 0


def test_a_generator_as_context_manager_is_caught() -> None:
    shell = Consumer(None).shell

    @contextmanager
    def performing() -> Iterator[None]:
        with shell.lock:
            yield
            shell.perform()

    def broken(act: Callable[[], Any]) -> None:
        with performing():
            act()

    assert _held_after(broken, shell.lock.locked), "no strike was found that leaves the lock held"
