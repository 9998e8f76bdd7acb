"""A MicrophoneJob with a sound library that does what real ones rarely do."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import pytest

from fission.connectors.audio import LoudspeakerJob, MergeChannelsJob, MicrophoneJob, ResampleJob, WavSinkJob
from fission.connectors.audio import microphone as module
from fission.core.head import CORRUPTED, Head
from fission.core.pipes import PicklePipe
from fission.errors import DefinitionError, NodeFault
from tests.connectors.fake_sound import FakeLibrary, PortAudioError

np = pytest.importorskip("numpy")

BUSY = PortAudioError("Device unavailable", -9985)


class Room:
    """One job, its library, and its clock.

    Attributes:
        now: monotonic time; the wall clock is ahead by 1000 s.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, library: FakeLibrary, **arguments: Any) -> None:
        monkeypatch.setitem(sys.modules, "sounddevice", library)
        self.library, self.now = library, 50.0
        self.job = MicrophoneJob(**{"rate": 1000, "block": 100, "dtype": "int32", **arguments}, outputs=[PicklePipe(1)])
        self.job._fission_clock = lambda: self.now
        self.job._fission_wall = lambda: self.now + 1000.0

    def run(self) -> tuple[Any, bool]:
        """Return a block, and whether it is declared a dummy."""
        self.job.head = Head(0, 1)
        return self.job.run(), self.job.head[CORRUPTED]

    def hears(self, *values: int, **more: Any) -> None:
        samples = np.repeat(np.array(values, "int32"), 100)[:, None]
        self.library.streams[-1].hears(samples, age=len(samples) / 1000, **more)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(monkeypatch, FakeLibrary(("Boom", 2, 0)))


def test_blocks_have_number_and_time(room: Room) -> None:
    room.job.setup()
    room.hears(7, 8)
    (first, _), (second, corrupted) = room.run(), room.run()
    assert (first.samples.tolist(), first.samples.dtype, first.rate) == ([7] * 100, "int32", 1000)
    assert (first.first_sample, first.time) == (1_049_800, pytest.approx(1049.8))
    assert (second.first_sample, second.time, corrupted) == (1_049_900, pytest.approx(1049.9), False)
    assert room.job.__dict__["block_time"] == second.time
    room.job.teardown()
    assert room.library.streams[0].state == "closed"


def test_several_channels_are_frames_of_two_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(monkeypatch, FakeLibrary(("Boom", 2, 0)), channels=2)
    room.job.setup()
    room.library.streams[-1].hears(np.arange(200, dtype="int32").reshape(100, 2))
    assert room.run()[0].samples.shape == (100, 2)


def test_an_overrun_is_counted_filled_declared_and_reported(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    room.job.setup()
    room.hears(1)
    room.now += 0.35
    room.hears(2, overrun=True)
    found = [room.run() for _ in range(3)]
    assert [(block.samples.tolist().count(0), dummy) for block, dummy in found] == [(0, False), (100, True), (100, True)]
    room.hears(3)
    block, dummy = room.run()
    assert (block.samples.tolist(), dummy, block.first_sample) == ([0] * 50 + [2] * 50, True, found[0][0].first_sample + 300)
    assert (room.job.overruns, room.job.gaps, room.job.filled_frames) == (1, 1, 250)
    assert capsys.readouterr().err == (
        "MicrophoneJob 1: 250 frames lost (the device had an overrun), replaced by zeros in declared dummies\n"
    )


def test_a_job_that_is_too_slow_loses_an_exact_number(
    room: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "BUFFER_S", 0.3)
    room.job.setup()
    for value in range(1, 6):
        room.now += 0.1
        room.hears(value)
    found = [room.run()[0].samples[0] for _ in range(3)]
    room.now += 0.1
    room.hears(6)
    found += [room.run()[0].samples[0] for _ in range(3)]
    assert found == [1, 2, 3, 0, 0, 6]
    assert "200 frames lost (this job is too slow)" in capsys.readouterr().err


def test_a_busy_device_is_waited_for(room: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    room.library.fault = BUSY
    room.job.setup()
    assert capsys.readouterr().err == (
        "MicrophoneJob 1: the microphone 'Boom, ALSA' must be free, but cannot be opened: Device unavailable; another program may use it; "
        "trying again every 1 s\n"
    )
    monkeypatch.setattr(room.job, "_fission_patience", lambda: 0.001)
    tried: list[float] = []

    def opens(**arguments: Any) -> Any:
        tried.append(room.now)
        if len(tried) < 3:
            raise BUSY
        stream = FakeLibrary.InputStream(room.library, **arguments)
        room.library.fault = None
        return stream

    room.library.fault = None
    monkeypatch.setattr(room.library, "InputStream", opens, raising=False)
    gone = room.job._fission_gone

    def passes() -> None:
        room.now += 0.25
        gone()
        if room.library.streams:
            room.hears(9)

    monkeypatch.setattr(room.job, "_fission_gone", passes)
    block, dummy = room.run()
    assert (block.samples[0], dummy, room.job.gaps) == (9, False, 0)
    assert [round(later - earlier, 3) for earlier, later in pairwise(tried)] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("devices", "arguments", "error", "text"),
    [
        ((), {}, DefinitionError, "MicrophoneJob 1: this machine must have a default microphone, but there is none"),
        ([("HDMI", 0, 2)], {"device": "Boom"}, DefinitionError, "must have the microphone 'Boom', but there is none"),
        ([("Boom", 2, 0)], {"device": "Dask"}, DefinitionError, "but there are: 0 'Boom, ALSA'; see fission audio devices"),
        ([("Boom", 2, 0)], {"channels": 3}, DefinitionError, "channels must be at most 2 for the microphone 'Boom, ALSA', but is 3"),
    ],
)
def test_a_device_that_is_not_there_at_the_start(
    monkeypatch: pytest.MonkeyPatch, devices: Any, arguments: Any, error: type[Exception], text: str
) -> None:
    room = Room(monkeypatch, FakeLibrary(*devices), **arguments)
    with pytest.raises(error) as raised:
        room.job.setup()
    assert text in str(raised.value)


def test_a_new_incarnation_waits_for_the_device_with_dummies(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Room(monkeypatch, FakeLibrary(("Boom", 2, 0)))
    before.job.setup()
    before.hears(1, 2)
    last = before.run()[0]
    state = before.job.snapshot()
    after = Room(monkeypatch, FakeLibrary())
    after.now += 0.5
    after.job.__dict__["_fission_restarted"] = True
    after.job.setup()
    after.job.restore(state)
    monkeypatch.setattr(after.job, "_fission_patience", lambda: 0.001)
    block, dummy = after.run()
    assert (block.samples.tolist(), dummy) == ([0] * 100, True)
    # block 2 was sent by the incarnation before, after its snapshot: consumers drop this one
    assert block.first_sample == last.end


def test_the_first_number_is_known_before_the_first_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state that is stored then lets an incarnation continue after blocks that were sent without any further snapshot."""
    before = Room(monkeypatch, FakeLibrary(("Boom", 2, 0)))
    before.job.setup()
    before.hears(1, 2, 3)
    assert before.job._fission_begins_once()
    state = before.job.snapshot()
    sent = [before.run()[0] for _ in range(3)]
    after = Room(monkeypatch, FakeLibrary(("Boom", 2, 0)))
    after.now += 0.5
    after.job.__dict__["_fission_restarted"] = True
    after.job.setup()
    after.job.restore(state)
    after.hears(9)
    blocks = []
    while not blocks or blocks[-1][1]:
        blocks.append(after.run())
    assert [block.first_sample for block, _ in blocks[:3]] == [block.first_sample for block in sent]
    assert (blocks[-1][0].samples[0], blocks[-1][0].first_sample) == (9, sent[0].first_sample + 700)


def test_a_device_that_is_busy_does_not_delay_the_first_state(room: Room) -> None:
    room.library.fault = BUSY
    room.job.setup()
    assert room.job._fission_begins_once()
    assert room.job.snapshot() is None


def test_a_new_incarnation_leaves_a_machine_without_a_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(monkeypatch, FakeLibrary())
    room.job.__dict__["_fission_restarted"] = True
    room.job.setup()
    with pytest.raises(NodeFault, match="this machine must have a default microphone, but there is none"):
        room.job.restore((7, 49.0, 1049.0, "another machine"))


DEVICE = "device must be a name or a part of it, a number of at least 0, or None"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"rate": 0}, "rate must be an int from 1 to 10000000, but is 0"),
        ({"rate": float("nan")}, "rate must be an int from 1 to 10000000, but is nan"),
        ({"rate": 10**400}, f"rate must be an int from 1 to 10000000, but is 1{'0' * 76}..."),
        ({"block": 1.5}, "block must be an int from 1 to 160000, but is 1.5; a block has at most 10 s of sound"),
        ({"block": 160001}, "block must be an int from 1 to 160000, but is 160001; a block has at most 10 s of sound"),
        ({"channels": True}, "channels must be an int from 1 to 4096, but is True"),
        ({"device": 1.0}, f"{DEVICE}, but is 1.0; see fission audio devices"),
        ({"device": " "}, f"{DEVICE}, but is ' '; see fission audio devices"),
        ({"device": -1}, f"{DEVICE}, but is -1; see fission audio devices"),
        ({"dtype": "int24"}, "dtype must be one of int16, int32, float32, but is 'int24'"),
        ({"dtype": np.zeros(2)}, "dtype must be one of int16, int32, float32, but is array([0., 0.])"),
        ({"dtype": np.int16}, "dtype must be one of int16, int32, float32, but is <class 'numpy.int16'>"),
    ],
)
def test_arguments_are_checked(arguments: Any, text: str) -> None:
    assert MicrophoneJob(**arguments, outputs=[PicklePipe(1)])._fission_faults() == [text]


def test_a_dtype_of_numpy_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(monkeypatch, FakeLibrary(("Boom", 2, 0)), dtype=np.dtype("int32"))
    assert room.job._fission_faults() == []
    room.job.setup()
    assert room.library.streams[-1].dtype == "int32"


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1, "60", None, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: MicrophoneJob(outputs=[PicklePipe(1)]),
        lambda: LoudspeakerJob(inputs=[PicklePipe(1)]),
        lambda: ResampleJob(8000, inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
        lambda: MergeChannelsJob(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
        lambda: WavSinkJob("heard.wav", inputs=[PicklePipe(1)]),
    ],
)
def test_the_longest_gap_is_checked(make: Any, seconds: Any) -> None:
    job = make()
    assert job._fission_faults() == []
    job.MAX_GAP_S = seconds
    assert job._fission_faults() == [f"MAX_GAP_S must be a number of seconds from 0 to 1e+09, but is {seconds!r}"]


def test_a_device_that_fails_when_it_starts_is_waited_for(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    room.library.start_fault = PortAudioError("Error starting stream: Device unavailable", -9985)
    room.job.setup()
    assert (
        "'Boom, ALSA' must be free, but cannot be opened: Device unavailable; another program may use it; trying" in capsys.readouterr().err
    )
    assert [stream.state for stream in room.library.streams] == ["closed"]


def test_a_device_that_gives_nothing_from_the_start_is_reported(
    room: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    room.job.setup()
    monkeypatch.setattr(room.job, "_fission_patience", lambda: 0.001)
    gone = room.job._fission_gone

    def passes() -> None:
        room.now += 2
        gone()
        if len(room.library.streams) == 4:
            room.hears(5)

    monkeypatch.setattr(room.job, "_fission_gone", passes)
    assert room.run()[0].samples[0] == 5
    # opening it succeeds each time, but the reason is not a new one
    assert capsys.readouterr().err == "MicrophoneJob 1: the device must give sound, but gives none; trying again every 1 s\n"


def test_a_device_that_comes_back_is_reported(room: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    room.job.setup()
    room.hears(1)
    room.run()
    monkeypatch.setattr(room.job, "_fission_patience", lambda: 0.001)
    room.now += 0.3
    room.library.devices = ()
    room.job._fission_gone()
    room.now += 1
    room.job._fission_gone()
    room.job._fission_gone()
    room.library.devices = (("Boom", 2, 0),)
    room.now += 1
    room.job._fission_gone()
    room.now += 0.1
    room.hears(2)
    while room.run()[1]:
        pass
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "MicrophoneJob 1: the device gives no sound; declared dummies are sent until it does",
        "MicrophoneJob 1: this machine must have a default microphone, but there is none; trying again every 1 s",
        f"MicrophoneJob 1: the device gives sound again; {room.job.filled_frames} frames were replaced by zeros in declared dummies",
    ]
