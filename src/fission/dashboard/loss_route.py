"""The route of the page that says what would happen if a node were lost now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fission.client.attach.follow import as_json
from fission.client.serve.control_server import Viewer
from fission.errors import FissionError
from fission.protocol.messages.client_to_viewer import LossForeseen
from fission.protocol.messages.viewer_to_client import ForeseeLoss


def loss_route(folder: Path, refused: Callable[[Request], Response | None]) -> Route:
    """Return the route "/loss", which answers with the members of a `LossForeseen`.

    Args:
        folder: the network's folder.
        refused: returns the answer to a request that may not see the network; None: it may.
    """

    def ask(node: str) -> Response:
        try:
            with Viewer(folder) as viewer:
                return JSONResponse(as_json(viewer.ask(ForeseeLoss(node=node), LossForeseen)))
        except FissionError as why:
            return JSONResponse({"error": str(why)}, 409)

    async def loss(request: Request) -> Response:
        refusal = refused(request)
        return refusal if refusal is not None else await run_in_threadpool(ask, request.query_params.get("node", ""))

    return Route("/loss", loss)
