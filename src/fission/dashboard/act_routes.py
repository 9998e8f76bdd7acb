"""The routes by which an operator acts on the network: stop it, send lines to a console, record a pipe.

`fission.dashboard.guarded` refuses everybody else before they are reached.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fission.client.attach.attach import ask_to_stop
from fission.client.serve.consoles import PIECE_CHARACTERS
from fission.client.serve.control_server import Viewer
from fission.dashboard.access import Visitor
from fission.dashboard.pipe_recordings import PipeRecordings, RecordingState
from fission.errors import FissionError, UserError
from fission.protocol.messages.client_to_viewer import ConsoleAnswer
from fission.protocol.messages.codec import Whole
from fission.protocol.messages.viewer_to_client import CheckConsole, EndConsole, SendLine

#: Bytes of a request: the longest line, each of whose characters may take six bytes of JSON, and the rest.
MOST_BYTES = 6 * PIECE_CHARACTERS + 1000
#: Seconds for which a line waits for a job that has not read the earlier ones; arbitrary: as long as a person waits for a page.
FULL_S = 5.0

B = TypeVar("B", bound="_Body")


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a request carries, as JSON."""


class ConsoleBody(_Body, frozen=True):
    """Of "/console".

    Attributes:
        job: id of an InteractiveJob.
        line: for it; None: none.
        end: whether to end the console, after the line.
    """

    job: Whole
    line: str | None = None
    end: bool = False


class RecordBody(_Body, frozen=True):
    """Of "/record".

    Attributes:
        pipe: its id.
        on: whether to record it from now on, or no longer.
    """

    pipe: Whole
    on: bool


class NetworkActions:
    """What can be done to the network; each method blocks, and raises an error of FISSION if it cannot be done.

    Each takes ``by``: who wants it, for the run's log.
    """

    def __init__(self, folder: Path, recordings: PipeRecordings, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin.

        Args:
            folder: the network's folder.
            recordings: of its pipes.
            clock: returns seconds; decides only how long a line waits.
        """
        self._folder, self._recordings, self._clock = folder, recordings, clock

    def stop(self, by: str) -> None:
        """Ask the network to stop."""
        ask_to_stop(self._folder, by)

    def type(self, asked: ConsoleBody, by: str) -> None:
        """Send a line to a console, or end it.

        Raises:
            UserError: the network does not run, has no such console, or the job does not read; the
                line is too long, or no line.
        """
        line = asked.line
        if line is not None and ("\n" in line or "\r" in line):
            raise UserError("a line must have no line break; send each line by itself")
        if line is not None and len(line) > PIECE_CHARACTERS:
            raise UserError(f"a line of the page must have at most {PIECE_CHARACTERS} characters, but has {len(line)}; use fission send")
        until = self._clock() + FULL_S
        with Viewer(self._folder) as viewer:
            viewer.ask(CheckConsole(job=asked.job), ConsoleAnswer)
            while line is not None and viewer.ask(SendLine(job=asked.job, line=line, by=by), ConsoleAnswer).full:
                if self._clock() >= until:
                    raise UserError(
                        f"job {asked.job} has not read its earlier lines for {FULL_S:g} s; this one was not sent, send it again"
                    )
            if asked.end:
                viewer.ask(EndConsole(job=asked.job, by=by), ConsoleAnswer)

    def record(self, asked: RecordBody, by: str) -> RecordingState:
        """Start or stop a recording; return its state."""
        return self._recordings.start(asked.pipe, by) if asked.on else self._recordings.stop(asked.pipe, by)


def act_routes(actions: NetworkActions, who: Callable[[Request], Visitor | None]) -> list[Route]:
    """Return the routes "/stop", "/console" and "/record".

    They answer with 200 and JSON; with 400 to a malformed request, and with 409 and {"error": text}
    if it cannot be done.

    Args:
        actions: of the network.
        who: returns who sends a request; an operator, of all that reach these routes.
    """

    async def stop(request: Request) -> Response:
        by = _named(who(request))
        return await _answered(lambda: actions.stop(by))

    async def console(request: Request) -> Response:
        by = _named(who(request))
        return await _with_body(request, ConsoleBody, lambda body: _answered(lambda: actions.type(body, by)))

    async def record(request: Request) -> Response:
        by = _named(who(request))
        return await _with_body(request, RecordBody, lambda body: _answered(lambda: actions.record(body, by)))

    handlers = {"/stop": stop, "/console": console, "/record": record}
    return [Route(path, handler, methods=["POST"]) for path, handler in handlers.items()]


def _named(visitor: Visitor | None) -> str:
    return f"{visitor.name if visitor else 'unknown'} (page)"


async def _answered(act: Callable[[], RecordingState | None]) -> Response:
    try:
        found = await asyncio.shield(run_in_threadpool(act))  # a browser that leaves does not undo it half-way
    except FissionError as why:
        return JSONResponse({"error": str(why)}, 409)
    return JSONResponse({} if found is None else asdict(found))


async def _with_body(request: Request, kind: type[B], act: Callable[[B], Awaitable[Response]]) -> Response:
    """Return the answer to a request with a body, which is read up to `MOST_BYTES`."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > MOST_BYTES:
            return PlainTextResponse(f"the request must have at most {MOST_BYTES} bytes\n", 413)
    try:
        body: Any = msgspec.json.decode(bytes(found), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as why:
        return PlainTextResponse(f"the request is malformed: {why}\n", 400)
    return await act(body)
