"""The rules of the house for all tests, those of the examples too: nothing skipped in CI, nothing left behind."""

from __future__ import annotations

import signal

pytest_plugins = ["tests.hygiene"]


def pytest_configure() -> None:
    # Started in the background of a script, this process ignores Ctrl-C, and so would every command that a test starts and interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
