"""The Router's two addresses: requests that get lost, sockets with keys, messages that are too large."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

import pytest
import zmq

from fission.adapters.curve import Guard
from fission.adapters.zmq_api import HANG_UP, ApiClient, ApiServer, Listener, Protect
from fission.errors import UserError
from tests.ports import free_ports
from tests.waiting import eventually

Answer = Callable[[bytes], bytes | None]


@dataclass
class Pair:
    """CURVE keys; a failed test does not show their secret."""

    public: bytes
    secret: bytes = field(repr=False)


def a_pair() -> Protect:
    pair = Pair(*zmq.curve_keypair())
    return lambda context: Guard(context, pair, logging.getLogger("test"))


@contextmanager
def serving(answer: Answer, keys: Protect | None = None, addresses: Sequence[str] = ()) -> Iterator[tuple[str, str, ApiServer]]:
    """A server in a thread; *answer* gives what is sent back, None for nothing."""
    api, broadcast = addresses or [f"tcp://127.0.0.1:{port}" for port in free_ports(2)]
    server = ApiServer(api, broadcast, keys)
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


def test_without_a_server_there_is_no_answer() -> None:
    client = ApiClient("tcp://127.0.0.1:9")
    assert client.request(b"x", 0.05, again=0.02) is None
    client.close()


def test_listeners_hear_their_topics() -> None:
    with serving(lambda body: None) as (_, broadcast, server):
        listener = Listener(broadcast, ["ended"])

        def heard() -> list[tuple[str, bytes]]:
            server.say("kill", b"not this")
            server.say("ended", b"this")
            return listener.receive(0.05)

        assert set(eventually(heard, 10, "a broadcast")) == {("ended", b"this")}
        listener.close()


def test_both_addresses_can_be_protected(caplog: pytest.LogCaptureFixture) -> None:
    keys = a_pair()
    with serving(bytes.upper, keys) as (api, broadcast, server), ExitStack() as stack:
        client, listener = (
            stack.enter_context(closing(ApiClient(api, keys))),
            stack.enter_context(closing(Listener(broadcast, ["ended"], keys))),
        )
        assert client.request(b"x", 5) == b"X"

        def heard(by: Listener) -> list[tuple[str, bytes]]:
            server.say("ended", b"this")
            return by.receive(0.05)

        assert eventually(lambda: heard(listener), 10, "a broadcast")
        for other, reason in ((None, "give the keys that it was started with"), (a_pair(), "its keys differ from those given here")):
            with closing(ApiClient(api, other)) as stranger, closing(Listener(broadcast, ["ended"], other)) as eavesdropper:
                assert stranger.request(b"x", 1.0) is None
                assert reason in stranger.refusal
                assert heard(eavesdropper) == []
        assert client.request(b"y", 5) == b"Y"
        assert client.refusal == ""
    assert "refused a connection from 127.0.0.1 to" in caplog.text


@pytest.mark.timeout(20)
def test_a_client_that_is_refused_before_its_request() -> None:
    """ZeroMQ then has no connection left, and a send that waits for one would wait forever."""
    with serving(bytes.upper, a_pair()) as (api, _, _), closing(ApiClient(api)) as stranger:
        eventually(lambda: not stranger._connect().poll(0, zmq.POLLOUT), 10, "there is no connection left")
        assert stranger.request(b"x", 0.5) is None
        assert "give the keys that it was started with" in stranger.refusal


def test_keys_for_a_server_without_any() -> None:
    with serving(bytes.upper) as (api, _, _), closing(ApiClient(api, a_pair())) as client:
        assert client.request(b"x", 1.0, again=0.5) is None
        assert "or it has none; give both the same folder" in client.refusal


def test_a_refused_client_forgets_the_refusal_when_no_server_is_there() -> None:
    addresses = [f"tcp://127.0.0.1:{port}" for port in free_ports(2)]
    with closing(ApiClient(addresses[0])) as client:
        with serving(bytes.upper, a_pair(), addresses):
            assert client.request(b"x", 1.0) is None
            assert client.refusal
        assert client.request(b"x", 0.5, again=0.2) is None
        assert client.refusal == ""


def test_an_answer_after_another_server_has_come_with_our_keys() -> None:
    keys, addresses = a_pair(), [f"tcp://127.0.0.1:{port}" for port in free_ports(2)]
    with closing(ApiClient(addresses[0], keys)) as client:
        for theirs, answer in ((a_pair(), None), (keys, b"X"), (None, None), (keys, b"X")):
            with serving(bytes.upper, theirs, addresses):
                assert client.request(b"x", 1.0 if answer is None else 10.0, again=0.4) == answer
                assert bool(client.refusal) == (answer is None)


def test_a_client_that_sends_too_much_is_disconnected_and_others_are_served() -> None:
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
    with serving(bytes.upper) as (api, _, _), pytest.raises(UserError, match=r"the Router's api address .* is in use by process \d+ \("):
        ApiServer(api, "tcp://127.0.0.1:9")
