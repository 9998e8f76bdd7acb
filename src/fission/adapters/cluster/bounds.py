"""What a connection gets from Dask's listeners before its sender is authenticated: few connections, a few seconds, and little memory.

Dask itself bounds nothing: each connection that comes is kept for ever, and the length that its first eight bytes announce is read.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from tornado.iostream import StreamClosedError

from fission.protocol.doorkeeper import MOST_STRANGERS, PATIENCE_S

#: Bytes that a peer's first message may have, by which it names its versions; arbitrary, a hundred times what Dask sends.
FIRST_BYTES = 64 << 10
#: Bytes of one part of a later message. Arbitrary: an order to a node has at most some pieces of archives, and no bundle is larger.
MOST_BYTES = 1 << 30
#: Bytes of the number with which Dask announces what follows.
_LENGTH = 8

log = logging.getLogger("fission.cluster")


def bound(listener: Any) -> None:
    """Bound what strangers get from a listener of Dask's that has just been started; others are not served by it."""
    server = getattr(listener, "tcp_server", None)
    if server is None:
        return  # inside this process
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
            await take(stream, address)  # until the peer has shown its certificate, if there is TLS, and has named its versions
        except StreamClosedError:
            pass
        except Exception as why:  # whatever a stranger's bytes have led to
            log.debug("hung up on %s, which does not speak as Dask does: %s: %s", address[0], type(why).__name__, why)
            stream.close()
        finally:
            patience.cancel()
            strangers.pop(stream, None)
            reader.limit = MOST_BYTES

    server.handle_stream = handle


class _Reader:
    """Reads from a stream for Dask, and hangs up where more is announced than the limit."""

    def __init__(self, stream: Any) -> None:
        """Args: stream: tornado's; its methods are replaced."""
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
