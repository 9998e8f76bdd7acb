"""Every network of the documents, as printed there, in projects made by the real commands (see documents/README.md)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

import fission as fission_package
from tests.e2e.support import column, document, finish, printed, remains, rows, stop
from tests.waiting import CommandLine, Finished, Running, eventually, run_fission, start_fission

PYTHON_JOB = "from fission.core.jobs import PythonJob\n"
SOME_PIPE = "from fission.core.pipes import PicklePipe\n\nclass SomePipe(PicklePipe):\n    pass\n"


def write(root: Path, files: dict[str, str]) -> None:
    """Types files into a project. Only files and folders that the documents have the reader make are new."""
    for path, text in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


# -- example_1 and the tutorial: one project, as their readers have it ------------------------------------------------


def with_jobs(config: str, *blocks: str) -> str:
    """A config with another JOBS list; blocks that are no list are imports, and go to the beginning."""
    *imports, jobs = blocks
    assert jobs.startswith("JOBS = [")
    config = re.sub(r"^JOBS = \[\n.*?^\]\n", lambda _: jobs, config, count=1, flags=re.MULTILINE | re.DOTALL)
    return "".join(imports) + config


def tutorial_files() -> dict[str, str]:
    config = document("001_v1_config")
    own_source = "from demo_network_v1.jobs.jobs import SourceJob, ReduceJob, JoinJob"

    def version(number: int, jobs: str) -> str:
        """Version 1's config with the imports changed accordingly."""
        changed = config.replace(own_source, f"from shared.jobs.jobs import SourceJob\nfrom demo_network_v1.jobs.jobs import {jobs}")
        return changed.replace("demo_network_v1", f"demo_network_v{number}")

    files = {
        "example_1/jobs/jobs.py": "import time\n" + PYTHON_JOB + document("000_source_job", "000_middle_job"),
        "example_1/config.py": document("000_config"),
        "demo_network_v1/jobs/jobs.py": document("001_v1_source_job", "001_v1_join_job", "001_v1_reduce_job"),
        "demo_network_v1/pipes/pipes.py": document("001_v1_reduce_pipe"),
        "demo_network_v1/config.py": config,
        "shared/jobs/jobs.py": PYTHON_JOB + "import time\n\n" + document("003_v2_source_job"),
        "demo_network_v2/jobs/jobs.py": PYTHON_JOB + document("003_v2_join_job", "001_v1_reduce_job"),
        "demo_network_v2/pipes/pipes.py": document("001_v1_reduce_pipe"),
        "demo_network_v2/config.py": version(2, "ReduceJob, JoinJob"),
        "demo_network_v3/jobs/jobs.py": PYTHON_JOB + document("003_v2_join_job", "003_v3_reduce_job"),
        "demo_network_v3/pipes/pipes.py": document("001_v1_reduce_pipe"),
        "demo_network_v3/config.py": with_jobs(version(3, "ReduceJob, JoinJob"), document("003_v3_import"), document("003_v3_jobs")),
        "demo_network_v4/jobs/jobs.py": PYTHON_JOB + document("003_v4_join_and_reduce_job"),
        "demo_network_v4/pipes/pipes.py": document("003_v4_operator_pipe", "001_v1_reduce_pipe"),
        "demo_network_v4/config.py": with_jobs(
            version(4, "ReduceJob, JoinJob"),
            document("003_v3_import"),
            "from fission.core.jobs import InteractiveJob\nfrom demo_network_v4.pipes.pipes import OperatorPipe\n",
            document("003_v4_jobs"),
        ),
    }
    assert files["demo_network_v3/config.py"].count("CSVSinkJob(") == 2
    assert files["demo_network_v4/config.py"].count("OperatorPipe(104)") == 2
    return files


NETWORKS = ("example_1", "demo_network_v1", "demo_network_v2", "demo_network_v3", "demo_network_v4")


@dataclass(frozen=True)
class Tutorial:
    """All networks of the tutorial, simulated at the same time and stopped by Ctrl-C once each had what is looked at."""

    root: Path
    done: dict[str, Finished]

    def printed(self, network: str, job: str) -> list[str]:
        return printed(self.done[network].stdout, job)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tutorial]:
    folder = tmp_path_factory.mktemp("tutorial")
    run_fission(("startproject", "project"), folder, exit_code=0)
    root = folder / "project"
    for name in NETWORKS:
        run_fission((name, "startnetwork"), root, exit_code=0)
    write(root, tutorial_files())
    with ExitStack() as stack:
        clients = {name: stack.enter_context(start_fission((name, "simulate"), root)) for name in NETWORKS}
        wait_for_lines(root, clients)
        done = {name: client.wait(exit_code=130) for name, client in interrupted(clients)}
    eventually(lambda: not remains(root), 2, lambda: "; ".join(remains(root)))
    return Tutorial(root, done)


def interrupted(clients: dict[str, Running]) -> list[tuple[str, Running]]:
    for client in clients.values():
        client.interrupt()
    return list(clients.items())


def wait_for_lines(root: Path, clients: dict[str, Running]) -> None:
    """The sources of the tutorial sleep for 1 s between values and never end, so everything is awaited, the fifth value last."""
    clients["demo_network_v4"].wait_for("JoinJob 5] 1+20+1 = 22")
    clients["demo_network_v4"].send_line("*")
    clients["demo_network_v4"].wait_for(re.compile(r"JoinJob 5] \S+\*\S+\*\S+ = "))
    clients["demo_network_v4"].send_line("?")
    clients["demo_network_v4"].wait_for("Operator ? is not valid.")
    clients["demo_network_v1"].wait_for("ReduceJob 5] 5 -> Sum")
    clients["demo_network_v2"].wait_for("ReduceJob 5] 5 -> Sum")
    clients["demo_network_v3"].wait_for("ReduceJob 5] 5 -> Sum")
    clients["demo_network_v4"].wait_for("ReduceJob 6] Sum over")
    for network, job in (("demo_network_v3", 6), ("demo_network_v4", 7)):
        eventually(lambda path=root / network / f"simulation/{job}/join.csv": len(rows(path)) > 5, 5, f"five rows of {network}")
        eventually(lambda path=root / network / f"simulation/{job + 1}/reduce.csv": len(rows(path)) > 1, 5, f"a sum of {network}")


def test_example_1(tutorial: Tutorial) -> None:
    source, middle = tutorial.printed("example_1", "SourceJob 1"), tutorial.printed("example_1", "MiddleJob 2")
    assert source[:3] == ["SourceJob: 0", "SourceJob: 1", "SourceJob: 2"]
    assert middle[:3] == ["MiddleJob: 0", "MiddleJob: 1", "MiddleJob: 2"]
    table = rows(tutorial.root / "example_1/simulation/3/test.csv")
    assert table[:4] == [["pipe_2"], ["0"], ["1"], ["2"]]


@pytest.mark.parametrize("version", [1, 2])
def test_tutorial_versions_1_and_2(tutorial: Tutorial, version: int) -> None:
    network = f"demo_network_v{version}"
    for job in (1, 2, 3):
        assert tutorial.printed(network, f"SourceJob {job}")[:5] == [f"{job} -> {value}" for value in range(1, 6)]
    assert tutorial.printed(network, "JoinJob 4")[:5] == [f"4 -> {value**3}" for value in range(1, 6)]
    assert tutorial.printed(network, "ReduceJob 5")[0] == "5 -> Sum over [1, 8, 27, 64, 125] is 225"


def test_tutorial_version_3(tutorial: Tutorial) -> None:
    folder = tutorial.root / "demo_network_v3/simulation"
    join, reduced = rows(folder / "6/join.csv"), rows(folder / "7/reduce.csv")
    assert join[:6] == [["pipe_201", "pipe_202", "pipe_203", "pipe_205"], *([str(k), str(k), str(k), str(k**3)] for k in range(1, 6))]
    assert reduced[:2] == [["pipe_301"], ["225"]]
    assert tutorial.printed("demo_network_v3", "ReduceJob 5")[0] == "5 -> Sum over [1, 8, 27, 64, 125] is 225"


def test_tutorial_version_4(tutorial: Tutorial) -> None:
    join = rows(tutorial.root / "demo_network_v4/simulation/7/join.csv")
    reduced = rows(tutorial.root / "demo_network_v4/simulation/8/reduce.csv")
    assert join[:2] == [["pipe_201", "pipe_202", "pipe_203", "pipe_204", "pipe_205"], ["1", "20", "1", "22", "+"]]
    operators = [row[4] for row in join[1:]]
    assert operators == sorted(operators, key=["+", "*", "?"].index)  # each held until the next one came
    results: list[int | None] = []
    for number, (first, second, third, result, operator) in enumerate(join[1:]):
        assert (first, second, third) == (str(1 + number), str(20 + 2 * number), str(1 - number))
        assert result == ("error" if operator == "?" else str(eval(operator.join((first, second, third)))))
        results.append(None if operator == "?" else int(result))
    numbers = [value for value in results if value is not None]
    five = [value for value in results[:5] if value is not None]
    assert numbers[0] == 22
    assert reduced[:2] == [["pipe_301"], [str(sum(five))]]
    expected = ["Dropped strings."] * (len(five) < 5) + [f"Sum over {five} = {sum(five)}"]
    assert tutorial.printed("demo_network_v4", "ReduceJob 6")[: len(expected)] == expected


# -- the jobs of "Implementing Jobs" ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the networks of document 002, as `startnetwork` makes them."""
    folder = tmp_path_factory.mktemp("documents")
    run_fission(("startproject", "project"), folder, exit_code=0)
    for name in ("my_network", "mynetwork"):
        run_fission((name, "startnetwork"), folder / "project", exit_code=0)
    return folder / "project"


Simulate = Callable[..., Finished]


@pytest.fixture
def simulate(fresh_project: Path, tmp_path: Path, fission: CommandLine) -> Simulate:
    """Types files into a copy of the fresh project and simulates the network to its end, which must be a good one."""
    root = tmp_path / "project"
    shutil.copytree(fresh_project, root)
    fission.root = root

    def run(files: dict[str, str], network: str = "my_network") -> Finished:
        write(root, files)
        client = fission.start(network, "simulate")
        client.end_input()
        done = finish(client, root, exit_code=0)
        assert f"{network}: finished" in done.stdout
        return done

    return run


def results(fission: CommandLine, job: int, network: str = "my_network", file: str = "result.csv") -> list[list[str]]:
    return rows(fission.root / network / f"simulation/{job}/{file}")


COUNT_JOBS = ("002_count_job_method", "002_count_job_generator")
SUM_JOBS = ("002_sum_job_two_arguments", "002_sum_job_any_arguments")


@pytest.mark.parametrize("count_job", COUNT_JOBS)
@pytest.mark.parametrize("sum_job", SUM_JOBS)
def test_count_job_and_sum_job(simulate: Simulate, fission: CommandLine, count_job: str, sum_job: str) -> None:
    config = f"""
from fission.core.jobs import CSVSinkJob
from my_network.jobs.jobs import CountJob, SumJob
from my_network.pipes.pipes import SomePipe

JOBS = [
{textwrap.indent(document("002_count_job_definition").rstrip(), "    ")},
    SumJob(inputs=[SomePipe(1), SomePipe(2)], outputs=[SomePipe(3)]),
    CSVSinkJob(path="result.csv", inputs=[SomePipe(3)]),
]
"""
    files = {
        "my_network/jobs/jobs.py": PYTHON_JOB + document(count_job, sum_job),
        "my_network/pipes/pipes.py": SOME_PIPE,
        "my_network/config.py": config,
    }
    done = simulate(files)
    assert column(fission.root / "my_network/simulation/3/result.csv") == [2 * value for value in range(1, 31)]
    assert results(fission, 3)[0] == ["pipe_3"]
    assert done.stdout.count("30 compute blocks") == 3


@pytest.mark.parametrize("count_job", COUNT_JOBS)
def test_count_job_alone(simulate: Simulate, fission: CommandLine, count_job: str) -> None:
    config = """
from fission.core.jobs import CSVSinkJob
from my_network.jobs.jobs import CountJob
from my_network.pipes.pipes import SomePipe
JOBS = [CountJob(outputs=[SomePipe(1)]), CSVSinkJob(path="result.csv", inputs=[SomePipe(1)])]
"""
    simulate(
        {
            "my_network/jobs/jobs.py": PYTHON_JOB + document(count_job),
            "my_network/pipes/pipes.py": SOME_PIPE,
            "my_network/config.py": config,
        }
    )
    assert column(fission.root / "my_network/simulation/2/result.csv") == list(range(1, 31))


def test_count_job_with_a_tuple_for_two_outputs(simulate: Simulate, fission: CommandLine) -> None:
    config = f"""
from fission.core.jobs import CSVSinkJob
from my_network.jobs.jobs import CountJob
from my_network.pipes.pipes import SomePipe

JOBS = [
{textwrap.indent(document("002_count_job_definition").rstrip(), "    ")},
    CSVSinkJob(path="result.csv", inputs=[SomePipe(1), SomePipe(2)]),
]
"""
    simulate(
        {
            "my_network/jobs/jobs.py": PYTHON_JOB + document("002_count_job_two_outputs"),
            "my_network/pipes/pipes.py": SOME_PIPE,
            "my_network/config.py": config,
        }
    )
    assert results(fission, 2) == [["pipe_1", "pipe_2"], *([str(up), str(31 - up)] for up in range(1, 31))]


@pytest.mark.parametrize("name", ["MultiplySumJob", "LocalMultiplySumJob"])
def test_multiply_sum_job(simulate: Simulate, fission: CommandLine, name: str) -> None:
    definition = document("002_multiply_sum_job_definition").rstrip().replace("MultiplySumJob", name)
    config = f"""
from fission.core.jobs import CSVSinkJob
from my_network.jobs.jobs import CountJob, {name}
from my_network.pipes.pipes import SomePipe

JOBS = [
    CountJob(outputs=[SomePipe(1), SomePipe(2), SomePipe(3)]),
{textwrap.indent(definition, "    ")},
    CSVSinkJob(path="result.csv", inputs=[SomePipe(4)]),
]
"""
    jobs = document("002_count_job_generator", "002_multiply_sum_job", "002_local_multiply_sum_job")
    simulate({"my_network/jobs/jobs.py": PYTHON_JOB + jobs, "my_network/pipes/pipes.py": SOME_PIPE, "my_network/config.py": config})
    assert column(fission.root / "my_network/simulation/3/result.csv") == [value * (value + value) for value in range(1, 31)]


def test_order_of_inputs_matters(simulate: Simulate, fission: CommandLine) -> None:
    """Id 1 multiplies the sum over 2 and 3; ids 2 and 3 are not its multiplier."""
    config = f"""
from fission.core.jobs import CSVSinkJob
from my_network.jobs.jobs import CountJob, MultiplySumJob
from my_network.pipes.pipes import SomePipe

JOBS = [
    CountJob(outputs=[SomePipe(1), SomePipe(2), SomePipe(3)]),
{textwrap.indent(document("002_multiply_sum_job_definition").rstrip(), "    ")},
    CSVSinkJob(path="result.csv", inputs=[SomePipe(4)]),
]
"""
    count = document("002_count_job_two_outputs").replace("yield (i, 31 - i)", "yield (i, 31 - i, 100 * i)")
    files = {
        "my_network/jobs/jobs.py": PYTHON_JOB + count + "\n" + document("002_multiply_sum_job"),
        "my_network/pipes/pipes.py": SOME_PIPE,
        "my_network/config.py": config,
    }
    simulate(files)
    assert column(fission.root / "my_network/simulation/3/result.csv") == [i * (31 - i + 100 * i) for i in range(1, 31)]


def test_my_job_with_a_file_from_init_to_setup(simulate: Simulate, fission: CommandLine) -> None:
    jobs = (
        PYTHON_JOB
        + document("002_my_job_with_file")
        + """
class ReadingJob(MyJob):
    DEPENDENCIES = "my_network/source"

    def run(self):
        line = self.my_file.readline().strip()
        if line == "last":
            self.finish()
        return line
"""
    )
    config = """
from fission.core.jobs import CSVSinkJob
from fission.core.pipes import PicklePipe
from my_network.jobs.jobs import ReadingJob
JOBS = [ReadingJob("lines.txt", outputs=[PicklePipe(1)]), CSVSinkJob(path="result.csv", inputs=[PicklePipe(1)])]
"""
    simulate({"my_network/jobs/jobs.py": jobs, "my_network/config.py": config, "my_network/source/lines.txt": "first\nsecond\nlast\n"})
    assert results(fission, 2) == [["pipe_1"], ["first"], ["second"], ["last"]]


def test_my_job_with_a_directory_and_a_module_as_dependencies(simulate: Simulate, fission: CommandLine) -> None:
    """The document leaves the body of `run` to the reader."""
    body = '        with open("factor.txt") as file:\n            return mymodule.scaled(a + b, int(file.read()))\n'
    jobs = PYTHON_JOB + document("002_my_job_with_dependencies") + body + "\n" + document("002_count_job_generator")
    config = """
from fission.core.jobs import CSVSinkJob
from fission.core.pipes import PicklePipe
from mynetwork.jobs.jobs import CountJob, MyJob
JOBS = [
    CountJob(outputs=[PicklePipe(1), PicklePipe(2)]),
    MyJob(inputs=[PicklePipe(1), PicklePipe(2)], outputs=[PicklePipe(3)]),
    CSVSinkJob(path="result.csv", inputs=[PicklePipe(3)]),
]
"""
    files = {
        "mynetwork/job/mymodule.py": "def scaled(value, factor):\n    return value * factor\n",
        "mynetwork/jobs/jobs.py": jobs,
        "mynetwork/config.py": config,
        "a/directory/factor.txt": "7\n",
        "a/directory/deeper/other.txt": "",
    }
    simulate(files, "mynetwork")
    assert column(fission.root / "mynetwork/simulation/3/result.csv") == [14 * value for value in range(1, 31)]
    assert (fission.root / "mynetwork/simulation/2/deeper/other.txt").exists()


def test_class_attribute_loaded_into_the_object(simulate: Simulate, fission: CommandLine) -> None:
    jobs = (
        PYTHON_JOB
        + document("002_my_job_with_attribute")
        + """
class TellingJob(MyJob):
    def run(self):
        self.finish()
        return [self.MY_ATTRIBUTE, self.my_attribute, sorted(name for name in vars(self) if name.lower() == "my_attribute")]
"""
    )
    config = """
from fission.core.jobs import CSVSinkJob
from fission.core.pipes import PicklePipe
from my_network.jobs.jobs import TellingJob
JOBS = [TellingJob(outputs=[PicklePipe(1)]), CSVSinkJob(path="result.csv", inputs=[PicklePipe(1)])]
"""
    simulate({"my_network/jobs/jobs.py": jobs, "my_network/config.py": config})
    assert results(fission, 2)[1:] == [["['MY_VALUE', 'MY_VALUE', ['MY_ATTRIBUTE', 'my_attribute']]"]]


def test_one_tuple_for_all_outputs(simulate: Simulate, fission: CommandLine) -> None:
    body = textwrap.indent(document("002_tuple_to_all"), "        ")
    single = document("002_tuple_to_all").replace("return tuple([(my_tuple)] * len(self.outputs))", "return (my_tuple,)")
    jobs = f"""{PYTHON_JOB}
class TupleJob(PythonJob):
    def run(self):
        self.finish()
{body}

class SingleTupleJob(PythonJob):
    def run(self, value):
{textwrap.indent(single, "        ")}
"""
    config = """
from fission.core.jobs import CSVSinkJob
from fission.core.pipes import PicklePipe
from my_network.jobs.jobs import SingleTupleJob, TupleJob
JOBS = [
    TupleJob(outputs=[PicklePipe(1), PicklePipe(2)]),
    SingleTupleJob(inputs=[PicklePipe(1)], outputs=[PicklePipe(3)]),
    CSVSinkJob(path="result.csv", inputs=[PicklePipe(3), PicklePipe(2)]),
]
"""
    simulate({"my_network/jobs/jobs.py": jobs, "my_network/config.py": config})
    assert results(fission, 3)[1:] == [["()", "()"]]


def test_head_operations(simulate: Simulate, fission: CommandLine) -> None:
    """Every operation on heads that 002 names, on the heads of a running job: and, or, xor, shifts, invert, index, slice, set."""
    jobs = (
        PYTHON_JOB
        + document("002_count_job_generator")
        + """
class MarkJob(PythonJob):
    HEAD = True

    def run(self, value):
        seen = self.in_heads[0]
        assert self.head == seen and self.out_heads == [None, None]
        if value == 2:
            self.head[4] = True
        if value == 3:
            self.out_heads[1] = self.head | 0b00000101
        return value

class SeeJob(PythonJob):
    HEAD = True

    def head_reduce(self):
        return self.in_heads[0] ^ self.in_heads[1]

    def run(self, a, b):
        first, second = self.in_heads
        if a == 30:
            assert first[2] and second[2]
        try:
            second[1] = True
        except ValueError:
            reserved = "reserved"
        return [a, int(first), int(second), int(self.head), int(first & second), int(first | second), int(first << 1),
                int(second >> 2), int(~first), second[7], int(second[5:8]), reserved]
"""
    )
    config = """
from fission.core.jobs import CSVSinkJob
from fission.core.pipes import PicklePipe
from my_network.jobs.jobs import CountJob, MarkJob, SeeJob
JOBS = [
    CountJob(outputs=[PicklePipe(1)]),
    MarkJob(inputs=[PicklePipe(1)], outputs=[PicklePipe(2), PicklePipe(3)]),
    SeeJob(inputs=[PicklePipe(2), PicklePipe(3)], outputs=[PicklePipe(4)]),
    CSVSinkJob(path="result.csv", inputs=[PicklePipe(4)]),
]
"""
    simulate({"my_network/jobs/jobs.py": jobs, "my_network/config.py": config})
    seen = [eval(row[0]) for row in results(fission, 4)[1:]]
    assert len(seen) == 30
    reset = 0b01000000
    assert seen[0] == [1, reset, reset, 0, reset, reset, 128, 16, 255 - reset, False, 0, "reserved"]
    assert seen[1] == [2, 8, 8, 0, 8, 8, 16, 2, 247, False, 0, "reserved"]
    assert seen[2] == [3, 0, 5, 5, 0, 5, 0, 1, 255, True, 5, "reserved"]
    finished = 0b00100000
    assert seen[29] == [30, finished, finished, 0, finished, finished, 64, 8, 255 - finished, False, 0, "reserved"]


# -- executables ------------------------------------------------------------------------------------------------------

#: Takes the printed arguments and adds the value of --my_addition to each number that it reads.
MY_EXECUTABLE = """#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        --my_addition) addition=$2; shift 2 ;;
        --parameters) parameters=yes; shift ;;
        --input) input=$2; shift 2 ;;
        --output|--outputs) output=$2; shift 2 ;;
        *) echo "what is $1?" >&2; exit 2 ;;
    esac
done
echo "adds $addition, parameters: $parameters"
while read -r number; do echo $((number + addition)); done <"$input" >"$output"
"""
EXECUTABLE_JOBS = "from fission.core.jobs import ExecutableJob, PythonJob\n"
DYNAMIC = document("002_dynamic_executable_job").replace("    ...\n", "    inputs=[JSONPipe(1)],\n    outputs=[JSONPipe(2)],\n")
ADD_2 = "--my_addition 2 --parameters"


@pytest.mark.parametrize(
    ("job_class", "entry"),
    [
        ("002_my_executable_job", "MyExecutableJob(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)])"),
        ("002_my_executable_job_with_params", f"MyExecutableJob('{ADD_2}', inputs=[JSONPipe(1)], outputs=[JSONPipe(2)])"),
        ("002_my_executable_job_with_params", f"MyExecutableJob(params='{ADD_2}', inputs=[JSONPipe(1)], outputs=[JSONPipe(2)])"),
        ("002_my_executable_job", DYNAMIC.rstrip()),
    ],
    ids=["class", "params", "params by name", "dynamic"],
)
def test_my_executable_job(simulate: Simulate, fission: CommandLine, job_class: str, entry: str) -> None:
    config = f"""
from fission.core.jobs import CSVSinkJob, DynamicExecutableJob
from fission.core.pipes import JSONPipe
from my_network.jobs.jobs import CountJob, MyExecutableJob

JOBS = [
    CountJob(outputs=[JSONPipe(1)]),
{textwrap.indent(entry, "    ")},
    CSVSinkJob(path="result.csv", inputs=[JSONPipe(2)]),
]
"""
    executable = fission.root / "my_network/source/my_executable_job/my_executable"
    write(fission.root, {str(executable): MY_EXECUTABLE})
    executable.chmod(0o755)
    jobs = EXECUTABLE_JOBS + document("002_count_job_generator", job_class)
    done = simulate({"my_network/jobs/jobs.py": jobs, "my_network/config.py": config})
    assert column(fission.root / "my_network/simulation/3/result.csv") == list(range(3, 33))
    name = "DynamicExecutableJob 2" if entry.startswith("Dynamic") else "MyExecutableJob 2"
    assert printed(done.stdout, name) == ["adds 2, parameters: yes"]


# -- classes of "Controlling allocation" ------------------------------------------------------------------------------


def test_classes_that_control_allocation(simulate: Simulate, fission: CommandLine) -> None:
    """Groups and nodes are nothing to a simulation: the jobs run here."""
    jobs = PYTHON_JOB + document("003_default_node", "003_mix_in", "002_count_job_generator")
    jobs += """
class SpokenJob(MicMixIn, PythonJob):
    def run(self, value):
        return -value
"""
    groups = "from fission.core.nodes import BaseNode\n" + PYTHON_JOB + document("003_groups", "003_groups_in_order")
    groups += """
class GroupedJob(MyJob):
    def run(self, value):
        return 10 * value
"""
    config = """
from fission.core.jobs import CSVSinkJob
from fission.core.pipes import PicklePipe
from my_network.jobs.jobs import CountJob, MyJob, SpokenJob
from my_network.jobs.grouped import GroupedJob, MyNode

assert MyJob.DEFAULT_NODE == SpokenJob.DEFAULT_NODE == "192.168.4.4" and SpokenJob.GROUPS == "HAS_MIC"
JOBS = [
    CountJob(outputs=[PicklePipe(1)]),
    SpokenJob(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    GroupedJob(inputs=[PicklePipe(2)], outputs=[PicklePipe(3)]),
    CSVSinkJob(path="result.csv", inputs=[PicklePipe(3)]),
]
NODES = [MyNode("192.168.4.4")]
"""
    simulate({"my_network/jobs/jobs.py": jobs, "my_network/jobs/grouped.py": groups, "my_network/config.py": config})
    assert column(fission.root / "my_network/simulation/4/result.csv") == [-10 * value for value in range(1, 31)]


def test_for_seconds_on_a_network_that_never_ends(tutorial: Tutorial, fission: CommandLine) -> None:
    """`--for` is a good end: exit code 0."""
    done = fission.run("example_1", "simulate", "--for", "0.4", cwd=tutorial.root, exit_code=0)
    assert printed(done.stdout, "SourceJob 1")[0] == "SourceJob: 0"


def test_manage_py_is_the_same_command(tutorial: Tutorial, fission: CommandLine) -> None:
    """`python3 manage.py example_1 simulate`, stopped by Ctrl-C as the document says."""
    with start_manage(tutorial.root, "example_1", "simulate") as client:
        client.wait_for("[MiddleJob 2] MiddleJob: 0")
        stop(client, tutorial.root)


def start_manage(root: Path, *args: str) -> Running:
    """As `start_fission`, but by `python3 manage.py`, as the documents write it."""
    path = os.pathsep.join(filter(None, [str(Path(fission_package.__path__[0]).parent), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "manage.py", *args],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    return Running(args, process, None)
