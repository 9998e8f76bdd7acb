"""The frames that a loudspeaker plays, in order: gaps are silence, and there is always something to play.

No I/O. Two threads use it: the job's puts blocks in, and the sound device's takes frames out. The caller holds a lock around both.
"""

from __future__ import annotations

from collections import deque
from typing import Any


class PlayingLine:
    """Holds the frames between a job and its device.

    It begins to play when `start` frames are there, and again after each underrun, so that blocks that come a little late are in time.

    Attributes:
        held: number of frames that wait to be played.
        gaps: number of gaps that are played as silence.
        jumps: number of blocks that did not follow, and are played without silence.
        underruns: number of times that there was nothing to play, after something had been played.
        silent_frames: number of frames of silence that were played for them.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str, start: int, longest_gap: int) -> None:
        """Begin without frames.

        Args:
            shape: shape of a frame.
            dtype: type of the samples.
            start: number of frames that wait before playing begins.
            longest_gap: number of frames of the longest gap that is played as silence.
        """
        self.held = self.gaps = self.jumps = self.underruns = self.silent_frames = 0
        self._shape, self._dtype, self._start, self._longest = shape, dtype, start, longest_gap
        self._parts: deque[tuple[Any, int]] = deque()  # samples and their number of frames; None: silence
        self._next: int | None = None  # first_sample of the block that follows
        self._plays = self._last = False

    @property
    def ready(self) -> bool:
        """Whether enough frames are there to begin."""
        return self.held >= self._start or (self._last and self.held > 0)

    def put(self, samples: Any, first_sample: int | None) -> int:
        """Append a block; return the frames by which it does not follow the one before.

        Args:
            samples: array of shape (frames, ...).
            first_sample: number of its first frame; None: it follows.
        """
        missing = 0 if self._next is None or first_sample is None else first_sample - self._next
        if 0 < missing <= self._longest:
            self.gaps += 1
            self._append(None, missing)
        elif missing:
            self.jumps += 1
        if first_sample is not None:
            self._next = first_sample
        self._append(samples, len(samples))
        self._next = None if self._next is None else self._next + len(samples)
        return missing

    def end(self) -> None:
        """Play what is there: nothing follows."""
        self._last = True

    def take(self, out: Any) -> None:
        """Fill an array with the next frames, or silence.

        Args:
            out: array of shape (frames, ...).
        """
        wanted, done = len(out), 0
        self._plays = self._plays or self.ready
        while self._plays and done < wanted and self._parts:
            samples, frames = self._parts.popleft()
            used = min(frames, wanted - done)
            if used < frames:
                self._parts.appendleft((None if samples is None else samples[used:], frames - used))
            out[done : done + used] = 0 if samples is None else samples[:used]
            done += used
            self.held -= used
        out[done:] = 0
        if self._plays and done < wanted:
            self._plays = False
            if not self._last:
                self.underruns += 1
        if self.underruns and not self._plays and not self._last:
            self.silent_frames += wanted - done

    def _append(self, samples: Any, frames: int) -> None:
        if frames:
            self._parts.append((samples, frames))
            self.held += frames
