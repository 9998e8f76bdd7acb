"""What is said of an executable that cannot be started, or has ended badly."""

from __future__ import annotations

import contextlib
import errno
import signal


def cannot_start(why: OSError) -> str:
    """Return why the system does not start a program, and what to do."""
    hints = {
        errno.ENOENT: "there is no such file in the job's folder or on PATH, or the program named in its first line is missing",
        errno.EACCES: "it is not executable; chmod +x it",
        errno.ENOEXEC: "it is no program for this machine; a script needs a first line like #!/bin/sh",
    }
    return hints.get(why.errno or 0, str(why))


def ending_of(code: int) -> str:
    """Return how a program has ended whose ``code`` (as in `subprocess`) is not 0."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by signal {-code} ({signal.Signals(-code).name})"
        return f"was killed by signal {-code}"
    # what a shell and env say of a program that they cannot start
    hint = {126: ", which says that a program cannot be executed", 127: ", which says that a program was not found"}.get(code, "")
    return f"ended with exit code {code}{hint} (0 means finished)"
