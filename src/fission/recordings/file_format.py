"""The file format of recordings: a start, then entries that each have a checksum.

docs/recordings.md describes it.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Iterable
from typing import Any

MAGIC = b"FISSION\0"
VERSION = 1

HAS_HEADS = 1
IS_PARTS = 2
IS_END = 4

START = struct.Struct("<8sII")  # magic, version, length in bytes of the JSON text that follows
ENTRY = struct.Struct("<II")  # bytes of the body, its CRC-32
BODY = struct.Struct("<dIIQIB")  # time, pipe, generation, number of the first block, blocks, flags
_SWAP = sys.byteorder == "big"


def decoded_body(body: bytes) -> tuple[float, int, int, int, list[Any], list[int] | None, dict[str, Any] | None]:
    """Return the content of an entry.

    It consists of time, pipe, generation, number of the first block, payloads, heads, and the JSON
    of a file's last entry.
    """
    when, pipe, generation, sqn, count, flags = BODY.unpack_from(body)
    position = BODY.size
    heads: list[int] | None = None
    if flags & HAS_HEADS:
        heads = _read_numbers(body, position, count)
        position += 4 * count
    (parts,) = _read_numbers(body, position, 1)
    lengths = _read_numbers(body, position + 4, parts)
    position += 4 + 4 * parts
    payloads: list[Any] = []
    for length in lengths:
        payloads.append(body[position : position + length])
        position += length
    if flags & IS_END:
        return when, pipe, generation, sqn, [], None, json.loads(payloads[0])
    return when, pipe, generation, sqn, [payloads] if flags & IS_PARTS else payloads, heads, None


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
