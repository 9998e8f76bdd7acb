"""A folder of recordings as one stream of sound, and names with time stamps."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import soundfile
from fission.errors import DefinitionError

ENDINGS = (".wav", ".flac")
STAMP = re.compile(r"(\d{8})_?T?(\d{6})Z?$")  # as recorders name their files: 20260401_053000.WAV, in UTC


@dataclass(frozen=True)
class Recording:
    """A file of the folder.

    Attributes:
        path: of the file.
        frames: number of samples.
        first_sample: number of its first one in the stream. Time between two files counts too, so a jump is a gap.
        time: when the first one was taken, in seconds since 1970 UTC; None: the name of the folder's first file does not say.
    """

    path: Path
    frames: int
    first_sample: int
    time: float | None


def stamp_of(path: Path) -> float | None:
    """Return the time in the name of a file, in seconds since 1970; None if there is none."""
    found = STAMP.search(path.stem)
    if not found:
        return None
    try:
        return datetime.strptime("".join(found.groups()), "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


def stream_of(folder: Path) -> tuple[list[Recording], int]:
    """Return the recordings of a folder, in the order of their names, and their rate.

    A file whose name says a later time than that of the end of the one before it begins there; every other one follows at once.
    Hidden files are left out: some systems put one beside each file that they copy.

    Raises:
        DefinitionError: there is none, one cannot be read, or they are not mono recordings of one rate.
    """
    entries = sorted(folder.iterdir(), key=lambda path: path.name) if folder.is_dir() else []
    paths = [path for path in entries if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and not path.is_dir()]
    if not paths:
        what = "has none" if folder.is_dir() else "does not exist"
        raise DefinitionError(f"folder {str(folder)!r} must have recordings ({', '.join(ENDINGS)}), but {what}")
    found: list[Recording] = []
    rate, end, end_time = 0, 0, None
    for path in paths:
        with opened(path) as file:
            frames, channels, samplerate = file.frames, file.channels, file.samplerate
        rate = rate or samplerate
        if (channels, samplerate) != (1, rate):
            raise DefinitionError(
                f"recording {str(path)!r} must be mono, with {rate} samples a second, but has {channels} channel{'s' * (channels > 1)} "
                f"and {samplerate} samples a second"
            )
        time = stamp_of(path)
        if time is None or (end_time is not None and time < end_time):
            time = end_time
        elif end_time is not None:
            end += round((time - end_time) * rate)
        found.append(Recording(path, frames, end, time))
        end += frames
        end_time = None if time is None else time + frames / rate
    return found, rate


def opened(path: Path) -> soundfile.SoundFile:
    """Open a recording, whatever bytes its name has.

    Raises:
        DefinitionError: it cannot be read.
    """
    try:
        return soundfile.SoundFile(os.fsencode(path))
    except soundfile.LibsndfileError as why:
        raise DefinitionError(f"recording {str(path)!r} cannot be read: {_reason(why)}") from None


def read(file: soundfile.SoundFile, recording: Recording, count: int) -> np.ndarray:
    """Return the next samples of an open recording as 16-bit integers, whatever its file has: at least one, unless it is at its end.

    Raises:
        DefinitionError: it is damaged, or has become shorter.
    """
    start = file.tell()
    try:
        if file.subtype in ("FLOAT", "DOUBLE"):  # read as integers, they would not be scaled: silence
            samples = np.clip(np.nan_to_num(file.read(count, dtype="float32")), -1, 1)
            samples = np.minimum(np.rint(samples * 32768), 32767).astype("int16")
        else:
            samples = file.read(count, dtype="int16")
    except soundfile.LibsndfileError as why:
        text = f"is damaged after {start} of its {recording.frames} samples: {why.error_string}"
        raise DefinitionError(f"recording {str(recording.path)!r} {text}; take it out of its folder") from None
    if not len(samples) and start < recording.frames:
        raise DefinitionError(f"recording {str(recording.path)!r} must have {recording.frames} samples, as before, but ends after {start}")
    return samples


def _reason(why: soundfile.LibsndfileError) -> str:
    return str(why.error_string).removeprefix("Error : ").rstrip(".")


def clip_name(station: str, time: float | None, sample: int) -> str:
    """Return the name of the clip of an event: its station and when it began, to the millisecond; or the sample it began with."""
    if time is None:
        return f"{station}_sample_{sample:012d}.wav"
    return f"{station}_{utc(time, '%Y%m%dT%H%M%S')}.wav"


def utc(time: float, pattern: str = "%Y-%m-%dT%H:%M:%S") -> str:
    """Return a time in seconds since 1970 as text, with milliseconds and Z for UTC."""
    milliseconds = round(time * 1000)
    whole = datetime.fromtimestamp(milliseconds // 1000, timezone.utc)
    return f"{whole.strftime(pattern)}.{milliseconds % 1000:03d}Z"
