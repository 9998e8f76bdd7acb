"""The example demo_dxcp listens to two microphones of a real sound server, which hear the same voice with different clocks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.sound_server import SoundServer

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(180)]

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = 16000
PPM = 150.0
#: As its README prints it.
COMMAND = "python3 manage.py demo_dxcp simulate --live"
#: Writes what two microphones hear as int32 of two channels, for a sound server.
MAKE = """
import sys
import numpy as np
from demo_dxcp import scene
pair = scene.record(scene.Scene(60.0, float(sys.argv[1]), 0.0))
(np.stack(pair, axis=1) * 2**31).astype("<i4").tofile(sys.argv[2])
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SoundServer]:
    """A server with two microphones, left and right."""
    both = tmp_path / "both"
    subprocess.run([sys.executable, "-c", MAKE, str(PPM), str(both)], cwd=EXAMPLES, check=True, timeout=60)
    assert np.fromfile(both, "<i4").size == 2 * 60 * RATE
    with SoundServer(RATE, channels=2, devices=[]) as found:
        found.hear(both)
        found.split("left", "right")
        yield found


def test_the_clocks_of_two_microphones_are_compared(server: SoundServer, tmp_path: Path) -> None:
    project = tmp_path / "examples"
    shutil.copytree(EXAMPLES, project, ignore=shutil.ignore_patterns("simulation", "recordings", "__pycache__"))
    config = project / "demo_dxcp/config.py"
    text = config.read_text()
    assert "LIVE_DEVICES = (None, None)" in text
    config.write_text(text.replace("LIVE_DEVICES = (None, None)", 'LIVE_DEVICES = ("left", "right")'))
    command = [sys.executable, *COMMAND.split()[1:], "--for", "30"]
    env = {**os.environ, **server.environment}
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r"\[SynchroniserJob 3\] estimated (-?[\d.]+) ppm\n", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) == pytest.approx(PPM, abs=5), done.stdout + done.stderr
    rows = (project / "demo_dxcp/simulation/4/offsets.csv").read_text().splitlines()
    assert len(rows) > 60
