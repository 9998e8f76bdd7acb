"""Takes the pictures of the pages in docs/dashboard.md, of a small network with sound and of pipelines, in real Chromium.

.venv/bin/python -m scripts.draw_screenshots            writes docs/images/page_WIDTH.png and pipelines_WIDTH.png
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "images"
#: Widths of the window, in pixels: a telephone, a laptop, a large screen.
WIDTHS = (400, 1280, 2000)
#: A whistle that rises and falls, its echo, whose strength is typed, and their levels.
NETWORK = """\
import time

import numpy as np

from fission.core.jobs import CSVSinkJob, InteractiveJob, PythonJob
from fission.core.pipes import OptionalPicklePipe, PicklePipe


class SoundPipe(PicklePipe):
    RATE = 16_000


class MicrophoneJob(PythonJob):
    def run(self):
        phase = 0.0
        for number in range(1_000_000):
            height = 2_000 + 1_500 * np.sin(2 * np.pi * number / 60)
            phases = phase + 2 * np.pi * height / 16_000 * np.arange(1, 801)
            phase = phases[-1]
            yield np.sin(phases) + np.random.default_rng(number).normal(0, 0.02, 800)
            time.sleep(0.05)


class TypedPipe(OptionalPicklePipe):
    OPTIONAL_DEFAULT = "0.3"
    OPTIONAL_STORE = True


class EchoJob(PythonJob):
    def run(self, sound, typed):
        return sound + float(typed) * np.roll(sound, 160)


class LevelJob(PythonJob):
    def run(self, sound):
        return float(np.sqrt(np.mean(sound**2)))


JOBS = [
    InteractiveJob(outputs=[TypedPipe(6)]),
    MicrophoneJob(outputs=[SoundPipe(1), SoundPipe(2)]),
    EchoJob(inputs=[SoundPipe(1), TypedPipe(6)], outputs=[SoundPipe(3)]),
    LevelJob(inputs=[SoundPipe(3)], outputs=[PicklePipe(4)]),
    LevelJob(inputs=[SoundPipe(2)], outputs=[PicklePipe(5)]),
    CSVSinkJob("levels.csv", inputs=[PicklePipe(4), PicklePipe(5)]),
]
"""
#: Milliseconds that a part of the page may take to appear; arbitrary.
SEEN_MS = 20_000
#: The columns of the spectrogram that are drawn, from its right side on.
COLUMNS = """() => {
    const canvas = document.getElementById("tap-spectrogram");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, 1).data;
    return pixels.filter((value, index) => index % 4 === 3 && value !== 0).length;
}"""
#: Milliseconds after which everything is drawn for a window's new width: a few blocks have come.
DRAWN_AGAIN_MS = 1_000
#: Colours of a picture, which has fewer bytes then.
COLOURS = 256
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/\?token=\S+")


#: Workers of pipelines, and pipelines: one of each state.
WORKERS = """\
import time

from fission.pipelines import Worker

__all__ = ["Fetch", "Words", "Pictures", "Index"]


class Fetch(Worker):
    requires = ["text"]

    def process(self, data):
        time.sleep(0.2)
        return {"words": data["text"].split()}


class Words(Worker):
    requires = ["words"]

    def process(self, data):
        return {"count": len(data["words"])}


class Pictures(Worker):
    requires = ["text"]

    def process(self, data):
        if "picture" in data["text"]:
            raise ValueError("the picture of page 7 is empty")
        return {"pictures": 0}


class Index(Worker):
    requires = ["count", "pictures"]

    def process(self, data):
        return {"index": data["count"]}
"""
PIPELINES = [
    {
        "graph": {"Fetch": ["Words", "Pictures"], "Words": ["Index"], "Pictures": ["Index"]},
        "data": {"document": f"page-{number}", "text": "a picture" if number == 7 else "to be or not to be"},
    }
    for number in range(1, 13)
]


def network_page(page: Page, address: str) -> None:
    """Show the graph, a job with a console, and a pipe with sound that is looked into and recorded."""
    page.goto(address)
    expect(page.locator("#graph .rate").first).to_have_text(re.compile(r"\d: [1-9]"), timeout=SEEN_MS)
    page.locator("[data-job='1']").click()
    page.locator("#console-line").fill("0.5")
    page.locator("#console").get_by_role("button", name="Send").click()
    expect(page.locator("#console-state")).to_have_text("sent", timeout=SEEN_MS)
    page.locator("#pipes button").first.click()
    expect(page.locator("#tap-peak")).not_to_be_empty(timeout=SEEN_MS)
    page.locator("#record").click()
    # the page's policy forbids to wait for an expression
    while page.evaluate(COLUMNS) < 120:
        page.wait_for_timeout(200)
    expect(page.locator("#record-state")).to_contain_text("Recording", timeout=SEEN_MS)
    expect(page.locator("#graph .job").first).to_be_visible(timeout=SEEN_MS)


def pipelines_page(page: Page, address: str) -> None:
    """Show the list, and a pipeline that has failed, with the job that has."""
    page.goto(address)
    expect(page.locator("#count-finished")).to_have_text(str(len(PIPELINES) - 1), timeout=SEEN_MS)
    page.locator("#list tr", has_text="failed").locator("button").click()
    page.locator("#graph .failed").click()
    expect(page.locator("#job-traceback")).to_be_visible(timeout=SEEN_MS)


def take(page: Page, name: str) -> None:
    """Take all pictures of a page as it is."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(DRAWN_AGAIN_MS)
        path = PICTURES / f"{name}_{width}.png"
        page.screenshot(path=path, full_page=True)
        Image.open(path).quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


@contextlib.contextmanager
def running(command: Sequence[str], cwd: Path) -> Iterator[str]:
    """Run a command that serves a page; yield its address."""
    env = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output = iter(process.stdout or ())
        address = next(found[0] for line in output if (found := ADDRESS.search(line)))
        threading.Thread(target=lambda: deque(output, maxlen=0)).start()  # it must not wait for a reader
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def main() -> None:
    """Run the examples with their pages, and take the pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fission-screenshots-") as folder, sync_playwright() as playwright:
        project = Path(folder) / "project"
        subprocess.run([sys.executable, "-m", "fission", "startproject", "project"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (project / "room").mkdir()
        (project / "room" / "__init__.py").touch()
        (project / "room" / "config.py").write_text(NETWORK, "utf-8")
        (project / "pages.py").write_text(WORKERS, "utf-8")
        (project / "pipelines.json").write_text(json.dumps(PIPELINES), "utf-8")
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=options)
        with running(["manage.py", "room", "simulate", "--nodes", "3", "--dashboard", "0"], project) as address:
            page = browser.new_page(reduced_motion="reduce")
            network_page(page, address)
            take(page, "page")
            page.close()
        store = ["--store", "fission.pipelines.stores.FileStore", "--store-arg", "folder=documents"]
        up = ["-m", "fission", "pipelines", "up", "--workers", "pages", *store, "--number-of-workers", "2", "--dashboard", "0"]
        with running(up, project) as address:
            send = [sys.executable, "-m", "fission", "pipelines", "submit", "pipelines.json"]
            subprocess.run(send, cwd=project, check=True, stdout=subprocess.DEVNULL)
            page = browser.new_page(reduced_motion="reduce")
            pipelines_page(page, address)
            take(page, "pipelines")
        browser.close()


if __name__ == "__main__":
    main()
