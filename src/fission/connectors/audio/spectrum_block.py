"""Blocks of spectra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fission.core.audio_block import checked_rate
from fission.errors import ValueFitError


@dataclass(frozen=True, slots=True, eq=False)
class SpectrumBlock:
    """Consecutive spectra of one stream of sound, from a `StftJob`.

    Slice number p has the spectrum of `size` frames, the middle one of which (``size // 2``) is frame
    ``p * hop`` of the sound.

    Attributes:
        spectra: complex array of shape (slices, bins) or (slices, bins, channels), with
            ``size // 2 + 1`` bins from 0 Hz to half the rate; it may have no slices.
        rate: frames per second of the sound.
        size: frames in a slice.
        hop: frames from one slice to the next.
        first_slice: number of the first slice; below 0 for slices that begin before the sound.
        time: when the middle frame of the first slice was taken; as in `AudioBlock`.

    Raises:
        ValueFitError: a field is invalid; the message names it.
    """

    spectra: Any
    rate: float
    size: int
    hop: int
    first_slice: int = 0
    time: float | None = None

    def __post_init__(self) -> None:
        bins = self.size // 2 + 1
        if getattr(self.spectra, "ndim", 0) not in (2, 3) or self.spectra.shape[1] != bins:
            shape = getattr(self.spectra, "shape", type(self.spectra).__name__)
            raise ValueFitError(
                f"SpectrumBlock: spectra must have the shape (slices, {bins}) or (slices, {bins}, channels), but is {shape}"
            )
        object.__setattr__(self, "rate", checked_rate("SpectrumBlock: rate", self.rate))

    @property
    def slices(self) -> int:
        """Number of slices."""
        return int(self.spectra.shape[0])

    @property
    def frequencies(self) -> Any:
        """Array of the bins' frequencies in Hz."""
        import numpy

        return numpy.arange(self.size // 2 + 1) * (self.rate / self.size)
