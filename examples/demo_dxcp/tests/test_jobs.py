"""The jobs and the network, in one process."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import soundfile
from fission.connectors.audio import AudioBlock
from fission.errors import DefinitionError

from demo_dxcp import dxcp, make_table
from demo_dxcp.jobs.jobs import FRAME, RecordingJob, SynchroniserJob, as_floats
from demo_dxcp.pipes.pipes import FramePipe, SecondsPipe


def blocks(samples, first=0):
    return [AudioBlock(samples[start : start + FRAME], dxcp.RATE, first + start) for start in range(0, len(samples) - FRAME + 1, FRAME)]


def pairs(first, second):
    first, second = blocks(first), blocks(second)
    return [(first[place : place + 2], second[place : place + 2]) for place in range(0, len(first) - 1, 2)]


@pytest.fixture
def job():
    made = SynchroniserJob(inputs=[FramePipe(1), FramePipe(2)], outputs=[SecondsPipe(number) for number in range(3, 8)])
    made.setup()
    return made


def same(row, other):
    return np.array_equal(row[:4], other[:4], equal_nan=True) and (row[4].samples == other[4].samples).all()


def test_the_network_of_the_config(load_config, fission_network, tmp_path, capsys):
    names = load_config(SECONDS=10.0, RATE_OFFSET_PPM=-40.0, SYNCHRONISED="synchronised.wav")
    sounds = [soundfile.read(tmp_path / "recordings" / name, dtype="float32")[0] for name in names["scene"].FILES]
    names["JOBS"][3].SYNC = names["JOBS"][4].SYNC = False  # no test cuts the power
    ran = fission_network(names["JOBS"], {1: blocks(sounds[0]), 2: blocks(sounds[1])})
    lines = (ran.folders[4] / "offsets.csv").read_text().splitlines()
    assert lines[:2] == ["seconds,rate_offset_ppm,time_offset_ms,residual_ppm", "0.0,nan,nan,nan"]
    assert len(lines) == 1 + 10 * dxcp.RATE // dxcp.SHIFT
    seconds, ppm, ms, residual = map(float, lines[-1].split(","))
    assert 9 < seconds < 10
    assert ppm == pytest.approx(-40, abs=3)
    assert ms == pytest.approx(12.5, abs=0.06)
    assert abs(residual) < 3
    printed = capsys.readouterr().out
    assert f"estimated {ppm:.3f} ppm, true -40.000 ppm\n" in printed
    assert f"estimated {ms:.3f} ms, true 12.500 ms\n" in printed
    sound, rate = soundfile.read(ran.folders[5] / "synchronised.wav")
    assert rate == dxcp.RATE
    assert abs(len(sound) - len(lines[1:]) * dxcp.SHIFT) < dxcp.SHIFT


@pytest.mark.parametrize("setting", ["SECONDS", "RATE_OFFSET_PPM", "TIME_OFFSET_MS", "SNR_DB", "SPEED"])
@pytest.mark.parametrize("value", ["fast", True, -5000.0, float("nan"), []])
def test_a_setting_that_is_not_a_number_of_its_range_is_refused(load_config, setting, value):
    with pytest.raises(DefinitionError, match="must be"):
        load_config(**{"SECONDS": 1.0, setting: Literal(value)})


class Literal:
    """A value as one writes it in a config."""

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return 'float("nan")' if self.value != self.value else repr(self.value)


def test_without_an_estimate_it_says_what_it_needs(job, capsys):
    job.teardown()
    assert capsys.readouterr().out == "no estimate: it takes 6 to 10 seconds of sound that both microphones hear\n"


def test_the_table_is_not_computed_in_vain(monkeypatch, capsys):
    monkeypatch.setattr(make_table.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(make_table, "estimates", lambda made: pytest.fail("it computes, and cannot draw the result"))
    with pytest.raises(SystemExit, match="needs matplotlib, which is not installed; install it: python3 -m pip install matplotlib"):
        make_table.main()


def test_without_a_file_for_sound_there_are_four_jobs(load_config):
    assert [type(job).__name__ for job in load_config(SECONDS=0.5)["JOBS"]] == [
        "RecordingJob",
        "RecordingJob",
        "SynchroniserJob",
        "CSVSinkJob",
    ]


def test_the_job_continues_from_its_snapshot(job, recorded):
    _, first, second = recorded
    expected = [job.run(*pair) for pair in pairs(first[: 9 * dxcp.RATE], second[: 9 * dxcp.RATE])]

    def with_failures(kept):
        job.begin()
        found = []
        current = job
        for number, pair in enumerate(pairs(first[: 9 * dxcp.RATE], second[: 9 * dxcp.RATE])):
            if number % 13 == 12:
                state = pickle.loads(pickle.dumps(current.snapshot()))
                current = copy.copy(job)
                current.setup()
                current.restore({name: value for name, value in state.items() if name in kept} if kept else state)
            found.append(current.run(*pair))
        return found

    assert all(map(same, with_failures(None), expected))
    # the comparison sees a state that is incomplete
    assert not all(map(same, with_failures(("given", "expected")), expected))


def test_lost_samples_are_silence_and_after_many_it_starts_anew(job, recorded, capsys):
    made, first, second = recorded
    length = 11 * dxcp.RATE
    found = [job.run(*pair) for pair in pairs(first[:length], second[:length])]
    lost = pairs(first[:length], second[:length])
    del lost[28][0][0]  # a block of each microphone, at different times
    del lost[31][1][1]
    job.begin()
    rows = [job.run(*pair) for pair in lost]
    assert rows[-1][1] == pytest.approx(found[-1][1], abs=1)
    assert rows[-1][2] == pytest.approx(found[-1][2], abs=0.05)
    assert rows[-1][1] == pytest.approx(made.rate_offset_ppm, abs=2)
    assert capsys.readouterr().out == ""
    late = [blocks(first[: 2 * FRAME], 40 * dxcp.RATE), blocks(second[: 2 * FRAME], length)]
    assert np.isnan(job.run(*late)[1])
    assert "the estimation starts anew" in capsys.readouterr().out


def test_microphones_that_number_by_the_time_of_day_may_begin_apart(job, recorded):
    made, first, second = recorded
    length, apart = 9 * dxcp.RATE, 3000
    # The second one began `apart` samples later, and says so.
    first, second = blocks(first[:length], 10**13), blocks(second[apart : length + apart], 10**13 + apart)
    for place in range(0, len(first) - 1, 2):
        row = job.run(first[place : place + 2], second[place : place + 2])
    assert row[1] == pytest.approx(made.rate_offset_ppm, abs=5)
    assert row[2] == pytest.approx(made.time_offset_ms, abs=0.1)


def test_two_microphones_are_heard_live(load_config, monkeypatch):
    monkeypatch.setenv("LIVE", "yes")
    jobs = load_config(LIVE_DEVICES=("left", "right"))["JOBS"]
    assert [type(job).__name__ for job in jobs] == ["MicrophoneJob", "MicrophoneJob", "SynchroniserJob", "CSVSinkJob"]
    assert [(job.device, job.rate, job.channels, job.block) for job in jobs[:2]] == [("left", 16000, 1, FRAME), ("right", 16000, 1, FRAME)]


def test_other_sound_is_refused(job):
    good = blocks(np.zeros(2 * FRAME))
    for samples, rate, text in ((np.zeros(FRAME), 44100, "1 channels of 44100"), (np.zeros((FRAME, 2)), 16000, "2 channels of 16000")):
        with pytest.raises(DefinitionError, match=f"microphone 2 must give mono sound of 16000 samples a second; it gives {text}"):
            job.run(good, [AudioBlock(samples, rate), AudioBlock(samples, rate, FRAME)])


def test_samples_of_all_types():
    for samples in (np.array([0, 64], "uint8"), np.array([-32768, -16384], "int16"), np.array([-1.0, -0.5], "float32")):
        assert as_floats(samples).tolist() == [-1, -0.5]


def test_a_speed_that_is_none_is_refused():
    for speed in (0, -1.0, float("nan")):
        with pytest.raises(DefinitionError, match="speed must be None or a number above 0"):
            RecordingJob("microphone_1.wav", FRAME, speed)
