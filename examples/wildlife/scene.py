"""A dawn, computed: recordings of two stations with wind and calls at known times, to try wildlife without waiting for animals."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16000
BEGIN = datetime(2026, 4, 1, 5, 30, tzinfo=timezone.utc)
TRUTH = "truth.json"


@dataclass(frozen=True)
class Call:
    """A call: seconds from the recording's start, length in seconds, and the frequencies in Hz that it glides between."""

    start: float
    seconds: float
    low: float
    high: float


def calls(seconds: float, random: np.random.Generator) -> list[Call]:
    """Return calls, 3 to 8 seconds apart."""
    found = []
    at = random.uniform(3, 5)
    while at < seconds - 3:
        low = random.uniform(2200, 4500)
        found.append(Call(round(at, 3), round(random.uniform(0.2, 1.2), 3), round(low), round(low * random.uniform(1.1, 1.5))))
        at += random.uniform(3, 8)
    return found


def record(seconds: float, heard: list[Call], random: np.random.Generator) -> np.ndarray:
    """Return the samples of a recording, as 16-bit integers: wind that comes and goes, hiss, and calls that trill."""
    count = round(seconds * RATE)
    time = np.arange(count) / RATE
    spectrum = np.fft.rfft(random.standard_normal(count))
    spectrum /= 1 + (np.fft.rfftfreq(count, 1 / RATE) / 100) ** 1.5
    wind = np.fft.irfft(spectrum, count)
    sound = 0.02 * wind / np.std(wind) * (1 + 0.5 * np.sin(2 * np.pi * time / 17)) + 0.001 * random.standard_normal(count)
    for call in heard:
        size = round(call.seconds * RATE)
        inside = np.arange(size) / RATE
        frequency = call.low + (call.high - call.low) * inside / call.seconds + 150 * np.sin(2 * np.pi * 12 * inside)
        first = round(call.start * RATE)
        sound[first : first + size] += 0.05 * np.hanning(size) ** 0.5 * np.sin(2 * np.pi * np.cumsum(frequency) / RATE)
    return np.rint(sound * 32767).astype("<i2")


def make(folder: Path, stations: dict[str, int], files: int, seconds: float) -> None:
    """Write the recordings of all stations, and their calls, unless the folder has those already.

    Only recordings that it has made are replaced: other files in these folders stay.

    Args:
        folder: gets a folder for each station.
        stations: the number that each one's sounds are drawn with.
        files: how many each has; each is named after its start, and continues the one before.
        seconds: length of each.

    Raises:
        OSError: a folder cannot be written.
    """
    wanted = {"stations": stations, "files": files, "seconds": seconds}
    truth = folder / TRUTH
    made = _made(truth)
    if made.get("wanted") == wanted and all((folder / name).exists() for name in made["recordings"]):
        return
    folder.mkdir(parents=True, exist_ok=True)
    for old in made.get("recordings", []):
        (folder / old).unlink(missing_ok=True)
    heard, names = {}, []
    for station, seed in stations.items():
        random = np.random.default_rng(seed)
        heard[station] = calls(files * seconds, random)
        sound = record(files * seconds, heard[station], random)
        (folder / station).mkdir(exist_ok=True)
        for number, part in enumerate(np.array_split(sound, files)):
            start = BEGIN + timedelta(seconds=number * seconds)
            names.append(f"{station}/{start:%Y%m%d_%H%M%S}.wav")
            soundfile.write(folder / names[-1], part, RATE, subtype="PCM_16")
    listed = {name: [asdict(call) for call in found] for name, found in heard.items()}
    truth.unlink(missing_ok=True)
    truth.write_text(json.dumps({"wanted": wanted, "recordings": names, "calls": listed}, indent=1) + "\n")


def _made(truth: Path) -> dict[str, Any]:
    """Return what was written beside earlier recordings; nothing if there is none, or a part of it."""
    try:
        found = json.loads(truth.read_text("utf-8"))
        return found if found.keys() == {"wanted", "recordings", "calls"} else {}
    except (OSError, ValueError, AttributeError):
        return {}
