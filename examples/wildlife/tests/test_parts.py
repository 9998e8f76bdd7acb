"""The detector, the folder of recordings, and the jobs alone."""

from __future__ import annotations

import copy
import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fission.connectors.audio import AudioBlock
from fission.core.base import reset
from fission.core.pipes import PicklePipe
from fission.errors import DefinitionError

from wildlife import recordings, scene
from wildlife.detector import Detection, Detector, Event, Features, Limits, levels
from wildlife.jobs import jobs
from wildlife.jobs.jobs import ClipJob, DetectorJob, FeaturesJob, FolderJob

HOP = 320
QUIET = [-60.0, -60.0]


def features(bands, first_sample=0):
    bands = np.array(bands, float)
    return Features(first_sample, HOP, 16000, 1000.0 + first_sample / 16000, bands.max(axis=1), bands)


def hops(*parts):
    """Return levels of two bands: for each (number of hops, level of the second band)."""
    return [[-60.0, level] for count, level in parts for _ in range(count)]


def found(detector, bands, size=25, first_sample=0):
    events = []
    for start in range(0, len(bands), size):
        part = bands[start : start + size]
        events += detector.add(features(part, first_sample + start * HOP), last=start + size >= len(bands)).events
    return events


def test_levels_of_a_tone():
    tone = 0.5 * np.sin(2 * np.pi * 2000 * np.arange(16000) / 16000)
    level, bands = levels(tone, HOP, 16000, ((1000, 3000), (3000, 8000)))
    assert level == pytest.approx(np.full(50, -9.03), abs=0.01)
    assert bands[:, 0] == pytest.approx(np.full(50, -9.03), abs=0.01)
    assert bands[:, 1].max() < -60
    assert levels(np.zeros(HOP), HOP, 16000, ((0, 8000),))[1].tolist() == [[-120]]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_event_has_its_place_and_its_strength(size):
    (event,) = found(Detector(), hops((60, -60), (20, -40), (10, -60), (5, -45), (80, -60)), size)
    assert (event.start, event.end) == (60 * HOP, 95 * HOP)
    assert event.time == pytest.approx(1000 + 60 * 0.02)
    assert event.seconds == pytest.approx(0.7)
    assert (event.band, event.above_db, event.level_db) == (1, pytest.approx(20, abs=0.5), -40)


def test_what_is_short_weak_or_too_early_is_not_an_event():
    assert found(Detector(), hops((60, -60), (1, -40), (30, -60), (20, -52), (60, -60))) == []
    assert found(Detector(), hops((10, -60), (10, -40), (60, -60))) == []


def test_the_end_of_sound_ends_an_event_and_a_gap_does_too():
    (last,) = found(Detector(), hops((60, -60), (20, -40)))
    assert last.end == 80 * HOP
    detector = Detector()
    assert found(detector, hops((60, -60), (20, -40)), 81)
    detector = Detector()
    detector.add(features(hops((60, -60), (20, -40))))
    assert len(detector.add(features([QUIET] * 5, 100 * HOP)).events) == 1


def test_rain_is_an_event_that_ends_and_becomes_the_noise():
    limits = Limits(longest_s=2.0)
    (event,) = found(Detector(limits), hops((60, -60), (400, -40)))
    assert event.seconds == pytest.approx(2.0)
    two = found(Detector(limits), hops((60, -60), (400, -40), (20, -25), (60, -40)))
    assert len(two) == 2


def test_zeros_in_place_of_lost_sound_change_neither_noise_nor_events():
    lost = [[-120.0, -120.0]]
    for before in (0, 60):
        sound = hops((before, -60)) + lost * 300 + hops((60, -60), (10, -52), (60, -60))
        assert found(Detector(), sound) == []
    (event,) = found(Detector(), hops((60, -60), (20, -40)) + lost * 300 + hops((60, -60)))
    assert event.end == 80 * HOP


def test_sound_is_kept_for_as_long_as_an_event_may_need_it():
    detector = Detector()
    assert detector.add(features([QUIET] * 60)).keep_from == 60 * HOP - 8000
    assert detector.add(features(hops((1, -40)), 60 * HOP)).keep_from == 60 * HOP - 8000
    assert detector.add(features(hops((50, -40)), 61 * HOP)).keep_from == 60 * HOP - 8000


def test_jobs_continue_from_their_snapshots():
    random = np.random.default_rng(1)
    sound = random.integers(-300, 300, 160000).astype("int16")
    sound[80000:96000] += (8000 * np.sin(np.arange(16000))).astype("int16")
    blocks = [AudioBlock(sound[start : start + 1000], 16000, start, 1000 + start / 16000) for start in range(0, 160000, 1000)]
    chain = [
        FeaturesJob(((1000, 3000), (3000, 8000)), inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
        DetectorJob(Limits(), inputs=[PicklePipe(2)], outputs=[PicklePipe(3)]),
    ]

    def run(kept):
        jobs = list(chain)
        for job in jobs:
            job.setup()
            job.head = [False] * 8
        jobs[1].detector = Detector()
        events = []
        for number, block in enumerate(blocks):
            value = block
            for index, job in enumerate(jobs):
                value = job.run(value)
                if number % 17 == 16:
                    state = pickle.loads(pickle.dumps(job.snapshot()))
                    jobs[index] = copy.copy(job)
                    jobs[index].detector = Detector()
                    jobs[index].setup()
                    if kept:
                        jobs[index].restore(state)
                    jobs[index].head = [False] * 8
            events += value.events
        return events

    assert len(run(True)) == 1
    assert run(True)[0].start == pytest.approx(80000, abs=HOP)
    assert run(False) != run(True)


def test_a_folder_is_one_stream_with_gaps(tmp_path):
    for name, frames in (("20260401_053000.WAV", 1000), ("20260401_053001.wav", 500), ("later.flac", 300), (".hidden", 0)):
        if frames:
            data = np.zeros(frames)
            soundfile.write(tmp_path / name, data, 800, format=name.rsplit(".", 1)[1].upper())
    files, rate = recordings.stream_of(tmp_path)
    assert rate == 800
    start = 1775021400.0  # 2026-04-01 05:30:00 UTC
    # The second one begins before the first one ends, by its name: it follows at once.
    assert [(file.first_sample, file.time) for file in files] == [(0, start), (1000, start + 1.25), (1500, start + 1.875)]
    (tmp_path / "20260401_053001.wav").rename(tmp_path / "20260401_053010.wav")
    assert [file.first_sample for file in recordings.stream_of(tmp_path)[0]] == [0, 8000, 8500]


def test_a_folder_without_mono_recordings_of_one_rate_is_refused(tmp_path):
    with pytest.raises(DefinitionError, match="must have recordings"):
        recordings.stream_of(tmp_path)
    soundfile.write(tmp_path / "a.wav", np.zeros(10), 8000)
    soundfile.write(tmp_path / "b.wav", np.zeros((10, 2)), 8000)
    with pytest.raises(DefinitionError, match=r"b\.wav' must be mono, with 8000 samples a second, but has 2 channels"):
        recordings.stream_of(tmp_path)
    (tmp_path / "b.wav").write_text("no sound")
    with pytest.raises(DefinitionError, match=r"b\.wav' cannot be read: Format not recognised"):
        recordings.stream_of(tmp_path)


def test_other_entries_of_the_folder_are_left_out_and_names_may_have_any_bytes(tmp_path):
    (tmp_path / "._20260401_053000.wav").write_bytes(b"\0\5\x16\7")  # what some systems put beside each file
    (tmp_path / "a.wav").mkdir()
    soundfile.write(tmp_path / "b.wav", np.zeros(10), 8000)
    odd = tmp_path / os.fsdecode(b"c\xff\n'.wav")
    (tmp_path / "b.wav").rename(odd)
    files, _ = recordings.stream_of(tmp_path)
    assert [file.path for file in files] == [odd]
    with pytest.raises(DefinitionError, match=r"must have recordings .* but does not exist"):
        recordings.stream_of(tmp_path / "missing")


@pytest.fixture
def play(tmp_path):
    """Plays a folder, and returns the samples."""
    sources = []

    def played(folder=tmp_path, block=400):
        reset()
        sources.append(FolderJob(folder, block, outputs=[PicklePipe(9)]))
        sources[-1].setup()
        blocks = []
        while not sources[-1].finished:
            blocks.append(sources[-1].run())
            assert len(blocks) < 1000, "it does not end"
        return np.concatenate([block.samples for block in blocks])

    yield played
    for source in sources:
        source.close()


SUBTYPES = [("wav", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW")]


@pytest.mark.parametrize(("ending", "subtype"), [*SUBTYPES, ("flac", "PCM_24")])
def test_the_sound_is_the_same_in_each_kind_of_file(tmp_path, play, ending, subtype):
    sound = 0.5 * np.sin(np.arange(3000) / 50)
    soundfile.write(tmp_path / f"a.{ending}", sound, 8000, subtype=subtype)
    heard = play()
    assert heard.dtype == np.int16
    assert heard / 32768 == pytest.approx(sound, abs={"PCM_U8": 0.01, "ULAW": 0.02}.get(subtype, 1e-4))


def test_floats_that_are_no_sound_are_silence_or_full_scale(tmp_path, play):
    soundfile.write(tmp_path / "a.wav", np.array([np.nan, np.inf, -np.inf, 2.0, -2.0, 0.5]), 8000, subtype="FLOAT")
    assert play().tolist() == [0, 32767, -32768, 32767, -32768, 16384]


def test_a_damaged_recording_is_named(tmp_path, play):
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(1).normal(0, 0.1, 50000), 8000)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(DefinitionError, match=r"a\.flac' is damaged after \d+ of its 50000 samples: .*; take it out of its folder"):
        play()


def test_a_recording_that_becomes_shorter_is_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(2000), 8000)
    source = FolderJob(tmp_path, 400, outputs=[PicklePipe(9)])
    source.setup()
    try:
        source.run()
        source.close()  # as in a new incarnation
        soundfile.write(tmp_path / "a.wav", np.zeros(400), 8000)
        with pytest.raises(DefinitionError, match=r"a\.wav' must have 2000 samples, as before, but ends after 400"):
            source.run()
    finally:
        source.close()


@pytest.mark.parametrize(("block", "speed"), [(0, None), (-1, None), (True, None), ("9", None), (9, 0), (9, -1.0), (9, "fast"), (9, True)])
def test_a_wrong_block_or_speed_is_refused(block, speed):
    with pytest.raises(DefinitionError, match="must be"):
        FolderJob("x", block, speed, outputs=[PicklePipe(9)])


@pytest.mark.parametrize("bands", [(), None, 5, ((3000.0, 1500.0),), ((1.0, 2.0, 3.0),), (5.0, 6.0)])
def test_wrong_bands_are_refused(bands):
    with pytest.raises(DefinitionError, match="bands must be pairs of frequencies in Hz"):
        FeaturesJob(bands, inputs=[PicklePipe(1)], outputs=[PicklePipe(2)])


def test_making_recordings_replaces_what_it_made_and_nothing_else(tmp_path):
    def make(seconds):
        scene.make(tmp_path, {"north": 1}, files=1, seconds=seconds)
        return sorted(path.name for path in (tmp_path / "north").iterdir())

    assert make(4.0) == ["20260401_053000.wav"]
    own = tmp_path / "north/mine.wav"
    own.write_text("own")
    first = tmp_path / "north/20260401_053000.wav"
    before = first.stat().st_size
    assert make(5.0) == ["20260401_053000.wav", "mine.wav"]
    assert first.stat().st_size > before
    first.unlink()
    assert make(5.0) == ["20260401_053000.wav", "mine.wav"]
    (tmp_path / scene.TRUTH).write_text("{")
    assert make(5.0) == ["20260401_053000.wav", "mine.wav"]
    assert own.read_text() == "own"


def test_a_clip_waits_for_room_on_the_disk(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    job = ClipJob("here", Limits(), inputs=[PicklePipe(1), PicklePipe(2)])
    job.setup()
    tries = []
    write_bytes = Path.write_bytes

    def full(path, content):
        tries.append(path.name)
        if len(tries) < 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)
    job.run(AudioBlock(np.ones(16000, "int16"), 16000, 0), Detection((Event(9000, 9500, 0.1, None, 0.0, 0, 0.0),), 0))
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["here_sample_000000009000.wav"]
    assert capsys.readouterr().err.count("the disk is full: here_sample_000000009000.wav is written when there is room") == 1
    monkeypatch.setattr(Path, "write_bytes", lambda path, content: (_ for _ in ()).throw(PermissionError(errno.EACCES, "no")))
    with pytest.raises(PermissionError):
        job.write(Event(9000, 9500, 0.1, None, 0.0, 0, 0.0), 16000)


def test_the_source_continues_in_the_middle_of_a_file(tmp_path):
    sound = np.arange(2500, dtype="int16")
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", sound[number * 1250 : (number + 1) * 1250], 8000)

    def job():
        made = FolderJob(tmp_path, 400, outputs=[PicklePipe(9)])
        made.setup()
        return made

    source, blocks = job(), []
    try:
        while not source.finished:
            blocks.append(source.run())
            if len(blocks) in (2, 4):
                state = source.snapshot()
                source.close()
                reset()
                source = job()
                source.restore(state)
    finally:
        source.close()
    assert [block.frames for block in blocks] == [400, 400, 400, 50] * 2
    assert [block.first_sample for block in blocks] == [0, 400, 800, 1200, 1250, 1650, 2050, 2450]
    assert (np.concatenate([block.samples for block in blocks]) == sound).all()


def test_a_clip_keeps_to_its_side_of_a_gap(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = ClipJob("here", Limits(), inputs=[PicklePipe(1), PicklePipe(2)])
    job.setup()
    sound = np.arange(1, 17001, dtype="int16")
    event = Event(20000, 22000, 0.125, None, 0.0, 0, 0.0)
    job.run(AudioBlock(sound, 16000, 0), Detection((), 0))
    job.run(AudioBlock(sound, 16000, 19000), Detection((event,), 30000))
    samples, _ = soundfile.read("clips/here_sample_000000020000.wav", dtype="int16")
    assert (samples == sound[: 22000 + 6400 - 19000]).all()
    assert [block.first_sample for block in job.blocks] == [19000]
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["here_sample_000000020000.wav"]


def test_names_have_milliseconds():
    assert recordings.clip_name("north", 1775021400.9996, 5) == "north_20260401T053001.000Z.wav"
    assert recordings.utc(1775021400.25) == "2026-04-01T05:30:00.250Z"
