"""The kernel's view of a process of this machine."""

from __future__ import annotations

import os

#: Reasons why a process in a state makes no progress, by psutil's names of the states.
STOPPED = {"stopped": "stopped by a signal", "tracing-stop": "stopped by a debugger"}
STANDING = {**STOPPED, "disk-sleep": "in uninterruptible sleep, waiting for a disk or a device"}
#: Linux's letters for these states (proc(5)).
_LETTERS = {"T": "stopped", "t": "tracing-stop", "D": "disk-sleep", "Z": "zombie"}


def process_state(process: int) -> str:
    """Return the state of a process.

    It is a key of `STANDING`, "zombie", or "running" for everything else; empty if no process has
    this id.
    """
    if os.path.exists("/proc/self/stat"):
        try:
            with open(f"/proc/{process}/stat", "rb") as file:
                # pid (name) state ...; the name may contain any character
                return _LETTERS.get(file.read().rpartition(b")")[2].split()[0].decode(), "running")
        except OSError:
            return ""
    import psutil

    try:
        state = str(psutil.Process(process).status())
    except psutil.Error:
        return ""
    return state if state in (*STANDING, "zombie") else "running"
