"""Processes that have come down from one, found through /proc: its children, their children, and what has left both behind.

A process that makes itself a daemon leaves its process group, its session and its parents. It keeps its environment, so every job's
process sets `MARK` there; what it starts inherits it. Where there is no /proc, nothing is found.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable

#: Name of the environment variable that says which job's process has started a process.
MARK = "FISSION_PROCESS"
_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
#: Rounds after which killing ends; arbitrary: each one meets what was started while the one before it killed.
MOST_ROUNDS = 10


def adopt_orphans() -> None:
    """Make this process the parent of whatever its descendants leave behind, where the system has a way for that."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of(parent: int) -> list[int]:
    """Processes whose parent is this one, those that have ended and were not waited for among them."""
    return [process for process, above in _parents().items() if above == parent]


def descendants_of(ancestor: int) -> list[int]:
    """Children, their children, and so on, each after its parent."""
    below: dict[int, list[int]] = {}
    for process, above in _parents().items():
        below.setdefault(above, []).append(process)
    found, position = list(below.get(ancestor, ())), 0
    while position < len(found):
        found += below.get(found[position], ())
        position += 1
    return found


def mark_of(process: int) -> str:
    """What `MARK` was in the environment of a process when its program began; empty if it was not there or cannot be read."""
    with contextlib.suppress(OSError), open(f"/proc/{process}/environ", "rb") as file:
        for entry in file.read().split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name == MARK.encode():
                return os.fsdecode(value)
    return ""


def marked(prefix: str) -> list[int]:
    """Processes whose mark begins so, but for this one."""
    return [process for process in _parents() if process != os.getpid() and mark_of(process).startswith(prefix)]


def kill(processes: Iterable[int]) -> bool:
    """Kill processes at once; return whether there was one that could be killed."""
    killed = False
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
            killed = True
    return killed


def kill_descendants(ancestor: int, prefix: str = "") -> None:
    """Kill all that has come down from a process, but for itself, and all whose mark begins with ``prefix``."""
    for _ in range(MOST_ROUNDS):
        living = [process for process in descendants_of(ancestor) if not _ended(process)]
        if prefix:
            living += [process for process in marked(prefix) if process != ancestor]
        if not kill(living):
            return


def _parents() -> dict[int, int]:
    found: dict[int, int] = {}
    try:
        names = os.listdir("/proc")
    except OSError:  # there is none, or this process has no free descriptor now
        return found
    for folder in filter(str.isdigit, names):
        if (fields := _fields(int(folder))) is not None:
            found[int(folder)] = int(fields[1])
    return found


def _ended(process: int) -> bool:
    fields = _fields(process)
    return fields is None or fields[0] in (b"Z", b"X")


def _fields(process: int) -> list[bytes] | None:
    # pid (name) state parent ...; the name may have anything in it. No file: it has ended meanwhile
    with contextlib.suppress(OSError), open(f"/proc/{process}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()
    return None
