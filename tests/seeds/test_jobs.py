"""Predefined jobs as MARVELO's users know them: methods that they call, override, and arguments by position."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import pytest

from fission.core.jobs import CSVSinkJob, InteractiveJob, LoggingJob, PythonJob
from fission.core.pipes import OptionalPicklePipe, PicklePipe
from fission.core.registry import reset
from tests.waiting import CommandLine


@pytest.fixture(autouse=True)
def fresh() -> None:
    reset()


class Plain(PythonJob):
    def run(self, *values: Any) -> Any:
        return values


@pytest.mark.parametrize(
    ("inputs", "outputs", "kinds"),
    [
        ([], [PicklePipe], (True, False, False, False)),
        ([OptionalPicklePipe], [PicklePipe], (True, False, True, True)),
        ([PicklePipe], [PicklePipe], (False, False, True, False)),
        ([PicklePipe, OptionalPicklePipe], [], (False, True, False, True)),
    ],
)
def test_kinds_of_jobs_are_properties_and_methods(inputs: Any, outputs: Any, kinds: tuple[bool, ...]) -> None:
    job = Plain(inputs=[kind(1 + n) for n, kind in enumerate(inputs)], outputs=[kind(9 + n) for n, kind in enumerate(outputs)])
    answers: list[Callable[[], bool]] = [job.is_source, job.is_sink, job.is_connector, job.is_async]
    assert tuple(answer() for answer in answers) == tuple(answers) == kinds
    assert [bool(answer) for answer in answers] == list(kinds)
    assert [str(answer) for answer in answers] == [str(kind) for kind in kinds]


class Measured(LoggingJob):
    def init_job(self, factor: int = 1, *, offset: int = 0) -> None:
        self.factor, self.offset = factor, offset

    def run_job(self, value: int) -> Any:
        return (value * self.factor + self.offset,)


@pytest.mark.parametrize("rest", [(), ("mic",), ("mic", 5), ("", 5)])
@pytest.mark.parametrize("options", [{}, {"offset": 2}])
def test_logging_job_by_position(rest: tuple[Any, ...], options: dict[str, Any]) -> None:
    job = Measured([PicklePipe(1)], [PicklePipe(2)], PicklePipe(3), *rest, **options)
    job.setup()
    assert [[pipe.id for pipe in side] for side in (job.inputs, job.outputs)] == [[1], [2, 3]]
    factor = rest[1] if len(rest) > 1 else 1
    for number in range(3):
        assert job.counter == number
        value, record = job.run(4)
        assert value == 4 * factor + options.get("offset", 0)
        assert (record[0], record[1], record[2]) == ((rest and rest[0]) or "Measured 1", job.p.pid, number)
    assert job.name == ((rest and rest[0]) or "Measured 1")


@pytest.mark.parametrize("first", [(None, [2], 3), ([], [2], None), ([1], None, 3), ([1], [2])])
def test_logging_job_by_position_in_part(first: tuple[Any, ...]) -> None:
    given = [[PicklePipe(n) for n in entry] if isinstance(entry, list) else entry and PicklePipe(entry) for entry in first]
    job = Measured(*given)
    assert [pipe.id for pipe in job.inputs] == (first[0] or [])
    assert [pipe.id for pipe in job.outputs] == [*(first[1] or []), *([first[2]] if len(first) > 2 and first[2] else [])]
    assert job.factor == 1


@pytest.mark.parametrize("factor", [3, [1, 2], None, "x"])
def test_arguments_of_init_job_stay_positional(factor: Any) -> None:
    assert Measured(factor, inputs=[PicklePipe(1)], outputs=[PicklePipe(2)], logging_output=PicklePipe(3)).factor == factor


def test_logging_jobs_of_one_name() -> None:
    first, second = (Measured([PicklePipe(n)], [PicklePipe(n + 2)], PicklePipe(n + 4), "mic") for n in (1, 2))
    assert (first.name, second.name, str(first), str(second)) == ("mic", "mic", "mic", "Measured 2")


class Console:
    def __init__(self, *lines: str) -> None:
        self.lines = [*lines, None]

    def readline(self) -> str | None:
        return self.lines.pop(0)


class Repeating(InteractiveJob):
    def parse(self, line: str) -> Any:
        return line * 2


@pytest.mark.parametrize(("kind", "sent"), [(InteractiveJob, ["a"]), (Repeating, ["aa", "", "bb"])])
def test_an_empty_line_ends_a_console_that_does_not_parse(kind: type[InteractiveJob], sent: list[str]) -> None:
    job = kind(outputs=[PicklePipe(1)])
    job._fission_console = Console("a", "", "b")
    assert list(job.run()) == [(line,) for line in sent]


PROJECT = """
from fission.core.jobs import CSVSinkJob
from fission.core.pipes import PicklePipe
from shared.jobs.jobs import DistributingJob, SourceJob


class Three(SourceJob):
    def run(self):
        for value, _ in zip(super().run(), range(3)):
            yield value


class Squares(CSVSinkJob):
    def run(self, *values):
        for value in values:
            self.writer.writerow([value, value * value])
        self.file.write("# row\\n")
        self.file.flush()


JOBS = [
    Three(5, 2, 0, outputs=[PicklePipe(1)], name="Numbers"),
    DistributingJob(inputs=[PicklePipe(1)], outputs=[PicklePipe(2), PicklePipe(3)]),
    Squares("squares.csv", inputs=[PicklePipe(2)]),
    CSVSinkJob("plain.csv", inputs=[PicklePipe(3)]),
]
"""


def test_sinks_that_write_by_writer_and_file(fission: CommandLine) -> None:
    from pathlib import Path

    examples = Path(__file__).parents[2] / "examples" / "shared" / "jobs" / "jobs.py"
    fission.project(
        {"shared/__init__.py": "", "shared/jobs/__init__.py": "", "shared/jobs/jobs.py": examples.read_text(), "net/config.py": PROJECT}
    )
    fission.run("net", "simulate", exit_code=0)
    (squares,) = fission.root.rglob("squares.csv")
    (plain,) = fission.root.rglob("plain.csv")
    rows = [["5", "25"], ["# row"], ["7", "49"], ["# row"], ["9", "81"], ["# row"]]
    assert list(csv.reader(squares.read_text().splitlines()))[1:] == rows
    assert list(csv.reader(plain.read_text().splitlines()))[1:] == [["5"], ["7"], ["9"]]


def test_a_subclass_may_have_its_own_file(tmp_path: Any) -> None:
    class Own(CSVSinkJob):
        def setup(self, *args: Any, **kwargs: Any) -> None:
            self.file = (tmp_path / "mine.csv").open("w", newline="")
            self.writer = csv.writer(self.file)

        def run(self, *values: Any) -> None:
            self.writer.writerow(values)

        def teardown(self) -> None:
            self.file.close()

    job = Own("mine.csv", inputs=[PicklePipe(1)])
    job.setup()
    job.run(4)
    job.teardown()
    assert (tmp_path / "mine.csv").read_bytes() == b"4\r\n"


@pytest.mark.parametrize("given", [Console, [Console], (Console,), ["folder", Console]])
def test_a_class_among_the_dependencies_means_its_module(given: Any) -> None:
    import pickle
    import sys

    from fission.core.attribute_checks import attribute_faults
    from fission.core.network import Network
    from fission.core.registry import current
    from fission.project.shipping import dependency_modules

    job = Plain()
    job.DEPENDENCIES = given
    assert dependency_modules(job) == [sys.modules[__name__]]
    assert list(attribute_faults(Network.from_registry("net", current()))) == []
    assert pickle.loads(pickle.dumps(job)).DEPENDENCIES in (None, [], ["folder"])
