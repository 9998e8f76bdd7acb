"""The page of the pipelines in a real browser: with a Router in memory, and with real daemons."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Page as Tab
from playwright.sync_api import Route, expect

from fission.dashboard.pipelines_site import PipelinesSite
from fission.pipelines import Job, Pipeline, PipelineManager
from tests.dashboard.pages import owned, page_of
from tests.dashboard.router_in_memory import ACCESS, Clock, MemoryRouter, client_of
from tests.dashboard.test_in_chromium import AXE, HOSTILE, SEEN_MS
from tests.pipelines.daemons import STORE, WORKERS
from tests.pipelines.test_router_api import CHAIN
from tests.ports import free_ports
from tests.waiting import CommandLine, eventually

#: Chromium's start counts into the first test's time, and takes long on a busy machine.
pytestmark = pytest.mark.timeout(120)


class Server:
    """A page with a Router in memory, in a thread of its own.

    Attributes:
        router: use it by `do` alone.
    """

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.router: MemoryRouter
        self._loop: asyncio.AbstractEventLoop
        self._server: uvicorn.Server
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(10)

    def address(self, token: str = "acts") -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/?token={token}"

    def do(self, work: Callable[[MemoryRouter], Any]) -> Any:
        """Do something with the Router, in its thread."""

        async def done() -> Any:
            return work(self.router)

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(10)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self.listener.close()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.router, clock = MemoryRouter(), Clock()
        site = PipelinesSite(client_of(self.router, clock))

        async def pass_time() -> None:
            """Let each round of the page get fresh values."""
            while True:
                await asyncio.sleep(0.2)
                clock.now += 1

        passing = asyncio.create_task(pass_time())
        app = site.app(ACCESS, ["127.0.0.1"], secure=False)
        config = uvicorn.Config(app, log_config=None, lifespan="off", log_level="critical", ws="none", timeout_graceful_shutdown=0)
        self._server = uvicorn.Server(config)
        self._ready.set()
        await self._server.serve([self.listener])
        passing.cancel()
        await site.close()
        self.router.talk.store.close()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


def test_a_failed_pipeline_is_found_explained_and_run_again(tab: Tab, server: Server) -> None:
    server.do(lambda router: router.fail("x1", data={"page": 7}, error="ValueError: no", traceback="Traceback: line 3"))
    server.do(lambda router: router.talk.add("y1", CHAIN))
    tab.goto(server.address())
    expect(tab.locator("#count-failed")).to_have_text("1", timeout=SEEN_MS)
    expect(tab.locator("#list tbody tr")).to_have_count(2)
    expect(tab.locator("#throughput canvas")).to_be_visible()
    tab.set_viewport_size({"width": 700, "height": 900})
    assert tab.locator("#throughput canvas").count() == 1, "it is drawn anew, at once"
    expect(tab.locator("#list tbody tr").first).to_contain_text("y1")
    tab.get_by_role("button", name="failed").click()
    expect(tab.locator("#list tbody tr")).to_have_count(1, timeout=SEEN_MS)
    tab.locator("#list button", has_text="x1").press("Enter")
    expect(tab.locator("#pipeline-title")).to_be_focused()
    expect(tab.locator("#pipeline-title")).to_have_text("Pipeline x1: failed", timeout=SEEN_MS)
    expect(tab.locator("#data")).to_have_text('{"page": 7}')
    expect(tab.locator("#graph .job")).to_have_count(2)
    expect(tab.locator("#graph .job.failed")).to_contain_text("A")
    expect(tab.locator("#graph .job.skipped")).to_contain_text("B")
    expect(tab.locator("#graph .pipe")).to_have_count(1)
    tab.locator("[data-job='0']").press("Enter")
    expect(tab.locator("#job-traceback")).to_have_text("Traceback: line 3")
    tab.locator("#job-close").press("Enter")
    expect(tab.locator("[data-job='0']")).to_be_focused()
    expect(tab.locator("#cancel")).to_be_hidden()
    tab.locator("#retry").press("Enter")
    expect(tab.locator("#pipeline-title")).to_have_text("Pipeline x1: waiting", timeout=SEEN_MS)
    expect(tab.locator("#count-failed")).to_have_text("0", timeout=SEEN_MS)
    expect(tab.locator("#empty")).to_be_visible(timeout=SEEN_MS)
    tab.locator("#cancel").click()
    assert "cancel" not in server.do(lambda router: list(router.asked)), "it asks once more"
    tab.locator("#cancel").click()
    expect(tab.locator("#pipeline-title")).to_have_text("Pipeline x1: cancelled", timeout=SEEN_MS)
    tab.locator("#close").click()
    expect(tab.locator("#pipeline")).to_be_hidden()


@pytest.mark.slow
@pytest.mark.soak
def test_a_viewer_sees_no_buttons_and_a_wrong_token_nothing(tab: Tab, server: Server) -> None:
    server.do(lambda router: router.fail("x1"))
    tab.goto(server.address("wrong"))
    expect(tab.locator("body")).to_contain_text("This token is not valid")
    tab.goto(server.address("looks"))
    tab.locator("#list button", has_text="x1").click(timeout=SEEN_MS)
    expect(tab.locator("#pipeline-title")).to_have_text("Pipeline x1: failed", timeout=SEEN_MS)
    expect(tab.locator("#retry")).to_be_hidden()
    expect(tab.locator("#cancel")).to_be_hidden()


def test_what_users_write_is_text_and_nothing_else(tab: Tab, server: Server) -> None:
    worker = "<img/src=x/onerror=document.title='owned'>"

    def add(router: MemoryRouter) -> None:
        router.talk.pulse(workers=("A", "B", worker))
        router.fail("x1", data={"text": HOSTILE}, error=HOSTILE, traceback=HOSTILE)
        router.talk.pulse(broker="c", workers=(worker,))
        router.talk.add("y1", Pipeline({Job(worker, tag="<b>tag</b>"): None}))

    server.do(add)
    tab.goto(server.address())
    expect(tab.locator("#list")).to_contain_text(HOSTILE, timeout=SEEN_MS)
    expect(tab.locator("#brokers")).to_contain_text(worker)
    for name in ("x1", "y1"):
        tab.locator("#list button", has_text=name).click()
        tab.locator("[data-job='0']").click(timeout=SEEN_MS)
        expect(tab.locator("#job-title")).to_contain_text("A" if name == "x1" else worker)
        if name == "x1":
            expect(tab.locator("#job-traceback")).to_have_text(HOSTILE)
            expect(tab.locator("#data")).to_have_text(json.dumps({"text": HOSTILE}))
    assert tab.locator("main img, main script, main tag, main b:not(#counts b)").count() == 0
    expect(tab).to_have_title("Pipelines - FISSION")


def many(router: MemoryRouter) -> None:
    """Fill a Router: one that has failed, two pages of rows, and a pipeline of 199 jobs."""
    router.talk.fake.connected["b"] = ["tcp://10.0.0.1:1"]
    router.fail("x1" + 30 * "0", error="ValueError: " + "no " * 300, traceback="Traceback " * 300)
    for number in range(60):
        router.talk.add(f"p{number}", CHAIN)
    router.talk.add("wide", Pipeline({Job("A"): [Job("B", data={"number": number}) for number in range(198)]}, data={"text": "x" * 500}))


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (400, "light"),
        *(pytest.param(*one, marks=[pytest.mark.slow, pytest.mark.soak]) for one in ((1280, "dark"), (2000, "light"), (2000, "dark"))),
    ],
)
def test_it_fits_every_width_and_nothing_bars_the_way(tab: Tab, faults: list[str], server: Server, width: int, scheme: str) -> None:
    server.do(many)
    tab.set_viewport_size({"width": width, "height": 900})
    tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    tab.goto(server.address())
    tab.locator("#list button", has_text="wide").click(timeout=SEEN_MS)
    expect(tab.locator("#graph .job")).to_have_count(199, timeout=SEEN_MS)
    tab.get_by_role("button", name="failed").click()
    tab.locator("#list button", has_text="x1").click(timeout=SEEN_MS)
    expect(tab.locator("#graph .job")).to_have_count(2, timeout=SEEN_MS)
    tab.locator("[data-job='0']").click()
    expect(tab.locator("#job-traceback")).to_be_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the window"
    assert not faults
    tab.evaluate(AXE.read_text("utf-8"))
    found = tab.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})")
    serious = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"] if one["impact"] in {"serious", "critical"}]
    assert not serious
    faults.clear()  # axe itself sets styles that the policy forbids


@pytest.mark.slow
@pytest.mark.soak
def test_older_pipelines_are_a_click_away_and_new_ones_come_first(tab: Tab, server: Server) -> None:
    server.do(many)
    tab.goto(server.address())
    rows = tab.locator("#list tbody tr")
    expect(rows).to_have_count(50, timeout=SEEN_MS)
    tab.locator("#older").click()
    expect(rows).to_have_count(12, timeout=SEEN_MS)
    expect(tab.locator("#older")).to_be_disabled()
    tab.locator("#newest").click()
    expect(rows.first).to_contain_text("wide", timeout=SEEN_MS)
    server.do(lambda router: router.talk.add("1234", CHAIN))
    expect(rows.first).to_contain_text("1234", timeout=SEEN_MS)
    expect(rows.nth(1)).to_contain_text("wide")


def test_a_router_that_comes_back_is_found(tab: Tab, server: Server) -> None:
    tab.goto(server.address())
    expect(tab.locator("#state")).to_contain_text("the Router runs since", timeout=SEEN_MS)
    server.do(lambda router: setattr(router, "is_up", False))
    expect(tab.locator("#state")).to_have_text("the Router does not answer", timeout=SEEN_MS)
    expect(tab.locator("#reason")).to_contain_text("no Router answers at")
    server.do(lambda router: setattr(router, "is_up", True))
    expect(tab.locator("#state")).to_contain_text("the Router runs since", timeout=SEEN_MS)
    expect(tab.locator("#reason")).to_be_hidden()


@pytest.mark.slow
@pytest.mark.soak
def test_a_hidden_page_asks_nothing(tab: Tab, server: Server) -> None:
    tab.clock.install()
    tab.goto(server.address())
    expect(tab.locator("#state")).to_contain_text("the Router runs since", timeout=SEEN_MS)
    tab.evaluate("() => { Object.defineProperty(document, 'hidden', {value: true, configurable: true}); }")
    tab.clock.run_for(3000)
    tab.wait_for_load_state("networkidle")  # a round that had begun ends
    server.do(lambda router: router.asked.clear())
    tab.clock.run_for(60_000)
    assert server.do(lambda router: list(router.asked)) == []
    with tab.expect_request("**/overview", timeout=SEEN_MS):
        tab.evaluate("() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); }")


def test_a_pipeline_of_real_daemons_fails_and_is_run_again(
    fission: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tab: Tab
) -> None:
    """`fission pipelines up --dashboard`; the second try succeeds because what it needs is there then."""
    (tmp_path / "workers.py").write_text(
        WORKERS.replace("__all__ = [", '__all__ = ["Needs", ')
        + """
class Needs(Worker):
    def process(self, data):
        open(data["data"]["file"]).close()
"""
    )
    (tmp_path / "store.py").write_text(STORE)
    monkeypatch.setenv("FISSION_KEYS", str(tmp_path / "keys"))
    api, broadcast = free_ports(2)
    monkeypatch.setenv("FISSION_API", f"tcp://127.0.0.1:{api}")
    monkeypatch.setenv("FISSION_BROADCAST", f"tcp://127.0.0.1:{broadcast}")
    monkeypatch.setenv("RUNS", str(tmp_path / "runs.jsonl"))
    fission.root = tmp_path
    words = ["--workers", "workers", "--store", "store.Store", "--number-of-workers", "1", "--store-arg", "monitoring=m.jsonl"]
    up = fission.start("pipelines", "up", *words, "--dashboard", "0")
    with owned(up):
        page = page_of(up, "stderr")
        up.wait_for("Ready at tcp://127.0.0.1:", 40, stream="stderr")
        with PipelineManager(f"tcp://127.0.0.1:{api}", f"tcp://127.0.0.1:{broadcast}") as manager:
            name = manager.start(Pipeline({Job("A"): Job("Needs")}, data={"file": str(tmp_path / "needed")}))
        tab.goto(page.address)
        expect(tab.locator("#count-failed")).to_have_text("1", timeout=SEEN_MS)
        tab.locator("#list button", has_text=name).click(timeout=SEEN_MS)
        expect(tab.locator("#pipeline-title")).to_have_text(f"Pipeline {name}: failed", timeout=SEEN_MS)
        expect(tab.locator("#graph .job.finished")).to_contain_text("A")
        tab.locator("[data-job='1']").click()
        expect(tab.locator("#job-traceback")).to_contain_text("FileNotFoundError")
        (tmp_path / "needed").touch()
        tab.locator("#retry").click()
        expect(tab.locator("#pipeline-title")).to_have_text(f"Pipeline {name}: finished", timeout=SEEN_MS)
        expect(tab.locator("#graph .job.finished")).to_have_count(2, timeout=SEEN_MS)
        status, _, text = page.get("/metrics", {"Authorization": f"Bearer {page.token}"})
        assert (status, b"fission_router_up 1.0" in text) == (200, True)
        up.interrupt()
        up.wait(exit_code=130)
    eventually(lambda: not _connects(page.port), 5, "the page has ended with the daemons")


def _connects(port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def test_an_answer_that_breaks_off_does_not_end_the_page(tab: Tab, server: Server) -> None:
    """As when its server is killed while it answers."""
    broken: list[str] = []

    def once(route: Route) -> None:
        if broken:
            route.continue_()
        else:
            broken.append(route.request.url)
            route.fulfill(content_type="application/json", body='{"router": "R", "pipe')

    tab.route("**/overview", once)
    tab.goto(server.address() + "#%")  # an address that is none
    expect(tab.locator("#state")).to_contain_text("the Router runs since")
    assert broken
