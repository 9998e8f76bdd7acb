"""What is told of the end of a process and of a network, in words."""

from __future__ import annotations

import contextlib
import signal


def death(code: int) -> str:
    """Return it as a sentence; ``code`` is negative for the signal that killed it."""
    if code >= 0:
        return f"its process ended with exit code {code} and without a word; a job ends by finish(), not by exit()"
    with contextlib.suppress(ValueError):
        return f"its process was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"its process was killed by signal {-code}"


def failed_job(reason: str) -> str:
    """The job whose failure is the reason for a network's end."""
    return reason.removesuffix(" failed").removeprefix("no place for ")
