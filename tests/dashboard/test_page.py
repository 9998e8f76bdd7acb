"""The page's server, over real HTTP beside a real network."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import stat
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fission.client.serve.control_server import ANSWER_S
from fission.dashboard.metrics import JOB_MEASURES
from tests.dashboard.pages import ADDRESS, Page, owned, page_of
from tests.deadlines import Deadline
from tests.e2e.support import network
from tests.waiting import DEADLINE_S, CommandLine, Running

LISTED = """
Endless(outputs=[PicklePipe(1)]),
Show(inputs=[PicklePipe(1)]),
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Page]]:
    """A running network and its page, for tests that leave both as they are."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FISSION_KEYS", str(folder / "keys"))
        fission = CommandLine(folder)
        fission.project(network("", LISTED))
        client = fission.start("net", "simulate")
        client.wait_for("got 3")
        with owned(client):
            yield client, page_of(fission.start("net", "dashboard", "--port", "0", "--no-browser"))
        fission.close()


@pytest.fixture
def page(shared: tuple[Running, Page]) -> Page:
    return shared[1]


@pytest.fixture
def project(fission: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FISSION_KEYS", str(tmp_path / "keys"))
    return fission.project(network("", LISTED))


@pytest.fixture
def client(fission: CommandLine, project: Path) -> Running:
    client = fission.start("net", "simulate")
    client.wait_for("got 3")
    return client


@pytest.fixture
def own_page(fission: CommandLine, client: Running) -> Page:
    return page_of(fission.start("net", "dashboard", "--port", "0", "--no-browser"))


def test_without_the_token_nothing_is_shown(page: Page) -> None:
    for path in ("/", "/messages", "/history?of=job+1"):
        status, _, body = page.get(path)
        assert status == 401
        assert b"ends with a token" in body
        assert b"net" not in body.replace(b"Content", b"")
    status, headers, _ = page.get("/?token=wrong")
    assert status == 403
    assert "set-cookie" not in headers
    assert page.get("/messages", {"Cookie": f"fission_session_{page.port}=wrong"})[0] == 401
    assert page.get("/messages", {"Authorization": "Bearer wrong"})[0] == 401
    assert page.post("/stop", {})[0] == 401


def test_the_token_becomes_a_cookie_that_other_sites_cannot_send(page: Page) -> None:
    status, headers, _ = page.get(f"/?token={page.token}")
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"]
    assert page.token not in cookie
    assert cookie.startswith(f"fission_session_{page.port}=")  # a page at another port of this machine does not overwrite it
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    status, headers, body = page.get("/", page.logged_in())
    assert status == 200
    assert b'<script type="module" src="/page/main.js">' in body
    assert not re.search(
        rb"<script>|\son\w+=|style=|https?://", body
    )  # the policy forbids what is inline, and nothing comes from elsewhere
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", ["/page/main.js", "/page/style.css", "/page/libraries/dagre.esm.js", "/page/libraries/uPlot.LICENSE.txt"])
def test_the_parts_of_the_page_are_served_with_the_headers(page: Page, path: str) -> None:
    status, headers, body = page.get(path)
    assert status == 200
    assert body
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/page/..%2fserver.py"])
def test_nothing_else_of_the_machine_is_served(page: Page, path: str) -> None:
    assert page.get(path)[0] in {400, 404}


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", ""])
def test_a_site_that_points_its_name_here_is_refused(page: Page, host: str) -> None:
    assert page.get(f"/?token={page.token}", {"Host": host})[0] == 400


def test_the_stream_has_the_document_and_then_what_changes(page: Page) -> None:
    with closing(page.messages()) as messages:
        kind, visitor = next(messages)
        assert (kind, visitor["role"]) == ("visitor", "operator")
        seen = first_of(messages, "patch", lambda patch: "jobs" in patch and "pipes" in patch)
        assert seen["network"] == "net"
        assert seen["running"] is True
        assert {job["name"] for job in seen["jobs"].values()} == {"Endless 1", "Show 2"}
        later = first_of(messages, "patch", lambda patch: "pipes" in patch)
        assert set(later["pipes"]["1"]) <= {"per_s", "queue", "latency_s"}, "only what has changed is sent"
        lines = first_of(messages, "happened", lambda events: events[0]["event"] == "ShowOutput")
        assert lines[0]["line"].startswith("got ")


def test_only_who_has_the_form_token_stops_the_network(own_page: Page, client: Running) -> None:
    assert own_page.post("/stop", own_page.logged_in())[0] == 403
    assert own_page.post("/stop", {**own_page.logged_in(), "x-fission-form": "wrong"})[0] == 403
    assert client.process.poll() is None
    with closing(own_page.messages()) as messages:
        _, visitor = next(messages)
    assert own_page.post("/stop", {**own_page.logged_in(), "x-fission-form": visitor["form"]})[0] == 200
    client.wait()


def test_the_page_outlives_the_network_and_shows_the_next_run(fission: CommandLine, own_page: Page, client: Running) -> None:
    with closing(own_page.messages()) as messages:
        first_of(messages, "patch", lambda patch: patch.get("running") is True)
        client.interrupt()
        client.wait()
        gone = first_of(messages, "patch", lambda patch: patch.get("running") is False)
        assert "net" in gone["reason"]
        fission.start("net", "simulate")
        back = first_of(messages, "patch", lambda patch: patch.get("running") is True)
        assert back["reason"] is None


def test_no_connection_to_the_client_is_open_while_no_browser_shows_it(page: Page) -> None:
    """It is asked once in `UNSEEN_S`, each time anew."""

    def connections() -> int:
        lines = Path("/proc/net/unix").read_text().splitlines()
        return sum(line.endswith("/requests") and line.split()[5] == "03" for line in lines)

    page.eventually(lambda: connections() == 0, "the end of what earlier tests saw")
    with closing(page.messages()) as messages:
        first_of(messages, "patch", lambda patch: "jobs" in patch)
        assert connections() > 0
    page.eventually(lambda: connections() == 0, "no connection to the client")


def test_its_token_is_the_users_alone_and_stays(fission: CommandLine, project: Path, tmp_path: Path) -> None:
    command = ("net", "dashboard", "--port", "0", "--no-browser")
    first = page_of(fission.start(*command)).token
    path = tmp_path / "keys-pages" / "dashboard-token"
    assert not (tmp_path / "keys").exists()  # that folder goes to each node
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert page_of(fission.start(*command)).token == first
    path.chmod(0o666)
    assert "must be changeable by its user and root alone" in fission.run(*command, exit_code=2).stderr


@pytest.mark.slow
@pytest.mark.soak
def test_a_client_that_is_stopped_is_said_and_ctrl_c_does_not_wait_for_it(fission: CommandLine, client: Running) -> None:
    server = fission.start("net", "dashboard", "--port", "0", "--no-browser")
    page = page_of(server)
    with closing(page.messages()) as messages:
        first_of(messages, "patch", lambda patch: patch.get("running") is True)
        os.kill(client.pid, signal.SIGSTOP)
        try:
            gone = first_of(messages, "patch", lambda patch: patch.get("running") is False)
            assert "has not answered for 10 s; is it stopped?" in gone["reason"]
            os.kill(client.pid, signal.SIGCONT)
            first_of(messages, "patch", lambda patch: patch.get("running") is True)
            os.kill(client.pid, signal.SIGSTOP)
            began = time.monotonic()
            server.interrupt()
            server.wait(exit_code=130)
            assert time.monotonic() - began < ANSWER_S, "it has not waited for an answer"
        finally:
            os.kill(client.pid, signal.SIGCONT)


def test_a_port_that_is_taken_is_named(fission: CommandLine, project: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = fission.run("net", "dashboard", "--port", str(port), "--no-browser", exit_code=2)
        run = fission.run("net", "simulate", "--for", "0.1", "--dashboard", str(port), exit_code=0)
    start = f"the page cannot be served at 127.0.0.1, port {port}: Address already in use by process {os.getpid()} ("
    assert refused.stderr.startswith(f"Error: {start}")
    assert refused.stderr.endswith("); choose another one with --port\n")
    warning = next(line for line in run.stderr.splitlines() if "not served" in line)
    assert warning.startswith(f"Warning: the page is not served: {start}")
    assert warning.endswith("); choose another one with --dashboard ADDR, or DASHBOARD in config.py")


@pytest.mark.parametrize("by", ["option", "config"])
def test_a_run_serves_its_page_and_ends_with_it(fission: CommandLine, project: Path, by: str) -> None:
    if by == "config":
        config = project / "net" / "config.py"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config.write_text(f"DASHBOARD = {port}\n{config.read_text()}")
    client = fission.start("net", "simulate", *(["--dashboard", "0"] if by == "option" else []))
    page = page_of(client, "stderr")
    with closing(page.messages()) as messages:
        first_of(messages, "patch", lambda patch: patch.get("running") is True)
    client.interrupt()
    client.wait(exit_code=130)
    with pytest.raises(ConnectionRefusedError):
        page.get("/")


def test_the_page_of_a_run_answers_who_stops_it(fission: CommandLine, project: Path) -> None:
    """Client and server end together: an answer after the network's end would come too late."""
    client = fission.start("net", "simulate", "--dashboard", "0")
    page = page_of(client, "stderr")
    client.wait_for("got 3")
    assert page.post("/stop", {"Authorization": f"Bearer {page.token}"})[0] == 200
    client.wait()


@pytest.mark.parametrize("by", ["option", "config"])
def test_a_run_in_the_background_says_where_its_page_is(fission: CommandLine, project: Path, by: str, free_port: int) -> None:
    """In the terminal where it was started, not only in the file of its output."""
    config = project / "net" / "config.py"
    if by == "config":
        config.write_text(f"DASHBOARD = {free_port}\n{config.read_text()}")
    done = fission.run("net", "run", "--detach", *(["--dashboard", "0"] if by == "option" else []), exit_code=0)
    found = ADDRESS.search(done.stdout)
    assert found is not None, done.stdout
    page = Page(int(found[1]), found[2])
    assert page.get("/metrics", {"Authorization": f"Bearer {page.token}"})[0] == 200
    fission.run("net", "stop", exit_code=0)


def test_a_run_in_the_background_says_why_its_page_is_not_served(fission: CommandLine, project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = fission.run("net", "run", "--detach", "--dashboard", str(taken.getsockname()[1]), exit_code=0)
    assert "Warning: the page is not served: " in done.stdout
    fission.run("net", "stop", exit_code=0)


def test_a_network_runs_without_its_page_if_the_port_is_taken(fission: CommandLine, project: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        client = fission.start("net", "simulate", "--dashboard", str(other.getsockname()[1]))
        client.wait_for("the page is not served: the page cannot be served at 127.0.0.1", stream="stderr")
        client.wait_for("got 3")
        client.interrupt()
        client.wait(exit_code=130)


#: Shows a page until the file with its address is removed, and holds open what it has inherited.
BROWSER = """#!/bin/sh
echo "$1" >"{opened}.new" && mv "{opened}.new" "{opened}"
while [ -e "{opened}" ]; do sleep 0.05; done
"""


def test_a_browser_that_stays_open_does_not_hold_the_client_up(
    fission: CommandLine, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, opener = tmp_path / "opened", tmp_path / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text(BROWSER.format(opened=opened))
    opener.chmod(0o755)
    monkeypatch.setenv("PATH", f"{opener.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":99")
    client = fission.start("net", "simulate", "--dashboard", "0")
    page = page_of(client, "stderr")
    page.eventually(opened.exists, "the page in the browser")
    assert opened.read_text() == f"{page.address}\n"
    client.interrupt()
    client.wait(exit_code=130)
    opened.unlink()


def test_a_killed_client_leaves_no_page_behind(fission: CommandLine, project: Path) -> None:
    client = fission.start("net", "simulate", "--dashboard", "0")
    page = page_of(client, "stderr")
    client.process.kill()
    client.process.wait()

    def is_gone() -> bool:
        try:
            page.get("/")
        except (ConnectionError, http.client.HTTPException):
            return True
        return False

    page.eventually(is_gone, "the end of the page's process")


def test_a_thousand_connections_do_not_hurt_the_network(shared: tuple[Running, Page]) -> None:
    client, page = shared
    idle = []
    try:
        for _ in range(1000):
            idle.append(socket.create_connection(("127.0.0.1", page.port)))
        shown = len(client.stdout)
        page.eventually(lambda: len(client.stdout) > shown, "further lines of the network")
        page.eventually(lambda: page.get(f"/?token={page.token}")[0] == 303, "the page meanwhile")
    finally:
        for one in idle:
            one.close()
    page.eventually(lambda: page.get(f"/?token={page.token}")[0] == 303, "the page, once they are gone")


def first_of(messages: Iterator[tuple[str, Any]], kind: str, wanted: Any) -> Any:
    """Return the first message of a kind that is wanted.

    Raises:
        AssertionError: there is none in time, or the stream ends before.
    """
    seen: deque[Any] = deque(maxlen=8)
    deadline = Deadline(DEADLINE_S)
    for found, value in messages:
        if found == kind and wanted(value):
            return value
        seen.append((found, value))
        assert not deadline.over, f"no such {kind}; the last messages: {list(seen)}"
    raise AssertionError(f"the stream ended without such a {kind}")


# -- metrics -----------------------------------------------------------------------------------------------------------


def scraped(page: Page) -> dict[str, float]:
    """Return the values that Prometheus would get, by name and labels."""
    status, headers, body = page.get("/metrics", {"Authorization": f"Bearer {page.token}"})
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        f"{sample.name} {','.join(value for _, value in sorted(sample.labels.items()))}": sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_metrics_need_the_token(page: Page) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {page.token}"}):
        status, answered, body = page.get("/metrics", headers)
        assert (status, answered["www-authenticate"]) == (401, "Bearer")
        assert b"fission_" not in body
    assert page.get("/metrics", page.logged_in())[0] == 200


def test_counters_do_not_fall_when_a_node_is_lost(fission: CommandLine, project: Path) -> None:
    client = fission.start("net", "simulate", "--nodes", "2")
    page = page_of(fission.start("net", "dashboard", "--port", "0", "--no-browser"))
    history: list[dict[str, float]] = []

    def reaches(name: str, value: float) -> bool:
        history.append(scraped(page))
        return history[-1].get(name, 0) >= value

    page.eventually(lambda: reaches("fission_job_compute_blocks_total Show 2,net", 1), "the first counts")
    assert {history[-1][f"fission_node_up net,{name}"] for name in ("1", "2")} == {1}
    (lost,) = (child for child in psutil.Process(client.pid).children() if "net fork server 2" in " ".join(child.cmdline()))
    lost.kill()
    page.eventually(lambda: reaches("fission_failover_duration_seconds_count net", 1), "the failover")
    after = history[-1]
    assert after["fission_node_up net,2"] == 0
    assert after["fission_failover_duration_seconds_sum net"] > 0
    assert sum(value for name, value in after.items() if name.startswith("fission_job_restarts_total")) >= 1
    blocks = after["fission_job_compute_blocks_total Show 2,net"]
    page.eventually(lambda: reaches("fission_job_compute_blocks_total Show 2,net", blocks + 100), "further blocks")
    by_process = tuple(f"fission_job_{name}" for name, _, _ in JOB_MEASURES)
    for earlier, later in pairwise(history):
        for name, value in earlier.items():
            if "_total " in name and not name.startswith(by_process):
                assert later[name] >= value, name


def test_metrics_of_a_network_that_does_not_run(fission: CommandLine, project: Path) -> None:
    page = page_of(fission.start("net", "dashboard", "--port", "0", "--no-browser"))
    found = scraped(page)
    assert found["fission_network_up net"] == 0
    assert not any(name.startswith("fission_job") for name in found)


def test_the_messages_are_json(page: Page) -> None:
    status, _headers, _ = page.get("/", page.logged_in())
    assert status == 200
    with closing(page.messages()) as messages:
        for _, (kind, value) in zip(range(6), messages, strict=False):
            assert kind in {"visitor", "document", "patch", "events", "happened"}
            json.dumps(value)
