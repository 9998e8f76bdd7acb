"""The socket on which nodes report their jobs' output and exits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import zmq
import zmq.asyncio

from fission.errors import EngineError, RemoteProtocolError
from fission.protocol.frames import Buffer
from fission.protocol.messages.node_to_client import REPORTS, Report
from fission.protocol.pieces import MAX_PART_BYTES, joined

log = logging.getLogger("fission.cluster")


class ReportReceiver:
    """Receives the reports of all nodes of one run."""

    def __init__(self, address: str, run: str, guard: Callable[[Any], Any] | None, take: Callable[[Report], None]) -> None:
        """Prepare; `open` listens.

        Args:
            address: ZeroMQ address on which to listen.
            run: identity of the run; reports of other runs are dropped.
            guard: returns a ZeroMQ context's encryption; None disables encryption.
            take: called with each report.
        """
        self._address, self._run, self._guard_factory, self._take = address, run, guard, take
        self._context = zmq.asyncio.Context()
        self._guard: Any = None
        self._socket: Any = None

    def open(self) -> None:
        """Listen.

        Raises:
            EngineError: the address cannot be used.
        """
        self._socket = self._context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_PART_BYTES)
        if self._guard_factory is not None:
            self._guard = self._guard_factory(self._context)
            self._guard.listen(self._socket)
        self._socket.setsockopt(zmq.IPV6, "[" in self._address)
        try:
            self._socket.bind(self._address)
        except zmq.ZMQError as why:
            raise EngineError(f"cannot listen at {self._address}: {why}") from None

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close(0)
        if self._guard is not None:
            self._guard.close()
        self._context.term()

    async def receive(self) -> None:
        """Receive reports until cancelled."""
        while True:
            parts = await self._socket.recv_multipart()
            try:
                report = REPORTS.decode(_whole(parts))
            except RemoteProtocolError as why:
                log.warning("dropped a malformed message of a node: %s", why)
                continue
            if report.run == self._run:
                self._take(report)


def _whole(parts: list[bytes]) -> Buffer:
    """Return the only frame of a message.

    Raises:
        RemoteProtocolError: the message does not have exactly one frame.
    """
    frames = joined(parts)
    if len(frames) != 1:
        raise RemoteProtocolError(f"a report has 1 frame, not {len(frames)}")
    return frames[0]
