"""How FISSION's processes handle signals.

- `SignalWatcher` detects signals while the main thread is in a blocking call; `LoopSignals`, the
  command line and jobs use it.
- `fission.posix.loop_signals.LoopSignals`: SIGINT and SIGTERM of a client, beyond the lifetime of
  its event loop.
- `ending_signals_call`: SIGINT and SIGTERM of a daemon, for the lifetime of its event loop.
- `sigterm_raises`: SIGTERM of a daemon without an event loop.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from types import FrameType

#: The signals that ask a process to end.
ENDING = (signal.SIGINT, signal.SIGTERM)
#: Byte that ends the watching thread; other bytes are numbers of signals.
_QUIT = b"\xff"


class SignalWatcher:
    """A thread that is woken by every signal of this process that Python handles.

    Python runs handlers between its own instructions. A signal that comes while the main thread is
    about to enter a blocking call finds nothing to interrupt, and would be handled only after the
    call. The thread can interrupt the call by another signal.
    """

    def __init__(
        self,
        name: str,
        *,
        woken: Callable[[bytes], None],
        timeout: Callable[[], float | None],
        timed_out: Callable[[], None],
        also: Mapping[int, Callable[[], None]] | None = None,
    ) -> None:
        """Prepare the watcher; `start` starts its thread. All functions are called in that thread.

        Args:
            name: name of the thread.
            woken: called with the bytes that have arrived: the number of a signal in each byte, or
                the zero byte of `wake`.
            timeout: returns the seconds after which `timed_out` is called if nothing arrives; None:
                never.
            timed_out: called after that time.
            also: functions by descriptor, called when the descriptor is readable.
        """
        self._name, self._woken, self._timeout, self._timed_out = name, woken, timeout, timed_out
        self._also = dict(also or {})

    def start(self) -> None:
        """Start the thread. Call it in the main thread."""
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._thread = threading.Thread(target=self._watch, name=self._name, daemon=True)
        self._thread.start()
        self._wakeup_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def wake(self) -> None:
        """Wake the thread, with a zero byte."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"\0")

    def stop(self) -> None:
        """Stop the thread. Call it in the main thread."""
        signal.set_wakeup_fd(self._wakeup_before)
        os.set_blocking(self._write, True)
        os.write(self._write, _QUIT)
        self._thread.join()
        os.close(self._read)
        os.close(self._write)

    def _watch(self) -> None:
        descriptors = [self._read, *self._also]
        while True:
            readable, _, _ = select.select(descriptors, [], [], self._timeout())
            for descriptor in readable:
                if descriptor != self._read:
                    self._also[descriptor]()
                    continue
                numbers = os.read(self._read, 4096)
                if _QUIT in numbers:
                    return
                self._woken(numbers)
            if not readable:
                self._timed_out()


@contextlib.contextmanager
def ending_signals_call(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> Iterator[None]:
    """Have SIGINT and SIGTERM call a function in the running loop inside a with-block.

    Does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in ENDING:
        loop.add_signal_handler(number, function)
    try:
        yield
    finally:
        for number in ENDING:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def sigterm_raises(error: type[BaseException]) -> Iterator[None]:
    """Have SIGTERM raise an error in the main thread inside a with-block.

    Does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise error

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
