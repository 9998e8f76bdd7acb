"""The pipes of a program: written batches are accounted to the byte, and blocks are read back unchanged."""

from __future__ import annotations

import os
import random
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fission.core.base import collecting
from fission.core.executable_job import ExecutableJob
from fission.core.pipes import BytesPipe
from fission.runtime import program_input
from fission.runtime.block_reader import LARGE_BYTES, BlockReader
from fission.runtime.program import Program
from fission.runtime.program_input import Blocks, Ends, Intake
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
            assert select.select([read], [], [], 5)[0], f"{total - len(came)} bytes do not come"
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


def test_a_large_block_that_is_written_in_part_is_not_left_out(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large blocks are written where they are, and a pipe takes a part of one."""
    sizes = [5000, 1, 90_000, 70_000] * 3
    feed(Intake, pipe, sizes, 5, random.Random(1))
    monkeypatch.setattr(program_input, "_after", lambda pieces, count: pieces[1:])
    read, write = os.pipe()
    with pytest.raises(AssertionError):
        feed(Intake, (read, write), sizes, 5, random.Random(1))
    os.close(read)


# -- the job's thread writes what there is room for, and the thread of the input the rest


def drive(kind: type[Intake], batch: type[Blocks], pipe: Pipe, seed: int, patience_s: float = 5) -> None:
    """Put batches and read as a program does, in random turns: the stream is whole and in order, and the count is exact."""
    read, write = pipe
    rng = random.Random(seed)
    size, intake, expected, came, number = rng.choice([1, 8, 1000, 70_000]), kind(), b"", b"", 0

    def write_rest() -> None:
        intake.open(write)
        while (item := intake.take()) is not None:
            intake.write(item)
        intake.close()

    def read_some(most: int) -> None:
        nonlocal came
        assert select.select([read], [], [], patience_s)[0], f"{len(expected) - len(came)} bytes do not come"
        came += os.read(read, most)
        assert came == expected[: len(came)]
        whole = len(came) // size
        assert intake.read_at_most() >= whole
        eventually(lambda: intake.read_upto() == whole, patience_s, lambda: f"{intake.read_upto()} of {whole}")

    thread = threading.Thread(target=write_rest)
    thread.start()
    try:
        for _ in range(60):
            if rng.random() < 0.6:
                count = rng.randint(1, max(1, rng.choice([100, 60_000, 200_000]) // size))
                data, numbers = rng.randbytes(size * count), range(number + 1, number + count + 1)
                parts = [data[start : start + size] for start in range(0, len(data), size)]
                blocks = batch([data], numbers, size) if rng.random() < 0.7 else batch([*parts], list(numbers))
                expected, number = expected + data, number + count
                while not intake.put(blocks, 0):
                    read_some(rng.randint(1, 100_000))
            elif len(came) < len(expected):
                read_some(rng.randint(1, 100_000))
        while len(came) < len(expected):
            read_some(rng.randint(1, 100_000))
    finally:
        while not intake.enqueue(None, 0) or thread.is_alive():
            if select.select([read], [], [], 0.01)[0] and not os.read(read, 1 << 16):
                break
        thread.join()


@pytest.mark.parametrize("seed", range(8))
def test_batches_arrive_in_order_and_are_counted_exactly(pipe: Pipe, seed: int) -> None:
    drive(Intake, Blocks, pipe, seed)


class Impatient(Intake):
    """Writes at once although the thread of the input still has something to write."""

    def put(self, blocks: Blocks, timeout: float) -> bool:
        return (self.descriptor >= 0 and self._write_some(blocks)) or self.enqueue(blocks, timeout)


class CountedWhole(Blocks):
    """Counts a run as read when all of it is read."""

    def ends(self, start: int) -> list[Ends]:
        return [Ends(start + sum(map(len, self.data)), self.last)]


@pytest.mark.parametrize(("kind", "batch"), [(Impatient, Blocks), (Intake, CountedWhole)])
def test_broken_inputs_are_caught(kind: type[Intake], batch: type[Blocks]) -> None:
    for seed in range(20):
        read, write = os.pipe()
        try:
            drive(kind, batch, (read, write), seed, 1)
        except AssertionError:
            return
        finally:
            os.close(read)
    pytest.fail("nothing was noticed")


def test_blocks_that_a_program_refuses_count_as_read() -> None:
    intake = Intake()
    intake.refuse(Blocks([b"a", b"b"], [4, 5]))
    intake.refuse(Blocks([b"c"]))
    assert intake.read_upto() == 5


# -- what the program has written


def write_in_parts(descriptor: int, stream: bytes, rng: random.Random) -> threading.Thread:
    def write_all() -> None:
        data = memoryview(stream)
        while data:
            data = data[os.write(descriptor, data[: rng.randint(1, 100_000)]) :]
        os.close(descriptor)

    writer = threading.Thread(target=write_all)
    writer.start()
    return writer


@pytest.mark.parametrize("size", [1, 8, 5000, LARGE_BYTES, 3 * LARGE_BYTES + 1])
@pytest.mark.parametrize("rest", [0, 1])
@pytest.mark.parametrize("most", [0, 1])
def test_blocks_are_read_back_unchanged(pipe: Pipe, size: int, rest: int, most: int) -> None:
    read, write = pipe
    rng = random.Random(size)
    blocks = [rng.randbytes(size) for _ in range(max(3, (300_000 if not most else 30_000) // size))]
    stream = b"".join(blocks) + b"r" * (rest and size // 2 + 1 if size > 1 else 0)
    writer = write_in_parts(write, stream, rng)
    reader, found, waits = BlockReader(read, "a test"), list[bytes](), list[int]()
    reader.before_wait = lambda: waits.append(len(found))
    while some := reader.read_blocks(size, most):
        assert not most or len(some) <= most * size
        found += [bytes(some[start : start + size]) for start in range(0, len(some), size)]
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
        given += len(reader.read_blocks(8)) // 8
    os.close(write)
    assert not reader.read_blocks(8)
    assert passed_on == [0, 1, 4, 6]


@pytest.mark.parametrize("size", [1, 8, 5000, 3 * LARGE_BYTES + 1])
@pytest.mark.parametrize("seed", range(3))
def test_blocks_are_read_into_memory_and_elsewhere_in_turns(pipe: Pipe, size: int, seed: int) -> None:
    read, write = pipe
    rng = random.Random(seed)
    stream = rng.randbytes(size * max(3, 300_000 // size) + min(size - 1, 3))
    writer = write_in_parts(write, stream, rng)
    reader, found = BlockReader(read, "a test"), b""
    while True:
        if rng.random() < 0.7:
            memory = bytearray(size * rng.randint(1, max(1, 100_000 // size)))
            some = memory[: reader.read_into(memoryview(memory), size)]
        else:
            some = bytearray(reader.read_blocks(size))
        if not some:
            break
        assert not len(some) % size
        found += some
    writer.join()
    assert found + reader.read(size) == stream
    assert reader.ended


class Fails(ExecutableJob):
    EXECUTABLE = "./program"


class Nothing:
    """An owner that only learns of the end."""

    def read_output(self, index: int, reader: Any) -> None: ...

    def has_read(self) -> None: ...

    def ended(self) -> None: ...


@pytest.mark.parametrize("removed", [True, False], ids=["removed", "still there"])
def test_a_program_that_ends_before_its_pipe_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, removed: bool) -> None:
    """Its thread ends with it, and no traceback is shown."""
    failures: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    (tmp_path / "program").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "program").chmod(0o755)
    with collecting():
        job = Fails(inputs=[BytesPipe(1, 8)])
    program = Program(job, str(tmp_path), Nothing())
    opens, may_open = program._ours[0], threading.Event()
    program._ours[0] = lambda: opens() if may_open.wait(20) else -1
    program.start()
    assert program.over.wait(20)
    if removed:
        program.remove_pipes()
    may_open.set()
    program.join_outputs()
    eventually(lambda: program.intakes[0].closed, 20, "the end of the thread")
    program.remove_pipes()
    assert not failures
    assert program.exit_code == 3
