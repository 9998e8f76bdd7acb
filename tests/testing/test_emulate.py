"""`fission.emulate`: pipes and jobs called like functions."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fission.core.base import collecting, reset
from fission.core.jobs import CSVSinkJob, DynamicExecutableJob, InteractiveJob, PythonJob
from fission.core.pipes import JSONPipe, PicklePipe
from fission.emulate import NOTHING, JobEmulator, PipeEmulator, emulate
from fission.errors import DefinitionError, JobFailed, ValueFitError
from tests.testing import alone_jobs as jobs
from tests.waiting import eventually, is_running


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    reset()
    yield
    reset()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Any]:
    """emulate, with folders in the test's own, and killed at its end."""
    made: list[JobEmulator] = []

    def make(job: Any, **options: Any) -> JobEmulator:
        made.append(emulate(job, tmp_path, **options))
        return made[-1]

    yield make
    for emulator in made:
        emulator.kill()


# -- pipes ------------------------------------------------------------------------------------------------------------


def test_a_pipe_shows_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    emulator = emulate(PicklePipe(101))
    assert isinstance(emulator, PipeEmulator)
    packed, wrapped, read, unpacked = emulator(400)
    assert (packed, read, unpacked) == (400, 400, 400)
    assert pickle.loads(wrapped) == 400
    assert capsys.readouterr().out.splitlines() == [
        "Packed to: 400",
        f"Wrote to pipe: {len(wrapped)} bytes.",
        f"Read in pipe.read_wrapper: {wrapped!r}",
        "Read in pipe.read: 400",
        "Unpacked to: 400",
    ]


def test_a_pipe_with_own_methods_and_a_head(capsys: pytest.CaptureFixture[str]) -> None:
    assert emulate(jobs.Bytes4(1))(258, head=5) == (b"\2\1\0\0", b"\2\1\0\0", b"\2\1\0\0", 258)
    assert capsys.readouterr().out.splitlines()[:3] == ["Head: 00000101", r"Packed to: b'\x02\x01\x00\x00'", "Wrote to pipe: 5 bytes."]
    assert emulate(JSONPipe(2), quiet=True)({"a": 1}) == (b'{"a": 1}\n', b'{"a": 1}\n', b'{"a": 1}\n', {"a": 1})
    assert capsys.readouterr().out == ""


BAD_VALUES = [
    (jobs.Bytes4, "text", "Bytes4 1: pack refuses a value of type str: AttributeError"),
    (jobs.WritesTooLittle, 1, "read_wrapper needs more than the 3 bytes that were written for a value of type int"),
    (jobs.ReadsTooMuch, 1, "read_wrapper must return the bytes of the block unchanged"),
    (jobs.LeavesSome, 1, "read must read the whole block, but left 2 of its 4 bytes"),
    (JSONPipe, {1, 2}, "JSONPipe 1 takes only what JSON can represent: JSON has no type for set"),
    (PicklePipe, lambda: 1, "write refuses a value of type function"),
]


@pytest.mark.parametrize(("kind", "value", "message"), BAD_VALUES, ids=[kind.__name__ for kind, _, _ in BAD_VALUES])
def test_a_value_that_does_not_fit_a_pipe(kind: Any, value: Any, message: str) -> None:
    with pytest.raises(ValueFitError, match=message):
        emulate(kind(1))(value)


@pytest.mark.parametrize("head", [-1, 256, "1", True])
def test_wrong_heads_are_refused(head: Any) -> None:
    with pytest.raises(DefinitionError, match="head must be a Head, or a number from 0 to 255"):
        emulate(PicklePipe(1))(1, head=head)


def test_neither_job_nor_pipe() -> None:
    with pytest.raises(DefinitionError, match=r"the argument of emulate must be a job or a pipe, but is 7 \(int\)"):
        emulate(7)
    with pytest.raises(DefinitionError, match="create an instance with its inputs"):
        emulate(jobs.Add)


# -- jobs -------------------------------------------------------------------------------------------------------------


def test_a_job_is_called_like_a_function(alone: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    job = jobs.Add(inputs=[PicklePipe(1), PicklePipe(2)], outputs=[PicklePipe(3), jobs.Five(4)])
    add = alone(job)
    assert add.job is job
    assert add.cwd == str(tmp_path / "1")
    assert add(1, 2) == [3, 3]
    assert capsys.readouterr().out.splitlines() == [
        "Putting 1 in PicklePipe 1.",
        "Putting 2 in PicklePipe 2.",
        "adding 1 2",
        "Got 3 from PicklePipe 3.",
        "Got 3 from Five 4.",
    ]
    assert [add(number, 10) for number in range(20)] == [[number + 10] * 2 for number in range(20)]


def test_big_values_travel_as_in_a_network(alone: Any) -> None:
    numpy = pytest.importorskip("numpy")
    add = alone(jobs.Add(inputs=[PicklePipe(1), PicklePipe(2)], outputs=[PicklePipe(3)]), quiet=True)
    (result,) = add(numpy.ones(100_000), numpy.arange(100_000))
    assert (result == numpy.arange(100_000) + 1).all()


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_array_is_given_away_as_in_a_network(alone: Any, size: int) -> None:
    numpy = pytest.importorskip("numpy")
    twice = alone(jobs.GivesAway(inputs=[PicklePipe(1)], outputs=[PicklePipe(2), PicklePipe(3)]), quiet=True)
    results = [twice(numpy.full(size, number)) for number in range(1, 6)]
    for number, (result, writeable) in enumerate(results, 1):
        assert (result == 2 * number).all()
        assert not writeable


def test_a_source_computes_when_it_is_called(alone: Any) -> None:
    """It does not compute ahead: what it prints, writes and measures belongs to the call."""
    count = alone(jobs.Count(outputs=[PicklePipe(1)]))
    for number in (1, 2, 3):
        assert count() == [number]
        assert Path(count.cwd, "computed").read_text() == str(number)


def test_a_source_that_finishes(alone: Any) -> None:
    steps = alone(jobs.Steps(outputs=[PicklePipe(1)]))
    assert [steps() for _ in range(3)] == [[1], [2], [3]]
    with pytest.raises(JobFailed, match="it has finished"):
        steps()


def test_blocks_at_once(alone: Any) -> None:
    total = alone(jobs.Sum(inputs=[jobs.Five(1)], outputs=[PicklePipe(2)]))
    assert total(range(5)) == [10]
    assert total((1, 1, 1, 1, 1)) == [5]
    with pytest.raises(ValueFitError, match=r"Sum 1, input 1: .* Five 1 must be a sequence .* \(5\), but is a sequence of 4"):
        total([1, 2, 3, 4])
    for wrong in (7, "abcde"):
        with pytest.raises(ValueFitError, match="a sequence of BLOCK_COUNT values"):
            total(wrong)
    assert total([2] * 5) == [10]  # what was refused was not sent


def test_optional_pipes_take_the_value_of_this_call(alone: Any) -> None:
    amplify = alone(jobs.Amplify(inputs=[jobs.Gain(1), PicklePipe(2)], outputs=[PicklePipe(3), PicklePipe(4)]), quiet=True)
    calls = [(gain, value) for gain in "+-*" for value in range(20)]
    assert [amplify(*call) for call in calls] == [list(call) for call in calls]
    assert amplify(NOTHING, 7) == ["*", 7]
    with pytest.raises(ValueFitError, match="PicklePipe 2 is not optional"):
        amplify(1, NOTHING)


def test_an_optional_pipe_without_a_value_has_its_default(alone: Any) -> None:
    amplify = alone(jobs.Amplify(inputs=[jobs.Gain(1), PicklePipe(2)], outputs=[PicklePipe(3), PicklePipe(4)]))
    assert amplify(NOTHING, 5) == [1, 5]


def test_a_job_whose_inputs_are_all_optional(alone: Any) -> None:
    """Nothing makes it wait in a network, and here a call does."""
    last = alone(jobs.Last(inputs=[jobs.Gain(1), jobs.Pairs(2)], outputs=[PicklePipe(3)]), quiet=True)
    for number in range(20):
        assert last(number, (number, -number)) == [[(number, [number, -number])]]
    assert last(NOTHING, NOTHING) == [[(19, [19, -19])]]


def test_a_sink_has_done_its_work_when_the_call_returns(alone: Any, capsys: pytest.CaptureFixture[str]) -> None:
    keep = alone(jobs.Keep(inputs=[PicklePipe(1)]))
    for number in range(5):
        assert keep(number) == []
        assert Path(keep.cwd, "kept.txt").read_text().split() == [str(each) for each in range(number + 1)]
        assert capsys.readouterr().out == f"Putting {number} in PicklePipe 1.\nkept {number}\n"


def test_heads_are_read_back(alone: Any) -> None:
    heads = alone(jobs.Heads(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]))
    heads(1, head=0b10000)
    assert [int(head) for head in heads.heads] == [0b10001]
    heads(0, head=[0b1000])
    assert [int(head) for head in heads.heads] == [0b1000]
    with pytest.raises(DefinitionError, match="head must be one head, or one for each of its 1 inputs"):
        heads(0, head=[1, 2])


def test_a_console_gets_lines(alone: Any) -> None:
    console = alone(InteractiveJob(outputs=[PicklePipe(1)]))
    assert console("hello") == ["hello"]
    assert console("you") == ["you"]
    with pytest.raises(DefinitionError, match="one line of text"):
        console(7)
    assert console.finish() == [[]]


def test_a_predefined_sink(alone: Any) -> None:
    with alone(CSVSinkJob("rows.csv", inputs=[PicklePipe(1), PicklePipe(2)])) as sink:
        sink(1, "a")
    assert Path(sink.cwd, "rows.csv").read_text().splitlines() == ["pipe_1,pipe_2", "1,a"]


@pytest.mark.parametrize("kind", [jobs.Program, jobs.Inheriting])
def test_executables(alone: Any, capsys: pytest.CaptureFixture[str], kind: Any) -> None:
    program = alone(kind(inputs=[jobs.Bytes4(1), jobs.Bytes4(2)], outputs=[jobs.Bytes4(3), jobs.Bytes4(4)]))
    assert program(3, 4) == [7, 7]
    assert program(1000, 1) == [1001, 1001]
    assert program.finish() == [[], []]
    assert f"works in {program.cwd}" in capsys.readouterr().out
    with pytest.raises(JobFailed, match="it has finished"):
        program(1, 1)


def test_an_executable_that_fails(alone: Any, capsys: pytest.CaptureFixture[str]) -> None:
    program = alone(jobs.Program(inputs=[jobs.Bytes4(1)], outputs=[jobs.Bytes4(2)]))
    with pytest.raises(JobFailed, match=r"exited with code 1 \(0 means finished\)"):
        program(666)
    assert "not that one" in capsys.readouterr().err


def test_an_executable_with_an_optional_pipe(alone: Any) -> None:
    program = alone(jobs.Program(inputs=[jobs.Optional4(1), jobs.Bytes4(2)], outputs=[jobs.Bytes4(3)]), quiet=True)
    assert [program(number, 100) for number in range(20)] == [[100 + number] for number in range(20)]
    assert program(NOTHING, 1) == [20]


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_job_that_raises_shows_the_users_frames(alone: Any) -> None:
    raises = alone(jobs.Raises(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]))
    assert raises(2) == [0.5]
    with pytest.raises(JobFailed) as caught:
        raises(0)
    text = str(caught.value)
    assert text.startswith("Raises 1 failed:\nTraceback (most recent call last):\n")
    assert "return 1 / value" in text
    assert text.endswith("ZeroDivisionError: division by zero")
    assert "src/fission" not in text
    with pytest.raises(JobFailed, match="ZeroDivisionError"):
        raises(1)


def test_a_job_that_cannot_be_set_up(alone: Any) -> None:
    with pytest.raises(JobFailed, match="RuntimeError: no microphone"):
        alone(jobs.RaisesAtOnce(inputs=[PicklePipe(1)]))(1)


def test_a_job_that_returns_none(alone: Any) -> None:
    with pytest.raises(JobFailed, match="run returned None, which ends a job that has outputs"):
        alone(jobs.Ends(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]))(1)


def test_a_job_whose_process_vanishes(alone: Any) -> None:
    with pytest.raises(JobFailed, match="its process exited with code 7"):
        alone(jobs.Vanishes(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]))(1)


def test_a_job_that_is_too_slow(alone: Any) -> None:
    slow = alone(jobs.Slow(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]), timeout=0.5)
    with pytest.raises(JobFailed, match=r"after 0\.5 s no block has arrived from PicklePipe 2"):
        slow(1)


@pytest.mark.parametrize("timeout", [3e6, 1e15, float("inf")])
def test_a_limit_may_be_long(alone: Any, timeout: float) -> None:
    job = jobs.Add(inputs=[PicklePipe(1), PicklePipe(2)], outputs=[PicklePipe(3), jobs.Five(4)])
    assert alone(job, timeout=timeout)(1, 2) == [3, 3]


def test_the_wrong_number_of_values(alone: Any) -> None:
    add = alone(jobs.Add(inputs=[PicklePipe(1), PicklePipe(2)], outputs=[PicklePipe(3)]))
    with pytest.raises(DefinitionError, match="takes one value for each of its 2 inputs: PicklePipe 1, PicklePipe 2, but was given 1"):
        add(1)


def test_a_value_that_does_not_fit_an_input(alone: Any) -> None:
    program = alone(jobs.Program(inputs=[jobs.Bytes4(1)], outputs=[jobs.Bytes4(2)]))
    with pytest.raises(ValueFitError, match="Program 1, input 1: text does not fit Bytes4 1"):
        program("text")
    assert program(2) == [2]


def test_a_class_inside_a_function(alone: Any) -> None:
    class Hidden(PythonJob):
        pass

    with pytest.raises(DefinitionError, match="is defined inside a function"):
        alone(Hidden(inputs=[PicklePipe(1)]))


# -- processes and folders --------------------------------------------------------------------------------------------


def test_kill_lets_the_job_clean_up_and_leaves_nothing_running(alone: Any, tmp_path: Path) -> None:
    shouts = alone(jobs.Shouts(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]), timeout=0.1)
    with pytest.raises(JobFailed):
        shouts(1)
    eventually(lambda: (tmp_path / "1/waits").exists(), 10, "the job's loop")
    child = int((tmp_path / "1/child").read_text())
    shouts.kill()
    shouts.kill()
    assert (tmp_path / "1/cleaned").exists()
    eventually(lambda: not is_running(child), 5, "the end of the job's child")
    with pytest.raises(JobFailed, match="its emulator was killed"):
        shouts(1)


def test_two_at_once_have_a_folder_each(alone: Any, tmp_path: Path) -> None:
    with collecting():
        first = jobs.Keep(inputs=[PicklePipe(1)])
    with collecting():
        second = jobs.Keep(inputs=[PicklePipe(1)])
    one, other = alone(first), alone(second)
    one("one")
    other("other")
    assert Path(one.cwd, "kept.txt").read_text() == "one\n"
    assert Path(other.cwd, "kept.txt").read_text() == "other\n"
    assert {one.cwd, other.cwd} == {str(tmp_path / "1"), str(tmp_path / "1-2")}


def test_the_folder_is_recreated(alone: Any) -> None:
    job = jobs.Keep(inputs=[PicklePipe(1)])
    with alone(job) as keep:
        keep("old")
    with alone(job) as keep:
        keep("new")
    assert Path(keep.cwd, "kept.txt").read_text() == "new\n"


def test_dependencies_are_there(alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manage.py").write_text("# fission")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/double").write_text('#!/bin/sh\ncat "$2" >"$4"\n')
    (tmp_path / "tools/double").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    job = DynamicExecutableJob("tools", "./double", inputs=[jobs.Bytes4(1)], outputs=[jobs.Bytes4(2)])
    with emulate(job) as program:
        assert program.cwd == ".emulate/1"
        assert program(5) == [5]


SCRIPT = """
from fission.core.jobs import PythonJob
from fission.core.pipes import PicklePipe
from fission.emulate import emulate

class Double(PythonJob):
    def run(self, value):
        return 2 * value

if __name__ == "__main__":
    double = emulate(Double(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]), quiet=True)
    print(double(21))
"""


def test_a_script_ends_although_it_does_not_kill_its_emulator(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("[42]\n", "", 0)
