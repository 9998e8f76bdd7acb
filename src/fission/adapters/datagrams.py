"""Small messages over UDP, for pulses: a late or lost one is not worth a second attempt.

After a short interruption TCP would hold pulses back until its next retransmission, and a node that
was silent for 0.3 s would look dead for 0.6 s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

from fission.errors import EngineError, RemoteProtocolError
from fission.protocol.messages.codec import Codec, Message
from fission.protocol.replay import ReplayWindows

#: Bytes of the largest datagram accepted; arbitrary, a pulse has a tenth of it.
MAX_BYTES = 4096
Address: TypeAlias = "tuple[str, int]"
Received = TypeVar("Received", bound=Message)
Sent = TypeVar("Sent", bound=Message)
#: Addresses remembered after a warning about a refused datagram; further addresses cause no warnings. Arbitrary.
MAX_REFUSED = 4096

log = logging.getLogger("fission.pulses")


class Sealing(Protocol):
    """Seals and opens datagrams, as `fission.adapters.sealing.Seals` does."""

    def seal(self, payload: bytes, counter: int, sender: bytes, context: bytes) -> bytes:
        """Return a datagram that only a holder of the same keys and context can open."""

    def open(self, datagram: bytes, context: bytes) -> tuple[bytes, int, bytes] | None:
        """Return (sender, counter, payload); None if the datagram is not authentic."""

    def meant(self, datagram: bytes, context: bytes) -> bool:
        """Return whether a datagram claims to be for this context; the claim is unverified."""


class Datagrams(asyncio.DatagramProtocol, Generic[Received, Sent]):
    """Sends and receives messages. Belongs to one asyncio loop.

    Sending never blocks and never fails.

    Datagrams for another receiver, run or direction are dropped; so are duplicates and malformed
    messages.
    """

    def __init__(
        self,
        sealing: Sealing,
        receives: Codec[Received],
        sends: Codec[Sent],
        on_message: Callable[[Received, Address, bytes], None],
        sender: bytes,
        accepts: Callable[[], bytes],
    ) -> None:
        """Prepare; `open` listens.

        Args:
            sealing: seals and opens datagrams.
            receives: codec of incoming messages.
            sends: codec of outgoing messages.
            on_message: called with each authentic message, its source address and its sender's
                name.
            sender: unique name of this endpoint.
            accepts: returns the context of messages for this endpoint; empty accepts none.
        """
        self._sealing = sealing
        self._receives, self._sends = receives, sends
        self._on_message = on_message
        self._sender, self._accepts = sender, accepts
        self._windows = ReplayWindows()
        self._count = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._refused: set[str] = set()

    async def open(self, ip: str, port: int = 0) -> int:
        """Listen; return the port.

        Args:
            ip: address on which to listen.
            port: UDP port; 0 chooses a free one.

        Raises:
            EngineError: the address cannot be bound.
        """
        try:
            await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(ip, port))
        except OSError as why:
            raise EngineError(f"cannot listen at {ip}, UDP port {port}: {why.strerror or why}") from None
        if self._transport is None:
            raise EngineError(f"cannot listen at {ip}, UDP port {port}")
        return int(self._transport.get_extra_info("sockname")[1])

    def send(self, message: Sent, address: Address, context: bytes) -> None:
        """Send a message if the system can do so now.

        Only a receiver with the same context accepts it.
        """
        if self._transport is not None and not self._transport.is_closing():
            payload = self._sends.encode(message)
            self._count += 1
            self._transport.sendto(self._sealing.seal(payload, self._count, self._sender, context), address)

    def close(self) -> None:
        """Close the socket. Idempotent."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        context = self._accepts()
        if len(data) > MAX_BYTES or data[:1] > b"\1":
            self._refuse(addr[0])
            return
        if not context or not self._sealing.meant(data, context):
            return  # for another run or direction: late or reflected
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
        """Ignore that an earlier datagram could not be delivered; the silence will show it."""
