"""Decides when a job with CHECKPOINT takes a snapshot, and what it may release.

A snapshot after compute block c is *stored* when the client has confirmed it. It is *stable* when,
in addition, all outputs up to c are released. Inputs are released only up to the last stable
snapshot, because a new incarnation can begin after it. A snapshot is taken at the latest when half
of an input window is in use, so that a small window cannot stop the flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

#: While an earlier snapshot is stored, a job looks so many times per interval whether it is. Arbitrary: as many looks cost nothing.
LOOKS = 8


class Checkpoints:
    """Snapshots of one incarnation of a job.

    Attributes:
        look_at: compute block before which `due` is False, unless ``pressed``: the caller need not
            ask. Read it before each call, since it may become smaller.
        stable: compute block of the last stable snapshot; inputs up to it may be released.
        taken: compute block of the last snapshot that was taken.
        pressed_after: number of compute blocks without a stable snapshot after which one is taken in
            any case, at least 1; it depends on the size of the blocks.
    """

    def __init__(self, every: int | timedelta, pressed_after: int) -> None:
        """Begin at block 0; `begin` sets another block.

        Args:
            every: CHECKPOINT of the job, as a number of compute blocks or a time.
            pressed_after: number of compute blocks without a stable snapshot after which one is
                taken in any case; below 1 it counts as 1.
        """
        self._every_blocks = every if isinstance(every, int) else 0
        self._every_s = every.total_seconds() if isinstance(every, timedelta) else 0.0
        self._pressed_after = max(1, pressed_after)
        self._stored: list[int] = []
        self._taken_at = 0.0
        self.stable = 0
        self.taken = 0
        self.look_at = 0

    @property
    def pressed_after(self) -> int:
        return self._pressed_after

    @pressed_after.setter
    def pressed_after(self, blocks: int) -> None:
        self._pressed_after = blocks
        self.look_at = min(self.look_at, self.taken + blocks)

    def begin(self, block: int, now: float, stored: Sequence[int] = ()) -> None:
        """Begin this incarnation after ``block``, from a stable snapshot or without one.

        Args:
            block: compute block of that snapshot.
            now: current time, in seconds.
            stored: compute blocks of the snapshots that earlier incarnations have stored.
        """
        self._stored = [one for one in stored if one > block]
        self.stable = self.taken = self.look_at = block
        self._taken_at = now

    def due(self, block: int, now: float, *, pressed: bool = False, waits: bool = False) -> bool:
        """Decide whether a snapshot must be taken now; if so, it counts as taken.

        While a snapshot waits for its confirmation, another one is taken only where the flow would
        stop otherwise: snapshots that are taken faster than the client stores them fill the memory.

        Args:
            block: compute block that the snapshot would follow.
            now: current time, in seconds.
            pressed: whether a producer waits for room, or no block follows; a snapshot must then
                cover everything so far.
            waits: whether it is too early for another one that only the interval asks for: the
                client has not confirmed the last one, or it was taken a moment ago.
        """
        if pressed:
            due = block > self.taken
        elif waits:
            due = False
        elif self._every_blocks:
            due = block - self.taken >= self._every_blocks
        else:
            due = now - self._taken_at >= self._every_s
        due = due or (block - self.stable >= self.pressed_after and block - self.taken >= self.pressed_after)
        if due:
            self.taken, self._taken_at = block, now
        interval = min(self._every_blocks or 1, self._pressed_after)
        latest = max(self.stable, self.taken) + self._pressed_after
        self.look_at = max(self.taken + interval, min(block + max(1, interval // LOOKS), latest))
        return due

    def on_stored(self, block: int) -> None:
        """Register that the client has confirmed the snapshot after ``block``."""
        if block > self.stable:
            self._stored.append(block)

    def settle(self, released: int) -> bool:
        """Register that all outputs up to ``released`` are released.

        Returns:
            Whether a newer snapshot is stable now.
        """
        ready = [block for block in self._stored if block <= released]
        if not ready:
            return False
        self.stable = max(ready)
        self._stored = [block for block in self._stored if block > self.stable]
        return True


def to_restore(stored: Sequence[int], first: int) -> int | None:
    """Return the snapshot from which an incarnation begins; None if there is none.

    It is the oldest snapshot that is not before the last finished block. Without one, a job that
    begins at the first block begins in its initial state; at a later block, none may follow.

    Args:
        stored: compute blocks of the stored snapshots.
        first: first compute block that the inputs can begin with.
    """
    fitting = [block for block in stored if block >= first - 1]
    return min(fitting, default=None)
