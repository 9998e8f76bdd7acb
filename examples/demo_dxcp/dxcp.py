"""The double cross-correlation processor with phase transform (DXCP-PhaT), and the closed loop around it.

Method: A. Chinaev, P. Thuene, G. Enzner, "Double-Cross-Correlation Processing for Blind Sampling-Rate and Time-Offset Estimation",
IEEE/ACM Transactions on Audio, Speech, and Language Processing 29, 2021. This is an implementation of our own, with differences that
README.md names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo_dxcp.resampling import Resampler

RATE = 16000  # samples a second of the first microphone
FFT_SIZE = 2**13  # samples that are correlated at a time
SHIFT = 2**12  # samples between two correlations
LAG = 20  # correlations between the two of which the second stage makes one: 5.12 s. A drift of 1 ppm is then 0.08 samples
FORGET_PHASES = 0.5  # weight of the past in the first stage: about two shifts
FORGET_DRIFT = 0.99  # weight of the past in the second stage: about 100 shifts, 26 s
FORGET_OFFSET = 0.9  # weight of the past in the average that the time offset is read from: about 10 shifts
FIRST_AFTER = 4  # second-stage correlations before the first estimate: 1 s
CLEAR = 6.0  # by how much the second stage's peak must exceed the root mean square there, or nothing is corrected
LARGEST_PPM = 1200  # offsets that are looked for
FLOOR = 1e-9  # of a spectral line's power; less is silence: no phase

BINS = FFT_SIZE // 2 + 1
_ANGLES = 2 * np.pi * np.arange(BINS) / FFT_SIZE  # radians per sample, of each spectral line
_WINDOW = np.hanning(FFT_SIZE + 1)[:-1]
_WEIGHTS = _WINDOW**2 / np.sum(_WINDOW**2)


def peak(cross_spectrum: np.ndarray, lowest: int, highest: int) -> tuple[float, float]:
    """Return the lag where the correlation that belongs to a cross-spectrum is largest, and by how much.

    The lag is in samples and fractions of one. The other number is the correlation there over its root mean square at all lags: at most
    4 or so where there is nothing in common.

    Args:
        cross_spectrum: complex array of shape (BINS,).
        lowest, highest: lags between which to look, from -FFT_SIZE / 2 to FFT_SIZE / 2.
    """
    lags = np.arange(lowest, highest + 1)
    correlation = np.fft.irfft(cross_spectrum, FFT_SIZE)
    lag = float(lags[np.argmax(correlation[lags])])
    rms = np.sqrt(np.mean(correlation**2))
    clearness = float(correlation[int(lag)] / rms) if rms > 0 else 0.0
    # Newton's method on the sum of cosines between the samples
    for _ in range(6):
        terms = cross_spectrum * np.exp(1j * _ANGLES * lag)
        slope = -np.sum(_ANGLES * terms.imag)
        bend = -np.sum(_ANGLES**2 * terms.real)
        if bend >= 0:
            break
        lag -= float(np.clip(slope / bend, -0.5, 0.5))
    return lag, clearness


@dataclass(frozen=True)
class Estimate:
    """What is known after some correlations.

    Attributes:
        seconds: position in the first recording up to which sound was used.
        rate_offset_ppm: by how much the second microphone's sampling rate is above the first one's; NaN until it is known.
        time_offset_ms: how much later the second recording starts, with the difference of the sound's ways; NaN until it is known.
        residual_ppm: of the rate offset, what the resampler has not yet undone: what the loop brings to zero; NaN until it is known.
    """

    seconds: float
    rate_offset_ppm: float = float("nan")
    time_offset_ms: float = float("nan")
    residual_ppm: float = float("nan")


class DriftEstimator:
    """Two stages of correlation: phases between the microphones, then how they change within LAG correlations.

    The lag between the recordings grows with the instant p in the second one as `drift * p - start`, where `drift` is
    offset / (1 + offset) and `start` the time offset. What is known of the drift is turned out of both averages, so these stay sharp
    while the estimate moves.

    Attributes:
        drift: samples of lag per sample of the second recording; 0 until it is known.
        known: whether it is.
    """

    def __init__(self) -> None:
        self.drift = 0.0
        self.known = False
        self._cross = np.zeros(BINS, complex)
        self._aligned = np.zeros(BINS, complex)
        self._phases: list[tuple[float, np.ndarray]] = []  # instants and phases of up to LAG correlations, the oldest first
        self._double = np.zeros(BINS, complex)
        self._count = 0

    def add(self, first: np.ndarray, second: np.ndarray, sample: float, instant: float) -> tuple[float, float]:
        """Add a correlation; return the lag of the recordings here, and by how much the drift was corrected.

        Args:
            first: FFT_SIZE samples of the first recording.
            second: as many of the second one, as the resampler has read it.
            sample: number of the first ones' middle.
            instant: at which the middle of the second ones was read.
        """
        displacement = instant - sample
        spectra = np.fft.rfft(np.stack([first, second]) * _WINDOW)
        cross = spectra[1] * spectra[0].conj() * _delay(displacement)
        moved = _delay(self.drift * (instant - self._phases[-1][0])) if self._phases else 1.0
        self._cross = (FORGET_PHASES if self.known else 0.0) * self._cross * moved + cross
        phases = _phases(self._cross)
        self._aligned = FORGET_OFFSET * self._aligned * moved + phases
        correction = 0.0
        if len(self._phases) == LAG:
            before, past = self._phases.pop(0)
            span = instant - before
            self._double = FORGET_DRIFT * self._double + phases * past.conj() * _delay(-self.drift * span)
            self._count += 1
            most = int(np.ceil(LARGEST_PPM * 1e-6 * span))
            lag, clearness = peak(self._double, -most, most)
            if self._count >= FIRST_AFTER and clearness >= CLEAR:
                correction = lag / span
                self._double = self._double * _delay(-correction * span)
                self.drift += correction
                self.known = True
        self._phases.append((instant, phases.astype(np.complex64)))  # half the state that a checkpoint has to store
        reach = FFT_SIZE // 2 - 1
        return displacement + peak(self._aligned * _delay(-displacement), -reach, reach)[0], correction


def _delay(samples: float) -> np.ndarray:
    """Return the factors of all spectral lines that delay a sound."""
    return np.exp(-1j * _ANGLES * samples)


def _phases(spectrum: np.ndarray) -> np.ndarray:
    """Return a spectrum whose lines have magnitude 1, or 0 where there is silence."""
    magnitude = np.abs(spectrum)
    return np.where(magnitude > FLOOR, spectrum / np.maximum(magnitude, FLOOR), 0)


class Synchroniser:
    """The closed loop: reads the second recording through a resampler that is set by what the correlations of its output say.

    Feed it pieces of both recordings; they may have any lengths.
    """

    def __init__(self) -> None:
        self.resampler = Resampler()
        self.estimator = DriftEstimator()
        self.estimate = Estimate(0.0)
        self._first = np.zeros(0)
        self._second = np.zeros(0)
        self._instants = np.zeros(0)
        self._start = 0  # number of the first sample in _first

    def add(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Append pieces of both recordings; return the next piece of the second one at the first one's rate."""
        self._first = np.concatenate([self._first, first])
        self.resampler.add(second)
        pieces = []
        while True:
            piece, instants = self.resampler.read(FFT_SIZE - len(self._second))
            pieces.append(piece)
            self._second = np.concatenate([self._second, piece])
            self._instants = np.concatenate([self._instants, instants])
            if len(self._second) < FFT_SIZE or len(self._first) < FFT_SIZE:
                return np.concatenate(pieces)
            self._correlate()

    def _correlate(self) -> None:
        middle = FFT_SIZE // 2
        instant = float(_WEIGHTS @ (self._instants - np.arange(FFT_SIZE))) + middle
        lag, correction = self.estimator.add(self._first[:FFT_SIZE], self._second, self._start + middle, instant)
        self._first = self._first[SHIFT:]
        self._second = self._second[SHIFT:]
        self._instants = self._instants[SHIFT:]
        self._start += SHIFT
        seconds = (self._start - SHIFT + FFT_SIZE) / RATE
        if self.estimator.known:
            drift = self.estimator.drift
            offset = drift / (1 - drift)
            self.estimate = Estimate(seconds, offset * 1e6, (drift * instant - lag) / RATE * 1000, correction * 1e6)
            self.resampler.step = 1 + offset
        else:
            self.estimate = Estimate(seconds)
