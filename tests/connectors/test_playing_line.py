"""What a loudspeaker plays, in memory: order, silence for gaps, underruns, and how far its job may be ahead."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fission.connectors.audio import AudioBlock, LoudspeakerJob
from fission.connectors.audio.playing_line import PlayingLine
from fission.core.pipes import PicklePipe
from fission.errors import DefinitionError, ValueFitError
from fission.runtime.sink_position import repetition_warning
from tests.connectors.fake_sound import FakeLibrary, PortAudioError

np = pytest.importorskip("numpy")

Make = Callable[..., PlayingLine]
DEVICE = "device must be a name or a part of it, a number of at least 0, or None"


def counted(first: int, frames: int) -> Any:
    """Return frames whose values are their numbers, from 1."""
    return np.arange(first + 1, first + frames + 1, dtype="int32")[:, None]


def taken(line: PlayingLine, frames: int) -> list[int]:
    out = np.full((frames, 1), -1, "int32")
    line.take(out)
    found: list[int] = out[:, 0].tolist()
    return found


def order(make: Make) -> list[str]:
    """Blocks and what the device takes have other lengths; a gap is in between."""
    line, rng = make((1,), "int32", 1, 1000), random.Random(1)
    first, played, expected = 0, [], []
    for number in range(200):
        frames = rng.randint(1, 50)
        if number == 100:
            first += 70
            expected += [0] * 70
        line.put(counted(first, frames), first)
        expected += range(first + 1, first + frames + 1)
        first += frames
        while line.held >= 33:
            played += taken(line, rng.randint(1, 33))
    line.end()
    played += taken(line, line.held)
    found = [] if played == expected else ["a sample is lost, or in another place"]
    return found + ([] if (line.gaps, line.jumps, line.underruns) == (1, 0, 0) else ["counts are wrong"])


def underrun(make: Make) -> list[str]:
    line = make((1,), "int32", 20, 1000)
    line.put(counted(0, 19), 0)
    found = [] if taken(line, 5) == [0] * 5 and line.underruns == 0 else ["it begins too early"]
    line.put(counted(19, 11), 19)
    if taken(line, 35) != [*range(1, 31), *[0] * 5] or line.underruns != 1:
        found.append("the underrun is not noticed")
    line.put(counted(30, 19), 30)
    if taken(line, 5) != [0] * 5 or (line.underruns, line.silent_frames) != (1, 10):
        found.append("it does not wait for enough")
    line.put(counted(49, 1), 49)
    if taken(line, 20) != list(range(31, 51)):
        found.append("a sample is lost")
    return found


def jumps(make: Make) -> list[str]:
    line = make((1,), "int32", 1, 10)
    line.put(counted(0, 2), 0)
    line.put(counted(100, 2), 100)
    line.put(counted(50, 2), 50)
    line.put(counted(52, 1), 52)
    line.put(counted(60, 1), None)
    return [] if taken(line, 8) == [1, 2, 101, 102, 51, 52, 53, 61] and (line.gaps, line.jumps) == (0, 2) else ["jumps are wrong"]


def end(make: Make) -> list[str]:
    """The end does not count as an underrun, and a sound that is shorter than the start is played too."""
    line = make((1,), "int32", 100, 10)
    line.put(counted(0, 3), 0)
    line.end()
    return [] if taken(line, 5) == [1, 2, 3, 0, 0] and not line.underruns else ["the end is wrong"]


@pytest.mark.parametrize("scene", [order, underrun, jumps, end], ids=lambda scene: scene.__name__)
def test_frames_are_played_in_their_places(scene: Callable[[Make], list[str]]) -> None:
    assert scene(PlayingLine) == []


class DropsRests(PlayingLine):
    """Loses what is left of a block that the device takes a part of."""

    def take(self, out: Any) -> None:
        before = len(self._parts)
        super().take(out)
        if before and len(self._parts) == before:
            self.held -= self._parts.popleft()[1]


class KeepsOut(PlayingLine):
    """Leaves in the array what was there where there is nothing to play."""

    def take(self, out: Any) -> None:
        old = out.copy()
        held = self.held if self._plays or self.ready else 0
        super().take(out)
        out[held:] = old[held:]


class PlaysNoGaps(PlayingLine):
    def put(self, samples: Any, first_sample: int | None) -> int:
        return super().put(samples, None)


class BeginsAtOnce(PlayingLine):
    def __init__(self, shape: tuple[int, ...], dtype: str, start: int, longest_gap: int) -> None:
        super().__init__(shape, dtype, 1, longest_gap)


class WaitsAtTheEnd(PlayingLine):
    def end(self) -> None:
        pass


class FillsEachGap(PlayingLine):
    def __init__(self, shape: tuple[int, ...], dtype: str, start: int, longest_gap: int) -> None:
        super().__init__(shape, dtype, start, 10**9)


@pytest.mark.parametrize(
    ("broken", "scene"),
    [
        (DropsRests, order),
        (PlaysNoGaps, order),
        (KeepsOut, underrun),
        (BeginsAtOnce, underrun),
        (WaitsAtTheEnd, end),
        (FillsEachGap, jumps),
    ],
)
def test_each_broken_line_is_found_out(broken: Make, scene: Callable[[Make], list[str]]) -> None:
    assert scene(broken)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    found = FakeLibrary(("HDMI", 0, 2))
    monkeypatch.setitem(sys.modules, "sounddevice", found)
    return found


def asks(library: FakeLibrary, frames: int, *, underflow: bool = False) -> list[int]:
    """Take frames as the device does."""
    out = np.full((frames, 1), -1, "int32")
    times = SimpleNamespace(currentTime=1.0, outputBufferDacTime=1.001)
    library.streams[-1].callback(out, frames, times, SimpleNamespace(output_underflow=underflow))
    found: list[int] = out[:, 0].tolist()
    return found


def test_the_device_sets_the_pace(library: FakeLibrary) -> None:
    """With `delay` 0.1 s and room for 0.1 s more, the sixth block of 50 ms has to wait until one is played."""
    job = LoudspeakerJob(delay=0.1, inputs=[PicklePipe(1)])
    job.setup()
    passed: list[int] = []

    def blocks() -> None:
        for number in range(6):
            job.run(AudioBlock(counted(50 * number, 50)[:, 0], 1000, 50 * number))
            passed.append(number)

    thread = threading.Thread(target=blocks)
    thread.start()
    thread.join(0.3)
    assert passed == [0, 1, 2, 3]
    assert asks(library, 51) == list(range(1, 52))
    thread.join(0.3)
    assert passed == [0, 1, 2, 3, 4]
    assert asks(library, 100, underflow=True) == list(range(52, 152))
    thread.join(10)
    assert passed == [0, 1, 2, 3, 4, 5]
    ends = threading.Thread(target=job.teardown)
    ends.start()
    rest: list[int] = []
    while ends.is_alive() and len(rest) < 149:
        rest += asks(library, 50)
    ends.join(10)
    assert rest[:149] == list(range(152, 301))
    assert library.streams[-1].state == "closed"


def test_an_underrun_of_the_device_is_counted_and_reported(library: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    job = LoudspeakerJob(delay=0.01, inputs=[PicklePipe(1)])
    job.setup()
    job.run(AudioBlock(counted(0, 50)[:, 0], 1000, 0))
    asks(library, 40, underflow=True)
    job.run(AudioBlock(counted(50, 50)[:, 0], 1000, 50))
    assert job.underruns == 1
    assert capsys.readouterr().err == "LoudspeakerJob 1: underrun: blocks came too late, or the device was not served in time\n"


@pytest.mark.parametrize(
    ("arguments", "block", "text"),
    [
        ({}, np.zeros(3, "int16"), "LoudspeakerJob 1: blocks must be AudioBlock objects, but are arrays; or set rate"),
        ({"rate": 8000}, 7, "blocks must be AudioBlock objects or numpy arrays, but one is 7"),
    ],
)
def test_other_blocks_are_refused(library: FakeLibrary, arguments: Any, block: Any, text: str) -> None:
    job = LoudspeakerJob(**arguments, inputs=[PicklePipe(1)])
    job.setup()
    with pytest.raises(ValueFitError) as raised:
        job.run(block)
    assert text in str(raised.value)


def test_another_format_is_refused(library: FakeLibrary) -> None:
    job = LoudspeakerJob(inputs=[PicklePipe(1)])
    job.setup()
    job.run(AudioBlock(np.zeros(3, "int16"), 1000))
    with pytest.raises(
        ValueFitError, match="must have 1 channel of int16 at 1000 frames per second, but one has 1 channel of int16 at 500"
    ):
        job.run(AudioBlock(np.zeros(3, "int16"), 500))


def test_a_loudspeaker_that_is_not_there_is_one_line(library: FakeLibrary) -> None:
    job = LoudspeakerJob("Radio", inputs=[PicklePipe(1)])
    with pytest.raises(
        DefinitionError, match=r"must have the loudspeaker 'Radio', but there are: 0 'HDMI, ALSA'; see fission audio devices"
    ):
        job.setup()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"rate": 0}, "rate must be an int from 1 to 10000000, or None, but is 0"),
        ({"rate": 10**400}, f"rate must be an int from 1 to 10000000, or None, but is 1{'0' * 76}..."),
        ({"delay": 7}, "delay must be a number of seconds from 0 to 1, but is 7"),
        ({"delay": float("nan")}, "delay must be a number of seconds from 0 to 1, but is nan"),
        ({"device": b""}, f"{DEVICE}, but is b''; see fission audio devices"),
        ({"device": ""}, f"{DEVICE}, but is ''; see fission audio devices"),
        ({"device": -1}, f"{DEVICE}, but is -1; see fission audio devices"),
    ],
)
def test_arguments_are_checked(arguments: Any, text: str) -> None:
    assert LoudspeakerJob(**arguments, inputs=[PicklePipe(1)])._fission_faults() == [text]


def test_each_block_is_acknowledged_when_it_has_room(library: FakeLibrary) -> None:
    """A device is slow: what arrives together takes seconds, and would be played again by a new incarnation."""
    job, acknowledged = LoudspeakerJob(delay=0.01, inputs=[PicklePipe(1)]), []
    job.__dict__["_fission_host"] = SimpleNamespace(release=lambda: acknowledged.append(job._fission_line.held))
    job.setup()
    for number in range(3):
        job.run(AudioBlock(counted(10 * number, 10)[:, 0], 1000, 10 * number))
    assert acknowledged == [10, 20, 30]
    assert repetition_warning(job, 2) == ""


def test_an_input_of_several_blocks_is_named() -> None:
    class Pairs(PicklePipe):
        BLOCK_COUNT = 2

    assert LoudspeakerJob(inputs=[Pairs(1)])._fission_faults() == [
        "it must have one input with BLOCK_COUNT 1, but has 1 with BLOCK_COUNT 2"
    ]


@pytest.mark.parametrize(
    ("samples", "dtype", "expected"),
    [
        (np.array([0, 128, 255], "uint8"), "int16", [-32768, 0, 32512]),
        (np.array([-1.0, 0.5, 1.0], "float64"), "float32", [-1.0, 0.5, 1.0]),
        (np.array([1, 2, 3], ">i2"), "int16", [1, 2, 3]),
    ],
)
def test_types_that_portaudio_does_not_have_are_converted(library: FakeLibrary, samples: Any, dtype: str, expected: list[float]) -> None:
    job = LoudspeakerJob(delay=0.001, inputs=[PicklePipe(1)])
    job.setup()
    job.run(AudioBlock(samples, 1000))
    assert library.streams[-1].dtype == dtype
    out = np.zeros((3, 1), dtype)
    library.streams[-1].callback(out, 3, SimpleNamespace(currentTime=1.0, outputBufferDacTime=1.0), SimpleNamespace(output_underflow=False))
    assert out[:, 0].tolist() == expected


def test_a_stopped_network_does_not_wait_for_a_loudspeaker_that_is_away(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or Ctrl-C would have to kill the job, whose `teardown` has a second then."""
    job = LoudspeakerJob(delay=0.01, inputs=[PicklePipe(1)])
    job.setup()
    library.fault = PortAudioError("Device unavailable", -9985)
    job.run(AudioBlock(counted(0, 50)[:, 0], 1000, 0))
    job.__dict__["_fission_stopped"] = True
    monkeypatch.setattr(job, "_fission_wait", None)
    job.teardown()
    assert "must be free, but cannot be opened: Device unavailable" in capsys.readouterr().err


def test_a_device_that_comes_back_otherwise_is_waited_for(library: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    """It has another name, fewer channels, or fails when its stream starts: each reason is one line, and the next attempt may succeed."""
    job, now = LoudspeakerJob("HDMI", delay=0.01, inputs=[PicklePipe(1)]), [100.0]
    job._fission_clock = lambda: now[0]
    job.setup()
    job.run(AudioBlock(np.zeros((50, 2), "int16"), 1000, 0))
    waits = threading.Condition()
    job._fission_lock = waits
    reports = []

    def once() -> bool:
        """Two seconds later: the device gives no sound, or is tried again."""
        now[0] += 2
        reports.extend(capsys.readouterr().err.splitlines())
        state.append(library.devices)
        if state[1:] == []:
            library.devices = (("HDMI 1", 0, 2), ("HDMI 2", 0, 2))
        elif len(state) == 2:
            library.devices = (("HDMI", 0, 1),)
        elif len(state) == 3:
            library.devices, library.start_fault = (
                (("HDMI", 0, 2),),
                PortAudioError("Error starting stream: Unanticipated host error", -9999),
            )
        elif len(state) == 5:
            library.start_fault, library.begin_fault = None, PortAudioError("Error initializing PortAudio: no memory", -9992)
        elif len(state) == 6:
            library.begin_fault = None
        return job._fission_device.is_open and len(state) > 6

    state: list[Any] = []
    waits.wait_for = lambda done, timeout=None: once()  # type: ignore[method-assign]
    job._fission_wait(lambda: False)
    assert job._fission_device.is_open
    end = "; trying again every 1 s"
    names = "0 'HDMI 1, ALSA', 1 'HDMI 2, ALSA'"
    assert reports == [
        "LoudspeakerJob 1: the device plays nothing; waiting until it does",
        f"LoudspeakerJob 1: device must be the name of one device, but 'HDMI' fits several: {names}; write more of the name, or the "
        f"number{end}",
        f"LoudspeakerJob 1: channels must be at most 1 for the loudspeaker 'HDMI, ALSA', but is 2{end}",
        "LoudspeakerJob 1: the loudspeaker 'HDMI, ALSA' must be free, but cannot be opened: Unanticipated host error; another program may "
        f"use it{end}",
        f"LoudspeakerJob 1: PortAudio must start, but does not: no memory{end}",
    ]
