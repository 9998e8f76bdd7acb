"""pypelinin's Client, which speaks the Router's wire protocol itself: JSON over ZeroMQ."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fission.pipelines.daemon import protect_with, read_keys

if TYPE_CHECKING:
    import zmq

_NO_API = "the Client must be connected to the Router's api, but is not: connect(api='tcp://HOST:5555')"
_NO_BROADCAST = "the Client must be connected to the Router's broadcast, but is not: connect(broadcast='tcp://HOST:5556')"


class Client:
    """Requests, their answers, and the Router's broadcasts.

    For one thread; `PipelineManager` is easier to use.

    Attributes:
        api_address: connected address for requests; None: not connected.
        broadcast_address: connected address for broadcasts; None: not connected.
    """

    def __init__(self, *, keys: str | Path | None = None) -> None:
        """Create a client; `connect` connects it.

        Args:
            keys: the Router's folder of keys, made by `fission keys`; None: the Router has no keys.

        Raises:
            DaemonError: the keys cannot be used.
        """
        self._client_keys = read_keys(keys)
        self._zmq_context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._router_api: zmq.Socket[bytes] | None = None
        self._router_broadcast: zmq.Socket[bytes] | None = None
        self.api_address: str | None = None
        self.broadcast_address: str | None = None

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the interpreter may be ending
            self.disconnect(silent=True)

    @property
    def context(self) -> zmq.Context[zmq.Socket[bytes]]:
        """ZeroMQ's context of both sockets; ends when both are closed."""
        if self._zmq_context is None:
            import zmq

            self._zmq_context = zmq.Context()
        return self._zmq_context

    def connect(self, api: str | None = None, broadcast: str | None = None) -> None:
        """Connect to one or both addresses, ``tcp://HOST:PORT``, in the background.

        The Router may start later.

        Args:
            api: the Router's address for requests.
            broadcast: the Router's address for broadcasts.

        Raises:
            ValueError: neither is given.
            zmq.ZMQError: an address is malformed.
        """
        import zmq

        if api is None and broadcast is None:
            raise ValueError("connect needs the Router's api, its broadcast, or both, but has neither")
        if api is not None:
            self._router_api = self._connected(zmq.REQ, api, self._router_api)
            self.api_address = api
        if broadcast is not None:
            self._router_broadcast = self._connected(zmq.SUB, broadcast, self._router_broadcast)
            self.broadcast_address = broadcast

    def _connected(self, kind: int, address: str, before: zmq.Socket[bytes] | None) -> zmq.Socket[bytes]:
        import zmq

        socket: zmq.Socket[bytes] = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        try:
            protect = protect_with(self._client_keys)
            if protect is not None:
                protect(self.context).encrypt(socket)
            socket.connect(address)
        except BaseException:
            socket.close()
            raise
        if before is not None:
            before.close()
        return socket

    def _request_socket(self) -> zmq.Socket[bytes]:
        if self._router_api is None:
            raise RuntimeError(_NO_API)
        return self._router_api

    def _news_socket(self) -> zmq.Socket[bytes]:
        if self._router_broadcast is None:
            raise RuntimeError(_NO_BROADCAST)
        return self._router_broadcast

    # requests

    def send_api_request(self, data: Any) -> None:
        """Send a request, a dict of JSON's types. Take its answer before the next request.

        Raises:
            RuntimeError: the api is not connected.
        """
        self._request_socket().send_json(data)

    def get_api_reply(self) -> Any:
        """Wait without limit for the answer to the request, and return it: a dict.

        `api_poll` tells whether it has arrived.

        Raises:
            RuntimeError: the api is not connected.
        """
        return self._request_socket().recv_json()

    def api_poll(self, timeout: float = 0) -> bool:
        """Wait up to *timeout* milliseconds for an answer; return whether one has arrived.

        Raises:
            RuntimeError: the api is not connected.
        """
        return bool(self._request_socket().poll(round(timeout)))

    # broadcasts

    def broadcast_subscribe(self, subscribe_to: str | bytes) -> None:
        """Receive broadcasts with a prefix, such as ``pipeline finished: id=...`` or ``new job``.

        Raises:
            RuntimeError: the broadcast is not connected.
        """
        import zmq

        self._news_socket().setsockopt(zmq.SUBSCRIBE, _bytes(subscribe_to))

    def broadcast_unsubscribe(self, unsubscribe_to: str | bytes) -> None:
        """Stop receiving broadcasts with this prefix.

        Raises:
            RuntimeError: the broadcast is not connected.
        """
        import zmq

        self._news_socket().setsockopt(zmq.UNSUBSCRIBE, _bytes(unsubscribe_to))

    def broadcast_poll(self, timeout: float = 0) -> bool:
        """Wait up to *timeout* milliseconds for a broadcast; return whether one has arrived.

        Raises:
            RuntimeError: the broadcast is not connected.
        """
        return bool(self._news_socket().poll(round(timeout)))

    def broadcast_receive(self) -> str:
        """Wait without limit for the next broadcast, and return it.

        `broadcast_poll` tells whether one has arrived.

        Raises:
            RuntimeError: the broadcast is not connected.
        """
        return " ".join(frame.decode(errors="replace") for frame in self._news_socket().recv_multipart())

    # disconnecting

    def disconnect_api(self, silent: bool = False) -> None:
        """Close the api's socket.

        Raises:
            RuntimeError: the api is not connected, and *silent* is False.
        """
        if self._router_api is not None:
            self._router_api.close()
            self._router_api = None
            self._give_back()
        elif not silent:
            raise RuntimeError(_NO_API)

    def disconnect_broadcast(self, silent: bool = False) -> None:
        """Close the broadcast's socket.

        Raises:
            RuntimeError: the broadcast is not connected, and *silent* is False.
        """
        if self._router_broadcast is not None:
            self._router_broadcast.close()
            self._router_broadcast = None
            self._give_back()
        elif not silent:
            raise RuntimeError(_NO_BROADCAST)

    def disconnect(self, silent: bool = False) -> None:
        """Close both sockets; `connect` may be called again.

        Raises:
            RuntimeError: neither is connected, and *silent* is False.
        """
        if self._router_api is None and self._router_broadcast is None and not silent:
            raise RuntimeError(f"disconnect needs a connected Client: {_NO_API}")
        self.disconnect_api(silent=True)
        self.disconnect_broadcast(silent=True)

    def _give_back(self) -> None:
        if self._zmq_context is not None and self._router_api is None and self._router_broadcast is None:
            self._zmq_context.destroy(0)
            self._zmq_context = None


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
