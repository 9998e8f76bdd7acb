"""Jobs with several outputs: each consumer gets every value as it was when the job gave it, and no output makes another one wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fission.core.base import collecting
from fission.core.jobs import PythonJob
from fission.core.pipes import BytesPipe, OptionalPicklePipe, PicklePipe
from fission.errors import ValueFitError
from fission.runtime import codec
from fission.runtime.compute_loop import ComputeLoop
from fission.runtime.output_shell import OutputShell
from tests.conformance.networks import Network, Sink, Source
from tests.conformance.places import Place

COUNT = 700  # more than two full messages


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    with collecting() as registry:
        yield
    assert not registry.faults


def value(number: int) -> Any:
    """Values of all kinds: encoded together, alone, and with a buffer of their own."""
    if number % 97 == 0:
        return {"number": number, "large": bytearray(70_000)}
    return [number, {"a": [number]}, [number, b"abc"], "text", [number / 2, None]][number % 5]


def refilled(count: int = COUNT) -> Iterator[Any]:
    """The same list each time, with other items."""
    row: list[Any] = []
    for number in range(1, count + 1):
        row[:] = [number, b"abc"]
        yield row


class Hands(PythonJob):
    """Returns what it receives, once for all outputs, and changes it at the next call."""

    last: Any = None

    def run(self, value: Any) -> Any:
        if type(self.last) is list:
            self.last.append("changed")
        self.last = value
        return value


class Pairs(PythonJob):
    """Returns a tuple: a value for each output."""

    def run(self, value: Any) -> Any:
        return value, [value], -1


def run(place: Place, source: Any, pipes: list[Any], hand: type[PythonJob] = Hands, blocks: int = 4096) -> list[list[Any]]:
    """Run a source with two sinks of its own and a job with three outputs, of which two meet in one sink."""
    own = [PicklePipe(number) for number in (11, 12, 13)]
    ends = [Sink([own[1]]), Sink([own[2]]), Sink(pipes[:2]), Sink(pipes[2:])]
    Network(place, [Source(source, own), hand(inputs=[own[0]], outputs=pipes), *ends], blocks=blocks).run()
    for end in ends:
        lists = [id(one) for one in end.got if isinstance(one, list)]
        assert len(set(lists)) == len(lists), "blocks share an object"
    return [end.got for end in ends]


@pytest.mark.parametrize("blocks", [2, 4096])
def test_each_consumer_gets_every_value(place: Place, blocks: int) -> None:
    expected = [value(number) for number in range(1, COUNT + 1)]
    first, second, both, last = run(place, expected, [PicklePipe(number) for number in (21, 22, 23)], blocks=blocks)
    assert first == second == expected
    assert both == [(one, one) for one in expected]
    assert last == expected


@pytest.mark.parametrize("blocks", [2, 4096])
def test_a_list_that_is_filled_again_is_sent_as_it_was(place: Place, blocks: int) -> None:
    expected = [[number, b"abc"] for number in range(1, COUNT + 1)]
    got = run(place, refilled(), [PicklePipe(number) for number in (21, 22, 23)], blocks=blocks)
    assert got == [expected, expected, [(one, one) for one in expected], expected]


def test_a_value_that_is_not_frozen_is_caught(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "freezer", lambda pipe, **keywords: lambda one: one if type(one) is list else codec.NOT_FROZEN)
    with pytest.raises(AssertionError):
        test_a_list_that_is_filled_again_is_sent_as_it_was(place, 4096)


@pytest.mark.parametrize("kind", ["one takes bytes", "one is optional"])
def test_pipes_may_differ(place: Place, kind: str) -> None:
    expected = [b"%08d" % number for number in range(COUNT)]
    third = BytesPipe(23, 8) if kind == "one takes bytes" else OptionalPicklePipe(23)
    first, _, both, last = run(place, expected, [PicklePipe(21), PicklePipe(22), third])
    assert first == expected
    assert both == [(one, one) for one in expected]
    assert last == expected if kind == "one takes bytes" else last[-1] in expected


def test_a_tuple_has_a_value_for_each_output(place: Place) -> None:
    *_, both, last = run(place, range(COUNT), [PicklePipe(number) for number in (21, 22, 23)], Pairs)
    assert both == [(number, [number]) for number in range(COUNT)]
    assert last == [-1] * COUNT


class Breaks(PythonJob):
    """Returns a value that cannot be pickled at the fifth block."""

    def run(self, value: Any) -> Any:
        return value if value < 5 else (lambda: None)


@pytest.mark.parametrize("tuples", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_an_error_names_the_block(place: Place, tuples: bool, mixed: bool) -> None:
    bad = (lambda: None, 1) if tuples else lambda: None
    pipes = [PicklePipe(1), BytesPipe(2, 1) if mixed else PicklePipe(2)]
    values = [b"a", b"a", b"a", b"a", bad]
    with pytest.raises(ValueFitError, match=r"output 1: a value of type function .* \(compute block 5\)"):
        Network(place, [Source(values, pipes), *(Sink([pipe]) for pipe in pipes)]).run()


def test_an_error_of_a_job_between_names_the_block(place: Place) -> None:
    pipes = [PicklePipe(number) for number in (2, 3)]
    job = Breaks(inputs=[PicklePipe(1)], outputs=pipes)
    ends = [Sink([pipe]) for pipe in pipes]
    with pytest.raises(ValueFitError, match=r"output 1: a value of type function .* \(compute block 5\)"):
        Network(place, [job, Source(range(1, 9), [PicklePipe(1)]), *ends]).run()


def order_of(place: Place, monkeypatch: pytest.MonkeyPatch, make: Callable[[ComputeLoop], Callable[[Any, int], None]]) -> None:
    """Check that a job waits for room only when a block is in all outputs."""
    monkeypatch.setattr(ComputeLoop, "_sender_to_all", make)
    waits: list[set[int]] = []
    may_wait = OutputShell._wait_for_room

    def waiting(output: OutputShell) -> None:
        shells = output._owner.outputs  # type: ignore[attr-defined]
        waits.append({one.machine.last_number for one in shells} if len(shells) > 1 else {0})
        may_wait(output)

    monkeypatch.setattr(OutputShell, "_wait_for_room", waiting)
    run(place, range(COUNT), [PicklePipe(number) for number in (21, 22, 23)], blocks=2)
    assert waits
    assert all(len(numbers) == 1 for numbers in waits)


def test_a_job_waits_for_room_only_when_a_block_is_in_all_outputs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    order_of(place, monkeypatch, ComputeLoop._sender_to_all)


def test_waiting_for_one_output_before_the_others_is_caught(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def waits_for_each(loop: ComputeLoop) -> Callable[[Any, int], None]:
        def send(given: Any, number: int) -> None:
            for encode, output in zip(loop._results_out.encoders, loop._outputs, strict=True):
                output.put(encode(given))

        return send

    with pytest.raises(AssertionError):
        order_of(place, monkeypatch, waits_for_each)
