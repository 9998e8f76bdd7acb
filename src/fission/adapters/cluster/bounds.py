"""Limits of Dask's listeners for unauthenticated peers: few connections, short time, little memory.

Dask itself has no limits: it keeps every connection forever and reads as many bytes as the first
eight bytes announce.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from tornado.iostream import StreamClosedError

from fission.protocol.connection_limit import MOST_STRANGERS, PATIENCE_S

#: Bytes of a peer's first message, which names its versions; arbitrary, a hundred times what Dask sends.
FIRST_BYTES = 64 << 10
#: Bytes of one part of a later message. Arbitrary: an order has at most a few pieces of archives, and no bundle is larger.
MOST_BYTES = 1 << 30
#: Bytes of the length that Dask sends before each part.
_LENGTH = 8

log = logging.getLogger("fission.cluster")


def bound(listener: Any) -> None:
    """Limit what unauthenticated peers get from one of Dask's listeners that has just started."""
    server = getattr(listener, "tcp_server", None)
    if server is None:
        return  # a listener inside this process
    take = server.handle_stream
    strangers: dict[Any, None] = {}  # oldest first

    async def handle(stream: Any, address: Any) -> None:
        strangers[stream] = None
        if len(strangers) > MOST_STRANGERS:
            oldest = next(iter(strangers))
            del strangers[oldest]
            oldest.close()
        reader = _Reader(stream)
        patience = asyncio.get_running_loop().call_later(PATIENCE_S, stream.close)
        try:
            await take(stream, address)  # returns when the peer has shown its certificate, if TLS is on, and has sent its versions
        except StreamClosedError:
            pass
        except Exception as why:  # a stranger's bytes may cause any error
            log.debug("closed the connection from %s, which does not follow Dask's protocol: %s: %s", address[0], type(why).__name__, why)
            stream.close()
        finally:
            patience.cancel()
            strangers.pop(stream, None)
            reader.limit = MOST_BYTES

    server.handle_stream = handle


class _Reader:
    """Reads from a stream for Dask, and disconnects if more than the limit is announced."""

    def __init__(self, stream: Any) -> None:
        """Replace the stream's methods.

        Args:
            stream: tornado's stream.
        """
        self.limit = FIRST_BYTES
        self._stream = stream
        self._read_bytes, self._read_into = stream.read_bytes, stream.read_into
        stream.read_bytes, stream.read_into = self.read_bytes, self.read_into

    async def read_bytes(self, count: int, partial: bool = False) -> bytes:
        data: bytes = await self._read_bytes(count, partial)
        if count == _LENGTH and int.from_bytes(data, "little") > self.limit:
            self._hang_up()
        return data

    async def read_into(self, buffer: Any, partial: bool = False) -> int:
        if len(buffer) > self.limit:
            self._hang_up()
        read: int = await self._read_into(buffer, partial)
        return read

    def _hang_up(self) -> None:
        self._stream.close()
        raise StreamClosedError
