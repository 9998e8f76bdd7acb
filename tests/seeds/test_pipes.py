"""Users' own pipes, as written for named pipes: mix-ins, files, descriptors, `read_wrapper`, heads, `complete`."""

from __future__ import annotations

import os
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from fission.core import pipes
from fission.core.base import BasePipe, reset
from fission.core.block_file import BlockFile
from fission.core.dummies import fixed_size
from fission.core.jobs import Head, PythonJob
from fission.errors import DefinitionError
from fission.runtime import codec
from fission.runtime.block_reader import BlockReader
from tests.e2e.support import rows
from tests.seeds import old_pipes
from tests.seeds.old_pipes import OLD_PIPES, OPTIONAL_PIPES
from tests.waiting import CommandLine

SOURCE = Path(old_pipes.__file__).read_text(encoding="utf-8")
VALUES = [0, 1, 2, 7, 300, 65_536, 1_000_000]
names = pytest.mark.parametrize("kind", OLD_PIPES, ids=lambda kind: kind.__name__)


@pytest.fixture(autouse=True)
def fresh() -> Any:
    reset()
    yield
    reset()


def refused(why: BaseException) -> Exception:
    return ValueError(f"refused: {why!r}")


# -- each class -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*OLD_PIPES, *OPTIONAL_PIPES], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("plain", [False, True], ids=["python", "executable"])
def test_values_are_read_back_unchanged(kind: Any, plain: bool) -> None:
    pipe = kind(1)
    encode, decode = codec.encoder(pipe, plain=plain), codec.decoder(pipe, refused)
    assert [decode(payload) for payload in [encode(value) for value in VALUES]] == VALUES
    assert [decode(encode(value)) for value in VALUES] == VALUES


@names
def test_blocks_of_an_executable_are_found(kind: Any) -> None:
    """A program's output comes in pieces that ignore blocks, and its end is an end however the pipe reports it."""
    pipe = kind(1)
    decode = codec.decoder(pipe, refused)
    written: Any = BlockFile()
    for value in VALUES:
        pipe.write(written, pipe.pack(value))
    stream = written.take()
    source, target = os.pipe()

    def write() -> None:
        for start in range(0, len(stream), 3):
            os.write(target, stream[start : start + 3])
        os.close(target)

    writer = threading.Thread(target=write)
    writer.start()
    reader: Any = BlockReader(source, "a test")
    try:
        found = [decode(bytes(pipe.read_wrapper(reader))) for _ in VALUES]
        assert found == VALUES
        try:
            assert pipe.read_wrapper(reader) == b""
        except (EOFError, SystemExit):
            assert reader.ended
    finally:
        writer.join()
        reader.close()
        os.close(source)


@pytest.mark.parametrize(
    ("part", "broken", "kind"),
    [
        ("_changed", lambda *_: False, old_pipes.KeepsTheFile),
        ("_framed", lambda _: None, old_pipes.Padded),
        ("_length", lambda pipe: pipe.BLOCK_SIZE, old_pipes.JSONWithSize),
        ("BlockFile", BytesIO, old_pipes.Descriptors),
    ],
)
def test_broken_variants_are_found(monkeypatch: pytest.MonkeyPatch, part: str, broken: Any, kind: Any) -> None:
    """Without this part of the codec, this pipe of the family fails the test of values."""
    monkeypatch.setattr(codec, part, broken)
    with pytest.raises((AssertionError, ValueError, AttributeError)):
        test_values_are_read_back_unchanged(kind, False)


def test_a_broken_read_wrapper_is_found() -> None:
    """The test above is not blind: one that finds no end gives other blocks."""

    class Endless(old_pipes.Descriptors):
        def read_wrapper(self, file_obj: Any) -> bytes:
            return bytes(file_obj.read(3))

    pipe = Endless(1)
    with pytest.raises(ValueError, match="refused"):
        codec.decoder(pipe, refused)(codec.encoder(pipe)(7))


def test_a_pipe_that_reads_only_from_a_descriptor_is_a_clear_error() -> None:
    """Without a `read_wrapper`, a `read` that gives no bytes leaves nothing to hand on."""

    class Parsed(BasePipe):
        BLOCK_SIZE = "OS"

        def read(self, file_obj: Any) -> Any:
            return int.from_bytes(os.read(file_obj.fileno(), 4), "big")

    source, target = os.pipe()
    os.write(target, bytes(4))
    os.close(target)
    reader: Any = BlockReader(source, "a test")
    with pytest.raises(DefinitionError, match=r"Parsed\.read reads from the file's descriptor.* override read_wrapper"):
        Parsed(1).read_wrapper(reader)
    reader.close()
    os.close(source)


@pytest.mark.parametrize(
    ("whole", "half"),
    [
        (pipes.PicklePipe, [pipes.PickleMixIn, pipes.ReadPickleMixIn, pipes.WritePickleMixIn]),
        (pipes.JSONPipe, [pipes.JSONMixIn, pipes.ReadJSONMixIn, pipes.WriteJSONMixIn]),
    ],
)
def test_the_pipes_are_made_of_the_mix_ins(whole: Any, half: list[Any]) -> None:
    assert all(issubclass(whole, kind) for kind in half)
    assert all(not issubclass(kind, BasePipe) for kind in half)


def test_a_lost_block_of_a_pipe_with_a_meaningless_size_is_not_zeros() -> None:
    """Zero bytes are neither JSON nor a pickle; a number as BLOCK_SIZE has no meaning there."""
    assert [fixed_size(kind(number)) for number, kind in enumerate(OLD_PIPES, 1) if "WithSize" in kind.__name__] == [None, None]
    assert fixed_size(old_pipes.Exits(100)) == 4


# -- complete, and heads ----------------------------------------------------------------------------------------------


def test_complete() -> None:
    pipe = old_pipes.Pickled(1)
    assert not pipe.complete()
    PythonJob(outputs=[pipe])
    assert not pipe.complete()
    PythonJob(inputs=[pipe])
    assert pipe.complete()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_heads_are_written_and_read(size: int, tmp_path: Path) -> None:
    pipe = old_pipes.Exits(1)
    pipe._head_size = size
    with open(tmp_path / "heads", "wb", 0) as file:
        assert pipe.write_head(file, 5) == size
        assert pipe.write_head(file, Head(1, size)) == size
    with open(tmp_path / "heads", "rb") as file:
        assert [pipe.read_head(file), pipe.read_head(file)] == [5, 1]
        with pytest.raises(EOFError):
            pipe.read_head(file)


# -- in networks ------------------------------------------------------------------------------------------------------

COUNT = 300
JOBS = f"""
import os, signal, time
from pathlib import Path

from fission.core.jobs import CSVSinkJob, ExecutableJob, LocalJob, PythonJob


class Count(LocalJob, PythonJob):
    def run(self):
        for number in range({COUNT}):
            yield number
            time.sleep(0.002)


class Relay(PythonJob):
    \"\"\"Hands on what comes; its first incarnation is killed on its way.\"\"\"

    def __init__(self, died="", *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.died = died

    def run(self, *values):
        if values[0] == {COUNT // 3} and not os.path.exists(self.died):
            Path(self.died).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return values


class Copy(ExecutableJob):
    EXECUTABLE = "python3 copy.py"
    DEPENDENCIES = "net/source"

    def __init__(self, died="", **kwargs):
        super().__init__(**kwargs)
        self.PARAMETERS = f"--died {{died}}"
"""
#: A program without blocks: it copies bytes, each input to the output at the same position.
COPY = f"""
import argparse, os, signal, threading

parser = argparse.ArgumentParser()
parser.add_argument("--died")
parser.add_argument("-i", action="append")
parser.add_argument("-o", action="append")
arguments = parser.parse_args()


def copy(source, target, last):
    copied = 0
    while data := os.read(source, 64):
        if last and copied > {COUNT} and not os.path.exists(arguments.died):
            open(arguments.died, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        copied += os.write(target, data)
    os.close(target)


sources = [os.open(path, os.O_RDONLY) for path in arguments.i]
targets = [os.open(path, os.O_WRONLY) for path in arguments.o]
threads = [threading.Thread(target=copy, args=(*pair, not place)) for place, pair in enumerate(zip(sources, targets))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
CONFIG = """
from net.jobs.jobs import *
from net.pipes.pipes import OLD_PIPES, Padded

KINDS = [kind for kind in OLD_PIPES if kind is not Padded or MIDDLE is not Copy]  # what it writes is not what it reads


def pipes(first):
    return [kind(first + place) for place, kind in enumerate(KINDS)]


JOBS = [
    Count(outputs=pipes(101)),
    MIDDLE(died=DIED, inputs=pipes(101), outputs=pipes(201)),
    CSVSinkJob("rows.csv", inputs=pipes(201)),
]
assert all(pipe.complete() for job in JOBS for pipe in job.inputs)
"""


@pytest.mark.slow
@pytest.mark.parametrize("middle", ["Relay", "Copy"])
def test_a_network_of_them_survives_a_death(fission: CommandLine, tmp_path: Path, middle: str) -> None:
    """Between Python jobs, and before and after an executable: every block once and in order, over the death of the job between."""
    died = tmp_path / "died"
    config = CONFIG.replace("MIDDLE", middle).replace("DIED", repr(str(died)))
    project = fission.project({"net/config.py": config, "net/jobs/jobs.py": JOBS, "net/pipes/pipes.py": SOURCE, "net/source/copy.py": COPY})
    done = fission.run("net", "simulate", "--nodes", "2", exit_code=0, deadline_s=120)
    assert died.exists(), done
    header, *found = rows(project / "net/simulation/3/rows.csv")
    pipes = len(OLD_PIPES) - (middle == "Copy")
    assert header == [f"pipe_{201 + place}" for place in range(pipes)]
    assert found == [[str(number)] * pipes for number in range(COUNT)], done


# -- optional pipes ---------------------------------------------------------------------------------------------------

OPTIONAL_JOBS = f"""
import time
from pathlib import Path

from fission.core.jobs import CSVSinkJob, PythonJob


class Once(PythonJob):
    def run(self):
        yield 5


class Count(PythonJob):
    \"\"\"Counts on until a 5 was seen everywhere, and {COUNT} numbers further.\"\"\"

    def __init__(self, seen, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = seen

    def run(self):
        number = left = 0
        while left < {COUNT}:
            left += Path(self.seen).exists()
            number += 1
            yield number
            time.sleep(0.001)


class Use(PythonJob):
    def __init__(self, seen, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = seen
        self.missing = None

    def run(self, *values):
        *optional, number = values
        if self.missing is None:
            self.missing = set(range(len(optional)))
        self.missing -= {{place for place, value in enumerate(optional) if value == 5}}
        if not self.missing:
            Path(self.seen).touch()
        return values
"""
OPTIONAL_CONFIG = """
from fission.core.pipes import PicklePipe
from net.jobs.jobs import *
from net.pipes.pipes import OPTIONAL_PIPES


def pipes():
    return [kind(101 + place) for place, kind in enumerate(OPTIONAL_PIPES)]


def outputs():
    return [PicklePipe(201 + place) for place in range(len(OPTIONAL_PIPES) + 1)]


JOBS = [
    Once(outputs=pipes()),
    Count(SEEN, outputs=[PicklePipe(1)]),
    Use(SEEN, inputs=[*pipes(), PicklePipe(1)], outputs=outputs()),
    CSVSinkJob("rows.csv", inputs=outputs()),
]
"""


@pytest.mark.slow
def test_optional_pipes_in_a_network(fission: CommandLine, tmp_path: Path) -> None:
    """The default until the block comes; then the block for good, or once where it is not stored."""
    config = OPTIONAL_CONFIG.replace("SEEN", repr(str(tmp_path / "seen")))
    project = fission.project({"net/config.py": config, "net/jobs/jobs.py": OPTIONAL_JOBS, "net/pipes/pipes.py": SOURCE})
    done = fission.run("net", "simulate", "--nodes", "2", exit_code=0, deadline_s=60)
    _, *found = rows(project / "net/simulation/4/rows.csv")
    *columns, numbers = zip(*found, strict=True)
    assert list(numbers) == [str(number + 1) for number in range(len(found))], done
    assert len(found) >= COUNT
    for kind, column in zip(OPTIONAL_PIPES, columns, strict=True):
        came = column.index("5")
        after = ["5"] * (len(found) - came) if kind.OPTIONAL_STORE else ["5"] + ["0"] * (len(found) - came - 1)
        assert list(column) == ["0"] * came + after, (kind, done)


def test_the_default_of_a_pipe_that_names_its_bases() -> None:
    pipe = old_pipes.Named(1, default=7)
    assert (pipe.ASYNC, pipe.unpack(pipe.OPTIONAL_DEFAULT)) == (True, 7)
