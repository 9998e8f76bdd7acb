"""Stopping a job's process, and ending it when its parent process dies."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from fission.core.base import BaseJob
from fission.core.jobs import PythonJob
from fission.errors import Stopped
from fission.posix import descendants
from fission.posix.signals import SignalWatcher
from fission.runtime import process_end
from fission.runtime.endpoint_shell import EndpointShell

#: Seconds after which a stop is repeated for a main thread that has not noticed it. Arbitrary: a fraction of the grace period.
AGAIN_S = 0.02
#: Seconds for a job's ``finally`` blocks after one of its other threads has failed. Arbitrary: the same as the client's grace period.
FAIL_S = 1.0


class Stopper:
    """Turns SIGTERM into `Stopped`, once, so that the user's `finally` blocks are not interrupted.

    A thread repeats the signal until the main thread has seen it (`SignalWatcher` explains why).

    Attributes:
        stopping: whether SIGTERM has arrived.
        failure: error of another thread of this process, which then sent SIGTERM itself; None
            without one.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.failure: Exception | None = None
        self._left = False
        self._requested = False  # SIGTERM has arrived, but the main thread may not have seen it yet
        self._gone = threading.Event()
        self._main = threading.get_ident()
        self._job: BaseJob | None = None
        self._shell: EndpointShell | None = None

    def install(self, parent_descriptor: int) -> None:
        """Handle SIGTERM, and watch the parent process.

        SIGINT is ignored: it is handled by the client, which decides for all jobs.

        Args:
            parent_descriptor: end of a pipe that closes when the parent process dies; this process
                then dies too, with its whole process group.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_signal)
        os.register_at_fork(after_in_child=_as_if_never)
        watcher = SignalWatcher(
            "fission-parent",
            woken=self._woken,
            timeout=lambda: AGAIN_S if self._repeats else None,
            timed_out=self._repeat,
            also={parent_descriptor: _die},
        )
        watcher.start()

    def guard(self, job: BaseJob, shell: EndpointShell) -> None:
        """Discard the results of a job whose code swallows `Stopped`, and end its loop.

        This concerns the results that it returns after SIGTERM.
        """
        self._job, self._shell = job, shell

    def leave(self) -> None:
        """Ignore the signal from now on, because there is nothing left to interrupt."""
        self._left = True
        self._job = self._shell = None
        self._gone.set()

    @contextlib.contextmanager
    def limit(self, seconds: float, last_words: Callable[[], None]) -> Iterator[None]:
        """Call ``last_words`` and end the process if the body takes longer than ``seconds``."""
        over = threading.Event()

        def watch() -> None:
            if not over.wait(seconds):
                last_words()
                process_end.close_files()
                os._exit(1)

        threading.Thread(target=watch, name="fission-limit", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def fail(self, error: Exception, last_words: Callable[[], None]) -> None:
        """Another thread, at its end: stop the job because of this error.

        The job's ``finally`` blocks run. If they take too long, or the job handles SIGTERM itself,
        ``last_words`` is called and the process ends.
        """
        self.failure = error
        os.kill(os.getpid(), signal.SIGTERM)
        if not self._gone.wait(FAIL_S):
            last_words()
            process_end.close_files()
            os._exit(1)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stopping or self._left:
            return
        self.stopping = True
        if self._shell is not None:
            self._shell.abandon()
        if isinstance(self._job, PythonJob):
            self._job.finished = True
            self._job.__dict__["_fission_stopped"] = True
        raise Stopped

    def _woken(self, numbers: bytes) -> None:
        self._requested = self._requested or signal.SIGTERM in numbers

    def _repeat(self) -> None:
        if self._repeats:
            signal.pthread_kill(self._main, signal.SIGTERM)

    @property
    def _repeats(self) -> bool:
        """Whether SIGTERM has arrived unseen. False if the job handles SIGTERM itself."""
        return self._requested and not (self.stopping or self._left) and signal.getsignal(signal.SIGTERM) == self._on_signal


def _die() -> None:
    """End at once, with all processes that this job has started, in any session."""
    descendants.kill_descendants(os.getpid(), os.environ.get(descendants.MARK, ""))
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _as_if_never() -> None:
    """Restore the default of SIGTERM in a process that the job forks.

    There, the signal must not reach the job through the descriptor that both processes share.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
