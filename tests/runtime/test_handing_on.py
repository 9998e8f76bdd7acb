"""Jobs that return what they got: the block stays in its producer's memory, which is not reused before all jobs are done with it."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fission.adapters.shared_memory.arena import Arena
from fission.adapters.shared_memory.segments import run_prefix, sweep
from fission.adapters.shared_memory.views import Views
from fission.client.run.jobs.bundles import HANDED_ON_TO, handed_on, readers, readers_by_pipe
from fission.core.base import BaseJob, collecting
from fission.core.jobs import PythonJob
from fission.core.network import Network as Graph
from fission.core.pipes import OptionalPicklePipe as Optional
from fission.core.pipes import PicklePipe
from fission.ports import JobBundle
from fission.protocol import frames
from fission.protocol.endpoint_inputs import Inputs
from fission.protocol.endpoint_spec import OutputSpec
from fission.protocol.inputs import InputSpec
from fission.protocol.link_messages import Data, Open, Release
from fission.protocol.shared_arrivals import MemoryGone
from fission.runtime.endpoint_shell import EndpointShell, make_shell
from tests.conformance.networks import Forward, Network, Sink, Source
from tests.conformance.places import Place
from tests.one_pipe import Consumer, Producer

KIB = 1 << 10
COUNT = 200


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    with collecting() as registry:
        yield
    assert not registry.faults


class Shared(Network):
    """The same network, in threads, with shared memory as the processes of real jobs have it."""

    def __init__(self, place: Place, jobs: list[PythonJob], **keywords: Any) -> None:
        self.prefix = run_prefix()
        self.arenas: dict[int, Arena] = {}
        self._readers = readers(Graph("net", {job.id: job for job in jobs}))
        super().__init__(place, jobs, **keywords)

    def make(self, job: BaseJob, bundle: JobBundle, links: Any) -> EndpointShell:
        downstream = len(self._readers[job.id]) - len(job.outputs)
        bundle = replace(bundle, handed_on=handed_on(job, readers_by_pipe(self._readers)), downstream=downstream)
        lender = Arena(self.prefix, job.id, 1, [1] * len(job.outputs), downstream=downstream) if job.outputs else None
        if lender is not None:
            self.arenas[job.id] = lender
        return make_shell(job, bundle, links, lender, Views(1) if job.inputs else None)

    def run(self) -> Any:
        try:
            return super().run()
        finally:
            for arena in self.arenas.values():
                arena.close()
            sweep(self.prefix)


def block(number: int) -> Any:
    return np.full(20_000 + number, number, dtype=np.int64)


class Keeps(Sink):
    """Keeps all that it gets: no memory of it may be used again."""


def is_right(got: list[Any], numbers: Any = None) -> bool:
    numbers = list(range(COUNT) if numbers is None else numbers)
    return len(got) == len(numbers) and all(np.array_equal(one, block(number)) for one, number in zip(got, numbers, strict=True))


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """How many buffers each job has copied."""
    before, counts = Arena.put, {}

    def put(arena: Arena, *arguments: Any, **keywords: Any) -> Any:
        job = int(arena._owner.rpartition("-")[2])
        counts[job] = counts.get(job, 0) + 1
        return before(arena, *arguments, **keywords)

    monkeypatch.setattr(Arena, "put", put)
    return counts


def source(*pipes: Any) -> Source:
    return Source((block(number) for number in range(COUNT)), list(pipes))


def chain(pipes: list[Any]) -> list[Any]:
    """A source, jobs that hand on, a sink; ids from 1 in this order, which is that of their making."""
    first = source(pipes[0])
    return [first, *(Forward(inputs=[before], outputs=[after]) for before, after in itertools.pairwise(pipes)), Keeps([pipes[-1]])]


def through(job: Callable[..., Any], pipe: Any = None, **keywords: Any) -> list[Any]:
    """A source, one job, a sink."""
    pipe = pipe or PicklePipe(1)
    return [source(pipe), job(inputs=[pipe], outputs=[PicklePipe(2)]), Keeps([PicklePipe(2)])]


def test_a_chain_copies_once(place: Place, copies: dict[int, int]) -> None:
    pipes = [PicklePipe(number) for number in (1, 2, 3, 4)]
    jobs = chain(pipes)
    Shared(place, jobs).run()
    sink = jobs[-1]
    assert is_right(sink.got)
    assert copies == {1: COUNT}


def test_small_windows(place: Place, copies: dict[int, int]) -> None:
    pipes = [PicklePipe(number) for number in (1, 2, 3)]
    jobs = chain(pipes)
    Shared(place, jobs, blocks=2, size=400 * KIB).run()
    sink = jobs[-1]
    assert is_right(sink.got)
    assert copies == {1: COUNT}


def test_paths_that_part_and_meet(place: Place, copies: dict[int, int]) -> None:
    pipes = {number: PicklePipe(number) for number in range(1, 6)}
    jobs = [
        source(pipes[1], pipes[2], pipes[5]),
        Forward(inputs=[pipes[1]], outputs=[pipes[3]]),
        Forward(inputs=[pipes[2]], outputs=[pipes[4]]),
        Keeps([pipes[3], pipes[4], pipes[5]]),
    ]
    Shared(place, jobs).run()
    assert all(is_right([values[index] for values in jobs[-1].got]) for index in range(3))
    assert set(copies) == {1}


class Late(PythonJob):
    """Gives the array of the compute block before."""

    before: Any = None

    def run(self, value: Any) -> Any:
        given, self.before = self.before, value
        return value[:0] if given is None else given


def test_values_kept_from_an_earlier_block_are_copied(place: Place, copies: dict[int, int]) -> None:
    """Its producer may use that memory again as soon as the earlier block is released."""
    jobs = through(Late)
    Shared(place, jobs, blocks=4).run()
    sink = jobs[-1]
    assert is_right(sink.got[1:], range(COUNT - 1))
    assert copies == {1: COUNT, 2: COUNT - 1}


class Pairs(PicklePipe):
    BLOCK_COUNT = 2


class Second(PythonJob):
    """Of two blocks the second one."""

    def run(self, pair: Any) -> Any:
        return pair[1]


def test_one_of_several_blocks(place: Place, copies: dict[int, int]) -> None:
    jobs = through(Second, Pairs(1))
    Shared(place, jobs).run()
    sink = jobs[-1]
    assert is_right(sink.got, range(1, COUNT, 2))
    assert copies == {1: COUNT}


class Half(PythonJob):
    """Sends a part of what it receives."""

    def run(self, value: Any) -> Any:
        return value[: len(value) // 2]


def test_a_part_of_a_block_is_copied(place: Place, copies: dict[int, int]) -> None:
    jobs = through(Half)
    Shared(place, jobs).run()
    sink = jobs[-1]
    assert all(np.array_equal(one, block(number)[: (20_000 + number) // 2]) for number, one in enumerate(sink.got))
    assert copies == {1: COUNT, 2: COUNT}


def test_of_several_buffers_some(place: Place, copies: dict[int, int]) -> None:
    """An unchanged value of a buffer and a new one go as one block."""

    class Both(PythonJob):
        def run(self, value: Any) -> Any:
            return [value, value + 1]

    jobs = through(Both)
    Shared(place, jobs).run()
    sink = jobs[-1]
    assert is_right([one for one, _ in sink.got])
    assert all(np.array_equal(other, block(number) + 1) for number, (_, other) in enumerate(sink.got))
    assert copies == {1: COUNT, 2: COUNT}


# -- broken on purpose ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(180)
def test_handing_on_blocks_that_may_be_released_is_caught(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inputs, "works_on", lambda self, taken_for: True)
    # the job in between still holds the block; without that, it is a matter of time
    monkeypatch.setattr(Arena, "_is_held", lambda self, slot: False)
    jobs = through(Late)
    with pytest.raises((AssertionError, MemoryGone)):
        run_and_compare(Shared(place, jobs, blocks=4), jobs[-1], range(COUNT - 1))


def run_and_compare(network: Shared, sink: Any, expected: Any) -> None:
    network.run()
    assert is_right(sink.got[1:], expected)


# -- which jobs may hand on to which ---------------------------------------------------------------------------------------


def numbers(*jobs: BaseJob) -> dict[int, list[int]]:
    return readers(Graph("net", {job.id: job for job in jobs}))


def test_readers_of_a_chain() -> None:
    pipes = [PicklePipe(number) for number in range(1, 11)]
    jobs = chain(pipes)
    found = numbers(*jobs)
    assert found[1] == [1, 2, 3, 4, 5, 6, 7]
    assert len(found[1]) == 1 + HANDED_ON_TO
    assert (found[8], found[11]) == ([8, 9, 10], [])
    by_pipe = readers_by_pipe(found)
    assert handed_on(jobs[1], by_pipe) == {1: {0: 1}}
    assert handed_on(jobs[3], by_pipe) == {1: {0: 3}, 2: {0: 2}, 3: {0: 1}}
    assert handed_on(jobs[8], by_pipe) == {number: {0: 9 - number} for number in range(3, 9)}


class Few(Forward):
    MAX_QUEUE = 5


@pytest.mark.parametrize(
    "jobs",
    [
        lambda: [source(Optional(1)), Forward(inputs=[Optional(1)], outputs=[PicklePipe(2)]), Sink([PicklePipe(2)])],
        lambda: [source(PicklePipe(1)), Forward(inputs=[PicklePipe(1)], outputs=[Optional(2)]), Sink([Optional(2)])],
        lambda: [source(PicklePipe(1)), Few(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]), Sink([PicklePipe(2)])],
    ],
    ids=["it comes by an ASYNC pipe", "it goes by an ASYNC pipe", "blocks are dropped"],
)
def test_cases_without_handing_on(jobs: Callable[[], list[BaseJob]]) -> None:
    assert numbers(*jobs())[1] == [1]


def test_where_blocks_are_dropped_behind() -> None:
    pipes = [PicklePipe(number) for number in (1, 2, 3)]
    jobs = [source(pipes[0]), Forward(inputs=[pipes[0]], outputs=[pipes[1]])]
    jobs += [Few(inputs=[pipes[1]], outputs=[pipes[2]]), Sink([pipes[2]])]
    found = numbers(*jobs)
    assert found[1] == [1]
    assert found[2] == [2]


# -- new incarnations -------------------------------------------------------------------------------------------------


class Wire:
    """Links that keep what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, pipe: int, message: Any) -> None:
        self.sent.append(message)

    def redirect(self, pipe: int, address: str) -> None:
        self.sent.clear()

    def answer(self, pipe: int, frame: Any) -> None:
        """The tests make the releases."""


class Row:
    """A producer's arena, an output of the next job that hands its blocks on, and an incarnation of the last one."""

    def __init__(self) -> None:
        self.prefix = run_prefix()
        self.arena = Arena(self.prefix, 1, 1, [1], downstream=1)
        self.views = Views(1)
        self.wire = Wire()
        self.output = Producer(self.wire, OutputSpec(2))
        self.output.open()
        self.put(b"a" * 70_000)

    def put(self, content: bytes) -> None:
        self.descriptor = self.arena.put(content)
        assert self.descriptor is not None
        taken = self.views.taken(self.views.get(self.descriptor, (0, 1)))
        assert taken is not None
        self.output.put([b"payload", taken.lease({0: 1})])
        self.output.flush()

    def last(self, incarnation: int = 1) -> Consumer:
        return Consumer(self.wire, [InputSpec(2)], incarnation=incarnation, viewer=Views(incarnation))

    def arrive(self, inputs: Consumer) -> list[tuple[int, list[bytes]]]:
        """What was sent arrives; return (number, parts) of each block."""
        for message in self.wire.sent:
            inputs.feed(message)
        self.wire.sent.clear()
        assert inputs.aligner is not None
        if inputs.aligner.beginning is not None:
            inputs.aligner.begin(inputs.aligner.beginning)
        batch = inputs.take()
        if batch is None:
            return []
        return [(number, list(map(bytes, parts))) for number, parts in zip(batch.numbers, batch.columns[0], strict=True)]


@pytest.fixture
def row() -> Iterator[Row]:
    row = Row()
    yield row
    row.arena.close()
    sweep(row.prefix)


def test_a_new_incarnation_gets_copies_of_blocks_that_were_handed_on(row: Row) -> None:
    """The memory of a former incarnation of its producer may be gone by then."""
    assert row.arrive(row.last()) == [(1, [b"payload", b"a" * 70_000])]
    row.output.wire("there", 2)
    sweep(row.prefix)
    assert row.arrive(row.last(2)) == [(1, [b"payload", b"a" * 70_000])]


def test_memory_that_is_gone_before_it_was_read_is_a_failure(row: Row) -> None:
    """No job sends this block again to this incarnation."""
    sweep(row.prefix)
    with pytest.raises(MemoryGone, match=r"blocks from 1 on of pipe 2 can no longer be read: .* was removed"):
        row.arrive(row.last())


def test_missing_memory_of_the_producer_itself_is_not_a_failure(row: Row) -> None:
    """Its next incarnation sends the block again."""
    wire, row.wire.sent = row.wire.sent, []
    decoded = frames.decode(wire[1])
    assert isinstance(decoded, Data)
    own = row.arena.put(b"b" * 70_000)
    assert own is not None
    row.wire.sent = [wire[0], [frames.encode_shared(2, 1, 0, 1, [[b"payload", own.pack()]], None)]]
    sweep(row.prefix)
    assert row.arrive(row.last()) == []


@pytest.mark.parametrize("newer", [{"incarnation": 2}, {"generation": 1}])
def test_missing_memory_of_an_older_incarnation_of_the_sender_is_not_a_failure(row: Row, newer: dict[str, int]) -> None:
    """Its next incarnation has sent the block again, or will."""
    inputs = row.last()
    inputs.feed([frames.encode_open(Open(2, **{"incarnation": 1, "generation": 0, **newer}, mark=0))])
    sweep(row.prefix)
    assert row.arrive(inputs) == []


def test_missing_memory_of_a_duplicate_is_not_a_failure(row: Row) -> None:
    inputs = row.last()
    again = list(row.wire.sent)
    assert len(row.arrive(inputs)) == 1
    sweep(row.prefix)
    row.wire.sent = again
    assert inputs.viewer is not None
    inputs.viewer.close()
    assert row.arrive(inputs) == []


def test_a_released_block_gives_its_memory_back(row: Row) -> None:
    row.arrive(row.last())
    gc.collect()  # the consumer is gone, with its views
    assert row.arena.slots == 1
    row.output.on_release(Release(2, 1, 0, 1, 1))
    row.arena.release(row.descriptor)  # type: ignore[arg-type]
    assert row.arena.put(b"next") is not None
    assert row.arena.slots == 1
