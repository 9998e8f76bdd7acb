"""The control thread of a job: serves its pipes while the main thread computes.

It takes releases and commands from others, sends what was held too long and releases what is done with. No user code runs in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from fission.ports import Links
from fission.protocol.frames import Buffer

NEVER = float("inf")
#: Seconds that the control thread may take to end. Arbitrary; it only fails to where a stop has torn the main thread out of a lock.
STOP_S = 0.5


class Served(Protocol):
    """Whom the control thread works for."""

    def on_message(self, message_frames: list[Buffer]) -> None:
        """A control message has come."""
        ...

    def tick(self, now: float) -> float:
        """Do what is due; return the moment of the next look, infinity if there is none."""
        ...


class Control(threading.Thread):
    """The control thread.

    Attributes:
        on_failure: called by it with an error that nobody expected, which is its end: without it the job would stand still for ever.
    """

    on_failure: Callable[[Exception], None] | None = None

    def __init__(self, links: Links, served: Served) -> None:
        """Args: links: of the job. served: who is told."""
        super().__init__(name="fission-control", daemon=True)
        self._links = links
        self._served = served
        self._stopping = False
        self._wakes_at = 0.0  # the moment until which it sleeps; 0 while it is awake

    def arm(self, moment: float) -> None:
        """Any thread: `run` is to look again at this moment at the latest."""
        if moment < self._wakes_at:
            self._wakes_at = moment
            self._links.wake_control()

    def stop(self) -> None:
        """Any other thread: end it and wait for its end."""
        self._stopping = True
        if self.is_alive():
            self._links.wake_control()
            self.join(STOP_S)

    def run(self) -> None:
        """The thread's loop."""
        try:
            self._loop()
        except Exception as why:
            if self.on_failure is None:
                raise
            self.on_failure(why)

    def _loop(self) -> None:
        links = self._links
        while not self._stopping:
            # "asleep" must be visible before the due moments are looked at: what is held after the look arms us then
            self._wakes_at = NEVER
            due = self._served.tick(perf_counter())
            self._wakes_at = min(due, self._wakes_at)
            message = links.control(None if due == NEVER else max(0.0, due - perf_counter()))
            self._wakes_at = 0.0
            while message is not None:
                self._served.on_message(message)
                message = links.control(0)
