"""Files of sound as blocks: every sample once, in every format, wherever a failure comes; bad files in one line."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fission.connectors.audio import AudioBlock, WavSourceJob
from fission.core.pipes import PicklePipe
from fission.errors import DefinitionError

soundfile = pytest.importorskip("soundfile")

RATE = 16000
FORMATS = [
    ("WAV", "PCM_U8", "int16"),
    ("WAV", "PCM_16", "int16"),
    ("WAV", "PCM_24", "int32"),
    ("WAV", "PCM_32", "int32"),
    ("WAV", "FLOAT", "float32"),
    ("WAV", "DOUBLE", "float64"),
    ("WAV", "ULAW", "int16"),
    ("WAV", "MS_ADPCM", "int16"),
    ("WAVEX", "PCM_24", "int32"),
    ("RF64", "PCM_16", "int16"),
    ("FLAC", "PCM_16", "int16"),
    ("FLAC", "PCM_24", "int32"),
    ("OGG", "VORBIS", "float32"),
]
noise = np.random.default_rng(7).uniform(-0.9, 0.9, (9000, 2))


def source(path: str | os.PathLike[str] = "in.wav", state: Any = None, **arguments: Any) -> WavSourceJob:
    """Return a job after `setup`, and `restore` if there is a state."""
    job = WavSourceJob(path, **{"block": 500, "start": 100.0, "outputs": [PicklePipe(1)], **arguments})
    job.setup()
    if state is not None:
        job.restore(state)
    return job


def blocks_of(job: WavSourceJob) -> list[AudioBlock]:
    found = []
    while not job.finished:
        found.append(job.run())
    return found


def joined(blocks: list[AudioBlock]) -> np.ndarray[Any, Any]:
    return np.concatenate([block.samples for block in blocks])


@pytest.mark.parametrize(("kind", "subtype", "dtype"), FORMATS, ids="-".join)
def test_every_sample_of_every_format_once(kind: str, subtype: str, dtype: str) -> None:
    soundfile.write("in.wav", noise, RATE, format=kind, subtype=subtype)
    expected = soundfile.read("in.wav", dtype=dtype)[0]
    blocks = blocks_of(source())
    assert joined(blocks).dtype == dtype
    assert (joined(blocks) == expected).all()
    ends = [0, *(block.end for block in blocks)]
    assert [block.first_sample for block in blocks] == ends[:-1]
    assert {block.frames for block in blocks[:-1]} == {500}
    assert [block.time for block in blocks] == [100.0 + block.first_sample / RATE for block in blocks]
    for dead_after in (1, 5, len(blocks) - 1):
        job = source()
        for _ in range(dead_after):
            job.run()
        rest = blocks_of(source(state=job.snapshot(), start=None))
        assert (joined(rest) == expected[500 * dead_after :]).all()
        assert (rest[0].first_sample, rest[0].time) == (500 * dead_after, 100.0 + 500 * dead_after / RATE)


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_24"), ("OGG", "VORBIS")])
def test_a_loop_has_no_seam(kind: str, subtype: str) -> None:
    soundfile.write("in.wav", noise[:1250, 0], RATE, format=kind, subtype=subtype)
    once = joined(blocks_of(source()))
    job = source(loop=True)
    blocks = [job.run() for _ in range(11)]
    assert (joined(blocks) == np.resize(once, 5500)).all()
    assert [block.first_sample for block in blocks] == list(range(0, 5500, 500))
    again = source(loop=True, state=job.snapshot()).run()
    assert again.first_sample == 5500
    assert (again.samples == np.resize(once, 6000)[5500:]).all()
    tiny = source(loop=True, block=4000)
    assert (tiny.run().samples == np.resize(once, 4000)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_samples_as_floats(dtype: str) -> None:
    soundfile.write("in.wav", noise, RATE, subtype="PCM_16")
    found = joined(blocks_of(source(dtype=dtype)))
    assert found.dtype == dtype
    assert (found == soundfile.read("in.wav", dtype="int16")[0] / 32768).all()


def test_other_chunks_of_odd_length_are_skipped() -> None:
    samples = np.arange(700, dtype="<i2")
    odd = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    data = b"data" + struct.pack("<I", samples.nbytes) + samples.tobytes()
    content = b"WAVE" + odd + form + odd + data + odd
    Path("in.wav").write_bytes(b"RIFF" + struct.pack("<I", len(content)) + content)
    assert (joined(blocks_of(source())) == samples).all()


def test_real_time_waits_until_the_last_frame_of_a_block_is_due() -> None:
    soundfile.write("in.wav", noise, RATE)
    job, now, waits = WavSourceJob("in.wav", block=1600, realtime=True, outputs=[PicklePipe(1)]), [50.0], list[float]()

    def sleep(seconds: float) -> None:
        waits.append(round(seconds, 9))
        now[0] += seconds

    job._fission_clock, job._fission_sleep = lambda: now[0], sleep
    job.setup()
    job.run()
    now[0] += 0.03  # the consumer is slow, which the next wait makes up for
    job.run()
    job.restore(job.snapshot())  # a new incarnation is in time with its own clock
    job.run()
    assert waits == [0.1, 0.07, 0.1]


def test_a_file_that_is_cut_off_is_sent_as_far_as_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    for kind, subtype, text in (
        ("WAV", "PCM_16", "its header says 36000 bytes of samples, but 23956 are there"),
        ("RF64", "PCM_16", "its header says 36000 bytes of samples, but 23896 are there"),
        ("OGG", "VORBIS", "its last page is missing"),
    ):
        soundfile.write("in.wav", np.tile(noise, (1 if kind != "OGG" else 6, 1)), RATE, format=kind, subtype=subtype)
        whole = joined(blocks_of(source()))
        assert capsys.readouterr().err == ""
        data = Path("in.wav").read_bytes()
        Path("in.wav").write_bytes(data[: 24000 if kind != "OGG" else len(data) * 2 // 3])
        found = joined(blocks_of(source()))
        assert 0 < len(found) < len(whole)
        assert (found == whole[: len(found)]).all()
        assert capsys.readouterr().err.partition(": ")[2] == f"'in.wav' is cut off: {text}; what is there is sent\n"


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000, 0x80000000], ids=["ffmpeg", "sox", "arecord"])
def test_a_file_of_unknown_length_is_complete(capsys: pytest.CaptureFixture[str], length: int) -> None:
    soundfile.write("in.wav", noise[:, 0], RATE)
    data = Path("in.wav").read_bytes()
    Path("in.wav").write_bytes(data[:4] + b"\xff" * 4 + data[8:40] + length.to_bytes(4, "little") + data[44:])
    assert len(joined(blocks_of(source()))) == 9000
    assert capsys.readouterr().err == ""


def test_what_can_no_longer_be_decoded_is_one_line() -> None:
    soundfile.write("in.wav", noise, RATE, format="FLAC")
    Path("in.wav").write_bytes(Path("in.wav").read_bytes()[:20000])
    with pytest.raises(DefinitionError, match=r"'in\.wav' cannot be decoded after frame \d+: "):
        blocks_of(source())


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "path must be a file of sound, but 'in.wav' does not exist; it is relative to the job's folder"),
        (b"", "'in.wav' must be a file of sound, but is empty"),
        (b"no sound at all", "'in.wav' must be a WAV, FLAC or OGG file, but is not: "),
        (b"RIFF\x04\0\0\0WAVE", "'in.wav' must be a WAV, FLAC or OGG file, but is not: "),
        ("header", "'in.wav' must have samples, but has a header only"),
        ("title", "'in.wav' must have samples, but has a header only"),
        ("unfinished", "'in.wav' must have samples, but its header says 0 bytes of samples, and 36000 bytes follow: the program that "),
        ("folder", "path must be a regular file, which can be read again after a failure, but 'in.wav' is not"),
    ],
)
def test_a_bad_file_is_one_line(content: bytes | str | None, text: str) -> None:
    if content == "header":
        soundfile.write("in.wav", noise[:0], RATE)
    elif content == "title":
        soundfile.write("in.wav", noise[:0], RATE)
        written = Path("in.wav").read_bytes() + b"LIST\x04\0\0\0INFO"
        Path("in.wav").write_bytes(written[:4] + (len(written) - 8).to_bytes(4, "little") + written[8:])
    elif content == "unfinished":
        soundfile.write("in.wav", noise, RATE)
        written = Path("in.wav").read_bytes()
        Path("in.wav").write_bytes(written[:4] + b"\x24\0\0\0" + written[8:40] + bytes(4) + written[44:])
    elif content == "folder":
        Path("in.wav").mkdir()
    elif isinstance(content, bytes):
        Path("in.wav").write_bytes(content)
    with pytest.raises(DefinitionError) as caught:
        source()
    assert str(caught.value).startswith(f"WavSourceJob 1: {text}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "text"), [("append", "has 36048 bytes instead of 36044"), ("touch", "was written to"), ("remove", "is gone")]
)
def test_a_file_that_changes_is_one_line(change: str, text: str) -> None:
    soundfile.write("in.wav", noise, RATE)
    job = source()
    job.run()
    if change == "append":
        with open("in.wav", "ab") as file:
            file.write(b"more")
    elif change == "touch":
        os.utime("in.wav", (1, 1))
    else:
        os.unlink("in.wav")
    with pytest.raises(DefinitionError, match=rf"'in\.wav' must not change while it is read, but {text}; read a copy"):
        job.run()


def test_a_state_of_another_file_is_refused() -> None:
    soundfile.write("in.wav", noise, RATE)
    job = source()
    job.run()
    soundfile.write("in.wav", noise[:8000], RATE)
    with pytest.raises(DefinitionError, match="has 32044 bytes instead of 36044"):
        source(state=job.snapshot())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"path": 3}, "path must be the path of a file, but is 3"),
        ({"block": 0}, "block must be an int of at least 1, but is 0"),
        ({"block": 2.0}, "block must be an int"),
        ({"dtype": "int16"}, "dtype must be None, float32 or float64, but is 'int16'"),
        ({"start": "noon"}, "start must be a number of seconds since 1970, or None, but is 'noon'"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], text: str) -> None:
    job = WavSourceJob(**{"path": "in.wav", "outputs": [PicklePipe(1)], **arguments})
    assert [fault for fault in job._fission_faults() if text in fault], job._fission_faults()


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    soundfile.write("in.wav", noise, RATE)
    with pytest.raises(
        DefinitionError, match=r"^WavSourceJob 1 needs soundfile, which is not installed; install it: pip install soundfile$"
    ):
        source()
