"""The bytes of WAV files that grow: a header of fixed length, then frames.

    RIFF or RF64, size, WAVE
    JUNK, which becomes ds64 when the file grows beyond 4 GiB (EBU Tech 3306)
    fmt, and for floats fact
    fsno: the number that the file's first frame has in its stream (ours; readers skip unknown chunks)
    data, frames until the end of the file

Files of earlier versions have only RIFF, fmt, fact and data. They are continued, up to 4 GiB.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from fission.core.audio_block import as_floats
from fission.errors import ValueFitError

#: Bytes of one sample, by dtype.
SAMPLE_BYTES = {"uint8": 1, "int16": 2, "int24": 3, "int32": 4, "float32": 4, "float64": 8}
#: RIFF uses 32 bits for the length of everything after its first eight bytes.
MOST_BYTES = 2**32 - 1
#: `first_sample` of a file whose frames have no numbers.
UNKNOWN = -(2**63)
_INTEGERS, _FLOATS = 1, 3  # format tags
_LENGTH, _NUMBER = struct.Struct("<I"), struct.Struct("<q")
_DS64 = struct.Struct("<QQQI")  # sizes of RIFF and data, number of frames, entries in a table of other sizes
_FORMAT = struct.Struct("<HHIIHH")


@dataclass(frozen=True, slots=True)
class WavLayout:
    """The format of a WAV file.

    Attributes:
        rate: frames per second.
        channels: samples in a frame.
        dtype: type of a sample, one of `SAMPLE_BYTES`.
        short: whether the header is that of earlier versions.
    """

    rate: int
    channels: int
    dtype: str
    short: bool = False

    @classmethod
    def read(cls, start: bytes) -> tuple[WavLayout, int, int] | None:
        """Return the layout of a file with a header made by `header`, `first_sample`, and its size in bytes; None for other files.

        Args:
            start: the first bytes of the file, at least its header.
        """
        chunks = _chunks(start)
        form = chunks.get(b"fmt ", b"")
        if len(form) < _FORMAT.size:
            return None
        tag, channels, rate, _, _, bits = _FORMAT.unpack_from(form)
        found = [name for name, width in SAMPLE_BYTES.items() if 8 * width == bits and (name[0] == "f") == (tag == _FLOATS)]
        number = chunks.get(b"fsno", b"")
        if tag not in (_INTEGERS, _FLOATS) or not found or not channels or not rate:
            return None
        layout = cls(rate, channels, found[0], short=len(number) != _NUMBER.size)
        size = _LENGTH.unpack_from(start, 4)[0] + 8
        if b"ds64" in chunks:
            size = _DS64.unpack(chunks[b"ds64"])[0] + 8
        first_sample = UNKNOWN if layout.short else _NUMBER.unpack(number)[0]
        if start[: layout.header_bytes] != layout.header(size, first_sample):
            return None
        return layout, first_sample, size

    @property
    def frame_bytes(self) -> int:
        """Size of one frame in bytes."""
        return self.channels * SAMPLE_BYTES[self.dtype]

    @property
    def header_bytes(self) -> int:
        """Size of the header in bytes."""
        return (44 if self.dtype[0] != "f" else 58) + (0 if self.short else 36 + 16)

    def header(self, size: int, first_sample: int = UNKNOWN) -> bytes:
        """Return the header of a file.

        Args:
            size: size of the whole file in bytes, header included; a smaller size counts as one header.
            first_sample: number of the file's first frame in its stream.
        """
        floats = self.dtype[0] == "f"
        size = max(size, self.header_bytes)
        data_bytes = size - self.header_bytes
        frames = data_bytes // self.frame_bytes
        long = size - 8 > MOST_BYTES
        bits = 8 * SAMPLE_BYTES[self.dtype]
        form = _FORMAT.pack(
            _FLOATS if floats else _INTEGERS,
            self.channels,
            self.rate,
            min(self.rate * self.frame_bytes, MOST_BYTES),
            self.frame_bytes & 0xFFFF,
            bits,
        )
        parts = [b"RF64" if long else b"RIFF", _LENGTH.pack(MOST_BYTES if long else size - 8), b"WAVE"]
        if not self.short:
            parts.append(_chunk(b"ds64", _DS64.pack(size - 8, data_bytes, frames, 0)) if long else _chunk(b"JUNK", bytes(_DS64.size)))
        parts.append(_chunk(b"fmt ", form + b"\0\0" if floats else form))
        if floats:
            parts.append(_chunk(b"fact", _LENGTH.pack(min(frames, MOST_BYTES))))
        if not self.short:
            parts.append(_chunk(b"fsno", _NUMBER.pack(first_sample)))
        parts += [b"data", _LENGTH.pack(MOST_BYTES if long else data_bytes)]
        return b"".join(parts)

    def zeros(self, frames: int) -> bytes:
        """Return silent frames."""
        return (b"\x80" if self.dtype == "uint8" else b"\0") * (frames * self.frame_bytes)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + _LENGTH.pack(len(content)) + content


def _chunks(start: bytes) -> dict[bytes, bytes]:
    """Return the contents of the chunks before the data, by name."""
    found: dict[bytes, bytes] = {}
    if start[:4] not in (b"RIFF", b"RF64") or start[8:12] != b"WAVE":
        return found
    place = 12
    while place + 8 <= len(start) and start[place : place + 4] != b"data":
        size = _LENGTH.unpack_from(start, place + 4)[0]
        found[start[place : place + 4]] = start[place + 8 : place + 8 + size]
        place += 8 + size + size % 2
    return found


def frames(job: str, block: Any, channels: int, dtype: str) -> bytes:
    """Return the bytes of a block's frames.

    Args:
        job: name of the job, for error messages.
        block: bytes of whole frames, or an array of samples.
        channels: samples in a frame.
        dtype: type of a sample in the file.

    Raises:
        ValueFitError: the block is neither.
    """
    frame = channels * SAMPLE_BYTES[dtype]
    if isinstance(block, (bytes, bytearray, memoryview)):
        data = memoryview(block).tobytes()
        if len(data) % frame:
            raise ValueFitError(f"{job}: a block must have whole frames of {frame} bytes, but has {len(data)} bytes")
        return data
    import numpy

    samples = numpy.asarray(block)
    if samples.shape[1:] != (channels,) and not (samples.ndim == 1 and channels == 1):
        raise ValueFitError(f"{job}: a block must have the shape (frames, {channels}), but has {samples.shape}")
    if samples.dtype != dtype:
        samples = _converted(job, samples, dtype)
    if dtype == "int24":  # the lowest three bytes of four
        return bytes(numpy.ascontiguousarray(samples, "<i4").view("uint8").reshape(-1, 4)[:, :3].tobytes())
    return bytes(samples.astype(numpy.dtype(dtype).newbyteorder("<"), copy=False).tobytes())


def _converted(job: str, samples: Any, dtype: str) -> Any:
    """Return samples as another dtype, int24 as int32 with values of 24 bits."""
    import numpy

    if dtype == "int24" and samples.dtype == "int32":
        return samples >> 8  # what is read from a file of 24 bits has them on top
    if dtype == "float64" and samples.dtype.name in ("uint8", "int16", "int32", "float32"):
        return as_floats(samples).astype("float64")
    if samples.dtype.kind != "f":
        raise ValueFitError(f"{job}: samples must be {dtype} or floats, but are {samples.dtype}")
    if dtype[0] == "f":
        return samples.astype(dtype)
    most = 2.0 ** (8 * SAMPLE_BYTES[dtype] - 1) - 1
    scale, middle = (128.0, 128.0) if dtype == "uint8" else (most, 0.0)
    lowest, highest = (0.0, 255.0) if dtype == "uint8" else (-most - 1, most)
    scaled = numpy.round(numpy.nan_to_num(samples.astype("float64"), nan=0.0) * scale + middle)
    return numpy.clip(scaled, lowest, highest).astype("int32" if dtype == "int24" else dtype)
