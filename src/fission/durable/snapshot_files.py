"""The format of a snapshot's file, which says which snapshot it is, so that the file can be used
again.

A new file costs a commit of the file system's journal, for its blocks, its size and its name; an
overwrite of blocks that it has costs one flush of the device. So `overwrite` writes a snapshot over
an obsolete one, and only afterwards the file gets its new name, which may reach the
device at any time. Hence the content counts, not the name:

    header      magic, version, size of the file, `Label`, length of the state; its checksum
    state
    zeros       up to the size of the file: all of it is written each time, so no old byte matters
    checksum    of all of it, so that no mixture of an old and a new snapshot passes

Files of the format before this one (`records`) are read too.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from .files import DamagedFileError, about_to, open_file, sync_data, write_all
from .records import RECORD_MAGIC, record_pieces

_MAGIC = b"FSNs"
_VERSION = 1
_HEADER = struct.Struct("<4sBxxxQQQQQQQ")
_CHECKSUM = struct.Struct("<I")
_HEADER_BYTES = _HEADER.size + _CHECKSUM.size
#: Sizes of files are multiples of it: what file systems and devices write at once, in general.
PAGE_BYTES = 4096
_PIECE_BYTES = 1 << 20
_NOT_OURS = "it does not begin with FISSION's header"

#: (generation, block) of a snapshot.
Number: TypeAlias = "tuple[int, int]"


@dataclass(frozen=True)
class Label:
    """What a file says about the snapshot in it.

    Args:
        sequence: count of the job's snapshots; of two files with the same number, the one with the
            larger sequence counts.
        number: (generation, block) of the snapshot.
        needed: number of the job's last stable snapshot when this one was written; snapshots before
            it are not needed.
    """

    sequence: int
    number: Number
    needed: Number


def file_bytes(length: int, spare_share: float = 0.0) -> int:
    """Return the size of the file for a state.

    Args:
        length: length of the state in bytes.
        spare_share: share of the length by which later states may be longer.
    """
    return -(-(_HEADER_BYTES + int(length * (1 + spare_share)) + _CHECKSUM.size) // PAGE_BYTES) * PAGE_BYTES


def snapshot_content(label: Label, state: bytes, size: int) -> Iterator[bytes | memoryview]:
    """Yield the content of a file of ``size`` bytes (see `file_bytes`), without copying the state."""
    header = _HEADER.pack(_MAGIC, _VERSION, size, label.sequence, *label.number, *label.needed, len(state))
    # the second one begins with the first one's value: a CRC of bytes and their CRC would be the same for all headers
    begun = zlib.crc32(header)
    header += _CHECKSUM.pack(begun)
    zeros = bytes(size - len(header) - len(state) - _CHECKSUM.size)
    checksum = _CHECKSUM.pack(zlib.crc32(zeros, zlib.crc32(state, begun)))
    if size <= _PIECE_BYTES:
        yield b"".join((header, state, zeros, checksum))  # one call of the system
        return
    yield header
    yield memoryview(state)
    yield zeros
    yield checksum


def overwrite(path: Path, label: Label, state: bytes) -> int:
    """Write a snapshot over the content of a file; it is on the device afterwards.

    Returns:
        Size of the file in bytes: as before, unless the state needs more.

    Raises:
        OSError: it cannot be written. The content is damaged then, and the kernel may believe that
            the device has it: the file must not be used again.
    """
    descriptor = open_file(path, os.O_WRONLY)
    try:
        size = max(os.fstat(descriptor).st_size, file_bytes(len(state)))
        for piece in snapshot_content(label, state, size):
            write_all(descriptor, piece, path)
        sync_data(descriptor, path)
        return size
    finally:
        os.close(descriptor)


def snapshot_pieces(path: Path, number: Number | None = None) -> Iterator[bytes]:
    """Yield the state in a file in pieces; its checksum is verified after the last one.

    Args:
        path: path of the file.
        number: number that the snapshot must have, if the file says it; None for any.

    Raises:
        DamagedFileError: it is not one whole snapshot with this number.
        OSError: it cannot be read.
    """
    about_to("open", path)
    with path.open("rb") as file:
        about_to("read", path)
        header = file.read(_HEADER_BYTES)
        if header[: len(RECORD_MAGIC)] != RECORD_MAGIC:
            label, length, size = _parsed(header, path)
            if number is not None and label.number != number:
                raise DamagedFileError(path, f"it is the snapshot after block {label.number[1]} of generation {label.number[0]}")
            yield from _state(file, path, header, length, size)
            return
    yield from record_pieces(path)


def read_snapshot(path: Path, number: Number | None = None) -> bytes:
    """Return the state in a file; see `snapshot_pieces`."""
    return b"".join(snapshot_pieces(path, number))


def read_label(path: Path) -> tuple[Label | None, int]:
    """Return what a file says about its snapshot, and the file's size; reads and verifies all of it.

    Returns:
        (label, size in bytes); None for a whole file of the format before this one.

    Raises:
        DamagedFileError: it is not one whole snapshot.
        OSError: it cannot be read.
    """
    for _ in snapshot_pieces(path):
        pass
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if header[: len(RECORD_MAGIC)] == RECORD_MAGIC:
        return None, path.stat().st_size
    label, _, size = _parsed(header, path)
    return label, size


def _parsed(header: bytes, path: Path) -> tuple[Label, int, int]:
    """Return (label, length of the state, size of the file)."""
    if not header:
        raise DamagedFileError(path, "it is empty")
    if len(header) < _HEADER_BYTES:
        raise DamagedFileError(path, f"it is cut off after {len(header)} bytes")
    magic, version, size, sequence, *numbers, length = _HEADER.unpack_from(header)
    if magic != _MAGIC or _CHECKSUM.unpack_from(header, _HEADER.size)[0] != zlib.crc32(header[: _HEADER.size]):
        raise DamagedFileError(path, _NOT_OURS)
    if version != _VERSION:
        raise DamagedFileError(path, f"it has version {version} of the format, and this FISSION reads version {_VERSION}")
    return Label(sequence, (numbers[0], numbers[1]), (numbers[2], numbers[3])), length, size


def _state(file: BinaryIO, path: Path, header: bytes, length: int, size: int) -> Iterator[bytes]:
    checksum = zlib.crc32(header[: _HEADER.size])
    for left, wanted in ((length, True), (size - _HEADER_BYTES - length - _CHECKSUM.size, False)):
        while left > 0:
            about_to("read", path)
            piece = file.read(min(_PIECE_BYTES, left))
            if not piece:
                raise DamagedFileError(path, f"it is cut off: {left} bytes are missing")
            left -= len(piece)
            checksum = zlib.crc32(piece, checksum)
            if wanted:
                yield piece
    found = file.read(_CHECKSUM.size)
    if len(found) < _CHECKSUM.size:
        raise DamagedFileError(path, "it is cut off in its last bytes")
    if _CHECKSUM.unpack(found)[0] != checksum:
        raise DamagedFileError(path, "its checksum is wrong")
    if file.read(1):
        raise DamagedFileError(path, "it is longer than the length in its header")
