"""The state of a process as a job finds it; `daemons.Cluster` copies this file into its folder, for its workers."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from typing import Any

from fission.pipelines.process_state import LIMITS, TIMERS


def describe() -> dict[str, Any]:
    """Return what a job of this process finds."""
    return {
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "handlers": {int(number): str(signal.getsignal(number)) for number in signal.valid_signals()},
        "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
        "timers": [signal.getitimer(timer)[0] > 0 for timer in TIMERS],
        "limits": [resource.getrlimit(limit)[0] for limit in LIMITS],
        "path": list(sys.path),
        "arguments": list(sys.argv),
        "recursion": sys.getrecursionlimit(),
        "timeout": socket.getdefaulttimeout(),
    }
