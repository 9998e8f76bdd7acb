"""Emulators and the pytest plugin as projects of the first FISSION used them: `put` and `get`, heads, `start=False`, tuples, fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fission.core.base import GROUPS, JOBS, NODES, PIPES, reset
from fission.core.jobs import CSVSinkJob, Head, InteractiveJob
from fission.core.nodes import BaseNode
from fission.core.pipes import BytesPipe, JSONPipe, OptionalPicklePipe, PicklePipe
from fission.emulate import JobEmulator, PipeEmulator, emulate
from fission.errors import DefinitionError, JobFailed, ValueFitError
from tests.seeds.old_pipes import OLD_PIPES, Exits, WithNew
from tests.testing import alone_jobs as jobs
from tests.waiting import CommandLine


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    reset()
    yield
    reset()


@pytest.fixture
def alone() -> Iterator[Callable[..., JobEmulator]]:
    made: list[JobEmulator] = []

    def make(job: Any, *arguments: Any, **options: Any) -> JobEmulator:
        made.append(JobEmulator(job, *arguments, **options))
        return made[-1]

    yield make
    for emulator in made:
        emulator.kill()


# -- pipes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*OLD_PIPES, PicklePipe, JSONPipe, OptionalPicklePipe], ids=lambda kind: kind.__name__)
def test_a_pipe_is_put_into_and_got_from(kind: Any) -> None:
    emulator = PipeEmulator(kind(1))
    for value in (3, 4):
        emulator.put(value)
    assert [emulator.get(), emulator.get()] == [3, 4]
    with pytest.raises(DefinitionError, match=r"is empty; put a value in first"):
        emulator.get()
    emulator.put(5)
    emulator.kill()
    emulator.kill()
    with pytest.raises(DefinitionError, match="is empty; put a value in first"):
        emulator.get()


@pytest.mark.parametrize("size", [1, 2, 4])
def test_heads_of_a_pipe(size: int) -> None:
    emulator = PipeEmulator(PicklePipe(1), head_size=size)
    for head in (5, Head(9, size)):
        emulator.put_head(head)
    assert [emulator.get_head(), emulator.get_head()] == [5, 9]
    with pytest.raises(DefinitionError, match="PicklePipe 1 has no head"):
        emulator.get_head()
    with pytest.raises(DefinitionError, match="head must be a Head, or a number"):
        emulator.put_head(1 << 8 * size)


def test_a_value_that_does_not_fit_is_not_put() -> None:
    emulator = PipeEmulator(BytesPipe(1, 2))
    with pytest.raises(ValueFitError, match="BytesPipe 1 takes bytes of length 2"):
        emulator.put(b"123")
    with pytest.raises(DefinitionError, match="is empty; put a value in first"):
        emulator.get()


# -- jobs -------------------------------------------------------------------------------------------------------------


def test_inputs_give_outputs_pipe_by_pipe(alone: Any) -> None:
    add = alone(jobs.Add(inputs=[PicklePipe(1), Exits(2)], outputs=[PicklePipe(3), Exits(4)]))
    one, two = add.in_emulators
    assert [emulator.pipe.id for emulator in (*add.in_emulators, *add.out_emulators)] == [1, 2, 3, 4]
    for value in (1, 2, 3):
        one.put(value)
    for value in (10, 20, 30):
        two.put(value)
    first, second = add.out_emulators
    assert [first.get(), second.get(), first.get(), first.get(), second.get(), second.get()] == [11, 11, 22, 33, 22, 33]
    assert add(4, 40) == [44, 44]  # and calls continue from there
    with pytest.raises(DefinitionError, match="Exits 2 leads into the job"):
        two.get()
    with pytest.raises(DefinitionError, match="Exits 4 leads out of the job"):
        second.put(1)


def test_outputs_of_one_class_have_their_own_settings(alone: Any) -> None:
    add = alone(jobs.Add(inputs=[PicklePipe(1), PicklePipe(2)], outputs=[WithNew(3, "<"), WithNew(4, ">")]))
    assert add(1, 2) == [3, 3]


def test_heads_of_a_job(alone: Any) -> None:
    heads = alone(jobs.Heads(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]))
    heads.in_emulators[0].put_head(0b10000)
    heads.in_emulators[0].put(1)
    heads.in_emulators[0].put(0)  # its head is 0
    (out,) = heads.out_emulators
    assert out.get_head() == out.get_head() == 0b10001
    out.get()
    assert out.get_head() == 0


def test_a_source_computes_when_it_is_asked(alone: Any) -> None:
    count = alone(jobs.Count(outputs=[PicklePipe(1), PicklePipe(2)]))
    assert [count.out_emulators[0].get(), count.out_emulators[0].get(), count.out_emulators[1].get()] == [1, 2, 1]
    assert count() == [3, 2]  # each output has its own row of blocks
    assert count.out_emulators[1].get() == 3


def test_optional_pipes_of_a_source(alone: Any) -> None:
    last = alone(jobs.Last(inputs=[jobs.Gain(1)], outputs=[PicklePipe(2)]))
    last.in_emulators[0].put("a")
    assert last.out_emulators[0].get() == [("a",)]
    assert last.out_emulators[0].get() == [("a",)]
    assert last(("b", "c")) == [[("b",)]]
    assert last.out_emulators[0].get() == [("c",)]


def test_a_tuple_feeds_several_blocks(alone: Any) -> None:
    add = alone(jobs.Add(inputs=[PicklePipe(1), PicklePipe(2)], outputs=[PicklePipe(3)]))
    assert add((1, 2, 3), (10, 20, 30)) == [11]
    assert [add.out_emulators[0].get() for _ in range(2)] == [22, 33]
    assert add((4, 5), 40) == [44]  # the 5 waits for the other input
    add.in_emulators[1].put(50)
    assert add.out_emulators[0].get() == 55
    with pytest.raises(ValueFitError, match="a tuple is several blocks, but this one is empty"):
        add((), 1)


def test_a_tuple_for_blocks_at_once(alone: Any) -> None:
    total = alone(jobs.Sum(inputs=[jobs.Five(1)], outputs=[PicklePipe(2)]))
    assert total((1, 2, 3, 4, 5)) == [15]
    assert total((1, 1, 1, 1, 1, 2, 2, 2, 2, 2)) == [5]
    assert total.out_emulators[0].get() == 10
    with pytest.raises(ValueFitError, match=r"a sequence of BLOCK_COUNT values \(5\), but is a sequence of 3"):
        total((1, 2, 3))
    for value in (1, 2, 3, 4, 5):
        total.in_emulators[0].put(value)
    assert total.out_emulators[0].get() == 15


def test_a_sink_has_worked_off_all_of_a_tuple(alone: Any) -> None:
    with alone(CSVSinkJob("rows.csv", inputs=[PicklePipe(1), PicklePipe(2)])) as sink:
        assert sink((1, 2, 3), ("a", "b", "c")) == []
        assert Path(sink.cwd, "rows.csv").read_text().split() == ["pipe_1,pipe_2", "1,a", "2,b", "3,c"]


def test_a_tuple_in_a_tuple_is_a_value(alone: Any) -> None:
    keep = alone(jobs.Keep(inputs=[PicklePipe(1)]))
    keep(((1, 2),))
    assert Path(keep.cwd, "kept.txt").read_text().strip() == "(1, 2)"


def test_programs(alone: Any) -> None:
    program = alone(jobs.Program(inputs=[jobs.Bytes4(1)], outputs=[jobs.Bytes4(2)]))
    program.in_emulators[0].put(1000)
    assert program.out_emulators[0].get() == 1000
    assert program((1, 2)) == [1]
    assert program.out_emulators[0].get() == 2


# -- start=False ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["positional", "keyword", "emulate"])
def test_a_job_that_is_started_later(way: str, tmp_path: Path) -> None:
    """Its folder is there before, and what is put in waits; as is what is set at the job until then."""
    job = jobs.Keep(inputs=[PicklePipe(1)])
    if way == "positional":
        emulator = JobEmulator(job, "there", False)
    else:
        emulator = JobEmulator(job, root="there", start=False) if way == "keyword" else emulate(job, "there", start=False)
    with emulator:
        assert Path(emulator.cwd) == Path("there/1")
        assert "which is not started" in repr(emulator)
        with pytest.raises(DefinitionError, match=r"Keep 1 is not started; call the emulator's start\(\) first"):
            emulator(1)
        with pytest.raises(DefinitionError, match="is not started"):
            emulator.finish()
        Path(emulator.cwd, "kept.txt").write_text("before\n")
        emulator.in_emulators[0].put(6)
        emulator.start()
        emulator.start()
        emulator(7)
        assert Path(emulator.cwd, "kept.txt").read_text().split() == ["before", "6", "7"]
    with pytest.raises(JobFailed, match="its emulator was killed"):
        emulator.start()


def test_an_emulator_that_is_never_started_leaves_nothing() -> None:
    job = jobs.Count(outputs=[PicklePipe(1)])
    emulator = JobEmulator(job, start=False)
    with pytest.raises(DefinitionError, match="is not started"):
        emulator.out_emulators[0].get()
    emulator.kill()
    emulator.kill()
    with pytest.raises(JobFailed, match="its emulator was killed"):
        emulator()


def test_lines_are_typed(alone: Any) -> None:
    console = alone(InteractiveJob(outputs=[PicklePipe(1)]))
    assert console("a line") == ["a line"]


# -- the registry in tests --------------------------------------------------------------------------------------------


def test_the_registry_is_tidied_by_hand() -> None:
    """Tests did this between two jobs whose pipes have the same ids."""
    PicklePipe(9001)
    del PIPES[9001]
    pipe = JSONPipe(9001)  # of another class, which a pipe that is there would not allow
    assert (PIPES[9001], PIPES.pop(9001)) == (pipe, pipe)
    assert PIPES.pop(9001, None) is None
    PicklePipe(1)
    BaseNode("192.168.4.4")
    jobs.Count(outputs=[PicklePipe(2)])
    for view in (PIPES, NODES, JOBS, GROUPS):
        view.clear()
        assert not view
    with pytest.raises(KeyError):
        del PIPES[1]


# -- tests of a network of the old kind -------------------------------------------------------------------------------

NETWORK = {
    "net/config.py": """
        from fission.core.jobs import CSVSinkJob, InteractiveJob
        from fission.core.pipes import PicklePipe
        from net.jobs.jobs import JoinJob, ReduceJob, SourceJob
        from net.pipes.pipes import OperatorPipe, ReducePipe

        USER = "pi"
        JOBS = [
            InteractiveJob(outputs=[OperatorPipe(104)]),
            SourceJob(outputs=[PicklePipe(101)]),
            SourceJob(start=20, step=2, outputs=[PicklePipe(102)]),
            JoinJob(inputs=[OperatorPipe(104), PicklePipe(101), PicklePipe(102)], outputs=[ReducePipe(105), PicklePipe(204)]),
            ReduceJob(inputs=[ReducePipe(105)], outputs=[PicklePipe(301)]),
            CSVSinkJob(path="join.csv", inputs=[PicklePipe(204)]),
            CSVSinkJob(path="reduce.csv", inputs=[PicklePipe(301)]),
        ]
    """,
    "net/pipes/pipes.py": """
        from fission.core.pipes import OptionalPicklePipe, PicklePipe

        class ReducePipe(PicklePipe):
            BLOCK_COUNT = 5

        class OperatorPipe(OptionalPicklePipe):
            OPTIONAL_DEFAULT = "+"
    """,
    "net/jobs/jobs.py": """
        import time
        from fission.core.jobs import PythonJob

        class SourceJob(PythonJob):
            def __init__(self, start=1, step=1, delay=0.01, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.value, self.step, self.delay = start, step, delay

            def run(self):
                while True:
                    yield self.value
                    time.sleep(self.delay)
                    self.value += self.step

        class JoinJob(PythonJob):
            def run(self, operator, *args):
                return eval(operator.join(map(str, args))), operator

        class ReduceJob(PythonJob):
            def run(self, L):
                return sum(L)
    """,
    "net/tests/jobs/test_join.py": """
        import pytest
        from fission.core.base import PIPES, reset
        from fission.core.pipes import PicklePipe
        from fission.emulate import emulate
        from net.jobs.jobs import JoinJob

        @pytest.fixture(params=[8000, 9000])
        def offset(request):
            return request.param

        @pytest.fixture()
        def fission_test_job(offset):
            job = JoinJob(inputs=[PicklePipe(offset + n) for n in (1, 2, 3)], outputs=[PicklePipe(offset + n) for n in (4, 5)])
            yield job

        def test_from_config(fission_cfg, fission_cfg_jobs):
            assert fission_cfg.USER == "pi"
            job = fission_cfg_jobs(3)
            assert job("+", 1, 2) == [3, "+"]
            job("*", 3, 4)
            assert job("*", 3, 4) == [12, "*"]

        def test_custom(fission_test_emulator):
            assert fission_test_emulator("*", 6, 7) == [42, "*"]

        def test_pipe_by_pipe(fission_test_emulator):
            for emulator, value in zip(fission_test_emulator.in_emulators, ("-", 5, 3)):
                emulator.put(value)
            assert [emulator.get() for emulator in fission_test_emulator.out_emulators] == [2, "-"]

        def test_ids_again(fission_reset):
            first = emulate(PicklePipe(9001))
            first.put(1)
            assert first.get() == 1
            del PIPES[9001]
    """,
    "net/tests/jobs/test_reduce.py": """
        import pytest
        from fission.core.base import reset
        from fission.core.pipes import PicklePipe
        from net.jobs.jobs import ReduceJob
        from net.pipes.pipes import ReducePipe

        def test_from_config(fission_cfg_jobs):
            job = fission_cfg_jobs(4, path=".elsewhere")
            job((1, 2, 3, 4, 5))
            assert job((1, 2, 3, 4, 5)) == [15]

        @pytest.fixture(scope="module")
        def fission_test_job():
            job = ReduceJob(inputs=[ReducePipe(9001)], outputs=[PicklePipe(9002)])
            yield job
            reset()

        def test_custom(fission_test_emulator):
            assert fission_test_emulator((1, 2, 3, 4, 5)) == [15]

        def test_custom_again(fission_test_emulator):
            assert fission_test_emulator((6, 7, 8, 9, 10)) == [40]
    """,
    "net/tests/jobs/test_source.py": """
        import pytest

        @pytest.mark.slow
        def test_default(fission_cfg_jobs):
            job = fission_cfg_jobs(1)
            for number in range(1, 6):
                assert job() == [number]
            assert job.job.step == 1
    """,
}


@pytest.mark.slow
def test_a_networks_own_tests(fission: CommandLine) -> None:
    """The fixtures, a job of the config by its index, the test's own job, the marker: without ``--runslow`` one is left out."""
    from textwrap import dedent

    fission.project({name: dedent(text) for name, text in NETWORK.items()})
    assert "9 passed, 1 skipped" in fission.run("net", "test", exit_code=0, deadline_s=120).stdout
    assert "1 passed" in fission.run("net", "test", "--runslow", "-k", "test_default", exit_code=0, deadline_s=60).stdout
