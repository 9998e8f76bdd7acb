"""Base of jobs whose results do not depend on the borders of blocks."""

from __future__ import annotations

import sys
from abc import abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fission.core.audio_block import AudioBlock, as_floats, max_gap_faults
from fission.core.head import FINISHED
from fission.core.python_job import PythonJob
from fission.errors import ValueFitError, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fission.connectors.audio.processors import StreamProcessor
    from fission.core.base_pipe import BasePipe


class StreamJob(PythonJob):
    """Sends one block for each that it gets: the results that have become complete, which may be none.

    The last block, which a source marks by `finish`, completes all others: frames after the end count
    as zeros. If a source ends without that mark, they are not sent.

    A gap in the sound (`first_sample` is higher than expected) is filled with zeros, up to MAX_GAP_S.
    After a longer gap, or if `first_sample` is lower than expected, a new stream begins; results that
    are not complete are dropped. Both are counted and reported on standard error.

    Plain arrays are frames of one stream from 0 on; plain arrays are sent for them.

    Class attributes, for subclasses to override:
        MAX_GAP_S: longest gap in seconds that is filled. 1 is arbitrary: longer than a failover.

    Attributes:
        gaps: number of gaps that were filled.
        jumps: number of times that a new stream began.
    """

    HEAD = True  # to see that a block is the last
    CHECKPOINT = timedelta(seconds=1)
    MAX_GAP_S: float = 1.0

    def __init__(
        self, inputs: Sequence[BasePipe] | None = None, outputs: Sequence[BasePipe] | None = None, *, name: str | None = None
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        self.gaps = self.jumps = 0
        self.processor: StreamProcessor | None = None
        self.stream_format: tuple[float, int, bool] | None = None  # rate, channels, whether blocks are plain arrays

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        if len(self.inputs) != 1 or self.inputs[0].BLOCK_COUNT != 1:
            faults.append(f"it must have one input with BLOCK_COUNT 1, but has {len(self.inputs)}{block_counts(self.inputs)}")
        return faults + max_gap_faults(self)

    @abstractmethod
    def _fission_processor(self, rate: float) -> StreamProcessor:
        """Return the computation for a stream of this rate."""

    def _fission_plain_rate(self) -> float:
        """Return the rate of plain arrays."""
        return 1.0

    def _fission_push(self, block: Any) -> tuple[int, Any, AudioBlock, bool]:
        """Take a block; return the number of the first result, the results as float64, the block, and whether it was a plain array.

        Results of sound of shape (frames,) have no axis for channels.

        Raises:
            ValueFitError: the block is not sound, or its format is another one than that of earlier blocks.
        """
        plain = not isinstance(block, AudioBlock)
        rate = self._fission_plain_rate() if hasattr(block, "ndim") else 1.0
        sound = as_block(self._fission_name, block, rate, 0 if self.processor is None else self.processor.end)
        found = (sound.rate, sound.channels, plain)
        if self.processor is None:
            self.stream_format = found
            self.processor = self._fission_processor(sound.rate)
            self.processor.start(sound.first_sample)
        elif found != self.stream_format:
            raise ValueFitError(f"{self._fission_name}: all blocks must have {_words(self.stream_format)}, but one has {_words(found)}")
        samples = as_floats(sound.samples).astype("float64").reshape(sound.frames, sound.channels)
        samples = self._fission_joined(self.processor, sound, samples)
        last = self.head is not None and bool(self.head[FINISHED])
        number, results = self.processor.push(samples, last=last)
        return number, results if sound.samples.ndim == 2 else results[..., 0], sound, plain

    def _fission_joined(self, processor: StreamProcessor, sound: AudioBlock, samples: Any) -> Any:
        """Return the samples with zeros for a gap before them; begin a new stream if that is too long."""
        import numpy

        missing = sound.first_sample - processor.end
        if 0 < missing <= self.MAX_GAP_S * sound.rate:
            self.gaps += 1
            report(self._fission_name, self.gaps, f"gap of {missing} frames before frame {sound.first_sample} filled with zeros")
            return numpy.concatenate([numpy.zeros((missing, sound.channels)), samples])
        if missing:
            self.jumps += 1
            text = f"a block begins with frame {sound.first_sample} instead of {processor.end}; a new stream begins"
            report(self._fission_name, self.jumps, text)
            processor.start(sound.first_sample)
        return samples


def report(job: str, count: int, text: str) -> None:
    """Write a line about something that may happen often: for the 1st, 2nd, 4th, 8th... time."""
    if count & (count - 1) == 0:
        sys.stderr.write(f"{job}: {text}{f' (number {count})' if count > 1 else ''}\n")


def as_block(job: str, block: Any, rate: float, first_sample: int) -> AudioBlock:
    """Return a block of sound; a plain array becomes one.

    Raises:
        ValueFitError: it is neither.
    """
    if isinstance(block, AudioBlock):
        return block
    if not hasattr(block, "ndim"):
        raise ValueFitError(f"{job}: blocks must be AudioBlock objects or numpy arrays, but one is {value_text(block)}")
    try:
        return AudioBlock(block, rate, first_sample)
    except ValueFitError as why:
        raise ValueFitError(f"{job}: {str(why).removeprefix('AudioBlock: ')}") from None


def result_dtype(sound: AudioBlock) -> str:
    """Return the dtype of floats that are computed from sound."""
    return "float64" if sound.samples.dtype.name in ("int32", "float64") else "float32"


def _words(found: tuple[float, int, bool] | None) -> str:
    rate, channels, plain = found or (0, 0, False)
    return f"{channels} channels in plain arrays" if plain else f"{channels} channels at {rate} frames per second"


def block_counts(inputs: Sequence[BasePipe]) -> str:
    """Return the BLOCK_COUNT of a single input, as the end of a message."""
    return f" with BLOCK_COUNT {inputs[0].BLOCK_COUNT}" if len(inputs) == 1 else ""
