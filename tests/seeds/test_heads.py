"""Heads as users of the first FISSION had them: their names and text, pipes that read and write them, the reset bit of the first block."""

from __future__ import annotations

from typing import Any

import pytest

from fission.core.jobs import Head
from tests.waiting import CommandLine

# -- the class --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("value", [0, 1, 0b01000000, 0b10100101])
def test_all_sizes(value: int, size: int) -> None:
    head = Head(value, size)
    bits = f"{value:0{8 * size}b}"
    assert (head.head, head.head_size, len(head)) == (value, size, size)
    assert str(head) == f"{head}" == f"HEAD: {bits}"
    assert head.bit_conversion == [int(bit) for bit in bits]
    assert head.to_bytes(size, "big") == head.to_bytes(length=size, byteorder="big") == head.to_bytes() == value.to_bytes(size, "big")
    assert head.to_bytes(size, "little") == value.to_bytes(size, "little")
    assert head.int_bytes(value, size) == list(value.to_bytes(size, "big"))
    assert head.bytes_int(value.to_bytes(size, "big")) == Head.bytes_int(list(value.to_bytes(size, "big"))) == value
    assert Head(head=value, head_length=size) == Head(value.to_bytes(size, "big"), size) == head == value
    assert eval(repr(head)) == head  # ours: it can be typed in again


def test_from_bytes() -> None:
    """There, this raised: `head` of a Head from bytes was the bytes."""
    assert Head(b"\x40").to_bytes(1, "big") == b"\x40"
    assert (Head(b"\x40").head, Head(b"\x40", 1)[1]) == (64, True)


def test_too_few_bytes() -> None:
    with pytest.raises(OverflowError):
        Head(0x0100, 2).to_bytes(1, "big")


def test_sizes_change_as_there() -> None:
    head = Head(12, 1)
    head.head_size = 1
    assert (head.head_size, head.head) == (2, 3072)
    head.head_size = -1
    assert (head.head_size, head.head) == (1, 12)
    head.head_size = -4
    assert (head.head_size, head.head) == (1, 12)
    head[-8], head[7], head[-3] = 1, 1, 0
    assert head.head == 0b10001001
    assert (head[0:7:2].head, head[::-1].head, head[5::].head) == (0b1010, 0b10010001, 0b001)


@pytest.mark.parametrize("arguments", [(), (None,), ("1", 1), (1.5, 1), (256, 1), (-1, 1), (0, 5)])
def test_values_that_cannot_be_heads(arguments: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Head(*arguments)


# -- in networks ------------------------------------------------------------------------------------------------------

PIPES = """
from fission.core.base import BasePipe
from fission.core.pipes import PickleMixIn


class Marked(PickleMixIn, BasePipe):
    \"\"\"Sets the last bit of each head that goes through it.\"\"\"

    def write_head(self, file_obj, head):
        return super().write_head(file_obj, head | 0b1)


class Remembers(PickleMixIn, BasePipe):
    \"\"\"Remembers what it has read, and sets the last bit but one.\"\"\"

    def write_head(self, file_obj, head):
        return file_obj.write(head.to_bytes(self._head_size, byteorder="big"))

    def read_head(self, file_obj):
        self.last = int.from_bytes(file_obj.read(self._head_size), byteorder="big") | 0b10
        return self.last
"""
JOBS = """
from fission.core.jobs import PythonJob


class Source(PythonJob):
    HEAD = True

    def run(self):
        for number in range(3):
            self.head[4] = number == 1
            yield number


class Pass(PythonJob):
    HEAD = True

    def run(self, value):
        if value == 2:
            self.out_heads[0] = self.head << 1
        return value


class Lowest(PythonJob):
    HEAD = True

    def head_reduce(self):
        return self.in_heads[0].head & 0b1  # a number, and without the reset bit

    def run(self, value):
        return value


class Numbers(PythonJob):
    HEAD = True

    def run(self, value):
        self.head = 0b1  # no Head
        if value == 2:
            self.finish()
        return value


class Blind(PythonJob):
    def run(self, value):
        return value


class Show(PythonJob):
    HEAD = True

    def run(self, value):
        print(value, self.in_heads[0], self.head, self.inputs[0].last, self.head == self.inputs[0].last)
"""
CONFIG = """
from net.jobs.jobs import *
from net.pipes.pipes import *
from fission.core.pipes import PicklePipe

HEAD_SIZE = {size}
JOBS = [
    Source(outputs=[Marked(1)]),
    {middle}(inputs=[Marked(1)], outputs=[Remembers(2)]),
    Show(inputs=[Remembers(2)]),
]
"""


def shown(fission: CommandLine, size: int, middle: str) -> list[str]:
    fission.project({"net/config.py": CONFIG.format(size=size, middle=middle), "net/jobs/jobs.py": JOBS, "net/pipes/pipes.py": PIPES})
    done = fission.run("net", "simulate", exit_code=0, deadline_s=60)
    return [line.removeprefix("[Show 3] ") for line in done.stdout.splitlines() if line.startswith("[Show 3]")]


def line(value: int, head: int, size: int) -> str:
    head |= 0b10  # `Remembers`
    text = f"HEAD: {head:0{8 * size}b}"
    return f"{value} {text} {text} {head} True"


@pytest.mark.parametrize("size", [1, 2, 4])
def test_pipes_read_and_write_heads_and_the_first_block_says_reset(fission: CommandLine, size: int) -> None:
    """The mark of the first pipe's `write_head` arrives, and that of the second one's `read_head`; block 1 carries the reset bit."""
    first = 8 * (size - 1)
    reset, fourth = 0b01000000 << first, 0b00001000 << first
    assert shown(fission, size, "Pass") == [line(0, reset | 1, size), line(1, fourth | 1, size), line(2, 0b10, size)]


@pytest.mark.parametrize(("middle", "last"), [("Lowest", 0b1), ("Blind", 0b1), ("Numbers", 0b00100001)])
def test_a_job_cannot_lose_the_reset_bit(fission: CommandLine, middle: str, last: int) -> None:
    """Whether it looks at heads or not, reduces them in its own way, or sets a number; nor can it lose the finished bit."""
    lines = shown(fission, 1, middle)
    assert lines[0] == line(0, 0b01000001, 1)
    assert lines[2] == line(2, last, 1)


PROGRAM = """
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("-i", action="append", default=[])
parser.add_argument("-o", action="append", default=[])
arguments = parser.parse_args()
inputs = [open(path, "rb") for path in arguments.i]
outputs = [open(path, "wb", 0) for path in arguments.o]
for number in range(3):
    block = bytes([0, number])
    for file in inputs:
        block = file.read(2)
    for file in outputs:
        file.write(block)
    print("program", f"{block[0]:08b}", block[1])
"""
PROGRAM_CONFIG = """
from fission.core.jobs import DynamicExecutableJob, PythonJob
from fission.core.pipes import BytesPipe


class Show(PythonJob):
    HEAD = True

    def run(self, value):
        print("show", self.head, value[0])


def program(**pipes):
    return DynamicExecutableJob("net/source", "python3 -u program.py", head=True, **pipes)


JOBS = [
    program(outputs=[BytesPipe(1, 1)]),
    program(inputs=[BytesPipe(1, 1)], outputs=[BytesPipe(2, 1)]),
    Show(inputs=[BytesPipe(2, 1)]),
]
"""


def test_a_program_that_is_a_source_and_one_that_follows(fission: CommandLine) -> None:
    """A program does not set the bit; the one after it reads it, and hands it on, as it does."""
    fission.project({"net/config.py": PROGRAM_CONFIG, "net/source/program.py": PROGRAM})
    done = fission.run("net", "simulate", exit_code=0, deadline_s=60)
    lines = [text.split("] ")[1] for text in done.stdout.splitlines() if text.startswith("[")]
    assert [text for text in lines if text.startswith("show")] == [
        "show HEAD: 01000000 0",
        "show HEAD: 00000000 1",
        "show HEAD: 00000000 2",
    ]
    assert "program 01000000 0" in lines
