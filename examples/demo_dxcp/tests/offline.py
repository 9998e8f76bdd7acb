"""The reference: both offsets by plain correlation of the whole recordings. Offline, without phase transform, loop or resampler."""

from __future__ import annotations

import numpy as np
from scipy import signal

PIECE = 4000  # samples of the first recording that are looked for in the second: a quarter of a second


def offsets(first: np.ndarray, second: np.ndarray, rate: float) -> tuple[float, float]:
    """Return the rate offset in ppm and the time offset in milliseconds.

    Each piece of the first recording is found in the second one, where their correlation is largest; a line is fitted to the places.
    If the second recording starts t seconds later and has a rate of r (1 + x), its sample n was taken at t + n / (r (1 + x)), so
    the first one's sample m is the second one's (1 + x) (m - t r): the line's slope is 1 + x.
    """
    reach = 5000
    places, found, weights = [], [], []
    for start in range(reach, len(first) - PIECE - reach, PIECE):
        piece = first[start : start + PIECE]
        around = second[start - reach : start + PIECE + reach]
        correlation = signal.correlate(around, piece, mode="valid")
        best = int(np.argmax(correlation))
        if not 0 < best < len(correlation) - 1:
            continue
        before, here, after = correlation[best - 1 : best + 2]
        places.append(start + PIECE / 2)
        found.append(start - reach + best + (before - after) / (2 * (before - 2 * here + after)) + PIECE / 2)
        weights.append(here / np.sqrt(np.sum(piece**2) * np.sum(around[best : best + PIECE] ** 2)))
    places, found, weights = np.array(places), np.array(found), np.array(weights)
    keep = weights > 0.5
    for _ in range(5):  # without the pieces that were found in a wrong place
        slope, zero = np.polyfit(places[keep], found[keep], 1)
        errors = np.abs(found - slope * places - zero)
        keep = (weights > 0.5) & (errors < max(1.0, 3 * np.median(errors[keep])))
    return (slope - 1) * 1e6, -zero / slope / rate * 1000
