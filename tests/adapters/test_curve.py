"""The guard of sockets: only holders of the network's keys get through, and the log names the addresses that were refused."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket as plain
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import zmq
import zmq.asyncio

from fission.adapters.curve import Guard
from fission.errors import EngineError
from tests.waiting import eventually

DEADLINE_S = 10
ANY_PORT = "tcp://127.0.0.1:*"


@dataclass(frozen=True)
class Pair:
    public: bytes
    secret: bytes


OURS, OTHERS = Pair(*zmq.curve_keypair()), Pair(*zmq.curve_keypair())
#: Knows the public key, but has not the secret one: gets as far as the guard.
NEARLY = Pair(OURS.public, OTHERS.secret)


class Side:
    """A machine: a context, its guard, the warnings in its log, and a manual clock."""

    def __init__(self, keys: Pair | None, context: zmq.Context[Any] | None = None) -> None:
        self.context = context or zmq.Context()
        self.warnings: list[str] = []
        self.now = 1000.0
        self.sockets: list[Any] = []
        log = logging.Logger(f"side-{id(self)}")
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: self.warnings.append(record.getMessage())  # type: ignore[method-assign]
        log.addHandler(handler)
        self.guard = Guard(self.context, keys, log, clock=lambda: self.now) if keys else None

    def socket(self, kind: int) -> Any:
        self.sockets.append(self.context.socket(kind))
        self.sockets[-1].setsockopt(zmq.LINGER, 0)
        return self.sockets[-1]

    def events(self, socket: Any) -> Any:
        """Return a socket that receives an event when a connection of `socket` ends."""
        self.sockets.append(socket.get_monitor_socket(zmq.EVENT_DISCONNECTED))
        return self.sockets[-1]

    def hear(self, address: str = ANY_PORT) -> tuple[Any, str]:
        socket = self.socket(zmq.PULL)
        if self.guard:
            self.guard.listen(socket)
        socket.bind(address)
        return socket, socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def say(self, address: str, text: bytes, **options: Any) -> Any:
        socket = self.socket(zmq.PUSH)
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        if self.guard:
            self.guard.encrypt(socket)
        for name, value in options.items():
            setattr(socket, name, value)
        socket.connect(address)
        with contextlib.suppress(zmq.Again):  # it may be refused already, then there is no peer to send to
            socket.send(text, zmq.NOBLOCK)
        return socket

    def close(self) -> None:
        if self.guard:
            self.guard.close()
        for socket in self.sockets:
            socket.close(0)
        self.context.term()


@pytest.fixture
def side() -> Iterator[Callable[..., Side]]:
    sides = []

    def make(*args: Any) -> Side:
        sides.append(Side(*args))
        return sides[-1]

    yield make
    for one in sides:
        one.close()


def received(socket: Any, timeout_s: float = DEADLINE_S) -> bytes | None:
    return socket.recv() if socket.poll(int(timeout_s * 1000)) else None


def test_peers_with_the_keys_get_through(side: Callable[..., Side]) -> None:
    here, there = side(OURS), side(OURS)
    first, first_address = here.hear()
    second, second_address = here.hear()
    there.say(first_address, b"one")
    here.say(second_address, b"two")
    assert (received(first), received(second)) == (b"one", b"two")
    assert here.warnings == there.warnings == []


# A stranger's keys, its socket options, and what the log may say. Its address is certain only when the guard itself is asked.
STRANGERS = {
    "other keys": (OTHERS, {}, ["its keys are not this network's"]),
    "no keys": (None, {}, ["it does not encrypt", "it disconnected"]),
    "a name and a password": (None, {"plain_username": b"fission", "plain_password": b"x"}, ["it does not encrypt", "it disconnected"]),
    "keys of its own, but it knows ours": (OTHERS, {"curve_serverkey": OURS.public}, ["its keys are not this network's"]),
}


@pytest.mark.parametrize("who", STRANGERS)
def test_a_stranger_is_refused_and_the_log_says_so(side: Callable[..., Side], who: str) -> None:
    keys, options, why = STRANGERS[who]
    here, friend, stranger = side(OURS), side(OURS), side(keys)
    receiver, address = here.hear()
    stranger.say(address, b"let me in", **options)
    eventually(lambda: here.warnings, DEADLINE_S, "a warning")
    friend.say(address, b"hello")
    assert received(receiver) == b"hello"
    assert received(receiver, 0) is None
    froms = ["127.0.0.1"] if "curve_serverkey" in options else ["127.0.0.1", "an unknown address"]
    texts = [f"refused a connection from {peer} to {address}: {reason}" for peer in froms for reason in why]
    assert not [warning for warning in here.warnings if not warning.startswith(tuple(texts))]
    assert len(here.warnings) <= len(froms)


def test_a_public_key_without_its_secret_one_is_useless(side: Callable[..., Side]) -> None:
    here, stranger = side(OURS), side(NEARLY)
    receiver, address = here.hear()
    stranger.say(address, b"let me in")
    eventually(lambda: here.warnings, DEADLINE_S, "a warning")
    assert received(receiver, 0) is None


@pytest.mark.parametrize("keys", [None, OTHERS])
def test_strangers_get_no_answer(side: Callable[..., Side], keys: Pair | None) -> None:
    here, stranger = side(OURS), side(keys)
    receiver, address = stranger.hear()
    monitored = here.socket(zmq.PUSH)
    assert here.guard is not None
    here.guard.encrypt(monitored)
    events = here.events(monitored)
    monitored.connect(address)
    monitored.send(b"secret")
    assert events.poll(DEADLINE_S * 1000)
    assert received(receiver, 0) is None


@pytest.mark.parametrize("noise", [b"", b"GET / HTTP/1.0\r\n\r\n", bytes(10_000), b"\xff" * 10_000, os.urandom(10_000)])
def test_noise_does_no_harm(side: Callable[..., Side], noise: bytes) -> None:
    import socket as sockets

    here, friend = side(OURS), side(OURS)
    receiver, address = here.hear()
    for _ in range(20):
        with sockets.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=DEADLINE_S) as plain:
            plain.sendall(noise)
    friend.say(address, b"hello")
    assert received(receiver) == b"hello"
    assert received(receiver, 0) is None


def test_one_warning_for_an_address_that_keeps_trying(side: Callable[..., Side]) -> None:
    here, stranger = side(OURS), side(OTHERS)
    _, address = here.hear()
    assert here.guard is not None
    log = here.guard._log
    for number in range(4):
        stranger.say(address, b"let me in", curve_serverkey=OURS.public)
        eventually(
            lambda number=number: log._last.get("127.0.0.1") == (1000.0, number),
            DEADLINE_S,
            lambda number=number: f"attempt {number}: {log._last} {here.warnings}",
        )
    assert len(here.warnings) == 1
    here.now += 10
    stranger.say(address, b"let me in", curve_serverkey=OURS.public)
    eventually(lambda: len(here.warnings) == 2, DEADLINE_S, "the next warning")
    assert here.warnings[1].endswith(" (3 more refusals since the last warning)")


def test_inside_a_process_nothing_is_asked(side: Callable[..., Side]) -> None:
    here = side(OURS)
    receiver, _ = here.hear()
    receiver.bind("inproc://inside")
    waker = here.socket(zmq.PUSH)
    waker.connect("inproc://inside")
    waker.send(b"wake")
    assert received(receiver) == b"wake"


def test_sockets_of_an_asyncio_context() -> None:
    async def everything() -> None:
        here, there, stranger = Side(OURS, zmq.asyncio.Context()), Side(OURS, zmq.asyncio.Context()), Side(OTHERS)
        try:
            receiver, address = here.hear()
            stranger.say(address, b"let me in")
            socket = there.socket(zmq.PUSH)
            assert there.guard is not None
            there.guard.encrypt(socket)
            socket.connect(address)
            await socket.send(b"hello")
            assert await asyncio.wait_for(receiver.recv(), DEADLINE_S) == b"hello"
        finally:
            for one in (here, there, stranger):
                one.close()

    asyncio.run(everything())


def guards() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fission-guard"]


def test_a_peer_that_only_sends_needs_no_thread(side: Callable[..., Side]) -> None:
    here, there = side(OURS), side(OURS)
    receiver, address = here.hear()
    assert len(guards()) == 1
    there.say(address, b"hello")
    assert received(receiver) == b"hello"
    assert len(guards()) == 1
    here.close()
    assert guards() == []


def test_a_context_has_one_guard(side: Callable[..., Side]) -> None:
    here = side(OURS)
    here.hear()
    second = Side(OURS, here.context)
    second.sockets = here.sockets
    with pytest.raises(EngineError, match="already has a guard"):
        second.hear()
    assert second.guard is not None
    second.guard.close()
    assert here.guard is not None
    here.guard.close()
    here.guard.close()
    with pytest.raises(EngineError, match="closed"):
        here.hear()


def test_without_a_guard_no_new_peer_gets_in(side: Callable[..., Side]) -> None:
    here, friend, late = side(OURS), side(OURS), side(OURS)
    receiver, address = here.hear()
    known = friend.say(address, b"one")
    assert received(receiver) == b"one"
    assert here.guard is not None
    here.guard.close()
    assert late.guard is not None
    for _ in range(3):  # more than once: nothing waits inside ZeroMQ for a listener that is gone
        socket = late.socket(zmq.PUSH)
        late.guard.encrypt(socket)
        events = late.events(socket)
        socket.connect(address)
        assert events.poll(DEADLINE_S * 1000)
    known.send(b"two")
    assert received(receiver) == b"two"
    assert received(receiver, 0) is None


ORDERS = list(itertools.permutations(["socket", "guard", "context"]))


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_it_ends_in_any_order(order: tuple[str, ...]) -> None:
    here, there = Side(OURS), Side(OURS)
    receiver, address = here.hear()
    there.say(address, b"hello")
    assert received(receiver) == b"hello"
    assert here.guard is not None
    term = threading.Thread(target=here.context.term)
    ends = {"socket": lambda: receiver.close(0), "guard": here.guard.close, "context": term.start}
    for name in order:
        ends[name]()
    term.join(DEADLINE_S)
    assert not term.is_alive()
    assert guards() == []
    there.close()


def test_sockets_that_come_and_go_leave_nothing(side: Callable[..., Side]) -> None:
    here, friend = side(OURS), side(OURS)
    here.hear()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        receiver, address = here.hear()
        speaker = friend.say(address, b"hello")
        assert received(receiver) == b"hello"
        speaker.close()
        receiver.close(0)
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before + 10, DEADLINE_S, "the descriptors of closed sockets are given back")


def opened(context: zmq.Context[Any], log: logging.Logger) -> tuple[Any, Guard, str]:
    """A socket without keys that is guarded, with a bound for frames, and its address."""
    socket = context.socket(zmq.PULL)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, 20_000)
    guard = Guard(context, None, log)
    guard.listen(socket)
    socket.bind(ANY_PORT)
    return socket, guard, socket.getsockopt_string(zmq.LAST_ENDPOINT)


@pytest.mark.parametrize("encrypts", [False, True], ids=["without keys", "with keys"])
def test_without_keys_all_peers_that_do_not_encrypt_get_through(side: Callable[..., Side], encrypts: bool) -> None:
    here, there = side(None), side(OURS if encrypts else None)
    warnings: list[str] = []
    log = logging.Logger("open")
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    socket, guard, address = opened(here.context, log)
    try:
        there.say(address, b"hello")
        if encrypts:
            eventually(
                lambda: any("it encrypts, and SECURITY is off here" in text or "it disconnected" in text for text in warnings),
                10,
                "a warning",
            )
        else:
            assert received(socket) == b"hello"
            assert warnings == []
    finally:
        socket.close(0)
        guard.close()


@pytest.mark.parametrize("keys", [OURS, None], ids=["keys", "no keys"])
def test_a_thousand_idle_connections_leave_a_few(side: Callable[..., Side], keys: Pair | None) -> None:
    """The oldest are closed, their descriptors are given back, and holders of the keys get through all the time."""
    here, friend = side(keys), side(keys)
    log = logging.Logger("many")
    guard = here.guard or Guard(here.context, None, log)
    socket = here.socket(zmq.PULL)
    guard.listen(socket)
    socket.bind(ANY_PORT)
    address = socket.getsockopt_string(zmq.LAST_ENDPOINT)
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    held = []
    before = len(os.listdir("/proc/self/fd"))
    try:
        for number in range(400):
            held.append(plain.create_connection((host, int(port)), timeout=10))
            if number % 100 == 50:
                friend.say(address, b"hello %d" % number)
                assert received(socket) == b"hello %d" % number
        left = lambda: len(os.listdir("/proc/self/fd")) - before - len(held)  # noqa: E731
        eventually(lambda: left() < 64 + 60, DEADLINE_S, "most of the idle connections are closed")
        friend.say(address, b"last")
        assert received(socket) == b"last"
    finally:
        for one in held:
            one.close()
        socket.close(0)
        guard.close()
