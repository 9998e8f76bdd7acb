"""A page at an address of the network: TLS, tokens that are shown once, roles, and another machine's browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Error, expect, sync_playwright

from tests import hygiene
from tests.dashboard.conftest import OPTIONS
from tests.e2e.support import network
from tests.pipelines.hosts import Hosts
from tests.waiting import DEADLINE_S, CommandLine, Running

#: Chromium's start counts into the first test's time, and takes long on a busy machine.
pytestmark = pytest.mark.timeout(120)

ADDRESS = re.compile(r"the page of \w+: (https?)://(\S+):(\d+)/(\?token=(\S+))?$")
#: Milliseconds that a change may take to be seen.
SEEN_MS = 20_000
LISTED = """
Endless(outputs=[PicklePipe(1)]),
Show(inputs=[PicklePipe(1)]),
"""


@dataclass
class Secure:
    """A page that is served to others."""

    command: Running
    host: str
    port: int
    token: str
    context: ssl.SSLContext

    def ask(self, method: str, path: str, token: str = "", host: str = "127.0.0.1") -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPSConnection(host, self.port, timeout=DEADLINE_S, context=self.context)
        with closing(connection):
            connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def served(command: Running, fission: CommandLine, folder: Path, stream: str = "stdout") -> Secure:
    found = ADDRESS.search(command.wait_for(ADDRESS, stream=stream))
    assert found is not None
    assert found[1] == "https"
    fission.run("keys", "--export-ca", str(folder / "ca.pem"))
    return Secure(command, found[2], int(found[3]), found[5] or "", ssl.create_default_context(cafile=str(folder / "ca.pem")))


@pytest.fixture
def project(fission: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FISSION_KEYS", str(tmp_path / "keys"))
    return fission.project(network("", LISTED))


def start(fission: CommandLine, host: str = "0.0.0.0") -> Running:
    return fission.start("net", "dashboard", "--host", host, "--port", "0", "--no-browser")


def test_it_is_served_by_tls_and_the_first_token_is_shown_once(fission: CommandLine, project: Path, tmp_path: Path) -> None:
    page = served(start(fission), fission, tmp_path)
    assert page.token
    for host in ("127.0.0.1", "localhost"):
        status, headers, _ = page.ask("GET", f"/?token={page.token}", host=host)
        assert status == 303
        assert "Secure" in headers["set-cookie"]
        assert "SameSite=strict" in headers["set-cookie"]
    assert page.ask("GET", "/metrics", page.token)[0] == 200
    assert page.ask("GET", "/metrics")[0] == 401
    with closing(socket.create_connection(("127.0.0.1", page.port))) as plain:
        plain.settimeout(DEADLINE_S)
        plain.sendall(f"GET /?token={page.token} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert b"HTTP" not in all_of(plain), "a page without TLS"
    again = served(start(fission), fission, tmp_path)
    assert again.token == ""
    again.command.wait_for("fission keys --token NAME")
    assert again.ask("GET", "/metrics", page.token)[0] == 200, "the token stays valid"


def test_tokens_are_made_and_revoked_while_it_runs(fission: CommandLine, project: Path, tmp_path: Path) -> None:
    page = served(start(fission), fission, tmp_path)
    viewer = json.loads(fission.run("keys", "--token", "anna", "--json").stdout)["token"]
    assert page.ask("GET", "/metrics", viewer)[0] == 200
    assert page.ask("POST", "/stop", viewer)[0] == 403
    connection = http.client.HTTPSConnection("127.0.0.1", page.port, timeout=DEADLINE_S, context=page.context)
    with closing(connection):
        connection.request("GET", "/messages", headers={"Authorization": f"Bearer {viewer}"})
        stream = connection.getresponse()
        assert stream.readline() == b"event: visitor\n"
        assert b'"viewer"' in stream.readline()
        fission.run("keys", "--revoke-token", "anna")
        fission.start("net", "simulate").wait_for("got 3")  # something happens that would be shown
        while stream.readline():  # ends: a revoked token sees nothing further
            pass
    assert page.ask("GET", "/metrics", viewer)[0] == 401
    assert page.ask("GET", "/metrics", page.token)[0] == 200


def test_a_network_serves_it_by_its_config(fission: CommandLine, project: Path, tmp_path: Path, free_port: int) -> None:
    config = project / "net" / "config.py"
    config.write_text(f'DASHBOARD = "[::]:{free_port}"\n{config.read_text()}')
    client = fission.start("net", "simulate")
    page = served(client, fission, tmp_path, "stderr")
    assert page.port == free_port
    for host in ("::1", "127.0.0.1"):
        assert page.ask("GET", "/metrics", page.token, host)[0] == 200
    client.interrupt()
    client.wait(exit_code=130)


@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "localhost"])
def test_every_loopback_address_is_local(fission: CommandLine, project: Path, host: str) -> None:
    command = start(fission, host)
    found = ADDRESS.search(command.wait_for(ADDRESS))
    assert found is not None
    assert (found[1], bool(found[5])) == ("http", True)


@pytest.fixture
def wire() -> Iterator[Hosts]:
    """Two machines on a wire, each in a network namespace."""
    with Hosts(2) as found:
        yield found


def test_a_browser_of_another_machine_opens_it(
    fission: CommandLine, project: Path, tmp_path: Path, wire: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = wire.names
    client = fission.start("net", "simulate")
    client.wait_for("got 3")
    words = ("net", "dashboard", "--host", "0.0.0.0", "--port", "0", "--no-browser")
    inside = ["ip", "netns", "exec", here, sys.executable, "-m", "fission", *words]
    pipe = subprocess.PIPE
    process = subprocess.Popen(inside, cwd=fission.root, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
    fission.commands.append(Running(words, process, None))
    page = served(fission.commands[-1], fission, tmp_path)
    assert page.host == wire.address(0)
    browser = tmp_path / "chromium"
    browser.write_text(f'#!/bin/sh\nexec ip netns exec {there} {os.environ.get("CHROMIUM", "/usr/bin/chromium")} "$@"\n')
    browser.chmod(0o755)
    before = set(psutil.Process().children())
    with sync_playwright() as playwright:
        hygiene.fixture_trees.update(child.pid for child in set(psutil.Process().children()) - before)
        chromium = playwright.chromium.launch(executable_path=str(browser), args=list(OPTIONS))
        tab = chromium.new_context().new_page()
        with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
            tab.goto(f"https://{page.host}:{page.port}/?token={page.token}")
        tab = chromium.new_context(ignore_https_errors=True).new_page()
        tab.goto(f"https://{page.host}:{page.port}/?token={page.token}")
        expect(tab.locator("#graph .job")).to_have_count(2, timeout=SEEN_MS)
        tab.get_by_role("button", name="Stop the network").click()
        tab.get_by_role("button", name="Really stop it?").click()
        client.wait()
        chromium.close()


def all_of(connection: socket.socket) -> bytes:
    """Return what the other side sends until it closes the connection."""
    found = b""
    try:
        while piece := connection.recv(4096):
            found += piece
    except ConnectionError:
        pass
    return found
