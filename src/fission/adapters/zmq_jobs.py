"""The client's side of the connection to its jobs, over ZeroMQ: messages in, commands out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import zmq

from fission.errors import EngineError
from fission.protocol.frames import Buffer
from fission.protocol.pieces import MAX_PART_BYTES, joined, split

#: Messages of one socket before it is the turn of others; arbitrary.
TURN_MESSAGES = 100
log = logging.getLogger("fission.client")

#: Milliseconds between attempts to reach a job that has not started yet; arbitrary, a fraction of a job's start time.
RECONNECT_MS = 5


class ZmqJobTransport:
    """Receives all jobs' messages at one address, and sends commands to their control addresses.

    Belongs to one asyncio loop. Its sockets are plain ones: those of `zmq.asyncio` make a future and
    several calls of the loop for each message, which is most of what the report of an idle job costs.
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
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._senders: dict[str, zmq.Socket[bytes]] = {}
        self._closed = False
        self._arrived = asyncio.Event()  # a socket may have messages, or is closed
        self._unwatch: Callable[[], None] = lambda: None
        self._far_receiver: zmq.Socket[bytes] | None = None
        self._guard = guard(self._context) if guard is not None else None
        self._receiver = self._context.socket(zmq.PULL)
        self._receiver.setsockopt(zmq.RCVHWM, 0)
        self._receiver.setsockopt(zmq.LINGER, 0)
        self._receiver.bind(address)
        if far_address:
            self._far_receiver = self._context.socket(zmq.PULL)
            self._far_receiver.setsockopt(zmq.RCVHWM, 0)
            self._far_receiver.setsockopt(zmq.LINGER, 0)
            self._far_receiver.setsockopt(zmq.MAXMSGSIZE, MAX_PART_BYTES)
            if self._guard is not None:
                self._guard.listen(self._far_receiver)
            self._far_receiver.setsockopt(zmq.IPV6, "[" in far_address)
            try:
                self._far_receiver.bind(far_address)
            except zmq.ZMQError as why:
                self.close()
                raise EngineError(f"cannot listen at {far_address}: {why}") from None

    async def messages(self) -> AsyncIterator[list[Buffer]]:
        """Yield the jobs' messages in the order of arrival until `close`. Only one caller."""
        receivers = [receiver for receiver in (self._receiver, self._far_receiver) if receiver is not None]
        self._watch([int(receiver.getsockopt(zmq.FD)) for receiver in receivers])
        try:
            while not self._closed:
                self._arrived.clear()
                more = False
                for receiver in receivers:
                    for _ in range(TURN_MESSAGES):
                        message = self._next(receiver)
                        if message is None:
                            break
                        yield joined(message)
                    else:
                        more = True
                # a descriptor becomes readable again only after everything was taken
                await (asyncio.sleep(0) if more else self._arrived.wait())
        finally:
            self._unwatch()

    def _next(self, receiver: zmq.Socket[bytes]) -> list[bytes] | None:
        """Return the next message of a socket; None if there is none now."""
        try:
            return None if self._closed else receiver.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _watch(self, descriptors: list[int]) -> None:
        loop = asyncio.get_running_loop()
        for descriptor in descriptors:
            loop.add_reader(descriptor, self._arrived.set)

        def unwatch() -> None:
            while descriptors:
                loop.remove_reader(descriptors.pop())

        self._unwatch = unwatch

    def send(self, address: str, frame: Buffer) -> None:
        """Send a command; never blocks. A job that has not started yet receives it once it has."""
        sender = self._senders.get(address)
        if sender is None:
            sender = self._context.socket(zmq.PUSH)
            sender.setsockopt(zmq.SNDHWM, 0)
            sender.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
            sender.setsockopt(zmq.LINGER, 0)
            if address.startswith("tcp://") and self._guard is not None:
                self._guard.encrypt(sender)
            sender.setsockopt(zmq.IPV6, "[" in address)
            try:
                sender.connect(address)
            except zmq.ZMQError as why:  # a message with an invalid address, from a broken job or, without keys, from a stranger
                sender.close(0)  # an open socket would block the end of the context forever
                log.warning("dropped a command to %.100r, which is not an address: %s", address, why)
                return
            self._senders[address] = sender
        with contextlib.suppress(zmq.Again):  # no process listens there, or it refuses us
            sender.send_multipart(split([frame]) if address.startswith("tcp://") else [frame], zmq.NOBLOCK)

    def forget(self, address: str) -> None:
        """Close the socket to an address where no process listens."""
        sender = self._senders.pop(address, None)
        if sender is not None:
            sender.close(0)

    def close(self) -> None:
        """Close the sockets. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._unwatch()  # first: another file may get the number of a closed descriptor
        self._arrived.set()
        for sender in self._senders.values():
            sender.close(0)
        self._senders.clear()
        self._receiver.close(0)
        if self._far_receiver is not None:
            self._far_receiver.close(0)
        if self._guard is not None:
            self._guard.close()
        self._context.term()
