"""The route of the page that shows what passes on a pipe."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from fission.dashboard.tap_follow import PipeTaps, Update
from fission.dashboard.tap_signal import WINDOWS
from fission.dashboard.tap_view import READ_AS, TapOptions
from fission.errors import UserError

#: Largest id of a pipe: the format of messages has 32 bits for it.
LARGEST_PIPE = (1 << 32) - 1


def tap_route(taps: PipeTaps, refused: Callable[[Request], Response | None]) -> Route:
    """Return the route "/tap", which streams the updates of a pipe as server-sent events.

    Args:
        taps: of the network.
        refused: returns the answer to a request that may not see the network; None: it may.
    """

    async def tap(request: Request) -> Response:
        if (refusal := refused(request)) is not None:
            return refusal
        try:
            options = options_of(request.query_params)
        except ValueError as why:
            return PlainTextResponse(f"{why}\n", 400)
        try:
            taps.check(options)
        except UserError as why:
            return JSONResponse({"error": str(why)}, 409)
        return StreamingResponse(_stream(taps.updates(options)), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    return Route("/tap", tap)


def options_of(parameters: Mapping[str, str]) -> TapOptions:
    """Return the options that a request names.

    Raises:
        ValueError: one of them cannot be; says which.
    """
    pipe, window = parameters.get("pipe", ""), parameters.get("window", str(WINDOWS[1]))
    read_as, sound = parameters.get("as", ""), parameters.get("sound", "0")
    if not (pipe.isascii() and pipe.isdecimal() and len(pipe) <= 10 and int(pipe) <= LARGEST_PIPE):
        raise ValueError("pipe must be the id of a pipe")
    if window not in map(str, WINDOWS):
        raise ValueError(f"window must be one of {', '.join(map(str, WINDOWS))}")
    if read_as not in READ_AS:
        raise ValueError(f"as must be one of {', '.join(filter(None, READ_AS))}, or left out")
    if sound not in ("0", "1"):
        raise ValueError("sound must be 0 or 1")
    return TapOptions(int(pipe), int(window), read_as, sound == "1")


async def _stream(updates: AsyncIterator[Update]) -> AsyncIterator[str]:
    async for update in updates:
        yield f"event: tap\ndata: {json.dumps(update, allow_nan=False)}\n\n"
