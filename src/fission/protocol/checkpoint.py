"""When a job with CHECKPOINT takes a snapshot, and what it may release.

A snapshot after compute block c is *stored* when the client has confirmed it, and *stable* when besides all outputs up to c are
released. Inputs are released only up to the last stable snapshot: a new life can begin behind it. A snapshot is taken at the
latest when half of an input window is in use, so that a small window cannot stop the flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta


class Checkpoints:
    """The snapshots of one life of a job.

    Attributes:
        stable: the block of the last stable snapshot; inputs up to it may be released.
        taken: the block of the last snapshot that was taken.
    """

    def __init__(self, every: int | timedelta, pressed_after: int) -> None:
        """Begin at block 0; `begin` says otherwise.

        Args:
            every: CHECKPOINT of the job.
            pressed_after: compute blocks without a stable snapshot after which one is taken in any case.
        """
        self._every_blocks = every if isinstance(every, int) else 0
        self._every_s = every.total_seconds() if isinstance(every, timedelta) else 0.0
        self._pressed_after = max(1, pressed_after)
        self._stored: list[int] = []
        self._taken_at = 0.0
        self.stable = 0
        self.taken = 0

    def begin(self, block: int, now: float, stored: Sequence[int] = ()) -> None:
        """This life begins behind ``block``, from a snapshot that is stable, or from nothing; earlier lives had some ``stored``."""
        self._stored = [one for one in stored if one > block]
        self.stable = self.taken = block
        self._taken_at = now

    def due(self, block: int, now: float, *, pressed: bool = False) -> bool:
        """Whether a snapshot is to be taken now, behind compute block ``block``; if so, it counts as taken.

        ``pressed`` says that a producer waits for room, or that no block follows: then there must be one of everything so far.
        """
        if pressed:
            due = block > self.taken
        elif self._every_blocks:
            due = block - self.taken >= self._every_blocks
        else:
            due = now - self._taken_at >= self._every_s
        due = due or (block - self.stable >= self._pressed_after and block - self.taken >= self._pressed_after)
        if due:
            self.taken, self._taken_at = block, now
        return due

    def on_stored(self, block: int) -> None:
        """The client has confirmed the snapshot behind ``block``."""
        if block > self.stable:
            self._stored.append(block)

    def settle(self, released: int) -> bool:
        """All outputs up to ``released`` are released; return whether a newer snapshot is stable now."""
        ready = [block for block in self._stored if block <= released]
        if not ready:
            return False
        self.stable = max(ready)
        self._stored = [block for block in self._stored if block > self.stable]
        return True


def to_restore(stored: Sequence[int], first: int) -> int | None:
    """Return the snapshot with which a life begins whose inputs can begin at ``first``: the smallest that is not before the last
    finished block; None if there is none: at the first block the job begins as it was made, and at a later one nothing may follow.
    """
    fitting = [block for block in stored if block >= first - 1]
    return min(fitting, default=None)
