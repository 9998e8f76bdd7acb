"""`fission_network`: a whole small network in one thread, with a manual clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fission.core.base import collecting
from fission.core.jobs import ClockJob, CSVSinkJob, ForwardingJob, InteractiveJob, PythonJob
from fission.core.pipes import OptionalPicklePipe, PicklePipe
from fission.errors import DefinitionError, JobFailed
from fission.testing.small_network import run_network
from tests.testing import alone_jobs as jobs


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with collecting() as registry:
        yield
    assert not registry.faults


class Sleeps(PythonJob):
    def __init__(self, name: str, seconds: float, **pipes: Any) -> None:
        super().__init__(**pipes)
        self.label, self.seconds = name, seconds

    def run(self) -> Iterator[Any]:
        for number in range(1, 4):
            time.sleep(self.seconds)
            yield ((self.label, number, time.monotonic()),)


class Sink(PythonJob):
    def run(self, *values: Any) -> None:
        pass


def test_a_chain_of_given_values(tmp_path: Path) -> None:
    total, sink = jobs.Sum(inputs=[jobs.Five(1)], outputs=[PicklePipe(2)]), Sink(inputs=[PicklePipe(2)])
    ran = run_network([total, sink], {1: range(11)}, folder=tmp_path)
    assert ran[sink] == [10, 35]  # the eleventh has no four others
    assert ran.sinks == {2: [10, 35]}


def test_a_relative_folder_is_one_of_where_the_test_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    add = jobs.Add(inputs=[PicklePipe(1), PicklePipe(2)], outputs=[PicklePipe(3), jobs.Five(4)])
    ran = run_network([add], {1: [1], 2: [10]}, folder="jobs")
    assert ran.pipes == {3: [11], 4: [11]}
    assert ran.folders[1] == tmp_path / "jobs/1"


def test_open_ends_are_collected_block_by_block(tmp_path: Path) -> None:
    add = jobs.Add(inputs=[PicklePipe(1), PicklePipe(2)], outputs=[PicklePipe(3), jobs.Five(4)])
    ran = run_network([add], {PicklePipe(1): [1, 2], PicklePipe(2): [10, 20]}, folder=tmp_path)
    assert ran.pipes == {3: [11, 22], 4: [11, 22]}
    assert ran[PicklePipe(3)] == [11, 22]


def test_given_values_stand_for_the_job_that_feeds_the_pipe(tmp_path: Path) -> None:
    listed = [jobs.Count(outputs=[PicklePipe(1)]), Sink(inputs=[PicklePipe(1)])]
    assert run_network(listed, {1: [(7, 8)]}, folder=tmp_path).sinks == {2: [(7, 8)]}


def test_time_is_what_the_jobs_sleep(tmp_path: Path) -> None:
    """Sources take turns in the order of their clocks, and no job waits."""
    order: list[Any] = []

    class Note(Sink):
        def run(self, value: Any) -> None:
            order.append(value)

    pipes = [PicklePipe(number) for number in (1, 2)]
    quick, slow = Sleeps("quick", 1000, outputs=[pipes[0]]), Sleeps("slow", 2500, outputs=[pipes[1]])
    began = time.monotonic()
    ran = run_network([slow, quick, Note(inputs=[pipes[0]]), Note(inputs=[pipes[1]])], folder=tmp_path)
    assert time.monotonic() - began < 20
    assert ran.seconds == 7500
    moments = sorted(ran.sinks[3] + ran.sinks[4], key=lambda entry: entry[2])
    assert [entry[:2] for entry in moments] == [("quick", 1), ("quick", 2), ("slow", 1), ("quick", 3), ("slow", 2), ("slow", 3)]


def test_other_threads_have_the_real_time(tmp_path: Path) -> None:
    seen: list[float] = []

    class Asks(Sink):
        def run(self, value: Any) -> None:
            thread = threading.Thread(target=lambda: seen.append(time.time()))
            thread.start()
            thread.join()

    before = time.time()
    run_network([Sleeps("x", 1e9, outputs=[PicklePipe(1)]), Asks(inputs=[PicklePipe(1)])], folder=tmp_path)
    assert before <= seen[-1] <= time.time()
    assert time.sleep.__module__ == "time"


@pytest.mark.slow
@pytest.mark.soak
def test_a_source_without_an_end_needs_a_limit(tmp_path: Path) -> None:
    listed = [ClockJob(outputs=[PicklePipe(1)]), Sink(inputs=[PicklePipe(1)])]
    assert run_network(listed, folder=tmp_path, blocks=5).sinks == {2: [1] * 5}
    with pytest.raises(DefinitionError, match=r"does not end within .* say blocks="):
        run_network(listed, folder=tmp_path)


def test_the_jobs_given_do_not_change(tmp_path: Path) -> None:
    steps = jobs.Steps(outputs=[PicklePipe(1)])
    listed = [steps, Sink(inputs=[PicklePipe(1)])]
    assert run_network(listed, folder=tmp_path).sinks == run_network(listed, folder=tmp_path).sinks == {2: [1, 2, 3]}
    assert "number" not in vars(steps)


def test_a_circle_through_an_optional_pipe(tmp_path: Path) -> None:
    class Feedback(OptionalPicklePipe):
        OPTIONAL_DEFAULT = 0

    class Adds(PythonJob):
        def run(self, value: Any, before: Any) -> Any:
            return value + before

    pipes = {number: PicklePipe(number) for number in (1, 2, 3)}
    middle = ForwardingJob(inputs=[pipes[2]], outputs=[pipes[3], Feedback(4)])
    listed = [Adds(inputs=[pipes[1], Feedback(4)], outputs=[pipes[2]]), middle, Sink(inputs=[pipes[3]])]
    assert run_network(listed, {1: [1, 2, 3, 4]}, folder=tmp_path).sinks == {3: [1, 3, 6, 10]}


def test_consoles_and_files(tmp_path: Path) -> None:
    console = InteractiveJob(outputs=[PicklePipe(1)])
    listed = [console, CSVSinkJob("lines.csv", inputs=[PicklePipe(1)])]
    ran = run_network(listed, {console: ["one", "two"]}, folder=tmp_path)
    assert ran.sinks == {2: ["one", "two"]}
    assert (ran.folders[2] / "lines.csv").read_text().split() == ["pipe_1", "one", "two"]
    assert ran.folders[2] == tmp_path / "2"


class Totals(PythonJob):
    CHECKPOINT = 3

    def setup(self, *args: Any, **kwargs: Any) -> None:
        super().setup(*args, **kwargs)
        self.total = 0

    def run(self, value: int) -> int:
        self.total += value
        return self.total


def test_a_network_whose_jobs_take_snapshots_ends(tmp_path: Path) -> None:
    totals = Totals(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)])
    total = Totals(inputs=[PicklePipe(3)])
    values = {1: range(8), 3: range(8)}
    ran = run_network([totals, total], values, folder=tmp_path)
    assert ran.pipes == {2: [0, 1, 3, 6, 10, 15, 21, 28]}
    assert ran.sinks == {2: list(range(8))}


def test_a_job_that_raises(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match=r"(?s)Raises 1 failed:.*return 1 / value.*ZeroDivisionError"):
        run_network([jobs.Raises(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)])], {1: [1, 0]}, folder=tmp_path)


def bad(what: str) -> tuple[list[Any], Any]:
    add = jobs.Add(inputs=[PicklePipe(1)], outputs=[PicklePipe(2), PicklePipe(3)])
    return {
        "none of the jobs has a pipe 9; there are 1, 2, 3": ([add], {9: []}),
        "no job feeds PicklePipe 1": ([add], None),
        "gives PicklePipe 2 of Add 1 and not PicklePipe 3": ([add, Sink(inputs=[PicklePipe(2)])], {1: [], 2: []}),
        "must be an InteractiveJob of these jobs": ([add], {add: ["x"]}),
        "must be a PythonJob, but needs a process": ([jobs.Program(inputs=[PicklePipe(4)])], {4: [1]}),
    }[what]


MESSAGES = [
    "none of the jobs has a pipe 9; there are 1, 2, 3",
    "no job feeds PicklePipe 1",
    "gives PicklePipe 2 of Add 1 and not PicklePipe 3",
    "must be an InteractiveJob of these jobs",
    "must be a PythonJob, but needs a process",
]


@pytest.mark.parametrize("message", MESSAGES)
def test_jobs_that_are_not_a_network_are_refused(message: str, tmp_path: Path) -> None:
    listed, inputs = bad(message)
    with pytest.raises(DefinitionError, match=message):
        run_network(listed, inputs, folder=tmp_path)
