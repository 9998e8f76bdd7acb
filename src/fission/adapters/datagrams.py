"""Small messages over UDP, for pulses: one that is late or lost is not worth a second attempt.

TCP would hold pulses back after a short break of the way until it tries again, and a node that was silent for 0.3 s would look dead
for 0.6 s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

from fission.errors import EngineError, RemoteProtocolError
from fission.protocol.messages.codec import Codec, Message
from fission.protocol.replay import ReplayWindows

#: Largest datagram that is looked at, in bytes; arbitrary, a pulse has a tenth of it.
MAX_BYTES = 4096
Address: TypeAlias = "tuple[str, int]"
Received = TypeVar("Received", bound=Message)
Sent = TypeVar("Sent", bound=Message)
#: Addresses whose datagrams were refused with a warning; no more are remembered, and so no more warned of. Arbitrary.
MAX_REFUSED = 4096

log = logging.getLogger("fission.pulses")


class Sealing(Protocol):
    """What makes and opens datagrams: `fission.adapters.sealing.Seals`."""

    def seal(self, payload: bytes, counter: int, sender: bytes, context: bytes) -> bytes:
        """A datagram that only who has the same keys and the same context can open."""

    def open(self, datagram: bytes, context: bytes) -> tuple[bytes, int, bytes] | None:
        """(sender, counter, payload); None: it is not authentic."""

    def meant(self, datagram: bytes, context: bytes) -> bool:
        """Whether it says that it is for this context; nothing of that is authenticated."""


class Datagrams(asyncio.DatagramProtocol, Generic[Received, Sent]):
    """Sends and receives messages. One asyncio loop; sending never blocks and never fails.

    What was made for another receiver, another run or another direction is dropped; so are duplicates and malformed messages.
    """

    def __init__(
        self,
        sealing: Sealing,
        receives: Codec[Received],
        sends: Codec[Sent],
        on_message: Callable[[Received, Address, bytes], None],
        sender: bytes,
        hears: Callable[[], bytes],
    ) -> None:
        """Prepare; `open` begins.

        Args:
            sealing: makes and opens datagrams.
            receives: what comes in.
            sends: what goes out.
            on_message: called with each authentic message, its source, and its sender's name.
            sender: name of this one, which is unique.
            hears: gives the context of messages for this one; empty: there are none now.
        """
        self._sealing = sealing
        self._receives, self._sends = receives, sends
        self._on_message = on_message
        self._sender, self._hears = sender, hears
        self._windows = ReplayWindows()
        self._count = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._refused: set[str] = set()

    async def open(self, ip: str, port: int = 0) -> int:
        """Listen; return the port. Raises EngineError: the address cannot be had."""
        try:
            await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(ip, port))
        except OSError as why:
            raise EngineError(f"cannot listen at {ip}, UDP port {port}: {why.strerror or why}") from None
        if self._transport is None:
            raise EngineError(f"cannot listen at {ip}, UDP port {port}")
        return int(self._transport.get_extra_info("sockname")[1])

    def send(self, message: Sent, address: Address, context: bytes) -> None:
        """Send, if the system can right now; only a receiver with the same context takes it."""
        if self._transport is not None and not self._transport.is_closing():
            payload = self._sends.encode(message)
            self._count += 1
            self._transport.sendto(self._sealing.seal(payload, self._count, self._sender, context), address)

    def close(self) -> None:
        """Give the socket back. Idempotent."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        context = self._hears()
        if len(data) > MAX_BYTES or data[:1] > b"\1":
            self._refuse(addr[0])
            return
        if not context or not self._sealing.meant(data, context):
            return  # of another run, or on another way: too late, or sent back
        opened = self._sealing.open(data, context)
        if opened is None:
            self._refuse(addr[0])
            return
        sender, number, payload = opened
        try:
            message = self._receives.decode(payload)
        except RemoteProtocolError as why:
            log.debug("dropped a malformed datagram from %s: %s", addr[0], why)
            return
        if self._windows.take(sender, number):
            self._on_message(message, (addr[0], addr[1]), sender)

    def _refuse(self, ip: str) -> None:
        if ip not in self._refused and len(self._refused) < MAX_REFUSED:
            self._refused.add(ip)
            log.warning("dropped a pulse from %s: it was not made with this network's keys", ip)

    def error_received(self, exc: Exception) -> None:
        """The system could not deliver an earlier datagram; the silence will show."""
