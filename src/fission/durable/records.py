"""Checksummed formats: binary records, and JSON objects in lines."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from .files import DamagedFileError, about_to, read_whole, write_whole

#: The version of the record format that `frame` writes.
RECORD_VERSION = 1

#: What a record begins with.
RECORD_MAGIC = b"FSNr"
_HEADER = struct.Struct("<4sBxxxQ")  # magic, version, length of the content in bytes
_CHECKSUM = struct.Struct("<I")
#: Bytes of a record beside its content.
RECORD_OVERHEAD_BYTES = _HEADER.size + 2 * _CHECKSUM.size
_HEADER_BYTES = _HEADER.size + _CHECKSUM.size
_PIECE_BYTES = 1 << 20
_SEAL = b', "crc": "'
_ENDED = re.compile(rb'"crc": "[0-9a-f]{8}"}\n\Z')
_SEAL_BYTES = len(_SEAL) + 8 + 2


def header_of_record(length: int) -> bytes:
    """Return the header of a record.

    Args:
        length: length of the content, in bytes.
    """
    header = _HEADER.pack(RECORD_MAGIC, RECORD_VERSION, length)
    return header + _CHECKSUM.pack(zlib.crc32(header))


def frame(*pieces: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """Yield the pieces of a record whose content is the concatenated arguments, without copying
    them.
    """
    yield header_of_record(sum(memoryview(piece).nbytes for piece in pieces))
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
        yield piece
    yield _CHECKSUM.pack(checksum)


def write_record(path: Path, *pieces: bytes | memoryview, mode: int = 0o666) -> None:
    """Replace a file with one record (see `frame` and `write_whole`)."""
    write_whole(path, frame(*pieces), mode)


def read_record(path: Path) -> bytes:
    """Return the content of a file that is one record.

    Raises:
        DamagedFileError: it is not one whole record.
        OSError: it cannot be read.
    """
    return b"".join(record_pieces(path))


def record_pieces(path: Path, piece_bytes: int = _PIECE_BYTES) -> Iterator[bytes]:
    """Yield the content of a file that is one record, in pieces; its checksum is verified after the
    last one.

    Args:
        path: path of the file.
        piece_bytes: largest size of a piece.

    Raises:
        DamagedFileError: it is not one whole record.
        OSError: it cannot be read.
    """
    about_to("open", path)
    with path.open("rb") as file:
        yield from _record(file, path, piece_bytes)
        if file.read(1):
            raise DamagedFileError(path, "it is longer than the length in its header")


def whole_record(path: Path) -> bool:
    """Return whether a file is one whole record; reads all of it, with little memory."""
    try:
        for _ in record_pieces(path):
            pass
    except (DamagedFileError, OSError):
        return False
    return True


def records(path: Path) -> tuple[list[bytes], int]:
    """Return the contents of the whole records at the start of a file, and their size in bytes.

    The rest of the file is damage, or a torn end, which ``Appender(path, keep_bytes)`` cuts off.
    """
    found: list[bytes] = []
    good_bytes = 0
    about_to("open", path)
    with path.open("rb") as file:
        while True:
            try:
                content = b"".join(_record(file, path, _PIECE_BYTES))
            except DamagedFileError:
                return found, good_bytes
            found.append(content)
            good_bytes += len(content) + RECORD_OVERHEAD_BYTES


def _record(file: BinaryIO, path: Path, piece_bytes: int) -> Iterator[bytes]:
    about_to("read", path)
    header = file.read(_HEADER_BYTES)
    if not header:
        raise DamagedFileError(path, "it is empty")
    if len(header) < _HEADER_BYTES:
        raise DamagedFileError(path, f"it is cut off after {len(header)} bytes")
    magic, version, left = _HEADER.unpack_from(header)
    if magic != RECORD_MAGIC or _CHECKSUM.unpack_from(header, _HEADER.size)[0] != zlib.crc32(header[: _HEADER.size]):
        raise DamagedFileError(path, "it does not begin with FISSION's header")
    if version != RECORD_VERSION:
        raise DamagedFileError(path, f"it has version {version} of the format, and this FISSION reads version {RECORD_VERSION}")
    checksum = 0
    while left:
        about_to("read", path)
        piece = file.read(min(piece_bytes, left))
        if not piece:
            raise DamagedFileError(path, f"it is cut off: {left} bytes are missing")
        left -= len(piece)
        checksum = zlib.crc32(piece, checksum)
        yield piece
    end = file.read(_CHECKSUM.size)
    if len(end) < _CHECKSUM.size:
        raise DamagedFileError(path, "it is cut off in its last bytes")
    if _CHECKSUM.unpack(end)[0] != checksum:
        raise DamagedFileError(path, "its checksum is wrong")


def seal(entry: dict[str, Any]) -> bytes:
    """Return a JSON object as one line whose last key, ``crc``, is a checksum; values unknown to
    JSON become their `str`.
    """
    text = json.dumps(entry, default=str).encode()
    return text[:-1] + (_SEAL if entry else _SEAL[2:]) + f'{zlib.crc32(text):08x}"}}\n'.encode()


def unseal(line: bytes) -> dict[str, Any]:
    """Return the object of a line made by `seal`.

    Raises:
        ValueError: the line is damaged.
    """
    body, end = line[: -_SEAL_BYTES - 1], line[-_SEAL_BYTES - 1 :]
    if not end.startswith(_SEAL):
        body, end = line[: -_SEAL_BYTES + 1], line[-_SEAL_BYTES + 1 :]
        if body != b"{" or not end.startswith(_SEAL[2:]):
            raise ValueError("it does not end with FISSION's checksum")
    text = body + b"}"
    if not end.endswith(f'"{zlib.crc32(text):08x}"}}\n'.encode()):
        raise ValueError("its checksum is wrong")
    entry = json.loads(text)
    if not isinstance(entry, dict):
        raise ValueError("it is not a JSON object")
    return entry


def sealed_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the entries of a file of sealed lines, and their size in bytes; a torn end after them
    is not damage.

    An end is torn if it has no complete line: a crash or a power cut interrupted the last write.

    Raises:
        DamagedFileError: there is damage before a complete line; ``what`` names the line.
        OSError: it cannot be read.
    """
    found: list[dict[str, Any]] = []
    good_bytes = 0
    damage = ""
    for number, line in enumerate(_lines(read_whole(path)), 1):
        try:
            entry = unseal(line)
        except ValueError as why:
            damage = damage or f"line {number}: {why}"
            if _ENDED.search(line):
                raise DamagedFileError(path, damage) from None
            continue
        if damage:
            raise DamagedFileError(path, damage)
        found.append(entry)
        good_bytes += len(line)
    return found, good_bytes


def _lines(content: bytes) -> list[bytes]:
    lines = content.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + [lines[-1]] * bool(lines[-1])


def write_json(path: Path, entry: dict[str, Any], mode: int = 0o666) -> None:
    """Replace a file with one sealed JSON object (see `seal` and `write_whole`)."""
    write_whole(path, seal(entry), mode)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file written by `write_json`.

    Raises:
        DamagedFileError: its content is not what was written.
        OSError: it cannot be read.
    """
    content = read_whole(path)
    if not content:
        raise DamagedFileError(path, "it is empty")
    try:
        return unseal(content)
    except ValueError as why:
        raise DamagedFileError(path, str(why)) from None
