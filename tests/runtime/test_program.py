"""The pipes of a program: written batches are accounted to the byte, and blocks are read back unchanged."""

from __future__ import annotations

import os
import random
import select
import threading
from collections.abc import Iterator

import pytest

from fission.runtime.block_reader import LARGE_BYTES, BlockReader
from fission.runtime.program import Blocks, Intake
from tests.waiting import eventually

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    read, write = os.pipe()
    yield read, write
    os.close(read)


# -- what the program has read


def feed(kind: type[Intake], pipe: Pipe, sizes: list[int], per_batch: int, rng: random.Random) -> None:
    """Write numbered blocks in batches while a program reads a few bytes at a time: after each read, the count is exact."""
    read, write = pipe
    intake = kind()
    intake.open(write)
    blocks = [bytes([number % 251]) * size for number, size in enumerate(sizes, 1)]
    numbered = list(zip(blocks, range(1, len(blocks) + 1), strict=True))
    batches = [numbered[start : start + per_batch] for start in range(0, len(numbered), per_batch)]

    def write_all() -> None:
        for batch in batches:
            intake.write(Blocks([data for data, _ in batch], [number for _, number in batch]))

    writer = threading.Thread(target=write_all)
    writer.start()
    try:
        ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
        came, total = b"", sum(sizes)
        while len(came) < total:
            came += os.read(read, rng.randint(1, 70_000))
            whole = sum(end <= len(came) for end in ends)
            eventually(lambda whole=whole: intake.read_upto() == whole, 5, lambda whole=whole: f"{intake.read_upto()} of {whole}")
            assert intake.read_at_most() >= whole
        assert came == b"".join(blocks)
    finally:
        while writer.is_alive():
            if select.select([read], [], [], 0.05)[0]:
                os.read(read, 1 << 16)
        writer.join()
        intake.close()


@pytest.mark.parametrize("per_batch", [1, 3, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_read_blocks_are_counted_exactly_while_a_batch_is_written(pipe: Pipe, seed: int, per_batch: int) -> None:
    rng = random.Random(seed)
    feed(Intake, pipe, [rng.choice([1, 8, 700, 5000, 90_000]) for _ in range(rng.randint(1, 30))], per_batch, rng)


class CountsWholeBatches(Intake):
    """As a descriptor that blocks would have it: what a batch has brought is known when all of it is written."""

    def open(self, descriptor: int) -> None:
        self.descriptor = descriptor


def test_a_count_by_batches_is_caught(pipe: Pipe) -> None:
    with pytest.raises(AssertionError, match="0 of "):
        feed(CountsWholeBatches, pipe, [5000] * 40, 1000, random.Random(1))


def test_blocks_that_a_program_refuses_count_as_read() -> None:
    intake = Intake()
    intake.refuse(Blocks([b"a", b"b"], [4, 5]))
    intake.refuse(Blocks([b"c"]))
    assert intake.read_upto() == 5


# -- what the program has written


@pytest.mark.parametrize("size", [1, 8, 5000, LARGE_BYTES, 3 * LARGE_BYTES + 1])
@pytest.mark.parametrize("rest", [0, 1])
def test_blocks_are_read_back_unchanged(pipe: Pipe, size: int, rest: int) -> None:
    read, write = pipe
    rng = random.Random(size)
    blocks = [rng.randbytes(size) for _ in range(max(3, 300_000 // size))]
    stream = b"".join(blocks) + b"r" * (rest and size // 2 + 1 if size > 1 else 0)

    def write_all() -> None:
        data = memoryview(stream)
        while data:
            data = data[os.write(write, data[: rng.randint(1, 100_000)]) :]
        os.close(write)

    writer = threading.Thread(target=write_all)
    writer.start()
    reader, found, waits = BlockReader(read, "a test"), list[bytes](), list[int]()
    reader.before_wait = lambda: waits.append(len(found))
    while some := reader.read_blocks(size):
        assert all(type(block) is bytes for block in some)
        found += some
    writer.join()
    assert found == blocks
    assert reader.ended
    assert reader.read(size) == stream[len(blocks) * size :]
    assert waits


def test_before_it_waits_it_reports_everything_that_arrived(pipe: Pipe) -> None:
    """The blocks that a program has written are passed on before the next wait: it may write nothing further for hours."""
    read, write = pipe
    reader, passed_on = BlockReader(read, "a test"), list[int]()
    given = 0
    reader.before_wait = lambda: passed_on.append(given)
    for count in (1, 3, 2):
        os.write(write, b"12345678" * count)
        given += len(reader.read_blocks(8))
    os.close(write)
    assert reader.read_blocks(8) == []
    assert passed_on == [0, 1, 4, 6]
