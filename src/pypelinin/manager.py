"""The PipelineManager of pypelinin: waits for a Router, and is a `Client`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fission.pipelines import manager
from pypelinin.client import Client

if TYPE_CHECKING:
    import zmq


class PipelineManager(manager.PipelineManager, Client):
    """`fission.pipelines.PipelineManager`, whose `start` waits until a Router answers, if nothing else is said.

    The methods of `Client` open sockets of their own, when they are used.
    """

    def __init__(
        self,
        api: str,
        broadcast: str,
        poll_time: int = 50,
        timeout: float | None = None,
        *,
        keep: int = manager.KEEP,
        keys: str | Path | None = None,
    ) -> None:
        """Args:
            api, broadcast: the Router's addresses, ``tcp://HOST:PORT``.
            poll_time: milliseconds that `finished` and `update` wait for news.
            timeout: seconds that `start` waits for the Router; None: without a limit.
            keep: pipelines that are over and stay in `pipelines`.
            keys: the Router's, the folder of `fission keys`; None: it has none.

        Raises:
            DaemonError: an address cannot be one, or the keys cannot be used.
        """
        Client.__init__(self, keys=keys)
        self._ended = True  # in case that the addresses cannot be any
        super().__init__(api, broadcast, poll_time, timeout, keep=keep, keys=keys)
        self.api_address, self.broadcast_address = api, broadcast
        self._ended = False

    def _request_socket(self) -> zmq.Socket[bytes]:
        if self._router_api is None and not self._ended:
            self.connect(api=self.api_address)
        return super()._request_socket()

    def _news_socket(self) -> zmq.Socket[bytes]:
        if self._router_broadcast is None and not self._ended:
            self.connect(broadcast=self.broadcast_address)
        return super()._news_socket()

    def close(self) -> None:
        """Give all sockets back; the pipelines run on. Idempotent."""
        self._ended = True
        super().close()
        self.disconnect_api(silent=True)
        self.disconnect_broadcast(silent=True)

    def disconnect(self, silent: bool = False) -> None:
        """The same.

        Raises:
            RuntimeError: that was done before, and *silent* is False.
        """
        if self._ended and not silent:
            raise RuntimeError("disconnect needs a connected PipelineManager, but this one was disconnected or closed before")
        self.close()
