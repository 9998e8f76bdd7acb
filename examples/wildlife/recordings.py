"""A folder of recordings as one stream of sound, and names with time stamps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

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

    Raises:
        DefinitionError: there is none, one cannot be read, or they are not mono recordings of one rate.
    """
    paths = sorted((path for path in folder.glob("*") if path.suffix.lower() in ENDINGS), key=lambda path: path.name)
    if not paths:
        raise DefinitionError(f"folder {folder} must have recordings ({', '.join(ENDINGS)}), but has none")
    found: list[Recording] = []
    rate, end, end_time = 0, 0, None
    for path in paths:
        try:
            info = soundfile.info(path)
        except soundfile.LibsndfileError as why:
            raise DefinitionError(f"recording {path} cannot be read: {why}") from None
        rate = rate or info.samplerate
        if (info.channels, info.samplerate) != (1, rate):
            raise DefinitionError(
                f"recording {path} must be mono, with {rate} samples a second, but has {info.channels} channels with {info.samplerate}"
            )
        time = stamp_of(path)
        if time is None or (end_time is not None and time < end_time):
            time = end_time
        elif end_time is not None:
            end += round((time - end_time) * rate)
        found.append(Recording(path, info.frames, end, time))
        end += info.frames
        end_time = None if time is None else time + info.frames / rate
    return found, rate


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
