"""An operator types a line for a job and records a pipe, in a real browser and with a real network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from fission.recordings import Recording, read_recording
from tests.dashboard.pages import Page, page_of
from tests.dashboard.test_in_chromium import HOSTILE, SEEN_MS
from tests.e2e.support import network
from tests.waiting import DEADLINE_S, CommandLine, eventually

#: Chromium's start counts into the first test's time, and takes long on a busy machine.
pytestmark = pytest.mark.timeout(120)

LISTED = """
InteractiveJob(outputs=[PicklePipe(1)]),
Show(inputs=[PicklePipe(1)]),
Endless(outputs=[PicklePipe(2)]),
Ignore(inputs=[PicklePipe(2)]),
"""
JOBS = """
class Ignore(PythonJob):
    def run(self, number):
        pass
"""
#: Shows the buttons as for a viewer; returns which are hidden.
AS_VIEWER = """async () => {
    const { ConsoleForm, Operator, RecordButton } = await import('/page/act.js');
    const operator = new Operator();
    operator.is({ role: 'viewer', form: '' });
    new ConsoleForm(operator).show('1', { takes_lines: true, state: 'running' });
    new RecordButton(operator).show('2', { running: true, blocks: 1, bytes: 1, missed: 0, file: 'f', by: 'b' }, true);
    return ['console', 'record'].filter((id) => document.getElementById(id).hidden);
}"""


def post(page: Page, path: str, body: dict[str, object]) -> tuple[int, dict[str, object]]:
    """Return the answer to a request as a program of the operator sends it."""
    status, _, found = page.post(path, {"Authorization": f"Bearer {page.token}"}, json.dumps(body).encode())
    return status, json.loads(found)


def recorded(path: Path) -> tuple[list[int], Recording]:
    """Return the numbers in a recording of pipe 2, and the recording."""
    found = read_recording(path)
    blocks = list(found)
    assert [block.value for block in blocks] == [block.sqn for block in blocks], "the number of each block is its value"
    return [block.value for block in blocks], found


def test_a_line_and_a_recording(fission: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tab: Tab) -> None:
    monkeypatch.setenv("FISSION_KEYS", str(tmp_path / "keys"))
    project = fission.project(network(JOBS, LISTED))
    client = fission.start("net", "simulate", "--dashboard", "0")
    page = page_of(client, "stderr")
    tab.goto(page.address)

    # a line
    tab.locator("[data-job='3']").click(timeout=SEEN_MS)
    expect(tab.locator("#detail-title")).to_have_text("Endless 3")
    expect(tab.locator("#console")).to_be_hidden()
    tab.locator("[data-job='1']").click()
    tab.get_by_label("Line for this job").fill(f"hello {HOSTILE}")
    tab.keyboard.press("Enter")
    client.wait_for(f"got hello {HOSTILE}")
    expect(tab.locator("#console-state")).to_have_text("sent", timeout=SEEN_MS)
    expect(tab.locator("#log")).to_contain_text(f"got hello {HOSTILE}", timeout=SEEN_MS)
    size = len(f"hello {HOSTILE}")
    expect(tab.locator("#log")).to_contain_text(f"local (page) has sent a line of {size} characters to InteractiveJob 1", timeout=SEEN_MS)
    client.wait_for(f"local (page) has sent a line of {size} characters to InteractiveJob 1", stream="stderr")
    assert (tab.title(), tab.locator("main img, main script").count()) == ("net - FISSION", 0)
    assert post(page, "/console", {"job": 3, "line": "x"})[1] == {
        "error": "job 3 is not an InteractiveJob of net; there are: 1 (InteractiveJob 1)"
    }

    # a recording, which continues without a viewer
    tab.locator("#pipes button").nth(1).click()
    tab.get_by_role("button", name="Record", exact=True).click()
    expect(tab.locator("#record-state")).to_have_text(
        re.compile(r"Recording: [1-9]\d* blocks, .*/net/recordings/pipe-2-\S+\.rec; started by local"), timeout=SEEN_MS
    )
    (first,) = (project / "net" / "recordings").iterdir()
    client.wait_for(f"local (page) records pipe 2 into {first}", stream="stderr")
    status, answer = post(page, "/record", {"pipe": 2, "on": True})
    assert (status, answer) == (409, {"error": f"pipe 2 is being recorded already, by local (page) into {first}; stop that first"})
    tab.goto("about:blank")
    size = first.stat().st_size
    eventually(lambda: first.stat().st_size > size, DEADLINE_S, "the recording grows without a viewer")
    tab.goto(page.address)
    tab.locator("#pipes button").nth(1).click()
    tab.get_by_role("button", name="Stop recording").click(timeout=SEEN_MS)
    expect(tab.locator("#record-state")).to_have_text(
        re.compile(r"Recorded [1-9]\d* blocks, .*; ended: stopped by local \(page\)"), timeout=SEEN_MS
    )
    numbers, recording = recorded(first)
    assert (recording.problem, recording.missed) == ("", {2: 0})
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "no block is missing, and none is there twice"
    expect(tab.locator("#record-state")).to_contain_text(f"Recorded {len(numbers)} blocks")
    client.wait_for(f"no longer records pipe 2 (stopped by local (page)): {len(numbers)} blocks, in {first}", stream="stderr")
    assert sorted(tab.evaluate(AS_VIEWER)) == ["console", "record"]

    # one that the end of the network ends
    status, answer = post(page, "/record", {"pipe": 2, "on": True})
    second = Path(str(answer["file"]))
    size = second.stat().st_size
    eventually(lambda: second.stat().st_size > size, DEADLINE_S, "blocks in the second recording")
    client.interrupt()
    client.wait()
    numbers, recording = recorded(second)
    assert (recording.problem, recording.missed) == ("", {2: 0})
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert recorded(first)[1].problem == "", "no run removes a recording"


@pytest.mark.slow
@pytest.mark.soak
def test_a_page_that_ends_completes_its_recording(fission: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the network continues."""
    monkeypatch.setenv("FISSION_KEYS", str(tmp_path / "keys"))
    fission.project(network(JOBS, LISTED))
    client = fission.start("net", "simulate")
    client.wait_for("Ignore 4 started", stream="stderr")
    server = fission.start("net", "dashboard", "--port", "0", "--no-browser")
    page = page_of(server)

    def started() -> dict[str, object] | None:
        status, answer = post(page, "/record", {"pipe": 2, "on": True})
        return answer if status == 200 else None  # the job may not run yet

    path = Path(str((eventually(started, DEADLINE_S, "a recording") or {})["file"]))
    size = path.stat().st_size
    eventually(lambda: path.stat().st_size > size, DEADLINE_S, "blocks in the recording")
    server.interrupt()
    server.wait()
    numbers, recording = recorded(path)
    assert (recording.problem, recording.missed) == ("", {2: 0})
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    client.wait_for("no longer records pipe 2 (the page's server has ended)", stream="stderr")
    client.interrupt()
    client.wait()
