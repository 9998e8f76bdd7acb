"""How a job's process is stopped, and how it dies with the process that started it."""

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
from fission.runtime.exchange import Exchange

#: Seconds after which a stop is said again to a main thread that has not noticed it. Arbitrary, a fraction of the grace.
AGAIN_S = 0.02
#: Seconds that a job whose other threads have failed has for its ``finally`` blocks. Arbitrary, as the client's grace.
FAIL_S = 1.0


class Stopper:
    """Turns SIGTERM into `Stopped`, once, so that the user's `finally` blocks are not interrupted.

    A thread repeats the signal until the main thread has seen it (`SignalWatcher` says why).

    Attributes:
        stopping: whether SIGTERM has come.
        failure: what another thread of this process has failed with; SIGTERM came from here then.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.failure: Exception | None = None
        self._left = False
        self._requested = False  # SIGTERM has come, which the main thread may not have seen yet
        self._gone = threading.Event()
        self._main = threading.get_ident()
        self._job: BaseJob | None = None
        self._exchange: Exchange | None = None

    def install(self, life_descriptor: int) -> None:
        """Take SIGTERM, and watch the process that started this one. SIGINT belongs to the client, who decides for all jobs.

        Args:
            life_descriptor: end of a pipe that is closed when the process that started this one dies; this one dies then too,
                with everything in its process group.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_signal)
        os.register_at_fork(after_in_child=_as_if_never)
        watcher = SignalWatcher(
            "fission-life",
            woken=self._woken,
            timeout=lambda: AGAIN_S if self._repeats else None,
            timed_out=self._repeat,
            also={life_descriptor: _die},
        )
        watcher.start()

    def guard(self, job: BaseJob, exchange: Exchange) -> None:
        """What the job returns after SIGTERM, because its code has swallowed `Stopped`, does not go out, and its loop ends then."""
        self._job, self._exchange = job, exchange

    def leave(self) -> None:
        """There is nothing left to interrupt: from now on the signal does nothing."""
        self._left = True
        self._job = self._exchange = None
        self._gone.set()

    @contextlib.contextmanager
    def limit(self, seconds: float, last_words: Callable[[], None]) -> Iterator[None]:
        """Call ``last_words`` and end the process if what is done inside takes longer."""
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

        Its ``finally`` blocks run; if that takes too long, or it takes SIGTERM itself, ``last_words`` is called and the process ends.
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
        if self._exchange is not None:
            self._exchange.abandon()
        if isinstance(self._job, PythonJob):
            self._job.finished = True
        raise Stopped

    def _woken(self, numbers: bytes) -> None:
        self._requested = self._requested or signal.SIGTERM in numbers

    def _repeat(self) -> None:
        if self._repeats:
            signal.pthread_kill(self._main, signal.SIGTERM)

    @property
    def _repeats(self) -> bool:
        """Whether SIGTERM has come and is still to be seen; not if the job takes SIGTERM itself."""
        return self._requested and not (self.stopping or self._left) and signal.getsignal(signal.SIGTERM) == self._on_signal


def _die() -> None:
    """End at once, with what this job has started, in whatever session it is."""
    descendants.kill_descendants(os.getpid(), os.environ.get(descendants.MARK, ""))
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _as_if_never() -> None:
    """In a process that the job forks: the signal is not ours, and must not reach the job through the descriptor that both have."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
