"""Blocks of sound: samples, and when they were taken."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any, ClassVar

from fission.errors import ValueFitError, value_text

#: Types of a sample. Integers have the full range of their type, uint8 is centred on 128; floats are full scale at 1.0.
DTYPES = ("uint8", "int16", "int32", "float32", "float64")
#: Largest MAX_GAP_S of a job. Arbitrary: 30 years, small enough for all that is computed with it.
MOST_GAP_S = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class AudioBlock:
    """Consecutive frames of one stream of sound. A frame has one sample of each channel.

    Attributes:
        samples: array of shape (frames,) or (frames, channels); it may have no frames. Its dtype is
            uint8, int16 or int32, which use their full range (uint8 is centred on 128), or float32
            or float64, where 1.0 is full scale.
        rate: frames per second, above 0.
        first_sample: number of the first frame in its stream, counted from 0 at the stream's start.
            Frames that were lost have numbers too, so a jump is a gap.
        time: when the first frame was taken: seconds since 1970-01-01 UTC, by the clock of the node
            that took it. None: unknown.

    Raises:
        ValueFitError: a field is invalid; the message names it.
    """

    samples: Any
    rate: float
    first_sample: int = 0
    time: float | None = None
    #: Whether `time` is the time of a block that a source sends, for FISSION.
    TIMES_ITS_BLOCK: ClassVar[bool] = True

    def __post_init__(self) -> None:
        import numpy

        if not isinstance(self.samples, numpy.ndarray):
            raise ValueFitError(f"AudioBlock: samples must be a numpy array, but is {type(self.samples).__name__}")
        if self.samples.dtype.name not in DTYPES:
            raise ValueFitError(f"AudioBlock: the dtype of samples must be one of {', '.join(DTYPES)}, but is {self.samples.dtype}")
        if self.samples.ndim not in (1, 2) or 0 in self.samples.shape[1:]:
            raise ValueFitError(f"AudioBlock: samples must have the shape (frames,) or (frames, channels), but has {self.samples.shape}")
        object.__setattr__(self, "rate", checked_rate("AudioBlock: rate", self.rate))
        try:
            if isinstance(self.first_sample, bool):
                raise TypeError
            object.__setattr__(self, "first_sample", operator.index(self.first_sample))
        except TypeError:
            raise ValueFitError(f"AudioBlock: first_sample must be an int, but is {value_text(self.first_sample)}") from None
        if self.time is not None:
            object.__setattr__(self, "time", _number("AudioBlock: time must be a number of seconds, or None", self.time))

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.samples.shape[0])

    @property
    def channels(self) -> int:
        """Number of samples in a frame."""
        return int(self.samples.shape[1]) if self.samples.ndim == 2 else 1

    @property
    def end(self) -> int:
        """Number of the frame after the last one: `first_sample` of the block that follows."""
        return self.first_sample + self.frames


def checked_rate(what: str, rate: Any) -> int | float:
    """Return a rate in frames per second; an int if it is whole.

    Args:
        what: name of the value in messages.
        rate: any value.

    Raises:
        ValueFitError: it is not a finite number above 0.
    """
    number = _number(f"{what} must be a number of frames per second above 0", rate)
    if number <= 0:
        raise ValueFitError(f"{what} must be a number of frames per second above 0, but is {value_text(rate)}")
    return int(number) if number == int(number) else number


def max_gap_faults(job: Any) -> list[str]:
    """Return what is wrong with the MAX_GAP_S of a job."""
    seconds = job.MAX_GAP_S
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 <= seconds <= MOST_GAP_S:
        return []
    return [f"MAX_GAP_S must be a number of seconds from 0 to {MOST_GAP_S:.0e}, but is {value_text(seconds)}"]


def _number(wanted: str, value: Any) -> float:
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueFitError(f"{wanted}, but is {value_text(value)}")
    return number


def as_floats(samples: Any) -> Any:
    """Return samples as floats with full scale at 1.0: float64 from int32 and float64, float32 from all others.

    The conversion is exact: integers are divided by 2 to the power of their bits minus 1.

    Args:
        samples: array with a dtype of `DTYPES`.

    Raises:
        ValueFitError: the dtype is another one.
    """
    name = samples.dtype.name
    if name not in DTYPES:
        raise ValueFitError(f"the dtype of samples must be one of {', '.join(DTYPES)}, but is {samples.dtype}")
    if name == "uint8":
        return (samples.astype("float32") - 128) / 128
    if name in ("int16", "int32"):
        return samples.astype("float32" if name == "int16" else "float64") / 2.0 ** (8 * samples.dtype.itemsize - 1)
    return samples.astype(name, copy=False)
