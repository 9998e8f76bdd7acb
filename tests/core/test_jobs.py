from __future__ import annotations

import csv
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fission.core import predefined
from fission.core.base import reset
from fission.core.head import Head
from fission.core.jobs import (
    BaseJob,
    ClockJob,
    CSVSinkJob,
    DynamicExecutableJob,
    DynamicMARVELOJob,
    ExecutableJob,
    ForwardingJob,
    InteractiveJob,
    LocalJob,
    LoggingJob,
    LoggingSinkJob,
    MARVELOJob,
    PythonJob,
)
from fission.core.jobs import Head as HeadOfJobs
from fission.core.pipes import BytesPipe, OptionalPicklePipe, PicklePipe
from fission.core.record_jobs import LOG_COLUMNS
from fission.errors import DefinitionError, InternalError, ValueFitError


class Job(PythonJob):
    def run(self, *values: Any) -> Any:
        return values


def pipes(*numbers: int) -> list[PicklePipe]:
    return [PicklePipe(number) for number in numbers]


def test_jobs_has_the_head_too() -> None:
    assert HeadOfJobs is Head


@pytest.mark.parametrize(
    ("inputs", "outputs", "kind"),
    [
        ([], [1], (True, False, False)),
        ([1], [2], (False, False, True)),
        ([1], [], (False, True, False)),
        ([], [], (True, True, False)),
    ],
)
def test_source_sink_connector(inputs: list[int], outputs: list[int], kind: tuple[bool, ...]) -> None:
    job = Job(inputs=pipes(*inputs), outputs=pipes(*outputs))
    assert (job.is_source, job.is_sink, job.is_connector) == kind


def test_only_async_inputs_make_a_source() -> None:
    assert Job(inputs=[OptionalPicklePipe(1)]).is_source
    assert not Job(inputs=[OptionalPicklePipe(2), PicklePipe(3)]).is_source


# -- PythonJob: heads, finish, snapshot


def test_heads_before_the_first_run() -> None:
    job = Job(inputs=pipes(1, 2), outputs=pipes(3))
    assert (job.head, job.in_heads, job.out_heads, job.finished) == (None, [None, None], [None], False)


def test_finish_without_head() -> None:
    job = Job()
    job.head = Head(0)
    job.finish()
    assert job.finished
    assert job.head == 0, "without HEAD the head is not the job's"


def test_finish_sets_bit_2_with_head() -> None:
    class WithHead(Job):
        HEAD = True

    job = WithHead()
    job.finish()
    assert job.finished
    job.head = Head(0, 2)
    job.finish()
    assert job.head == Head(b"\x20\x00")


def test_head_reduce_is_or_over_all() -> None:
    job = Job(inputs=pipes(1, 2, 3))
    assert job.head_reduce() == Head(0)
    job._fission_head_size = 2
    assert job.head_reduce() == Head(0, 2)
    job.in_heads = [Head(b"\x80\x01"), [Head(b"\x00\x02"), Head(b"\x00\x04")], None]
    assert job.head_reduce() == Head(b"\x80\x07")


def test_run_must_be_overridden() -> None:
    with pytest.raises(NotImplementedError, match="PythonJob must override run"):
        PythonJob().run()


def test_snapshot_and_restore() -> None:
    job = Job(inputs=pipes(1), outputs=pipes(2))
    job.setup()
    job.counter, job.seen, job._private = 3, [1, 2], "kept"
    job.finish()
    job.head = Head(1)
    state = pickle.loads(pickle.dumps(job.snapshot()))
    assert state == {"counter": 3, "seen": [1, 2], "_private": "kept"}
    other = Job(inputs=pipes(1), outputs=pipes(2))
    other.restore(state)
    assert (other.counter, other.seen, other._private) == (3, [1, 2], "kept")
    assert (other.id, other.finished, other.head) == (2, False, None)


def test_snapshot_names_the_attributes_that_cannot_be_pickled(tmp_path: Path) -> None:
    job = Job()
    job.fine = 1
    with open(tmp_path / "x", "w") as job.file, pytest.raises(ValueFitError) as raised:
        job.snapshot()
    text = str(raised.value)
    assert text.startswith("Job 1 has a state that cannot be saved: its attribute file (TextIOWrapper) cannot be pickled: ")
    assert text.endswith("override snapshot and restore to keep the state that matters")


def test_snapshot_of_a_value_whose_pickling_raises() -> None:
    class Bad:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError("no")

    job = Job()
    job.bad = [Bad()]
    with pytest.raises(ValueFitError, match=r"its attribute bad \(list\) cannot be pickled: ZeroDivisionError: no"):
        job.snapshot()


def test_restore_of_something_else_needs_its_own_restore() -> None:
    with pytest.raises(DefinitionError, match="Job 1: snapshot must return a dict, but returned int; override restore too"):
        Job().restore(5)


def test_predefined_jobs_can_be_snapshot_and_shipped(tmp_path: Path) -> None:
    job = CSVSinkJob(str(tmp_path / "x.csv"), inputs=pipes(1))
    job.setup()
    with closing(job._fission_sink_file):  # type: ignore[type-var]
        assert job.snapshot() == {"path": str(tmp_path / "x.csv"), "col_pattern": "pipe_{pipe.id}"}


# -- executables


class Tool(ExecutableJob):
    EXECUTABLE = "'./my tool' run"
    PARAMETERS = "--gain 2 --name 'a b'"


def test_command_has_a_flag_for_each_pipe_inputs_first() -> None:
    assert Tool().command(["in1", "in2"], ["out 1"]) == [
        *["./my tool", "run", "--gain", "2", "--name", "a b"],
        *["-i", "in1", "-i", "in2", "-o", "out 1"],
    ]


def test_flags_in_both_spellings() -> None:
    class Flags(Tool):
        INPUT_FLAG = "--input"
        OUTPUT_FLAG = "--output"

    class Printed(Tool):
        OUTPUTS_FLAG = "--outputs"

    assert Flags().command(["1"], ["2"])[-4:] == ["--input", "1", "--output", "2"]
    assert Printed().command(["1"], ["2"])[-4:] == ["-i", "1", "--outputs", "2"]


def test_command_without_parameters_and_pipes() -> None:
    class Plain(ExecutableJob):
        EXECUTABLE = "ls"

    assert Plain().command([], []) == ["ls"]


def test_jobs_pass_paths_or_descriptors() -> None:
    assert (ExecutableJob._fission_passes, DynamicExecutableJob._fission_passes) == ("paths", "paths")
    assert (MARVELOJob._fission_passes, DynamicMARVELOJob._fission_passes) == ("descriptors", "descriptors")
    assert issubclass(DynamicMARVELOJob, MARVELOJob)


@pytest.mark.parametrize("cls", [DynamicExecutableJob, DynamicMARVELOJob])
def test_dynamic_jobs(cls: type[DynamicExecutableJob]) -> None:
    job = cls(
        executable="./x",
        dependencies="folder",
        parameters="-p 1",
        input_flag="--in",
        output_flag="--out",
        head=True,
        groups=["A", "ALL"],
        default_node="10.0.0.1",
        max_queue=3,
        priority=2,
        restarts=1,
        inputs=pipes(1),
        outputs=pipes(2),
    )
    job = pickle.loads(pickle.dumps(job))
    assert (job.DEPENDENCIES, job.HEAD, job.GROUPS, job.DEFAULT_NODE) == ("folder", True, ["A", "ALL"], "10.0.0.1")
    assert (job.MAX_QUEUE, job.PRIORITY, job.RESTARTS) == (3, 2, 1)
    assert job.command(["1"], ["2"]) == ["./x", "-p", "1", "--in", "1", "--out", "2"]
    assert [pipe.id for pipe in job.inputs + job.outputs] == [1, 2]


def test_dynamic_jobs_by_position() -> None:
    job = DynamicExecutableJob("folder", "./x")
    assert (job.DEPENDENCIES, job.EXECUTABLE, job.GROUPS, job.HEAD) == ("folder", "./x", "ALL", False)


def test_dynamic_jobs_with_an_unknown_argument() -> None:
    with pytest.raises(TypeError, match="DynamicExecutableJob has no argument 'exe'"):
        DynamicExecutableJob(exe="./x")


# -- local jobs


def test_local_job_is_a_mix_in() -> None:
    class Local(LocalJob, Job):
        pass

    assert Local.GROUPS == "LOCAL"
    assert not issubclass(LocalJob, PythonJob)
    assert issubclass(LocalJob, BaseJob)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: "/dev/null", "a device"),
        (lambda path: path.mkdir() or path, "a folder"),
        (lambda path: os.mkfifo(path) or path, "a named pipe"),
        (lambda path: path.symlink_to("/dev/zero") or path, "a device"),
    ],
)
def test_a_sinks_path_is_free_or_a_regular_file(tmp_path: Path, make: Callable[[Path], Any], kind: str) -> None:
    path = make(tmp_path / "result")
    with pytest.raises(DefinitionError) as caught:
        sink(path).setup()
    assert str(caught.value) == f"CSVSinkJob 1: path must be a regular file, or free, but {os.fspath(path)!r} is {kind}"


def sink(path: Path, *numbers: int, cls: Callable[..., CSVSinkJob] = CSVSinkJob, **kwargs: Any) -> CSVSinkJob:
    reset()
    return cls(path, inputs=pipes(*numbers), **kwargs)


def run_to_end(job: CSVSinkJob, *blocks: tuple[Any, ...]) -> None:
    """Set the job up, give it the blocks and tear it down."""
    job.setup()
    with closing(job._fission_sink_file):  # type: ignore[type-var]
        for block in blocks:
            assert job.run(*block) is None


def rows(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8", errors="surrogatepass") as file:
        return list(csv.reader(file))


def test_csv_sink(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "join.csv"
    job = sink(path, 201, 202)
    run_to_end(job, (1, "a"), (2.5, "b,c\nd"))
    assert rows(path) == [["pipe_201", "pipe_202"], ["1", "a"], ["2.5", "b,c\nd"]]


def test_csv_sink_flushes_each_row(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    job = sink(path, 1)
    job.setup()
    with closing(job._fission_sink_file):  # type: ignore[type-var]
        assert rows(path) == [["pipe_1"]]
        job.run(7)
        assert rows(path)[1:] == [["7"]]


def test_csv_sink_names_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    run_to_end(sink(path, 1, 2, col_pattern="{job.id}/{pipe.id}"))
    assert rows(path) == [["1/1", "1/2"]]


#: Python 3.10 writes NUL, but does not read it.
FIELDS = st.text(st.characters(exclude_categories=[], exclude_characters="\0" if sys.version_info < (3, 11) else ""))


@settings(deadline=None)
@given(st.lists(st.tuples(FIELDS, FIELDS), max_size=5), st.data())
def test_a_csv_sink_continues_after_its_last_complete_row(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[Any], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    run_to_end(sink(path, 1, 2), *blocks)
    whole = path.read_bytes()
    assert rows(path)[1:] == [list(block) for block in blocks]
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    run_to_end(sink(path, 1, 2))
    written = len(rows(path)) - 1
    assert whole.startswith(path.read_bytes())
    assert written <= len(blocks)
    run_to_end(sink(path, 1, 2), *blocks[written:])
    assert path.read_bytes() == whole


def test_csv_sink_finds_quotes_across_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fission.core.record_jobs._PIECE", 3)
    blocks = [('a"\n"b', "x"), ("\n\n", '""'), ("é\n", "")]
    path = tmp_path / "x.csv"
    run_to_end(sink(path, 1, 2), *blocks)
    path.write_bytes(path.read_bytes() + b'"half\n')
    run_to_end(sink(path, 1, 2), ("end", ""))
    assert rows(path)[1:] == [list(block) for block in [*blocks, ("end", "")]]


def test_a_csv_sink_does_not_touch_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("time,value\n1,2\n")
    with pytest.raises(
        DefinitionError, match=r"CSVSinkJob 1: .*x.csv exists with other columns \(time, value instead of pipe_1\); move it"
    ):
        sink(path, 1).setup()
    assert path.read_text() == "time,value\n1,2\n"


def test_a_resumed_csv_sink_does_not_mix_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config was changed between two incarnations of the job: its journal says that the file is its own."""

    def continued(number: int, value: Any, *, time: bool = False, pattern: str = "pipe_{pipe.id}") -> None:
        reset()
        job = CSVSinkJob("x.csv", inputs=[PicklePipe(1)], col_pattern=pattern, time=time)
        try:
            job.setup()
            file = job._fission_sink_file
            assert file is not None
            file.begin(0, number)
            job.run(value)
            file.record(0, number)
            file.sync_all()
        finally:
            if job._fission_sink_file is not None:
                job._fission_sink_file.close()

    monkeypatch.chdir(tmp_path)
    continued(1, "a", pattern="a\n\ud800")
    continued(2, "b", pattern="a\n\ud800")
    before = Path("x.csv").read_bytes()
    for change in ({"time": True, "pattern": "a\n\ud800"}, {"pattern": "c"}):
        with pytest.raises(
            DefinitionError, match=r"(?s)CSVSinkJob 1: x\.csv was begun with other columns .* continue the run with these, or"
        ):
            continued(3, "c", **change)  # type: ignore[arg-type]
        assert Path("x.csv").read_bytes() == before
    continued(3, "c", pattern="a\n\ud800")
    assert Path("x.csv").read_bytes() == before + b"c\r\n"


def test_logging_sink_has_a_row_for_each_record(tmp_path: Path) -> None:
    class Three(PicklePipe):
        BLOCK_COUNT = 3

    def make() -> LoggingSinkJob:
        reset()
        return LoggingSinkJob(path, inputs=[PicklePipe(1), Three(2)])

    path = tmp_path / "log.csv"
    run_to_end(make(), (["a", 1], [["b", 2], ("c", 3), "d"]))
    whole = path.read_bytes()
    assert rows(path) == [list(LOG_COLUMNS), ["a", "1"], ["b", "2"], ["c", "3"], ["d"]]
    path.write_bytes(whole + b"c,")
    run_to_end(make())
    assert path.read_bytes() == whole
    theirs = ("job", "pid", "state", "cpu_percent", "memory_percent", "time in", "time out")
    assert (*theirs, "process", "core_percent") == LOG_COLUMNS, "ours come after MARVELO's"


# -- console, clock, relay


class Lines:
    def __init__(self, *lines: str) -> None:
        self.lines = [*lines, None]

    def readline(self) -> str | None:
        return self.lines.pop(0)


def test_interactive_job_sends_lines_until_the_console_ends() -> None:
    job = InteractiveJob(outputs=pipes(1, 2))
    job._fission_console = Lines("+", "a b")
    assert list(job.run()) == [("+", "+"), ("a b", "a b")]
    assert job.GROUPS == "LOCAL"


def test_interactive_job_parses_and_survives_a_typing_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    class Numbers(InteractiveJob):
        def parse(self, line: str) -> Any:
            return (int(line), 0)

    job = Numbers(outputs=pipes(1))
    job._fission_console = Lines("1", "x", "2")
    assert list(job.run()) == [((1, 0),), ((2, 0),)], "a tuple is one value"
    assert "invalid literal for int() with base 10: 'x'" in capsys.readouterr().err


def test_interactive_job_without_console() -> None:
    with pytest.raises(InternalError, match="InteractiveJob 1 was started without a console"):
        next(InteractiveJob(outputs=pipes(1)).run())


def test_the_clock_keeps_its_pace_and_skips_missed_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(predefined, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    ticks = ClockJob(clock_interval=0.5, outputs=pipes(1)).run()
    assert next(ticks) == 1
    now[0] = 100.25  # the block took a while
    assert next(ticks) == 1
    assert slept == [0.25]
    now[0] = 102.25  # so long that the ticks of 101, 101.5 and 102 are late: one comes at once, two are left out
    assert next(ticks) == 1
    assert slept == [0.25]
    assert next(ticks) == 1
    assert slept == [0.25, 0.25]
    assert now == [102.5]


def test_a_clock_may_have_a_very_long_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system cannot sleep for thousands of years at once."""

    class Enough(Exception):
        pass

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise Enough

    slept: list[float] = []
    monkeypatch.setattr(predefined, "time", SimpleNamespace(monotonic=lambda: 100.0, sleep=sleep))
    ticks = ClockJob(clock_interval=1e300, outputs=pipes(1)).run()
    assert next(ticks) == 1
    with pytest.raises(Enough):
        next(ticks)
    assert max(slept) <= 1e6


def test_clock_has_the_documented_interval() -> None:
    assert ClockJob().clock_interval == 0.04


@pytest.mark.parametrize(
    ("inputs", "outputs", "values", "result"),
    [
        (1, 1, ("a",), ("a",)),
        (1, 3, ((1, 2),), ((1, 2), (1, 2), (1, 2))),
        (2, 2, ("a", None), ("a", None)),
        (1, 0, ("a",), None),
    ],
)
def test_forwarding(inputs: int, outputs: int, values: tuple[Any, ...], result: Any) -> None:
    job = ForwardingJob(inputs=pipes(*range(1, 1 + inputs)), outputs=pipes(*range(11, 11 + outputs)))
    assert job.run(*values) == result


# -- DEADLINE of one job


class Strict(PythonJob):
    DEADLINE = 2.0


class Keeps(PythonJob):
    def __init__(self, deadline: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mine = deadline


class PassesOn(Strict):
    def __init__(self, **kwargs: Any) -> None:
        self.seen = set(kwargs)
        super().__init__(**kwargs)


@pytest.mark.parametrize(
    ("job", "deadline"),
    [
        (lambda: Strict(inputs=pipes(1)), 2.0),
        (lambda: Strict(inputs=pipes(1), deadline=0.5), 0.5),
        (lambda: Strict(inputs=pipes(1), deadline=None), None),
        (lambda: PythonJob(inputs=pipes(1), deadline=0.5), 0.5),
        (lambda: PassesOn(inputs=pipes(1), deadline=0.5), 0.5),
        (lambda: ClockJob(1, outputs=pipes(1), deadline=0.5), 0.5),
        (lambda: Keeps("mine", inputs=pipes(1)), None),
        (lambda: Keeps(deadline="mine", inputs=pipes(1)), None),
    ],
)
def test_a_job_takes_a_deadline_of_its_own(job: Callable[[], Any], deadline: float | None) -> None:
    made = job()
    assert deadline == made.DEADLINE
    assert getattr(made, "seen", {"inputs"}) == {"inputs"}, "its class does not see the argument"
    assert getattr(made, "mine", "mine") == "mine", "an argument of its own is left to it"
    assert deadline == pickle.loads(pickle.dumps(made)).DEADLINE
    assert Strict.DEADLINE == 2.0


# -- LoggingJob


class Logged(LoggingJob):
    def init_job(self, factor: int, *, offset: int = 0) -> None:
        self.factor, self.offset, self.at_init = factor, offset, (self.id, len(self.outputs))

    def setup_job(self, *args: Any, **kwargs: Any) -> None:
        self.ready = (args, kwargs)

    def run_job(self, value: Any) -> Any:
        return value if value is None or isinstance(value, tuple) else value * self.factor + self.offset


def logged(outputs: int, **kwargs: Any) -> Logged:
    job = Logged(3, offset=1, inputs=pipes(1), outputs=pipes(*range(11, 11 + outputs)), logging_output=PicklePipe(99), **kwargs)
    job.setup("folder", key=1)
    return job


def test_logging_job_sends_its_record_on_the_last_output() -> None:
    job = logged(2, name="middle")
    assert [pipe.id for pipe in job.outputs] == [11, 12, 99]
    assert job.at_init == (1, 3)
    assert job.ready == (("folder",), {"key": 1})
    first, second, record = job.run(5)
    assert (first, second) == (16, 16)
    entries = dict(zip(LOG_COLUMNS, record, strict=True))
    assert entries["job"] == "middle"
    assert isinstance(entries["pid"], int)
    assert entries["state"] == 0, "counts the records, as in MARVELO"
    assert isinstance(entries["process"], str)
    assert entries["cpu_percent"] == entries["core_percent"] / (os.cpu_count() or 1) >= 0
    assert 0 < entries["memory_percent"] < 100
    assert 1.6e9 < entries["time in"] <= entries["time out"]
    assert (job.name, str(job), job.counter, job.p.pid) == ("middle", "middle", 1, os.getpid())
    assert [job.run(5)[2][2] for _ in range(3)] == [1, 2, 3]


def test_logging_job_and_tuples() -> None:
    job = logged(2)
    assert job.run((1, 2))[:2] == (1, 2)
    assert job.run((1, 2))[2][0] == "Logged 1"
    with pytest.raises(ValueFitError, match="Logged 1: run_job returned a tuple of 3 values for 2 outputs"):
        job.run((1, 2, 3))
    assert job.run(None) is None, "None ends a job that has outputs"


def test_logging_job_that_is_a_sink_for_all_but_its_records() -> None:
    (record,) = logged(0).run(None)
    assert len(record) == len(LOG_COLUMNS)


def test_logging_job_without_a_logging_output() -> None:
    job = Logged(3, inputs=pipes(1), outputs=pipes(2))
    job.setup()
    assert job.run(5) == 15


def test_logging_source_may_be_a_generator() -> None:
    from inspect import isgeneratorfunction

    class Source(LoggingJob):
        def run_job(self) -> Iterator[int]:
            yield 1
            yield 2

    job = Source(outputs=pipes(1), logging_output=PicklePipe(99))
    job.setup()
    assert isgeneratorfunction(job.run)
    assert [value for value, _ in job.run()] == [1, 2]
    assert not isgeneratorfunction(Logged(1).run)


def test_logging_job_can_be_shipped_and_snapshot() -> None:
    job = pickle.loads(pickle.dumps(Logged(3, logging_output=PicklePipe(99))))
    job.setup()
    assert job.label == "Logged 1"
    assert set(job.snapshot()) == {"factor", "offset", "at_init", "ready"}


def test_bytes_pipe_survives_shipping() -> None:
    job = pickle.loads(pickle.dumps(Job(outputs=[BytesPipe(1, 4, 2)])))
    assert (job.outputs[0].BLOCK_SIZE, job.outputs[0].BLOCK_COUNT, str(job.outputs[0])) == (4, 2, "BytesPipe 1")
