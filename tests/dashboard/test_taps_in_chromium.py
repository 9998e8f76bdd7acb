"""A pipe that is looked into, in a real browser: what is read are the pixels of the canvases."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from fission.client.serve.control_server import RUNNING_FILE
from tests.dashboard.pages import Page, owned, page_of
from tests.dashboard.test_in_chromium import AXE, HOSTILE, SEEN_MS
from tests.e2e.support import network
from tests.waiting import DEADLINE_S, CommandLine, eventually

#: Chromium's start counts into the first test's time, and takes long on a busy machine.
pytestmark = pytest.mark.timeout(120)

#: Of the tone.
RATE, TONE = 8000, 1000
JOBS = f"""
import numpy

class Samples(PicklePipe):
    RATE = {RATE}

class Tone(PythonJob):
    def run(self):
        block = 0
        while True:
            times = (numpy.arange(800) + block * 800) / {RATE}
            tone = 0.5 * numpy.sin(2 * numpy.pi * {TONE} * times)
            yield tone.astype("float32"), block % 50, numpy.eye(40) * block, {HOSTILE!r}, times.tobytes()
            block += 1
            time.sleep(0.02)

class Ignore(PythonJob):
    def run(self, *values):
        pass
"""
PIPES = "[Samples(1), PicklePipe(2), PicklePipe(3), PicklePipe(4), BytesPipe(5, 6400)]"
LISTED = f"Tone(outputs={PIPES}),\nIgnore(inputs={PIPES}),\n"

#: Returns the share of the height, from the bottom, of the brightest pixel of the newest column; None while it is dark.
BRIGHTEST = """() => {
    const canvas = document.getElementById('tap-spectrogram');
    const { data } = canvas.getContext('2d').getImageData(canvas.width - 1, 0, 1, canvas.height);
    let [best, row] = [60, null];
    for (let y = 0; y < canvas.height; y += 1) {
        const light = data[4 * y] + data[4 * y + 1] + data[4 * y + 2];
        if (light > best) [best, row] = [light, y];
    }
    return row === null ? null : (canvas.height - row - 0.5) / canvas.height;
}"""
#: Returns the number of different colours in a canvas.
COLOURS = """(id) => {
    const canvas = document.getElementById(id);
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
}"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Page]]:
    """The folder of a network with a pipe of each kind, and its page."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FISSION_KEYS", str(folder / "keys"))
        fission = CommandLine(folder)
        project = fission.project(network(JOBS, LISTED))
        client = fission.start("net", "simulate", "--dashboard", "0")
        with owned(client):
            yield project / "net", page_of(client, "stderr")
        fission.close()


@pytest.fixture
def panel(tab: Tab, shared: tuple[Path, Page]) -> Tab:
    tab.goto(shared[1].address)
    expect(tab.locator("#state")).to_contain_text("running", timeout=SEEN_MS)
    expect(tab.locator("#pipes tbody tr")).to_have_count(5, timeout=SEEN_MS)
    return tab


def test_the_spectrogram_of_a_tone_has_its_peak_there(panel: Tab) -> None:
    panel.locator("#pipes button").first.click()
    expect(panel.locator("#tap-title")).to_have_text("Pipe 1: Tone 1 to Ignore 2")
    expect(panel.locator("#tap-title")).to_be_focused()
    expect(panel.locator("#tap-peak")).to_contain_text(f"strongest: {TONE} Hz", timeout=SEEN_MS)  # the pipe has said its rate
    share = panel.wait_for_function(BRIGHTEST, timeout=SEEN_MS).json_value()
    assert share * RATE / 2 == pytest.approx(TONE, abs=2 * RATE / 1024), "the brightest pixel is not at the tone"
    assert panel.evaluate(COLOURS, "tap-scope") > 2
    expect(panel.locator("#tap-scope")).to_have_attribute("aria-label", re.compile(r"Newest 1024 samples, from -0\.5 to 0\.5"))
    panel.locator("#tap-rate").fill("16000")
    expect(panel.locator("#tap-peak")).to_contain_text(f"strongest: {2 * TONE} Hz", timeout=SEEN_MS)


def test_a_pipe_is_opened_and_closed_by_keyboard_from_the_graph(panel: Tab) -> None:
    arrow = panel.locator("#graph [data-pipe='2']")
    expect(arrow).to_have_attribute("aria-label", re.compile("look into the pipe from Tone 1 to Ignore 2"))
    arrow.focus()
    panel.keyboard.press("Enter")
    expect(panel.locator("#tap-line canvas")).to_be_visible(timeout=SEEN_MS)
    expect(panel.locator("#tap-values li")).to_have_count(20, timeout=SEEN_MS)
    expect(panel.locator("#tap-scope")).to_be_hidden()
    panel.keyboard.press("Escape")
    expect(panel.locator("#tap")).to_be_hidden()
    expect(arrow).to_be_focused()


def test_an_array_of_two_dimensions_is_a_picture(panel: Tab) -> None:
    panel.locator("#pipes button").nth(2).click()
    expect(panel.locator("#tap-image-text")).to_contain_text("40 columns, 40 rows", timeout=SEEN_MS)
    assert panel.evaluate(COLOURS, "tap-image") == 2
    assert panel.evaluate("[document.getElementById('tap-image').width, document.getElementById('tap-image').height]") == [40, 40]


def test_values_of_users_are_text_and_nothing_else(panel: Tab) -> None:
    panel.locator("#pipes button").nth(3).click()
    expect(panel.locator("#tap-values li").first).to_contain_text("<img src=x", timeout=SEEN_MS)
    assert panel.title() == "net - FISSION"
    assert panel.locator("#tap img, #tap script").count() == 0


def test_bytes_are_read_as_the_numbers_that_the_user_chooses(panel: Tab) -> None:
    panel.locator("#pipes button").nth(4).click()
    expect(panel.locator("#tap-state")).to_contain_text("bytes of 6400", timeout=SEEN_MS)
    panel.get_by_label("Read bytes as").select_option("float64")
    expect(panel.locator("#tap-state")).to_contain_text("float64 array of 800", timeout=SEEN_MS)
    expect(panel.locator("#tap-scope")).to_be_visible()


def test_a_page_that_is_hidden_looks_at_nothing(panel: Tab, shared: tuple[Path, Page]) -> None:
    def connections() -> int:
        """Return how many viewers the client of the network has."""
        address = json.loads((shared[0] / "simulation" / RUNNING_FILE).read_text())["requests"]
        lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
        return sum(line[-1] == address and line[5] == "03" for line in lines)

    panel.locator("#pipes button").first.click()
    expect(panel.locator("#tap-scope")).to_be_visible(timeout=SEEN_MS)
    looking = connections()
    for hidden, wanted in ((True, looking - 1), (False, looking)):
        panel.evaluate(
            """(hidden) => {
            Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
            document.dispatchEvent(new Event('visibilitychange'));
        }""",
            hidden,
        )
        eventually(lambda wanted=wanted: connections() == wanted, DEADLINE_S, f"{wanted} connections to the client")  # type: ignore[misc]
    panel.close()
    eventually(lambda: connections() == 0, DEADLINE_S, "no connection to the client once the browser is gone")


#: Lets what goes to the loudspeaker pass through a meter too.
LISTEN = """() => {
    const connect = AudioNode.prototype.connect;
    AudioNode.prototype.connect = function (target) {
        if (target instanceof AudioDestinationNode) {
            window.meter ??= new AnalyserNode(this.context, { fftSize: 8192, smoothingTimeConstant: 0 });
            connect.call(this, window.meter);
        }
        return connect.call(this, target);
    };
}"""
#: Frequency of the loudest part of it, Hz; null while it is silent.
HEARD = """() => {
    const levels = new Float32Array(window.meter?.frequencyBinCount ?? 0);
    window.meter?.getFloatFrequencyData(levels);
    const loudest = levels.reduce((best, level, at) => (level > levels[best] ? at : best), 0);
    return levels[loudest] > -40 ? loudest * window.meter.context.sampleRate / window.meter.fftSize : null;
}"""


def test_samples_are_played_once_their_rate_is_known(panel: Tab) -> None:
    panel.evaluate(LISTEN)
    panel.locator("#pipes button").first.click()
    expect(panel.locator("#tap-scope")).to_be_visible(timeout=SEEN_MS)
    panel.locator("#tap-rate").fill("")
    panel.get_by_role("button", name="Play").click()
    expect(panel.locator("#tap-sound")).to_have_text("Enter the samples per second first.")
    panel.locator("#tap-rate").fill(str(RATE))
    panel.get_by_role("button", name="Play").click()
    expect(panel.locator("#tap-sound")).to_contain_text(re.compile("Playing|left out"), timeout=SEEN_MS)
    heard = panel.wait_for_function(HEARD, timeout=SEEN_MS).json_value()
    assert heard == pytest.approx(TONE, abs=50), "what the loudspeaker gets is not the tone"
    panel.get_by_role("button", name="Stop playing").click()
    expect(panel.locator("#tap-sound")).to_be_empty()


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), pytest.param(1280, "light", marks=[pytest.mark.slow, pytest.mark.soak])])
def test_the_panel_fits_and_nothing_bars_the_way(panel: Tab, faults: list[str], width: int, scheme: str) -> None:
    panel.set_viewport_size({"width": width, "height": 900})
    panel.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    panel.locator("#pipes button").first.click()
    expect(panel.locator("#tap-peak")).to_contain_text("strongest", timeout=SEEN_MS)
    assert panel.evaluate("document.documentElement.scrollWidth") <= width
    panel.evaluate(AXE.read_text("utf-8"))
    found = panel.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})")
    serious = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"] if one["impact"] in {"serious", "critical"}]
    assert not serious
    faults.clear()  # axe itself sets styles that the policy forbids
