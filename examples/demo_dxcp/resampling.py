"""Resampling of a stream by a ratio that changes while it runs."""

from __future__ import annotations

import numpy as np

HALF = 32  # samples on each side of an instant that its value is computed from
PHASES = 1024  # instants between two samples that weights are tabled for; between these, weights are interpolated linearly
BETA = 9.0  # of the Kaiser window: 90 dB below


def _table() -> np.ndarray:
    """Return the weights of the 2 * HALF samples around an instant, a row for each of PHASES + 1 instants between two samples."""
    distance = np.arange(PHASES + 1)[:, None] / PHASES - np.arange(1 - HALF, HALF + 1)[None, :]
    window = np.i0(BETA * np.sqrt(np.clip(1 - (distance / HALF) ** 2, 0, None))) / np.i0(BETA)
    return np.sinc(distance) * window


class Resampler:
    """A stream of samples, read at instants `step` apart, where `step` may be another one for each sample that is read.

    A windowed sinc without a low-pass: for steps of nearly 1. The sound's uppermost per mille is folded.

    Attributes:
        step: samples of the input for one of the output.
        position: instant of the next sample to read, in samples of the input since its beginning.
    """

    def __init__(self) -> None:
        self.step = 1.0
        self.position = 0.0
        self._first = -HALF  # number of the input's sample that is the first in _samples; before the beginning is silence
        self._samples = np.zeros(HALF)
        self._weights: np.ndarray | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_weights": None}  # the table is made again where the stream continues

    def add(self, samples: np.ndarray) -> None:
        """Append samples to the input."""
        self._samples = np.concatenate([self._samples, samples])

    def read(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Return up to `most` samples of the output, as far as the input reaches, and the instants they were read at."""
        reach = self._first + len(self._samples) - HALF - 1  # the last sample before an instant must not be behind this one
        count = int(np.clip(np.floor((reach - self.position) / self.step), 0, most))
        instants = self.position + self.step * np.arange(count)
        self.position += self.step * count
        if self._weights is None:
            self._weights = _table()
        before = np.floor(instants).astype(int)
        phase = (instants - before) * PHASES
        row = np.minimum(phase.astype(int), PHASES - 1)
        share = (phase - row)[:, None]
        around = np.lib.stride_tricks.sliding_window_view(self._samples, 2 * HALF)[before - self._first - HALF + 1]
        weights = self._weights[row] * (1 - share) + self._weights[row + 1] * share
        output = np.einsum("ij,ij->i", around, weights)
        spare = int(np.floor(self.position)) - HALF - self._first
        if spare > 0:
            self._samples = self._samples[spare:]
            self._first += spare
        return output, instants
