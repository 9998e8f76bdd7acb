"""What is drawn of the samples that pass on a pipe: an oscilloscope and a spectrogram. No I/O.

Both are computed here instead of in the browser: numpy is quick, and what is sent is small and of
the same size at any rate of samples. numpy must be installed; it is imported when it is needed.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

#: Samples of one spectrum. Arbitrary: at 16 kHz, 64 ms and 16 Hz.
FRAME = 1024
#: Samples from one spectrum to the next: half a frame, as usual with a Hann window.
HOP = FRAME // 2
#: Rows of a column of the spectrogram.
BINS = FRAME // 2
#: Decibels below the strongest one that are shown; arbitrary: nearly what 16 bits resolve.
RANGE_DB = 90.0
#: Spectra that are computed for one update, the newest ones; and columns that are sent for them. Arbitrary: they take about
#: a millisecond, and a second of them fills about a hundred pixels.
MOST_FRAMES, MOST_COLUMNS = 64, 24
#: Columns of the oscilloscope; arbitrary: about the pixels of a panel.
SCOPE_COLUMNS = 512
#: Lengths of the oscilloscope's picture, in samples, of which the viewer chooses one.
WINDOWS = (256, 1024, 4096, 16384)
#: Smallest amplitude; below the rounding of any number that is sent.
_TINY = 1e-300


@dataclass(frozen=True)
class Run:
    """Samples that follow each other without a gap.

    Attributes:
        samples: numpy array of float64 or complex128, all finite.
        follows: whether they follow the last ones of the run before.
    """

    samples: Any
    follows: bool


class Samples:
    """The newest samples of a pipe."""

    def __init__(self, window: int) -> None:
        """Begin without any.

        Args:
            window: length of the oscilloscope's picture, in samples.
        """
        self._window = window
        self._newest: Any = None  # for the oscilloscope
        self._unframed: Any = None  # too few for a spectrum
        self._frames: list[Any] = []
        self._top = -1000.0

    def add(self, run: Run) -> None:
        """Add samples."""
        import numpy

        samples = run.samples
        follows = run.follows and self._newest is not None and self._newest.dtype == samples.dtype
        self._newest = (numpy.concatenate((self._newest, samples)) if follows else samples)[-2 * self._window :]
        unframed = numpy.concatenate((self._unframed, samples)) if follows else samples
        if len(unframed) < FRAME:
            self._unframed = unframed
            return
        frames = numpy.lib.stride_tricks.sliding_window_view(unframed, FRAME)[::HOP]
        self._unframed = unframed[len(frames) * HOP :]
        self._frames = [*self._frames, *frames[-MOST_FRAMES:]][-MOST_FRAMES:]

    def oscilloscope(self) -> dict[str, Any] | None:
        """Return the newest samples: "low" and "high" of each column, of complex samples also of their imaginary parts."""
        if self._newest is None or not len(self._newest):
            return None
        shown = self._newest[_trigger(self._newest.real, self._window) :][: self._window]
        parts = (shown.real, shown.imag) if shown.dtype.kind == "c" else (shown,)
        return {"samples": len(shown), "parts": [_columns(part) for part in parts]}

    def spectrogram(self) -> dict[str, Any] | None:
        """Return the columns since the last call; None if there are none.

        They are bytes, one for each row and column, with the lowest frequency first: 255 is "top"
        (decibels of an amplitude of 1), 0 is `RANGE_DB` below. "peak" is the strongest frequency,
        as a share of the rate of samples. With "both", the lowest frequency is minus half the rate.
        """
        import numpy

        if not self._frames:
            return None
        frames, self._frames = numpy.stack(self._frames), []
        window = numpy.hanning(FRAME + 1)[:-1]
        both = frames.dtype.kind == "c"
        # the scale of the largest value is taken out first: squares of large numbers would overflow
        scale = max(float(numpy.abs(frames).max()), _TINY)
        if both:
            amplitudes = numpy.abs(numpy.fft.fftshift(numpy.fft.fft(frames / scale * window), axes=-1))[:, ::2] / window.sum()
        else:
            amplitudes = numpy.abs(numpy.fft.rfft(frames / scale * window))[:, :BINS] / (window.sum() / 2)
        groups = numpy.linspace(0, len(amplitudes), min(len(amplitudes), MOST_COLUMNS), endpoint=False).astype(int)
        columns = numpy.maximum.reduceat(amplitudes, groups, axis=0)
        first = 0 if both else 2  # the constant part of real numbers, which the window spreads to the next row, does not count
        strongest = int(columns.max(axis=0)[first:].argmax()) + first
        decibels = 20 * (numpy.log10(numpy.maximum(columns, _TINY)) + numpy.log10(scale))
        self._top = max(self._top, float(decibels.max()))
        levels = numpy.clip((decibels - self._top) / RANGE_DB + 1, 0, 1) * 255
        peak = (strongest - BINS / 2) / BINS if both else strongest / FRAME
        content = text_of_bytes(levels.astype(numpy.uint8).tobytes())
        return {"columns": len(columns), "rows": BINS, "top": round(self._top, 2), "both": both, "peak": peak, "levels": content}


def text_of_bytes(content: bytes) -> str:
    """Return bytes as text (base64)."""
    return base64.b64encode(content).decode("ascii")


def finite(array: Any) -> tuple[Any, int]:
    """Return numbers as float64 or complex128, with 0 in place of those that are not finite, and the number of these."""
    import numpy

    with numpy.errstate(all="ignore"):
        found = array.astype(numpy.complex128 if array.dtype.kind == "c" else numpy.float64)
        wrong = ~numpy.isfinite(found)
    odd = int(wrong.sum())
    if odd:
        found[wrong] = 0
    return found, odd


def _trigger(samples: Any, window: int) -> int:
    """Return where the picture begins: where the samples rise through their middle, so that it does not move if they repeat."""
    import numpy

    rest = len(samples) - window
    if rest <= 0:
        return 0
    above = samples[: rest + 1] > (samples.min() / 2 + samples.max() / 2)
    rises = numpy.flatnonzero(above[1:] & ~above[:-1])
    return int(rises[-1]) + 1 if len(rises) else rest


def _columns(samples: Any) -> dict[str, str]:
    """Return the least and the greatest sample of each column, as float32."""
    import numpy

    starts = numpy.linspace(0, len(samples), min(len(samples), SCOPE_COLUMNS), endpoint=False).astype(int)
    with numpy.errstate(over="ignore"):
        parts = [numpy.clip(reduce.reduceat(samples, starts), -3e38, 3e38) for reduce in (numpy.minimum, numpy.maximum)]
    low, high = (text_of_bytes(part.astype("<f4").tobytes()) for part in parts)
    return {"low": low, "high": high}
