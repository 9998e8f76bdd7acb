"""How a process has ended, in words: the one wording of exit statuses.

An exit status is the exit code of a process or, as in `subprocess`, the negative number of the signal that killed it.
"""

from __future__ import annotations

import signal

#: What a shell and env report of a program that they cannot start.
_SHELL_HINTS = {126: ", which says that a program cannot be executed", 127: ", which says that a program was not found"}


def how_ended(status: int) -> str:
    """Return a predicate for the process: "exited with code 3", or "was killed by signal 9 (SIGKILL)".

    Args:
        status: its exit status.
    """
    if status >= 0:
        return f"exited with code {status}"
    try:
        return f"was killed by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"was killed by signal {-status}"


def how_program_failed(status: int) -> str:
    """Return a predicate for a program whose exit status is not 0, with what a shell means by it."""
    return how_ended(status) if status < 0 else f"{how_ended(status)}{_SHELL_HINTS.get(status, '')} (0 means finished)"
