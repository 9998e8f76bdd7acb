"""The client's end of the talk with its jobs, over ZeroMQ: words in, commands out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import zmq
import zmq.asyncio

from fission.protocol.frames import Buffer

#: Milliseconds between attempts to reach a job that has not started yet; arbitrary, a fraction of what a job's start takes.
RECONNECT_MS = 5


class ZmqDesk:
    """Hears the words of all jobs at one address, and sends commands to their control addresses. One asyncio loop."""

    def __init__(self, address: str) -> None:
        """Args: address: where jobs send their words, as ZeroMQ writes it."""
        self._context = zmq.asyncio.Context()
        self._ear = self._context.socket(zmq.PULL)
        self._ear.setsockopt(zmq.RCVHWM, 0)
        self._ear.setsockopt(zmq.LINGER, 0)
        self._ear.bind(address)
        self._plain: zmq.Context[zmq.Socket[bytes]] = zmq.Context(self._context)
        self._mouths: dict[str, zmq.Socket[bytes]] = {}
        self._closed = False

    async def words(self) -> AsyncIterator[list[Buffer]]:
        """Messages of jobs as they come, until `close`. Only one caller."""
        while not self._closed:
            try:
                yield list(await self._ear.recv_multipart())
            except zmq.ZMQError:
                return  # closed while it waited

    def send(self, address: str, frame: Buffer) -> None:
        """Send a command; never blocks. A job that has not started yet gets it when it has."""
        mouth = self._mouths.get(address)
        if mouth is None:
            mouth = self._plain.socket(zmq.PUSH)
            mouth.setsockopt(zmq.SNDHWM, 0)
            mouth.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
            mouth.setsockopt(zmq.LINGER, 0)
            mouth.connect(address)
            self._mouths[address] = mouth
        mouth.send(frame)

    def forget(self, address: str) -> None:
        """Nobody listens there any more."""
        mouth = self._mouths.pop(address, None)
        if mouth is not None:
            mouth.close(0)

    def close(self) -> None:
        """Give the sockets back. Calling it twice is right."""
        if self._closed:
            return
        self._closed = True
        for mouth in self._mouths.values():
            mouth.close(0)
        self._mouths.clear()
        self._ear.close(0)
        self._context.term()
