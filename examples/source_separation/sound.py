"""What travels on the network's pipes: numbered blocks of sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# The readers play the recordings several times. In each round one job learns what it needs of the whole recording; from the next
# round on it applies that. So a transform of the whole recording is exact, although no job ever holds more than one block.
LEARN_COVARIANCE = 1  # CovarianceJob; its output is the microphones' sound, unchanged
LEARN_FOURTH_ORDER = 2  # FourthOrderJob; WhiteningJob whitens from here on
LEARN_CUMULANTS = 3  # RefinementJob; FourthOrderJob separates from here on
LEARN_PEAKS = 4  # LevelJob; RefinementJob refines from here on
FINAL = 5  # the separated voices, at their final level
ROUNDS = FINAL


@dataclass(frozen=True)
class SoundBlock:
    """One block of sound and its place in the recording.

    Args:
        round: which playing of the recording this is, 1 to `ROUNDS`.
        number: the block's number within the round, from 1.
        count: how many blocks a round has.
        start: index in the recording of the block's first sample, from 0.
        rate: samples a second.
        samples: shape (samples,) for one channel, (channels, samples) for several; 1.0 is full scale in the first and last round.
        covariance: of the microphones over the whole recording, shape (2, 2); None before it is known and where no job needs it.
        weighted: `samples`, each column multiplied by its norm; None where no job needs it.
    """

    round: int
    number: int
    count: int
    start: int
    rate: int
    samples: np.ndarray
    covariance: np.ndarray | None = None
    weighted: np.ndarray | None = None

    @property
    def ends_recording(self) -> bool:
        """Whether no block follows in any round."""
        return self.round == ROUNDS and self.number == self.count
