"""What users add to the sound jobs: levels of frequency bands, and the same computation as they would write it without FISSION."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from fission.core.jobs import PythonJob

SIZE, HOP, BLOCK = 1024, 512, 4800
#: Frames of an interval of `LevelJob` at 48 kHz.
INTERVAL = 6000
#: Bands of the spectrum that are averaged.
BANDS = 8


def band_levels(spectra: Any) -> list[float]:
    """Return the mean power of each band and channel in decibels, for spectra of shape (slices, bins, channels)."""
    power = spectra.real**2 + spectra.imag**2
    means = [band.mean(axis=(0, 1)) for band in np.array_split(power, BANDS, axis=1)]
    levels: list[float] = (10 * np.log10(np.maximum(means, 1e-20))).ravel().tolist()
    return levels


class BandLevels(PythonJob):
    """Gives one row for each block of spectra."""

    def run(self, block: Any) -> Any:
        if len(block.spectra):
            return ((block.first_slice, *band_levels(block.spectra)),)
        return None


def plain(path: Path, folder: Path) -> None:
    """Compute the same in one process, with soundfile and numpy, and write the same results."""
    window = np.hanning(SIZE + 1)[:-1].astype("float32")[None, :, None]
    with soundfile.SoundFile(path) as sound, (folder / "bands.csv").open("w", newline="") as bands:
        rows = csv.writer(bands)
        channels = sound.channels
        with soundfile.SoundFile(folder / "levels.wav", "w", 8, channels, "DOUBLE") as levels:
            tail = np.zeros((SIZE // 2, channels), "float32")
            left = np.zeros((0, channels), "float32")
            first = 0
            for block in sound.blocks(BLOCK, dtype="float32", always_2d=True):
                left = np.concatenate((left, block))
                whole = len(left) // INTERVAL
                squares = (left[: whole * INTERVAL].astype("float64") ** 2).reshape(whole, INTERVAL, channels).mean(axis=1)
                levels.write(10 * np.log10(np.maximum(squares, 1e-20)))
                left = left[whole * INTERVAL :]
                tail = np.concatenate((tail, block))
                slices = (len(tail) - SIZE) // HOP + 1
                if slices <= 0:
                    continue
                frames = np.lib.stride_tricks.sliding_window_view(tail, SIZE, axis=0)[::HOP][:slices].transpose(0, 2, 1)
                rows.writerow((first, *band_levels(np.fft.rfft(frames * window, axis=1))))
                first += slices
                tail = tail[slices * HOP :]
