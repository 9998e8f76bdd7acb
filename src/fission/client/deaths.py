"""What an exit code says of a process that said nothing itself."""

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
