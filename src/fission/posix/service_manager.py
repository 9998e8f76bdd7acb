"""Notifications to the service manager that started this process: the protocol of sd_notify(3), of systemd."""

from __future__ import annotations

import contextlib
import os
import socket

#: Environment variable with the address of the service manager's socket.
VARIABLE = "NOTIFY_SOCKET"


class ServiceManager:
    """The service manager of this process, if it wants notifications; otherwise nothing is sent.

    Removes the address from the environment, so that child processes cannot speak for this one.
    """

    def __init__(self) -> None:
        address = os.environ.pop(VARIABLE, "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address  # "@" is an abstract address

    def ready(self) -> None:
        """Report that the service is up."""
        self._send("READY=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # a service must not end because its manager cannot be notified
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(state.encode(), self._address)
