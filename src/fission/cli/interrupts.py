"""Ctrl-C outside of a run: while FISSION is loaded, while a command works, at the end.

Python's own KeyboardInterrupt will not do while modules are imported: raised in the import system it is lost ("Exception ignored
in ..."), raised while a class is made it becomes another error. So Ctrl-C ends the process at once until a command says by
`loaded` that it has something to clean up, and from then on one that got lost is remembered. Light, because it is loaded first.

Python's handlers run between its own instructions. A signal that comes while the main thread is on its way into a call that blocks finds
nothing to interrupt, and would be noticed behind the call; `Noticed` is for code that may call anything.
"""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

EXIT_INTERRUPTED = 130  # as in fission.errors, which takes its time to load
#: Seconds between two attempts to make the main thread look at its signals; arbitrary, nobody feels it.
AGAIN_S = 0.02
#: Makes it look. Not SIGINT: a second one would be a second KeyboardInterrupt, in the user's ``finally``. Nobody uses this one, and
#: it does nothing where it is not taken; Go's runtime has chosen it for the same reasons.
LOOK = signal.SIGURG
_QUIT = b"\xff"  # ends the watching thread; the other bytes are numbers of signals


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
    """Every Ctrl-C so far was answered by a command that goes on, as a console does."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interrupts):
        handler.came = False


def ignore() -> None:
    """A Ctrl-C from here on would only make Python complain about its own end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Noticed:
    """While code of the user runs in the main thread: Ctrl-C is noticed whatever call it comes before. A context manager.

    A thread hears of every signal, and interrupts what the main thread does until that has looked at its signals. Does nothing where
    SIGINT is not ours.
    """

    def __init__(self) -> None:
        self._active = isinstance(signal.getsignal(signal.SIGINT), Interrupts)
        self._pending = False

    def __enter__(self) -> None:
        if not self._active:
            return
        import threading  # here and not above: see the head of this file

        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="fission-interrupts", daemon=True)
        self._thread.start()
        self._before = signal.signal(LOOK, self._looked)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._active:
            return
        signal.set_wakeup_fd(self._wakeup)
        os.write(self._write, _QUIT)
        self._thread.join()
        signal.signal(LOOK, self._before)  # looks for signals first, so what the thread has sent does not come behind it
        os.close(self._read)
        os.close(self._write)

    def _looked(self, number: int, frame: FrameType | None) -> None:
        """The handler of LOOK. Python calls handlers by their numbers: that of SIGINT was called."""
        self._pending = False

    def _watch(self) -> None:
        import select

        while True:
            readable, _, _ = select.select([self._read], [], [], AGAIN_S if self._pending else None)
            if readable:
                numbers = os.read(self._read, 4096)
                if _QUIT in numbers:
                    return
                self._pending = self._pending or signal.SIGINT in numbers
            elif self._pending:
                signal.pthread_kill(self._main, LOOK)
