"""Jobs that take channels apart and put them together."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fission.connectors.audio.stream_job import as_block, report
from fission.core.audio_block import AudioBlock, as_floats, max_gap_faults
from fission.core.head import FINISHED
from fission.core.python_job import PythonJob
from fission.errors import ValueFitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fission.core.base_pipe import BasePipe


class SplitChannelsJob(PythonJob):
    """Sends each channel to an output of its own, in order, as samples of shape (frames,).

    Blocks are `AudioBlock` objects or arrays, and so are the results. `rate`, `first_sample` and `time`
    are kept.

    Args:
        inputs: one pipe.
        outputs: one pipe for each channel.
    """

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        if len(self.inputs) != 1 or self.inputs[0].BLOCK_COUNT != 1:
            faults.append("it must have one input with BLOCK_COUNT 1")
        return faults

    def run(self, block: Any) -> tuple[Any, ...]:
        import numpy

        sound = as_block(self._fission_name, block, 1.0, 0)
        if sound.channels != len(self.outputs):
            raise ValueFitError(
                f"{self._fission_name}: it must have one output for each channel, but has {len(self.outputs)} outputs for "
                f"{sound.channels} channels"
            )
        frames = sound.samples.reshape(sound.frames, sound.channels)
        parts = [numpy.ascontiguousarray(frames[:, channel]) for channel in range(sound.channels)]
        if block is not sound:
            return tuple(parts)
        return tuple(AudioBlock(part, sound.rate, sound.first_sample, sound.time) for part in parts)


class MergeChannelsJob(PythonJob):
    """Puts the channels of all inputs into one block, in the order of the inputs.

    Frames are matched by `first_sample`, plain arrays by counting: blocks of different lengths are
    allowed, and what has no counterpart yet waits. Where one input has no frames (it begins later, has a
    gap of up to MAX_GAP_S, or ends earlier) its channels are zeros. If an input jumps further or back, all
    begin anew. Samples keep their dtype if all have the same one, and become floats otherwise. `time` is
    the earliest one.

    Class attributes, for subclasses to override:
        MAX_GAP_S: longest difference in seconds that is filled with zeros. 1 is arbitrary: longer than a
            failover.

    Args:
        inputs: at least one pipe. All must have the same rate.
        outputs: as for every job.

    Attributes:
        gaps: number of gaps that were filled.
        jumps: number of times that all inputs began anew.
    """

    HEAD = True  # to see that a block is the last
    CHECKPOINT = timedelta(seconds=1)
    MAX_GAP_S: float = 1.0

    def __init__(self, inputs: Sequence[BasePipe] | None = None, outputs: Sequence[BasePipe] | None = None) -> None:
        super().__init__(inputs=inputs, outputs=outputs)
        self.gaps = self.jumps = 0
        self.first: int | None = None  # number of the next frame that is sent; None before the first block
        self.held: list[Any] = []  # for each input the samples from that frame on

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        if not self.inputs or any(pipe.BLOCK_COUNT != 1 for pipe in self.inputs):
            faults.append("it must have inputs, each with BLOCK_COUNT 1")
        return faults + max_gap_faults(self)

    def run(self, *blocks: Any) -> Any:
        import numpy

        sounds = [self._fission_sound(place, block) for place, block in enumerate(blocks)]
        rate = sounds[0].rate
        if any(sound.rate != rate for sound in sounds):
            rates = ", ".join(str(sound.rate) for sound in sounds)
            raise ValueFitError(
                f"{self._fission_name}: all inputs must have the same rate, but they have {rates} frames per second; resample"
            )
        parts = [sound.samples.reshape(sound.frames, sound.channels) for sound in sounds]
        if len({part.dtype.name for part in parts} | {held.dtype.name for held in self.held}) > 1:
            parts, self.held = [as_floats(part) for part in parts], [as_floats(held) for held in self.held]
        self._fission_take(sounds, parts)
        assert self.first is not None
        last = self.head is not None and bool(self.head[FINISHED])
        count = (max if last else min)(map(len, self.held))
        first, self.first = self.first, self.first + count
        samples = numpy.concatenate([_extended(held[:count], count, at_end=True) for held in self.held], axis=1)
        self.held = [held[count:].copy() for held in self.held]
        if not any(isinstance(block, AudioBlock) for block in blocks):
            return samples
        times = [sound.time + (first - sound.first_sample) / rate for sound in sounds if sound.time is not None]
        return AudioBlock(samples, rate, first, min(times, default=None))

    def _fission_sound(self, place: int, block: Any) -> AudioBlock:
        expected = 0 if self.first is None else self.first + len(self.held[place])
        return as_block(self._fission_name, block, 1.0, expected)

    def _fission_take(self, sounds: list[AudioBlock], parts: list[Any]) -> None:
        """Append the blocks to what is held."""
        import numpy

        most = self.MAX_GAP_S * sounds[0].rate
        if self.first is not None:
            missing = [sound.first_sample - self.first - len(held) for sound, held in zip(sounds, self.held, strict=True)]
            if all(0 <= frames <= most for frames in missing):
                for place, frames in enumerate(missing):
                    if frames:
                        self.gaps += 1
                        text = f"gap of {frames} frames in input {place + 1} before frame {sounds[place].first_sample} filled with zeros"
                        report(self._fission_name, self.gaps, text)
                self.held = [
                    numpy.concatenate([_extended(held, len(held) + frames, at_end=True), part])
                    for held, frames, part in zip(self.held, missing, parts, strict=True)
                ]
                return
            self.jumps += 1
            report(self._fission_name, self.jumps, f"input {_first_jump(missing, most) + 1} jumps; all inputs begin anew")
        firsts = [sound.first_sample for sound in sounds]
        if max(firsts) - min(firsts) > most:
            raise ValueFitError(
                f"{self._fission_name}: first_sample of the inputs must differ by at most {self.MAX_GAP_S:g} s, but is "
                f"{', '.join(map(str, firsts))}; they do not count the same frames"
            )
        self.first = min(firsts)
        self.held = [_extended(part, len(part) + first - self.first, at_end=False) for part, first in zip(parts, firsts, strict=True)]


def _first_jump(missing: list[int], most: float) -> int:
    return next(place for place, frames in enumerate(missing) if not 0 <= frames <= most)


def _extended(part: Any, frames: int, *, at_end: bool) -> Any:
    """Return samples with silence at the end or the start, so that there are so many frames."""
    import numpy

    lacking = frames - len(part)
    if lacking <= 0:
        return part
    silence = numpy.full((lacking, part.shape[1]), 128 if part.dtype.name == "uint8" else 0, part.dtype)
    return numpy.concatenate([part, silence] if at_end else [silence, part])
