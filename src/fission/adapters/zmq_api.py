"""The two addresses of the Router, over ZeroMQ: `api` (requests and answers) and `broadcast` (what everybody is told)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import zmq

from fission.errors import UserError

#: Called with each socket before it is bound or connected, and whether it is the server's end: to protect it.
Secure: TypeAlias = Callable[["zmq.Socket[bytes]", bool], None]
#: Bytes that a socket takes from a peer before it hangs up; above what is answered with an error.
HANG_UP = 64 * 1024 * 1024
#: Messages that wait for a slow peer before they are dropped; who misses one asks.
WAITING = 10_000


class ApiServer:
    """The Router's ends. One thread's."""

    def __init__(self, api: str, broadcast: str, secure: Secure | None = None) -> None:
        """Binds both.

        Args:
            api, broadcast: as ``tcp://HOST:PORT``; ``*`` for all interfaces.
            secure: see `Secure`.

        Raises:
            UserError: an address is in use or cannot be one.
        """
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._api = self._context.socket(zmq.ROUTER)
        self._broadcast = self._context.socket(zmq.PUB)
        try:
            for socket, address, name in ((self._api, api, "api"), (self._broadcast, broadcast, "broadcast")):
                socket.setsockopt(zmq.LINGER, 200)
                socket.setsockopt(zmq.MAXMSGSIZE, HANG_UP)
                socket.setsockopt(zmq.SNDHWM, WAITING)
                if secure is not None:
                    secure(socket, True)
                _bind(socket, address, name)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Becomes readable when something may have come; edge-triggered, so take all of it, again after every send."""
        return int(self._api.getsockopt(zmq.FD))

    def take(self) -> list[tuple[bytes, Callable[[bytes], None]]]:
        """All requests that have come: (bytes, function that sends the answer)."""
        found: list[tuple[bytes, Callable[[bytes], None]]] = []
        while True:
            try:
                frames = self._api.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return found
            end = frames.index(b"") if b"" in frames else len(frames) - 1
            found.append((b"".join(frames[end + 1 :]), self._answer(frames[: end + 1])))

    def _answer(self, way: Sequence[bytes]) -> Callable[[bytes], None]:
        def send(body: bytes) -> None:
            with contextlib.suppress(zmq.Again, zmq.ZMQError):  # whoever asked is gone, or takes nothing
                self._api.send_multipart([*way, body], zmq.NOBLOCK)

        return send

    def say(self, topic: str, body: bytes) -> None:
        """Tell all who listen to *topic*."""
        with contextlib.suppress(zmq.Again):
            self._broadcast.send_multipart([topic.encode(), body], zmq.NOBLOCK)

    def close(self) -> None:
        """Give both back; twice is right."""
        self._api.close()
        self._broadcast.close()
        self._context.term()


def _bind(socket: zmq.Socket[bytes], address: str, name: str) -> None:
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            reason = "is in use by another program, maybe by another Router: there can be only one; stop it, or choose another port"
        else:
            reason = f"cannot be bound: {error.strerror}"
        raise UserError(f"the Router's {name} address {address} {reason}") from None


class ApiClient:
    """Asks the Router. One thread's."""

    def __init__(self, address: str, secure: Secure | None = None) -> None:
        """Args: address: the Router's api. secure: see `Secure`. Nothing is connected before the first request.

        Raises:
            UserError: the address cannot be one.
        """
        self._address = address
        self._secure = secure
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> zmq.Socket[bytes]:
        if self._socket is None:
            self._socket = _connected(self._context, zmq.REQ, self._address, self._secure)
        return self._socket

    def request(self, body: bytes, timeout: float, *, again: float = 1.0) -> bytes | None:
        """The answer, or None if there was none within *timeout* seconds.

        The request is sent again, over a new connection, after every *again* seconds without an answer; what it asks for must bear that.
        """
        deadline = time.monotonic() + timeout
        while True:
            socket = self._connect()
            try:
                socket.send(body)
                left = deadline - time.monotonic()
                if socket.poll(round(max(0.0, min(again, left)) * 1000)):
                    return socket.recv()
            except BaseException:  # Ctrl-C: the answer that may still come is nobody's
                self._drop()
                raise
            self._drop()
            if left <= again:
                return None

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None

    def close(self) -> None:
        """Give it back; twice is right."""
        self._drop()
        self._context.term()


class Listener:
    """Hears what the Router tells everybody. One thread's."""

    def __init__(self, address: str, topics: Iterable[str], secure: Secure | None = None) -> None:
        """Args: address: the Router's broadcast. topics: of what is wanted. secure: see `Secure`.

        Raises:
            UserError: the address cannot be one.
        """
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._socket = _connected(self._context, zmq.SUB, address, secure)
        except BaseException:
            self._context.term()
            raise
        for topic in topics:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)

    def also(self, descriptor: int) -> None:
        """Let `hear` return when this file descriptor is readable, too."""
        self._poller.register(descriptor, zmq.POLLIN)

    def hear(self, timeout: float) -> list[tuple[str, bytes]]:
        """All that has come, (topic, bytes); waits for up to *timeout* seconds if nothing has."""
        self._poller.poll(round(max(0.0, timeout) * 1000))
        found: list[tuple[str, bytes]] = []
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return found
            if len(frames) == 2:
                found.append((frames[0].decode(errors="replace"), frames[1]))

    def close(self) -> None:
        """Give it back; twice is right."""
        self._socket.close(0)
        self._context.term()


def _connected(context: zmq.Context[zmq.Socket[bytes]], kind: int, address: str, secure: Secure | None) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    try:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, HANG_UP)
        socket.setsockopt(zmq.RCVHWM, WAITING)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        if secure is not None:
            secure(socket, False)
        socket.connect(address)
    except zmq.ZMQError as error:
        socket.close(0)
        raise UserError(f"{address!r} is no address of a Router: {error.strerror}; it must be like tcp://HOST:5555") from None
    except BaseException:
        socket.close(0)
        raise
    return socket
