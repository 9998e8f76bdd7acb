"""pypelinin's PipelineManager, which waits for a Router and is a `Client`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fission.pipelines import manager
from pypelinin.client import Client

if TYPE_CHECKING:
    import zmq


class PipelineManager(manager.PipelineManager, Client):
    """`fission.pipelines.PipelineManager` whose `start` by default waits until a Router answers.

    The methods of `Client` open their own sockets when used.
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
        """Connect in the background.

        Args:
            api: the Router's address for requests, ``tcp://HOST:PORT``.
            broadcast: the Router's address for broadcasts, ``tcp://HOST:PORT``.
            poll_time: time that `finished` and `update` wait for broadcasts, in milliseconds.
            timeout: limit of `start`'s wait for the Router, in seconds; None: no limit.
            keep: maximum number of ended pipelines in `pipelines`.
            keys: the Router's folder of keys, made by `fission keys`; None: the Router has no keys.

        Raises:
            DaemonError: an address is malformed, or the keys cannot be used.
        """
        Client.__init__(self, keys=keys)
        self._ended = True  # in case the addresses are malformed
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
        """Close all sockets; the pipelines continue. Idempotent."""
        self._ended = True
        super().close()
        self.disconnect_api(silent=True)
        self.disconnect_broadcast(silent=True)

    def disconnect(self, silent: bool = False) -> None:
        """Close all sockets, as `close`.

        Args:
            silent: whether to do nothing if the sockets are closed already.

        Raises:
            RuntimeError: the sockets are closed already, and *silent* is False.
        """
        if self._ended and not silent:
            raise RuntimeError("disconnect needs a connected PipelineManager, but this one was disconnected or closed before")
        self.close()
