"""Wording of exit statuses: how a process has ended.

An exit status is the exit code of a process or, as in `subprocess`, the negative number of the
signal that killed it.
"""

from __future__ import annotations

import signal

#: Codes that a shell and env report for a program that they cannot start.
_SHELL_HINTS = {126: ", which says that a program cannot be executed", 127: ", which says that a program was not found"}


def how_ended(status: int) -> str:
    """Return a predicate for the process.

    For example, "exited with code 3" or "was killed by signal 9 (SIGKILL)".

    Args:
        status: exit status of the process.
    """
    if status >= 0:
        return f"exited with code {status}"
    try:
        return f"was killed by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"was killed by signal {-status}"


def how_program_failed(status: int) -> str:
    """Return a predicate for a program that failed, with the shell's meaning of its exit status.

    Args:
        status: exit status of the program, other than 0.
    """
    return how_ended(status) if status < 0 else f"{how_ended(status)}{_SHELL_HINTS.get(status, '')} (0 means finished)"
