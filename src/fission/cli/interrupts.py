"""Ctrl-C outside of a run: while FISSION is loaded, while a command works, and at the end.

Python's KeyboardInterrupt is unreliable while modules are imported: raised in the import system it
is lost ("Exception ignored in ..."), raised while a class is created it becomes another error. So
Ctrl-C ends the process at once until a command calls `loaded`, because it then has something to
clean up. From then on a lost KeyboardInterrupt is remembered. This module is imported first, so it
imports little.

`Noticed` is for code that may call anything: see `fission.posix.signals.SignalWatcher`.
"""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

EXIT_INTERRUPTED = 130  # as in fission.errors, which is slow to import
#: Seconds between two attempts to make the main thread handle its signals; arbitrary, too short to be felt.
AGAIN_S = 0.02
#: The signal that makes the main thread handle its signals. Not SIGINT: a second one would raise a second KeyboardInterrupt, in the
#: user's ``finally``. SIGURG is rarely used, and ignored by default; Go's runtime uses it for the same reasons.
LOOK = signal.SIGURG


class Interrupts:
    """This process's handler of SIGINT.

    Attributes:
        loading: nothing has started yet that needs an orderly end.
        came: Ctrl-C has been pressed since `loaded`.
    """

    def __init__(self) -> None:
        self.loading = True
        self.came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.loading:
            os._exit(EXIT_INTERRUPTED)
        self.came = True
        raise KeyboardInterrupt


def install() -> None:
    """Install the handler of SIGINT; for the processes of the scripts."""
    signal.signal(signal.SIGINT, Interrupts())


def loaded() -> None:
    """Make Ctrl-C a KeyboardInterrupt from now on, because user code runs or files are written."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interrupts):
        handler.loading = False


def came() -> bool:
    """Return whether Ctrl-C was pressed since `loaded`, even if its KeyboardInterrupt was lost."""
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, Interrupts) and handler.came


def taken() -> None:
    """Forget earlier Ctrl-Cs, which a command that continues, such as a console, has handled."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interrupts):
        handler.came = False


def ignore() -> None:
    """Ignore Ctrl-C, which would only make Python complain while it exits."""
    while True:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            return
        except KeyboardInterrupt:  # one that came before: Python handles it inside that call
            continue


class Noticed:
    """A context manager for user code in the main thread: Ctrl-C interrupts every blocking call.

    A thread is notified of every signal, and interrupts the main thread until that has handled its
    signals. Has no effect if the handler of SIGINT is not `Interrupts`.
    """

    def __init__(self) -> None:
        self._active = isinstance(signal.getsignal(signal.SIGINT), Interrupts)
        self._pending = False

    def __enter__(self) -> None:
        if not self._active:
            return
        import threading  # here and not above: see the head of this file

        from fission.posix.signals import SignalWatcher

        self._main = threading.get_ident()
        self._before = signal.signal(LOOK, self._looked)
        self._watcher = SignalWatcher(
            "fission-interrupts",
            woken=self._woken,
            timeout=lambda: AGAIN_S if self._pending else None,
            timed_out=lambda: signal.pthread_kill(self._main, LOOK) if self._pending else None,
        )
        self._watcher.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._active:
            return
        self._watcher.stop()
        signal.signal(LOOK, self._before)  # Python handles pending signals first, so none of the thread's arrives after this

    def _looked(self, number: int, frame: FrameType | None) -> None:
        """Handle LOOK. Python calls handlers in numerical order: that of SIGINT has run."""
        self._pending = False

    def _woken(self, numbers: bytes) -> None:
        self._pending = self._pending or signal.SIGINT in numbers
