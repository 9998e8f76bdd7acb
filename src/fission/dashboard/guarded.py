"""What all pages have in common, as an ASGI application: what a request must prove, the log-in, and the headers of every answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

from fission.dashboard.access import COOKIE, FORM_HEADER, Access, Visitor

PAGE = Path(__file__).parent / "page"
#: Headers of every answer: nothing from elsewhere is loaded or run, and no other site may show the page in a frame.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
#: Methods of requests that change nothing.
LOOKING = ("GET", "HEAD")
#: Digits of a port.
MOST_DIGITS = 5
LOG_IN = "Open the address that the command has printed: it ends with a token.\n"
NEEDS_TOKEN = "Send a token of the page: Authorization: Bearer TOKEN\n"


def guarded_app(page: str, routes: Sequence[BaseRoute], access: Access, hosts: list[str], *, secure: bool = False) -> Starlette:
    """Return an application with these routes, the page at "/" and its files.

    Whatever acts is refused to all but operators. A route that shows something asks `refused` itself.

    Args:
        page: name of the page's HTML file in `PAGE`.
        routes: what the page asks for.
        access: decides who may see and act.
        hosts: host names and addresses under which the page may be asked for: another name in the
            Host header is a site that points its own name here.
        secure: whether it is reached by TLS only.
    """

    async def index(request: Request) -> Response:
        token = request.query_params.get("token")
        if token is not None:
            session = access.session(token)
            if session is None:
                return PlainTextResponse(f"This token is not valid. {LOG_IN}", 403)
            answer: Response = RedirectResponse("/", 303)  # the token must not stay in the address
            answer.set_cookie(cookie_of(request), session, httponly=True, samesite="strict", secure=secure)
            return answer
        refusal = refused(request, access)
        return refusal if refusal is not None else Response((PAGE / page).read_bytes(), media_type="text/html")

    return Starlette(
        routes=[Route("/", index), *routes, Mount("/page", StaticFiles(directory=PAGE))],
        middleware=[
            Middleware(_WithHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
            Middleware(_Guard, access=access),
        ],
    )


def visitor_of(request: HTTPConnection, access: Access) -> Visitor | None:
    """Return who sends a request; None if it proves nothing."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return access.visitor(token=token if kind.lower() == "bearer" else "", session=request.cookies.get(cookie_of(request), ""))


def cookie_of(request: HTTPConnection) -> str:
    """Return the name of the cookie with the session. It has the port that the browser has asked for: browsers send the cookies
    of a host to all of its ports, so pages of one machine, or those that are forwarded to it, would log each other out.
    """
    _, separator, port = request.headers.get("host", "").rpartition(":")
    return f"{COOKIE}_{port}" if separator and port.isascii() and port.isdecimal() and len(port) <= MOST_DIGITS else COOKIE


def refused(request: HTTPConnection, access: Access) -> Response | None:
    """Return the answer to a request that may see nothing; None: it may."""
    return PlainTextResponse(LOG_IN, 401) if visitor_of(request, access) is None else None


def metrics_refused(request: HTTPConnection, access: Access) -> Response | None:
    """Return the answer to a scrape without a token; None: it has one."""
    return PlainTextResponse(NEEDS_TOKEN, 401, {"WWW-Authenticate": "Bearer"}) if visitor_of(request, access) is None else None


class _WithHeaders:
    """Adds `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_on(message: AsgiMessage) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, send_on)


class _Guard:
    """Refuses whatever may change something, at every route, unless an operator sends it, from the page or with a token.

    An answer that lasts (a stream) ends when the token of its visitor is revoked.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        visitor = visitor_of(request, self._access)
        if scope["type"] == "websocket" or scope["method"] not in LOOKING:
            refusal: Response | None = None
            if visitor is None:
                refusal = PlainTextResponse(LOG_IN, 401)
            elif not visitor.may_act(request.headers.get(FORM_HEADER, "")):
                refusal = JSONResponse({"error": "this token may only look; an operator's token may act"}, 403)
            if refusal is not None:
                await refusal(scope, receive, send)
                return

        async def send_while_valid(message: AsgiMessage) -> None:
            if message.get("more_body") and visitor is not None and visitor_of(request, self._access) is None:
                raise _RevokedError
            await send(message)

        try:
            await self._app(scope, receive, send_while_valid)
        except (_RevokedError, ClientDisconnect):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _RevokedError(OSError):
    """The token of a stream's visitor was revoked; a stream ends with an OSError as if its visitor had left."""
