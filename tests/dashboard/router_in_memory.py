"""A Router in memory behind the page of its pipelines: requests as a browser sends them, without sockets or processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette

from fission.dashboard.access import Access, Role
from fission.dashboard.pipelines_site import PipelinesSite
from fission.dashboard.router_client import RouterClient
from fission.pipelines import Job, Pipeline
from fission.pipelines.errors import PipelineRefused, RouterAnswer, RouterUnreachable
from fission.protocol.messages.pipelines.client_to_router import CountPipelines, GetRouterStatus
from fission.protocol.messages.pipelines.router_to_client import PipelineCounts, RouterStatus
from fission.protocol.messages.pipelines.wire import convert, encode
from tests.pipelines.test_router_api import Talk

ACCESS = Access({"looks": Role.VIEWER, "acts": Role.OPERATOR})
VIEWER, OPERATOR = {"authorization": "Bearer looks"}, {"authorization": "Bearer acts"}


class MemoryRouter:
    """A Router, and what the page uses in place of its connection.

    Attributes:
        talk: the Router.
        asked: commands of the requests that have reached it.
        is_up: whether it answers.
    """

    def __init__(self) -> None:
        self.talk = Talk(":memory:")
        self.asked: list[str] = []
        self.is_up = True

    def ask(self, request: Any, kind: Any) -> Any:
        """Answer as `fission.dashboard.router_client.RouterConnection` does."""
        self.asked.append(request.__struct_config__.tag)
        if not self.is_up:
            raise RouterUnreachable("tcp://127.0.0.1:5555", 2.0)
        (answer,) = self.talk.raw(encode(request))
        if answer["answer"] == "error":
            raise (PipelineRefused if answer["kind"] == "refused" else RouterAnswer)(answer["error"])
        return convert(answer, kind)

    def close(self) -> None:
        """The test closes the Router."""

    def fail(self, name: str, *, data: Any = None, error: str = "ValueError: no", traceback: str = "Traceback ...") -> None:
        """Add a pipeline of two jobs whose first one fails."""
        self.talk.pulse()
        self.talk.add(name, Pipeline({Job("A"): Job("B")}, data=data))
        self.talk.exchange()
        self.talk.exchange(run=[[name, 0, 1]])
        self.talk.end("raised", pipeline=name, error=error, traceback=traceback, node="n-0", duration=0.25)
        self.talk.exchange(ended=[[name, "failed", 0, error]])


def numbers(router: MemoryRouter) -> tuple[RouterStatus, PipelineCounts]:
    """Return what the page's metrics are made of."""
    return router.ask(GetRouterStatus(), RouterStatus), router.ask(CountPipelines(), PipelineCounts)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Here(Executor):
    """Runs everything at once, in the thread that asks for it."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(function(*arguments, **named))
        except Exception as why:
            done.set_exception(why)
        return done


def client_of(router: MemoryRouter, clock: Clock | None = None, kind: type[RouterClient] = RouterClient) -> RouterClient:
    return kind(router, clock=clock or Clock(), thread=Here())  # type: ignore[arg-type]


async def request(app: Starlette, address: str, headers: Mapping[str, str] = VIEWER, method: str = "GET") -> tuple[int, Any]:
    """Return status and body of the answer to a request; the body is the value if it is JSON."""
    status, body, kind = 0, b"", ""
    parts = urlsplit(address)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, body, kind
        if message["type"] == "http.response.start":
            status, kind = message["status"], dict(message["headers"]).get(b"content-type", b"").decode()
        else:
            body += message.get("body", b"")

    sent = [(b"host", b"localhost"), *((name.encode(), value.encode()) for name, value in headers.items())]
    scope = {"type": "http", "method": method, "path": parts.path, "query_string": parts.query.encode(), "headers": sent}
    await app({**scope, "scheme": "http", "root_path": ""}, receive, send)
    return status, json.loads(body) if kind.startswith("application/json") else body.decode()


def ask(router: MemoryRouter, address: str, headers: Mapping[str, str] = VIEWER, method: str = "GET") -> tuple[int, Any]:
    """Return status and body of the answer to a single request."""

    async def once() -> tuple[int, Any]:
        site = PipelinesSite(client_of(router))
        try:
            return await request(site.app(ACCESS, ["localhost"], secure=False), address, headers, method)
        finally:
            await site.close()

    return asyncio.run(once())
