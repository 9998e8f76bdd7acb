"""Encryption and admission for ZeroMQ's sockets: CURVE with one key pair for the network, and nobody else's key is admitted.

A peer that does not know the network's public key fails before ZeroMQ asks anybody; one that knows it, but has another pair, fails when the
guard is asked (ZAP, ZeroMQ's protocol for that). A socket that is guarded cannot be reached while no guard answers. Both are refused in
the handshake: nothing that they sent is delivered.

pyzmq has an answerer for ZAP. It takes a thread with an asyncio loop, in every job's process, does not tell its callback whose
address it is, and does not hear of peers that fail before; so one plain thread here does both.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket as sockets
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from fission.errors import EngineError

#: Seconds between two warnings of the same address; arbitrary: a peer that is refused tries again some times a second.
QUIET_S = 10.0
#: Addresses whose last warning is remembered; arbitrary, more than a local network has.
MAX_ADDRESSES = 4096
_ZAP = "inproc://zeromq.zap.01"
_DOMAIN = b"fission"
_WRONG_KEYS = "its keys are not this network's; copy the folder of keys to it"
_PLAIN = "it does not encrypt; set SECURITY there as it is here (pipelines: --keys)"
# Who does not encrypt may notice first that this side does, and hang up; it does not try again.
_GONE = "it hung up before it had shown this network's keys; does it encrypt?"
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_EVENTS = zmq.EVENT_ACCEPTED | _FAILED | zmq.EVENT_DISCONNECTED | zmq.EVENT_MONITOR_STOPPED


class CurvePair(Protocol):
    """What is needed of the network's keys: ZeroMQ's text form, 40 bytes each."""

    @property
    def public(self) -> bytes:
        """The public key, which only machines of the network know."""

    @property
    def secret(self) -> bytes:
        """The key to it."""


class Guard:
    """Makes sockets of one ZeroMQ context talk only to who has the network's keys. For sockets of asyncio contexts, too.

    Methods may be called from any thread. `close` it before the context is terminated; what it guards may be closed before or after.
    """

    def __init__(
        self, context: zmq.Context[Any], keys: CurvePair, log: logging.Logger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Costs nothing before the first `listen`, which starts a thread.

        Args:
            context: a context has one guard at most.
            keys: the network's.
            log: gets a warning for each peer that is refused, at most one per address in `QUIET_S`.
            clock: monotonic seconds.
        """
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(context)  # plain sockets, whatever the context makes
        self._keys = keys
        self._lock = threading.Lock()
        self._fresh: queue.SimpleQueue[_Ear] = queue.SimpleQueue()
        self._log = _RefusalLog(log, clock)
        self._wake: zmq.Socket[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._listeners = 0
        self._guarded: weakref.WeakSet[zmq.Socket[Any]] = weakref.WeakSet()

    def listen(self, socket: zmq.Socket[Any]) -> None:
        """To be called before the socket's `bind`: only peers with the network's keys can connect to it from then on.

        Holds for all of its addresses, but for ``inproc://``.

        Raises:
            EngineError: the guard is closed, or the context has another one.
        """
        with self._lock:
            self._start()
            socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
            socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # nobody is admitted when nobody answers
            self._own(socket)
            socket.setsockopt(zmq.CURVE_SERVER, 1)
            self._listeners += 1
            address = f"inproc://fission-guard-{id(self)}-{self._listeners}"
            socket.monitor(address, _EVENTS)
            self._guarded.add(socket)
            self._fresh.put(_Ear(self._context, address))
            self._wake_up()

    def speak(self, socket: zmq.Socket[Any]) -> None:
        """To be called before the socket's `connect`: it sends only to who has the network's keys."""
        self._own(socket)
        socket.setsockopt(zmq.CURVE_SERVERKEY, self._keys.public)

    def close(self) -> None:
        """End the thread. Who connects to a guarded socket after this is refused; connections that are there stay. Twice is right."""
        with self._lock:
            if not self._closed:
                # or ZeroMQ's own thread waits for somebody to listen, at the next event
                for socket in list(self._guarded):
                    with contextlib.suppress(zmq.ZMQError):  # it is closed
                        socket.disable_monitor()
            self._closed = True
            self._wake_up()
        if self._thread is not None:
            self._thread.join()

    def _own(self, socket: zmq.Socket[Any]) -> None:
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._keys.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret)

    def _start(self) -> None:
        if self._closed:
            raise EngineError("this guard is closed, it cannot guard another socket")
        if self._thread is not None:
            return
        zap, ear, wake = self._context.socket(zmq.REP), self._context.socket(zmq.PAIR), self._context.socket(zmq.PAIR)
        for socket in (zap, ear, wake):
            socket.setsockopt(zmq.LINGER, 0)
        try:
            zap.bind(_ZAP)
        except zmq.ZMQError as why:
            for socket in (zap, ear, wake):
                socket.close()
            raise EngineError(f"this ZeroMQ context has a guard already: {why}") from None
        ear.bind(f"inproc://fission-guard-{id(self)}")
        wake.connect(f"inproc://fission-guard-{id(self)}")
        self._wake = wake
        self._thread = threading.Thread(target=self._work, args=(zap, ear), name="fission-guard", daemon=True)
        self._thread.start()

    def _wake_up(self) -> None:
        if self._wake is not None:
            with contextlib.suppress(zmq.ZMQError):  # the context has ended
                self._wake.send(b"", zmq.NOBLOCK)

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _work(self, zap: zmq.Socket[bytes], wake: zmq.Socket[bytes]) -> None:
        ears: dict[zmq.Socket[bytes], _Ear] = {}
        poller = zmq.Poller()
        poller.register(zap, zmq.POLLIN)
        poller.register(wake, zmq.POLLIN)
        try:
            while not self._closed:
                ready = dict(poller.poll())
                if wake in ready:
                    wake.recv()
                while not self._fresh.empty():  # its word may come later than the first peer's question
                    ear = self._fresh.get()
                    ears[ear.socket] = ear
                    poller.register(ear.socket, zmq.POLLIN)
                for socket in list(ears):  # all of them before ZAP: while it waits for that, a peer's connection is still open
                    if not ears[socket].hear(self._log):
                        poller.unregister(socket)
                        ears.pop(socket).socket.close(0)
                if zap in ready:
                    zap.send_multipart(self._judge(zap.recv_multipart()))
        except zmq.ZMQError:
            pass  # the context is terminated under us; it waits for the sockets
        finally:
            while not self._fresh.empty():
                ear = self._fresh.get()
                ears[ear.socket] = ear
            with contextlib.suppress(zmq.ZMQError):  # the context has ended
                zap.unbind(_ZAP)  # at once; closing takes its time, and who asks meanwhile waits for an answer that never comes
            with self._lock:
                self._closed = True
                for socket in filter(None, (zap, wake, self._wake, *ears)):
                    socket.close(0)
                self._wake = None

    def _judge(self, request: list[bytes]) -> list[bytes]:
        """The answer to a request of ZAP: version, id, domain, address, routing id, mechanism, credentials."""
        version, number = request[0], request[1]
        ours = len(request) == 7 and request[5] == b"CURVE" and z85.encode(request[6]) == self._keys.public
        return [version, number, b"200" if ours else b"400", b"" if ours else b"unknown key", b"", b""]


class _Ear:
    """Hears what happens at one listening socket.

    ZeroMQ names a connection by its file descriptor when it is accepted and when it has ended, and tells failures without a name; of one
    connection, failure and end come right after each other. Whose address a descriptor has can only be asked while the connection is there,
    which is certain where ZAP is asked: there it waits for the guard. Others may be gone too soon, and stay unknown.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self.socket = context.socket(zmq.PAIR)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)
        self._peers: dict[int, str] = {}  # by file descriptor
        self._failure = ""

    def hear(self, log: _RefusalLog) -> bool:
        """Takes what has happened so far; False after the last event."""
        while self.socket.poll(0):
            if not self._take(log):
                return False
        return True

    def _take(self, log: _RefusalLog) -> bool:
        event = parse_monitor_message(self.socket.recv_multipart())
        kind, value = event["event"], event["value"]
        if kind == zmq.EVENT_ACCEPTED:
            self._peers[value] = _peer(value, event["endpoint"])
        elif kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH or value == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC:
            self._failure = _WRONG_KEYS
        elif kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            plain = value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
            self._failure = _PLAIN if plain else "it does not speak as a peer of a network should"
        elif kind == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            self._failure = _GONE
        elif kind == zmq.EVENT_DISCONNECTED:
            peer = self._peers.pop(value, "")
            if self._failure:
                log.refused(peer, event["endpoint"].decode(errors="replace"), self._failure)
            self._failure = ""
        return kind != zmq.EVENT_MONITOR_STOPPED


def _peer(descriptor: int, endpoint: bytes) -> str:
    """The address at the other end of a connection of ZeroMQ's; empty if it has ended already and the number may be another's."""
    try:
        with sockets.fromfd(descriptor, sockets.AF_INET, sockets.SOCK_STREAM) as copy:
            port = endpoint.rpartition(b":")[2].decode()
            return str(copy.getpeername()[0]) if str(copy.getsockname()[1]) == port else ""
    except (OSError, IndexError):
        return ""


class _RefusalLog:
    """Warnings of refused peers, not more than one per address in `QUIET_S`."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._last: dict[str, tuple[float, int]] = {}  # when, and how often since

    def refused(self, peer: str, endpoint: str, why: str) -> None:
        now = self._clock()
        when, since = self._last.pop(peer, (now - QUIET_S, 0))
        if now - when < QUIET_S:
            self._last[peer] = (when, since + 1)
            return
        more = f" ({since} times more since the last warning)" if since else ""
        self._log.warning("refused a connection from %s to %s: %s%s", peer or "an unknown address", endpoint, why, more)
        self._last[peer] = (now, 0)
        if len(self._last) > MAX_ADDRESSES:
            self._last.pop(next(iter(self._last)))
