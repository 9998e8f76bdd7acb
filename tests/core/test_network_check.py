"""Every fault that Network.check can find, with its text."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fission.core.base import BaseNode, BasePipe, at, collecting
from fission.core.jobs import (
    ClockJob,
    CSVSinkJob,
    DynamicExecutableJob,
    ExecutableJob,
    ForwardingJob,
    InteractiveJob,
    LocalJob,
    LoggingJob,
    LoggingSinkJob,
    MARVELOJob,
    PythonJob,
)
from fission.core.network import Network
from fission.core.nodes import MultiNode
from fission.core.pipes import JSONPipe, OptionalJSONPipe, OptionalMixIn, OptionalPicklePipe, PicklePipe


class Job(PythonJob):
    def run(self, *values: Any) -> Any:
        return values


class Other(Job):
    pass


class Five(PicklePipe):
    BLOCK_COUNT = 5


def faults_of(build: Callable[[], object], nodes: bool = False) -> list[str]:
    """The faults, as the user sees them, of what `build` creates; each call of P() or J() in it counts as a line of config.py."""
    with collecting() as registry, at("config.py:12"):
        build()
        network = Network.from_registry("net", registry)
    assert registry.faults == []
    return [str(fault) for fault in network.check()]


def one_fault(build: Callable[[], object]) -> str:
    faults = faults_of(build)
    assert len(faults) == 1, faults
    return faults[0]


def joined(job: type[PythonJob] = Job, **kwargs: Any) -> None:
    """A job of this class that has an input and an output, in a network that is else all right."""
    Job(outputs=[PicklePipe(1)])
    job(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)], **kwargs)
    Job(inputs=[PicklePipe(2)])


def with_pipe(pipe: type[BasePipe]) -> None:
    Job(outputs=[pipe(1)])
    Job(inputs=[pipe(1)])


def line_of(thing: Any) -> str:
    """Where a function or class of this file begins."""
    code = getattr(thing, "__code__", None)
    line = code.co_firstlineno if code else next(n for n, text in enumerate(SOURCE, 1) if f"class {thing.__name__}" in text)
    file = Path(__file__)
    return f"{file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}:{line}"


SOURCE = Path(__file__).read_text(encoding="utf-8").splitlines()


def test_a_good_network_has_no_faults() -> None:
    assert faults_of(joined) == []


# -- ends of pipes


def test_two_sources() -> None:
    def build() -> None:
        Job(outputs=[PicklePipe(101)])
        with at("config.py:17"):
            Other(outputs=[PicklePipe(101)])
        Job(inputs=[PicklePipe(101)])

    assert one_fault(build) == (
        "config.py:17: pipe 101 has two sources: Job 1 (config.py:12) and Other 2 (config.py:17); give each its own id"
    )


def test_three_destinations() -> None:
    def build() -> None:
        Job(outputs=[PicklePipe(101)])
        for _ in range(3):
            Job(inputs=[PicklePipe(101)])

    assert one_fault(build) == (
        "config.py:12: pipe 101 has 3 destinations: Job 2 (config.py:12) and Job 3 (config.py:12) and Job 4 (config.py:12); "
        "give each its own id"
    )


def test_the_same_pipe_twice_at_one_job() -> None:
    def build() -> None:
        Job(outputs=[PicklePipe(1)])
        Job(inputs=[PicklePipe(1), PicklePipe(1)])

    assert one_fault(build) == "config.py:12: pipe 1 is listed more than once in the inputs of Job 2 (config.py:12); list it once"


def test_no_source() -> None:
    assert one_fault(lambda: Job(inputs=[PicklePipe(1)])) == (
        "config.py:12: pipe 1 has no source: Job 1 (config.py:12) reads it, but no job has it in its outputs"
    )


def test_no_destination() -> None:
    assert one_fault(lambda: Job(outputs=[PicklePipe(1)])) == (
        "config.py:12: pipe 1 has no destination: Job 1 (config.py:12) writes it, but no job has it in its inputs"
    )


def test_no_ends() -> None:
    assert one_fault(lambda: PicklePipe(1)) == (
        "config.py:12: pipe 1 (PicklePipe) belongs to no job; list it in one job's outputs and another's inputs, or remove it"
    )


def test_another_class_is_reported_once_and_the_ends_are_no_further_faults() -> None:
    with collecting() as registry:
        Job(outputs=[PicklePipe(1)])
        Job(inputs=[JSONPipe(1)])
    assert len(registry.faults or ()) == 1
    assert Network.from_registry("net", registry).check() == []


def test_pipes_without_a_usable_id_are_no_further_faults() -> None:
    with collecting() as registry:
        Job(outputs=[PicklePipe("a"), PicklePipe("b")])
    assert len(registry.faults or ()) == 2
    assert Network.from_registry("net", registry).check() == []


def test_source_and_destination_jobs() -> None:
    class Restricted(PicklePipe):
        SOURCE_JOBS = [Other, ClockJob]
        DESTINATION_JOBS = (Other,)

    assert faults_of(partial(with_pipe, Restricted)) == [
        "config.py:12: Restricted 1: its source must be of class Other or ClockJob (SOURCE_JOBS), but is Job 1 (config.py:12)",
        "config.py:12: Restricted 1: its destination must be of class Other (DESTINATION_JOBS), but is Job 2 (config.py:12)",
    ]


def test_source_and_destination_jobs_admit_subclasses() -> None:
    class Restricted(PicklePipe):
        SOURCE_JOBS = [Job]
        DESTINATION_JOBS = [Job]

    def build() -> None:
        Other(outputs=[Restricted(1)])
        Other(inputs=[Restricted(1)])

    assert faults_of(build) == []


# -- circles


@pytest.mark.parametrize("pipe", [PicklePipe, OptionalPicklePipe])
def test_a_loop_to_the_same_job(pipe: type[BasePipe]) -> None:
    assert one_fault(lambda: Job(inputs=[pipe(1)], outputs=[pipe(1)])) == (
        "config.py:12: pipe 1 leads from Job 1 (config.py:12) back to the same job; keep the value in an attribute instead"
    )


def circle(*last: BasePipe) -> None:
    Job(outputs=[PicklePipe(1)])
    Job(inputs=[PicklePipe(1), *last], outputs=[PicklePipe(2)])
    Other(inputs=[PicklePipe(2)], outputs=[PicklePipe(3)])
    Job(inputs=[PicklePipe(3)], outputs=list(last))


def test_a_circle() -> None:
    assert one_fault(lambda: circle(PicklePipe(4))) == (
        "config.py:12: the jobs wait for each other in a cycle: Job 2 -> pipe 2 -> Other 3 -> pipe 3 -> Job 4 -> pipe 4 -> Job 2; "
        "make one of its pipes optional (ASYNC)"
    )


def test_a_circle_through_an_async_pipe() -> None:
    assert faults_of(lambda: circle(OptionalPicklePipe(4))) == []


def test_two_circles_are_two_faults() -> None:
    def build() -> None:
        for base in (0, 10):
            Job(inputs=[PicklePipe(base + 1)], outputs=[PicklePipe(base + 2)])
            Job(inputs=[PicklePipe(base + 2)], outputs=[PicklePipe(base + 1)])

    assert ["Job 1 -> pipe 2 -> Job 2 -> pipe 1 -> Job 1" in fault for fault in faults_of(build)] == [True, False]
    assert "Job 3 -> pipe 12 -> Job 4 -> pipe 11 -> Job 3" in faults_of(build)[1]


# -- attributes


@pytest.mark.parametrize(
    ("attribute", "wrong", "must_be"),
    [
        ("HEAD", 1, "True or False"),
        ("HEAD", None, "True or False"),
        ("GROUPS", 5, "the name of a group or a list of such names"),
        ("GROUPS", ["ALL", 5], "the name of a group or a list of such names"),
        ("GROUPS", "", "the name of a group or a list of such names"),
        ("GROUPS", None, "the name of a group or a list of such names"),
        ("DEFAULT_NODE", 5, "the address of a node (text) or None"),
        ("DEFAULT_NODE", "", "the address of a node (text) or None"),
        ("MAX_QUEUE", -1, "a number of blocks of at least 0 (0: no limit)"),
        ("MAX_QUEUE", True, "a number of blocks of at least 0 (0: no limit)"),
        ("MAX_QUEUE", 2.0, "a number of blocks of at least 0 (0: no limit)"),
        ("PRIORITY", "high", "an int"),
        ("RESTARTS", -1, 'an int of at least 0, None (always restarted), or "config" for the value in the config'),
        ("RESTARTS", "always", 'an int of at least 0, None (always restarted), or "config" for the value in the config'),
        ("CHECKPOINT", 0, "None, a number of blocks of at least 1, or a timedelta above 0"),
        ("CHECKPOINT", timedelta(0), "None, a number of blocks of at least 1, or a timedelta above 0"),
        ("CHECKPOINT", 1.5, "None, a number of blocks of at least 1, or a timedelta above 0"),
        ("DEPENDENCIES", 5, "None, a directory, a module or class, or a list of modules and classes with at most one directory"),
        ("DEPENDENCIES", ["a", "b"], "None, a directory, a module or class, or a list of modules and classes with at most one directory"),
        ("DEPENDENCIES", "", "None, a directory, a module or class, or a list of modules and classes with at most one directory"),
    ],
)
def test_attributes_of_jobs(attribute: str, wrong: object, must_be: str) -> None:
    bad = type("Bad", (Job,), {attribute: wrong, "__module__": __name__})

    def build() -> None:
        joined(bad)
        bad()  # a second one does not make it a second fault

    # a class that was made by a call has no line, so it is where the job was created
    assert one_fault(build) == f"config.py:12: Bad.{attribute} must be {must_be}, but is {wrong!r}"


@pytest.mark.parametrize("number", [2**53 + 1, 10**30, 10**5000, -(10**30)], ids=["2**53+1", "10**30", "10**5000", "-10**30"])
@pytest.mark.parametrize("attribute", ["MAX_QUEUE", "PRIORITY", "RESTARTS", "CHECKPOINT"])
def test_numbers_that_are_too_large(attribute: str, number: int) -> None:
    """Python itself refuses to print very large ones."""
    fault = one_fault(partial(joined, type("Bad", (Job,), {attribute: number})))
    assert f"Bad.{attribute} must be " in fault
    assert fault.endswith(
        f"{', and at most 2**53' if number > 0 else ', and at least -2**53'}, but is an int of {number.bit_length()} bits"
    )


@pytest.mark.parametrize(
    ("attribute", "right"),
    [
        ("GROUPS", []),
        ("GROUPS", ("A", "ALL")),
        ("DEFAULT_NODE", "10.0.0.1"),
        ("MAX_QUEUE", 5),
        ("PRIORITY", -3),
        ("RESTARTS", 0),
        ("RESTARTS", None),
        ("RESTARTS", "config"),
        ("CHECKPOINT", 1),
        ("CHECKPOINT", timedelta(seconds=1)),
        ("DEPENDENCIES", "folder"),
        ("DEPENDENCIES", Path("folder")),
        ("DEPENDENCIES", types),
        ("DEPENDENCIES", ["folder", types, pytest]),
    ],
)
def test_attributes_of_jobs_that_fit(attribute: str, right: object) -> None:
    assert faults_of(partial(joined, type("Good", (Job,), {attribute: right}))) == []


class BadHead(Job):
    HEAD = "yes"  # type: ignore[assignment]


def test_the_fault_of_a_class_is_where_the_class_is() -> None:
    class Below(BadHead):
        pass

    assert one_fault(partial(joined, Below)) == f"{line_of(BadHead)}: BadHead.HEAD must be True or False, but is 'yes'"


def test_a_fault_of_an_object_is_reported_where_it_was_created() -> None:
    def build() -> None:
        Job().MAX_QUEUE = -5

    assert one_fault(build) == "config.py:12: Job 1: MAX_QUEUE must be a number of blocks of at least 0 (0: no limit), but is -5"


@pytest.mark.parametrize(
    ("attribute", "wrong", "must_be"),
    [
        ("BLOCK_SIZE", 0, "a number of bytes of at least 1, or a name (text)"),
        ("BLOCK_SIZE", "", "a number of bytes of at least 1, or a name (text)"),
        ("BLOCK_SIZE", 1.5, "a number of bytes of at least 1, or a name (text)"),
        ("BLOCK_SIZE", True, "a number of bytes of at least 1, or a name (text)"),
        ("BLOCK_COUNT", 0, "a number of blocks of at least 1"),
        ("BLOCK_COUNT", "5", "a number of blocks of at least 1"),
        ("ASYNC", 1, "True or False"),
        ("SOURCE_JOBS", Job, "a list of job classes"),
        ("SOURCE_JOBS", [PicklePipe], "a list of job classes"),
        ("DESTINATION_JOBS", ["Job"], "a list of job classes"),
        ("OPTIONAL_STORE", 0, "True or False"),
        ("OPTIONAL_BUFFER_SIZE", -1, "a number of blocks of at least 0 (0: no limit)"),
        ("OPTIONAL_DELETE_MODE", "Oldest", "'oldest' or 'newest'"),
    ],
)
def test_attributes_of_pipes(attribute: str, wrong: object, must_be: str) -> None:
    bad = type("Bad", (PicklePipe,), {attribute: wrong, "__module__": __name__})
    assert one_fault(partial(with_pipe, bad)) == f"config.py:12: Bad.{attribute} must be {must_be}, but is {wrong!r}"


def test_an_optional_default_that_unpack_refuses() -> None:
    class Operator(OptionalJSONPipe):
        OPTIONAL_DEFAULT = "+"

    assert one_fault(partial(with_pipe, Operator)) == (
        "config.py:12: Operator 1: OPTIONAL_DEFAULT goes through unpack as if it had been read, but unpack refuses '+': "
        "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"
    )


def test_an_optional_default_of_none_does_not_go_through_unpack() -> None:
    assert faults_of(partial(with_pipe, OptionalJSONPipe)) == []


def test_an_optional_mix_in_in_the_wrong_place() -> None:
    class Wrong(PicklePipe, OptionalMixIn):
        pass

    assert one_fault(partial(with_pipe, Wrong)) == (
        "config.py:12: Wrong 1: Wrong is an OptionalMixIn but not ASYNC; list OptionalMixIn before the pipe's class, "
        "as in class Wrong(OptionalMixIn, PicklePipe)"
    )


# -- run


class TakesThree(PythonJob):
    def run(self, in_1: Any, in_2: Any, in_3: Any) -> Any:
        return in_1


class TakesNothing(PythonJob):
    def run(self) -> Any:
        return 1


class TakesKeyword(PythonJob):
    def run(self, value: Any, *, gain: int) -> Any:
        return value


class Generator(PythonJob):
    def run(self, value: Any) -> Iterator[Any]:
        yield value


class Async(PythonJob):
    async def run(self, value: Any) -> Any:  # type: ignore[override]
        return value


class NoSelf(PythonJob):
    def run() -> Any:  # type: ignore[misc]
        return 1


class NotOverridden(PythonJob):
    pass


class NoMethod(PythonJob):
    run = 5  # type: ignore[assignment]


class Defaults(PythonJob):
    def run(self, value: Any, gain: int = 2) -> Any:
        return value


class Forgetful(PythonJob):
    def __init__(self, **kwargs: Any) -> None:
        self.gain = 2


class BelowForgetful(Forgetful):
    def run(self, value: Any) -> Any:
        return value


JOIN = "Job 2 (config.py:12)"


@pytest.mark.parametrize(
    ("job", "where", "text"),
    [
        (
            TakesThree,
            TakesThree.run,
            "TakesThree 2 (config.py:12) has 1 input (pipe 1), but TakesThree.run(in_1: 'Any', in_2: 'Any', in_3: 'Any') -> 'Any' "
            "cannot be called with as many arguments: missing a required argument: 'in_2'",
        ),
        (
            TakesNothing,
            TakesNothing.run,
            "TakesNothing 2 (config.py:12) has 1 input (pipe 1), but TakesNothing.run() -> 'Any' "
            "cannot be called with as many arguments: too many positional arguments",
        ),
        (
            TakesKeyword,
            TakesKeyword.run,
            "TakesKeyword 2 (config.py:12) has 1 input (pipe 1), but TakesKeyword.run(value: 'Any', *, gain: 'int') -> 'Any' "
            "cannot be called with as many arguments: missing a required argument: 'gain'",
        ),
        (
            Generator,
            Generator.run,
            "Generator 2 (config.py:12): Generator.run is a generator (it has a yield), which only a job without inputs, or with only "
            "ASYNC ones, may have; return the value instead",
        ),
        (
            Async,
            Async.run,
            "Async 2 (config.py:12): Async.run must not be async: a job has its own process, and may block",
        ),
        (NoSelf, NoSelf.run, "NoSelf 2 (config.py:12): NoSelf.run has no self; write def run(self, ...)"),
        (NotOverridden, None, "NotOverridden 2: NotOverridden must override run"),
        (NoMethod, None, "NoMethod 2 (config.py:12): NoMethod.run must be a method, but is 5"),
        (
            BelowForgetful,
            Forgetful.__init__,
            "BelowForgetful 2 (config.py:12): Forgetful.__init__ must call super().__init__(*args, **kwargs), so that FISSION learns "
            "its pipes",
        ),
    ],
)
def test_run_and_init(job: type[PythonJob], where: Any, text: str) -> None:
    place = line_of(where) if where else "config.py:12"
    fault = one_fault(partial(joined, job))
    # newer versions of Python say more about which kind of argument is missing
    assert fault.replace("required keyword-only argument", "required argument") == f"{place}: {text}"


def test_run_with_defaults_and_stars_fits() -> None:
    assert faults_of(partial(joined, Defaults)) == []
    assert faults_of(partial(joined, Job)) == []


def test_a_generator_is_accepted_where_it_never_waits() -> None:
    def build() -> None:
        Job(outputs=[OptionalPicklePipe(1)])
        Generator(inputs=[OptionalPicklePipe(1)])

    assert faults_of(build) == []


def test_run_of_one_object() -> None:
    def build() -> None:
        Job().run = lambda one: one  # type: ignore[method-assign]

    assert "Job 1 (config.py:12) has no inputs, but Job.run(one) cannot be called" in one_fault(build)


# -- kinds of jobs


def test_a_job_that_cannot_be_run() -> None:
    class Local(LocalJob):
        def run(self, value: Any) -> Any:
            return value

    assert one_fault(partial(joined, Local)) == (
        "config.py:12: Local 2 cannot be run: Local must also derive from PythonJob or an ExecutableJob"
    )


def test_a_job_that_could_run_in_two_ways() -> None:
    class Both(Job, ExecutableJob):
        EXECUTABLE = "./x"

    assert one_fault(Both) == "config.py:12: Both 1 is a PythonJob and an ExecutableJob; derive it from one of them"


def test_a_local_job_that_is_not_local() -> None:
    class Elsewhere(LocalJob, Job):
        GROUPS = "HAS_MIC"

    assert one_fault(Elsewhere) == "config.py:12: Elsewhere 1 is a LocalJob, so its GROUPS must contain \"LOCAL\", but is 'HAS_MIC'"


COMMAND = "the command to start (text, with closed quotes, without null characters)"


@pytest.mark.parametrize("executable", [None, "", "  ", "./x 'half", "./x\0", b"./x", 5])
def test_executables_without_a_command(executable: object) -> None:
    bad = type("Bad", (MARVELOJob,), {"EXECUTABLE": executable, "__module__": __name__})
    assert one_fault(bad) == f"config.py:12: Bad.EXECUTABLE must be {COMMAND}, but is {executable!r}"
    assert one_fault(lambda: DynamicExecutableJob(executable=executable)) == (
        f"config.py:12: DynamicExecutableJob 1: EXECUTABLE must be {COMMAND}, but is {executable!r}"
    )


@pytest.mark.parametrize(
    ("attribute", "wrong", "must_be"),
    [
        ("PARAMETERS", "it's", "further arguments (text, with closed quotes, without null characters) or None"),
        ("PARAMETERS", 5, "further arguments (text, with closed quotes, without null characters) or None"),
        ("PARAMETERS", "a\0b", "further arguments (text, with closed quotes, without null characters) or None"),
        ("PARAMETERS", ["a"], "further arguments (text, with closed quotes, without null characters) or None"),
        ("INPUT_FLAG", "", "text"),
        ("OUTPUT_FLAG", None, "text"),
        ("OUTPUTS_FLAG", 5, "text"),
    ],
)
def test_attributes_of_executables(attribute: str, wrong: object, must_be: str) -> None:
    bad = type("Bad", (ExecutableJob,), {"EXECUTABLE": "./x", attribute: wrong, "__module__": __name__})
    assert one_fault(bad) == f"config.py:12: Bad.{attribute} must be {must_be}, but is {wrong!r}"


def test_a_bare_executable_job() -> None:
    assert one_fault(ExecutableJob) == f"config.py:12: ExecutableJob 1: EXECUTABLE must be {COMMAND}, but is None"


def test_an_executable_that_writes_blocks_without_a_framing() -> None:
    class Lines(BasePipe):
        BLOCK_SIZE = "LINES"

    def build(pipe: type[BasePipe]) -> None:
        DynamicExecutableJob(executable="./x", outputs=[pipe(1)])
        Job(inputs=[pipe(1)])

    assert one_fault(partial(build, Lines)) == (
        "config.py:12: DynamicExecutableJob 1: an executable writes into Lines 1, whose blocks have no fixed length (BLOCK_SIZE is "
        "'LINES'); override read or read_wrapper in Lines, or set BLOCK_SIZE to a number of bytes"
    )
    for pipe in (PicklePipe, JSONPipe, type("Framed", (Lines,), {"read_wrapper": lambda self, file: file.readline()})):
        assert faults_of(partial(build, pipe)) == []


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: ClockJob(clock_interval=0), "ClockJob 1: clock_interval must be a number of seconds above 0, but is 0"),
        (lambda: ClockJob(clock_interval="1"), "ClockJob 1: clock_interval must be a number of seconds above 0, but is '1'"),
        (lambda: ClockJob(clock_interval=float("inf")), "ClockJob 1: clock_interval must be a number of seconds above 0, but is inf"),
        (lambda: CSVSinkJob("x.csv"), "CSVSinkJob 1: it must have inputs to write, but has none"),
        (lambda: LoggingSinkJob("x.csv"), "LoggingSinkJob 1: it must have inputs to write, but has none"),
        (
            ForwardingJob,
            "ForwardingJob 1: it forwards one input to all outputs, or as many inputs as there are outputs, but has 0 inputs and 0 outputs",
        ),
    ],
)
def test_predefined_jobs(build: Callable[[], object], text: str) -> None:
    assert one_fault(build) == f"config.py:12: {text}"


def test_forwarding_two_to_three() -> None:
    def build() -> None:
        Job(outputs=[PicklePipe(1), PicklePipe(2)])
        ForwardingJob(inputs=[PicklePipe(1), PicklePipe(2)], outputs=[PicklePipe(3)])
        Job(inputs=[PicklePipe(3)])

    assert one_fault(build).endswith("but has 2 inputs and 1 outputs")


@dataclass
class PathOf(os.PathLike):  # type: ignore[type-arg]  # of str or of bytes
    content: bytes

    def __fspath__(self) -> bytes:
        return self.content


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"path": ""}, "path must be the path of a file, but is ''"),
        ({"path": 5}, "path must be the path of a file, but is 5"),
        ({"path": "a\0b"}, r"path must be the path of a file, but is 'a\x00b'"),
        ({"path": PathOf(b"x")}, "path must be the path of a file, but is PathOf(content=b'x')"),
        ({"path": "x", "col_pattern": "{pipes}"}, "col_pattern '{pipes}' cannot be filled in: KeyError: 'pipes'"),
        ({"path": "x", "col_pattern": "{pipe.no}"}, "col_pattern '{pipe.no}' cannot be filled in: AttributeError: "),
    ],
)
def test_csv_sink(kwargs: dict[str, Any], text: str) -> None:
    def build() -> None:
        Job(outputs=[PicklePipe(1)])
        CSVSinkJob(inputs=[PicklePipe(1)], **kwargs)

    assert one_fault(build).startswith(f"config.py:12: CSVSinkJob 2: {text}")


class LoggedTakesNothing(LoggingJob):
    def run_job(self) -> Any:
        return 1


class LoggedNotOverridden(LoggingJob):
    pass


def test_logging_jobs_are_checked_by_run_job() -> None:
    assert "but LoggedTakesNothing.run_job() -> 'Any' cannot be called" in one_fault(partial(joined, LoggedTakesNothing))
    assert one_fault(partial(joined, LoggedNotOverridden)) == (
        "config.py:12: LoggedNotOverridden 2: LoggedNotOverridden must override run_job"
    )


def test_a_logging_output_that_takes_no_records() -> None:
    class Logged(LoggingJob):
        def run_job(self) -> Any:
            return 1

    def build() -> None:
        Logged(logging_output=JSONPipe(1))
        LoggingSinkJob("log.csv", inputs=[JSONPipe(1)])

    assert one_fault(build) == "config.py:12: Logged 1: logging_output must be a PicklePipe, but is JSONPipe 1"


# -- nodes


def test_nodes() -> None:
    class BadGroups(BaseNode):
        GROUPS = 5  # type: ignore[assignment]

    with at("config.py:12"):
        nodes = [BaseNode("10.0.0.1"), MultiNode("10.0.1.*"), BaseNode("10.0.0.1"), BadGroups("10.0.0.2")]
    assert [str(fault) for fault in Network("net", {}, nodes).check()] == [
        "config.py:12: the node 10.0.0.1 is listed twice (config.py:12); list it once",
        "config.py:12: BadGroups 10.0.0.2: GROUPS must be a text or a list of texts, but is 5",
    ]


def test_all_faults_at_once_each_once() -> None:
    def build() -> None:
        BadHead(outputs=[PicklePipe(1)])
        BadHead(outputs=[PicklePipe(2)])
        TakesNothing(inputs=[PicklePipe(1)])
        CSVSinkJob("", inputs=[PicklePipe(3)])

    faults = faults_of(build)
    assert [sum(part in fault for fault in faults) for part in ("BadHead.HEAD", "TakesNothing.run", "path must", "pipe 2", "pipe 3")] == [
        1
    ] * 5
    assert len(faults) == 5


# -- what a network knows


def network(build: Callable[[], object]) -> Network:
    with collecting() as registry:
        build()
    return Network.from_registry("net", registry)


def test_jobs_pipes_and_ends() -> None:
    net = network(joined)
    assert list(net.jobs) == [1, 2, 3]
    assert list(net.pipes) == [1, 2]
    assert net.producer(1) is net.jobs[1]
    assert net.consumer(1) is net.jobs[2]
    assert net.producer(9) is net.consumer(9) is None
    assert repr(net) == "Network('net', 3 jobs, 2 pipes)"
    with pytest.raises(TypeError):
        net.jobs[4] = net.jobs[1]  # type: ignore[index]


def test_a_network_of_some_jobs_only() -> None:
    with collecting() as registry:
        joined()
    some = Network("net", {1: registry.jobs[1], 2: registry.jobs[2]})
    assert [str(fault.text) for fault in some.check()] == [
        f"pipe 2 has no destination: Job 2 ({registry.jobs[2].created_at}) writes it, but no job has it in its inputs"
    ]


def test_required_leaves_out_consoles_and_their_like() -> None:
    def build() -> None:
        InteractiveJob(outputs=[OptionalPicklePipe(1)])  # 1: only feeds an ASYNC pipe
        Job(outputs=[PicklePipe(2)])  # 2: source
        Job(inputs=[OptionalPicklePipe(1), PicklePipe(2)], outputs=[PicklePipe(3)])  # 3
        Job(inputs=[PicklePipe(3)], outputs=[OptionalPicklePipe(4)])  # 4: only feeds an ASYNC pipe
        Job(inputs=[OptionalPicklePipe(4)], outputs=[PicklePipe(5)])  # 5: counts as a source
        Job(inputs=[PicklePipe(5)])  # 6

    assert network(build).required == {2, 3, 5, 6}


def test_required_of_a_network_where_all_only_feed_async_pipes() -> None:
    def build() -> None:
        Job(inputs=[OptionalPicklePipe(1)], outputs=[OptionalPicklePipe(2)])
        Job(inputs=[OptionalPicklePipe(2)], outputs=[OptionalPicklePipe(1)])

    assert network(build).required == {1, 2}


def test_required_with_a_lonely_console() -> None:
    def build() -> None:
        InteractiveJob(outputs=[PicklePipe(1)])
        Job(inputs=[PicklePipe(1)])

    assert network(build).required == {1, 2}


# -- rates


def test_a_join_of_rates_that_do_not_fit() -> None:
    def build() -> None:
        Job(outputs=[PicklePipe(1), Five(2)])
        Job(inputs=[Five(2)], outputs=[PicklePipe(3)])
        Other(inputs=[PicklePipe(1), PicklePipe(3)])

    assert network(build).check() == []
    assert network(build).warnings() == [
        "Other 3: pipe 1 brings 5 times as many compute blocks as pipe 3, so it runs ahead until its queue is full, and then "
        "blocks its producer; choose values of BLOCK_COUNT that match (now 1 and 1), or take them in two jobs"
    ]


def test_a_join_the_other_way_round_and_a_broken_ratio() -> None:
    class Two(PicklePipe):
        BLOCK_COUNT = 2

    def build() -> None:
        Job(outputs=[Two(1), Five(2)])
        Job(inputs=[Five(2)], outputs=[PicklePipe(3)])
        Other(inputs=[PicklePipe(3), Two(1)])

    (warning,) = network(build).warnings()
    assert warning.startswith("Other 3: pipe 1 brings 2.5 times as many compute blocks as pipe 3")


def test_rates_that_fit() -> None:
    def build() -> None:
        Job(outputs=[Five(1), Five(2)])
        Job(inputs=[Five(2)], outputs=[PicklePipe(3)])
        Job(outputs=[Five(4)])  # another source goes along
        Job(inputs=[PicklePipe(3), Five(1), Five(4)])

    assert network(build).warnings() == []


@pytest.mark.parametrize("step", [1, -1])
def test_two_sources_are_tied_by_the_first_join(step: int) -> None:
    def build() -> None:
        Job(outputs=[PicklePipe(1), PicklePipe(3)])
        Job(outputs=[Five(2), PicklePipe(4)])
        Job(inputs=[PicklePipe(1), Five(2)][::step])  # 3: so the second source runs five times as fast as the first
        Other(inputs=[PicklePipe(3), PicklePipe(4)])

    (warning,) = network(build).warnings()
    assert warning.startswith("Other 4: pipe 4 brings 5 times as many compute blocks as pipe 3")


def test_async_pipes_have_no_rate() -> None:
    class OptionalFive(OptionalPicklePipe):
        BLOCK_COUNT = 5

    def build() -> None:
        Job(outputs=[PicklePipe(1), OptionalFive(2)])
        Job(inputs=[PicklePipe(1), OptionalFive(2)])

    assert network(build).warnings() == []


def test_rates_of_a_network_with_faults() -> None:
    def build() -> None:
        circle(PicklePipe(4))
        Job(inputs=[PicklePipe(9)])
        Job(outputs=[type("Zero", (PicklePipe,), {"BLOCK_COUNT": 0})(10)])

    assert network(build).warnings() == []


def test_a_large_network_is_checked_without_recursion() -> None:
    count = sys.getrecursionlimit() + 100

    def build() -> None:
        Job(outputs=[PicklePipe(1)])
        for number in range(1, count):
            Job(inputs=[PicklePipe(number)], outputs=[PicklePipe(number + 1)])
        Job(inputs=[PicklePipe(count)])

    net = network(build)
    assert net.check() == []
    assert net.warnings() == []
    assert len(net.required) == count + 1


# -- setup


class NeedsRoot(Job):
    def setup(self, root: str, *args: Any) -> None:  # type: ignore[override]
        pass


class NeedsKeyword(Job):
    def setup(self, *, root: str) -> None:  # type: ignore[override]
        pass


class NoSelf(Job):
    def setup() -> None:  # type: ignore[misc, override]
        pass


class Yields(Job):
    def setup(self) -> Any:  # type: ignore[override]
        yield 1


class Waits(Job):
    async def setup(self) -> None:  # type: ignore[override]
        pass


class NotAMethod(Job):
    setup = 3  # type: ignore[assignment]


class LogsWithRoot(LoggingJob):
    def run_job(self, *values: Any) -> Any:
        return values

    def setup_job(self, root: str) -> None:  # type: ignore[override]
        pass


class TakesWhatItLikes(Job):
    def setup(self, root: str = "", *args: Any, **kwargs: Any) -> None:
        super().setup(*args, **kwargs)


@pytest.mark.parametrize(
    ("job", "text"),
    [
        (NeedsRoot, "NeedsRoot.setup(root: str, *args: Any) -> None must take no arguments besides self"),
        (NeedsKeyword, "missing a required argument: 'root'"),
        (NoSelf, "NoSelf.setup has no self; write def setup(self, *args, **kwargs)"),
        (Yields, "Yields.setup must be a plain method"),
        (Waits, "Waits.setup must be a plain method"),
        (NotAMethod, "NotAMethod.setup must be a method, but is 3"),
        (LogsWithRoot, "LogsWithRoot.setup_job(root: str) -> None must take no arguments besides self"),
    ],
)
def test_setup_is_called_without_arguments(job: Any, text: str) -> None:
    def build() -> None:
        Job(outputs=[PicklePipe(1)])
        job(inputs=[PicklePipe(1)])

    (fault,) = faults_of(build)
    assert text in fault.replace("'str'", "str").replace("'None'", "None").replace("'Any'", "Any")


def test_setup_with_defaults_is_accepted() -> None:
    def build() -> None:
        Job(outputs=[PicklePipe(1)])
        TakesWhatItLikes(inputs=[PicklePipe(1)])

    assert faults_of(build) == []
