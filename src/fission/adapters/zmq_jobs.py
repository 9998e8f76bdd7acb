"""The client's end of the talk with its jobs, over ZeroMQ: words in, commands out."""

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

#: Milliseconds between attempts to reach a job that has not started yet; arbitrary, a fraction of what a job's start takes.
RECONNECT_MS = 5


class ZmqJobTransport:
    """Hears the words of all jobs at one address, and sends commands to their control addresses. One asyncio loop."""

    def __init__(self, address: str, far_address: str = "", guard: Callable[[Any], Any] | None = None) -> None:
        """Listen.

        Args:
            address: where jobs of this machine send their words, as ZeroMQ writes it.
            far_address: where those of other machines do; empty: there are none.
            guard: makes what encrypts the sockets of a context that speak with other machines; None: nothing does.

        Raises:
            EngineError: an address cannot be had.
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
        """Messages of jobs as they come, until `close`. Only one caller."""
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
                return  # closed while it waited

    def send(self, address: str, frame: Buffer) -> None:
        """Send a command; never blocks. A job that has not started yet gets it when it has."""
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
            except zmq.ZMQError as why:  # a word with a nonsensical address, of a job gone mad or, without keys, of a stranger
                mouth.close(0)  # an open socket would make the end of the context wait for ever
                log.warning("dropped a command to %.100r, which is no address: %s", address, why)
                return
            self._mouths[address] = mouth
        with contextlib.suppress(zmq.Again):  # nobody is there (any more), or refuses us
            mouth.send_multipart(split([frame]) if address.startswith("tcp://") else [frame], zmq.NOBLOCK)

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
        if self._far_ear is not None:
            self._far_ear.close(0)
        if self._guard is not None:
            self._guard.close()
        self._context.term()
