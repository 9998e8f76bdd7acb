"""Jobs that return arrays of `new_array`: nothing is copied, and no consumer ever sees other content than was returned."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fission.adapters.shared_memory import arena as arena_module
from fission.adapters.shared_memory.arena import Arena, ArrayLease
from fission.core.base import BaseJob, collecting
from fission.core.jobs import PythonJob
from fission.core.pipes import OptionalPicklePipe, PicklePipe
from fission.ports import JobBundle
from fission.runtime.endpoint_shell import EndpointShell
from fission.testing.small_network import run_network
from tests.conformance.networks import Network, Sink
from tests.conformance.places import Place
from tests.runtime.test_handing_on import Shared

COUNT = 60
SIZE = 10_000  # elements of 8 bytes: above the 64 KiB of shared memory


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    with collecting() as registry:
        yield
    assert not registry.faults


class Makes(PythonJob):
    """Returns arrays full of 1, 2, ..., as its function arranges them."""

    def __init__(
        self, outputs: int = 1, arrange: Callable[[Any, Any], Any] = lambda job, array: array, size: int = SIZE, pipe: Any = PicklePipe
    ) -> None:
        super().__init__(outputs=[pipe(number) for number in range(1, outputs + 1)])
        self.arrange, self.size, self.number = arrange, size, 0
        self.kept: list[Any] = []

    def array(self) -> Any:
        array = self.new_array(self.size, np.int64)
        array[:] = self.number
        return array

    def run(self) -> Any:
        self.number += 1
        if self.number == COUNT:
            self.finish()
        return self.arrange(self, self.array())


class Yields(Makes):
    """The same as a generator, whose variable still refers to the array when the next job gets it."""

    def run(self) -> Any:
        for self.number in range(1, COUNT + 1):
            array = self.array()
            yield self.arrange(self, array)


def sinks(source: Makes) -> list[Sink]:
    return [Sink([pipe]) for pipe in source.outputs]


def arrays_of(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray):
        return [value]
    return [array for one in (value.values() if isinstance(value, dict) else value) for array in arrays_of(one)]


def check(sink: Sink, size: int = SIZE, count: int = 1) -> None:
    """The sink has kept all arrays: each has what was returned."""
    assert len(sink.got) == COUNT
    for number, value in enumerate(sink.got, 1):
        found = arrays_of(value)
        assert len(found) == count
        for array in found:
            assert array.size == size
            assert (array == number).all()


def run(place: Place, source: Makes, kind: Any = Shared, **keywords: Any) -> Any:
    ends = sinks(source)
    network = kind(place, [source, *ends], **keywords)
    network.run()
    for sink in ends:
        check(sink)
    return network


ARRANGED: dict[str, Callable[[Any, Any], Any]] = {
    "alone": lambda job, array: array,
    "tuple": lambda job, array: (array,),
    "list": lambda job, array: [array],
    "dict": lambda job, array: {"array": array},
    "reshaped": lambda job, array: array.reshape(100, -1),
}


@pytest.mark.parametrize("how", ARRANGED)
def test_a_returned_array_is_not_copied(place: Place, copies: list[int], how: str) -> None:
    run(place, Makes(arrange=ARRANGED[how]))
    assert copies == []


def test_a_generator_may_keep_its_variable(place: Place, copies: list[int]) -> None:
    run(place, Yields())
    assert copies == []


@pytest.mark.parametrize("outputs", range(1, 9))
def test_fan_out(place: Place, copies: list[int], outputs: int) -> None:
    run(place, Makes(outputs))
    assert copies == []


def test_the_same_array_for_each_of_several_outputs(place: Place, copies: list[int]) -> None:
    run(place, Makes(3, lambda job, array: (array, [array], {"x": array})))
    assert copies == []


class Far(Shared):
    """Every second consumer of a job is on another machine."""

    def make(self, job: BaseJob, bundle: JobBundle, links: Any) -> EndpointShell:
        shell = super().make(job, bundle, links)
        for output in shell.endpoint.outputs[::2]:
            output.near = False
        return shell


@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_consumers_on_other_machines(place: Place, copies: list[int], outputs: int) -> None:
    run(place, Makes(outputs), Far)
    assert copies == []


def test_small_windows(place: Place, copies: list[int]) -> None:
    run(place, Makes(2), blocks=2, size=200_000)
    assert copies == []


class Full(Shared):
    """Has shared memory for a few arrays."""

    def make(self, job: BaseJob, bundle: JobBundle, links: Any) -> EndpointShell:
        shell = super().make(job, bundle, links)
        if job.outputs:
            self.arenas[job.id]._limit = 400_000
        return shell


@pytest.mark.parametrize("kind", [Shared, Full, Network])
def test_an_array_that_is_returned_is_read_only_whether_it_is_shared_or_not(place: Place, kind: Any) -> None:
    def arrange(job: Any, array: Any) -> Any:
        if job.kept:
            with pytest.raises(ValueError, match="read-only"):
                job.kept[0][:] = 0
        job.kept[:] = [array]
        return array

    run(place, Makes(arrange=arrange), kind)


@pytest.mark.parametrize("kind", [Shared, Full, Network])
def test_an_array_that_is_returned_twice(place: Place, kind: Any) -> None:
    """A job keeps what it has returned, and returns the array of the first compute block each time."""

    def arrange(job: Any, array: Any) -> Any:
        job.kept = job.kept or [array]
        return [array, job.kept[0]]

    source = Makes(arrange=arrange)
    (sink,) = sinks(source)
    kind(place, [source, sink]).run()
    for number, (array, first) in enumerate(sink.got, 1):
        assert (array == number).all()
        assert (first == 1).all()


@pytest.mark.parametrize("kind", [Shared, Network])
@pytest.mark.parametrize("view", [lambda a: a[:-1], lambda a: a.reshape(-1, 2).T, lambda a: a[::2]])
def test_a_writable_view_changes_nothing_that_was_returned(place: Place, kind: Any, view: Callable[[Any], Any]) -> None:
    def arrange(job: Any, array: Any) -> Any:
        for kept in job.kept:
            kept[...] = -1
        job.kept[:] = [view(array)]
        return array

    run(place, Makes(arrange=arrange), kind)


def test_parts_are_copied(place: Place, copies: list[int]) -> None:
    """A job fills one array again and again, and returns parts of it."""

    class Refills(Makes):
        def array(self) -> Any:
            self.kept = self.kept or [self.new_array(SIZE + 1, np.int64)]
            self.kept[0][:] = self.number
            return self.kept[0][1:]

    run(place, Refills())
    assert copies == [SIZE * 8] * COUNT


@pytest.mark.parametrize("size", [0, 1, 8000])
def test_small_arrays_are_copied(place: Place, copies: list[int], size: int) -> None:
    source = Makes(size=size)
    (sink,) = sinks(source)
    Shared(place, [source, sink]).run()
    check(sink, size)
    assert copies == []


def test_a_pipe_whose_consumer_does_not_wait(place: Place) -> None:
    source = Makes(pipe=OptionalPicklePipe)

    class Waits(PythonJob):
        def run(self, value: Any) -> Any:
            if value is None:
                return 0
            assert (value == value[0]).all()
            return value

    sink = Sink([PicklePipe(9)])
    sink.run = lambda value: None  # type: ignore[method-assign]  # keeps nothing
    Shared(place, [source, Waits(inputs=source.outputs, outputs=[PicklePipe(9)]), sink]).run()


class Doubles(PythonJob):
    def run(self, value: Any) -> Any:
        return np.multiply(value, 2, out=self.new_array(value.shape, value.dtype))


class Returns(PythonJob):
    def run(self, value: Any) -> Any:
        return value


def test_a_chain_that_changes_and_hands_on(place: Place, copies: list[int]) -> None:
    source, pipes = Makes(), [PicklePipe(number) for number in range(1, 6)]
    jobs = [kind(inputs=[pipes[i]], outputs=[pipes[i + 1]]) for i, kind in enumerate([Doubles, Returns, Doubles, Returns])]
    sink = Sink([pipes[4]])
    Shared(place, [source, *jobs, sink]).run()
    assert [int(value[-1]) for value in sink.got] == [4 * number for number in range(1, COUNT + 1)]
    assert all((value == value[0]).all() for value in sink.got)
    assert copies == []


def test_memory_that_is_not_returned_is_freed(place: Place) -> None:
    slots: list[int] = []

    class Wastes(Makes):
        def run(self) -> Any:
            for _ in range(3):
                self.array()
            self.new_array(SIZE)  # looks for freed memory
            slots.append(network.arenas[1].slots)
            return super().run()

    source = Wastes()
    (sink,) = sinks(source)
    sink.run = lambda value: None  # type: ignore[method-assign]  # keeps nothing
    network = Shared(place, [source, sink], blocks=4)
    network.run()
    assert max(slots) <= 10


def test_another_thread_gets_an_ordinary_array(place: Place) -> None:
    class Threads(Makes):
        def array(self) -> Any:
            found: list[Any] = []
            thread = threading.Thread(target=lambda: found.append(super(Threads, self).array()))
            thread.start()
            thread.join()
            assert not isinstance(found[0].base.base, arena_module.ArrayMemory)
            return found[0]

    run(place, Threads())


def test_a_small_network(tmp_path: Path) -> None:
    """`fission_network`, which has no shared memory."""
    job = Doubles(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)])
    ran = run_network([job], {PicklePipe(1): [np.arange(SIZE), np.arange(3)]}, folder=tmp_path)
    assert [value.tolist() for value in ran[PicklePipe(2)]] == [list(range(0, 2 * SIZE, 2)), [0, 2, 4]]


# -- arrays of every kind, arranged in any way

SHAPES: tuple[Any, ...] = (0, (), 1, (3, 0, 2), 8192, 8191, 20_000, (100, 300), (2, 3, 4000), (1, 60_000))
DTYPES = ("f8", "i4", "?", ">u2", "c16", "S7", "M8[s]", "O")
VIEWS: tuple[Callable[[Any], Any], ...] = (
    lambda a: a,
    lambda a: a[::2] if a.ndim else a,
    lambda a: a.T,
    lambda a: a.reshape(-1),
    lambda a: a.ravel()[1:],
    lambda a: a[..., None],
    np.asfortranarray,
    lambda a: a.view("u1") if a.ndim and a.dtype == float and a.size else a,
    lambda a: a.copy(),
)
WAYS: tuple[Callable[[Any, Any], Any], ...] = (
    lambda a, v: v,
    lambda a, v: [v, v],
    lambda a, v: {"a": v, "b": [a]},
    lambda a, v: (v, [a]),
    lambda a, v: ([v], [a, v]),
)


class AnyArrays(PythonJob):
    """Returns arrays of any shape, type and order, and writes into all earlier ones that it may write into."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(outputs=[PicklePipe(1), PicklePipe(2)])
        self.rng, self.number = rng, 0
        self.kept: list[Any] = []
        self.expected: list[tuple[Any, Any]] = []

    def run(self) -> Any:
        self.number += 1
        if self.number == COUNT:
            self.finish()
        for kept in self.kept:
            if kept.flags.writeable:
                kept[...] = np.zeros((), kept.dtype)
        array = self.new_array(self.rng.choice(SHAPES), self.rng.choice(DTYPES))
        array[...] = np.array(self.number % 250).astype(array.dtype)
        view = self.rng.choice(VIEWS)(array)
        value = self.rng.choice(WAYS)(array, view)
        self.expected.append(copy.deepcopy(value if type(value) is tuple else (value, value)))
        if self.rng.random() < 0.5:
            self.kept = [array, view]
        return value


def check_seeds(place: Place, kind: Any, seeds: range) -> None:
    for seed in seeds:
        source = AnyArrays(random.Random(seed))
        between = Returns(inputs=[source.outputs[0]], outputs=[PicklePipe(3)])
        ends = [Sink([between.outputs[0]]), Sink([source.outputs[1]])]
        kind(place, [source, between, *ends]).run()
        for column, sink in enumerate(ends):
            np.testing.assert_equal([one[column] for one in source.expected], sink.got)


@pytest.mark.parametrize("kind", [Shared, Full, Far, Network])
def test_arrays_of_every_kind_arrive_as_they_were_returned(place: Place, kind: Any) -> None:
    check_seeds(place, kind, range(2))


# -- broken on purpose ------------------------------------------------------------------------------------------------


def test_a_lease_that_does_not_keep_its_memory_is_caught(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgets(ArrayLease):
        __slots__ = ("descriptor",)

        def __init__(self, memory: Any, readers: Any) -> None:
            super().__init__(memory, readers)
            self.descriptor = memory.descriptor
            del self._memory

        def pack(self, reader: int) -> bytes:
            return self.descriptor.pack(reader)

    monkeypatch.setattr(arena_module, "ArrayLease", Forgets)
    # consumers that hold a block keep it; without that, it is a matter of time
    monkeypatch.setattr(Arena, "_is_held", lambda self, slot: False)
    with pytest.raises(AssertionError):
        run(place, Makes())


def test_memory_that_ends_while_a_consumer_holds_it_is_caught(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arena, "_is_held", lambda self, slot: False)
    with pytest.raises(AssertionError):
        run(place, Makes(), blocks=4)


def test_an_array_that_stays_writeable_is_caught(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from fission.core import new_arrays

    monkeypatch.setattr(new_arrays, "_references", lambda root: 0)  # every view counts as none

    def arrange(job: Any, array: Any) -> Any:
        for kept in job.kept:
            kept[...] = -1
        job.kept[:] = [array[:-1]]
        return array

    with pytest.raises(AssertionError):
        run(place, Makes(arrange=arrange))
    with pytest.raises(AssertionError):
        check_seeds(place, Shared, range(10))
