"""User code raises any exception in any method: the job fails and is named with place and exception, and no loop ends early.

In one process each, with the real hosts (`run_network`); tests/e2e has samples with processes.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fission.core.base import collecting
from fission.core.jobs import PythonJob
from fission.core.nodes import NodeInfo
from fission.core.pipes import PicklePipe
from fission.errors import BlockError, DefinitionError, JobFailed, error_text, value_text
from fission.protocol.placement import JobNeeds, NodeView, place
from fission.runtime import codec
from fission.runtime.specs import input_spec
from fission.testing.small_network import run_network
from tests.faults import exceptions as odd

KINDS = sorted(odd.KINDS)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with collecting():
        yield


def failure(jobs: list[PythonJob], folder: Path) -> tuple[str, str, int]:
    """Run a network that must fail; return the job, its report, and how many blocks the last one, a sink, had."""
    got = []
    run = type(jobs[-1]).run
    jobs[-1].__class__ = type("Counts", (type(jobs[-1]),), {"run": lambda self, *values: (got.append(values), run(self, *values))[1]})
    with pytest.raises(JobFailed) as failed:
        run_network(jobs, folder=folder)
    return failed.value.job, failed.value.report, len(got)


def pipes(kind: type[Any], size: int | None = None) -> tuple[Any, Any]:
    more = () if size is None else (size,)
    return kind(1, *more), kind(1, *more)


#: What makes a value of a block: the values' class, the pipe and its size, and how many blocks a compute block takes.
READING: dict[str, tuple[type[odd.Plain], type[Any], int | None, int]] = {
    "__setstate__": (odd.SetState, PicklePipe, None, 1),
    "__setstate__ of groups": (odd.SetState, odd.Five, None, 5),
    "unpack of a pickle": (odd.Plain, odd.Unpacks, None, 1),
    "unpack of JSON": (odd.Plain, odd.UnpacksJSON, None, 1),
    "unpack of bytes": (odd.Plain, odd.UnpacksBytes, 45, 1),
    "read": (odd.Plain, odd.Reads, None, 1),
}


def sink(reader: Any) -> list[PythonJob]:
    return [odd.Sink(inputs=[reader])]


def local_sink(reader: Any) -> list[PythonJob]:
    return [odd.LocalSink(inputs=[reader])]


def connector(job: type[PythonJob]) -> Callable[[Any], list[PythonJob]]:
    def make(reader: Any) -> list[PythonJob]:
        return [job(inputs=[reader], outputs=[PicklePipe(2)]), odd.Sink(inputs=[PicklePipe(2)])]

    return make


def two_outputs(reader: Any) -> list[PythonJob]:
    out = [PicklePipe(2), PicklePipe(3)]
    return [odd.Passes(inputs=[reader], outputs=out), odd.Sink(inputs=[out[0]]), odd.Sink(inputs=[out[1]])]


def two_inputs(reader: Any) -> list[PythonJob]:
    other = odd.Gives(odd.Plain, "ValueError", outputs=[PicklePipe(2)])
    return [other, odd.Sink(inputs=[reader, PicklePipe(2)])]


READERS: dict[str, Callable[[Any], list[PythonJob]]] = {
    "sink": sink,
    "local sink": local_sink,
    "connector": connector(odd.Passes),
    "connector with heads": connector(odd.PassesWithHead),
    "local connector": connector(odd.PassesHere),
    "two outputs": two_outputs,
    "two inputs": two_inputs,
}


def unread(where: str, kind: str, job: str, folder: Path) -> None:
    values, pipe, size, count = READING[where]
    writer, reader = pipes(pipe, size)
    rest = READERS[job](reader)
    failed, report, got = failure([odd.Gives(values, kind, outputs=[writer]), *rest], folder)
    assert failed == next(one for one in rest if reader in one.inputs).name
    block = (odd.BAD - 1) // count + 1
    expected = rf"{failed}, input 1: a block of {pipe.__name__} 1 could not be read: .* \(compute block {block}\)"
    assert re.search(expected, report), report
    assert odd.class_of(kind) in report, report
    # with several outputs, or next to a source, the last sink may lag; it is never ahead
    assert got == block - 1 if job in ("sink", "local sink", "two inputs") else got <= block - 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", READING)
def test_a_block_that_cannot_be_read(where: str, kind: str, tmp_path: Path) -> None:
    unread(where, kind, "sink", tmp_path)


@pytest.mark.parametrize("kind", ["StopIteration", "GeneratorExit", "Base"])
@pytest.mark.parametrize("job", READERS)
def test_every_kind_of_job_reads_so(job: str, kind: str, tmp_path: Path) -> None:
    unread("__setstate__", kind, job, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_an_optional_block_that_cannot_be_read(kind: str, tmp_path: Path) -> None:
    writer, reader = pipes(odd.Optional)
    jobs = [
        odd.Gives(odd.SetState, kind, outputs=[writer]),
        odd.Gives(odd.Plain, kind, outputs=[PicklePipe(2)]),
        odd.Sink(inputs=[PicklePipe(2), reader]),
    ]
    failed, report, _ = failure(jobs, tmp_path)
    assert re.search(rf"{failed}, input 2: a block of Optional 1 could not be read: .* \(compute block \d+\)", report), report
    assert odd.class_of(kind) in report


WRITING: dict[str, tuple[type[odd.Plain], type[Any]]] = {
    "__reduce__": (odd.Reduce, PicklePipe),
    "pack": (odd.Plain, odd.Packs),
    "write": (odd.Plain, odd.Writes),
}


def generator(value: type[odd.Plain], kind: str, out: list[Any]) -> list[PythonJob]:
    return [odd.Gives(value, kind, outputs=out)]


def source(value: type[odd.Plain], kind: str, out: list[Any]) -> list[PythonJob]:
    return [odd.GivesEach(value, kind, outputs=out)]


def making(job: type[odd.Makes]) -> Callable[[type[odd.Plain], str, list[Any]], list[PythonJob]]:
    def make(value: type[odd.Plain], kind: str, out: list[Any]) -> list[PythonJob]:
        return [odd.Gives(odd.Plain, "ValueError", outputs=[PicklePipe(9)]), job(value, kind, inputs=[PicklePipe(9)], outputs=out)]

    return make


WRITERS = {"generator": generator, "source": source, "connector": making(odd.Makes), "connector with heads": making(odd.MakesWithHead)}


def unwritten(where: str, kind: str, job: str, outputs: int, folder: Path) -> None:
    value, pipe = WRITING[where]
    out = [pipe(number) for number in range(1, outputs + 1)]
    jobs = WRITERS[job](value, kind, out)
    failed, report, got = failure([*jobs, *(odd.Sink(inputs=[one]) for one in out)], folder)
    assert failed == jobs[-1].name
    expected = rf"{failed}, output 1: a value of type {value.__name__} does not fit {pipe.__name__} 1: .* \(compute block {odd.BAD}\)"
    assert re.search(expected, report), report
    assert odd.class_of(kind) in report, report
    assert got <= odd.BAD - 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", WRITING)
def test_a_value_that_cannot_be_written(where: str, kind: str, tmp_path: Path) -> None:
    unwritten(where, kind, "connector", 1, tmp_path)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("kind", ["StopIteration", "GeneratorExit", "Base"])
@pytest.mark.parametrize("job", WRITERS)
def test_every_kind_of_job_writes_so(job: str, kind: str, outputs: int, tmp_path: Path) -> None:
    unwritten("__reduce__", kind, job, outputs, tmp_path)


PLACES = [
    ("setup", "source"),
    ("setup", "connector"),
    ("setup", "sink"),
    ("run", "source"),
    ("run", "generator"),
    ("run", "connector"),
    ("run", "sink"),
    ("snapshot", "connector"),
    ("head_reduce", "with heads"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("where", "job"), PLACES)
def test_a_method_that_raises(where: str, job: str, kind: str, tmp_path: Path) -> None:
    out, last = PicklePipe(2), odd.Sink(inputs=[PicklePipe(2)])
    feeder = odd.Gives(odd.Plain, "ValueError", outputs=[PicklePipe(1)])
    jobs: list[PythonJob] = {
        "source": lambda: [odd.RaisesIn(where, kind, outputs=[out]), last],
        "generator": lambda: [odd.RaisesInGenerator(where, kind, outputs=[out]), last],
        "connector": lambda: [feeder, odd.RaisesIn(where, kind, inputs=[PicklePipe(1)], outputs=[out]), last],
        "with heads": lambda: [feeder, odd.RaisesInHead(where, kind, inputs=[PicklePipe(1)], outputs=[out]), last],
        "sink": lambda: [
            feeder,
            odd.Passes(inputs=[PicklePipe(1)], outputs=[out]),
            odd.RaisesIn(where, kind, inputs=[PicklePipe(2)]),
        ],
    }[job]()
    used = {id(one) for one in jobs}
    for registered in (feeder, last):
        if id(registered) not in used:
            registered.inputs, registered.outputs = [], []
    expected = JobFailed if kind != "KeyboardInterrupt" else (JobFailed, KeyboardInterrupt)
    with pytest.raises(expected) as failed:
        run_network(jobs, folder=tmp_path)
    if isinstance(failed.value, JobFailed):
        assert failed.value.job.startswith("RaisesIn")
        assert odd.class_of(kind) in failed.value.report, failed.value.report
        assert where in failed.value.report, failed.value.report
        assert "generator raised" not in failed.value.report, failed.value.report


@pytest.mark.parametrize("kind", KINDS)
def test_special_methods_of_values_are_not_called(kind: str, tmp_path: Path) -> None:
    """Values whose __eq__, __bool__, __hash__ and __repr__ raise all arrive."""
    jobs = [
        odd.Gives(odd.Odd, kind, outputs=[PicklePipe(1)]),
        odd.Passes(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
        odd.Sink(inputs=[PicklePipe(2)]),
    ]
    ran = run_network(jobs, folder=tmp_path)
    assert [value.number for value in ran.sinks[3]] == list(range(1, odd.BLOCKS + 1))


class Dies:
    kind = ""

    def __del__(self) -> None:
        odd.raise_kind(self.kind)


class GivesDying(PythonJob):
    def run(self) -> Iterator[Any]:
        for _ in range(odd.BLOCKS):
            yield Dies()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["StopIteration", "GeneratorExit", "SystemExit", "Base"])
def test_a_finalizer_that_raises(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dies, "kind", kind)
    got = []

    class Counts(PythonJob):
        def run(self, value: Any) -> None:
            got.append(1)

    try:
        run_network([GivesDying(outputs=[PicklePipe(1)]), Counts(inputs=[PicklePipe(1)])], folder=tmp_path)
    finally:
        gc.collect()
    assert len(got) == odd.BLOCKS


@pytest.mark.parametrize("kind", KINDS)
def test_a_dummy_that_cannot_be_made(kind: str) -> None:
    class Pipe(PicklePipe):
        def get_dummy(self) -> bytes:
            return bytes(odd.raise_kind(kind))

    spec = input_spec(Pipe(1), 0)
    assert spec.dummy is not None
    with pytest.raises(BlockError, match="Pipe 1: a block is lost, and get_dummy, which stands for it, failed: ") as raised:
        spec.dummy()
    assert odd.class_of(kind) in str(raised.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_preference_that_raises(kind: str) -> None:
    node = NodeView(NodeInfo("a", "127.0.0.1", groups=("ALL",), max_jobs=3))
    needs = JobNeeds("Job 1", 1, preference=lambda nodes: odd.raise_kind(kind))
    with pytest.raises(DefinitionError, match="Job 1: preference failed: ") as raised:
        place(needs, [node])
    assert odd.class_of(kind) in str(raised.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_of_any_exception_and_value(kind: str) -> None:
    assert odd.class_of(kind) in error_text(odd.KINDS[kind]())
    text = value_text(odd.Odd(1, kind))
    assert "Odd" in text
    assert odd.class_of(kind) in text


def test_the_loop_that_lost_blocks_is_caught() -> None:
    """The broken variant: without the comparison of lengths, a StopIteration shortens the column."""
    import pickle

    payloads = [pickle.dumps(odd.SetState(number, "StopIteration"), 5) for number in range(1, 20)]
    assert len(list(map(pickle.loads, payloads))) == odd.BAD - 1
    decode = codec.decoder(PicklePipe(1), lambda why: BlockError(error_text(why)))
    values = iter(codec.column_decoder(PicklePipe(1), decode)(payloads))
    assert [next(values).number for _ in range(odd.BAD - 1)] == list(range(1, odd.BAD))
    with pytest.raises(BlockError, match="StopIteration"):
        next(values)
