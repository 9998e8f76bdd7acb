"""Small messages over UDP, for pulses: one that is late or lost is not worth a second attempt.

TCP would hold pulses back after a short break of the way until it tries again, and a node that was silent for 0.3 s would look dead
for 0.6 s.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from fission.errors import EngineError

#: Largest datagram that is looked at, in bytes; arbitrary, a pulse has a tenth of it.
MAX_BYTES = 4096
Address: TypeAlias = "tuple[str, int]"
#: payload -> datagram; datagram -> payload, or None if it is not authentic.
Seal: TypeAlias = "Callable[[bytes], bytes]"
Open: TypeAlias = "Callable[[bytes], bytes | None]"

log = logging.getLogger("fission.pulses")


class Datagrams(asyncio.DatagramProtocol):
    """Sends and receives JSON objects. One asyncio loop; sending never blocks and never fails."""

    def __init__(self, on_message: Callable[[dict[str, Any], Address], None], seal: Seal | None = None, unseal: Open | None = None) -> None:
        """Args: on_message: called with each authentic message and where it came from. seal, unseal: None: nothing is encrypted."""
        self._on_message = on_message
        self._seal, self._unseal = seal, unseal
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
            self._transport.sendto(payload if self._seal is None else self._seal(payload), address)

    def close(self) -> None:
        """Give the socket back. Calling it twice is right."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.DatagramTransport):
            self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        payload: bytes | None = data if len(data) <= MAX_BYTES else None
        if payload is not None and self._unseal is not None:
            payload = self._unseal(payload)
        try:
            message = json.loads(payload) if payload is not None else None
        except ValueError:
            message = None
        if isinstance(message, dict):
            self._on_message(message, (addr[0], addr[1]))
        elif addr[0] not in self._refused and len(self._refused) < MAX_BYTES:
            self._refused.add(addr[0])
            log.warning("dropped a pulse from %s: it was not made with this network's keys", addr[0])

    def error_received(self, exc: Exception) -> None:
        """The system could not deliver an earlier datagram; the silence will show."""
