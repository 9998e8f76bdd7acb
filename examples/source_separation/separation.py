"""The mathematics of the separation: pure functions, and sums that grow block by block.

Two microphones hear two voices: ``x = A s`` with an unknown mixing matrix A. Whitening turns x into ``z`` with covariance 1; what is
left to find is a rotation. The second moments of z cannot tell it (they are 1 in every direction), the fourth moments can:

- J.-F. Cardoso, "Source separation using higher order moments", ICASSP 1989: the covariance of z, each sample weighted with its norm,
  has the voices' directions as eigenvectors, if the voices' kurtoses differ ("FOBI").
- J.-F. Cardoso and A. Souloumiac, "Blind beamforming for non-Gaussian signals", IEE Proceedings F 140(6), 1993: the rotation
  that makes all cumulant matrices together as diagonal as possible; kurtoses may be equal ("JADE").

Shapes are (channels, samples) everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

FLOOR_DB = -120.0  # below what 16 bits can tell (-98 dB); keeps silence and perfect separation finite


class SecondMoments:
    """Mean and covariance of a signal of which one block after the other is added."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.sums = np.zeros((channels, 1))
        self.products = np.zeros((channels, channels))

    def add(self, samples: np.ndarray) -> None:
        self.count += samples.shape[1]
        self.sums = self.sums + samples.sum(axis=1, keepdims=True)
        self.products = self.products + samples @ samples.T

    def mean(self) -> np.ndarray:
        """The mean of each channel as a column, shape (channels, 1)."""
        return self.sums / max(self.count, 1)

    def covariance(self) -> np.ndarray:
        """The covariance about the mean, shape (channels, channels)."""
        mean = self.mean()
        return self.products / max(self.count, 1) - mean @ mean.T


class FourthMoments:
    """All moments of fourth order, about zero, of two channels of which one block after the other is added."""

    def __init__(self) -> None:
        self.count = 0
        self.powers = np.zeros(5)  # of x^4, x^3 y, x^2 y^2, x y^3, y^4: the tensor is symmetric, 5 of its 16 entries differ

    def add(self, samples: np.ndarray) -> None:
        x, y = samples
        self.count += samples.shape[1]
        self.powers = self.powers + [np.sum(x ** (4 - k) * y**k) for k in range(5)]

    def tensor(self) -> np.ndarray:
        """E[z_i z_j z_k z_l], shape (2, 2, 2, 2)."""
        return (self.powers / max(self.count, 1))[np.indices((2, 2, 2, 2)).sum(axis=0)]


class PowerSums:
    """Kurtosis of each channel of a signal of which one block after the other is added."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.sums = np.zeros((4, channels))  # of the first to the fourth power

    def add(self, samples: np.ndarray) -> None:
        self.count += samples.shape[1]
        self.sums = self.sums + [np.sum(samples**power, axis=1) for power in (1, 2, 3, 4)]

    def kurtosis(self) -> np.ndarray:
        """E[(x - mean)^4] / variance^2: 3 for Gaussian noise, more for speech, nearer to 3 for a mixture; 3 where there is no variance."""
        m1, m2, m3, m4 = self.sums / max(self.count, 1)
        variance = m2 - m1**2
        fourth = m4 - 4 * m3 * m1 + 6 * m2 * m1**2 - 3 * m1**4
        there = variance > 0
        return np.where(there, fourth / np.where(there, variance, 1.0) ** 2, 3.0)


def whitening_matrix(covariance: np.ndarray) -> np.ndarray:
    """The matrix W for which ``W x`` has covariance 1.

    Of all whitening matrices it is the one whose outputs stay nearest to the channels, each brought to power 1. That makes it
    independent of the signs of eigenvectors, and a faint microphone as good as a loud one.

    Raises:
        ValueError: the channels are the same sound up to a factor, or one is silent.
    """
    scale = np.sqrt(np.maximum(np.diag(covariance), 0.0))  # rounding may leave a silent channel less than nothing
    if scale.all():
        powers, directions = np.linalg.eigh(covariance / np.outer(scale, scale))
        if powers[0] > 1e-9:
            return (directions / np.sqrt(powers)) @ directions.T / scale
    raise ValueError("the two microphones hear the same sound up to a factor, or one hears nothing: there is nothing to separate")


def norm_weighted(white: np.ndarray) -> np.ndarray:
    """Each sample (column) multiplied by its norm, so that a covariance of the result is of fourth order."""
    return white * np.linalg.norm(white, axis=0)


def fourth_order_rotation(weighted_covariance: np.ndarray) -> np.ndarray:
    """The rows are the voices' directions in the whitened signal: Cardoso 1989.

    The voice with the greater kurtosis comes first. Each direction's largest component is positive: an output is in phase with the
    microphone that it resembles most.
    """
    _, directions = np.linalg.eigh(weighted_covariance)
    rows = directions.T[::-1]  # eigh orders by growing eigenvalue, which is kurtosis + channels - 1
    largest = np.abs(rows).argmax(axis=1)
    return rows * np.sign(rows[np.arange(len(rows)), largest])[:, np.newaxis]


def refining_rotation(tensor: np.ndarray) -> np.ndarray:
    """The rotation by at most 45 degrees that best diagonalises all cumulant matrices of two white channels together.

    Args:
        tensor: their fourth moments as from `FourthMoments.tensor`.
    """
    one = np.eye(2)
    gaussian = np.einsum("ij,kl->ijkl", one, one) + np.einsum("ik,jl->ijkl", one, one) + np.einsum("il,jk->ijkl", one, one)
    matrices = (tensor - gaussian).reshape(4, 2, 2)
    # For two channels the joint diagonalisation has a closed form: one Jacobi rotation.
    unequal = matrices[:, 0, 0] - matrices[:, 1, 1]
    mixed = matrices[:, 0, 1] + matrices[:, 1, 0]
    on, off = unequal @ unequal - mixed @ mixed, 2 * (unequal @ mixed)
    angle = 0.5 * np.arctan2(off, on + np.hypot(on, off))
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def decibel(power: float) -> float:
    """10 log10 of a power, from `FLOOR_DB` to -`FLOOR_DB`."""
    return float(np.clip(10.0 * np.log10(max(power, 1e-300)), FLOOR_DB, -FLOOR_DB))


def level_db(samples: np.ndarray) -> float:
    """The level of one channel in dB; 0 dB is the power of a signal that is at full scale all the time."""
    return decibel(float(np.mean(samples**2)) if samples.size else 0.0)


@dataclass(frozen=True)
class Separation:
    """How well one voice was separated.

    Args:
        output: the output that carries it, from 0.
        before_db: its power over the other voice's in the microphone where it is best heard, in dB.
        after_db: the same in its output.
    """

    output: int
    before_db: float
    after_db: float

    @property
    def improvement_db(self) -> float:
        return self.after_db - self.before_db


def voice_powers(covariance: np.ndarray) -> np.ndarray:
    """How much power each of two clean voices has in each of two channels, by least squares.

    Args:
        covariance: of (channel 1, channel 2, voice 1, voice 2), shape (4, 4).

    Returns:
        Shape (2 channels, 2 voices).
    """
    shares = np.linalg.solve(covariance[2:, 2:], covariance[2:, :2]).T
    return shares**2 * np.diag(covariance)[2:]


def explained(covariance: np.ndarray) -> float:
    """The part of two channels' power that two clean voices explain, 0 to 1; the argument as in `voice_powers`."""
    shares = np.linalg.solve(covariance[2:, 2:], covariance[2:, :2]).T
    power = np.trace(covariance[:2, :2])
    return float(np.trace(shares @ covariance[2:, :2]) / power) if power > 0 else 0.0


def measure(before: np.ndarray, after: np.ndarray) -> tuple[Separation, Separation]:
    """How well two voices were separated.

    Args:
        before: covariance of (microphone 1, microphone 2, voice 1, voice 2), shape (4, 4).
        after: covariance of (output 1, output 2, voice 1, voice 2).

    Returns:
        One entry a voice. Which output carries which voice is chosen so that the two ratios' sum is greatest.
    """

    def ratios(powers: np.ndarray) -> np.ndarray:
        return np.array([[decibel(row[v] / max(row[1 - v], 1e-300)) for v in (0, 1)] for row in powers])

    heard, separated = ratios(voice_powers(before)), ratios(voice_powers(after))
    outputs = max(permutations((0, 1)), key=lambda order: separated[order[0], 0] + separated[order[1], 1])
    first, second = (Separation(outputs[v], float(heard[:, v].max()), float(separated[outputs[v], v])) for v in (0, 1))
    return first, second


def report_with_voices(names: list[str], before: np.ndarray, after: np.ndarray, fourth_order_alone: np.ndarray) -> list[str]:
    """The lines to print where the clean voices are known.

    Args:
        names: of the two voices.
        before: covariance of (microphone 1, microphone 2, voice 1, voice 2).
        after: the same of the outputs.
        fourth_order_alone: the same of what the fourth-order covariance alone had separated.
    """
    lines = []
    for name, plain, result in zip(names, measure(before, fourth_order_alone), measure(before, after), strict=True):
        lines += [
            f"{name}: separated by {result.improvement_db:.1f} dB (in output {result.output + 1}: {result.after_db:+.1f} dB)",
            f"  better microphone: {result.before_db:+.1f} dB; FourthOrderJob alone: by {plain.improvement_db:.1f} dB",
        ]
    share = explained(before)
    if share < 0.5:
        lines.append(f"the clean voices make up only {share:.0%} of the recordings: are they the voices of these recordings?")
    return lines


def report_without_voices(before: np.ndarray, after: np.ndarray, kurtosis_before: np.ndarray, kurtosis_after: np.ndarray) -> list[str]:
    """The lines to print where the clean voices are not known; arguments: covariances of two channels, and their kurtoses."""

    def correlation(covariance: np.ndarray) -> float:
        variances = np.diag(covariance)
        return float(covariance[0, 1] / np.sqrt(variances[0] * variances[1])) + 0.0 if variances.all() else 0.0

    def line(name: str, covariance: np.ndarray, kurtosis: np.ndarray) -> str:
        # A tiny negative number would print as -0.000.
        return f"{name}: correlation {round(correlation(covariance), 3) + 0.0:.3f}, kurtosis {kurtosis[0]:.2f} and {kurtosis[1]:.2f}"

    return [
        line("microphones", before, kurtosis_before),
        line("outputs", after, kurtosis_after),
        "separated voices are uncorrelated and have a kurtosis farther from 3 than their mixtures",
    ]
