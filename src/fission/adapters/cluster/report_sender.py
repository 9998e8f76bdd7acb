"""The socket over which a node reports its jobs' output and exits to its client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import zmq

from fission.protocol.messages.node_to_client import REPORTS, Report
from fission.protocol.pieces import split

#: Reports that wait for an absent client; arbitrary. Those that must not be lost are sent again.
WAITING_REPORTS = 10_000
#: Milliseconds of the longest pause between attempts to reach the client; arbitrary.
RECONNECT_MAX_MS = 500


class ReportSender:
    """Sends reports. Never blocks; a report that finds no room is lost."""

    def __init__(self, address: str, guard: Callable[[Any], Any] | None = None) -> None:
        """Connect the socket.

        Args:
            address: ZeroMQ address at which the client receives reports.
            guard: returns a ZeroMQ context's encryption; None disables encryption.
        """
        self.address = address
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._guard = guard(self._context) if guard is not None else None
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, WAITING_REPORTS)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        self._socket.setsockopt(zmq.LINGER, 0)
        if self._guard is not None:
            self._guard.encrypt(self._socket)
        self._socket.setsockopt(zmq.IPV6, "[" in address)
        self._socket.connect(address)

    def send(self, report: Report) -> None:
        """Send a report if there is room."""
        with contextlib.suppress(zmq.Again):
            self._socket.send_multipart(split([REPORTS.encode(report)]), zmq.NOBLOCK)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(0)
        if self._guard is not None:
            self._guard.close()
        self._context.term()
