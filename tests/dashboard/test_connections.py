"""Connections of the page's server that send nothing, or too little."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from fission.dashboard.connections import PageConnection
from tests.waiting import DEADLINE_S


class Quick(PageConnection):
    """Waits a moment for a request."""

    request_s = 0.3


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def endless(request: Request) -> Response:
    async def lines() -> object:
        while True:
            yield "line\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(lines())  # type: ignore[arg-type]


@contextlib.contextmanager
def served(protocol: type[asyncio.Protocol]) -> Iterator[int]:
    """Serve two routes; yield the port."""
    app = Starlette(routes=[Route("/", hello), Route("/endless", endless)])
    config = uvicorn.Config(
        app,
        http=protocol,
        log_config=None,
        lifespan="off",
        ws="none",
        log_level="critical",
        limit_concurrency=128,
        timeout_graceful_shutdown=0,
        timeout_keep_alive=1,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def connected(port: int, request: bytes = b"") -> socket.socket:
    found = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    found.sendall(request)
    return found


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def is_served(port: int) -> bool:
    with connected(port, GET) as one:
        return one.recv(1000).startswith(b"HTTP/1.1 200")


def keeps_viewers_out(protocol: type[asyncio.Protocol]) -> bool:
    with served(protocol) as port, contextlib.ExitStack() as idle:
        for _ in range(200):
            idle.enter_context(connected(port))
        return not is_served(port)


def test_connections_that_send_nothing_keep_no_viewer_out() -> None:
    assert not keeps_viewers_out(PageConnection)


def test_the_server_library_alone_would_refuse_them() -> None:
    """The broken variant."""
    assert keeps_viewers_out(H11Protocol)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: loc", GET + b"GET / HT"])
def test_a_request_that_does_not_come_whole_ends_its_connection(sent: bytes) -> None:
    with served(Quick) as port, connected(port, sent) as one:
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := one.recv(1000):
                answer += chunk
        assert (b"hello" in answer) == sent.startswith(GET)


def test_a_stream_and_a_connection_that_is_used_again_stay() -> None:
    with served(Quick) as port, connected(port, b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n") as stream, connected(port) as one:
        for _ in range(8):  # longer than a request may take
            one.sendall(GET)
            answer = b""
            while not answer.endswith(b"hello"):
                answer += one.recv(1000)
            for _ in range(2):
                assert stream.recv(1000)
        for _ in range(20):
            assert b"line" in stream.recv(1000)
