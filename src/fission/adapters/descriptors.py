"""How many files and connections this process may have open, how many a network needs, and a reserve of them for what must be written."""

from __future__ import annotations

import contextlib
import os
import resource

#: A soft limit above this is of no use to us, and makes old programs slow that close every possible descriptor. Arbitrary.
MOST = 1 << 16
#: Descriptors of the client for each job: three pipes and two of ZeroMQ's; measured: 4.1.
FOR_EACH_JOB = 5
#: And for itself: measured, 60 with the connections of three nodes; strangers may hold 64 at each of three ports for some seconds.
FOR_ITSELF = 64
STRANGERS = 192
#: Descriptors in reserve; arbitrary, the files that are opened at an end are opened one after the other.
RESERVE = 8


def raise_limit() -> int:
    """Raise the soft limit of open files of this process, and of those that it starts, to the hard one (at most `MOST`); return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MOST if soft == resource.RLIM_INFINITY else soft
    with contextlib.suppress(OSError, ValueError):  # a system that has its own opinion
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def attainable() -> int:
    """What `raise_limit` would make of the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(one, MOST) if one != resource.RLIM_INFINITY else MOST for one in (soft, hard))


def needed(jobs: int) -> int:
    """Open files without which a network of so many jobs cannot run on this machine."""
    return FOR_ITSELF + FOR_EACH_JOB * jobs


def comfortable(jobs: int) -> int:
    """Open files with which it runs, however many clients connect to its ports."""
    return needed(jobs) + STRANGERS


class Reserve:
    """Descriptors that nothing else can take, given back when something must be opened whatever has happened."""

    def __init__(self, count: int = RESERVE) -> None:
        """Args: count: how many; fewer, if there are no more."""
        self._held: list[int] = []
        with contextlib.suppress(OSError):
            for _ in range(count):
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def release(self) -> None:
        """From now on they are free. Calling it twice is right."""
        while self._held:
            os.close(self._held.pop())
