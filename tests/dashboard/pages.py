"""A page's server as a test sees it: over HTTP, with the token that its command has printed."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests import hygiene
from tests.waiting import DEADLINE_S, Running, eventually

ADDRESS = re.compile(r"the page of \w+: http://127\.0\.0\.1:(\d+)/\?token=(\S+)")


class Page:
    """One server."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
        return self._ask("GET", path, headers or {})

    def post(self, path: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        return self._ask("POST", path, headers, body)

    def logged_in(self) -> dict[str, str]:
        """Return the header with the cookie."""
        return {"Cookie": self.get(f"/?token={self.token}")[1]["set-cookie"].partition(";")[0]}

    def messages(self) -> Iterator[tuple[str, Any]]:
        """Yield the events of the page's stream; close the iterator to disconnect."""
        connection = self._connect()
        try:
            connection.request("GET", "/messages", headers=self.logged_in())
            answer = connection.getresponse()
            assert answer.status == 200
            kind = ""
            for line in answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, json.loads(value)
        finally:
            connection.close()

    def eventually(self, predicate: Callable[[], bool], what: str) -> None:
        eventually(predicate, DEADLINE_S, what)

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        connection = self._connect()
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)


@contextlib.contextmanager
def owned(command: Running) -> Iterator[None]:
    """Let the processes of a network belong to a fixture of many tests: none of them has left them behind."""
    hygiene.fixture_trees.add(command.pid)
    yield
    hygiene.fixture_trees.discard(command.pid)


def page_of(command: Running, stream: str = "stdout") -> Page:
    """Return the page whose address a command prints."""
    found = ADDRESS.search(command.wait_for(ADDRESS, stream=stream))
    assert found is not None
    return Page(int(found[1]), found[2])
