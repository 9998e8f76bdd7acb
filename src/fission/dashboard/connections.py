"""Connections of the page's server: those that send no request are closed, so that they keep no viewer out."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds for a request to come whole. Arbitrary: much for a slow network.
REQUEST_S = 10.0
#: Connections without a request at a time; of more, the oldest is closed. Arbitrary: a browser opens some in advance.
MOST_IDLE = 64


class PageConnection(H11Protocol):
    """One connection of a browser, or of anything else that can reach the port."""

    request_s: ClassVar[float] = REQUEST_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request; close the oldest one of too many connections that do."""
        super().connection_made(transport)
        self._began = time.monotonic()
        self._timer: asyncio.TimerHandle | None = self.loop.call_later(self.request_s, self._late)
        idle = [one for one in self.connections if isinstance(one, PageConnection) and one.is_idle and not one.transport.is_closing()]
        if len(idle) > MOST_IDLE:
            min(idle, key=lambda one: one._began).close()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        if not self.is_idle:
            self._disarm()
        elif self._timer is None:  # the next request of this connection has begun, which ends the wait of uvicorn
            self._timer = self.loop.call_later(self.request_s, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._disarm()
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # it is None before the first request

    def close(self) -> None:
        """Close it at once."""
        self._disarm()
        self.transport.abort()

    def _late(self) -> None:
        self._timer = None
        if self.is_idle:
            self.close()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
