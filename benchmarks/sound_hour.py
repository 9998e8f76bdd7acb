"""Sound of 4 channels at 48 kHz through spectra and levels into two files, how many times faster than real time: at least 20.

The peer is one process with soundfile and numpy that computes and writes the same. Both are timed from their start to their end.

    python -m benchmarks.sound_hour [--runs 3] [--minutes 60] [--json FILE]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.chain import PROJECT, arguments, paired, show, surroundings

RATE, CHANNELS = 48_000, 4
#: The least times real time that an hour of sound must be processed.
WANTED = 20


def make(path: Path, minutes: float) -> None:
    """Write noise with a tone, 16 bits."""
    generator = np.random.default_rng(1)
    second = np.arange(RATE) / RATE
    noise = generator.normal(0, 0.1, (RATE, CHANNELS)) + 0.3 * np.sin(2 * np.pi * 440 * second)[:, None]
    with soundfile.SoundFile(path, "w", RATE, CHANNELS, "PCM_16", format="RF64") as sound:
        for _ in range(round(minutes * 60)):
            sound.write(noise)


def timed(command: list[str], path: Path, seconds_of_sound: float) -> dict[str, float]:
    """Return the speed of a command as a multiple of real time."""
    began = time.monotonic()
    with subprocess.Popen(command, **surroundings({"path": str(path)})) as process:
        if process.wait(timeout=3600):
            raise RuntimeError(f"{command[1]} ended with exit code {process.returncode}")
    return {"times real time": seconds_of_sound / (time.monotonic() - began)}


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fission-bench-") as folder:
        path = Path(folder) / "sound.wav"
        make(path, options.minutes)
        alone = f"import pathlib, sound.jobs; sound.jobs.plain(pathlib.Path({str(path)!r}), pathlib.Path({folder!r}))"
        row = paired(
            lambda: timed([sys.executable, "manage.py", "sound", "simulate"], path, 60 * options.minutes),
            lambda: timed([sys.executable, "-c", alone], path, 60 * options.minutes),
            "times real time",
            options.runs,
            1,
        )
        same(PROJECT / "sound/simulation", Path(folder))
    show(
        [{"case": f"{options.minutes:g} minutes of 4 channels at 48 kHz, against one process", **row, "wanted": f">= {WANTED}"}],
        ["case", "figure", "fission", "against", "ratio", "wanted"],
        options,
    )
    return 0


def same(results: Path, plain: Path) -> None:
    """Check that both have computed the same levels.

    Raises:
        RuntimeError: they have not.
    """
    ours, theirs = (soundfile.read(path)[0] for path in (results / "6/levels.wav", plain / "levels.wav"))
    whole = min(len(ours), len(theirs))
    if not whole or abs(len(ours) - len(theirs)) > 1 or not np.allclose(ours[:whole], theirs[:whole], atol=1e-3):
        raise RuntimeError("the network and the single process have computed different levels")


if __name__ == "__main__":
    sys.exit(main())
