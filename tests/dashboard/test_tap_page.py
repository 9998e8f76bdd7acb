"""Looks into a pipe over real HTTP, beside a real network: what they cost the job, and when they end. And at the loss of a node."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.dashboard.pages import Page, owned, page_of
from tests.e2e.support import network
from tests.waiting import DEADLINE_S, CommandLine, eventually

LISTED = """
Endless(outputs=[PicklePipe(1)]),
Show(inputs=[PicklePipe(1)]),
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Page]]:
    """The folder of a running network, and its page."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FISSION_KEYS", str(folder / "keys"))
        fission = CommandLine(folder)
        project = fission.project(network("", LISTED, extra="LOG_LEVEL = 'INFO'"))
        client = fission.start("net", "simulate", "--dashboard", "0")
        with owned(client):
            page = page_of(client, "stderr")
            client.wait_for("got 3")
            yield project, page
        fission.close()


def updates(page: Page, query: str) -> Iterator[dict[str, Any]]:
    """Yield the updates of a pipe; close the iterator to disconnect."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=DEADLINE_S)
    try:
        connection.request("GET", f"/tap?{query}", headers=page.logged_in())
        answer = connection.getresponse()
        assert answer.status == 200
        for line in answer:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])
    finally:
        connection.close()


def viewers(project: Path) -> int:
    """Return how many taps the source has now, as its log says."""
    texts = [path.read_text("utf-8", "replace") for path in (project / "net" / "simulation").rglob("*.log")]
    return sum(text.count("has a viewer (tap") - text.count("the viewer of pipe") for text in texts)


def test_only_who_is_logged_in_looks_into_a_pipe(shared: tuple[Path, Page]) -> None:
    _, page = shared
    assert page.get("/tap?pipe=1")[0] == 401
    assert page.get("/tap?pipe=1", {"Cookie": f"fission_session_{page.port}=wrong"})[0] == 401
    status, _, body = page.get("/tap?pipe=x", page.logged_in())
    assert (status, body) == (400, b"pipe must be the id of a pipe\n")


def test_the_tap_is_open_while_a_viewer_looks_and_closed_with_the_connection(shared: tuple[Path, Page]) -> None:
    """Measured where it costs: at the job that feeds the pipe."""
    project, page = shared
    assert viewers(project) == 0
    with closing(updates(page, "pipe=1")) as stream:
        seen = next(update for update in stream if update["values"])
        assert seen["kind"] == "numbers"
        eventually(lambda: viewers(project) == 1, DEADLINE_S, "the tap in the job's log")
    eventually(lambda: viewers(project) == 0, DEADLINE_S, "the end of the tap in the job's log")


def test_a_pipe_that_does_not_exist_is_named(shared: tuple[Path, Page]) -> None:
    _, page = shared
    with closing(updates(page, "pipe=7")) as stream:
        reason = next(update["reason"] for update in stream if "reason" in update)
    assert "there is no pipe 7 in net" in reason


def test_the_loss_of_a_node_is_foreseen_for_those_who_are_logged_in(shared: tuple[Path, Page]) -> None:
    _, page = shared
    assert page.get("/loss?node=client")[0] == 401
    status, _, body = page.get("/loss?node=nowhere", page.logged_in())
    assert status == 409
    assert "there is no node 'nowhere'" in json.loads(body)["error"]
