"""A thread that works on demand, and survives whatever its work raises."""

from __future__ import annotations

import threading
from collections.abc import Callable


class OnDemandThread:
    """Repeats its work while it is wanted. There is one thread at most, however often that changes:
    work that hangs (a stopped process does not answer) is waited for, not begun a second time.
    """

    def __init__(self, name: str, work: Callable[[], None], failed: Callable[[Exception], None], again_s: float) -> None:
        """Begin without a thread.

        Args:
            name: of the thread.
            work: blocks, and returns soon after `is_wanted` has become false. Called in the thread.
            failed: is called in the thread with whatever ``work`` raises; must not raise.
            again_s: seconds until ``work`` is called again after it has returned or raised.
        """
        self._name, self._work, self._failed, self._again_s = name, work, failed, again_s
        self._changed = threading.Condition()
        self._wanted = False
        self._thread: threading.Thread | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether the work must continue."""
        return self._wanted

    @property
    def is_alive(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    def want(self) -> None:
        """Begin to work, or continue. Idempotent."""
        with self._changed:
            self._wanted = True
            if self._thread is None:
                # a daemon: it may hang for as long as the other side does not answer, and must not hold the process up
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def leave(self) -> None:
        """Let the work end soon. Idempotent; does not block."""
        with self._changed:
            self._wanted = False
            self._changed.notify_all()

    def pause(self, seconds: float) -> bool:
        """Wait; return whether the work is still wanted. For the work."""
        with self._changed:
            self._changed.wait_for(lambda: not self._wanted, seconds)
            return self._wanted

    def _run(self) -> None:
        while True:
            try:
                self._work()
            except Exception as why:
                self._failed(why)
            self.pause(self._again_s)
            with self._changed:
                if not self._wanted:
                    self._thread = None
                    return
