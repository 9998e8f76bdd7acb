"""The example wildlife listens to a microphone of a real sound server, which hears calls at known times."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.sound_server import SoundServer

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(180)]

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = 16000
#: As its README prints it.
COMMAND = "python3 manage.py wildlife simulate --live"
#: Writes a minute of sound as int32, for a sound server, and its calls.
MAKE = """
import json, sys
from dataclasses import asdict
import numpy as np
from wildlife import scene
random = np.random.default_rng(1)
heard = scene.calls(60.0, random)
(scene.record(60.0, heard, random).astype("<i4") << 16).tofile(sys.argv[1])
print(json.dumps([asdict(call) for call in heard]))
"""


@pytest.fixture
def heard(tmp_path: Path) -> list[dict[str, Any]]:
    """The calls of the file `sound`."""
    done = subprocess.run(
        [sys.executable, "-c", MAKE, str(tmp_path / "sound")], cwd=EXAMPLES, check=True, capture_output=True, text=True, timeout=60
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture
def server(tmp_path: Path, heard: list[dict[str, Any]]) -> Iterator[SoundServer]:
    with SoundServer(RATE, devices=[]) as found:
        found.hear(tmp_path / "sound")
        yield found


def test_calls_become_clips(server: SoundServer, heard: list[dict[str, Any]], tmp_path: Path) -> None:
    project = tmp_path / "examples"
    shutil.copytree(EXAMPLES, project, ignore=shutil.ignore_patterns("simulation", "recordings", "__pycache__"))
    config = project / "wildlife/config.py"
    config.write_text(config.read_text().replace("LIVE_RATE = 48000", f"LIVE_RATE = {RATE}"))
    command = [sys.executable, *COMMAND.split()[1:], "--for", "25"]
    done = subprocess.run(
        command, cwd=project, env={**os.environ, **server.environment}, capture_output=True, text=True, timeout=120, check=False
    )
    folder = project / "wildlife/simulation"
    with (folder / "5/events.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 2, done.stdout + done.stderr
    # Two events are as far apart as two calls that follow each other.
    starts = np.array([np.datetime64(row["time"].removesuffix("Z")) for row in rows])
    steps = np.diff(starts) / np.timedelta64(1, "s")
    calls = np.diff([call["start"] for call in heard])
    assert any(np.abs(calls[first : first + len(steps)] - steps).max() < 0.15 for first in range(len(calls) - len(steps) + 1)), rows
    for row in rows:
        clip, rate = soundfile.read(folder / "4/clips" / row["clip"])
        assert rate == RATE
        assert len(clip) / rate == pytest.approx(float(row["seconds"]) + 0.9, abs=0.01)
        assert np.abs(clip).max() > 0.04
