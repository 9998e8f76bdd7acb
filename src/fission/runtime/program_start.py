"""Explanations why an executable cannot be started."""

from __future__ import annotations

import errno


def cannot_start(why: OSError) -> str:
    """Return why the system cannot start a program, and what to do."""
    hints = {
        errno.ENOENT: "there is no such file in the job's folder or on PATH, or the program named in its first line is missing",
        errno.EACCES: "it is not executable; chmod +x it",
        errno.ENOEXEC: "it is not a program for this machine; a script needs a first line like #!/bin/sh",
    }
    return hints.get(why.errno or 0, str(why))
