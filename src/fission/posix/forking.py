"""Forked processes that never return to their parent's code, and that die with their parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_ENDING = (signal.SIGINT, signal.SIGTERM)


def forked(body: Callable[[], object], fork: Callable[[], int] = os.fork) -> int:
    """Fork a process that calls ``body`` and ends; return its process id.

    SIGINT and SIGTERM are blocked there until ``body`` has set its own handlers and calls
    `unblock_ending_signals`: the parent's handlers may raise, which would lead back into the
    parent's code.

    Args:
        body: called in the forked process; its return, SystemExit or exception ends the process.
        fork: function that makes the process.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        process = fork()
        if process == 0:
            _run_and_exit(body)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def unblock_ending_signals() -> None:
    """Receive SIGINT and SIGTERM again.

    Call it in a forked process once its own handlers, which must not raise, are set.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def die_with_parent(parent: int) -> None:
    """Have the system kill this forked process when its parent dies in any way (Linux).

    Args:
        parent: process id of the process that forked this one. If it is already dead, this process
            ends at once.
    """
    _at_parents_death(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def outlive_parent() -> None:
    """Undo `die_with_parent`."""
    _at_parents_death(0)


def _at_parents_death(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def _run_and_exit(body: Callable[[], object]) -> NoReturn:
    code = 1
    try:
        body()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
