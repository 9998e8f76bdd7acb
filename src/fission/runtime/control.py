"""The control thread of a job: serves its pipes while the main thread computes.

It takes releases and commands, sends blocks held back too long, and releases finished blocks. No
user code runs in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from fission.ports import Links
from fission.protocol.frames import Buffer

NEVER = float("inf")
#: Seconds that the control thread may take to end. Arbitrary: it fails to end only if a stop has interrupted the main thread
#: while it held a lock.
STOP_S = 0.5


class Served(Protocol):
    """The object that the control thread works for."""

    def on_message(self, message_frames: list[Buffer]) -> None:
        """Handle a control message."""
        ...

    def tick(self, now: float) -> float:
        """Do what is due; return the moment of the next call, infinity if there is none."""
        ...


class Control(threading.Thread):
    """The control thread.

    Attributes:
        on_failure: function that the thread calls with an unexpected error, which ends the thread;
            without a control thread, the job would hang for ever.
    """

    on_failure: Callable[[Exception], None] | None = None

    def __init__(self, links: Links, served: Served) -> None:
        """Prepare the thread.

        Args:
            links: connections of the job.
            served: object that handles the messages.
        """
        super().__init__(name="fission-control", daemon=True)
        self._links = links
        self._served = served
        self._stopping = False
        self._wakes_at = 0.0  # the moment until which it sleeps; 0 while it is awake

    def arm(self, moment: float) -> None:
        """Any thread: make `run` call `tick` at this moment or earlier."""
        if moment < self._wakes_at:
            self._wakes_at = moment
            self._links.wake_control()

    def stop(self) -> None:
        """Any other thread: end the thread and wait for its end."""
        self._stopping = True
        if self.is_alive():
            self._links.wake_control()
            self.join(STOP_S)

    def run(self) -> None:
        """Run the thread's loop."""
        try:
            self._loop()
        except Exception as why:
            if self.on_failure is None:
                raise
            self.on_failure(why)

    def _loop(self) -> None:
        links = self._links
        while not self._stopping:
            # mark the thread as asleep before the due moments are read: a block held back after that then calls `arm`
            self._wakes_at = NEVER
            due = self._served.tick(perf_counter())
            self._wakes_at = min(due, self._wakes_at)
            message = links.control(None if due == NEVER else max(0.0, due - perf_counter()))
            self._wakes_at = 0.0
            while message is not None:
                self._served.on_message(message)
                message = links.control(0)
