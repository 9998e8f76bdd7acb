"""Two live microphones in the place of the readers."""

from __future__ import annotations

import numpy as np
from fission.connectors.audio import MicrophoneJob
from fission.errors import DefinitionError

from source_separation import sound
from source_separation.sound import SoundBlock


class LiveReaderJob(MicrophoneJob):
    """Sends what two microphones hear, as the first round, and then what they have heard in all further rounds.

    Args:
        blocks: how many blocks it listens to, at least 1.
        samples_per_block: at least 1.
        rate: samples a second.
        device: with two channels, one for each microphone; None: the default one.

    Raises:
        DefinitionError: `blocks` is not an integer of at least 1.
    """

    CHECKPOINT = 10
    DEPENDENCIES = [sound]

    def __init__(self, blocks: int, samples_per_block: int, rate: int, device: str | int | None = None, *args, **kwargs):
        super().__init__(device, rate, 2, samples_per_block, *args, **kwargs)
        if isinstance(blocks, bool) or not isinstance(blocks, int) or blocks < 1:
            raise DefinitionError(f"blocks must be an integer of at least 1, it is {blocks!r}")
        self.blocks = blocks

    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.heard: list[np.ndarray] = []  # shape (samples, 2), one array a block
        self.position = 0  # blocks sent so far, over all rounds

    def snapshot(self):
        return self.heard, self.position, super().snapshot()

    def restore(self, state):
        self.heard, self.position, recording = state
        super().restore(recording)

    def run(self):
        if self.position < self.blocks:
            self.heard.append(super().run().samples)
        played, index = divmod(self.position, self.blocks)
        samples = self.heard[index] / 32768.0
        blocks = [
            SoundBlock(played + 1, index + 1, self.blocks, index * self.block, self.rate, np.ascontiguousarray(samples[:, channel]))
            for channel in (0, 1)
        ]
        self.position += 1
        if blocks[0].ends_recording:
            self.finish()
        return tuple(blocks)
