"""The example source_separation listens to a real sound server, whose microphones hear two voices mixed."""

from __future__ import annotations

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
RECORDINGS = EXAMPLES / "source_separation" / "recordings"
RATE = 8000
#: As its README prints it.
COMMAND = "python3 manage.py source_separation simulate --live"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SoundServer]:
    """A server whose default microphone hears both recordings, again and again."""
    both = np.stack([soundfile.read(RECORDINGS / f"microphone_{number}.wav", dtype="int32")[0] for number in (1, 2)], axis=1)
    both.astype("<i4").tofile(tmp_path / "both")
    with SoundServer(RATE, channels=2, devices=[]) as found:
        found.hear(tmp_path / "both")
        yield found


def likeness(sound: Any, voice: Any) -> float:
    """Return the largest correlation of a sound with any part of a voice that repeats."""
    size = len(voice)
    spectra = np.fft.rfft(sound[:size], size), np.fft.rfft(voice)
    correlations = np.fft.irfft(spectra[0] * spectra[1].conj(), size)
    return float(np.abs(correlations).max() / np.linalg.norm(sound) / np.linalg.norm(voice))


def test_live_voices_are_separated(server: SoundServer, tmp_path: Path) -> None:
    project = tmp_path / "examples"
    shutil.copytree(EXAMPLES, project, ignore=shutil.ignore_patterns("simulation", "__pycache__"))
    command = [sys.executable, *COMMAND.split()[1:]]
    subprocess.run(command, cwd=project, env={**os.environ, **server.environment}, check=True, capture_output=True, timeout=120)
    voices = [soundfile.read(RECORDINGS / f"voice_{number}.wav")[0] for number in (1, 2)]
    heard = [soundfile.read(project / "source_separation" / "simulation" / name)[0] for name in ("8/separated_1.wav", "9/separated_2.wav")]
    found = np.array([[likeness(sound, voice) for voice in voices] for sound in heard])
    assert sorted(found.argmax(axis=1)) == [0, 1], found
    assert found.max(axis=1).min() > 0.9, found
