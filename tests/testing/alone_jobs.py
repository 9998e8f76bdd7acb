"""Jobs and pipes that tests emulate, in a module that another process can import."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fission.core.jobs import ExecutableJob, MARVELOJob, PythonJob
from fission.core.pipes import BasePipe, OptionalMixIn, OptionalPicklePipe, PicklePipe


class Add(PythonJob):
    def run(self, *values: Any) -> Any:
        print("adding", *values)  # noqa: T201 - as users do
        return sum(values)


class Made(PythonJob):
    """Returns when its block was made."""

    BLOCK_TIME = True

    def run(self, value: Any) -> Any:
        return self.block_time.earliest


class Count(PythonJob):
    """A source that records in a file when it computes."""

    def run(self) -> Iterator[int]:
        number = 0
        while True:
            number += 1
            Path("computed").write_text(str(number))
            yield number


class Steps(PythonJob):
    """A source whose `run` is not a generator and finishes the job."""

    def setup(self, *args: Any, **kwargs: Any) -> None:
        super().setup(*args, **kwargs)
        self.number = 0

    def run(self) -> int:
        self.number += 1
        if self.number == 3:
            self.finish()
        return self.number


class Five(PicklePipe):
    BLOCK_COUNT = 5


class Gain(OptionalPicklePipe):
    OPTIONAL_DEFAULT = 1


class Pairs(OptionalPicklePipe):
    BLOCK_COUNT = 2


class Sum(PythonJob):
    def run(self, values: list[Any]) -> Any:
        return sum(values)


class Amplify(PythonJob):
    def run(self, gain: Any, value: Any) -> Any:
        return gain, value


class GivesAway(PythonJob):
    """Computes in a `new_array`, and says whether the one before can still be written."""

    def setup(self, *args: Any, **kwargs: Any) -> None:
        super().setup(*args, **kwargs)
        self.before: Any = None

    def run(self, value: Any) -> Any:
        writeable = self.before is not None and self.before.flags.writeable
        self.before = self.new_array(value.shape, value.dtype)
        self.before[...] = 2 * value
        return self.before, writeable


class Last(PythonJob):
    """A job that never waits: all its inputs are optional."""

    def run(self, *values: Any) -> Any:
        return [values]


class Keep(PythonJob):
    def setup(self, *args: Any, **kwargs: Any) -> None:
        super().setup(*args, **kwargs)
        self.file = open("kept.txt", "a")  # noqa: SIM115 - open until the job ends

    def run(self, value: Any) -> None:
        self.file.write(f"{value}\n")
        self.file.flush()
        print("kept", value)  # noqa: T201


class Raises(PythonJob):
    def run(self, value: Any) -> Any:
        return 1 / value


class RaisesAtOnce(PythonJob):
    def setup(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no microphone")


class Ends(PythonJob):
    def run(self, value: Any) -> Any:
        return None


class Slow(PythonJob):
    def run(self, value: Any) -> Any:
        threading.Event().wait()


class Heads(PythonJob):
    HEAD = True

    def run(self, value: Any) -> Any:
        self.head[7] = value
        return value


class Shouts(PythonJob):
    """Cleans up when it must stop, and leaves a child process."""

    def run(self, value: Any) -> Any:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        Path("child").write_text(str(child.pid))
        try:
            while True:
                Path("waits").touch()
                time.sleep(0.01)
        finally:
            Path("cleaned").touch()


class Vanishes(PythonJob):
    def run(self, value: Any) -> Any:
        os._exit(7)


class Bytes4(BasePipe):
    BLOCK_SIZE = 4

    def pack(self, value: int) -> bytes:
        return value.to_bytes(4, "little")

    def unpack(self, data: bytes) -> int:
        return int.from_bytes(data, "little")


class Optional4(OptionalMixIn, Bytes4):
    pass


class ReadsTooMuch(Bytes4):
    def read_wrapper(self, file: Any) -> bytes:
        return bytes(file.read(4)) + b"x"


class LeavesSome(Bytes4):
    def read(self, file: Any) -> Any:
        return file.read(2)


class WritesTooLittle(Bytes4):
    def write(self, file: Any, data: bytes) -> None:
        file.write(data[:3])


PROGRAM = """
import argparse, os, sys
parser = argparse.ArgumentParser()
parser.add_argument("-i", action="append", default=[])
parser.add_argument("-o", action="append", default=[])
arguments = parser.parse_args()
name = lambda end: int(end) if end.isdigit() else end
inputs, outputs = [open(name(end), "rb") for end in arguments.i], [open(name(end), "wb") for end in arguments.o]
print("works in", os.getcwd(), flush=True)
while True:
    blocks = [file.read(4) for file in inputs]
    if not all(blocks):
        break
    total = sum(int.from_bytes(block, "little") for block in blocks)
    if total == 666:
        sys.exit("not that one")
    for file in outputs:
        file.write(total.to_bytes(4, "little"))
        file.flush()
"""


def program() -> str:
    """Return the command line of a program that adds up its inputs, whatever arguments it gets."""
    import shlex

    return f"{shlex.quote(sys.executable)} -c {shlex.quote(PROGRAM)}"


class Program(ExecutableJob):
    EXECUTABLE = program()


class Inheriting(MARVELOJob):
    EXECUTABLE = program()
