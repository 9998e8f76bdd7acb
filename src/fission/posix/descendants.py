"""The descendants of a process, found through /proc, including those that have detached from it.

A process that becomes a daemon leaves its process group, its session and its parents. It keeps its
environment, so every job's process sets `MARK` there, and the processes that it starts inherit it.
Without /proc, nothing is found.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable

#: Environment variable that identifies the job's process that has started a process.
MARK = "FISSION_PROCESS"
_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
#: Maximum number of rounds of killing; arbitrary. Each round finds the processes that were started
#: during the previous one.
MOST_ROUNDS = 10


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans, where the system supports it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of(parent: int) -> list[int]:
    """Return the children of a process, including those that have ended and were not waited for."""
    return [process for process, above in _parents().items() if above == parent]


def descendants_of(ancestor: int) -> list[int]:
    """Return children, their children, and so on, each after its parent."""
    below: dict[int, list[int]] = {}
    for process, above in _parents().items():
        below.setdefault(above, []).append(process)
    found, position = list(below.get(ancestor, ())), 0
    while position < len(found):
        found += below.get(found[position], ())
        position += 1
    return found


def mark_of(process: int) -> str:
    """Return the value that `MARK` had in a process's environment when its program began.

    Empty if it was not set or cannot be read.
    """
    with contextlib.suppress(OSError), open(f"/proc/{process}/environ", "rb") as file:
        for entry in file.read().split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name == MARK.encode():
                return os.fsdecode(value)
    return ""


def marked(prefix: str) -> list[int]:
    """Return the processes whose mark begins with ``prefix``, except for this one."""
    return [process for process in _parents() if process != os.getpid() and mark_of(process).startswith(prefix)]


def kill(processes: Iterable[int]) -> bool:
    """Kill processes immediately; return whether at least one could be killed."""
    killed = False
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
            killed = True
    return killed


def kill_descendants(ancestor: int, prefix: str = "") -> None:
    """Kill all descendants of a process, and all processes whose mark begins with ``prefix``.

    The process itself is not killed.
    """
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
    except OSError:  # there is no /proc, or this process has no free descriptor
        return found
    for folder in filter(str.isdigit, names):
        if (fields := _fields(int(folder))) is not None:
            found[int(folder)] = int(fields[1])
    return found


def _ended(process: int) -> bool:
    fields = _fields(process)
    return fields is None or fields[0] in (b"Z", b"X")


def _fields(process: int) -> list[bytes] | None:
    # pid (name) state parent ...; the name may contain anything. Without a file the process has
    # ended
    with contextlib.suppress(OSError), open(f"/proc/{process}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()
    return None
