"""The frames of a live recording in order: each has its number, also those that were lost.

No I/O: the caller passes times in.

*Numbers.* The first incarnation numbers its first frame by the time when it was taken (seconds since 1970 times the rate). From then on
the frames are counted. A later incarnation continues at the number of a snapshot, and the frames since then are lost: their number
is the time since then, by a clock. So a number is never used for two frames, also if clocks differ: block k of the job has the same
numbers in all incarnations that continue from a snapshot, and what consumers have received already is dropped as a duplicate.

*Lost frames.* The device may say that it lost frames (an overrun), but not how many. The time at which each frame was taken is known
with an error that varies in both directions; the *line* is their median: it moves by at most DRIFT, because the clocks of sound
cards differ by up to that much, or at once if all frames of WATCH_S are earlier. After a start or a gap it begins as the median of
the first SETTLE_S, because the first frames of a busy machine come late. Frames that are later than the line says have others lost
before them: after an overrun; and without one, if they stay as late for WATCH_S. Frames that only waited catch up.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

#: How much slower or faster than its nominal rate a sound card's clock may be. Crystals have up to 100 ppm; twice that, to be sure.
DRIFT = 200e-6
#: Seconds of sound that stay late by at least STEP_S before frames count as lost. Arbitrary: a burst of frames that waited as long
#: catches up by as much meanwhile.
WATCH_S, STEP_S = 0.2, 0.02
#: Seconds of sound that are waited for after a start or a gap. Arbitrary: ten buffers of 10 ms, most of which are in time.
SETTLE_S = 0.1
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
        self._delay = self._spread = 0.0  # usual seconds by which frames are later than the line says; their mean deviation from it
        self._pending: list[tuple[Any, float, float, bool, int]] = []  # arguments of `add` that have not been enough for a line
        self._early_frames, self._early_s = 0, 0.0  # frames of the last parts that were all earlier than the line says, and least seconds
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
        if self._due is not None and not self._away:
            return self._add(samples, taken, overrun, dropped)
        self._pending.append((samples, taken, wall, overrun, dropped))
        return self._settle() if sum(len(part[0]) for part in self._pending) >= SETTLE_S * self._rate else 0

    def _settle(self) -> int:
        """Begin the line with the pending frames; return how many were lost."""
        pending, self._pending = self._pending, []
        starts, offset = [], 0
        for place, (samples, taken, _, _, dropped) in enumerate(pending):
            offset += dropped if place else 0
            starts.append(taken - offset / self._rate)
            offset += len(samples)
        taken = sorted(starts)[len(starts) // 2]
        if self._due is None:
            self._next = max(0, round((taken + self._wall) * self._rate))
            self._due = taken
        lost = max(pending[0][4], round((taken - self._due) * self._rate))
        if lost:
            self._lose(lost, counts=not self._away)
        self._due, self._away = min(self._due, taken), False
        self._early_frames = 0
        self._watched.clear()
        for place, (samples, taken, _, overrun, dropped) in enumerate(pending):
            lost += self._add(samples, taken, overrun and place > 0, dropped if place else 0)
        return lost

    def _add(self, samples: Any, taken: float, overrun: bool, dropped: int) -> int:
        """Take frames that follow others; return how many were lost before them."""
        assert self._due is not None
        late = taken - self._due
        lost = dropped
        if overrun:
            lost = max(dropped, round((late - self._delay) * self._rate))
        elif not dropped:
            lost = self._unreported(late, len(samples))
        if lost:
            self._lose(lost, counts=True)
            self._watched.clear()
        self._follow(taken - self._due, len(samples))
        self._append(samples, len(samples))
        self._due += len(samples) / self._rate
        return lost

    def _unreported(self, late: float, frames: int) -> int:
        """Return how many frames were lost before the watched ones, though the device did not say so."""
        if late < STEP_S + self._delay + 2 * self._spread:
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
        if self._watched:
            return
        self._early_s = min(-late, self._early_s) if self._early_frames else -late
        self._early_frames = self._early_frames + frames if late < 0 else 0
        if self._early_frames >= WATCH_S * self._rate:
            self._due -= self._early_s
            self._early_frames = 0
            return
        most = DRIFT * frames / self._rate
        self._due += max(-most, min(late, most))
        self._delay += _NEW_SHARE * (late - self._delay)
        self._spread += _NEW_SHARE * (abs(late - self._delay) - self._spread)

    def gone(self, now: float) -> int:
        """Replace the frames up to now: the device gives none; return their number.

        Args:
            now: monotonic time up to which no more frames are expected.
        """
        if self._pending:
            self._settle()
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
