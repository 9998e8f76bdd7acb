"""The page of a running network in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Route, expect
from playwright.sync_api import Page as Tab

from tests.dashboard.pages import Page, owned, page_of
from tests.e2e.support import network
from tests.waiting import CommandLine, Running

#: Chromium's start counts into the first test's time, and takes long on a busy machine.
pytestmark = pytest.mark.timeout(120)

#: The checker of accessibility, as `make browser` fetches it for the tests.
AXE = Path(__file__).parents[2] / "build" / "browser" / "axe.min.js"
#: Milliseconds that a change may take to be seen.
SEEN_MS = 20_000
#: Milliseconds after which a page that is not seen lets go of its server, as in main.js.
HIDDEN_MS = 10_000
#: What would do harm if it were not escaped.
HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
JOBS = f"""
class Hostile(PythonJob):
    def run(self, value):
        print({HOSTILE!r})
        return value
"""
LISTED = f"""
Endless(outputs=[PicklePipe(1)]),
Hostile(name={HOSTILE!r}, inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
Show(inputs=[PicklePipe(2)]),
"""


@pytest.fixture
def project(fission: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FISSION_KEYS", str(tmp_path / "keys"))
    return fission.project(network(JOBS, LISTED))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of a network that runs during the tests."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FISSION_KEYS", str(folder / "keys"))
        fission = CommandLine(folder)
        fission.project(network(JOBS, LISTED))
        client = fission.start("net", "simulate", "--nodes", "2", "--dashboard", "0")
        with owned(client):
            yield page_of(client, "stderr")
        fission.close()


def test_it_shows_the_graph_and_rates_that_change(tab: Tab, shared: Page) -> None:
    tab.goto(shared.address)
    assert "token" not in tab.url
    expect(tab.locator("#graph .job")).to_have_count(3, timeout=SEEN_MS)
    expect(tab.locator("#graph .node")).to_have_count(2)
    expect(tab.locator("#state")).to_contain_text("running")
    rate = tab.locator("#graph .rate").first
    expect(rate).to_have_text(re.compile(r"1: [1-9]"), timeout=SEEN_MS)
    before = rate.text_content()
    expect(rate).not_to_have_text(before or "", timeout=SEEN_MS)
    expect(tab.locator("#jobs tbody tr")).to_have_count(3)
    expect(tab.locator("[data-job='1']")).to_have_class(re.compile("running idle"), timeout=SEEN_MS)  # a source that sleeps is not busy
    path = tab.locator("#paths tbody tr")
    expect(path).to_have_count(1, timeout=SEEN_MS)
    expect(path).to_contain_text(re.compile(r"Endless 1.*Show 3.*\d ms"))
    room = tab.locator("#paths").evaluate("""table => {
        for (const cell of [...table.tBodies[0].rows[0].cells].slice(0, 2)) cell.textContent = "MicrophoneJob 12";
        return [table.scrollWidth, table.parentElement.clientWidth];
    }""")
    assert room[0] <= room[1], "a column is hidden"


def test_what_users_write_is_text_and_nothing_else(tab: Tab, shared: Page) -> None:
    tab.goto(shared.address)
    expect(tab.locator("#log")).to_contain_text(HOSTILE, timeout=SEEN_MS)
    expect(tab).to_have_title("net - FISSION", timeout=SEEN_MS)
    expect(tab.locator("#jobs")).to_contain_text(HOSTILE)  # it is the name of a job too
    expect(tab.locator("#pipes")).to_contain_text(HOSTILE)
    assert HOSTILE in (tab.locator("[data-job='2']").get_attribute("aria-label") or "")
    tab.locator("[data-job='2']").click()
    expect(tab.locator("#detail-title")).to_have_text(HOSTILE)
    tab.locator("#pipes button").first.click()
    expect(tab.locator("#tap-title")).to_contain_text(HOSTILE)
    tab.locator("#nodes button").first.click()
    expect(tab.locator("#node-loss")).to_contain_text("Every job would have a place.")
    assert tab.locator("img, body script").count() == 0
    assert tab.title() == "net - FISSION"


def test_names_fit_their_boxes(tab: Tab, shared: Page) -> None:
    tab.goto(shared.address)
    expect(tab.locator("#graph .job")).to_have_count(3, timeout=SEEN_MS)
    widths = "boxes => boxes.map(box => [box.querySelector('rect'), box.querySelector('.first')].map(one => one.getBBox().width))"
    found = tab.locator("#graph .job").evaluate_all(widths)
    assert all(text < box for box, text in found), found
    expect(tab.locator("[data-job='2'] .first")).to_have_text(re.compile("^<img src.*…$"))


def test_a_server_that_refuses_for_a_moment_is_asked_again(tab: Tab, shared: Page) -> None:
    """As one with too many connections does; a browser itself gives up then."""
    refused: list[str] = []

    def once(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            route.fulfill(status=503)

    tab.route("**/messages", once)
    tab.goto(shared.address)
    expect(tab.locator("#graph .job")).to_have_count(3, timeout=SEEN_MS)
    assert refused


def test_a_job_is_opened_by_keyboard(tab: Tab, shared: Page) -> None:
    tab.goto(shared.address)
    tab.locator("[data-job='2']").focus(timeout=SEEN_MS)
    tab.keyboard.press("Enter")
    expect(tab.locator("#detail-title")).to_have_text(HOSTILE)
    expect(tab.locator("#detail-title")).to_be_focused()
    expect(tab.locator("#detail-chart canvas")).to_be_visible()
    tab.locator("#close-detail").press("Enter")
    expect(tab.locator("#detail")).to_be_hidden()
    expect(tab.locator("[data-job='2']")).to_be_focused()


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (400, "light"),
        *(
            pytest.param(*one, marks=[pytest.mark.slow, pytest.mark.soak])
            for one in ((400, "dark"), (1280, "dark"), (1280, "light"), (2000, "light"), (2000, "dark"))
        ),
    ],
)
def test_it_fits_every_width_and_nothing_bars_the_way(tab: Tab, faults: list[str], shared: Page, width: int, scheme: str) -> None:
    tab.set_viewport_size({"width": width, "height": 900})
    tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    tab.goto(shared.address)
    expect(tab.locator("#graph .job")).to_have_count(3, timeout=SEEN_MS)
    tab.locator("[data-job='1']").click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the window"
    assert not faults
    tab.evaluate(AXE.read_text("utf-8"))
    found = tab.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})")
    serious = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"] if one["impact"] in {"serious", "critical"}]
    assert not serious
    faults.clear()  # axe itself sets styles that the policy forbids


def test_two_viewers_see_the_same(tab: Tab, browser: Browser, shared: Page) -> None:
    tab.goto(shared.address)
    other = browser.new_context().new_page()
    other.goto(shared.address)
    for one in (tab, other):
        expect(one.locator("#graph .job")).to_have_count(3, timeout=SEEN_MS)
    other.context.close()
    rate = tab.locator("#graph .rate").first
    before = rate.text_content()
    expect(rate).not_to_have_text(before or "", timeout=SEEN_MS)


def test_a_wrong_token_shows_nothing(tab: Tab, shared: Page) -> None:
    tab.goto(f"http://127.0.0.1:{shared.port}/?token=wrong")
    expect(tab.locator("body")).to_contain_text("This token is not valid")
    tab.goto(f"http://127.0.0.1:{shared.port}/")
    expect(tab.locator("body")).to_contain_text("ends with a token")


def test_a_failover_is_seen(fission: CommandLine, project: Path, tab: Tab) -> None:
    client = fission.start("net", "simulate", "--nodes", "2")
    page = page_of(fission.start("net", "dashboard", "--port", "0", "--no-browser"))
    tab.goto(page.address)
    frames = tab.locator("#graph .node")
    expect(frames).to_have_count(2, timeout=SEEN_MS)
    (node,) = (child for child in psutil.Process(client.pid).children() if "net fork server 2" in " ".join(child.cmdline()))
    node.kill()
    expect(tab.locator("#failovers li")).to_contain_text("node 2 is lost", timeout=SEEN_MS)
    lost = tab.locator("#graph .node.down")
    expect(lost).to_have_text("2: lost", timeout=SEEN_MS)
    expect(frames).to_have_count(2)
    expect(tab.locator("#nodes tr", has_text="lost")).to_have_count(1)
    expect(tab.locator("#graph .job.running")).to_have_count(3, timeout=SEEN_MS)
    room, boxes = lost.bounding_box(), [box.bounding_box() for box in tab.locator("#graph .job").all()]
    assert room is not None
    assert not [box for box in boxes if box and overlap(room, box)]  # its jobs have moved


def overlap(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in (("x", "width"), ("y", "height")))


def test_the_network_is_stopped_by_two_clicks(fission: CommandLine, project: Path, tab: Tab) -> None:
    client = fission.start("net", "simulate")
    page = page_of(fission.start("net", "dashboard", "--port", "0", "--no-browser"))
    tab.goto(page.address)
    expect(tab.locator("#state")).to_contain_text("running,", timeout=SEEN_MS)
    stop = tab.get_by_role("button", name="Stop the network")
    stop.click()
    assert client.process.poll() is None
    tab.get_by_role("button", name="Really stop it?").click()
    client.wait()
    expect(tab.locator("#state")).to_have_text("not running", timeout=SEEN_MS)
    expect(tab.locator("#reason")).to_contain_text("net")


def test_the_page_comes_back_with_its_server(fission: CommandLine, project: Path, tab: Tab, free_port: int) -> None:
    def start() -> tuple[Running, Page]:
        client = fission.start("net", "simulate", "--dashboard", str(free_port))
        return client, page_of(client, "stderr")

    client, page = start()
    tab.goto(page.address)
    expect(tab.locator("#state")).to_contain_text("running,", timeout=SEEN_MS)
    client.interrupt()
    client.wait(exit_code=130)
    expect(tab.locator("#state")).to_contain_text("no connection", timeout=SEEN_MS)
    start()
    expect(tab.locator("#state")).to_contain_text("running,", timeout=SEEN_MS)


@pytest.mark.parametrize(
    "part", ["graph.js", "style.css", *(pytest.param(name, marks=pytest.mark.soak) for name in ("main.js", "libraries/dagre.esm.js"))]
)
def test_a_page_that_did_not_arrive_whole_is_loaded_again(tab: Tab, shared: Page, part: str) -> None:
    """A script, one that it imports, a library, the style: the first time, the connection breaks."""
    tab.route(f"**/page/{part}", lambda route: route.abort("connectionreset"), times=1)
    with tab.expect_response(f"**/page/{part}", timeout=SEEN_MS):  # there is none until it is loaded again
        tab.goto(shared.address)
        if part != "style.css":  # without it, the scripts show what they know
            expect(tab.locator("#state")).to_have_text("a part of this page did not arrive; trying again ...", timeout=SEEN_MS)
    expect(tab.locator("#state")).to_contain_text("running,", timeout=SEEN_MS)


@pytest.mark.slow
def test_a_client_that_is_killed_and_resumed_is_seen(fission: CommandLine, project: Path, tab: Tab) -> None:
    client = fission.start("net", "run")
    page = page_of(fission.start("net", "dashboard", "--port", "0", "--no-browser"))
    tab.goto(page.address)
    running, state = tab.locator("#graph .job.running"), tab.locator("#state")
    expect(running).to_have_count(3, timeout=SEEN_MS)
    tab.evaluate("window.kept = true")
    client.process.kill()
    expect(state).to_have_text("not running", timeout=SEEN_MS)
    expect(tab.locator("#reason")).to_contain_text("--resume")
    fission.start("net", "run", "--resume")
    expect(state).to_contain_text("running, run", timeout=SEEN_MS)
    expect(running).to_have_count(3, timeout=SEEN_MS)
    expect(tab.locator("#graph .rate").first).to_have_text(re.compile(r"1: [1-9]"), timeout=SEEN_MS)
    assert tab.evaluate("window.kept"), "it was not loaded again"


def test_a_page_that_is_not_seen_lets_go_of_its_server(tab: Tab, shared: Page) -> None:
    """A browser has six connections to a server for all its tabs; and the network is asked nothing meanwhile."""

    def connections() -> int:
        lines = Path("/proc/net/unix").read_text().splitlines()
        return sum(line.endswith("/requests") and line.split()[5] == "03" for line in lines)

    hide = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    tab.clock.install()
    tab.goto(shared.address)
    expect(tab.locator("#state")).to_contain_text("running,")
    tab.evaluate(hide, True)
    tab.clock.fast_forward(HIDDEN_MS + 1000)
    shared.eventually(lambda: connections() == 0, "no connection to the client")
    tab.evaluate("document.getElementById('state').textContent = 'old'")
    tab.evaluate(hide, False)
    expect(tab.locator("#state")).to_contain_text("running,")
    assert connections() > 0


def test_charts_can_be_read_in_the_dark_and_fit_the_window(tab: Tab, shared: Page) -> None:
    tab.emulate_media(color_scheme="dark")
    tab.goto(shared.address)
    tab.locator("[data-job='2']").click()
    canvas = tab.locator("#detail-chart canvas")
    bright = """canvas => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, 40, canvas.height);
        return data.filter((value, index) => index % 4 === 0 && value > 150).length;
    }"""
    shared.eventually(lambda: canvas.evaluate(bright) > 20, "bright numbers beside the chart")
    tab.set_viewport_size({"width": 400, "height": 900})
    shared.eventually(lambda: canvas.evaluate("canvas => canvas.clientWidth") < 400, "a chart as wide as the window")
    tab.set_viewport_size({"width": 1280, "height": 900})
    shared.eventually(lambda: canvas.evaluate("canvas => canvas.clientWidth") > 400, "a chart as wide as the window")


# -- what a server may send ------------------------------------------------------------------------------------------------


def streamed(tab: Tab, documents: Iterator[dict[str, Any]]) -> None:
    """Let each connection of a page get one document instead of the server's stream."""

    def fulfil(route: Route) -> None:
        message = f"retry: 50\nevent: document\ndata: {json.dumps(next(documents))}\n\n"
        route.fulfill(content_type="text/event-stream", body=message)

    tab.route("**/messages", fulfil)


def test_a_part_that_cannot_be_drawn_does_not_blank_the_others(tab: Tab, faults: list[str], shared: Page) -> None:
    streamed(tab, repeat({"network": "net", "running": True, "run": "1", "nodes": {"n1": {}}, "failovers": ["node 2 is lost"]}))
    tab.goto(shared.address)
    expect(tab.locator("#failovers li")).to_have_text("node 2 is lost")
    assert "undefined" in faults[0], "it is reported"
    tab.goto("about:blank")  # the page reports it again whenever it connects again
    faults.clear()


def test_the_failovers_of_another_run_replace_those_of_the_last(tab: Tab, shared: Page) -> None:
    run = {"network": "net", "running": True, "run": "1"}
    later = {"failovers": ["b", "new"], "failovers_omitted": 1}
    streamed(tab, chain([{**run, "failovers": ["a", "b"]}, {**run, **later}], repeat({**run, "failovers": ["c", "d"]})))
    tab.goto(shared.address)
    expect(tab.locator("#failovers li")).to_have_text(["c", "d"])


# -- the model, which needs no server of a network --------------------------------------------------------------------


def test_the_browser_applies_patches_as_the_server_makes_them(tab: Tab, shared: Page) -> None:
    tab.goto(shared.address)
    cases = [
        ({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": None}, {"a": {"b": 3}}),
        ({"a": [1]}, {"a": [2, None]}, {"a": [2, None]}),
        ({"a": 1}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({}, {}, {}),
    ]
    for old, patch, wanted in cases:
        found = tab.evaluate("async ([old, patch]) => (await import('/page/model.js')).merged(old, patch)", [old, patch])
        assert found == wanted


def test_the_history_forgets_what_is_old_and_keeps_series_aligned(tab: Tab, shared: Page) -> None:
    tab.goto(shared.address)
    script = """async () => {
        const { History } = await import('/page/model.js');
        const history = new History(10);
        history.add('1', 0, { in: 1 });
        history.add('1', 5, { in: 2, out: 7 });
        history.add('1', 12, { out: 8 });
        return history.data('1', ['in', 'out']);
    }"""
    assert tab.evaluate(script) == [[5, 12], [2, None], [7, 8]]


def test_the_history_begins_anew_if_the_clock_is_set_back(tab: Tab, shared: Page) -> None:
    """It would keep what lies in the future until that has come, and draw lines to and fro."""
    tab.goto(shared.address)
    script = """async () => {
        const { History } = await import('/page/model.js');
        const history = new History(10);
        for (const now of [5000, 5001, 100, 101]) history.add('1', now, { in: now });
        return history.data('1', ['in']);
    }"""
    assert tab.evaluate(script) == [[100, 101], [100, 101]]


@pytest.mark.parametrize(("times", "shown"), [([100], [90, 100]), ([100, 101], [91, 101]), ([100, 400], [100, 400])])
def test_a_chart_of_one_moment_does_not_reach_over_years(tab: Tab, shared: Page, times: list[int], shown: list[int]) -> None:
    tab.goto(shared.address)
    script = """async (times) => {
        const { LineChart } = await import('/page/chart.js');
        const chart = new LineChart(document.querySelector("main"), 100, ["a"]);
        chart.show([times, times]);
        await Promise.resolve();
        return [chart.chart.scales.x.min, chart.chart.scales.x.max];
    }"""
    assert tab.evaluate(script, times) == shown
