"""Writing a recording."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from fission import durable
from fission.core.base import BasePipe
from fission.errors import UserError
from fission.protocol.block_times import BYTES
from fission.protocol.joined import separate
from fission.recordings.file_format import BODY, ENTRY, HAS_HEADS, HAS_TIMES, IS_END, IS_PARTS, MAGIC, START, VERSION, packed_numbers

#: Bytes that are buffered before they are passed to the operating system, and seconds after which
#: they are passed in any case; arbitrary.
FLUSH_BYTES, FLUSH_S = 1 << 20, 0.5


@dataclass(frozen=True)
class PipeFacts:
    """What a recording says of a pipe.

    Attributes:
        id: its number.
        made_by: module and name of its class.
        block_size: its BLOCK_SIZE.
        block_count: its BLOCK_COUNT.
    """

    id: int
    made_by: str
    block_size: int | str
    block_count: int

    @staticmethod
    def of(pipe: BasePipe) -> PipeFacts:
        """Return the facts of a pipe."""
        kind = type(pipe)
        return PipeFacts(pipe.id, f"{kind.__module__}.{kind.__qualname__}", pipe.BLOCK_SIZE, pipe.BLOCK_COUNT)


class Recorder:
    """Writes a recording. It is a context manager that calls `close` at its end.

    Attributes:
        blocks: number of blocks written so far.
        size: size of the file in bytes.
    """

    def __init__(
        self, path: str | os.PathLike[str], network: str, pipes: Iterable[BasePipe | PipeFacts], *, overwrite: bool = False
    ) -> None:
        """Create the file.

        Args:
            path: path of the file.
            network: name of the recorded network.
            pipes: pipes that are recorded, or what is known of them where their classes are not loaded.
            overwrite: whether an existing file is overwritten.

        Raises:
            UserError: the file exists and must not be overwritten, or cannot be written.
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
        header = {"network": network, "began": time.time(), "pipes": dict(map(_described, pipes))}
        text = durable.seal(header)
        self._put(START.pack(MAGIC, VERSION, len(text)) + text)
        self._flush()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def write(
        self,
        when: float,
        pipe: int,
        generation: int,
        sqn: int,
        payloads: Sequence[Any],
        heads: Sequence[int] | None = None,
        times: bytes | None = None,
    ) -> None:
        """Write blocks of a pipe, numbered from ``sqn``.

        Args:
            when: time at which they passed, in seconds since the epoch.
            pipe: id of the pipe.
            generation: generation of the numbers.
            sqn: number of the first block.
            payloads: the blocks.
            heads: their heads; None: all are 0.
            times: times of the blocks (`block_times`), packed one after the other; None: unknown.

        Raises:
            OSError: writing failed, for example because the disk is full. Earlier entries are
                complete, and nothing further can be written.
        """
        when = self._newest[pipe] = max(when, self._newest.get(pipe, when))  # times never decrease, even if the clock is set
        payloads = separate(payloads)

        def put(first: int, count: int, flags: int, parts: Sequence[Any]) -> None:
            if count:
                own_heads = heads[first : first + count] if heads else None
                own_times = times[BYTES * first : BYTES * (first + count)] if times else b""
                self._entry(when, pipe, generation, sqn + first, count, flags, parts, own_heads, own_times)

        small: list[Any] = []
        first = 0
        for index, payload in enumerate(payloads):
            if type(payload) is list:  # it gets an entry of its own
                put(first, len(small), 0, small)
                put(index, 1, IS_PARTS, payload)
                small, first = [], index + 1
            else:
                small.append(payload)
        put(first, len(small), 0, small)
        self.blocks += len(payloads)
        if self._bytes >= FLUSH_BYTES or time.monotonic() - self._flushed_at >= FLUSH_S:
            self._flush()

    def flush(self) -> None:
        """Pass what is buffered to the operating system.

        Raises:
            OSError: as in `write`.
        """
        if self._waiting:
            self._flush()

    def close(self, missed: Mapping[int, int] | None = None, cut: Sequence[int] = ()) -> None:
        """End the recording. Idempotent.

        Args:
            missed: number of blocks of each pipe that were missed.
            cut: pipes whose end was not seen, so that last blocks may be missing.

        Raises:
            OSError: the end cannot be written.
        """
        if self._file.closed:
            return
        try:
            text = json.dumps({"missed": {str(pipe): count for pipe, count in (missed or {}).items()}, "cut": list(cut)}).encode()
            end = max([self._epoch + time.monotonic(), *self._newest.values()])
            self._entry(end, 0, 0, 0, 0, IS_END, [text])
            self._flush()
            durable.sync(self._file.fileno(), self.path)
        finally:
            self._file.close()

    def _entry(
        self,
        when: float,
        pipe: int,
        generation: int,
        sqn: int,
        count: int,
        flags: int,
        parts: Sequence[Any],
        heads: Sequence[int] | None = None,
        times: bytes = b"",
    ) -> None:
        some = heads if heads and any(heads) else ()
        flags |= (HAS_HEADS if some else 0) | (HAS_TIMES if times else 0)
        start = BODY.pack(when, pipe, generation, sqn, count, flags)
        lengths = packed_numbers([len(parts), *(memoryview(part).nbytes for part in parts)])
        body = b"".join((start, packed_numbers(some), times, lengths, *parts))
        self._put(ENTRY.pack(len(body), zlib.crc32(body)) + body)

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
        """Remove the partial entry at the end of the file."""
        whole = 0
        while self.size and whole + ENTRY.size <= len(written):
            end = whole + ENTRY.size + ENTRY.unpack_from(written, whole)[0]
            if end > len(written):
                break
            whole = end
        self._file.truncate(self.size + whole)
        self.size += whole


def _described(pipe: BasePipe | PipeFacts) -> tuple[str, dict[str, Any]]:
    facts = pipe if isinstance(pipe, PipeFacts) else PipeFacts.of(pipe)
    return str(facts.id), {"class": facts.made_by, "block_size": facts.block_size, "block_count": facts.block_count}
