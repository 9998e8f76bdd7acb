"""The panels of a job and of a node, in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect
from playwright.sync_api import Page as Tab

from tests.dashboard.pages import page_of
from tests.dashboard.test_in_chromium import HOSTILE, SEEN_MS
from tests.e2e.support import network
from tests.waiting import CommandLine, eventually

#: Chromium's start counts into the first test's time, and takes long on a busy machine.
pytestmark = pytest.mark.timeout(120)

JOBS = f"""
class Fails(PythonJob):
    def run(self, value):
        print({HOSTILE!r}, value)
        if value == 20 and not os.path.exists("failed"):
            open("failed", "w").close()
            raise ValueError({HOSTILE!r})
        return value
"""
#: Whether a chart reaches further back than the page has been open.
IS_OLDER = "chart => Number(document.querySelector(chart).dataset.seconds) > performance.now() / 1000"
#: Of a job that is neither source nor sink.
ARRIVES = re.compile(r"Latency from Endless 1half [\d.]+ (us|ms|s), 99 % [\d.]+ (us|ms|s)")
LISTED = """
Endless(outputs=[PicklePipe(1)]),
Fails(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
Show(inputs=[PicklePipe(2)]),
"""


def test_a_job_says_why_it_is_there_what_it_went_through_and_what_it_wrote(
    fission: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tab: Tab
) -> None:
    """Also to a page that was opened later; and its node says what would happen without it."""
    monkeypatch.setenv("FISSION_KEYS", str(tmp_path / "keys"))
    fission.project(network(JOBS, LISTED, extra="RESTARTS = 3"))
    client = fission.start("net", "simulate", "--nodes", "2", "--dashboard", "0")
    page = page_of(client, "stderr")
    client.wait_for("got 25")  # it has failed and was started again
    tab.goto(page.address)
    tab.locator("[data-job='2']").click(timeout=SEEN_MS)
    expect(tab.locator("#detail-facts")).to_contain_text("it stayed there when it was started again", timeout=SEEN_MS)
    expect(tab.locator("#detail-facts")).to_contain_text("Restarts1")
    history = tab.locator("#detail-history")
    expect(history).to_contain_text("Traceback", timeout=SEEN_MS)
    expect(history).to_contain_text(f"ValueError: {HOSTILE}")
    expect(history).to_contain_text("Fails 2 died")
    expect(tab.locator("#detail-output")).to_contain_text(HOSTILE, timeout=SEEN_MS)
    expect(tab.locator("#detail-output")).not_to_contain_text("got ")
    assert tab.title() == "net - FISSION"
    assert tab.locator("#detail img, #detail script").count() == 0
    expect(tab.locator("#detail-facts")).to_contain_text(ARRIVES, timeout=SEEN_MS)  # a job between
    expect(tab.locator("#detail-facts")).to_contain_text(re.compile(r"CPU\d+ % of a coreMemory[\d.]+ MB"))
    for chart in ("chart", "cpu", "memory"):
        assert drawn(tab.locator(f"#detail-{chart} canvas"))
    tab.locator("[data-job='1']").click()
    expect(tab.locator("#detail-facts")).to_contain_text("group ALL: ", timeout=SEEN_MS)
    expect(history).not_to_contain_text("Traceback")
    expect(tab.locator("#detail-facts")).not_to_contain_text("Latency")  # it is the source
    tab.locator("#nodes button", has_text="1").first.click()
    expect(tab.locator("#node-title")).to_have_text("Node 1")
    expect(tab.locator("#node-facts")).to_contain_text(re.compile(r"StateupAddress.*Free CPU\d+ %Free memory[\d.]+ [MG]B"), timeout=SEEN_MS)
    for chart in ("rates", "cpu"):
        assert drawn(tab.locator(f"#node-{chart} canvas"))
    expect(tab.locator("#node-loss")).to_contain_text("Every job would have a place.", timeout=SEEN_MS)
    expect(tab.locator("#node-loss li").first).to_contain_text(" to node 2 (group ALL: ")
    tab.locator("#pipes button", has_text="1 PicklePipe").click()
    expect(tab.locator("#tap-facts")).to_contain_text(re.compile(r"Rate[1-9][\d.]* /sQueue\d+ blocksDropped0 blocks"), timeout=SEEN_MS)
    expect(tab.locator("#tap-facts")).to_contain_text(
        re.compile(f"{ARRIVES.pattern}".replace("from Endless 1", "from Endless 1 to Fails 2"))
    )
    assert drawn(tab.locator("#tap-rates canvas"))


@pytest.mark.soak
def test_charts_begin_before_the_page_was_opened(fission: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tab: Tab) -> None:
    """A viewer who comes when something is wrong sees the minutes in which it began."""
    monkeypatch.setenv("FISSION_KEYS", str(tmp_path / "keys"))
    fission.project(network(JOBS, "Endless(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    page = page_of(fission.start("net", "simulate", "--nodes", "1", "--dashboard", "0"), "stderr")
    login = page.logged_in()

    def known() -> int:
        return len(json.loads(page.get("/history?of=job+1", login)[2])["ago"])

    page.eventually(lambda: known() >= 2, "two points of a network that no browser shows")
    tab.goto(page.address)
    tab.locator("[data-job='1']").click(timeout=SEEN_MS)
    for chart in ("#detail-chart", "#detail-cpu", "#detail-memory"):
        older(tab, chart)
    tab.locator("#nodes button", has_text="1").first.click()
    older(tab, "#node-rates")
    tab.locator("#pipes button", has_text="1 PicklePipe").click()
    older(tab, "#tap-rates")
    assert drawn(tab.locator("#tap-rates canvas"))
    # a page that does not ask for the history is caught
    tab.route("**/history*", lambda route: route.abort())
    tab.goto(page.address)
    tab.locator("[data-job='1']").click(timeout=SEEN_MS)
    expect(tab.locator("#detail-chart canvas")).to_be_visible()
    assert not tab.evaluate(IS_OLDER, "#detail-chart")


def older(tab: Tab, chart: str) -> None:
    """Wait until a chart reaches further back than the page has been open."""
    tab.wait_for_function(IS_OLDER, arg=chart, timeout=SEEN_MS)


def drawn(canvas: Locator) -> bool:
    """Return whether there is a line in a chart: blue, as its first line is, or orange, as the second one that may lie on it."""
    expect(canvas).to_be_visible()
    is_drawn = """canvas => {
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] > 200 && Math.abs(pixels[at + 2] - pixels[at]) > 100) return true;
        return false;
    }"""
    return eventually(lambda: bool(canvas.evaluate(is_drawn)), SEEN_MS / 1000, "that a line is drawn")
