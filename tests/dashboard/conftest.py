"""A real Chromium for the tests of the page."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests import hygiene

#: Without a network, Chromium's own connections would be refused, many at a time. --no-sandbox: CI is root.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
log = logging.getLogger("tests.browser")
#: Milliseconds that a busy machine may take to show something, unless a test says otherwise. Arbitrary.
SEEN_MS = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    before = set(psutil.Process().children())
    expect.set_options(timeout=SEEN_MS)
    with sync_playwright() as playwright:
        started = {child.pid for child in set(psutil.Process().children()) - before}
        hygiene.fixture_trees.update(started)
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=list(OPTIONS))
        yield browser
        browser.close()
    hygiene.fixture_trees.difference_update(started)


@pytest.fixture
def faults() -> list[str]:
    """The faults of the page's scripts and breaches of its policy, so far."""
    return []


@pytest.fixture
def tab(browser: Browser, faults: list[str]) -> Iterator[Page]:
    """A tab with cookies of its own; any of the `faults` fails the test. A failed test shows what the browser says."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    tab = context.new_page()
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("console", lambda message: faults.append(message.text) if "Content Security Policy" in message.text else None)
    tab.on("console", lambda message: log.info("console: %s", message.text))
    tab.on("requestfailed", lambda request: log.info("failed: %s: %s", request.url, request.failure))
    yield tab
    context.close()
    assert not faults, faults


@pytest.fixture
def free_port() -> int:
    """A port that nothing uses now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port
