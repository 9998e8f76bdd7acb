"""The client's side of the connection to its jobs, over ZeroMQ: messages in, commands out."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import zmq
import zmq.asyncio

from fission.errors import EngineError
from fission.protocol.frames import Buffer
from fission.protocol.pieces import MAX_PART_BYTES, joined, split

log = logging.getLogger("fission.client")

#: Milliseconds between attempts to reach a job that has not started yet; arbitrary, a fraction of a job's start time.
RECONNECT_MS = 5


class ZmqJobTransport:
    """Receives all jobs' messages at one address, and sends commands to their control addresses.

    Belongs to one asyncio loop.
    """

    def __init__(self, address: str, far_address: str = "", guard: Callable[[Any], Any] | None = None) -> None:
        """Listen.

        Args:
            address: ZeroMQ address to which jobs of this machine send their messages.
            far_address: address for jobs of other machines; empty if there are none.
            guard: returns a context's encryption towards other machines; None disables it.

        Raises:
            EngineError: an address cannot be bound.
        """
        self._context = zmq.asyncio.Context()
        self._plain: zmq.Context[zmq.Socket[bytes]] = zmq.Context(self._context)
        self._mouths: dict[str, zmq.Socket[bytes]] = {}
        self._closed = False
        self._far_ear: Any = None
        self._guard = guard(self._context) if guard is not None else None
        self._ear = self._context.socket(zmq.PULL)
        self._ear.setsockopt(zmq.RCVHWM, 0)
        self._ear.setsockopt(zmq.LINGER, 0)
        self._ear.bind(address)
        if far_address:
            self._far_ear = self._context.socket(zmq.PULL)
            self._far_ear.setsockopt(zmq.RCVHWM, 0)
            self._far_ear.setsockopt(zmq.LINGER, 0)
            self._far_ear.setsockopt(zmq.MAXMSGSIZE, MAX_PART_BYTES)
            if self._guard is not None:
                self._guard.listen(self._far_ear)
            self._far_ear.setsockopt(zmq.IPV6, "[" in far_address)
            try:
                self._far_ear.bind(far_address)
            except zmq.ZMQError as why:
                self.close()
                raise EngineError(f"cannot listen at {far_address}: {why}") from None

    async def words(self) -> AsyncIterator[list[Buffer]]:
        """Yield the jobs' messages in the order of arrival until `close`. Only one caller."""
        poller = zmq.asyncio.Poller()
        ears = [ear for ear in (self._ear, self._far_ear) if ear is not None]
        for ear in ears:
            poller.register(ear, zmq.POLLIN)
        while not self._closed:
            try:
                if len(ears) == 1:
                    yield joined(await self._ear.recv_multipart())
                    continue
                for ear, _ in await poller.poll():
                    yield joined(await ear.recv_multipart())
            except zmq.ZMQError:
                return  # closed while waiting

    def send(self, address: str, frame: Buffer) -> None:
        """Send a command; never blocks. A job that has not started yet receives it once it has."""
        mouth = self._mouths.get(address)
        if mouth is None:
            mouth = self._plain.socket(zmq.PUSH)
            mouth.setsockopt(zmq.SNDHWM, 0)
            mouth.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
            mouth.setsockopt(zmq.LINGER, 0)
            if address.startswith("tcp://") and self._guard is not None:
                self._guard.speak(mouth)
            mouth.setsockopt(zmq.IPV6, "[" in address)
            try:
                mouth.connect(address)
            except zmq.ZMQError as why:  # a message with an invalid address, from a broken job or, without keys, from a stranger
                mouth.close(0)  # an open socket would block the end of the context forever
                log.warning("dropped a command to %.100r, which is no address: %s", address, why)
                return
            self._mouths[address] = mouth
        with contextlib.suppress(zmq.Again):  # no process listens there, or it refuses us
            mouth.send_multipart(split([frame]) if address.startswith("tcp://") else [frame], zmq.NOBLOCK)

    def forget(self, address: str) -> None:
        """Close the socket to an address where no process listens."""
        mouth = self._mouths.pop(address, None)
        if mouth is not None:
            mouth.close(0)

    def close(self) -> None:
        """Close the sockets. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for mouth in self._mouths.values():
            mouth.close(0)
        self._mouths.clear()
        self._ear.close(0)
        if self._far_ear is not None:
            self._far_ear.close(0)
        if self._guard is not None:
            self._guard.close()
        self._context.term()
