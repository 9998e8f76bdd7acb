"""WAV files: recordings read and checked before the network starts, results written block by block."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fission.errors import DefinitionError

MUST_BE = "must be a mono WAV file with 8 or 16 bit PCM samples"
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # format tags
UNKNOWN_LENGTH = 0xFFFFFFFF  # of what was written to a pipe, whose header could not be completed
MIN_SAMPLES = 3  # two signals of two samples are always the same signal up to a factor
SAME_SOUND = 1e-6  # 1 - |correlation| below which the difference of two recordings is nothing but their rounding; arbitrary
HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")  # RIFF, "fmt " and the head of "data": 44 bytes


@dataclass(frozen=True)
class Recording:
    """One mono recording in memory.

    It is loaded on the client and travels inside its job, because the file is on the client and the job may run on any node.

    Args:
        path: where it was read, for messages.
        rate: samples a second.
        width: bytes a sample: 1 (unsigned, silence is 128) or 2 (signed, little endian), as in WAV files.
        data: the samples' bytes.
    """

    path: str
    rate: int
    width: int
    data: bytes

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.data) // self.width

    def samples(self, start: int = 0, count: int | None = None) -> np.ndarray:
        """`count` samples from `start` (or all that follow) as floats from -1 up to 1; fewer where the recording ends."""
        stop = len(self) if count is None else start + count
        data = self.data[start * self.width : stop * self.width]
        if self.width == 1:
            return (np.frombuffer(data, np.uint8).astype(np.float64) - 128.0) / 128.0
        return np.frombuffer(data, "<i2").astype(np.float64) / 32768.0


def load_recording(path: Path) -> Recording:
    """Read a WAV file and check it.

    Raises:
        DefinitionError: it is missing, cannot be read, is not a WAV file, or its sound cannot be used; the text names the file, what
            it must be and what it is.
    """

    def refuse(what_it_is: str) -> DefinitionError:
        return DefinitionError(f"recording {path} {MUST_BE}; {what_it_is}")

    try:
        form, data, promised_bytes = _chunks(path.read_bytes())
        tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
        if tag == EXTENSIBLE:
            tag = struct.unpack_from("<H", form, 24)[0]  # the first two bytes of what the format really is
        if tag == FLOAT:
            raise refuse("its samples are floats: save it with 16 bits")
        if tag != PCM:
            raise refuse(f"its samples are compressed (format {tag}): save it as PCM with 16 bits")
        if channels != 1:
            raise refuse(f"it has {channels} channels: save one channel in a file of its own")
        if bits not in (8, 16):
            raise refuse(f"its samples have {bits} bits: save it with 16 bits")
        if rate < 1:
            raise refuse(f"its header says {rate} samples a second")
        width = bits // 8
        promised = promised_bytes // width
        data = data[: len(data) // width * width]
    except FileNotFoundError:
        raise refuse("there is no such file") from None
    except IsADirectoryError:
        raise refuse("it is a folder") from None
    except OSError as error:
        raise refuse(f"it cannot be read: {error.strerror}") from None
    except _NotSound as error:
        raise refuse(f"it is not: {error}") from None
    except struct.error:
        raise refuse("it is not: it ends within its header") from None
    if len(data) < promised * width:
        raise refuse(f"it is cut off: its header says {promised} samples, it holds {len(data) // width}")
    recording = Recording(str(path), rate, width, data)
    if len(recording) < MIN_SAMPLES:
        raise refuse(f"it must have at least {MIN_SAMPLES} samples, it has {len(recording)}")
    if data == data[:width] * len(recording):
        raise refuse("it must have sound on it, it is silent from its first to its last sample")
    return recording


class _NotSound(Exception):
    """The file is not a WAV file; the text says why."""


def _chunks(content: bytes) -> tuple[bytes, bytes, int]:
    """The chunks "fmt " and "data" of a WAV file, and the length that the latter is said to have. Others, in any order, are skipped.

    The module wave knows neither WAVE_FORMAT_EXTENSIBLE (before Python 3.12) nor files that were written to a pipe.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        if len(content) < 12:
            raise _NotSound("it ends within its header")
        raise _NotSound(f"it begins with {content[:4]!r}")
    form = b""
    at = 12
    while at + 8 <= len(content):
        name, size = content[at : at + 4], struct.unpack_from("<I", content, at + 4)[0]
        at += 8
        if name == b"fmt ":
            form = content[at : at + size]
        elif name == b"data":
            if not form:
                raise _NotSound("its sound comes before its format")
            # an odd number of bytes at its end is a file that was cut off, or that still grows: complete samples count
            data = content[at : at + size]
            return form, data, len(data) if size == UNKNOWN_LENGTH else size
        at += size + size % 2  # chunks begin at even offsets
    raise _NotSound("it ends within its header")


def load_pair(folder: Path, paths: Sequence[str | Path], setting: str, like: Recording | None = None) -> tuple[Recording, Recording]:
    """Read two recordings that belong together.

    Args:
        folder: what relative paths are relative to.
        paths: the two files.
        setting: name of the setting that they come from, for messages.
        like: a recording whose rate and length they must have as well.

    Raises:
        DefinitionError: not two paths, or a file cannot be used (see `load_recording`), or rate or length differ, or both files
            hold the same sound.
    """
    if not isinstance(paths, (tuple, list)) or len(paths) != 2 or not all(isinstance(path, (str, Path)) for path in paths):
        raise DefinitionError(f"{setting} must be the paths of two WAV files, it is {paths!r}")
    try:
        first, second = (load_recording(folder / Path(path).expanduser()) for path in paths)
    except DefinitionError as error:
        raise DefinitionError(f"{setting}: {error}") from None
    for recording in (first, second):
        model = like or first
        for unit, must, got in (("samples a second", model.rate, recording.rate), ("samples", len(model), len(recording))):
            if must != got:
                raise DefinitionError(
                    f"{setting}: recording {recording.path} must have {must} {unit} like {model.path}; it has {got} {unit}"
                )
    if 1.0 - abs(np.corrcoef(first.samples(), second.samples())[0, 1]) < SAME_SOUND:
        raise DefinitionError(
            f"{setting}: recording {second.path} must differ from {first.path}; it holds the same sound, so there is nothing to separate"
        )
    return first, second


def pcm16(samples: np.ndarray) -> bytes:
    """Floats as signed 16 bit little endian samples; what lies outside of -1 to 1 is cut."""
    return np.clip(np.rint(samples * 32767.0), -32768, 32767).astype("<i2").tobytes()


def write_block(path: Path, rate: int, start: int, samples: np.ndarray) -> None:
    """Put samples at their place in a 16 bit mono WAV file; the file is a complete WAV file after each call.

    The module wave cannot add to a file. This can: the file then holds what was written so far when a network is stopped, and a
    restarted job continues where it was. `start` 0 begins a new file.
    """
    data = pcm16(samples)
    size = 2 * start + len(data)
    header = HEADER.pack(b"RIFF", HEADER.size - 8 + size, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size)
    with path.open("wb" if start == 0 else "r+b") as file:
        file.write(header)
        file.seek(HEADER.size + 2 * start)
        file.write(data)
