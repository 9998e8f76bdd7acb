"""Calls of animals in sound: levels of frequency bands, and a detector of what stands out from their noise. Pure functions and state."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

HOP_S = 0.02  # seconds that one level is of
FLOOR_DB = -120.0  # of full scale: the level of silence


@dataclass(frozen=True)
class Features:
    """Levels of consecutive hops.

    Attributes:
        first_sample: number of the first hop's first sample in the stream.
        hop: samples in a hop.
        rate: samples a second.
        time: when the first sample was taken, in seconds since 1970 UTC; None: unknown.
        level_db: level of each hop in decibels relative to full scale, as an array.
        bands_db: the same of each band, as an array of shape (hops, bands).
    """

    first_sample: int
    hop: int
    rate: float
    time: float | None
    level_db: np.ndarray
    bands_db: np.ndarray


@dataclass(frozen=True)
class Event:
    """Something that stood out.

    Attributes:
        start, end: samples of the stream from the first to behind the last one.
        seconds: its length.
        time: when it began, in seconds since 1970 UTC; None: unknown.
        level_db: the largest level of a hop.
        band: number of the band that stood out most.
        above_db: by how much.
    """

    start: int
    end: int
    seconds: float
    time: float | None
    level_db: float
    band: int
    above_db: float


@dataclass(frozen=True)
class Detection:
    """What the detector says about a block of sound.

    Attributes:
        events: those that have ended with it.
        keep_from: number of the first sample that a coming event may begin with, less `Limits.before_s`.
    """

    events: tuple[Event, ...]
    keep_from: int


@dataclass(frozen=True)
class Limits:
    """What counts as an event.

    Attributes:
        on_db, off_db: how far above its noise a band must be for an event to begin, and to continue.
        confirm: number of consecutive hops that it must be above `on_db`.
        hang_s: seconds below `off_db` that end an event.
        longest_s: an event that lasts longer ends, and what it was becomes the noise: rain has begun.
        warm_up_s: seconds at a stream's start in which the noise is only measured.
        up, down: shares by which the noise follows a hop that is louder, or less loud.
        before_s, after_s: seconds of sound that a clip has before and after its event; `after_s` is at most `hang_s`.
    """

    on_db: float = 10.0
    off_db: float = 6.0
    confirm: int = 2
    hang_s: float = 0.5
    longest_s: float = 15.0
    warm_up_s: float = 1.0
    up: float = 0.02
    down: float = 0.1
    before_s: float = 0.5
    after_s: float = 0.4


def decibels(power: np.ndarray) -> np.ndarray:
    """Return mean squares as decibels relative to full scale, from FLOOR_DB on."""
    return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))


def levels(samples: np.ndarray, hop: int, rate: float, bands: tuple[tuple[float, float], ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the level of each hop, and the level of each of its bands.

    Args:
        samples: floats with full scale at 1; a multiple of `hop` long.
        bands: lowest and highest frequency of each in Hz.
    """
    frames = samples.reshape(-1, hop)
    window = np.hanning(hop + 1)[:-1]
    spectra = np.abs(np.fft.rfft(frames * window)) ** 2 * 2 / (hop * np.sum(window**2))
    frequencies = np.fft.rfftfreq(hop, 1 / rate)
    powers = [spectra[:, (frequencies >= low) & (frequencies < high)].sum(axis=1) for low, high in bands]
    return decibels(np.mean(frames**2, axis=1)), decibels(np.stack(powers, axis=1))


@dataclass
class Detector:
    """Follows the noise of each band, and finds what stands out from it. Its state is a few numbers."""

    limits: Limits = field(default_factory=Limits)
    position: int = -1  # number of the sample that must come next; -1: a stream begins
    _noise: np.ndarray | None = None
    _measured: int = 0  # hops of the stream's start that the noise is made of
    _loud: int = 0  # consecutive hops above on_db
    _start: int = -1  # sample with which the present event began; -1: there is none
    _time: float | None = None
    _last: int = 0  # sample behind its last loud hop
    _best: tuple[float, int, float] = (0.0, 0, 0.0)  # its above_db, band and level_db

    def add(self, features: Features, *, last: bool = False) -> Detection:
        """Take the levels of the next block; `last` ends an event that has not ended."""
        events = []
        if features.first_sample != self.position:  # sound was lost: noise and events begin anew
            events += self._end(features.rate)
            self._noise, self._measured, self._loud = None, 0, 0
        hop = features.hop
        for number, bands in enumerate(features.bands_db):
            sample = features.first_sample + number * hop
            time = None if features.time is None else features.time + number * hop / features.rate
            events += self._add_hop(sample, time, float(features.level_db[number]), bands, hop, features.rate)
        self.position = features.first_sample + len(features.bands_db) * hop
        if last:
            events += self._end(features.rate)
        begun = self._start if self._start >= 0 else self.position - self._loud * hop
        return Detection(tuple(events), begun - round(self.limits.before_s * features.rate))

    def _add_hop(self, sample: int, time: float | None, level_db: float, bands: np.ndarray, hop: int, rate: float) -> list[Event]:
        limits = self.limits
        if self._noise is None:
            if level_db <= FLOOR_DB:
                return []
            self._noise = bands.astype(float)
        silent = level_db <= FLOOR_DB  # lost sound was replaced by zeros: neither loud, nor what the noise is like
        above = np.zeros(len(bands)) if silent else bands - self._noise
        band = int(np.argmax(above))
        most = float(above[band])
        if self._measured * hop < limits.warm_up_s * rate:
            self._measured += not silent
            self._noise = self._noise + above / max(1, self._measured)
            return []
        if self._start < 0:
            self._loud = self._loud + 1 if most >= limits.on_db else 0
            if self._loud == 1:
                self._time, self._best = time, (most, band, level_db)
            elif self._loud:
                self._best = self._better(most, band, level_db)
            if self._loud < limits.confirm:
                if not self._loud:
                    self._noise = self._noise + np.where(above > 0, limits.up, limits.down) * above
                return []
            self._start, self._loud = sample - (limits.confirm - 1) * hop, 0
            self._last = sample + hop
            return []
        if most >= limits.off_db:
            self._last = sample + hop
            self._best = self._better(most, band, level_db)
        if sample + hop - self._start >= limits.longest_s * rate:
            self._noise = bands.astype(float)
            return self._end(rate)
        return self._end(rate) if sample + hop - self._last >= limits.hang_s * rate else []

    def _better(self, most: float, band: int, level_db: float) -> tuple[float, int, float]:
        above, before, level = self._best
        return (most, band, max(level, level_db)) if most > above else (above, before, max(level, level_db))

    def _end(self, rate: float) -> list[Event]:
        """Return the present event, if there is one, and forget it."""
        if self._start < 0:
            return []
        above, band, level_db = self._best
        found = Event(self._start, self._last, (self._last - self._start) / rate, self._time, level_db, band, above)
        self._start = -1
        return [found]
