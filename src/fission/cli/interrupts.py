"""Ctrl-C outside of a run: while FISSION is loaded, while a command works, at the end.

Python's own KeyboardInterrupt will not do while modules are imported: raised in the import system it is lost ("Exception ignored
in ..."), raised while a class is made it becomes another error. So Ctrl-C ends the process at once until a command says by
`loaded` that it has something to clean up, and from then on one that got lost is remembered. Light, because it is loaded first.

`Noticed` is for code that may call anything: see `fission.posix.signals.SignalWatcher`.
"""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

EXIT_INTERRUPTED = 130  # as in fission.errors, which takes its time to load
#: Seconds between two attempts to make the main thread look at its signals; arbitrary, too short to be felt.
AGAIN_S = 0.02
#: Makes it look. Not SIGINT: a second one would be a second KeyboardInterrupt, in the user's ``finally``. It is not used otherwise, and
#: it does nothing where it is not taken; Go's runtime has chosen it for the same reasons.
LOOK = signal.SIGURG


class Interrupts:
    """The handler of SIGINT of this process.

    Attributes:
        loading: nothing has begun yet that would have to be ended in order.
        came: Ctrl-C was pressed since.
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
    """Take SIGINT; for the scripts' own processes."""
    signal.signal(signal.SIGINT, Interrupts())


def loaded() -> None:
    """From now on Ctrl-C is a KeyboardInterrupt, because the user's code runs or files are written."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interrupts):
        handler.loading = False


def came() -> bool:
    """Whether Ctrl-C was pressed since `loaded`, even if its KeyboardInterrupt was lost or became another error."""
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, Interrupts) and handler.came


def taken() -> None:
    """Every Ctrl-C so far was answered by a command that continues, as a console does."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interrupts):
        handler.came = False


def ignore() -> None:
    """A Ctrl-C from here on would only make Python complain about its own end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Noticed:
    """While code of the user runs in the main thread: Ctrl-C is noticed whatever call it comes before. A context manager.

    A thread notices every signal, and interrupts what the main thread does until that has looked at its signals. Does nothing where
    SIGINT is not ours.
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
        signal.signal(LOOK, self._before)  # looks for signals first, so what the thread has sent does not come after it

    def _looked(self, number: int, frame: FrameType | None) -> None:
        """The handler of LOOK. Python calls handlers by their numbers: that of SIGINT was called."""
        self._pending = False

    def _woken(self, numbers: bytes) -> None:
        self._pending = self._pending or signal.SIGINT in numbers
