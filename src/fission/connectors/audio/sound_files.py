"""Opens files of sound, and explains what is wrong with them."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

from fission.connectors.audio.needs import needed
from fission.errors import DefinitionError, error_text

#: Size that stands in ds64 instead (EBU Tech 3306), and in the header of a file that was written to a pipe: it is not known.
_UNKNOWN = 2**32 - 1
#: Sizes that other programs write for it: SoX the third, arecord the fourth.
_STREAMED = (0, _UNKNOWN, 0x7FFFF000, 2**31)
#: How the files begin whose sizes are in chunks; the sizes of RIFX have the most significant byte first.
_RIFF = (b"RIFF", b"RIFX", b"RF64", b"BW64")
_LAST_PAGE_BYTES = 1 << 16  # an OGG page has at most 65,307 bytes
_OGG_FLAGS, _OGG_LAST = 5, 4  # position of a page's flags, and the flag of the last one (RFC 3533)
#: dtypes that hold the samples of a file exactly, by libsndfile's subtype; for all others int16.
_DTYPES = {
    "ALAC_20": "int32",
    "ALAC_24": "int32",
    "ALAC_32": "int32",
    "PCM_24": "int32",
    "PCM_32": "int32",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "VORBIS": "float32",
    "OPUS": "float32",
    "MPEG_LAYER_I": "float32",
    "MPEG_LAYER_II": "float32",
    "MPEG_LAYER_III": "float32",
}


def open_sound(job: str, path: Path) -> Any:
    """Return a file of sound as a `soundfile.SoundFile`.

    Args:
        job: name of the job, for messages.
        path: path of the file.

    Raises:
        DefinitionError: the file does not exist, or has no sound that can be read.
    """
    soundfile = needed(job, "soundfile")
    shown = repr(os.fspath(path))
    if not path.exists():
        raise DefinitionError(f"{job}: path must be a file of sound, but {shown} does not exist; it is relative to the job's folder")
    if not path.is_file():
        raise DefinitionError(f"{job}: path must be a regular file, which can be read again after a failure, but {shown} is not")
    try:
        if not path.stat().st_size:
            raise DefinitionError(f"{job}: {shown} must be a file of sound, but is empty")
        sound = soundfile.SoundFile(path)
    except OSError as why:
        raise DefinitionError(f"{job}: {shown} cannot be read: {why.strerror or why}") from None
    except (soundfile.LibsndfileError, TypeError) as why:  # TypeError: raw samples, by the name's suffix
        text = getattr(why, "error_string", "it has no header").rstrip(".")
        if "does not exist" in text:  # what the decoder for MP3 says of other data
            text = "no sound was found in it"
        raise DefinitionError(f"{job}: {shown} must be a WAV, FLAC or OGG file, but is not: {text}") from None
    if not sound.frames:
        sound.close()
        raise DefinitionError(f"{job}: {shown} must have samples, but {_no_samples(path)}")
    return sound


def native_dtype(sound: Any) -> str:
    """Return the dtype that holds the samples of an open file exactly."""
    return _DTYPES.get(sound.subtype, "int16")


def seeks_exactly(sound: Any) -> bool:
    """Return whether what is read after a seek is what would be read without one.

    Tried for each codec with libsndfile 1.2: the samples after a seek in Vorbis are other ones.
    """
    return sound.subtype not in ("VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")


def identity(path: Path) -> tuple[int, int]:
    """Return what changes when a file is written to: its size, and its time stamp in nanoseconds; (-1, 0) if it is gone."""
    try:
        found = path.stat()
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns


def cut_off(path: Path) -> str:
    """Return in words what a file lacks according to its own header; empty if nothing is known to be missing.

    Only formats whose headers say it in bytes or pages: others are found out by reading them.
    """
    with path.open("rb") as file:
        start = file.read(12)
        if start[:4] in _RIFF and start[8:] == b"WAVE":
            return _missing_of_wav(file, path.stat().st_size, start[:4])
        if start[:4] == b"OggS":
            file.seek(max(0, path.stat().st_size - _LAST_PAGE_BYTES))
            end = file.read()
            page = end.rfind(b"OggS")
            if page < 0 or not end[page + _OGG_FLAGS : page + _OGG_FLAGS + 1] or not end[page + _OGG_FLAGS] & _OGG_LAST:
                return "its last page is missing"
    return ""


def _no_samples(path: Path) -> str:
    """Return in words what a file has that is empty according to its own header."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        order = {b"RIFF": "<I", b"RIFX": ">I"}.get(start[:4])
        if order is None or start[8:] != b"WAVE" or _length_of_data(file, start[:4]) is None:
            return "has a header only"
        there = size - file.tell()
    if there <= 0 or struct.unpack(order, start[4:8])[0] == size - 8:  # what follows is another chunk, as a title
        return "has a header only"
    return (
        f"its header says 0 bytes of samples, and {there} bytes follow: the program that wrote it was stopped before it wrote the length; "
        "repair it: ffmpeg -i OLD.wav NEW.wav"
    )


def _missing_of_wav(file: Any, size: int, kind: bytes) -> str:
    length = _length_of_data(file, kind)
    if length is None:
        return "it has no data chunk"
    there = size - file.tell()
    return "" if length in _STREAMED or length <= there else f"its header says {length} bytes of samples, but {there} are there"


def _length_of_data(file: Any, kind: bytes) -> int | None:
    """Return how many bytes of samples the header announces, None without a data chunk.

    Afterwards, the file's position is that of the first sample.
    """
    order = ">" if kind == b"RIFX" else "<"
    place, long_size = 12, 0
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return None
        name, length = head[:4], int(struct.unpack(f"{order}I", head[4:])[0])
        if name == b"ds64":
            long_size = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))[1]
        if name == b"data":
            return long_size if kind in (b"RF64", b"BW64") and length == _UNKNOWN else length
        place += 8 + length + length % 2


def explained(error: BaseException) -> str:
    """Return why a decoder failed, without what a message already says."""
    return str(getattr(error, "error_string", "") or error_text(error)).rstrip(".")
