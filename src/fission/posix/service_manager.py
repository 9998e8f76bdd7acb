"""Notifications to the service manager that started this process: the protocol of sd_notify(3), of systemd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable

#: Environment variables: the address of the service manager's socket; the time limit of its watchdog in microseconds; the process
#: that the limit is for.
VARIABLE, WATCHDOG_VARIABLE, WATCHDOG_PID_VARIABLE = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


class ServiceManager:
    """The service manager of this process, if it wants notifications; otherwise nothing is sent.

    Removes its variables from the environment, so that child processes cannot speak for this one.

    Attributes:
        wanted: whether there is a manager that wants notifications.
        watchdog_s: seconds without a notification after which it kills this process; None: it has no
            watchdog.
    """

    def __init__(self) -> None:
        address = os.environ.pop(VARIABLE, "")
        limit_us, process = os.environ.pop(WATCHDOG_VARIABLE, ""), os.environ.pop(WATCHDOG_PID_VARIABLE, "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address  # "@" is an abstract address
        self.wanted = bool(address)
        meant = self.wanted and process in ("", str(os.getpid())) and limit_us.isdecimal() and int(limit_us) > 0
        self.watchdog_s = int(limit_us) / 1e6 if meant else None

    def ready(self) -> None:
        """Report that the service is up."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Report in one line what the service does."""
        self._send(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> None:
        """Report that the service ends."""
        self._send("STOPPING=1")

    async def keep_alive(
        self, works: Callable[[], bool] = lambda: True, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        """Notify the watchdog, at half of its limit, until cancelled. Returns at once if there is no watchdog.

        The notifications come from the event loop that runs this coroutine: one that is stuck sends none.

        Args:
            works: returns whether the service still works; if it does not, nothing is sent.
            sleep: waits some seconds.
        """
        while self.watchdog_s is not None:
            if works():
                self._send("WATCHDOG=1")
            await sleep(self.watchdog_s / 2)

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # a service must not end because its manager cannot be notified, nor wait for it
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), self._address)
