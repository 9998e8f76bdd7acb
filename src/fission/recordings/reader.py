"""Reading a recording, block by block."""

from __future__ import annotations

import importlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from fission import durable
from fission.core.base import BasePipe, collecting, read_exactly
from fission.core.block_time import BlockTime
from fission.errors import BlockError, UserError, error_text
from fission.protocol.block_times import BYTES, unpack
from fission.recordings.file_format import BODY, ENTRY, MAGIC, READABLE, START, RecordedEntry, decoded_body
from fission.runtime import codec


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a recording.

    Attributes:
        pipe: id of the pipe.
        sqn: number of the block on the pipe, from 1.
        head: head, as a number.
        time: time at which the block passed, in seconds since the epoch.
        generation: generation of the numbering.
        payload: bytes of the block; for a value with large buffers a list, with the pickle first.
        block_time: as ``self.block_time`` of a job that gets the block; None: its pipe carried no
            times when it was recorded (BLOCK_TIME).
    """

    pipe: int
    sqn: int
    head: int
    time: float
    generation: int
    payload: Any
    block_time: BlockTime | None
    _read: Any = field(repr=False, compare=False)

    @property
    def value(self) -> Any:
        """The value that `run` would receive.

        Raises:
            BlockError: the value cannot be read, or the pipe's class is not available.
        """
        return self._read(self.pipe)(self.payload)


class Recording:
    """A recording that is open for reading: iterate over it to get its blocks.

    Only one entry is in memory at a time.

    Attributes:
        header: data from the start of the recording: ``network``, ``began`` (seconds since the
            epoch), ``pipes`` (id -> class and sizes).
        problem: why the recording is incomplete, in words; empty if it is complete, or until its
            end is reached.
        missed: by pipe, the number of blocks that the recording missed; known once the
            end is reached.
        cut: pipes whose end was not seen, because the job or the network was killed: last blocks may
            be missing; known once the end is reached.
    """

    def __init__(self, path: str | os.PathLike[str], pipes: Mapping[int, BasePipe] | None = None) -> None:
        self.path = Path(path)
        self.problem = ""
        self.missed: dict[int, int] = {}
        self.cut: tuple[int, ...] = ()
        self._pipes = dict(pipes or {})
        self._readers: dict[int, Any] = {}
        with self._open() as file:
            self.header = self._start(file)

    @property
    def pipes(self) -> list[int]:
        """The ids of the recorded pipes."""
        return [int(number) for number in self.header["pipes"]]

    def __iter__(self) -> Iterator[Block]:
        for entry in self.entries():
            for index, payload in enumerate(entry.payloads):
                head = entry.heads[index] if entry.heads else 0
                made = BlockTime(*unpack(entry.times[BYTES * index : BYTES * (index + 1)])) if entry.times else None
                yield Block(entry.pipe, entry.sqn + index, head, entry.time, entry.generation, payload, made, self._reader)

    def entries(self) -> Iterator[RecordedEntry]:
        """Yield the entries that have blocks."""
        self.problem = ""
        with self._open() as file:
            self._start(file)
            while start := file.read(ENTRY.size):
                body = self._body(file, start)
                if body is None:
                    return
                entry = decoded_body(body)
                if entry.end is not None:
                    self.missed = {int(pipe): count for pipe, count in entry.end["missed"].items()}
                    self.cut = tuple(entry.end.get("cut", ()))  # recordings of earlier versions do not say
                    return
                yield entry
        self.problem = f"{self.path} has no end: its writer was killed, or is still writing"

    def _open(self) -> BinaryIO:
        try:
            return open(self.path, "rb")
        except OSError as why:
            raise UserError(f"{self.path} cannot be read: {why.strerror}") from None

    def _start(self, file: BinaryIO) -> dict[str, Any]:
        start = file.read(START.size)
        if len(start) < START.size or not start.startswith(MAGIC):
            raise UserError(f"{self.path} is not a FISSION recording: its header is missing")
        _, version, size = START.unpack(start)
        if version not in READABLE:
            raise UserError(
                f"{self.path} is a recording of version {version}, and this FISSION reads versions {READABLE[0]} to {READABLE[-1]}; "
                "use one that fits"
            )
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
        size, checksum = ENTRY.unpack(start) if len(start) == ENTRY.size else (0, 1)
        body = read_exactly(file, size) if size <= _left(file) else b""
        if len(body) == size and zlib.crc32(body) == checksum and size >= BODY.size:
            return body
        what = "is cut off" if len(start) < ENTRY.size or len(body) < size else "is damaged"
        self.problem = f"{self.path} {what} at byte {at}; the blocks before that are intact"
        return None

    def _reader(self, number: int) -> Any:
        if number not in self._readers:
            pipe = self._pipes.get(number) or _made(number, self.header["pipes"][str(number)])
            self._readers[number] = codec.decoder(pipe, lambda why: BlockError(f"a block of {pipe} cannot be read: {error_text(why)}"))
        return self._readers[number]


def read_recording(path: str | os.PathLike[str], pipes: Mapping[int, BasePipe] | None = None) -> Recording:
    """Open a recording to iterate over its blocks.

    Args:
        path: path of the file.
        pipes: pipes of a loaded network, by id; without them, blocks are read by the classes that
            the recording names.

    Raises:
        UserError: the file does not exist, is not a recording, or has another version.
    """
    return Recording(path, pipes)


def _left(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size - file.tell()


def _made(number: int, described: Mapping[str, Any]) -> BasePipe:
    """Return the pipe that a recording describes.

    Its `__init__` is not called, because it may require any arguments.
    """
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
