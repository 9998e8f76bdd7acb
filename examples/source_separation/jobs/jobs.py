"""The jobs of source_separation: each a thin shell around a function of separation.py or wavfile.py.

The readers play the recordings in rounds (see sound.py); a job learns in its own round and applies in all that follow. What it has
learned is small and lies in its attributes: with CHECKPOINT it survives the loss of the job's node.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from fission.core.jobs import LocalJob, PythonJob
from fission.errors import DefinitionError

from source_separation import separation, sound, wavfile
from source_separation.sound import SoundBlock
from source_separation.wavfile import Recording

PEAK = 0.9  # of full scale, in each WAV file that is written; arbitrary, leaves room for players that resample


class SeparationJob(PythonJob):
    """What all jobs of this network share: the modules that must be where they run."""

    DEPENDENCIES = [separation, sound, wavfile]


class ReaderJob(SeparationJob):
    """One microphone: plays its recording block by block, `sound.ROUNDS` times.

    Args:
        recording: what the microphone has heard.
        samples_per_block: at least 1; a round's last block may be shorter.
        pace: blocks a second; None: as fast as they go.

    Raises:
        DefinitionError: `samples_per_block` is not an integer of at least 1, or `pace` is neither None nor a number above 0.
    """

    CHECKPOINT = 50

    def __init__(self, recording: Recording, samples_per_block: int, pace: float | None = None, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if isinstance(samples_per_block, bool) or not isinstance(samples_per_block, int) or samples_per_block < 1:
            raise DefinitionError(f"samples_per_block must be an integer of at least 1, it is {samples_per_block!r}")
        if pace is not None and (isinstance(pace, bool) or not isinstance(pace, (int, float)) or not 0 < pace < math.inf):
            raise DefinitionError(f"pace must be None or a number of blocks a second above 0, it is {pace!r}")
        self.recording = recording
        self.samples_per_block = samples_per_block
        self.pace = pace

    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.position = 0  # blocks sent so far, over all rounds
        self.due = time.monotonic()  # when the next one must be sent

    # The recording never changes: a checkpoint needs the position only.
    def snapshot(self):
        return self.position

    def restore(self, state):
        self.position = state

    def wait(self):
        """Wait until the next block is due. Time lost to a slow consumer is not made up for."""
        if self.pace is not None:
            now = time.monotonic()
            self.due = max(self.due + 1 / self.pace, now)
            time.sleep(self.due - now)

    def run(self):
        self.wait()
        count = -(-len(self.recording) // self.samples_per_block)
        played, index = divmod(self.position, count)
        start = index * self.samples_per_block
        samples = self.recording.samples(start, self.samples_per_block)
        block = SoundBlock(played + 1, index + 1, count, start, self.recording.rate, samples)
        self.position += 1
        if block.ends_recording:
            self.finish()
        return block


class CovarianceJob(SeparationJob):
    """Cov1: joins the two microphones and learns their mean and covariance."""

    CHECKPOINT = 50

    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.moments = separation.SecondMoments(2)

    def run(self, first, second):
        samples = np.vstack([first.samples, second.samples])
        if first.round == sound.LEARN_COVARIANCE:
            self.moments.add(samples)
            return replace(first, samples=samples)
        return replace(first, samples=samples - self.moments.mean(), covariance=self.moments.covariance())


class WhiteningJob(SeparationJob):
    """Makes the two channels uncorrelated and equally strong, from the round on in which the covariance is known."""

    def run(self, block):
        if block.covariance is None:
            return block
        return replace(block, samples=separation.whitening_matrix(block.covariance) @ block.samples, covariance=None)


class NormJob(SeparationJob):
    """Adds to each sample its multiple by its norm, in the one round in which the next job learns from that."""

    def run(self, block):
        if block.round != sound.LEARN_FOURTH_ORDER:
            return block
        return replace(block, weighted=separation.norm_weighted(block.samples))


class FourthOrderJob(SeparationJob):
    """Cov2: the covariance of the norm-weighted sound is of fourth order; its eigenvectors separate the voices."""

    CHECKPOINT = 50

    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.moments = separation.SecondMoments(2)

    def run(self, block):
        if block.round < sound.LEARN_FOURTH_ORDER:
            return block
        if block.round == sound.LEARN_FOURTH_ORDER:
            self.moments.add(block.weighted)
            return replace(block, weighted=None)
        return replace(block, samples=separation.fourth_order_rotation(self.moments.covariance()) @ block.samples)


class RefinementJob(SeparationJob):
    """Turns the separated channels by the last few degrees, so that all their fourth-order cumulants are used."""

    CHECKPOINT = 50

    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.moments = separation.FourthMoments()

    def run(self, block):
        if block.round < sound.LEARN_CUMULANTS:
            return block
        if block.round == sound.LEARN_CUMULANTS:
            self.moments.add(block.samples)
            return block
        return replace(block, samples=separation.refining_rotation(self.moments.tensor()) @ block.samples)


class LevelJob(SeparationJob):
    """Brings each channel's peak to `PEAK` and hands out everything: a channel to each writer, both to the report, levels to the CSV.

    Outputs: channel 1, channel 2, both, then round, block number, level of channel 1 and of channel 2 in dB.
    """

    CHECKPOINT = 50

    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.peaks = np.zeros((2, 1))

    def run(self, block):
        if block.round == sound.LEARN_PEAKS:
            self.peaks = np.maximum(self.peaks, np.abs(block.samples).max(axis=1, keepdims=True))
        elif block.round == sound.FINAL:
            block = replace(block, samples=block.samples * (PEAK / self.peaks))
        first, second = block.samples
        levels = [round(separation.level_db(channel), 2) for channel in (first, second)]
        return (replace(block, samples=first), replace(block, samples=second), block, block.round, block.number, *levels)


class WriterJob(LocalJob, SeparationJob):
    """Writes the last round's sound to a WAV file in the job's own folder on the client.

    Args:
        path: of the file, relative to that folder.
    """

    def __init__(self, path, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.path = path

    def run(self, block):
        if block.round != sound.FINAL:
            return
        wavfile.write_block(Path(self.path), block.rate, block.start, block.samples)
        if block.ends_recording:
            length = (block.start + block.samples.size) / block.rate
            print(f"wrote {self.path}: {length:.2f} s, {block.rate} samples a second")


class ReportJob(LocalJob, SeparationJob):
    """Prints at the end how well the voices were separated.

    Args:
        voices: the two clean voices, to tell by how many dB; None to print the outputs' correlation and kurtosis instead.
    """

    CHECKPOINT = 50

    def __init__(self, voices: tuple[Recording, Recording] | None, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.voices = voices

    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        channels = 2 if self.voices is None else 4
        # By round: the first holds the microphones, the last but two what Cov2 alone has separated, the last the result.
        self.moments = {played: separation.SecondMoments(channels) for played in range(1, sound.ROUNDS + 1)}
        self.powers = {played: separation.PowerSums(2) for played in range(1, sound.ROUNDS + 1)}

    # The voices never change: a checkpoint needs the sums only.
    def snapshot(self):
        return self.moments, self.powers

    def restore(self, state):
        self.moments, self.powers = state

    def run(self, block):
        samples = block.samples
        self.powers[block.round].add(samples)
        if self.voices is not None:
            samples = np.vstack([samples, *(voice.samples(block.start, samples.shape[1]) for voice in self.voices)])
        self.moments[block.round].add(samples)
        if block.ends_recording:
            print("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """The report, when all blocks have come."""
        before, after = (self.moments[played].covariance() for played in (sound.LEARN_COVARIANCE, sound.FINAL))
        if self.voices is not None:
            return separation.report_with_voices([Path(voice.path).name for voice in self.voices], before, after, self.fourth_order_alone())
        kurtoses = [self.powers[played].kurtosis() for played in (sound.LEARN_COVARIANCE, sound.FINAL)]
        return separation.report_without_voices(before, after, *kurtoses)

    def fourth_order_alone(self) -> np.ndarray:
        """The covariance with the voices before RefinementJob's turn."""
        return self.moments[sound.LEARN_CUMULANTS].covariance()
