"""Users' pipes after an executable: whichever methods a pipe overrides, `read_wrapper` frames blocks that the next job can read."""

from __future__ import annotations

import io
import os
import pickle
import struct
from typing import Any

import pytest

from fission.core.base import collecting
from fission.core.pipes import BasePipe, BytesPipe, JSONPipe, PicklePipe
from fission.runtime.block_reader import BlockReader


class Line(BasePipe):
    def read(self, file: Any) -> Any:
        return file.readline()


class Next(BasePipe):
    def read(self, file: Any) -> Any:
        return next(file)


class Stripped(BasePipe):
    BLOCK_SIZE = "line"

    def read(self, file: Any) -> Any:
        return file.readline().rstrip(b"\n")

    def write(self, file: Any, data: Any) -> None:
        file.write(data + b"\n")


class Prefixed(BasePipe):
    BLOCK_SIZE = "prefixed"

    def read(self, file: Any) -> Any:
        return file.read(struct.unpack("<I", file.read(4))[0])

    def write(self, file: Any, data: Any) -> None:
        file.write(struct.pack("<I", len(data)) + data)


class Number(BasePipe):
    """`read` gives something else than bytes."""

    BLOCK_SIZE = 4

    def read(self, file: Any) -> Any:
        return struct.unpack("<i", file.read(4))[0]

    def write(self, file: Any, data: Any) -> None:
        file.write(struct.pack("<i", data))


class Into(Number):
    def read(self, file: Any) -> Any:
        buffer = bytearray(4)
        file.readinto(buffer)
        return struct.unpack("<i", buffer)[0]


class Own(Line):
    def read_wrapper(self, file: Any) -> bytes:
        return bytes(file.read(3))


class OwnPickle(PicklePipe):
    def read(self, file: Any) -> Any:
        return super().read(file)[::-1]


class OwnJSON(JSONPipe):
    def read(self, file: Any) -> Any:
        return b"[" + super().read(file).strip() + b"]"


class Packs(BasePipe):
    BLOCK_SIZE = 2

    def pack(self, data: Any) -> Any:
        return data.encode()

    def unpack(self, data: Any) -> Any:
        return data.decode()


LINES = b"one\ntwo\n"
CASES = [
    (Line, LINES, [b"one\n", b"two\n"], [b"one\n", b"two\n"]),
    (Next, LINES, [b"one\n", b"two\n"], [b"one\n", b"two\n"]),
    (Stripped, LINES, [b"one", b"two"], [b"one", b"two"]),
    (Prefixed, b"\3\0\0\0one\2\0\0\0no", [b"\3\0\0\0one", b"\2\0\0\0no"], [b"one", b"no"]),
    (Number, struct.pack("<ii", 7, -8), [struct.pack("<i", 7), struct.pack("<i", -8)], [7, -8]),
    (Into, struct.pack("<ii", 7, -8), [struct.pack("<i", 7), struct.pack("<i", -8)], [7, -8]),
    (Own, b"onetwo", [b"one", b"two"], None),
    (OwnPickle, pickle.dumps("ab") + pickle.dumps("cd"), [pickle.dumps("ab"), pickle.dumps("cd")], ["ba", "dc"]),
    (OwnJSON, b"1\n2\n", [b"1\n", b"2\n"], [[1], [2]]),
    (Packs, b"aabb", [b"aa", b"bb"], ["aa", "bb"]),
]


@pytest.mark.parametrize(("kind", "written", "blocks", "values"), CASES, ids=[case[0].__name__ for case in CASES])
def test_each_block_is_framed_and_can_be_read_again(kind: type[BasePipe], written: bytes, blocks: list[bytes], values: Any) -> None:
    reading, writing = os.pipe()
    os.write(writing, written)
    os.close(writing)
    with collecting():
        pipe = kind(1)
    reader: Any = BlockReader(reading, "test")
    found = [pipe.read_wrapper(reader) for _ in blocks]
    os.close(reading)
    assert found == blocks
    if values is not None:
        assert [pipe.unpack(pipe.read(io.BytesIO(block))) for block in found] == values


@pytest.mark.parametrize("size", [-1, 0, 1, 3, 4, 9, None])
def test_a_block_reader_reads_as_a_file_does(size: int | None) -> None:
    reading, writing = os.pipe()
    os.write(writing, LINES)
    os.close(writing)
    reader, file = BlockReader(reading, "test"), io.BytesIO(LINES)
    length = -1 if size is None else size
    assert [reader.readline(length), reader.readline(length)] == [file.readline(length), file.readline(length)]
    assert reader.read(size) == file.read(size)
    assert list(reader) == list(file)
    assert next(reader, None) is None
    os.close(reading)


def test_an_inherited_read_is_by_block_size() -> None:
    with collecting():
        pipe = BytesPipe(1, 3)
    assert pipe.read_wrapper(io.BytesIO(b"onetwo")) == b"one"
