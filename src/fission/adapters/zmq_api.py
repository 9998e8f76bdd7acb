"""The Router's two addresses over ZeroMQ: `api` for requests, `broadcast` for messages to all."""

from __future__ import annotations

import contextlib
import socket as sockets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import zmq
from zmq.utils.monitor import parse_monitor_message

from fission.core.addresses import bracketed, is_ip, split_host_port
from fission.errors import UserError
from fission.posix.port_users import by_user_of

#: Maximum size of a message in bytes; a peer that sends more is disconnected. Oversized messages below this limit get an error.
HANG_UP = 64 * 1024 * 1024
#: Maximum number of messages that wait for a slow peer; further ones are dropped, and the peer asks for them.
WAITING = 10_000
#: Number of consecutive aborted attempts after which a server counts as refusing this client: a single one may be a dying server.
BROKEN_OFF = 2
_ENCRYPTS = "it refuses unencrypted connections; give the keys that it was started with (--keys DIR, in Python keys=)"
_OTHER_KEYS = "its keys differ from those given here, or it has none; give both the same folder (--keys DIR, in Python keys=)"
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
# EVENT_CLOSED is an attempt to connect that reached no server.
_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_CLOSED | _FAILED


class SocketGuard(Protocol):
    """Restricts a context's sockets to holders of the network's keys, as `adapters.curve` does."""

    def listen(self, socket: zmq.Socket[Any]) -> None:
        """Protect a socket. Call it before `bind`."""

    def encrypt(self, socket: zmq.Socket[Any]) -> None:
        """Protect a socket. Call it before `connect`."""

    def close(self) -> None:
        """End the guard. Call it before the context ends if `listen` was called."""


#: Creates the guard of a context; it holds the keys.
Protect: TypeAlias = Callable[["zmq.Context[zmq.Socket[bytes]]"], SocketGuard]


class ApiServer:
    """The Router's end of both addresses. Belongs to one thread."""

    def __init__(self, api: str, broadcast: str, keys: Protect | None = None) -> None:
        """Bind both addresses.

        Args:
            api: address for requests, ``tcp://HOST:PORT``; ``*`` means all interfaces. A host name means
                one of its addresses, IPv4 if it has any.
            broadcast: address for broadcasts, as for `api`.
            keys: admits only peers with these keys and encrypts everything; None admits all peers
                and encrypts nothing.

        Raises:
            UserError: an address is in use or malformed.
        """
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._guard = None if keys is None else keys(self._context)
        self._api = self._context.socket(zmq.ROUTER)
        self._broadcast = self._context.socket(zmq.PUB)
        try:
            for socket, address, name in ((self._api, api, "api"), (self._broadcast, broadcast, "broadcast")):
                socket.setsockopt(zmq.LINGER, 200)
                socket.setsockopt(zmq.MAXMSGSIZE, HANG_UP)
                socket.setsockopt(zmq.SNDHWM, WAITING)
                if self._guard is not None:
                    self._guard.listen(socket)
                _bind(socket, address, name)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when a request may have arrived.

        It is edge-triggered: `take` all requests, and again after each send.
        """
        return int(self._api.getsockopt(zmq.FD))

    def take(self) -> list[tuple[bytes, Callable[[bytes], None]]]:
        """Return all requests that have arrived: (bytes, function that sends the answer)."""
        found: list[tuple[bytes, Callable[[bytes], None]]] = []
        while True:
            try:
                frames = self._api.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return found
            end = frames.index(b"") if b"" in frames else len(frames) - 1
            found.append((b"".join(frames[end + 1 :]), self._answer(frames[: end + 1])))

    def _answer(self, envelope: Sequence[bytes]) -> Callable[[bytes], None]:
        def send(body: bytes) -> None:
            with contextlib.suppress(zmq.Again, zmq.ZMQError):  # the client is gone, or does not read
                self._api.send_multipart([*envelope, body], zmq.NOBLOCK)

        return send

    def say(self, topic: str, body: bytes) -> None:
        """Broadcast a message to all listeners of a topic."""
        with contextlib.suppress(zmq.Again):
            self._broadcast.send_multipart([topic.encode(), body], zmq.NOBLOCK)

    def announce(self, line: str) -> None:
        """Broadcast a line in one frame to the listeners of any prefix of it, as pypelinin does."""
        with contextlib.suppress(zmq.Again):
            self._broadcast.send(line.encode(), zmq.NOBLOCK)

    def close(self) -> None:
        """Close both addresses. Idempotent."""
        if self._guard is not None:
            self._guard.close()
        self._api.close()
        self._broadcast.close()
        self._context.term()


def _bind(socket: zmq.Socket[bytes], address: str, name: str) -> None:
    _allow_ipv6(socket, address)
    host, port = split_host_port(address)
    found = [] if host == "*" or is_ip(host) else _addresses(host)
    try:
        # ZeroMQ binds no host names; what is not one may be the name of an interface
        socket.bind(f"tcp://{bracketed(found[0])}:{port}" if found else address)
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            user = by_user_of("0.0.0.0" if host == "*" else found[0] if found else host, int(port))
            maybe = "maybe by another Router: there can be only one; stop it, or choose another port"
            reason = f"is in use{user or ' by another program'}, {maybe}"
        else:
            reason = f"cannot be bound: {error.strerror}"
        raise UserError(f"the Router's {name} address {address} {reason}") from None


class ApiClient:
    """Sends requests to the Router. Belongs to one thread."""

    def __init__(self, address: str, keys: Protect | None = None) -> None:
        """Connect in the background; the Router may start later.

        Args:
            address: the Router's api address.
            keys: the Router's keys; None if it has none.

        Raises:
            UserError: the address is malformed.
        """
        self._address = address
        self._keys = keys
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._sockets = self._broken_off = 0
        #: Reason why the server refuses this client, if the last request had no answer because of it; otherwise empty.
        self.refusal = ""
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> zmq.Socket[bytes]:
        if self._socket is None:
            socket = _socket(self._context, zmq.REQ, self._keys)
            # Only until the first answer: unread events queue up, at most two per second. No limit: at a limit ZeroMQ waits.
            self._sockets += 1
            address = f"inproc://events-{self._sockets}"
            socket.monitor(address, _EVENTS)
            self._monitor = self._context.socket(zmq.PAIR)
            self._monitor.setsockopt(zmq.RCVHWM, 0)
            self._monitor.connect(address)
            self._socket = socket
            _connect(socket, self._address)
        return self._socket

    def request(self, body: bytes, timeout: float, *, again: float = 1.0) -> bytes | None:
        """Send a request and return its answer; None if none arrives in time.

        Args:
            body: bytes of the request, which must be idempotent.
            timeout: seconds to wait.
            again: seconds without an answer before the request is sent again over a new connection.
        """
        deadline = time.monotonic() + timeout
        self.refusal, self._broken_off = "", 0
        while True:
            socket = self._connect()
            try:
                with contextlib.suppress(zmq.Again):  # the server has refused this client already: ZeroMQ has no connection left
                    socket.send(body, zmq.NOBLOCK)
                left = deadline - time.monotonic()
                if socket.poll(round(max(0.0, min(again, left)) * 1000)):
                    answer = socket.recv()
                    self._stop_events()
                    self.refusal = ""
                    return answer
                self._read_events()
            except BaseException:  # Ctrl-C: an answer that still arrives belongs to no request
                self._drop()
                raise
            self._drop()
            if left <= again:
                return None

    def _read_events(self) -> None:
        """Read the connection's events to find out whether the server refuses this client."""
        while self._monitor is not None and self._monitor.poll(0):
            event = parse_monitor_message(self._monitor.recv_multipart())
            if not event["event"] & _FAILED:
                self.refusal, self._broken_off = "", 0
                continue
            self._broken_off += 1
            plain = event["event"] == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and event["value"] == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
            if plain or event["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH or self._broken_off >= BROKEN_OFF:
                self.refusal = _ENCRYPTS if self._keys is None else _OTHER_KEYS

    def _stop_events(self) -> None:
        if self._monitor is not None and self._socket is not None:
            self._socket.disable_monitor()
            self._monitor.close(0)
            self._monitor = None

    def _drop(self) -> None:
        self._stop_events()
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._drop()
        self._context.term()


class Listener:
    """Receives the Router's broadcasts. Belongs to one thread."""

    def __init__(self, address: str, topics: Iterable[str], keys: Protect | None = None) -> None:
        """Connect in the background.

        Args:
            address: the Router's broadcast address.
            topics: topics to receive.
            keys: the Router's keys; None if it has none.

        Raises:
            UserError: the address is malformed.
        """
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = _socket(self._context, zmq.SUB, keys)
        try:
            _connect(self._socket, address)
        except BaseException:
            self.close()
            raise
        for topic in topics:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)

    def add_descriptor(self, descriptor: int) -> None:
        """Make `receive` also return when this file descriptor is readable."""
        self._poller.register(descriptor, zmq.POLLIN)

    def receive(self, timeout: float) -> list[tuple[str, bytes]]:
        """Return all messages that have arrived as (topic, bytes).

        Args:
            timeout: seconds to wait for the first message.
        """
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
        """Close the socket. Idempotent."""
        self._socket.close(0)
        self._context.term()


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int, keys: Protect | None) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, HANG_UP)
    socket.setsockopt(zmq.RCVHWM, WAITING)
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    if keys is not None:
        keys(context).encrypt(socket)  # a client's guard has no thread to end
    return socket


def _allow_ipv6(socket: zmq.Socket[bytes], address: str) -> None:
    """Set whether a socket uses IPv6: then ZeroMQ prefers it for names that have both kinds, and a Router may listen at one alone."""
    host, _ = split_host_port(address)
    if host == "*":
        wanted = sockets.has_dualstack_ipv6()
    else:
        wanted = ":" in host or ":" in next(iter([host] if is_ip(host) else _addresses(host)), "")
    socket.setsockopt(zmq.IPV6, wanted)


def _addresses(host: str) -> list[str]:
    """Return the addresses of a host name, those of IPv4 first; none if it is not known."""
    try:
        found = sockets.getaddrinfo(host, None, type=sockets.SOCK_STREAM)
    except OSError:
        return []
    return sorted((str(entry[4][0]) for entry in found), key=lambda ip: ":" in ip)


def _connect(socket: zmq.Socket[bytes], address: str) -> None:
    _allow_ipv6(socket, address)
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        raise UserError(f"{address!r} is not the address of a Router: {error.strerror}; it must be like tcp://HOST:5555") from None
