"""The frames of a live recording in order: each has its number, also those that were lost.

No I/O: the caller passes times in.

*Numbers.* The first incarnation numbers its first frame by the time when it was taken (seconds since 1970 times the rate). From then on
the frames are counted. A later incarnation continues at the number of a snapshot, and the frames since then are lost: their number
is the time since then, by a clock. So a number is never used for two frames, also if clocks differ: block k of the job has the same
numbers in all incarnations that continue from a snapshot, and what consumers have received already is dropped as a duplicate.

*Lost frames.* The device may say that it lost frames (an overrun), but not how many. The time at which each frame was taken is known
with some delay that varies; the *line* is the earliest of these times, and moves forward by at most DRIFT, because sound cards
are slow by up to that much. Frames that are later than the line says, beyond the usual delay, have others lost before them: after
an overrun; and without one, if they stay as late for WATCH_S. Frames that only waited catch up.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

#: How much slower than its nominal rate a sound card's clock may be. Crystals have up to 100 ppm; twice that, to be sure.
DRIFT = 200e-6
#: Seconds of sound that stay late by at least STEP_S before frames count as lost. Arbitrary: a burst of frames that waited as long
#: catches up by as much meanwhile.
WATCH_S, STEP_S = 0.2, 0.02
#: Share of a new delay in the usual one; arbitrary: the mean of the last 20 buffers or so.
_NEW_SHARE = 0.05
#: Numbers are 64 bits in files.
MAX_NUMBER = 2**62


@dataclass(frozen=True)
class RecordingPosition:
    """Where a recording is, for a later incarnation.

    Attributes:
        number: number of the next frame of a block that was not sent.
        monotonic: when that frame was taken, in seconds of this machine's monotonic clock.
        wall: the same in seconds since 1970-01-01 UTC.
        boot: identity of what the monotonic clock counts from; only times of one identity can be compared.
    """

    number: int
    monotonic: float
    wall: float
    boot: str


@dataclass(frozen=True)
class RecordedBlock:
    """One block of a recording.

    Attributes:
        samples: array of shape (block, ...).
        number: number of the first frame.
        time: when the first frame was taken, in seconds since 1970-01-01 UTC.
        replaced: number of frames that were lost, and are zeros.
    """

    samples: Any
    number: int
    time: float
    replaced: int


class RecordingLine:
    """Collects frames as they come, replaces lost ones by zeros, and gives them out in blocks.

    Attributes:
        gaps: number of times that frames were lost.
        filled_frames: number of frames that were replaced by zeros.
        skipped_frames: number of lost frames that were left out because their gap was too long.
    """

    def __init__(self, rate: int, block: int, shape: tuple[int, ...], dtype: str, max_gap_s: float) -> None:
        """Begin without frames.

        Args:
            rate: frames per second.
            block: frames in a block.
            shape: shape of a frame.
            dtype: type of the samples.
            max_gap_s: longest gap that is filled, in seconds; the rest of a longer one is left out.
        """
        self.gaps = self.filled_frames = self.skipped_frames = 0
        self._rate, self._block, self._shape, self._dtype = rate, block, shape, dtype
        self._most = max(block, round(max_gap_s * rate))
        self._parts: deque[tuple[Any, int]] = deque()  # samples and their number of frames; None: zeros
        self._held = 0
        self._next = 0  # number of the next frame that is given out
        self._due: float | None = None  # the line: when the frame after the last one is taken; None: nothing is known
        self._wall = 0.0  # wall clock minus monotonic clock
        self._delay = 0.0  # usual seconds by which frames are later than the line says
        self._away = False  # whether frames were lost whose number the next ones show
        self._watched: list[tuple[float, int]] = []  # delay and frames of the last parts, which were all later than usual
        self._skips: deque[tuple[int, int]] = deque()  # (blocks to give out before it, frames to leave out)

    @property
    def begun(self) -> bool:
        """Whether the number of the next frame is known."""
        return self._due is not None

    @property
    def end(self) -> int:
        """Number of the frame after the last one, of those that are not left out."""
        return self._next + self._held

    def continue_from(self, position: RecordingPosition, monotonic: float, wall: float, boot: str) -> None:
        """Continue the recording of an earlier incarnation; what came since then is lost.

        Args:
            position: where its newest snapshot is.
            monotonic: current time of the monotonic clock.
            wall: current time in seconds since 1970-01-01 UTC.
            boot: identity of the monotonic clock.
        """
        since = monotonic - position.monotonic if boot == position.boot else wall - position.wall
        self._next, self._due, self._away = position.number, monotonic - max(0.0, since), True
        self._wall = wall - monotonic

    def add(self, samples: Any, taken: float, wall: float, *, overrun: bool = False, dropped: int = 0) -> int:
        """Take frames; return how many were lost before them.

        Args:
            samples: array of shape (frames, ...).
            taken: when the first one was taken, in monotonic seconds.
            wall: the same in seconds since 1970-01-01 UTC.
            overrun: whether the device says that frames before these are lost.
            dropped: number of frames before these that the caller had no room for.
        """
        self._wall = wall - taken
        if self._due is None:
            self._next = max(0, round(wall * self._rate))
            self._due = taken
        late = taken - self._due
        lost = dropped
        if self._away:
            lost = max(dropped, round(late * self._rate))
        elif overrun:
            lost = max(dropped, round((late - self._delay) * self._rate))
        elif not dropped:
            lost = self._unreported(late, len(samples))
        if lost:
            self._lose(lost, counts=not self._away)
            self._watched.clear()
        self._follow(taken - self._due, len(samples))
        self._away = False
        self._append(samples, len(samples))
        self._due += len(samples) / self._rate
        return lost

    def _unreported(self, late: float, frames: int) -> int:
        """Return how many frames were lost before the watched ones, though the device did not say so."""
        if late < STEP_S + 2 * self._delay:
            self._watched.clear()
            return 0
        self._watched.append((late, frames))
        delays = [delay for delay, _ in self._watched]
        if max(delays) - min(delays) > STEP_S:  # they catch up
            self._watched = self._watched[-1:]
        if sum(frames for _, frames in self._watched) < WATCH_S * self._rate:
            return 0
        return round((min(delays) - self._delay) * self._rate)

    def _follow(self, late: float, frames: int) -> None:
        """Move the line by what the next frames show."""
        assert self._due is not None
        if self._away or late < 0:
            self._due += min(0.0, late)
        elif not self._watched:
            self._due += min(late, DRIFT * frames / self._rate)
            self._delay += _NEW_SHARE * (late - self._delay)

    def gone(self, now: float) -> int:
        """Replace the frames up to now: the device gives none; return their number.

        Args:
            now: monotonic time up to which no more frames are expected.
        """
        if self._due is None:
            return 0
        counts, self._away = not self._away, True
        lost = int((now - self._due) * self._rate)
        if lost > 0 or counts:
            self._lose(max(0, lost), counts=counts)
        return max(0, lost)

    def take(self) -> RecordedBlock | None:
        """Return the next block; None: too few frames."""
        import numpy

        if self._held < self._block or self._due is None:
            return None
        while self._skips and not self._skips[0][0]:
            self._next += self._skips.popleft()[1]
        time = self._due + self._wall - self._held / self._rate
        time -= sum(frames for _, frames in self._skips) / self._rate
        missing, replaced = self._block, 0
        pieces: list[Any] = []
        while missing:
            samples, frames = self._parts.popleft()
            used = min(frames, missing)
            if used < frames:
                self._parts.appendleft((None if samples is None else samples[used:], frames - used))
            if samples is None:
                replaced += used
                samples = numpy.zeros((used, *self._shape), self._dtype)
            pieces.append(samples[:used])
            missing -= used
        number, self._next = self._next, self._next + self._block
        self._held -= self._block
        self._skips = deque((blocks - 1, frames) for blocks, frames in self._skips)
        return RecordedBlock(pieces[0] if len(pieces) == 1 else numpy.concatenate(pieces), number, time, replaced)

    def position(self, boot: str) -> RecordingPosition | None:
        """Return where the recording is, after the last block that was given out; None: nowhere yet."""
        if self._due is None:
            return None
        skipped = sum(frames for _, frames in self._skips)
        first = sum(frames for blocks, frames in self._skips if not blocks)
        taken = self._due - (self._held + skipped - first) / self._rate
        return RecordingPosition(self._next + first, taken, taken + self._wall, boot)

    def _lose(self, lost: int, *, counts: bool) -> None:
        """Put zeros in the place of lost frames, up to the longest gap; leave out the rest, at the border of a block."""
        assert self._due is not None
        self.gaps += counts
        fill = lost
        if lost > self._most:
            fill = min(lost, self._most + -(self._held + self._most) % self._block)
        self._append(None, fill)
        self.filled_frames += fill
        if lost > fill:
            self.skipped_frames += lost - fill
            self._skips.append((self._held // self._block, lost - fill))
        self._due += lost / self._rate

    def _append(self, samples: Any, frames: int) -> None:
        if frames:
            self._parts.append((samples, frames))
            self._held += frames
