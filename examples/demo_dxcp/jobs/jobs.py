"""The jobs of demo_dxcp: thin shells around dxcp.py."""

from __future__ import annotations

import math
import time

import numpy as np
from fission.connectors.audio import AudioBlock, WavSourceJob
from fission.core.jobs import PythonJob
from fission.errors import DefinitionError

from demo_dxcp import dxcp, resampling

FRAME = 2**11  # samples in a block
MAX_GAP = dxcp.RATE  # samples, a second: longer gaps begin a new stream


class RecordingJob(WavSourceJob):
    """A microphone that was recorded: sends its file, which is brought to the job's node.

    Args:
        path: of the file.
        block: samples in a block.
        speed: how many times as fast as a microphone would; None: as fast as the blocks are accepted.
    """

    DEPENDENCIES = "demo_dxcp/recordings"

    def __init__(self, path, block, speed: float | None = None, **kwargs):
        super().__init__(path, block, **kwargs)
        if speed is not None and (isinstance(speed, bool) or not isinstance(speed, (int, float)) or not speed > 0):
            raise DefinitionError(f"speed must be None or a number above 0, but is {speed!r}")
        self.speed = speed

    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.due = time.monotonic()  # when the next block must be sent

    def run(self):
        if self.speed is not None:
            now = time.monotonic()
            self.due = max(self.due + self.block / dxcp.RATE / self.speed, now)
            time.sleep(self.due - now)
        return super().run()


class SynchroniserJob(PythonJob):
    """Estimates the offsets of the second input to the first one, and resamples it to the first one's rate.

    The loop from the estimate back to the resampler is inside of this job: its state is one checkpoint, so that a new incarnation
    computes the same numbers. Two pipes in a circle could not promise that.

    Inputs: FRAME samples and more at a time of each microphone, mono, as `AudioBlock` objects with `dxcp.RATE`.
    Outputs: the columns of the CSV file, see `dxcp.Estimate`; then, if there is a fifth one, the second microphone's sound at the first
    one's rate, as `AudioBlock` objects.

    Args:
        truth: the offsets in ppm and in milliseconds, to print them beside the estimates at the end; None: they are not known.
    """

    CHECKPOINT = 25  # compute blocks, 6.4 s of sound
    DEPENDENCIES = [dxcp, resampling]

    def __init__(self, truth: tuple[float, float] | None = None, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.truth = truth

    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.begin()

    def begin(self):
        """Forget everything: what comes next are the first samples."""
        self.synchroniser = dxcp.Synchroniser()
        self.expected: list[int | None] = [None, None]  # next sample's number of each input
        self.given = 0

    def run(self, first, second):
        pieces = self.continued(first, second)
        sound = self.synchroniser.add(*pieces)
        estimate = self.synchroniser.estimate
        block = AudioBlock(sound.astype(np.float32), dxcp.RATE, self.given)
        self.given += len(sound)
        # Fewer digits than the arithmetic has, and more than the method: processors of different kinds differ in the last ones.
        row = (
            round(estimate.seconds, 3),
            round(estimate.rate_offset_ppm, 4),
            round(estimate.time_offset_ms, 5),
            round(estimate.residual_ppm, 4),
        )
        return (*row, block)[: len(self.outputs)]

    def continued(self, *inputs):
        """Return the samples of each input, with silence where some were lost; after a long gap, begin anew.

        Microphones that number their samples by the time of day begin at different ones: the later one begins with silence.
        """
        gaps = [blocks[0].first_sample - expected for blocks, expected in zip(inputs, self.expected, strict=True) if expected is not None]
        if any(not 0 <= gap <= MAX_GAP for gap in gaps):
            print(f"samples were lost ({max(gaps, key=abs)} of at most {MAX_GAP}): the estimation starts anew")
            self.begin()
        begins = [blocks[0].first_sample for blocks in inputs]
        if self.expected == [None, None] and max(begins) - min(begins) <= MAX_GAP:
            self.expected = [min(begins)] * 2
        pieces = []
        for number, blocks in enumerate(inputs):
            parts = []
            expected = self.expected[number]
            for block in blocks:
                if block.rate != dxcp.RATE or block.samples.ndim != 1:
                    raise DefinitionError(
                        f"microphone {number + 1} must give mono sound of {dxcp.RATE} samples a second; "
                        f"it gives {block.channels} channels of {block.rate:g}"
                    )
                if expected is not None:
                    parts.append(np.zeros(min(max(0, block.first_sample - expected), MAX_GAP)))
                parts.append(as_floats(block.samples))
                expected = block.end
            self.expected[number] = expected
            pieces.append(np.concatenate(parts))
        return pieces

    def teardown(self):
        estimate = self.synchroniser.estimate
        results = ((estimate.rate_offset_ppm, "ppm"), (estimate.time_offset_ms, "ms"))
        for number, (value, unit) in enumerate(results):
            if math.isnan(value):
                print("no estimate: it takes 6 to 10 seconds of sound that both microphones hear")
                break
            true = "" if self.truth is None else f", true {self.truth[number]:.3f} {unit}"
            print(f"estimated {value:.3f} {unit}{true}")
        super().teardown()


def as_floats(samples: np.ndarray) -> np.ndarray:
    """Return samples as float64, where full scale is 1.0."""
    if samples.dtype == np.uint8:
        return (samples - 128.0) / 128
    scale = 2.0 ** (8 * samples.itemsize - 1) if samples.dtype.kind == "i" else 1.0
    return samples / scale if scale != 1 else samples.astype(float)
