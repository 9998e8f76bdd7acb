"""What an operator can do from the page: what is refused, who is named in the run's log, and what arrives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from fission.client.serve.consoles import PIECE_CHARACTERS
from fission.dashboard import act_routes
from fission.dashboard.access import Access, Grant, Role
from fission.dashboard.act_routes import FULL_S, MOST_BYTES, ConsoleBody, NetworkActions
from fission.dashboard.app import make_app
from fission.dashboard.pipe_recordings import RecordingState
from fission.errors import UserError
from fission.protocol.messages.client_to_viewer import ConsoleAnswer
from fission.protocol.messages.viewer_to_client import CheckConsole, EndConsole, SendLine
from tests.dashboard.test_roles import Stub

ACCESS = Access({}, lambda: (Grant.of("acts", Role.OPERATOR, name="anna"), Grant.of("looks", Role.VIEWER, name="bert")))
OPERATOR = {"authorization": "Bearer acts"}


class Client:
    """In place of the network's client, and of the connection to it.

    Attributes:
        heard: the requests.
        full: how many of the next lines find no room.
    """

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.full = 0

    def __call__(self, folder: Path) -> Client:
        return self

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *rest: object) -> None:
        pass

    def ask(self, request: Any, kind: type[Any]) -> Any:
        self.heard.append(request)
        if request.job == 9:
            raise UserError("job 9 is not an InteractiveJob of net; there are: 1 (Console 1)")
        if isinstance(request, SendLine) and self.full:
            self.full -= 1
            return ConsoleAnswer(full=True)
        return ConsoleAnswer()


class Recordings:
    """In place of the recordings."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, str]] = []

    def start(self, pipe: int, by: str) -> RecordingState:
        if self.heard:
            raise UserError(f"pipe {pipe} is being recorded already")
        self.heard.append(("start", pipe, by))
        return RecordingState(file="f.rec", by=by, began=1.0)

    def stop(self, pipe: int, by: str) -> RecordingState:
        self.heard.append(("stop", pipe, by))
        return RecordingState(file="f.rec", by=by, began=1.0, running=False, blocks=3)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    found = Client()
    monkeypatch.setattr(act_routes, "Viewer", found)
    return found


def application(recordings: Recordings | None = None, kind: type[NetworkActions] = NetworkActions) -> Starlette:
    actions = kind(Path("net"), recordings or Recordings())  # type: ignore[arg-type]
    return make_app(Stub(), Stub(), Stub(), ACCESS, actions, ["localhost"])  # type: ignore[arg-type]


def posted(app: Starlette, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Return status and text of the answer to a request; a body other than bytes is sent as JSON."""
    status, found = 0, bytearray()
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        found.extend(message.get("body", b""))

    sent = [(b"host", b"localhost"), *((name.encode(), value.encode()) for name, value in (headers or OPERATOR).items())]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": sent, "scheme": "https", "root_path": ""}
    asyncio.run(app(scope, receive, send))
    return status, found.decode()


# -- a console ------------------------------------------------------------------------------------------------------------


def test_a_line_reaches_the_console_with_the_name_of_its_sender(client: Client) -> None:
    assert posted(application(), "/console", {"job": 1, "line": "<b>\u00e4"}) == (200, "{}")
    assert client.heard == [CheckConsole(job=1), SendLine(job=1, line="<b>\u00e4", by="anna (page)")]


def test_a_console_is_ended(client: Client) -> None:
    assert posted(application(), "/console", {"job": 1, "end": True})[0] == 200
    assert client.heard == [CheckConsole(job=1), EndConsole(job=1, by="anna (page)")]


def test_an_empty_line_is_one(client: Client) -> None:
    assert posted(application(), "/console", {"job": 1, "line": ""})[0] == 200
    assert client.heard[1] == SendLine(job=1, line="", by="anna (page)")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"job": 9, "line": "x"}, "job 9 is not an InteractiveJob of net"),
        ({"job": 1, "line": "two\nlines"}, "a line must have no line break"),
        ({"job": 1, "line": "two\rlines"}, "a line must have no line break"),
        ({"job": 1, "line": "x" * (PIECE_CHARACTERS + 1)}, f"at most {PIECE_CHARACTERS} characters, but has {PIECE_CHARACTERS + 1}"),
    ],
)
def test_a_line_that_cannot_be_sent_is_refused_in_one_line(client: Client, body: Any, says: str) -> None:
    status, text = posted(application(), "/console", body)
    assert status == 409
    error = json.loads(text)["error"]
    assert says in error
    assert "\n" not in error
    assert not [one for one in client.heard if isinstance(one, SendLine)]


def test_the_longest_line_fits_however_it_is_written(client: Client) -> None:
    line = "\u00e4" * PIECE_CHARACTERS
    assert posted(application(), "/console", json.dumps({"job": 1, "line": line}).encode())[0] == 200
    assert client.heard[1].line == line


def test_a_line_waits_a_while_for_a_job_that_does_not_read(client: Client) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += FULL_S / 10
        return now

    actions = NetworkActions(Path("net"), Recordings(), clock)  # type: ignore[arg-type]
    client.full = 3
    actions.type(ConsoleBody(job=1, line="x"), "anna")
    assert len(client.heard) == 1 + 4
    client.full = 1000
    with pytest.raises(UserError, match="has not read its earlier lines for 5 s; this one was not sent"):
        actions.type(ConsoleBody(job=1, line="x"), "anna")


# -- a recording ----------------------------------------------------------------------------------------------------------


def test_a_recording_is_started_and_stopped(client: Client) -> None:
    recordings = Recordings()
    app = application(recordings)
    status, text = posted(app, "/record", {"pipe": 101, "on": True})
    assert (status, json.loads(text)["file"]) == (200, "f.rec")
    assert posted(app, "/record", {"pipe": 101, "on": True}) == (409, '{"error":"pipe 101 is being recorded already"}')
    status, text = posted(app, "/record", {"pipe": 101, "on": False})
    assert (status, json.loads(text)["blocks"]) == (200, 3)
    assert recordings.heard == [("start", 101, "anna (page)"), ("stop", 101, "anna (page)")]


@pytest.mark.parametrize("member", ["file", "path", "folder", "out"])
def test_a_browser_cannot_say_where_a_recording_goes(client: Client, member: str) -> None:
    recordings = Recordings()
    assert posted(application(recordings), "/record", {"pipe": 101, "on": True, member: "/tmp/elsewhere"})[0] == 400
    assert recordings.heard == []


# -- who, and malformed requests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/stop", "/console", "/record"])
def test_only_an_operator_acts(client: Client, path: str) -> None:
    recordings = Recordings()
    app = application(recordings)
    session = {"cookie": f"fission_session={ACCESS.session('acts')}"}
    for body in ({"job": 1, "line": "x"}, {"pipe": 1, "on": True}):
        assert posted(app, path, body, {"authorization": "Bearer looks"})[0] == 403
        assert posted(app, path, body, session)[0] == 403, "another site has no form token"
        assert posted(app, path, body, {"authorization": "Bearer wrong"})[0] == 401
    assert (client.heard, recordings.heard) == ([], [])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"\xff",
        b'{"job": -1, "line": "x"}',
        b'{"job": "1", "line": "x"}',
        b'{"job": 1.5}',
        b'{"job": 1, "line": 5}',
        b'{"job": 1, "line": "\\ud800"}',
        b'{"job": 1, "more": 1}',
        b'{"job": 99999999999999999999}',
    ],
)
def test_a_malformed_request_is_refused(client: Client, body: bytes) -> None:
    assert posted(application(), "/console", body)[0] == 400
    assert posted(application(), "/record", body)[0] == 400
    assert client.heard == []


def test_a_request_without_end_is_not_kept(client: Client) -> None:
    assert posted(application(), "/console", b"x" * (MOST_BYTES + 1))[0] == 413


class Nameless(NetworkActions):
    """A broken one: the run's log does not learn who it was."""

    def type(self, asked: ConsoleBody, by: str) -> None:
        super().type(asked, "")


def test_an_action_without_a_name_is_caught(client: Client) -> None:
    posted(application(kind=Nameless), "/console", {"job": 1, "line": "x"})
    assert client.heard[1] != SendLine(job=1, line="x", by="anna (page)")
