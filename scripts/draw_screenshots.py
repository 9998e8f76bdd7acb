"""Takes the pictures of the page in docs/dashboard.md, of a small network with sound, in real Chromium.

.venv/bin/python -m scripts.draw_screenshots            writes docs/images/page_WIDTH.png
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "images"
#: Widths of the window, in pixels: a telephone, a laptop, a large screen.
WIDTHS = (400, 1280, 2000)
#: A whistle that rises and falls, its echo, and their levels.
NETWORK = """\
import time

import numpy as np

from fission.core.jobs import CSVSinkJob, PythonJob
from fission.core.pipes import PicklePipe


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


class EchoJob(PythonJob):
    def run(self, sound):
        return sound + 0.3 * np.roll(sound, 160)


class LevelJob(PythonJob):
    def run(self, sound):
        return float(np.sqrt(np.mean(sound**2)))


JOBS = [
    MicrophoneJob(outputs=[SoundPipe(1), SoundPipe(2)]),
    EchoJob(inputs=[SoundPipe(1)], outputs=[SoundPipe(3)]),
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


def take(page: Page, address: str) -> None:
    """Take all pictures of a page: its graph, and a pipe with sound that is looked into."""
    page.goto(address)
    expect(page.locator("#graph .rate").first).to_have_text(re.compile(r"1: [1-9]"), timeout=SEEN_MS)
    page.locator("#pipes button").first.click()
    expect(page.locator("#tap-peak")).not_to_be_empty(timeout=SEEN_MS)
    # the page's policy forbids to wait for an expression
    while page.evaluate(COLUMNS) < 120:
        page.wait_for_timeout(200)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        expect(page.locator("#graph .job").first).to_be_visible(timeout=SEEN_MS)
        page.wait_for_timeout(DRAWN_AGAIN_MS)
        path = PICTURES / f"page_{width}.png"
        page.screenshot(path=path, full_page=True)
        Image.open(path).quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def main() -> None:
    """Run the example with its page, and take the pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fission-screenshots-") as folder:
        project = Path(folder) / "project"
        subprocess.run([sys.executable, "-m", "fission", "startproject", "project"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (project / "room").mkdir()
        (project / "room" / "__init__.py").touch()
        (project / "room" / "config.py").write_text(NETWORK, "utf-8")
        command = [sys.executable, "manage.py", "room", "simulate", "--nodes", "3", "--dashboard", "0"]
        env = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
        client = subprocess.Popen(
            command, cwd=project, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            address = next(found[0] for line in client.stderr or () if (found := ADDRESS.search(line)))
            with sync_playwright() as playwright:
                options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
                browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=options)
                take(browser.new_page(reduced_motion="reduce"), address)
                browser.close()
        finally:
            client.send_signal(signal.SIGINT)
            client.communicate(timeout=30)


if __name__ == "__main__":
    main()
