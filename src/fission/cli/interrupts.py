"""Ctrl-C outside of a run: while FISSION is loaded, while a command works, at the end.

Python's own KeyboardInterrupt will not do while modules are imported: raised in the import system it is lost ("Exception ignored
in ..."), raised while a class is made it becomes another error. So Ctrl-C ends the process at once until a command says by
`loaded` that it has something to clean up, and from then on one that got lost is remembered. Light, because it is loaded first.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

EXIT_INTERRUPTED = 130  # as in fission.errors, which takes its time to load


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
