"""A viewer looks and an operator acts, at every route that the application has: a new one cannot be forgotten."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from fission.dashboard.access import Access, Role
from fission.dashboard.app import make_app
from fission.dashboard.guarded import LOOKING
from fission.dashboard.pipelines_site import PipelinesSite
from fission.protocol.messages.pipelines.router_to_client import PipelineChanged

METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "ANYTHING")
ACCESS = Access({"looks": Role.VIEWER, "acts": Role.OPERATOR})


class Stub:
    """Stands for what the routes use: none of them may be reached."""

    folder = Path()

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is used")


class Actions(Stub):
    """Stands for what an operator can do."""

    def __init__(self, stopped: list[str]) -> None:
        self._stopped = stopped

    def stop(self, by: str) -> None:
        self._stopped.append(by)


def application(stopped: list[str]) -> Starlette:
    parts = {name: Stub() for name in ("watcher", "scraper", "taps")}
    wanted = make_app.__code__.co_varnames[: make_app.__code__.co_argcount]
    parts = {name: part for name, part in parts.items() if name in wanted}
    return make_app(**parts, access=ACCESS, actions=Actions(stopped), hosts=["localhost"])  # type: ignore[arg-type]


def pipelines_application(changed: list[str]) -> Starlette:
    class Router:
        async def change(self, request: Any, kind: Any) -> Any:
            changed.append(request.pipeline_id)
            return PipelineChanged(request.pipeline_id)

    return PipelinesSite(Router()).app(ACCESS, ["localhost"], secure=True)  # type: ignore[arg-type]


#: Each makes an application, which notes what an operator does; and how he does it.
APPLICATIONS = [pytest.param(application, "/stop", id="network"), pytest.param(pipelines_application, "/pipelines/x/retry", id="pipelines")]


def status_of(app: Starlette, method: str, path: str, **headers: str) -> int:
    """Return the status of the answer to a request."""
    found: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    sent = [(b"host", b"localhost"), *((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": sent, "scheme": "https", "root_path": ""}
    asyncio.run(app(scope, receive, send))
    return found[0]


def paths(app: Starlette) -> list[str]:
    """Return a path of every route."""
    return [
        f"{route.path}/main.js" if isinstance(route, Mount) else re.sub(r"{[^}]*}", "1", route.path)
        for route in app.routes
        if isinstance(route, Route | Mount)
    ]


def reached(app: Starlette, **headers: str) -> set[str]:
    """Return the acting requests that are not refused for want of a role."""
    asked = [(method, path) for path in (*paths(app), "/new") for method in METHODS]
    return {f"{method} {path}" for method, path in asked if status_of(app, method, path, **headers) not in (401, 403)}


def session(token: str) -> dict[str, str]:
    return {"cookie": f"fission_session={ACCESS.session(token)}"}


def form(token: str) -> dict[str, str]:
    found = ACCESS.visitor(session=ACCESS.session(token) or "")
    assert found is not None
    return {**session(token), "x_fission_form": found.form_token}


@pytest.mark.parametrize(("make", "acts"), APPLICATIONS)
def test_every_route_is_known_here(make: Any, acts: str) -> None:
    app = make([])
    assert len(paths(app)) == len(app.routes)
    for route in app.routes:
        methods = getattr(route, "methods", None) or set(LOOKING)
        assert methods <= set(LOOKING) or not methods & set(LOOKING), f"{route} acts, or it looks"


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer looks"}, session("looks"), form("looks"), session("acts")],
    ids=["without a token", "a wrong token", "a viewer's token", "a viewer's session", "a viewer's page", "another site"],
)
@pytest.mark.parametrize(("make", "acts"), APPLICATIONS)
def test_only_an_operator_acts_at_any_route(make: Any, acts: str, headers: dict[str, str]) -> None:
    done: list[str] = []
    app = make(done)
    assert reached(app, **headers) == set()
    assert status_of(app, "POST", acts, **headers) in (401, 403)
    assert done == []


@pytest.mark.parametrize("headers", [{"authorization": "Bearer acts"}, form("acts")], ids=["a token", "the page"])
@pytest.mark.parametrize(("make", "acts"), APPLICATIONS)
def test_an_operator_acts(make: Any, acts: str, headers: dict[str, str]) -> None:
    done: list[str] = []
    assert status_of(make(done), "POST", acts, **headers) == 200
    assert done in (["local (page)"], ["x"])


def test_a_new_route_is_guarded_without_being_asked() -> None:
    app = application([])
    app.router.routes.append(Route("/new", lambda request: PlainTextResponse("done"), methods=["POST"]))
    assert status_of(app, "POST", "/new", authorization="Bearer looks") == 403
    assert status_of(app, "POST", "/new", authorization="Bearer acts") == 200


@pytest.mark.parametrize(("make", "acts"), APPLICATIONS)
def test_an_application_without_the_guard_is_caught(make: Any, acts: str) -> None:
    app = make([])
    app.user_middleware = [one for one in app.user_middleware if getattr(one.cls, "__name__", "") != "_Guard"]
    assert status_of(app, "POST", acts, **session("looks")) == 200
