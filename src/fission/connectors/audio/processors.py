"""Computations on a stream of samples whose results do not depend on the borders of its blocks.

Each holds the samples that later results still need. `start` begins a stream at any frame, `push`
takes the next frames and returns the results that they complete, with the number of the first one.
With ``last`` the stream ends: results that need frames after its end are computed with zeros there.

They are pickled in snapshots, so filters are not attributes: they are computed again.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import Any

from fission.connectors.audio.needs import needed

#: Half the length of the filter, in samples of the lower rate, and the window's beta: those of scipy.signal.resample_poly,
#: so that the whole result is the same.
_HALF_LENGTH, _WINDOW = 10, ("kaiser", 5.0)


class StreamProcessor(ABC):
    """Base class: holds samples of shape (frames, channels) from a frame on."""

    def __init__(self) -> None:
        self.first = 0  # number of the first frame held
        self.held: Any = None
        self.next = 0  # number of the next result

    @property
    def end(self) -> int:
        """Number of the frame after the last one that is held."""
        return self.first if self.held is None else self.first + len(self.held)

    def start(self, first: int) -> None:
        """Begin a new stream with this frame, and drop the frames of the last one."""
        self.first, self.held = first, None
        self.next = self.first_result(first)

    @abstractmethod
    def first_result(self, first: int) -> int:
        """Return the number of the first result of a stream that begins with a frame."""

    def push(self, samples: Any, *, last: bool) -> tuple[int, Any]:
        """Take frames; return the number of the first completed result, and all completed ones along the first axis."""
        import numpy

        self.held = samples if self.held is None or not len(self.held) else numpy.concatenate([self.held, samples])
        number, end = self.next, max(self.next, self.complete(last=last))
        results = self.compute(number, end)
        self.next = end
        keep = min(max(self.needed_from(end), self.first), self.end)
        self.held, self.first = self.held[keep - self.first :].copy(), keep
        return number, results

    @abstractmethod
    def complete(self, *, last: bool) -> int:
        """Return the number of the first result that still needs frames."""

    @abstractmethod
    def compute(self, begin: int, end: int) -> Any:
        """Return the results with these numbers."""

    @abstractmethod
    def needed_from(self, number: int) -> int:
        """Return the first frame that a result and later ones need."""


class Resampler(StreamProcessor):
    """Polyphase resampling by a rational factor: result m is the sound at the time of frame ``m * down / up``."""

    def __init__(self, up: int, down: int) -> None:
        super().__init__()
        self.up, self.down = up, down
        self.half = _HALF_LENGTH * max(up, down) if up != down else 0

    def first_result(self, first: int) -> int:
        return -(-first * self.up // self.down)

    def complete(self, *, last: bool) -> int:
        if last:
            return -(-self.end * self.up // self.down)
        return (self.end * self.up - self.half - 1) // self.down + 1

    def needed_from(self, number: int) -> int:
        return -(-(number * self.down - self.half) // self.up)

    def compute(self, begin: int, end: int) -> Any:
        import numpy

        if begin == end:
            return numpy.zeros((0, *self.held.shape[1:]))
        if self.up == self.down:
            return self.held[begin - self.first : end - self.first]
        # result m is the sum over k of frame k times filter[m * down - k * up + half]; zeros before the filter make the
        # first result of upfirdn, which begins with the first frame held, fall on a whole m
        lead = (self.first * self.up - self.half) % self.down
        place = (self.first * self.up - self.half - lead) // self.down
        taps = numpy.concatenate([numpy.zeros(lead), _low_pass(self.up, self.down)])
        results = needed("ResampleJob", "scipy.signal").upfirdn(taps, self.held, self.up, self.down, axis=0)
        return results[begin - place : end - place]


class SpectrumProcessor(StreamProcessor):
    """Short-time Fourier transform: result p is the spectrum of the windowed frames around frame ``p * hop``."""

    def __init__(self, size: int, hop: int, window: Any) -> None:
        super().__init__()
        self.size, self.hop, self.window = size, hop, window

    def _transform(self) -> Any:
        return _transform(self.size, self.hop, self.window if isinstance(self.window, str) else tuple(self.window))

    def first_result(self, first: int) -> int:
        return int(self._transform().p_min) - (-first // self.hop)

    def complete(self, *, last: bool) -> int:
        before = self.size // 2
        if last:
            return int(self._transform().p_max(max(self.end, self.size - before)))
        return (self.end + before - self.size) // self.hop + 1

    def needed_from(self, number: int) -> int:
        return number * self.hop - self.size // 2

    def compute(self, begin: int, end: int) -> Any:
        import numpy

        channels = self.held.shape[1:]
        if begin == end:
            return numpy.zeros((0, self.size // 2 + 1, *channels), complex)
        first = self.needed_from(begin)
        length = (end - 1 - begin) * self.hop + self.size
        skip = max(0, first - self.first)
        lead = max(0, self.first - first)
        part = self.held[skip : skip + length - lead]
        padded = numpy.zeros((length, *channels))
        padded[lead : lead + len(part)] = part
        slices = numpy.lib.stride_tricks.sliding_window_view(padded, self.size, axis=0)[:: self.hop]
        spectra = needed("StftJob", "scipy.fft").rfft(slices * self._transform().win, axis=-1)
        return numpy.moveaxis(spectra, -1, 1)


class LevelProcessor(StreamProcessor):
    """Mean square, or largest square, of the frames of each interval: result i is that of ``length`` frames from ``i * length`` on."""

    def __init__(self, length: int, *, peak: bool) -> None:
        super().__init__()
        self.length, self.peak = length, peak

    def first_result(self, first: int) -> int:
        return -(-first // self.length)

    def complete(self, *, last: bool) -> int:
        return -(-self.end // self.length) if last else self.end // self.length

    def needed_from(self, number: int) -> int:
        return number * self.length

    def compute(self, begin: int, end: int) -> Any:
        import numpy

        results = numpy.zeros((end - begin, *self.held.shape[1:]))
        for number in range(begin, end):
            start = number * self.length - self.first
            squares = self.held[start : start + self.length] ** 2
            results[number - begin] = squares.max(axis=0) if self.peak else squares.mean(axis=0)
        return results


@functools.lru_cache(maxsize=4)
def _low_pass(up: int, down: int) -> Any:
    """Return the filter of scipy.signal.resample_poly, with the gain that inserted zeros need."""
    most = max(up, down)
    return needed("ResampleJob", "scipy.signal").firwin(2 * _HALF_LENGTH * most + 1, 1.0 / most, window=_WINDOW) * up


@functools.lru_cache(maxsize=4)
def _transform(size: int, hop: int, window: Any) -> Any:
    """Return scipy's description of the transform: its window, and the first and last slice that a signal touches."""
    signal = needed("StftJob", "scipy.signal")
    return signal.ShortTimeFFT(signal.get_window(window, size), hop, 1.0, phase_shift=None)
