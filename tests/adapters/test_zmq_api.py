"""The Router's two addresses: requests that get lost, sockets that are protected, messages that are too big."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import zmq

from fission.adapters.zmq_api import HANG_UP, ApiClient, ApiServer, Listener
from fission.errors import UserError
from tests.pipelines.daemons import free_ports
from tests.waiting import eventually

Answer = Callable[[bytes], bytes | None]


@contextmanager
def serving(answer: Answer, secure: Callable[[zmq.Socket[bytes], bool], None] | None = None) -> Iterator[tuple[str, str, ApiServer]]:
    """A server in a thread; *answer* gives what is sent back, None for nothing."""
    api, broadcast = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    server = ApiServer(api, broadcast, secure)
    stop = threading.Event()

    def run() -> None:
        poller = zmq.Poller()
        poller.register(server.fileno(), zmq.POLLIN)
        while not stop.is_set():
            for body, send in server.take():
                if (reply := answer(body)) is not None:
                    send(reply)
            poller.poll(5)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield api, broadcast, server
    finally:
        stop.set()
        thread.join()
        server.close()


def test_a_request_gets_its_own_answer() -> None:
    with serving(bytes.upper) as (api, _, _):
        client = ApiClient(api)
        assert [client.request(body, 5) for body in (b"a", b"b", b"c")] == [b"A", b"B", b"C"]
        client.close()
        client.close()


def test_a_request_without_an_answer_is_sent_again() -> None:
    seen: list[bytes] = []

    def second_time(body: bytes) -> bytes | None:
        seen.append(body)
        return b"at last" if len(seen) == 2 else None

    with serving(second_time) as (api, _, _):
        client = ApiClient(api)
        assert client.request(b"x", 5, again=0.05) == b"at last"
        assert seen == [b"x", b"x"]
        client.close()


def test_no_server_is_no_answer_in_time() -> None:
    client = ApiClient("tcp://127.0.0.1:9")
    assert client.request(b"x", 0.05, again=0.02) is None
    client.close()


def test_listeners_hear_their_topics() -> None:
    with serving(lambda body: None) as (_, broadcast, server):
        listener = Listener(broadcast, ["ended"])

        def heard() -> list[tuple[str, bytes]]:
            server.say("kill", b"not this")
            server.say("ended", b"this")
            return listener.hear(0.05)

        assert set(eventually(heard, 10, "a broadcast")) == {("ended", b"this")}
        listener.close()


def keys_of(server_public: bytes, server_secret: bytes) -> Callable[[zmq.Socket[bytes], bool], None]:
    """What protects a socket with CURVE, as the commands' keys do it."""

    def secure(socket: zmq.Socket[bytes], server: bool) -> None:
        if server:
            socket.curve_publickey, socket.curve_secretkey, socket.curve_server = server_public, server_secret, True
        else:
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
            socket.curve_serverkey = server_public

    return secure


def test_both_addresses_can_be_protected() -> None:
    secure = keys_of(*zmq.curve_keypair())
    with serving(bytes.upper, secure) as (api, broadcast, server):
        client, listener = ApiClient(api, secure), Listener(broadcast, ["ended"], secure)
        assert client.request(b"x", 5) == b"X"

        def heard(by: Listener) -> list[tuple[str, bytes]]:
            server.say("ended", b"this")
            return by.hear(0.05)

        assert eventually(lambda: heard(listener), 10, "a broadcast")
        for other in (None, keys_of(*zmq.curve_keypair())):
            stranger, eavesdropper = ApiClient(api, other), Listener(broadcast, ["ended"], other)
            assert stranger.request(b"x", 0.5, again=0.5) is None
            assert heard(eavesdropper) == []
            stranger.close()
            eavesdropper.close()
        assert client.request(b"y", 5) == b"Y"
        client.close()
        listener.close()


def test_who_sends_too_much_is_hung_up_and_others_are_served() -> None:
    seen: list[int] = []

    def count(body: bytes) -> bytes:
        seen.append(len(body))
        return b"ok"

    with serving(count) as (api, _, _):
        big, small = ApiClient(api), ApiClient(api)
        assert big.request(bytes(HANG_UP + 1), 0.5, again=0.5) is None
        assert small.request(b"x", 5) == b"ok"
        assert seen == [1]
        big.close()
        small.close()


def test_an_address_in_use() -> None:
    with serving(bytes.upper) as (api, _, _), pytest.raises(UserError, match=r"the Router's api address .* is in use by another program"):
        ApiServer(api, "tcp://127.0.0.1:9")
