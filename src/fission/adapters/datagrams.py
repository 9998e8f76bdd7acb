"""Small messages over UDP, for pulses: one that is late or lost is not worth a second attempt.

TCP would hold pulses back after a short break of the way until it tries again, and a node that was silent for 0.3 s would look dead
for 0.6 s.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from fission.errors import EngineError

#: Largest datagram that is looked at, in bytes; arbitrary, a pulse has a tenth of it.
MAX_BYTES = 4096
Address: TypeAlias = "tuple[str, int]"
#: (payload, number) -> datagram, and back; None for what is not authentic. A receiver looks itself whether the message is an old one.
Seal: TypeAlias = "Callable[[bytes, int], bytes]"
Open: TypeAlias = "Callable[[bytes], tuple[int, bytes] | None]"

log = logging.getLogger("fission.pulses")


class Datagrams(asyncio.DatagramProtocol):
    """Sends and receives JSON objects. One asyncio loop; sending never blocks and never fails."""

    def __init__(self, on_message: Callable[[dict[str, Any], Address], None], seal: Seal, unseal: Open) -> None:
        """Args: on_message: called with each authentic message and where it came from. seal, unseal: make and open datagrams."""
        self._on_message = on_message
        self._seal, self._unseal = seal, unseal
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

    def send(self, message: dict[str, Any], address: Address) -> None:
        """Send, if the system can right now."""
        if self._transport is not None and not self._transport.is_closing():
            payload = json.dumps(message, separators=(",", ":")).encode()
            self._count += 1
            self._transport.sendto(self._seal(payload, self._count), address)

    def close(self) -> None:
        """Give the socket back. Calling it twice is right."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        opened = self._unseal(data) if len(data) <= MAX_BYTES else None
        try:
            message = json.loads(opened[1]) if opened is not None else None
        except ValueError:
            message = None
        if isinstance(message, dict):
            self._on_message(message, (addr[0], addr[1]))
        elif addr[0] not in self._refused and len(self._refused) < MAX_BYTES:
            self._refused.add(addr[0])
            log.warning("dropped a pulse from %s: it was not made with this network's keys", addr[0])

    def error_received(self, exc: Exception) -> None:
        """The system could not deliver an earlier datagram; the silence will show."""
