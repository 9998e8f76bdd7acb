"""The numbers of recorded frames, in memory: a device whose every frame is known loses some, and the line must say which."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fission.connectors.audio.recording_line import RecordedBlock, RecordingLine, RecordingPosition

np = pytest.importorskip("numpy")

RATE, BLOCK, BUFFER = 16000, 160, 128
#: The clock of a node is this much ahead of its monotonic one.
WALL = 1.8e9
#: Frames by which a gap may differ from the time lost: the jitter below.
ERROR = 100
MAX_GAP_S = 2.0

Make = Callable[..., RecordingLine]


@dataclass
class Card:
    """A sound card whose frame n has the value n + 1, and that is taken at n / rate by its own clock.

    Attributes:
        line: what records it.
        ppm: deviation of its clock.
        jitter: largest delay, in seconds, of the time that it reports.
        wall_ahead: seconds by which the node's clock is ahead.
        frame: the next frame.
        again: number of blocks that a new process sends again.
        blocks: what consumers have.
    """

    make: Make
    rng: random.Random
    ppm: float = 0.0
    jitter: float = 0.005
    wall_ahead: float = 0.0
    frame: int = 0
    again: int = 0
    blocks: list[RecordedBlock] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.line = self.make(RATE, BLOCK, (), "int32", MAX_GAP_S)

    def time_of(self, frame: int) -> float:
        return 1000.0 + frame / RATE * (1 + self.ppm * 1e-6)

    @property
    def wall(self) -> float:
        return WALL + self.wall_ahead

    def hears(self, seconds: float, *, overrun: bool = False, dropped: int = 0) -> None:
        """Record for some time."""
        for _ in range(round(seconds * RATE / BUFFER)):
            samples = np.arange(self.frame + 1, self.frame + 1 + BUFFER, dtype="int32")
            taken = self.time_of(self.frame) + self.rng.uniform(0, self.jitter)
            self.line.add(samples, taken, taken + self.wall, overrun=overrun, dropped=dropped)
            overrun, dropped = False, 0
            self.frame += BUFFER
            self.takes()

    def takes(self) -> None:
        while (block := self.line.take()) is not None:
            if self.again:  # consumers have a block of this number
                self.again -= 1
            else:
                self.blocks.append(block)

    def misses(self, seconds: float) -> int:
        """Lose frames; return their number."""
        lost = round(seconds * RATE)
        self.frame += lost
        return lost

    def dies(self, seconds: float, *, back_s: float = 0.0, node: str = "first", ahead: float = 0.0) -> None:
        """Lose the process, and continue in another one from a snapshot that is as old as ``back_s``.

        The new process sends blocks again with the numbers of those since the snapshot; consumers drop them.
        """
        position = self.line.position("first")
        assert position is not None
        for _ in range(round(back_s * RATE / BLOCK)):
            position = replace(
                position,
                number=position.number - BLOCK,
                monotonic=position.monotonic - BLOCK / RATE,
                wall=position.wall - BLOCK / RATE,
            )
        self.misses(seconds)
        self.line, self.wall_ahead = self.make(RATE, BLOCK, (), "int32", MAX_GAP_S), ahead
        self.again = round(back_s * RATE / BLOCK)
        now = self.time_of(self.frame)
        if node != "first":
            position = replace(position, monotonic=position.monotonic + 5e5)  # another machine's clock
        self.line.continue_from(position, now, now + self.wall, node)


def faults(blocks: list[RecordedBlock], gaps: int, error: int = ERROR, skipped: bool = False) -> list[str]:
    """Return what is wrong with a recording."""
    found = []
    samples = np.concatenate([block.samples for block in blocks])
    numbers = np.concatenate([np.arange(block.number, block.number + BLOCK) for block in blocks])
    if (np.diff(numbers) < 1).any():
        found.append("a number is there twice")
    if not skipped and (np.diff(numbers) != 1).any():
        found.append("a number is missing")
    real = samples > 0
    if (np.diff(samples[real]) < 1).any():
        found.append("a frame is there twice")
    late = numbers[real] - samples[real]
    late -= late[0]
    if abs(late).max() > error:
        found.append(f"a frame has the number of another one, {abs(late).max()} away")
    changes = int((np.diff(real.astype(int)) == -1).sum())
    if changes != gaps:
        found.append(f"{changes} gaps instead of {gaps}")
    if [block.replaced for block in blocks] != [int((block.samples == 0).sum()) for block in blocks]:
        found.append("what is replaced is not said")
    return found


def overruns(make: Make) -> list[str]:
    device = Card(make, random.Random(1), ppm=80)
    device.hears(5)
    for lost in (0.01, 0.1, 0.5):
        device.misses(lost)
        device.hears(3, overrun=True)
    return faults(device.blocks, 3) + ([] if device.line.gaps == 3 else ["gaps are miscounted"])


def overrun_without_loss(make: Make) -> list[str]:
    """Devices report one at their start, for example."""
    device = Card(make, random.Random(2), jitter=0.0)
    device.hears(1, overrun=True)
    device.hears(1, overrun=True)
    return faults(device.blocks, 0)


def frames_without_room(make: Make) -> list[str]:
    device = Card(make, random.Random(3))
    device.hears(1)
    device.misses(320 / RATE)
    device.hears(1, dropped=320)
    return faults(device.blocks, 1, error=0)


def unreported_loss(make: Make) -> list[str]:
    device = Card(make, random.Random(4), ppm=-60)
    device.hears(3)
    device.misses(0.3)
    device.hears(3)
    samples = np.concatenate([block.samples for block in device.blocks])
    numbers = np.concatenate([np.arange(block.number, block.number + BLOCK) for block in device.blocks])
    late = (numbers - samples)[samples > 0]
    return ["the loss is not found"] if abs(late[-1] - late[0]) > ERROR or device.line.gaps != 1 else []


def burst(make: Make) -> list[str]:
    """Frames that waited for a second, by clocks that see only their arrival, are not lost."""
    device = Card(make, random.Random(5))
    device.hears(3)
    arrives = device.time_of(device.frame) + 1.0
    for _ in range(round(RATE / BUFFER)):
        samples = np.arange(device.frame + 1, device.frame + 1 + BUFFER, dtype="int32")
        taken = max(arrives, device.time_of(device.frame))
        device.line.add(samples, taken, taken + WALL)
        device.frame += BUFFER
        device.takes()
    device.hears(2)
    return faults(device.blocks, 0)


def unplugged(make: Make) -> list[str]:
    device = Card(make, random.Random(6), ppm=50)
    device.hears(3)
    came = len(device.blocks)
    for _ in range(100):
        device.misses(0.02)
        device.line.gone(device.time_of(device.frame) - 0.1)
        device.takes()
    found = [] if len(device.blocks) - came >= 185 else ["dummies do not come in time"]
    device.hears(2)
    return found + faults(device.blocks, 1) + ([] if device.line.gaps == 1 else ["gaps are miscounted"])


def another_process(make: Make) -> list[str]:
    device = Card(make, random.Random(7), ppm=100)
    device.hears(20)
    device.dies(0.7, back_s=0.9)
    device.hears(2)
    return faults(device.blocks, 1)


def another_node(make: Make) -> list[str]:
    """Its clock is 3 ms behind, and its monotonic clock counts from elsewhere."""
    device = Card(make, random.Random(8))
    device.hears(3)
    device.dies(1.5, back_s=0.5, node="second", ahead=-0.003)
    device.hears(2)
    return faults(device.blocks, 1)


def another_node_far_behind(make: Make) -> list[str]:
    """The gap is too short by the difference of the clocks, but no number is there twice."""
    device = Card(make, random.Random(9))
    device.hears(3)
    device.dies(1.5, back_s=0.5, node="second", ahead=-3600.0)
    device.hears(2)
    return [fault for fault in faults(device.blocks, 0, error=2 * RATE) if "gaps" not in fault]


def long_gap(make: Make) -> list[str]:
    device = Card(make, random.Random(10))
    device.hears(3)
    device.dies(10.0)
    device.hears(2)
    found = faults(device.blocks, 1, skipped=True)
    zeros = sum(block.replaced for block in device.blocks)
    return found + ([] if MAX_GAP_S * RATE <= zeros <= MAX_GAP_S * RATE + BLOCK else [f"{zeros} frames are filled"])


def two_long_gaps(make: Make) -> list[str]:
    device = Card(make, random.Random(11))
    device.hears(1.005)
    for _ in range(2):
        device.misses(5.0)
        device.line.gone(device.time_of(device.frame) - 0.1)  # both before a block is taken
    device.takes()
    device.hears(2)
    return faults(device.blocks, 1, skipped=True)


def late_at_the_start(make: Make) -> list[str]:
    """A busy machine takes 40 ms until it looks at the first frames, after each start; then it catches up."""
    device = Card(make, random.Random(12), jitter=0.001)
    true = device.time_of
    for _ in range(2):
        begins = true(device.frame)
        device.time_of = lambda frame, begins=begins: max(begins + 0.04, true(frame))  # type: ignore[method-assign,misc]
        device.hears(3)
        device.time_of = true  # type: ignore[method-assign]
        device.dies(1.0)
    device.hears(1)
    return faults(device.blocks, 2, error=25) + time_faults(device, 0.0015)


def early_once_in_a_while(make: Make) -> list[str]:
    """A sound server's estimates: every 30th says that the frames are 15 ms older than they are."""
    device = Card(make, random.Random(13), jitter=0.0)
    true = device.time_of
    device.time_of = lambda frame: true(frame) - (0.015 if frame % (30 * BUFFER) == 0 else 0.0)  # type: ignore[method-assign]
    device.hears(10)
    return faults(device.blocks, 0) + time_faults(device, 0.001)


def early_from_then_on(make: Make) -> list[str]:
    """The estimates of the first second were too late."""
    device = Card(make, random.Random(14), jitter=0.001)
    true = device.time_of
    device.time_of = lambda frame: true(frame) + (0.03 if frame < RATE else 0.0)  # type: ignore[method-assign]
    device.hears(3)
    device.blocks = device.blocks[150:]
    return faults(device.blocks, 0) + time_faults(device, 0.0015)


def time_faults(device: Card, error_s: float) -> list[str]:
    """Return how far the time of a block is from when its first frame was taken, if that is too far."""
    real = [(block.time - device.wall, block.samples[0]) for block in device.blocks if block.samples[0]]
    away = max(abs(time - (1000.0 + (sample - 1) / RATE)) for time, sample in real)
    return [] if away < error_s else [f"a time is {away} s away"]


SCENES = (
    late_at_the_start,
    early_once_in_a_while,
    early_from_then_on,
    overruns,
    overrun_without_loss,
    frames_without_room,
    unreported_loss,
    burst,
    unplugged,
    another_process,
    another_node,
    another_node_far_behind,
    long_gap,
    two_long_gaps,
)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_every_frame_has_its_number(scene: Callable[[Make], list[str]]) -> None:
    assert scene(RecordingLine) == []


class FillsNothing(RecordingLine):
    def add(self, samples: Any, taken: float, wall: float, *, overrun: bool = False, dropped: int = 0) -> int:
        return super().add(samples, taken, wall)


class TrustsEachTime(RecordingLine):
    """Fills whatever the time of the next frames lacks."""

    def add(self, samples: Any, taken: float, wall: float, *, overrun: bool = False, dropped: int = 0) -> int:
        return super().add(samples, taken, wall, overrun=True, dropped=dropped)


class ForgetsThatItWasAway(RecordingLine):
    def gone(self, now: float) -> int:
        self._away = False
        return super().gone(now)


class FillsNoTime(RecordingLine):
    """Waits for the device to come back, and sends nothing meanwhile."""

    def gone(self, now: float) -> int:
        self._away = True
        return 0


class TakesBursts(RecordingLine):
    def _unreported(self, late: float, frames: int) -> int:
        return round(late * self._rate) if late > 0.05 else 0


class ComparesClocksOfTwoMachines(RecordingLine):
    def continue_from(self, position: RecordingPosition, monotonic: float, wall: float, boot: str) -> None:
        super().continue_from(replace(position, boot=boot), monotonic, wall, boot)


class BeginsAnew(RecordingLine):
    """Continues with the next number, as if no time had passed."""

    def continue_from(self, position: RecordingPosition, monotonic: float, wall: float, boot: str) -> None:
        super().continue_from(replace(position, monotonic=monotonic, wall=wall), monotonic, wall, boot)


class GoesBack(RecordingLine):
    """Numbers by the clock alone."""

    def continue_from(self, position: RecordingPosition, monotonic: float, wall: float, boot: str) -> None:
        pass


class ForgetsWhatItLeavesOut(RecordingLine):
    def take(self) -> RecordedBlock | None:
        self._skips.clear()
        return super().take()


class FillsEverything(RecordingLine):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments[:-1], 1e6)


class BelievesTheFirst(RecordingLine):
    """Begins with the time of the first frames."""

    def add(self, samples: Any, taken: float, wall: float, *, overrun: bool = False, dropped: int = 0) -> int:
        if self._due is not None and not self._away:
            return super().add(samples, taken, wall, overrun=overrun, dropped=dropped)
        lost = super().add(samples, taken, wall, overrun=overrun, dropped=dropped)
        return lost + (self._settle() if self._pending else 0)


class BelievesTheEarliest(RecordingLine):
    def _follow(self, late: float, frames: int) -> None:
        super()._follow(late, frames)
        if late < 0 and self._due is not None:
            self._due += late


class BelievesNoneEarlier(RecordingLine):
    def _follow(self, late: float, frames: int) -> None:
        super()._follow(max(late, 0.0), frames)


@pytest.mark.parametrize(
    ("broken", "scene"),
    [
        (BelievesTheFirst, late_at_the_start),
        (BelievesTheEarliest, early_once_in_a_while),
        (BelievesNoneEarlier, early_from_then_on),
        (FillsNothing, overruns),
        (FillsNothing, frames_without_room),
        (TrustsEachTime, burst),
        (ForgetsThatItWasAway, unplugged),
        (FillsNoTime, unplugged),
        (TakesBursts, burst),
        (ComparesClocksOfTwoMachines, another_node),
        (BeginsAnew, another_process),
        (GoesBack, another_node_far_behind),
        (ForgetsWhatItLeavesOut, long_gap),
        (FillsEverything, long_gap),
    ],
)
def test_each_broken_line_is_found_out(broken: Make, scene: Callable[[Make], list[str]]) -> None:
    assert scene(broken)


def test_the_number_of_the_first_frame_is_its_time() -> None:
    device = Card(RecordingLine, random.Random(1), jitter=0.0)
    device.hears(0.2)
    assert device.blocks[0].number == round((1000.0 + WALL) * RATE)
    assert device.blocks[0].time == pytest.approx(1000.0 + WALL, abs=1e-6)
    assert device.blocks[4].time == pytest.approx(1000.0 + WALL + 4 * BLOCK / RATE, abs=1e-6)


def test_a_snapshot_is_where_the_next_block_begins() -> None:
    device = Card(RecordingLine, random.Random(1), jitter=0.0)
    assert device.line.position("here") is None
    device.hears(0.5)
    position = device.line.position("here")
    assert position is not None
    assert position.number == device.blocks[-1].number + BLOCK
    assert position.wall == pytest.approx(position.number / RATE, abs=1e-4)
    assert (position.wall - position.monotonic, position.boot) == (pytest.approx(WALL), "here")
