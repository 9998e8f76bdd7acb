"""Blocks of sound as a WAV file: format, gaps, size, and every frame once wherever a process dies."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fission.connectors.audio import AudioBlock, WavSinkJob
from fission.core import wav_sink
from fission.core.base import reset
from fission.core.pipes import PicklePipe
from fission.core.wav_layout import UNKNOWN, WavLayout
from fission.errors import DefinitionError, ValueFitError

soundfile = pytest.importorskip("soundfile")

DTYPES = {
    "uint8": "PCM_U8",
    "int16": "PCM_16",
    "int24": "PCM_24",
    "int32": "PCM_32",
    "float32": "FLOAT",
    "float64": "DOUBLE",
}
#: What libsndfile reads each dtype as.
READ_AS = {"uint8": "int16", "int24": "int32"}


class QuickSinkJob(WavSinkJob):
    """Does not wait for the device, which no test takes away."""

    SYNC = False


class Incarnation:
    """One incarnation of a sink, in this process: `write` is `run` of one compute block, then its record."""

    def __init__(self, **arguments: Any) -> None:
        reset()
        self.job = QuickSinkJob(**{"path": "out.wav", "inputs": [PicklePipe(1)], **arguments})
        self.job.setup()
        file = self.job._fission_sink_file
        assert file is not None
        self.file = file
        self.number = self.file.first_number(0)
        self.file.begin(0, self.number)

    def write(self, *values: Any) -> None:
        self.job.run(*values)
        self.file.record(0, self.number)
        self.file.flush()
        self.number += 1

    def die(self) -> None:
        self.file.close()


@contextmanager
def sink(**arguments: Any) -> Iterator[Incarnation]:
    incarnation = Incarnation(**arguments)
    try:
        yield incarnation
    finally:
        incarnation.die()


def ramp(first: int, frames: int, dtype: str = "int16", channels: int = 1, rate: int = 8000) -> AudioBlock:
    """A block whose samples are the numbers of their frames, from 1 on."""
    samples = (np.arange(first, first + frames) % 100 + 1).astype(dtype)
    return AudioBlock(samples if channels == 1 else np.stack([samples] * channels, 1), rate, first)


def written() -> list[float]:
    """Every frame of the file, as the number that is in it; a gap has zeros."""
    return list(soundfile.read("out.wav", dtype="int16")[0].tolist())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_block_determines_the_format(dtype: str, channels: int) -> None:
    """Also after a failure between any two blocks."""
    block = ramp(0, 50, "int32" if dtype == "int24" else dtype, channels)
    if dtype == "int24":
        block = AudioBlock(block.samples << 8, 8000)
    for _ in range(2):
        with sink(dtype="int24" if dtype == "int24" else None) as incarnation:
            incarnation.write(AudioBlock(block.samples, 8000, 50 * (incarnation.number - 1)))
        info = soundfile.info("out.wav")
        assert (info.samplerate, info.channels, info.subtype) == (8000, channels, DTYPES[dtype])
    expected = np.concatenate([block.samples] * 2)
    if dtype == "uint8":
        expected = (expected.astype("int16") - 128) << 8
    assert (soundfile.read("out.wav", dtype=READ_AS.get(dtype, dtype))[0] == expected).all()


def test_gaps_are_filled_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with sink() as incarnation:
        incarnation.write(ramp(1000, 5))
        incarnation.write(ramp(1008, 2))
        incarnation.write(ramp(1010, 3))
        assert (incarnation.job.gaps, incarnation.job.filled_frames, incarnation.job.jumps) == (1, 3, 0)
    assert written() == [1, 2, 3, 4, 5, 0, 0, 0, 9, 10, 11, 12, 13]
    assert capsys.readouterr().err == "QuickSinkJob 1: gap of 3 frames before frame 1008 filled with silence\n"
    with sink() as incarnation:  # a new incarnation expects the same frame
        incarnation.write(ramp(1013, 1))
        incarnation.write(ramp(1020, 1))
    assert written()[13:] == [14, 0, 0, 0, 0, 0, 0, 21]


def test_a_gap_is_long_enough_for_several_pieces_and_silent_in_each_dtype() -> None:
    with sink(dtype="uint8") as incarnation:
        incarnation.write(ramp(0, 2, "uint8"))
        incarnation.write(ramp(20_002, 2, "uint8"))
    samples = soundfile.read("out.wav", dtype="int16")[0]
    assert len(samples) == 20_004
    assert not samples[2:-2].any()


def test_a_jump_back_and_a_very_long_gap_are_appended(capsys: pytest.CaptureFixture[str]) -> None:
    with sink() as incarnation:
        for first in (0, 5, 3, 8, 10**12):
            incarnation.write(ramp(first, 5))
        assert (incarnation.job.gaps, incarnation.job.jumps) == (0, 2)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "QuickSinkJob 1: a block begins with frame 3 instead of 10; appended as it is",
        f"QuickSinkJob 1: a block begins with frame {10**12} instead of 13; appended as it is (number 2)",
    ]
    with sink() as incarnation:
        incarnation.write(ramp(10**12 + 5, 5))
        assert (incarnation.job.gaps, incarnation.job.jumps) == (0, 0)
    assert len(written()) == 30


STREAM = [(0, 7), (7, 1), (8, 0), (8, 5), (20, 3), (23, 4), (2, 6), (8, 2), (15, 5), (10**9, 4), (10**9 + 4, 3), (10**9 + 9, 2)]


def run_killed(seed: int) -> None:
    """Write STREAM; the process dies at random moments: before a block, or within one."""
    rng, number = random.Random(seed), 0
    while number < len(STREAM):
        incarnation = Incarnation()
        number = incarnation.number - 1
        for first, frames in STREAM[number:]:
            death = rng.choice(("none", "none", "before", "unrecorded"))
            if death == "before":
                break
            if death == "unrecorded":
                incarnation.job.run(ramp(first, frames))
                break
            incarnation.write(ramp(first, frames))
            number += 1
        incarnation.die()


def whole_stream() -> tuple[list[float], bytes]:
    with sink() as incarnation:
        for first, frames in STREAM:
            incarnation.write(ramp(first, frames))
    return written(), Path("out.wav").read_bytes()


def afresh() -> None:
    for name in ("out.wav", ".fission-sink"):
        Path(name).unlink(missing_ok=True)


def test_deaths_at_any_moment_change_nothing() -> None:
    expected = whole_stream()
    for seed in range(20):
        afresh()
        run_killed(seed)
        assert (written(), Path("out.wav").read_bytes()) == expected, seed


@pytest.mark.parametrize("broken", ["number after the block", "no number"])
def test_a_broken_sink_is_caught(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    expected = whole_stream()[0]
    if broken == "no number":
        monkeypatch.setattr(wav_sink.WavSinkJob, "_fission_continue", lambda job, start: job._fission_read(start) and None)
        monkeypatch.setattr(wav_sink.WavLayout, "header", lambda layout, size, _=0, header=WavLayout.header: header(layout, size))
    else:
        monkeypatch.setattr(wav_sink.WavSinkJob, "_fission_number", lambda job, number: setattr(job, "_fission_origin", number))
        monkeypatch.setattr(wav_sink.WavSinkJob, "_fission_update_header", lambda job: None)
    found = []
    for seed in range(20):
        afresh()
        run_killed(seed)
        found.append(written())
    assert any(each != expected for each in found)


def test_plain_arrays_and_bytes_are_written_as_ever() -> None:
    with sink(rate=8000, channels=2) as incarnation:
        incarnation.write(np.array([[1, 2], [3, 4]], "int16"))
        incarnation.write(b"\5\0\6\0")
        incarnation.write(np.array([[1.0, -1.0]]))
    assert written() == [[1, 2], [3, 4], [5, 6], [2**15 - 1, -(2**15 - 1)]]
    afresh()
    with sink(path="mixed.wav", rate=8000) as incarnation:
        incarnation.write(np.arange(4, dtype="int16"))
        incarnation.write(ramp(70, 2))
        incarnation.write(ramp(73, 1))
    assert soundfile.read("mixed.wav", dtype="int16")[0].tolist() == [0, 1, 2, 3, 71, 72, 0, 74]


@pytest.mark.parametrize("tail", [0, 3])
def test_a_file_of_an_earlier_version_is_continued(monkeypatch: pytest.MonkeyPatch, tail: int) -> None:
    short = WavLayout(8000, 1, "int16", short=True)
    assert len(short.header(0)) == 44
    Path("out.wav").write_bytes(short.header(50) + np.arange(3, dtype="<i2").tobytes() + b"torn"[:tail])
    with sink(rate=8000) as incarnation:
        incarnation.write(np.arange(3, 5, dtype="int16"))
    assert written() == [0, 1, 2, 3, 4]
    assert Path("out.wav").read_bytes()[:44] == short.header(54)
    monkeypatch.setattr(wav_sink, "MOST_BYTES", 60)
    with (
        sink(rate=8000) as incarnation,
        pytest.raises(ValueFitError, match=r"out\.wav was begun by an earlier version, has at most 4 GiB, and is full"),
    ):
        incarnation.write(np.arange(4, dtype="int16"))


@pytest.mark.parametrize("dtype", ["int16", "float64"])
def test_beyond_4_gib_the_file_is_rf64(dtype: str) -> None:
    layout = WavLayout(48000, 4, dtype)
    frames = 2**32 // layout.frame_bytes - 2
    size = layout.header_bytes + frames * layout.frame_bytes
    with open("out.wav", "wb") as file:  # without blocks on the disk
        file.write(layout.header(size))
        file.truncate(size)
    assert soundfile.info("out.wav").frames == frames
    last = (np.arange(40).reshape(10, 4) + 1).astype(dtype)
    for number in range(2):
        with sink() as incarnation:
            incarnation.write(AudioBlock(last, 48000, 10 * number))
    info = soundfile.info("out.wav")
    assert (info.format, info.frames) == ("RF64", frames + 20)
    found, _ = soundfile.read("out.wav", start=frames, dtype=dtype)
    assert (found == np.concatenate([last, last])).all()
    with open("out.wav", "rb") as file:
        start = file.read(200)
    assert WavLayout.read(start) == (layout, -frames, size + 20 * layout.frame_bytes)


def test_headers_are_read_back() -> None:
    for dtype in DTYPES:
        for short in (False, True):
            layout = WavLayout(44100, 2, dtype, short)
            for size in (0, 1000, 2**32, 2**33)[: 2 if short else 4]:
                number = UNKNOWN if short else size
                header = layout.header(size, number)
                assert len(header) == layout.header_bytes
                assert WavLayout.read(header + bytes(100)) == (layout, number, max(size, len(header)))
                assert WavLayout.read(header[:-1]) is None
    assert WavLayout.read(b"") is None
    assert WavLayout.read(b"RIFF....WAVEfmt ") is None


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        ([np.zeros(3)], "blocks must be AudioBlock objects, but are ndarray; or set rate"),
        (
            [ramp(0, 1), ramp(1, 1, rate=16000)],
            "blocks must have 1 channels at 8000 frames per second, as the file out.wav, but one has 1 at 16000",
        ),
        ([ramp(0, 1), ramp(1, 1, channels=2)], "but one has 2 at 8000"),
        ([ramp(0, 1), ramp(1, 1, "int32")], "samples must be int16 or floats, but are int32"),
        ([AudioBlock(np.zeros(1), 8000.5)], "the rate of a WAV file must be an int below 2\\*\\*32, but is 8000.5; resample"),
    ],
)
def test_blocks_that_do_not_fit_are_one_line(blocks: list[Any], text: str) -> None:
    with sink() as incarnation:
        for block in blocks[:-1]:
            incarnation.write(block)
        with pytest.raises(ValueFitError, match=f"^QuickSinkJob 1: .*{text}"):
            incarnation.write(blocks[-1])


def test_another_file_is_refused() -> None:
    soundfile.write("out.wav", np.zeros(9), 8000, format="FLAC")
    with pytest.raises(
        DefinitionError, match=r"out\.wav exists, and must be a WAV file that this job can continue, but is not; move it away"
    ):
        Incarnation()
    with pytest.raises(DefinitionError, match=r"can continue \(rate 8000, channels 1, dtype int16\), but is not"):
        Incarnation(rate=8000)
