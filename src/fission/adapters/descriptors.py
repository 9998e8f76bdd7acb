"""The limit of open files and connections of this process, a network's need, and a reserve.

The reserve lets the process write what it must even when no descriptor is free.
"""

from __future__ import annotations

import contextlib
import os
import resource

#: A higher soft limit has no use here and slows down old programs that close every possible descriptor. Arbitrary.
MOST = 1 << 16
#: Descriptors of the client per job: three pipes and two of ZeroMQ's; measured: 4.1.
FOR_EACH_JOB = 5
#: Descriptors of the client itself: 60 measured with the connections of three nodes; strangers may hold 64 at each of three ports briefly.
FOR_ITSELF = 64
STRANGERS = 192
#: Descriptors in reserve; arbitrary: the files opened at the end are opened one after the other.
RESERVE = 8


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard limit, at most `MOST`; return the new limit.

    The limit applies to this process and to those that it starts.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MOST if soft == resource.RLIM_INFINITY else soft
    with contextlib.suppress(OSError, ValueError):  # some systems refuse it
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def attainable() -> int:
    """Return the limit that `raise_limit` would set."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(limit, MOST) if limit != resource.RLIM_INFINITY else MOST for limit in (soft, hard))


def needed(jobs: int) -> int:
    """Return the number of open files that a network of ``jobs`` jobs needs on this machine."""
    return FOR_ITSELF + FOR_EACH_JOB * jobs


def comfortable(jobs: int) -> int:
    """Return the number of open files that suffices however many clients connect to the ports."""
    return needed(jobs) + STRANGERS


class Reserve:
    """Descriptors held back for files that must be opened whatever has happened."""

    def __init__(self, count: int = RESERVE) -> None:
        """Open the reserve.

        Args:
            count: number of descriptors; fewer if the system has no more.
        """
        self._held: list[int] = []
        with contextlib.suppress(OSError):
            for _ in range(count):
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def release(self) -> None:
        """Free the descriptors. Idempotent."""
        while self._held:
            os.close(self._held.pop())
