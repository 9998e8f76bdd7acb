"""The jobs and the network, without processes: `play` of conftest.py hands the values from job to job."""

from __future__ import annotations

import copy
import csv
import pickle
import re
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fission.connectors.audio import AudioBlock, MicrophoneJob
from fission.errors import DefinitionError

from source_separation import sound
from source_separation.jobs.jobs import ReaderJob
from source_separation.jobs.live import LiveReaderJob
from source_separation.pipes.pipes import SoundPipe
from source_separation.wavfile import Recording, load_recording

NETWORK = Path(sound.__file__).parent
VOICES = [load_recording(NETWORK / "recordings" / f"voice_{number}.wav") for number in (1, 2)]
FILES = {9: "separated_1.wav", 10: "separated_2.wav", 12: "levels.csv"}


def content(folders):
    return [(folders[number] / name).read_bytes() for number, name in FILES.items()]


def separated(folders):
    return [load_recording(folders[number] / FILES[number]).samples() for number in (9, 10)]


def test_each_voice_is_separated_by_10_db(load_jobs, play, capsys):
    folders = play(load_jobs())
    printed = capsys.readouterr().out
    found = re.findall(r"(?m)^voice_([12])\.wav: separated by (\d+\.\d) dB \(in output [12]:", printed)
    assert [number for number, _ in found] == ["1", "2"]
    assert all(float(improvement) >= 10 for _, improvement in found), printed
    # The files hold what was measured: each one of the voices, in phase with it.
    correlations = np.corrcoef([*separated(folders), *(voice.samples() for voice in VOICES)])[:2, 2:]
    assert correlations.max(axis=1) == pytest.approx(1, abs=0.01)
    assert sorted(correlations.argmax(axis=1)) == [0, 1]


def test_files(load_jobs, play, capsys):
    folders = play(load_jobs())
    printed = capsys.readouterr().out
    for number in (9, 10):
        with wave.open(str(folders[number] / FILES[number])) as file:
            assert file.getparams()[:4] == (1, 2, 8000, 56000)
        assert f"wrote {FILES[number]}: 7.00 s, 8000 samples a second\n" in printed
    assert [np.abs(samples).max() for samples in separated(folders)] == pytest.approx([0.9, 0.9], abs=1e-4)
    with (folders[12] / FILES[12]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["round", "block", "level_1_db", "level_2_db"]
    assert [(int(row["round"]), int(row["block"])) for row in rows] == [(played, block) for played in range(1, 6) for block in range(1, 71)]
    levels = np.array([[float(row["level_1_db"]), float(row["level_2_db"])] for row in rows])
    assert (levels >= -120).all()
    assert (levels[-70:] < 0).all()


def test_result_is_the_same_each_time(load_jobs, play):
    assert content(play(load_jobs())) == content(play(load_jobs()))


@pytest.mark.parametrize("size", [3333, 10**9])
def test_result_does_not_depend_on_the_size_of_the_blocks(load_jobs, play, size):
    usual, other = (separated(play(load_jobs(SAMPLES_PER_BLOCK=samples))) for samples in (800, size))
    assert np.abs(np.subtract(usual, other)).max() < 2 / 32768


def test_jobs_continue_from_their_snapshots(load_jobs, play):
    expected = content(play(load_jobs()))

    def lose_each_job_now_and_then(job, number):
        if job.CHECKPOINT is None or number % 37 != job.id:
            return None
        state = pickle.dumps(job.snapshot())
        assert len(state) < 5000
        heir = copy.copy(job)
        heir.setup()
        heir.restore(pickle.loads(state))
        return heir

    assert content(play(load_jobs(), between=lose_each_job_now_and_then)) == expected


def test_without_clean_voices_correlation_and_kurtosis_are_printed(load_jobs, play, capsys):
    play(load_jobs(CLEAN_VOICES=None))
    printed = capsys.readouterr().out
    assert "dB" not in printed
    before, after = (
        [float(number) for number in re.search(rf"{name}: correlation (-?[\d.]+), kurtosis ([\d.]+) and ([\d.]+)\n", printed).groups()]
        for name in ("microphones", "outputs")
    )
    assert abs(before[0]) > 0.5
    assert after[0] == 0
    assert max(after[1:]) > max(before[1:])


@pytest.mark.parametrize(("width", "rate"), [(1, 8000), (1, 22050), (2, 48000)])
def test_other_kinds_of_recordings(load_jobs, play, save_wav, capsys, width, rate):
    voices = np.array([voice.samples()[:30000] for voice in VOICES])
    microphones = np.array([[0.5, -0.4], [0.3, 0.55]]) @ voices
    paths = [[str(save_wav(f"{name}_{n}.wav", samples, width=width, rate=rate)) for n, samples in enumerate(signals)]
             for name, signals in (("microphone", microphones), ("voice", voices))]  # fmt: skip
    folders = play(load_jobs(MICROPHONES=paths[0], CLEAN_VOICES=paths[1]))
    improvements = re.findall(r"separated by (-?\d+\.\d) dB", capsys.readouterr().out)
    assert len(improvements) == 2
    assert all(float(improvement) >= 10 for improvement in improvements)
    assert {load_recording(folders[number] / FILES[number]).rate for number in (9, 10)} == {rate}


def test_recordings_of_a_few_samples(load_jobs, play, save_wav):
    paths = [str(save_wav(f"{n}.wav", [0.1 * n, 0.2, -0.3, 0.5 - 0.4 * n])) for n in (0, 1)]
    assert [len(samples) for samples in separated(play(load_jobs(MICROPHONES=paths, CLEAN_VOICES=None)))] == [4, 4]


def test_config_refuses_what_cannot_be_separated(load_jobs, save_wav):
    microphone = "recordings/microphone_1.wav"
    short = str(save_wav("short.wav", [0, 0.5, 0.2]))
    for settings, text in (
        (
            {"MICROPHONES": (microphone, "recordings/none.wav")},
            f"^MICROPHONES: recording {NETWORK / 'recordings/none.wav'} must be .* no such file",
        ),
        (
            {"MICROPHONES": (microphone, short)},
            f"^MICROPHONES: recording {short} must have 56000 samples like .*microphone_1.wav; it has 3 samples",
        ),
        ({"MICROPHONES": (microphone, microphone)}, "nothing to separate"),
        ({"MICROPHONES": None}, "MICROPHONES must be the paths of two WAV files, it is None"),
        (
            {"CLEAN_VOICES": (short, short)},
            f"^CLEAN_VOICES: recording {short} must have 56000 samples like .*microphone_1.wav; it has 3 samples",
        ),
        ({"CLEAN_VOICES": ("recordings/voice_1.wav",)}, "CLEAN_VOICES must be the paths of two WAV files"),
        ({"SAMPLES_PER_BLOCK": 0}, "samples_per_block must be an integer of at least 1, it is 0"),
        ({"SAMPLES_PER_BLOCK": 0.1}, r"samples_per_block must be an integer of at least 1, it is 0\.1"),
        ({"PACE": 0}, "pace must be None or a number of blocks a second above 0, it is 0"),
        ({"PACE": "fast"}, "pace must be None or a number of blocks a second above 0, it is 'fast'"),
    ):
        with pytest.raises(DefinitionError, match=text):
            load_jobs(**settings)


def test_reader_tells_place_and_end(play):
    recording = Recording("seven.wav", 8000, 2, np.arange(7, dtype="<i2").tobytes())
    reader = ReaderJob(recording, 3, outputs=[SoundPipe(1)])
    reader.setup()
    blocks = []
    while not reader.finished:
        blocks.append(reader.run())
    assert [(block.round, block.number, block.start, len(block.samples)) for block in blocks] == [
        (played, number, 3 * number - 3, length) for played in range(1, sound.ROUNDS + 1) for number, length in ((1, 3), (2, 3), (3, 1))
    ]
    assert {block.count for block in blocks} == {3}
    assert [block.ends_recording for block in blocks] == [False] * (len(blocks) - 1) + [True]


def test_jobs_do_not_change_what_they_are_given(load_jobs, play):
    # On one host arrays reach a job without being copied, read-only.
    jobs = load_jobs()
    for job in jobs:
        job.run = read_only(job.run)
    play(jobs)


def read_only(run):
    def guarded(*values):
        for value in values:
            for name in ("samples", "covariance", "weighted"):
                array = getattr(value, name, None)
                if array is not None:
                    array.setflags(write=False)
        return run(*values)

    return guarded


def test_live_microphones_are_played_in_rounds_like_recordings(monkeypatch):
    """A job that listens sends what the readers of the same sound send, also after it has continued from a snapshot."""
    recordings = [load_recording(NETWORK / "recordings" / f"microphone_{number}.wav") for number in (1, 2)]
    heard = np.stack([np.frombuffer(recording.data, "<i2") for recording in recordings], axis=1)
    blocks = (AudioBlock(heard[start : start + 800], 8000, 10**9 + start, 1.0) for start in range(0, 56000, 800))
    for name, method in {"setup": None, "snapshot": None, "restore": None, "run": lambda: next(blocks)}.items():
        monkeypatch.setattr(MicrophoneJob, name, lambda self, *args, method=method: method and method())
    readers = [ReaderJob(recording, 800, outputs=[SoundPipe(10 + number)]) for number, recording in enumerate(recordings)]
    live = LiveReaderJob(70, 800, 8000, outputs=[SoundPipe(1), SoundPipe(2)])
    for job in (*readers, live):
        job.setup()
    while not live.finished:
        state = pickle.dumps(live.snapshot())
        live.setup()
        live.restore(pickle.loads(state))
        for block, expected in zip(live.run(), [reader.run() for reader in readers], strict=True):
            assert np.array_equal(block.samples, expected.samples)
            assert replace(block, samples=None) == replace(expected, samples=None)
    assert all(reader.finished for reader in readers)
