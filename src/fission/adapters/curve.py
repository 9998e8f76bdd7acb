"""Encryption and admission for ZeroMQ's sockets: CURVE with one key pair for the network.

No other key is admitted.

With or without keys, a peer that has not completed a handshake gets little: a few seconds
(`fission.protocol.connection_limit`), few connections, and no frame above the size set by the
socket's owner (ZMQ_MAXMSGSIZE); nothing of a larger frame is read.

A peer without the network's public key fails before ZeroMQ asks the guard. A peer that has that key
but another pair fails when ZeroMQ asks the guard, through ZAP, its protocol for that. A guarded
socket cannot be reached while no guard answers. Both peers are refused in the handshake: nothing
that they sent is delivered.

pyzmq has a ZAP authenticator. It needs a thread with an asyncio loop in every job's process, does
not give its callback the peer's address, and does not learn of peers that fail earlier; one plain
thread here does both.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket as sockets
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from fission.errors import EngineError
from fission.protocol.connection_limit import PATIENCE_S, ConnectionLimit

#: Seconds between two warnings about the same address; arbitrary: a refused peer retries several times a second.
QUIET_S = 10.0
#: Addresses whose last warning is remembered; arbitrary, more than a local network has.
MAX_ADDRESSES = 4096
_ZAP = "inproc://zeromq.zap.01"
_DOMAIN = b"fission"
_WRONG_KEYS = "its keys are not this network's; copy the folder of keys to it"
_PLAIN = "it does not encrypt; set SECURITY there as it is here (pipelines: --keys)"
# A peer that does not encrypt may be the first to notice the difference and disconnect; it does not retry.
_GONE = "it disconnected before it had authenticated; check that it encrypts (SECURITY, pipelines: --keys)"
_OPEN_PLAIN, _OPEN_GONE = "it encrypts, and SECURITY is off here", "it disconnected, or sent nothing, before the handshake"
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | _FAILED | zmq.EVENT_DISCONNECTED | zmq.EVENT_MONITOR_STOPPED
#: Position of a connection's count of received bytes on Linux: `struct tcp_info`, <linux/tcp.h>.
_RECEIVED, _INFO_BYTES = 128, 136


class CurvePair(Protocol):
    """The part of the network's keys that CURVE needs, in ZeroMQ's text form, 40 bytes each."""

    @property
    def public(self) -> bytes:
        """The public key, which only machines of the network know."""

    @property
    def secret(self) -> bytes:
        """The secret key of the pair."""


class Guard:
    """Restricts the sockets of one ZeroMQ context to peers with the network's keys.

    Sockets of asyncio contexts are supported. All methods are thread-safe. `close` the guard before
    the context is terminated; guarded sockets may be closed before or after it.
    """

    def __init__(
        self, context: zmq.Context[Any], keys: CurvePair | None, log: logging.Logger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare at no cost; the first `listen` starts a thread.

        Args:
            context: ZeroMQ context, which can have at most one guard.
            keys: keys of the network; None admits all peers and encrypts nothing, but still limits
                strangers.
            log: logger for refused peers, with at most one warning per address in `QUIET_S`.
            clock: function that returns monotonic seconds.
        """
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(context)  # plain sockets, whatever kind the context creates
        self._keys = keys
        self._lock = threading.Lock()
        self._fresh: queue.SimpleQueue[_Monitor] = queue.SimpleQueue()
        self._log = _RefusalLog(log, clock)
        self._wake: zmq.Socket[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._listeners = 0
        self._guarded: weakref.WeakSet[zmq.Socket[Any]] = weakref.WeakSet()

    def listen(self, socket: zmq.Socket[Any]) -> None:
        """Admit only peers with the network's keys to a socket. Call it before `bind`.

        It applies to all addresses of the socket except ``inproc://``.

        Raises:
            EngineError: the guard is closed, or the context has another one.
        """
        with self._lock:
            self._start()
            socket.setsockopt(zmq.HANDSHAKE_IVL, int(PATIENCE_S * 1000))
            if self._keys is not None:
                socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
                socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without an answer, no connection is admitted
                self._own(socket, self._keys)
                socket.setsockopt(zmq.CURVE_SERVER, 1)
            self._listeners += 1
            address = f"inproc://fission-guard-{id(self)}-{self._listeners}"
            socket.monitor(address, _EVENTS)
            self._guarded.add(socket)
            self._fresh.put(_Monitor(self._context, address, encrypts=self._keys is not None))
            self._wake_up()

    def encrypt(self, socket: zmq.Socket[Any]) -> None:
        """Make a socket send only to holders of the network's keys. Call it before `connect`."""
        if self._keys is not None:
            self._own(socket, self._keys)
            socket.setsockopt(zmq.CURVE_SERVERKEY, self._keys.public)

    def close(self) -> None:
        """End the thread. Idempotent.

        Later connections to a guarded socket are refused; existing ones stay.
        """
        with self._lock:
            if not self._closed:
                # otherwise ZeroMQ's own thread would wait at the next event until it is read
                for socket in list(self._guarded):
                    with contextlib.suppress(zmq.ZMQError):  # it is already closed
                        socket.disable_monitor()
            self._closed = True
            self._wake_up()
        if self._thread is not None:
            self._thread.join()

    @staticmethod
    def _own(socket: zmq.Socket[Any], keys: CurvePair) -> None:
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)

    def _start(self) -> None:
        if self._closed:
            raise EngineError("this guard is closed and cannot guard another socket")
        if self._thread is not None:
            return
        zap, woken, wake = self._context.socket(zmq.REP), self._context.socket(zmq.PAIR), self._context.socket(zmq.PAIR)
        for socket in (zap, woken, wake):
            socket.setsockopt(zmq.LINGER, 0)
        try:
            zap.bind(_ZAP)
        except zmq.ZMQError as why:
            for socket in (zap, woken, wake):
                socket.close()
            raise EngineError(f"this ZeroMQ context already has a guard: {why}") from None
        woken.bind(f"inproc://fission-guard-{id(self)}")
        wake.connect(f"inproc://fission-guard-{id(self)}")
        self._wake = wake
        self._thread = threading.Thread(target=self._work, args=(zap, woken), name="fission-guard", daemon=True)
        self._thread.start()

    def _wake_up(self) -> None:
        if self._wake is not None:
            with contextlib.suppress(zmq.ZMQError):  # the context has ended
                self._wake.send(b"", zmq.NOBLOCK)

    # -- in the guard's thread --------------------------------------------------------------------------------------------

    def _work(self, zap: zmq.Socket[bytes], wake: zmq.Socket[bytes]) -> None:
        monitors: dict[zmq.Socket[bytes], _Monitor] = {}
        poller = zmq.Poller()
        poller.register(zap, zmq.POLLIN)
        poller.register(wake, zmq.POLLIN)
        try:
            while not self._closed:
                ready = dict(poller.poll())
                if wake in ready:
                    wake.recv()
                while not self._fresh.empty():  # the wake-up may arrive later than the first peer's request
                    monitor = self._fresh.get()
                    monitors[monitor.socket] = monitor
                    poller.register(monitor.socket, zmq.POLLIN)
                for socket in list(monitors):  # all of them before ZAP: while ZAP waits for an answer, a peer's connection is still open
                    if not monitors[socket].read(self._log):
                        poller.unregister(socket)
                        monitors.pop(socket).socket.close(0)
                if zap in ready:
                    zap.send_multipart(self._judge(zap.recv_multipart()))
        except zmq.ZMQError:
            pass  # the context is being terminated and waits for the sockets
        finally:
            while not self._fresh.empty():
                monitor = self._fresh.get()
                monitors[monitor.socket] = monitor
            with contextlib.suppress(zmq.ZMQError):  # the context has ended
                zap.unbind(_ZAP)  # at once: closing takes time, and a request in the meantime would never get an answer
            with self._lock:
                self._closed = True
                for socket in filter(None, (zap, wake, self._wake, *monitors)):
                    socket.close(0)
                self._wake = None

    def _judge(self, request: list[bytes]) -> list[bytes]:
        """Return the answer to a ZAP request.

        A request consists of version, id, domain, address, routing id, mechanism and credentials.
        """
        version, number = request[0], request[1]
        ours = len(request) == 7 and request[5] == b"CURVE" and self._keys is not None and z85.encode(request[6]) == self._keys.public
        return [version, number, b"200" if ours else b"400", b"" if ours else b"unknown key", b"", b""]


class _Monitor:
    """Receives the events of one listening socket.

    ZeroMQ identifies a connection by its file descriptor when it is accepted and when it has ended,
    and reports failures without it; the failure and the end of a connection directly follow each
    other. The address of a descriptor can only be queried while the connection exists. That is
    certain where ZAP is used, because the connection waits for the guard. Other connections may end
    too early, and their addresses stay unknown.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str, *, encrypts: bool) -> None:
        self._mismatch, self._gone = (_PLAIN, _GONE) if encrypts else (_OPEN_PLAIN, _OPEN_GONE)
        self.socket = context.socket(zmq.PAIR)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)
        self._peers: dict[int, str] = {}  # by file descriptor
        self._failure = ""
        self._limit = ConnectionLimit()
        self._endpoint = b""

    def read(self, log: _RefusalLog) -> bool:
        """Handle the events so far; return False after the last event."""
        while self.socket.poll(0):
            if not self._take(log):
                return False
        for descriptor in self._limit.surplus(lambda connection: _received(connection, self._endpoint), time.monotonic()):
            _hang_up(descriptor, self._endpoint)
        return True

    def _take(self, log: _RefusalLog) -> bool:
        event = parse_monitor_message(self.socket.recv_multipart())
        kind, value = event["event"], event["value"]
        if kind == zmq.EVENT_ACCEPTED:
            self._endpoint = event["endpoint"]
            self._peers[value] = _peer(value, event["endpoint"])
            self._limit.accepted(value, time.monotonic())
        elif kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._limit.greeted(time.monotonic())
        elif kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH or value == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC:
            self._failure = _WRONG_KEYS
        elif kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            plain = value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
            self._failure = self._mismatch if plain else "it does not follow FISSION's protocol"
        elif kind == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            self._failure = self._gone
        elif kind == zmq.EVENT_DISCONNECTED:
            peer = self._peers.pop(value, "")
            self._limit.ended(value)
            if self._failure:
                log.refused(peer, event["endpoint"].decode(errors="replace"), self._failure)
            self._failure = ""
        return kind != zmq.EVENT_MONITOR_STOPPED


@contextlib.contextmanager
def _connection(descriptor: int, endpoint: bytes) -> Iterator[sockets.socket | None]:
    """Yield a ZeroMQ connection; None if it has ended and its descriptor may belong to another."""
    borrowed, ours = None, False
    try:
        with contextlib.suppress(OSError, IndexError):
            borrowed = sockets.socket(fileno=descriptor)
            ours = str(borrowed.getsockname()[1]) == endpoint.rpartition(b":")[2].decode()
        yield borrowed if ours else None
    finally:
        if borrowed is not None:
            borrowed.detach()


def _peer(descriptor: int, endpoint: bytes) -> str:
    """Return the peer's address of a connection; empty if the connection has ended."""
    with _connection(descriptor, endpoint) as connection:
        try:
            return "" if connection is None else str(connection.getpeername()[0])
        except OSError:
            return ""


def _received(descriptor: int, endpoint: bytes) -> int:
    """Return the bytes received over a connection; 0 if the system does not report them."""
    with _connection(descriptor, endpoint) as connection:
        try:
            info = b"" if connection is None else connection.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _INFO_BYTES)
        except OSError:
            info = b""
        return int.from_bytes(info[_RECEIVED:_INFO_BYTES], sys.byteorder)


def _hang_up(descriptor: int, endpoint: bytes) -> None:
    """Shut down a ZeroMQ connection, which then releases its descriptor."""
    with _connection(descriptor, endpoint) as connection, contextlib.suppress(OSError):
        if connection is not None:
            connection.shutdown(sockets.SHUT_RDWR)


class _RefusalLog:
    """Warnings about refused peers, at most one per address in `QUIET_S`."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._last: dict[str, tuple[float, int]] = {}  # time of the last warning, and refusals since

    def refused(self, peer: str, endpoint: str, why: str) -> None:
        now = self._clock()
        when, since = self._last.pop(peer, (now - QUIET_S, 0))
        if now - when < QUIET_S:
            self._last[peer] = (when, since + 1)
            return
        more = f" ({since} more refusals since the last warning)" if since else ""
        self._log.warning("refused a connection from %s to %s: %s%s", peer or "an unknown address", endpoint, why, more)
        self._last[peer] = (now, 0)
        if len(self._last) > MAX_ADDRESSES:
            self._last.pop(next(iter(self._last)))
