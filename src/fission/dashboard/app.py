"""The routes of a network's page, as an ASGI application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from fission.dashboard.access import Access, Visitor
from fission.dashboard.act_routes import NetworkActions, act_routes
from fission.dashboard.guarded import LOG_IN, guarded_app, metrics_refused, refused, visitor_of
from fission.dashboard.history_route import history_route
from fission.dashboard.loss_route import loss_route
from fission.dashboard.scraper import Scraper
from fission.dashboard.tap_follow import PipeTaps
from fission.dashboard.tap_routes import tap_route
from fission.dashboard.updates import Message
from fission.dashboard.watcher import NetworkWatcher


def make_app(
    watcher: NetworkWatcher,
    taps: PipeTaps,
    scraper: Scraper,
    access: Access,
    actions: NetworkActions,
    hosts: list[str],
    *,
    secure: bool = False,
) -> Starlette:
    """Return the application.

    Args:
        watcher: of the network.
        taps: of the network's pipes.
        scraper: has its metrics.
        access: decides who may see and act.
        actions: what an operator can do to the network.
        hosts: host names and addresses under which the page may be asked for: another name in the
            Host header is a site that points its own name here.
        secure: whether it is reached by TLS only.
    """

    async def messages(request: Request) -> Response:
        visitor = visitor_of(request, access)
        if visitor is None:
            return PlainTextResponse(LOG_IN, 401)
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(_stream(watcher.messages(), visitor), media_type="text/event-stream", headers=headers)

    async def metrics(request: Request) -> Response:
        refusal = metrics_refused(request, access)
        if refusal is not None:
            return refusal
        text, media_type = await scraper.text(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": media_type})

    routes = [
        Route("/messages", messages),
        Route("/metrics", metrics),
        *act_routes(actions, lambda request: visitor_of(request, access)),
        tap_route(taps, lambda request: refused(request, access)),
        history_route(watcher, lambda request: refused(request, access)),
        loss_route(watcher.folder, lambda request: refused(request, access)),
    ]
    return guarded_app("index.html", routes, access, hosts, secure=secure)


async def _stream(messages: AsyncIterator[Message], visitor: Visitor) -> AsyncIterator[str]:
    """Yield messages as server-sent events, after one that says what the visitor may do."""
    yield _event("visitor", {"role": visitor.role.value, "form": visitor.form_token})
    async for kind, value in messages:
        yield _event(kind, value)


def _event(kind: str, value: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n"
