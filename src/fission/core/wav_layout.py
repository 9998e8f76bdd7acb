"""The bytes of WAV files: a header of fixed length, then frames."""

from __future__ import annotations

import struct
from typing import Any

from fission.errors import ValueFitError

#: Bytes of one sample, by dtype.
SAMPLE_BYTES = {"uint8": 1, "int16": 2, "int32": 4, "float32": 4}
#: RIFF uses 32 bits for the length of everything after its first eight bytes.
MOST_BYTES = 2**32 - 1
_INTEGERS, _FLOATS = 1, 3  # format tags
_LENGTH = struct.Struct("<I")


def header(rate: int, channels: int, dtype: str, size: int) -> bytes:
    """Return the header of a file.

    Args:
        rate: frames per second.
        channels: samples in a frame.
        dtype: type of a sample, one of `SAMPLE_BYTES`.
        size: size of the whole file in bytes, header included; a smaller size counts as one header.
    """
    width = SAMPLE_BYTES[dtype]
    frame = channels * width
    tag = _FLOATS if dtype == "float32" else _INTEGERS
    form = struct.pack("<HHIIHH", tag, channels, rate, min(rate * frame, MOST_BYTES), frame & 0xFFFF, 8 * width)
    header_bytes = 44 if tag == _INTEGERS else 58
    data_bytes = max(size, header_bytes) - header_bytes
    chunks = _chunk(b"fmt ", form if tag == _INTEGERS else form + b"\0\0")
    if tag != _INTEGERS:
        chunks += _chunk(b"fact", _LENGTH.pack(data_bytes // frame))
    chunks += b"data" + _LENGTH.pack(data_bytes)
    return b"RIFF" + _LENGTH.pack(header_bytes - 8 + data_bytes) + b"WAVE" + chunks


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + _LENGTH.pack(len(content)) + content


def same_format(start: bytes, wanted: bytes) -> bool:
    """Return whether a file starts with a header made by `header`, of the same format as another
    one.
    """
    return len(start) >= len(wanted) and start[8:36] == wanted[8:36] and start[:4] == b"RIFF" and start[len(wanted) - 8 :][:4] == b"data"


def length_of(start: bytes) -> int:
    """Return the size of a file in bytes according to its header."""
    return int(_LENGTH.unpack_from(start, 4)[0]) + 8


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
    return bytes(samples.astype(numpy.dtype(dtype).newbyteorder("<"), copy=False).tobytes())


def _converted(job: str, samples: Any, dtype: str) -> Any:
    import numpy

    if samples.dtype.kind != "f":
        raise ValueFitError(f"{job}: samples must be {dtype} or floats, but are {samples.dtype}")
    if dtype == "float32":
        return samples.astype("float32")
    limits = numpy.iinfo(dtype)
    scale, middle = (128.0, 128.0) if dtype == "uint8" else (float(limits.max), 0.0)
    scaled = numpy.round(numpy.nan_to_num(samples.astype("float64"), nan=0.0) * scale + middle)
    return numpy.clip(scaled, limits.min, limits.max).astype(dtype)
