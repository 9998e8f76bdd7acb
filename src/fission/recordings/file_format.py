"""The file format of recordings: a start, then entries that each have a checksum.

docs/recordings.md describes it.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Iterable
from typing import Any, NamedTuple

from fission.protocol.block_times import BYTES

MAGIC = b"FISSION\0"
VERSION = 2
#: Versions that can be read. In version 1, no entry has times of blocks.
READABLE = (1, 2)

HAS_HEADS = 1
IS_PARTS = 2
IS_END = 4
HAS_TIMES = 8

START = struct.Struct("<8sII")  # magic, version, length in bytes of the JSON text that follows
ENTRY = struct.Struct("<II")  # bytes of the body, its CRC-32
BODY = struct.Struct("<dIIQIB")  # time, pipe, generation, number of the first block, blocks, flags
_SWAP = sys.byteorder == "big"


class RecordedEntry(NamedTuple):
    """Blocks of a pipe that passed together.

    Attributes:
        time: time at which they passed, in seconds since the epoch.
        pipe: id of the pipe.
        generation: generation of the numbers.
        sqn: number of the first block.
        payloads: the blocks; one that is a list has large buffers.
        heads: their heads; None: all are 0.
        times: times of the blocks (`block_times`), packed one after the other; None: unknown.
        end: JSON value of the last entry of a file, which has no blocks; None in others.
    """

    time: float
    pipe: int
    generation: int
    sqn: int
    payloads: list[Any]
    heads: list[int] | None
    times: bytes | None
    end: dict[str, Any] | None = None


def decoded_body(body: bytes) -> RecordedEntry:
    """Return an entry."""
    when, pipe, generation, sqn, count, flags = BODY.unpack_from(body)
    position = BODY.size
    heads: list[int] | None = None
    if flags & HAS_HEADS:
        heads = _read_numbers(body, position, count)
        position += 4 * count
    times: bytes | None = None
    if flags & HAS_TIMES:
        times = body[position : position + BYTES * count]
        position += BYTES * count
    (parts,) = _read_numbers(body, position, 1)
    lengths = _read_numbers(body, position + 4, parts)
    position += 4 + 4 * parts
    payloads: list[Any] = []
    for length in lengths:
        payloads.append(body[position : position + length])
        position += length
    if flags & IS_END:
        return RecordedEntry(when, pipe, generation, sqn, [], None, None, json.loads(payloads[0]))
    return RecordedEntry(when, pipe, generation, sqn, [payloads] if flags & IS_PARTS else payloads, heads, times)


def packed_numbers(values: Iterable[int]) -> bytes:
    """Return numbers in the file's encoding: 32 bits each, little-endian."""
    numbers = array("I", values)
    if _SWAP:
        numbers.byteswap()
    return numbers.tobytes()


def _read_numbers(body: bytes, position: int, count: int) -> list[int]:
    numbers = array("I")
    numbers.frombytes(body[position : position + 4 * count])
    if _SWAP:
        numbers.byteswap()
    return numbers.tolist()
