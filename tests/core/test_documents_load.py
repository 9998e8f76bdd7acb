"""The classes and JOBS lists of the published documents load as they are printed there, and make networks without faults.

Running them is the matter of other tests. Where a document leaves out an import or has lost its indentation, that alone was added.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from fission.core.base import JOBS, PIPES, current
from fission.core.jobs import CSVSinkJob, DynamicExecutableJob, LocalJob, PythonJob
from fission.core.network import Network

IMPORTS = """
import time
from functools import reduce
from fission.core.jobs import *
from fission.core.nodes import BaseNode, MultiNode
from fission.core.pipes import PicklePipe, OptionalPicklePipe
"""

EXAMPLE_1 = """
class SourceJob(PythonJob):
    def run(self):
        value = 0
        while True:
            print(f"SourceJob: {value}")
            yield tuple([value])
            time.sleep(1)
            value += 1

class MiddleJob(PythonJob):
    def run(self, value):
        print(f"MiddleJob: {value}")
        return tuple([value])

JOBS = [
    SourceJob(
        outputs=[
            PicklePipe(1),
        ]
    ),
    MiddleJob(
        inputs=[
            PicklePipe(1),
        ],
        outputs=[
            PicklePipe(2),
        ]
    ),
    CSVSinkJob(
        path="test.csv",
        inputs=[
            PicklePipe(2),
        ]
    )
]

NODES = [
    BaseNode("192.168.0.30"),
    BaseNode("192.168.0.28"),
    BaseNode("192.168.0.29"),
]
"""

SOURCE_V1 = """
class SourceJob(PythonJob):
    def run(self):
        value = 1
        while True:
            print(f"{self.id} -> {value}")
            yield value
            time.sleep(1)
            value += 1
"""

REDUCE_V1 = """
class ReduceJob(PythonJob):
    def run(self, L):
        result = sum(L)
        print(f"{self.id} -> Sum over {L} is {result}")

class ReducePipe(PicklePipe):
    BLOCK_COUNT = 5
"""

JOIN_V1 = """
class JoinJob(PythonJob):
    def run(self, in_1, in_2, in_3):
        result = in_1 * in_2 * in_3
        print(f"{self.id} -> {result}")
        return result
"""

JOBS_V1 = """
JOBS = [
    SourceJob(
        outputs=[
            PicklePipe(101),
        ]
    ),
    SourceJob(
        outputs=[
            PicklePipe(102),
        ]
    ),
    SourceJob(
        outputs=[
            PicklePipe(103),
        ]
    ),
    JoinJob(
        inputs=[
            PicklePipe(101),
            PicklePipe(102),
            PicklePipe(103),
        ],
        outputs=[
            ReducePipe(105),
        ]
    ),
    ReduceJob(
        inputs=[
            ReducePipe(105),
        ]
    ),
]
"""

SOURCE_V2 = """
class SourceJob(PythonJob):
    def __init__(self, start=1, step=1,*args, **kwargs):
        super().__init__(*args, **kwargs)
        self.value = start
        self.step = step

    def run(self):
        while True:
            print(f"{self.id} -> {self.value}")
            yield self.value
            time.sleep(1)
            self.value += self.step
"""

JOIN_V2 = """
class JoinJob(PythonJob):
    def run(self, *args):
        result = reduce(lambda x, y: x*y, args)
        print(f"{self.id} -> {result}")
        return result
"""

REDUCE_V3 = """
class ReduceJob(PythonJob):
    def run(self, L):
        result = sum(L)
        print(f"{self.id} -> Sum over {L} is {result}")
        return result

class ReducePipe(PicklePipe):
    BLOCK_COUNT = 5
"""

JOBS_V3 = """
JOBS = [
    SourceJob(
        outputs=[
            PicklePipe(101),
            PicklePipe(201),
        ]
    ),
    SourceJob(
        outputs=[
            PicklePipe(102),
            PicklePipe(202),
        ]
    ),
    SourceJob(
        outputs=[
            PicklePipe(103),
            PicklePipe(203),
        ]
    ),
    JoinJob(
        inputs=[
            PicklePipe(101),
            PicklePipe(102),
            PicklePipe(103),
        ],
        outputs=[
            ReducePipe(105),
            PicklePipe(205),
        ]
    ),
    ReduceJob(
        inputs=[
            ReducePipe(105),
        ],
        outputs=[
            PicklePipe(301),
        ]
    ),
    CSVSinkJob(
        path="join.csv",
        inputs=[
            PicklePipe(201),
            PicklePipe(202),
            PicklePipe(203),
            PicklePipe(205),
        ]
    ),
    CSVSinkJob(
        path="reduce.csv",
        inputs=[
            PicklePipe(301),
        ]
    ),
]
"""

JOIN_V4 = """
class OperatorPipe(OptionalPicklePipe):
    OPTIONAL_DEFAULT = "+"
    OPTIONAL_STORE = True
    OPTIONAL_BUFFER_SIZE = 0
    OPTIONAL_DELETE_MODE = 'oldest'

class JoinJob(PythonJob):
    def run(self, operator, *args):
        try:
            args = [str(arg) for arg in args]
            operation = operator.join(args)
            result = eval(operator.join(args))
            print(operation, "=", result)
        except:
            print(f"Operator {operator} is not valid.")
            result = "error"

        return (result, result, operator)

class ReduceJob(PythonJob):
    def run(self, L):
        _L = [value for value in L if not isinstance(value, str)]
        if len(_L) != len(L):
            print("Dropped strings.")
        result = sum(_L)
        print(f"Sum over {_L} = {result}")
        return result

class ReducePipe(PicklePipe):
    BLOCK_COUNT = 5
"""

JOBS_V4 = """
JOBS = [
    InteractiveJob(
        outputs=[
            OperatorPipe(104),
        ]
    ),
    SourceJob(
        outputs=[
            PicklePipe(101),
            PicklePipe(201),
        ]
    ),
    SourceJob(
        start=20,
        step=2,
        outputs=[
            PicklePipe(102),
            PicklePipe(202),
        ]
    ),
    SourceJob(
        step=-1,
        outputs=[
            PicklePipe(103),
            PicklePipe(203),
        ]
    ),
    JoinJob(
        inputs=[
            OperatorPipe(104),
            PicklePipe(101),
            PicklePipe(102),
            PicklePipe(103),
        ],
        outputs=[
            ReducePipe(105),
            PicklePipe(204),
            PicklePipe(205),
        ]
    ),
    ReduceJob(
        inputs=[
            ReducePipe(105),
        ],
        outputs=[
            PicklePipe(301),
        ]
    ),
    CSVSinkJob(
        path="join.csv",
        inputs=[
            PicklePipe(201),
            PicklePipe(202),
            PicklePipe(203),
            PicklePipe(204),
            PicklePipe(205),
        ]
    ),
    CSVSinkJob(
        path="reduce.csv",
        inputs=[
            PicklePipe(301),
        ]
    )
]
"""

JOB_CLASSES = """
class SomePipe(PicklePipe):
    pass

class MyJob(PythonJob):
    MY_ATTRIBUTE = "MY_VALUE"
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # safe it into the object
        self.MY_ATTRIBUTE = self.MY_ATTRIBUTE
        # or rename it while saving it into the object
        self.my_attribute = self.MY_ATTRIBUTE
    def run(self):
        pass

class PathJob(PythonJob):
    def __init__(self, my_path, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.my_path = my_path
    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.my_file = open(self.my_path, "r")
    def run(self):
        pass

class CountMethodJob(PythonJob):
    HEAD = True
    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.counter = 0
        self.limit = 30
    def run(self):
        self.counter += 1
        if self.counter == self.limit:
            self.finish()
        return self.counter

class CountGeneratorJob(PythonJob):
    HEAD = True
    def run(self):
        for i in range(1, 31):
            if i == 30:
                self.finish()
            yield i

class CountJob(PythonJob):
    HEAD = True
    def run(self):
        for i in range(1, 31):
            if i == 30:
                self.finish()
            yield (i, 31 - i)

class SumTwoJob(PythonJob):
    def run(self, in_1, in_2):
        return in_1 + in_2

class SumJob(PythonJob):
    def run(self, *args):
        return sum(args)

class MultiplySumJob(PythonJob):
    def run(self, multiplier, *args):
        return multiplier * sum(args)

class LocalMultiplySumJob(LocalJob, MultiplySumJob):
    def run(self, multiplier, *args):
        return multiplier * sum(args)

class MyExecutableJob(ExecutableJob):
    EXECUTABLE = "./my_executable"
    DEPENDENCIES = "my_network/source/my_executable_job"
    PARAMETERS = "--my_addition 2 --parameters"
    INPUT_FLAG = '--input'
    OUTPUTS_FLAG = '--output'

class MyParametersJob(ExecutableJob):
    EXECUTABLE = "./my_executable"
    DEPENDENCIES = "my_network/source/my_executable_job"
    INPUT_FLAG = '--input'
    OUTPUTS_FLAG = '--outputs'
    def __init__(self, params='', **kwargs):
        super().__init__(**kwargs)
        self.PARAMETERS = params

class MyNode(BaseNode):
    GROUPS = ["HAS_MIC", "ALL"]

class DefaultNodeJob(PythonJob):
    DEFAULT_NODE = "192.168.4.4" # Set the nodes ip here

class GroupsJob(PythonJob):
    GROUPS = ["HAS_MIC", "ALL"]

class MicMixIn():
    DEFAULT_NODE =  "192.168.4.4"
    GROUPS = "HAS_MIC"

class NeedsMicJob1(MicMixIn, PythonJob):
    def run():
        # ...
        pass
"""

DEPENDENCIES = """
import mynetwork.job.mymodule as mymodule

class MyJob(PythonJob):
    DEPENDENCIES = ["a/directory/", mymodule]
    def run(self, a, b):
        pass
"""

NETWORKS = {
    "example_1": EXAMPLE_1,
    "demo_network_v1": SOURCE_V1 + JOIN_V1 + REDUCE_V1 + JOBS_V1,
    "demo_network_v2": SOURCE_V2 + JOIN_V2 + REDUCE_V1 + JOBS_V1,
    "demo_network_v3": SOURCE_V2 + JOIN_V2 + REDUCE_V3 + JOBS_V3,
    "demo_network_v4": SOURCE_V2 + JOIN_V4 + JOBS_V4,
}


def load(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "printed"}
    exec(compile(IMPORTS + text, "printed.py", "exec"), names)
    return names


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str) -> None:
    names = load(NETWORKS[name])
    assert list(JOBS.values()) == names["JOBS"]
    assert [job.id for job in names["JOBS"]] == list(range(1, len(names["JOBS"]) + 1))
    network = Network.from_registry(name, current())
    assert network.check() == []
    assert network.warnings() == []


def test_demo_network_v4_ends_without_its_console() -> None:
    load(NETWORKS["demo_network_v4"])
    assert Network.from_registry("v4", current()).required == {2, 3, 4, 5, 6, 7, 8}


def test_the_csv_files_of_version_3_are_in_the_printed_folders() -> None:
    load(NETWORKS["demo_network_v3"])
    assert {job.id: job.path for job in JOBS.values() if isinstance(job, CSVSinkJob)} == {6: "join.csv", 7: "reduce.csv"}


def test_arguments_of_the_shared_source_job() -> None:
    load(NETWORKS["demo_network_v4"])
    assert [(job.value, job.step) for job in JOBS.values() if type(job).__name__ == "SourceJob"] == [(1, 1), (20, 2), (1, -1)]  # type: ignore[attr-defined]


def test_job_classes_of_the_documents() -> None:
    names = load(JOB_CLASSES)
    some = names["SomePipe"]
    assert names["MyJob"]().my_attribute == "MY_VALUE"
    assert names["PathJob"]("a/path", outputs=[some(5)]).my_path == "a/path"
    names["CountJob"](outputs=[some(1), some(2)])
    names["CountMethodJob"](outputs=[some(3)])
    job = names["MultiplySumJob"](inputs=[some(1), some(2), some(3)], outputs=[some(4)])
    names["SumJob"](inputs=[some(4), some(5)])
    assert job.run(2, 3, 4) == 14
    assert names["SumTwoJob"]().run(1, 2) == 3
    local = names["LocalMultiplySumJob"]
    assert local.GROUPS == "LOCAL"
    assert issubclass(local, LocalJob)
    assert issubclass(local, PythonJob)
    assert local().run(2, 3) == 6
    assert names["NeedsMicJob1"].GROUPS == "HAS_MIC"


@pytest.mark.parametrize("name", ["CountMethodJob", "CountGeneratorJob"])
def test_count_job_both_ways(name: str) -> None:
    from fission.core.head import Head

    job = load(JOB_CLASSES)[name]()
    job.setup()
    job.head = Head(0)
    values = []
    results = job.run() if name == "CountGeneratorJob" else iter(job.run, None)
    for value in results:
        values.append(value)
        if job.finished:
            break
    assert values == list(range(1, 31))
    assert job.head == Head(0b00100000)


def test_executable_jobs_of_the_documents() -> None:
    names = load(JOB_CLASSES)
    assert names["MyExecutableJob"]().command(["in"], ["out"]) == [
        "./my_executable",
        *["--my_addition", "2", "--parameters"],
        *["--input", "in", "--output", "out"],
    ]
    assert names["MyParametersJob"](params="-a").command([], ["out"]) == ["./my_executable", "-a", "--outputs", "out"]
    printed = """
job = DynamicExecutableJob(
    executable="./my_executable",
    dependencies="my_network/source/my_executable_job",
    parameters="--my_addition 2 --parameters",
    input_flag='--input',
    output_flag='--output',
    head=False,
    groups='ALL',
)
"""
    job = load(printed)["job"]
    assert isinstance(job, DynamicExecutableJob)
    assert job.command(["in"], ["out"]) == names["MyExecutableJob"]().command(["in"], ["out"])
    assert Network.from_registry("executables", current()).check() == []


@pytest.fixture
def mymodule() -> Iterator[None]:
    names = ["mynetwork", "mynetwork.job", "mynetwork.job.mymodule"]
    modules = {name: types.ModuleType(name) for name in names}
    for outer, inner in pairwise(names):
        setattr(modules[outer], inner.rsplit(".", 1)[1], modules[inner])
    sys.modules.update(modules)
    yield
    for name in names:
        del sys.modules[name]


@pytest.mark.usefixtures("mymodule")
def test_dependencies_of_the_documents() -> None:
    job = load(DEPENDENCIES)["MyJob"]
    pipe = load("")["PicklePipe"]
    load(SOURCE_V1)["SourceJob"](outputs=[pipe(1), pipe(2)])
    job(inputs=[pipe(1), pipe(2)])
    assert Network.from_registry("dependencies", current()).check() == []
    assert sorted(PIPES) == [1, 2]
