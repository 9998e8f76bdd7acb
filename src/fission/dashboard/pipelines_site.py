"""The page of the pipelines of a Router, as an ASGI application."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import fission
from fission.dashboard.access import Access
from fission.dashboard.guarded import guarded_app, metrics_refused, refused, visitor_of
from fission.dashboard.pipeline_metrics import families
from fission.dashboard.pipelines_view import overview, panel, row
from fission.dashboard.router_client import RouterClient
from fission.dashboard.scraper import encoded
from fission.errors import FissionError
from fission.pipelines.errors import PipelineRefused, RouterUnreachable
from fission.protocol.messages.pipelines.client_to_router import (
    CancelPipeline,
    CountPipelines,
    GetRouterStatus,
    ListPipelines,
    RetryPipeline,
    ShowPipeline,
)
from fission.protocol.messages.pipelines.router_to_client import PipelineChanged, PipelineCounts, PipelineList, PipelineShown, RouterStatus
from fission.protocol.messages.pipelines.wire import LARGEST

#: Pipelines on one page of the list. Arbitrary.
ROWS = 50
#: What a viewer can do with a pipeline.
CHANGES: dict[str, type[RetryPipeline] | type[CancelPipeline]] = {"retry": RetryPipeline, "cancel": CancelPipeline}


class PipelinesSite:
    """The page of one Router, which may start later, and start again."""

    def __init__(self, router: RouterClient) -> None:
        """Begin without a question to the Router.

        Args:
            router: answers all that the page shows.
        """
        self._router = router

    def app(self, access: Access, hosts: list[str], *, secure: bool) -> Starlette:
        """Return the application; arguments as of `guarded_app`."""

        def seen(answer: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
            """Let a route answer those who may look, with JSON; with an error's text if it fails."""

            async def respond(request: Request) -> Response:
                refusal = refused(request, access)
                if refusal is not None:
                    return refusal
                try:
                    return _json(await answer(request))
                except FissionError as why:
                    return _json({"error": str(why)}, 503 if isinstance(why, RouterUnreachable) else 409)

            return respond

        async def visitor(request: Request) -> Any:
            found = visitor_of(request, access)
            return {"role": found.role.value, "form": found.form_token} if found else {}

        async def change(request: Request) -> Any:
            kind, found = CHANGES.get(request.path_params["change"]), visitor_of(request, access)
            if kind is None or found is None:
                raise PipelineRefused(f"a pipeline can be changed by {' and '.join(CHANGES)} alone")
            wanted = kind(request.path_params["pipeline"], by=f"{found.name} (page)")
            return {"id": (await self._router.change(wanted, PipelineChanged)).pipeline_id}

        async def metrics(request: Request) -> Response:
            refusal = metrics_refused(request, access)
            if refusal is not None:
                return refusal
            try:
                answers = await self._numbers()
            except FissionError:
                answers = None
            text, media_type = encoded(families(fission.__version__, answers), request.headers.get("accept", ""))
            return Response(text, headers={"Content-Type": media_type})

        routes = [
            Route("/visitor", seen(visitor)),
            Route("/overview", seen(self._overview)),
            Route("/pipelines", seen(self._list)),
            Route("/pipelines/{pipeline}", seen(self._show)),
            Route("/pipelines/{pipeline}/{change}", seen(change), methods=["POST"]),
            Route("/metrics", metrics),
        ]
        return guarded_app("pipelines.html", routes, access, hosts, secure=secure)

    def ending(self) -> None:
        """Nothing needs time."""

    async def close(self) -> None:
        """Close the connection to the Router."""
        await self._router.close()

    async def _numbers(self) -> tuple[RouterStatus, PipelineCounts]:
        return await self._router.get(GetRouterStatus(), RouterStatus), await self._router.get(CountPipelines(), PipelineCounts)

    async def _overview(self, request: Request) -> Any:
        return overview(*await self._numbers())

    async def _list(self, request: Request) -> Any:
        """Answer with the newest pipelines: ``state`` (repeatable) and ``before`` (an order) choose."""
        before = request.query_params.get("before", "")
        number = int(before) if before.isascii() and before.isdecimal() and len(before) < 17 else 0
        wanted = ListPipelines(sorted(set(request.query_params.getlist("state"))), ROWS, min(number, LARGEST))
        found = await self._router.get(wanted, PipelineList)
        return {"pipelines": [row(pipeline) for pipeline in found.pipelines], "rows": ROWS}

    async def _show(self, request: Request) -> Any:
        return panel(await self._router.get(ShowPipeline(request.path_params["pipeline"]), PipelineShown))


def _json(value: Any, status: int = 200) -> Response:
    """Return an answer in ASCII: texts of users may have characters that UTF-8 has no bytes for."""
    return Response(json.dumps(value), status, media_type="application/json")
