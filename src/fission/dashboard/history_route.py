"""The route of the page that says what a job, a pipe or a node did before the page was opened."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fission.dashboard.watcher import NetworkWatcher


def history_route(watcher: NetworkWatcher, refused: Callable[[Request], Response | None]) -> Route:
    """Return the route "/history", which answers with what `fission.dashboard.history.RateHistory.of` returns.

    Args:
        watcher: of the network.
        refused: returns the answer to a request that may not see the network; None: it may.
    """

    async def history(request: Request) -> Response:
        refusal = refused(request)
        return refusal if refusal is not None else JSONResponse(watcher.past(request.query_params.get("of", "")))

    return Route("/history", history)
