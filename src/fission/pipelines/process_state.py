"""The state of a process that a job can change: restored after each job, so that every job finds
the same.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys

#: Soft limits that are restored; a job that lowers a hard limit does so for good.
LIMITS = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class DescriptorGuard:
    """Notices whether a job has closed descriptors that are not its own, as `os.closerange` does."""

    def __init__(self) -> None:
        self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._identity = os.fstat(self._descriptor)

    def intact(self) -> bool:
        """Return whether this object's own descriptor is still open."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._identity)
        except OSError:
            return False


class ProcessState:
    """Working folder, environment, umask, signals, timers, limits and Python's own state of this
    process, when the object was created.

    For the main thread. What a job leaves in memory (modules, globals, threads) is not restored.
    """

    def __init__(self) -> None:
        self._guard = DescriptorGuard()
        self._folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._environment = dict(os.environ)
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self._limits = {limit: resource.getrlimit(limit)[0] for limit in LIMITS}
        self._python = (list(sys.path), list(sys.argv), sys.stdin, sys.stdout, sys.stderr, sys.getrecursionlimit())
        self._tracers = (sys.gettrace(), sys.getprofile())

    def restore(self) -> None:
        """Restore the state; what cannot be restored stays.

        Raises:
            OSError: the job has closed descriptors that are not its own.
        """
        for timer in TIMERS:
            signal.setitimer(timer, 0.0)
        for number, handler in self._handlers.items():
            if signal.getsignal(number) != handler:
                with contextlib.suppress(OSError, ValueError, TypeError):  # SIGKILL, or a handler that was not set by Python
                    signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)
        if not self._guard.intact():
            raise OSError("the job has closed descriptors of its process; its result cannot be sent")
        with contextlib.suppress(OSError):
            os.fchdir(self._folder)
        os.umask(self._umask)
        if os.environ != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        for limit, soft in self._limits.items():
            now, hard = resource.getrlimit(limit)
            if now != soft:
                with contextlib.suppress(OSError, ValueError):
                    resource.setrlimit(limit, (soft, hard))
        self._restore_python()

    def _restore_python(self) -> None:
        path, arguments, sys.stdin, sys.stdout, sys.stderr, recursion = self._python
        sys.path[:], sys.argv[:] = path, arguments
        with contextlib.suppress(RecursionError):
            sys.setrecursionlimit(recursion)
        sys.settrace(self._tracers[0])
        sys.setprofile(self._tracers[1])
        socket.setdefaulttimeout(None)
