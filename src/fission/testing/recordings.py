"""Recordings: files with the blocks that went by on pipes. The format is described in docs/recordings.md.

A recording is written from front to end, in entries that each have a checksum, so whatever ends the writing (Ctrl-C, a full disk, a power
cut), what was written whole can be read.
"""

from __future__ import annotations

import importlib
import json
import os
import struct
import sys
import time
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from fission import durable
from fission.core.base import BasePipe, collecting, read_exactly
from fission.errors import BlockError, UserError, error_text
from fission.runtime import codec

MAGIC = b"FISSION\0"
VERSION = 1
#: Bytes that wait before they are handed to the operating system, and seconds after which they are anyhow; arbitrary.
FLUSH_BYTES, FLUSH_S = 1 << 20, 0.5

HAS_HEADS = 1
IS_PARTS = 2
IS_END = 4

_START = struct.Struct("<8sII")  # magic, version, bytes of the JSON text behind it
_ENTRY = struct.Struct("<II")  # bytes of the body, its CRC-32
_BODY = struct.Struct("<dIIQIB")  # time, pipe, generation, number of the first block, blocks, flags
_SWAP = sys.byteorder == "big"


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a recording.

    Attributes:
        pipe: its id.
        sqn: its number on the pipe, from 1.
        head: as a number.
        time: when it went by, in seconds since the epoch.
        generation: of the numbering.
        payload: its bytes; for a value with big buffers a list, the pickle first.
    """

    pipe: int
    sqn: int
    head: int
    time: float
    generation: int
    payload: Any
    _read: Any = field(repr=False, compare=False)

    @property
    def value(self) -> Any:
        """As `run` would get it. Raises BlockError: it cannot be read, or the pipe's class is not there."""
        return self._read(self.pipe)(self.payload)


class Recording:
    """A recording that is read, block by block: iterate over it. Only one entry is in memory at a time.

    Attributes:
        header: what was noted when it began: ``network``, ``began`` (seconds since the epoch), ``pipes`` (id -> class and sizes).
        problem: why it is not whole, in words; empty if it is, or as long as its end was not met.
        missed: by pipe, how many blocks went by unseen while it was recorded; known at its end.
    """

    def __init__(self, path: str | os.PathLike[str], pipes: Mapping[int, BasePipe] | None = None) -> None:
        self.path = Path(path)
        self.problem = ""
        self.missed: dict[int, int] = {}
        self._pipes = dict(pipes or {})
        self._readers: dict[int, Any] = {}
        with self._open() as file:
            self.header = self._start(file)

    @property
    def pipes(self) -> list[int]:
        """The ids of the pipes that were recorded."""
        return [int(number) for number in self.header["pipes"]]

    def __iter__(self) -> Iterator[Block]:
        for time_, pipe, generation, sqn, payloads, heads in self.entries():
            for index, payload in enumerate(payloads):
                yield Block(pipe, sqn + index, heads[index] if heads else 0, time_, generation, payload, self._reader)

    def entries(self) -> Iterator[tuple[float, int, int, int, list[Any], list[int] | None]]:
        """(time, pipe, generation, number of the first, payloads, heads) of blocks that went by together."""
        self.problem = ""
        with self._open() as file:
            self._start(file)
            while start := file.read(_ENTRY.size):
                body = self._body(file, start)
                if body is None:
                    return
                *rest, end = _decode(body)
                if end is not None:
                    self.missed = {int(pipe): count for pipe, count in end["missed"].items()}
                    return
                yield tuple(rest)  # type: ignore[misc]  # it has these
        self.problem = f"{self.path} was not ended: its writer was killed, or still writes"

    def _open(self) -> BinaryIO:
        try:
            return open(self.path, "rb")
        except OSError as why:
            raise UserError(f"{self.path} cannot be read: {why.strerror}") from None

    def _start(self, file: BinaryIO) -> dict[str, Any]:
        start = file.read(_START.size)
        if len(start) < _START.size or not start.startswith(MAGIC):
            raise UserError(f"{self.path} is no recording of FISSION: it does not begin as one")
        _, version, size = _START.unpack(start)
        if version != VERSION:
            raise UserError(f"{self.path} is a recording of version {version}, and this FISSION reads version {VERSION}; use one that fits")
        text = read_exactly(file, size) if size <= _left(file) else b""
        try:
            header = durable.unseal(text) if b'"crc": "' in text else json.loads(text)
            if not isinstance(header["pipes"], dict):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{self.path} is a recording that was damaged, or cut off before its first block") from None
        return dict(header)

    def _body(self, file: BinaryIO, start: bytes) -> bytes | None:
        at = file.tell() - len(start)
        size, checksum = _ENTRY.unpack(start) if len(start) == _ENTRY.size else (0, 1)
        body = read_exactly(file, size) if size <= _left(file) else b""
        if len(body) == size and zlib.crc32(body) == checksum and size >= _BODY.size:
            return body
        what = "is cut off" if len(start) < _ENTRY.size or len(body) < size else "is damaged"
        self.problem = f"{self.path} {what} at byte {at}; what is before that is whole"
        return None

    def _reader(self, number: int) -> Any:
        if number not in self._readers:
            pipe = self._pipes.get(number) or _made(number, self.header["pipes"][str(number)])
            self._readers[number] = codec.decoder(pipe, lambda why: BlockError(f"a block of {pipe} cannot be read: {error_text(why)}"))
        return self._readers[number]


def read_recording(path: str | os.PathLike[str], pipes: Mapping[int, BasePipe] | None = None) -> Recording:
    """Open a recording to iterate over its blocks.

    Args:
        path: of the file.
        pipes: by id, those of a loaded network; without them, blocks are read by the classes that the recording names.

    Raises:
        UserError: there is no such file, it is no recording, or one of another version.
    """
    return Recording(path, pipes)


class Recorder:
    """Writes a recording. A context manager: `close` at its end.

    Attributes:
        blocks: written so far.
        size: of the file, in bytes.
    """

    def __init__(self, path: str | os.PathLike[str], network: str, pipes: Iterable[BasePipe], *, overwrite: bool = False) -> None:
        """Begin a file.

        Raises:
            UserError: it exists and is not to be overwritten, or cannot be written.
        """
        self.path = Path(path)
        self.blocks = 0
        self.size = 0
        self._flushed_at = time.monotonic()
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._newest: dict[int, float] = {}  # time by pipe
        self._epoch = time.time() - time.monotonic()
        try:
            self._file = open(self.path, "wb" if overwrite else "xb", buffering=0)  # noqa: SIM115 - open as long as this object
        except FileExistsError:
            raise UserError(f"{self.path} exists already; name another file, or overwrite it with --overwrite") from None
        except OSError as why:
            raise UserError(f"{self.path} cannot be written: {why.strerror}") from None
        header = {"network": network, "began": time.time(), "pipes": {str(pipe.id): _described(pipe) for pipe in pipes}}
        text = durable.seal(header)
        self._put(_START.pack(MAGIC, VERSION, len(text)) + text)
        self._flush()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def write(self, when: float, pipe: int, generation: int, sqn: int, payloads: Sequence[Any], heads: Sequence[int] | None = None) -> None:
        """Add blocks ``sqn`` and following of a pipe.

        Raises:
            OSError: the disk is full, say; what was written before is whole, and nothing can be added.
        """
        when = self._newest[pipe] = max(when, self._newest.get(pipe, when))  # no clock that is set makes the times run backwards
        small: list[Any] = []
        first = sqn
        for index, payload in enumerate(payloads):
            if type(payload) is list:  # it has an entry of its own
                self._small(when, pipe, generation, first, small, heads[first - sqn :] if heads else None)
                self._entry(when, pipe, generation, sqn + index, 1, IS_PARTS, payload, heads[index : index + 1] if heads else None)
                small, first = [], sqn + index + 1
            else:
                small.append(payload)
        self._small(when, pipe, generation, first, small, heads[first - sqn :] if heads else None)
        self.blocks += len(payloads)
        if self._bytes >= FLUSH_BYTES or time.monotonic() - self._flushed_at >= FLUSH_S:
            self._flush()

    def close(self, missed: Mapping[int, int] | None = None) -> None:
        """End the recording, with how many blocks of each pipe went by unseen. Calling it twice is right. Raises OSError."""
        if self._file.closed:
            return
        try:
            text = json.dumps({"missed": {str(pipe): count for pipe, count in (missed or {}).items()}}).encode()
            end = max([self._epoch + time.monotonic(), *self._newest.values()])
            self._entry(end, 0, 0, 0, 0, IS_END, [text], None)
            self._flush()
            durable.sync(self._file.fileno(), self.path)
        finally:
            self._file.close()

    def _small(self, when: float, pipe: int, generation: int, sqn: int, payloads: list[Any], heads: Sequence[int] | None) -> None:
        if payloads:
            self._entry(when, pipe, generation, sqn, len(payloads), 0, payloads, heads and heads[: len(payloads)])

    def _entry(
        self, when: float, pipe: int, generation: int, sqn: int, count: int, flags: int, parts: Sequence[Any], heads: Sequence[int] | None
    ) -> None:
        some = heads is not None and any(heads)
        start = _BODY.pack(when, pipe, generation, sqn, count, flags | (HAS_HEADS if some else 0))
        lengths = _numbers([len(parts), *(memoryview(part).nbytes for part in parts)])
        body = b"".join((start, _numbers(heads) if some and heads is not None else b"", lengths, *parts))
        self._put(_ENTRY.pack(len(body), zlib.crc32(body)) + body)

    def _put(self, data: bytes) -> None:
        self._waiting.append(data)
        self._bytes += len(data)

    def _flush(self) -> None:
        data = memoryview(b"".join(self._waiting))
        self._waiting, self._bytes, self._flushed_at = [], 0, time.monotonic()
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError:
            self._cut(bytes(data[:written]))
            self._file.close()
            raise
        self.size += len(data)

    def _cut(self, written: bytes) -> None:
        """Take back the half of an entry that is at the end of the file."""
        whole = 0
        while self.size and whole + _ENTRY.size <= len(written):
            end = whole + _ENTRY.size + _ENTRY.unpack_from(written, whole)[0]
            if end > len(written):
                break
            whole = end
        self._file.truncate(self.size + whole)
        self.size += whole


def _left(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size - file.tell()


def _decode(body: bytes) -> tuple[float, int, int, int, list[Any], list[int] | None, dict[str, Any] | None]:
    when, pipe, generation, sqn, count, flags = _BODY.unpack_from(body)
    position = _BODY.size
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


def _numbers(values: Iterable[int]) -> bytes:
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


def _described(pipe: BasePipe) -> dict[str, Any]:
    kind = type(pipe)
    return {"class": f"{kind.__module__}.{kind.__qualname__}", "block_size": pipe.BLOCK_SIZE, "block_count": pipe.BLOCK_COUNT}


def _made(number: int, described: Mapping[str, Any]) -> BasePipe:
    """The pipe that a recording describes. Its `__init__`, which may want anything, is not called."""
    module, _, name = str(described["class"]).rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as why:
        raise BlockError(
            f"the blocks of pipe {number} can only be read with its class {described['class']}: {why}; put the project on sys.path, "
            "or give the pipes of the loaded network"
        ) from why
    with collecting():
        pipe: BasePipe = kind.__new__(kind)
    pipe.id = number
    for attribute in ("block_size", "block_count"):
        setattr(pipe, attribute.upper(), described[attribute])
    return pipe
