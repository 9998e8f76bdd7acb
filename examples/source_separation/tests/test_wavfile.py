"""WAV files: what is read, what is refused and in which words, what is written."""

from __future__ import annotations

import contextlib
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from fission.errors import DefinitionError
from hypothesis import given, settings
from hypothesis import strategies as st

from source_separation import wavfile

NETWORK = Path(wavfile.__file__).parent
RECORDINGS = NETWORK / "recordings"
MUST_BE = "must be a mono WAV file with 8 or 16 bit PCM samples; "


def refusal(path):
    with pytest.raises(DefinitionError) as caught:
        wavfile.load_recording(path)
    text = str(caught.value)
    assert text.startswith(f"recording {path} {MUST_BE}")
    return text.split(MUST_BE)[1]


def test_16_bit_samples_are_signed(save_wav):
    recording = wavfile.load_recording(save_wav("a.wav", struct.pack("<4h", 0, 16384, -32768, 32767), rate=44100))
    assert recording.samples().tolist() == [0.0, 0.5, -1.0, 32767 / 32768]
    assert (recording.rate, len(recording)) == (44100, 4)


def test_8_bit_samples_are_unsigned(save_wav):
    recording = wavfile.load_recording(save_wav("a.wav", bytes([128, 192, 0, 255, 128]), width=1, rate=1))
    assert recording.samples().tolist() == [0.0, 0.5, -1.0, 127 / 128, 0.0]
    assert (recording.rate, len(recording)) == (1, 5)


@pytest.mark.parametrize(("start", "count", "expected"), [(0, 2, [0, 1]), (2, 2, [2, 3]), (4, 2, [4]), (5, 2, []), (3, None, [3, 4])])
def test_blocks_of_samples(save_wav, start, count, expected):
    for width, pcm, scale in ((2, struct.pack("<5h", 0, 1, 2, 3, 4), 32768), (1, bytes([128, 129, 130, 131, 132]), 128)):
        recording = wavfile.load_recording(save_wav(f"{width}.wav", pcm, width=width))
        assert (recording.samples(start, count) * scale).tolist() == expected


def test_sound_of_another_kind_is_refused(save_wav, tmp_path):
    sound = struct.pack("<6h", 0, 1, 2, 3, 4, 5)
    assert refusal(save_wav("stereo.wav", sound, channels=2)) == "it has 2 channels: save one channel in a file of its own"
    assert refusal(save_wav("24.wav", sound, width=3)) == "its samples have 24 bits: save it with 16 bits"
    assert refusal(save_wav("short.wav", sound[:4])) == "it must have at least 3 samples, it has 2"
    assert refusal(save_wav("empty.wav", b"")) == "it must have at least 3 samples, it has 0"
    assert refusal(save_wav("silent.wav", b"\x07\x00" * 9)) == "it must have sound on it, it is silent from its first to its last sample"
    assert refusal(tmp_path / "missing.wav") == "there is no such file"
    assert refusal(tmp_path) == "it is a folder"


def test_a_file_of_another_format_is_refused(save_wav, tmp_path):
    sound = save_wav("a.wav", struct.pack("<6h", 0, 1, 2, 3, 4, 5)).read_bytes()

    def refused(data):
        path = tmp_path / "broken.wav"
        path.write_bytes(data)
        return refusal(path)

    assert refused(b"") == "it is not: it ends within its header"
    assert refused(b"number\n1\n2\n3\n") == "it is not: it begins with b'numb'"
    assert refused(sound[:20]).startswith("it is not: ")
    assert refused(sound[:20] + b"\x03" + sound[21:]) == "its samples are floats: save it with 16 bits"
    assert refused(sound[:-4]) == "it is cut off: its header says 6 samples, it holds 4"
    assert refused(sound[:40] + b"\xff\xff\xff\x7f" + sound[44:]).startswith("it is cut off: its header says 1073741823 samples")
    assert refused(sound[:24] + bytes(4) + sound[28:]) == "its header says 0 samples a second"


def riff(*chunks, size=None):
    body = b"WAVE" + b"".join(
        name + struct.pack("<I", len(content) if length is None else length) + content + b"\0" * (len(content) % 2)
        for name, content, length in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


SAMPLES = struct.pack("<5h", 0, 1000, -1000, 7, 8)
PLAIN = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
EXTENSIBLE = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 8000, 16000, 2, 16, 22, 16, 4)
GUID_REST = bytes.fromhex("000000001000800000aa00389b71")
READ = {
    "extensible": riff((b"fmt ", EXTENSIBLE + b"\x01\0" + GUID_REST, None), (b"data", SAMPLES, None)),
    "written to a pipe": riff((b"fmt ", PLAIN, None), (b"data", SAMPLES, 0xFFFFFFFF), size=0xFFFFFFFF),
    "odd chunks before": riff((b"LIST", b"odd", None), (b"fmt ", PLAIN, None), (b"junk", b"x", None), (b"data", SAMPLES, None)),
    "chunks after": riff((b"fmt ", PLAIN, None), (b"data", SAMPLES, None), (b"LIST", b"abc", None)),
    "format of 18 bytes": riff((b"fmt ", PLAIN + b"\0\0", None), (b"data", SAMPLES, None)),
}


@pytest.mark.parametrize("form", READ)
def test_forms_of_wav_files_that_are_read(form, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(READ[form])
    recording = wavfile.load_recording(path)
    assert (recording.data, recording.rate, recording.width) == (SAMPLES, 8000, 2)


FLOATS = struct.pack("<HHIIHH", 3, 1, 8000, 32000, 4, 32)
REFUSED = {
    "its samples are floats: save it with 16 bits": riff((b"fmt ", FLOATS, None), (b"data", bytes(40), None)),
    "its samples are compressed (format 6): save it as PCM with 16 bits": riff(
        (b"fmt ", b"\x06" + PLAIN[1:], None), (b"data", SAMPLES, None)
    ),
    "it is not: its sound comes before its format": riff((b"data", SAMPLES, None), (b"fmt ", PLAIN, None)),
    "it is not: it ends within its header": riff((b"fmt ", PLAIN, None)),
    "it is not: it begins with b'RF64'": b"RF64" + riff((b"fmt ", PLAIN, None), (b"data", SAMPLES, None))[4:],
}


@pytest.mark.parametrize("text", REFUSED)
def test_forms_of_wav_files_that_are_refused(text, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(REFUSED[text])
    assert refusal(path) == text
    extensible = riff((b"fmt ", EXTENSIBLE + b"\x03\0" + GUID_REST, None), (b"data", SAMPLES, None))
    path.write_bytes(extensible)
    assert refusal(path) == "its samples are floats: save it with 16 bits"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 63), st.integers(0, 255)), max_size=4), st.integers(0, 64))
def test_damaged_files_are_read_or_refused(tmp_path_factory, changes, length):
    data = bytearray(
        wavfile.HEADER.pack(b"RIFF", 56, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 20) + struct.pack("<10h", *range(10))
    )
    for place, value in changes:
        data[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.wav"
    path.write_bytes(data[:length])
    with contextlib.suppress(DefinitionError):  # any other exception is a failure
        recording = wavfile.load_recording(path)
        assert len(recording.samples()) == len(recording) >= 3


def test_files_that_cannot_be_read_are_refused(save_wav, monkeypatch):
    path = save_wav("a.wav", struct.pack("<4h", 1, 2, 3, 4))

    # Tests may run as root, whom no mode of a file keeps out.
    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", denied)
    assert refusal(path) == "it cannot be read: Permission denied"


def test_pairs_are_relative_to_the_networks_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = ("recordings/voice_1.wav", str(RECORDINGS / "voice_2.wav"))
    first, second = wavfile.load_pair(NETWORK, names, "MICROPHONES")
    assert (first.path, second.path) == (str(RECORDINGS / "voice_1.wav"), str(RECORDINGS / "voice_2.wav"))
    assert first.rate == second.rate == 8000
    assert len(first) == len(second) == 56000


def test_pairs_that_do_not_fit_are_refused(save_wav, tmp_path):
    sound = struct.pack("<6h", 0, 5, 2, 3, 4, 1)
    a = save_wav("a.wav", sound)

    def refused(second, like=None, setting="MICROPHONES"):
        with pytest.raises(DefinitionError) as caught:
            wavfile.load_pair(tmp_path, ("a.wav", second), setting, like=like)
        return str(caught.value).replace(f"{tmp_path}/", "")

    save_wav("rate.wav", sound, rate=16000)
    save_wav("long.wav", sound + sound)
    save_wav("other.wav", struct.pack("<6h", 1, 1, 5, 0, 0, 0))
    save_wav("twice.wav", struct.pack("<6h", 0, 10, 4, 6, 8, 2))
    save_wav("upside_down.wav", struct.pack("<6h", 0, -5, -2, -3, -4, -1))
    assert (
        refused("rate.wav") == "MICROPHONES: recording rate.wav must have 8000 samples a second like a.wav; it has 16000 samples a second"
    )
    assert refused("long.wav") == "MICROPHONES: recording long.wav must have 6 samples like a.wav; it has 12 samples"
    for same in ("a.wav", "twice.wav", "upside_down.wav"):
        assert (
            refused(same)
            == f"MICROPHONES: recording {same} must differ from a.wav; it holds the same sound, so there is nothing to separate"
        )
    like = wavfile.load_recording(tmp_path / "long.wav")
    assert refused("other.wav", like) == "MICROPHONES: recording a.wav must have 12 samples like long.wav; it has 6 samples"
    assert wavfile.load_pair(tmp_path, (a, "other.wav"), "MICROPHONES")[0].path == str(a)


@pytest.mark.parametrize("paths", [("a.wav",), ("a.wav", "b.wav", "c.wav"), "a.wav", None, ("a.wav", 2), 7])
def test_settings_that_are_no_two_paths_are_refused(tmp_path, paths):
    with pytest.raises(DefinitionError, match=r"^MICROPHONES must be the paths of two WAV files, it is "):
        wavfile.load_pair(tmp_path, paths, "MICROPHONES")


@given(st.lists(st.floats(-1.5, 1.5), min_size=1, max_size=50), st.integers(1, 20))
def test_what_is_written_is_a_wav_file_after_each_block(tmp_path_factory, values, size):
    path = tmp_path_factory.getbasetemp() / "written.wav"
    values = np.array(values)
    for start in range(0, len(values), size):
        wavfile.write_block(path, 11025, start, values[start : start + size])
        with wave.open(str(path)) as sound:
            written = values[: start + size]
            assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 11025)
            assert sound.getnframes() == len(written)
            assert np.array_equal(
                np.frombuffer(sound.readframes(len(written)), "<i2"), np.clip(np.rint(written * 32767), -32768, 32767).astype(int)
            )
        assert path.stat().st_size == 44 + 2 * len(written)
