"""The buffer of an ASYNC input against a plain list of all blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fission.errors import LocalProtocolError
from fission.protocol.link_messages import Data, End, Open
from fission.protocol.optional import DEFAULT, OptionalInput, OptionalSpec
from fission.protocol.window import Arrival, Receiver
from tests.protocol.caught import assert_machine_catches
from tests.protocol.models import ReceiverModel


class OptionalModel:
    """Every new block, in order; its fate is computed from the start each time."""

    def __init__(self, spec: OptionalSpec) -> None:
        self.spec = spec
        self.receiver = ReceiverModel()
        self.steps: list[tuple[Any, ...]] = []  # ("block", generation, number, payload, head) or ("take",)
        self.settled = not (spec.again and spec.store)
        self.holds = True
        self.pressed = False
        self.before = 0  # the last number that came from an older incarnation of the producer
        self.kept = 0  # groups that were taken when the client had kept the last one
        self.floor = 0  # what could be released before the newest block came

    def play(self) -> Iterator[tuple[list[tuple[Any, ...]], int, Any, list[Any]]]:
        """After each step: (what waits, how many were dropped, what `run` got last, the groups that it took)."""
        spec, waiting, dropped = self.spec, [], 0
        groups: list[Any] = []
        limit = max(spec.buffer_size, spec.block_count) if spec.buffer_size else None
        nothing = [(DEFAULT, 0)] * spec.block_count
        last, given = nothing, nothing
        for what, *block in self.steps:
            if what == "take":
                if len(waiting) >= spec.block_count:
                    last = [(payload, head) for *_, payload, head in waiting[: spec.block_count]]
                    groups = [*groups, waiting[: spec.block_count]]
                    waiting = waiting[spec.block_count :]
                    given = last
                else:
                    given = last if spec.store else nothing
            else:
                waiting = [*waiting, tuple(block)]
                # of a new incarnation, the first group may be the one that an earlier one had
                more = spec.block_count if spec.again and spec.store and not groups else 0
                if limit is not None and len(waiting) > limit + more:
                    dropped += 1
                    waiting = waiting[1:] if spec.delete_mode == "oldest" else waiting[:-1]
            yield waiting, dropped, given, groups
        if not self.steps:
            yield [], 0, nothing, []

    @property
    def now(self) -> tuple[list[tuple[Any, ...]], int, Any, list[Any]]:
        return list(self.play())[-1]

    @property
    def groups(self) -> list[Any]:
        """All that were given; with feedback all that have come, for those are released before they are given."""
        if not self.spec.feedback:
            return list(self.now[3])
        count, blocks = self.spec.block_count, [step[1:] for step in self.steps if step[0] == "block"]
        several = [blocks[end - count : end] for end in range(count, len(blocks) + 1)]
        return [group for group in several if group[0][0] == group[-1][0]]

    @property
    def newest(self) -> list[int]:
        """Return the numbers of the newest group of this generation, as far as it has arrived."""
        return [step[2] for step in self.steps if step[:2] == ("block", self.generation)][-self.spec.block_count :]

    def releasable(self) -> int:
        """Everything in front of the first block that `run` may still get, in this incarnation or the next."""
        waiting, groups = self.now[0], self.groups
        needed = [max(self.receiver.had) + 1]
        here = self.spec.store and len(groups) > self.kept  # only this job has what a new incarnation must be given
        if self.spec.feedback:
            partly = len(self.newest) < self.spec.block_count and self.receiver.last is None
            needed += self.newest if self.spec.store and (here or partly) else []
        else:
            if self.holds or here:
                needed += [number if generation == self.generation else 1 for generation, number, *_ in waiting[:1]]
            if here and groups[-1][0][0] == self.generation:
                needed.append(groups[-1][0][1])
        floor = self.floor if self.spec.feedback else 0
        return max(floor, int(min(needed)) - 1)

    @property
    def generation(self) -> int:
        return self.receiver.opened[1] if self.receiver.opened else 0

    @property
    def finished(self) -> bool:
        return self.receiver.last is not None and len(self.now[0]) < self.spec.block_count

    def to_keep(self) -> Any:
        """The last group, where neither the producer's window nor the client has it."""
        groups = self.groups
        if not self.spec.store or len(groups) == self.kept:
            return None
        if self.spec.feedback:
            gone = self.receiver.last is not None or len(self.newest) < self.spec.block_count or self.newest[0] <= self.before
        else:
            pressed = self.pressed and len(self.now[0]) < self.spec.block_count
            gone = self.finished or pressed or groups[-1][0][0] != self.generation or groups[-1][0][1] <= self.before
        return [list(part) for part in zip(*[block[2:] for block in groups[-1]], strict=True)] if gone or not self.holds else None


class OptionalMachine(RuleBasedStateMachine):
    """A producer that may die and restart, and a job that takes when it computes."""

    make: ClassVar[type[OptionalInput]] = OptionalInput

    @initialize(
        block_count=st.integers(1, 3),
        store=st.booleans(),
        buffer_size=st.sampled_from([0, 1, 2, 5]),
        delete_mode=st.sampled_from(["oldest", "newest"]),
        feedback=st.booleans(),
        again=st.booleans(),
    )
    def start(self, **values: Any) -> None:
        spec = OptionalSpec(4, **values)
        self.input = self.make(spec)
        self.model = OptionalModel(spec)
        self.incarnation = self.generation = 0
        self.next = 1
        self.made = 0
        self.released = 0

    @rule(incarnation=st.integers(0, 1), generation=st.sampled_from([0, 0, 0, 1]), mark=st.integers(0, 4))
    def open(self, incarnation: int, generation: int, mark: int) -> None:
        if generation:
            self.next = self.released = 0
        self.incarnation += incarnation
        self.generation += generation
        mark = min(self.next + 2, mark) if incarnation else max(mark, self.next - 1)
        self.next = mark + 1
        had = max(self.model.receiver.had) if self.model.receiver.opened else 0
        arrival = self.input.open(Open(4, self.incarnation, self.generation, mark))
        assert arrival is self.model.receiver.open(self.incarnation, self.generation, mark)
        if generation:
            self.model.before = self.model.floor = 0
        elif incarnation:
            self.model.before = had
        self.model.settled = self.model.settled or arrival is Arrival.KNOWN
        self.model.pressed = self.model.pressed or arrival is Arrival.KNOWN

    def arrive(self, incarnation: int, generation: int, first: int, count: int, some_heads: bool) -> None:
        payloads = [f"{self.made + index}" for index in range(count)]
        self.made += count
        heads = [int(one) % 4 for one in payloads] if some_heads else None
        could = self.model.releasable()
        new = self.model.receiver.accept(incarnation, generation, first, count)
        assert self.input.data(Data(4, incarnation, generation, first, payloads, heads)) == len(new)
        self.model.floor = could
        for number in new:
            index = number - first
            self.model.steps.append(("block", generation, number, payloads[index], heads[index] if heads else 0))

    @rule(offset=st.sampled_from([0, 0, 0, -2, 1]), count=st.integers(1, 6), some_heads=st.booleans())
    def send(self, offset: int, count: int, some_heads: bool) -> None:
        first = max(1, self.next + offset)
        self.next = max(self.next, first + count)
        self.arrive(self.incarnation, self.generation, first, count, some_heads)

    @precondition(lambda self: self.incarnation)
    @rule(count=st.integers(1, 3))
    def send_from_an_older_incarnation(self, count: int) -> None:
        self.arrive(self.incarnation - 1, self.generation, self.next, count, False)

    @rule(lost=st.integers(0, 2), older=st.booleans())
    def end(self, lost: int, older: bool) -> None:
        last = self.next - 1 + lost
        incarnation = self.incarnation - (older and self.incarnation > 0)
        counts = self.input.end(End(4, incarnation, self.generation, last))
        assert counts is self.model.receiver.end(incarnation, self.generation, last)
        if counts:
            self.next = max(self.next, last + 1)
            self.model.settled = True

    @precondition(lambda self: self.model.holds)
    @rule()
    def take(self) -> None:
        groups = len(self.model.now[3])
        self.model.steps.append(("take",))
        self.model.pressed = self.model.pressed and len(self.model.now[3]) == groups
        given = self.model.now[2]
        payload, head = self.input.take()
        if self.model.spec.block_count == 1:
            assert (payload, head) == given[0]
        else:
            assert list(zip(payload, head, strict=True)) == given

    @precondition(lambda self: self.input.to_keep is not None)
    @rule()
    def keep(self) -> None:
        self.input.kept(([], []))  # an older one: changes nothing
        self.input.kept(self.input.to_keep)
        self.model.kept = len(self.model.groups)

    @rule()
    def hold(self) -> None:
        self.model.holds = not self.model.holds
        self.input.hold(self.model.holds)
        self.released = 0 if self.model.holds else self.released  # the job continues with a new generation

    @invariant()
    def same(self) -> None:
        waiting, dropped, _, _ = self.model.now
        assert self.input.waiting == len(waiting)
        assert self.input.dropped == dropped
        assert self.input.received == sum(step[0] == "block" for step in self.model.steps)
        assert self.input.finished is self.model.finished
        assert self.input.settled is self.model.settled
        group, wanted = self.input.to_keep, self.model.to_keep()
        assert group == (tuple(wanted) if wanted else None)
        assert self.input.over is (self.model.finished and wanted is None)

    @invariant()
    def releases(self) -> None:
        assert self.input.releasable == self.model.releasable()
        assert self.input.releasable >= self.released
        self.released = self.input.releasable


TestOptionalInput = OptionalMachine.TestCase
TestOptionalInput.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def filled(count: int = 3, **values: Any) -> OptionalInput:
    one = OptionalInput(OptionalSpec(4, **values))
    one.open(Open(4, 1, 0, 0))
    one.data(Data(4, 1, 0, 1, [f"v{number}" for number in range(1, count + 1)]))
    return one


def test_values_come_once_and_the_last_one_stays() -> None:
    one = filled()
    assert [one.take()[0] for _ in range(5)] == ["v1", "v2", "v3", "v3", "v3"]


def test_without_store_the_default_comes_back() -> None:
    one = filled(store=False)
    assert [one.take()[0] for _ in range(5)] == ["v1", "v2", "v3", DEFAULT, DEFAULT]


def test_the_default_comes_first_with_store_too() -> None:
    one = OptionalInput(OptionalSpec(4))
    assert one.take() == (DEFAULT, 0)
    assert OptionalInput(OptionalSpec(4, block_count=2)).take() == ([DEFAULT, DEFAULT], [0, 0])


def test_a_full_buffer_deletes_the_oldest_or_the_newest() -> None:
    assert [filled(buffer_size=2).take()[0], filled(buffer_size=2, delete_mode="newest").take()[0]] == ["v2", "v1"]


def test_a_buffer_holds_at_least_one_call_of_run() -> None:
    assert filled(buffer_size=1, block_count=3).take() == (["v1", "v2", "v3"], [0, 0, 0])


def test_a_feedback_is_released_as_it_arrives() -> None:
    assert filled(feedback=True, store=False).releasable == 3
    assert filled(feedback=True).releasable == 2  # the newest, for a new incarnation
    assert filled().releasable == 0


def test_blocks_that_a_feedback_released_are_not_taken_back_by_a_group_that_begins_in_them() -> None:
    one = filled(2, block_count=2, store=True, feedback=True)
    one.hold(False)
    assert one.releasable == 0
    assert one.to_keep is not None
    one.kept(one.to_keep)
    assert one.releasable == 2
    one.data(Data(4, 1, 0, 3, ["v3"]))
    assert one.to_keep == (["v2", "v3"], [0, 0])
    assert one.releasable == 2
    one.kept(one.to_keep)
    assert one.releasable == 3


def test_the_newest_of_a_feedback_that_has_ended_is_released_when_it_is_kept_elsewhere() -> None:
    """Although older groups wait, none of them may be taken before the producer has released all."""
    one = filled(feedback=True)
    assert one.to_keep is None
    one.end(End(4, 1, 0, 3))
    assert (one.to_keep, one.releasable) == ((["v3"], [0]), 2)
    one.kept(one.to_keep)
    assert (one.to_keep, one.releasable, one.take()[0]) == (None, 3, "v1")
    assert one.to_keep is None  # older than what is kept


def test_blocks_that_a_producers_new_incarnation_has_not_sent_again_are_kept_elsewhere() -> None:
    one = filled()
    one.take()
    one.announce(2)
    group = one.to_keep
    assert group == (["v1"], [0])
    one.kept(group)
    assert (one.to_keep, one.releasable) == (None, 1)
    one.open(Open(4, 2, 0, 0))
    one.data(Data(4, 2, 0, 1, ["v1", "v2", "v3", "v4"]))
    assert [one.take()[0], one.take()[0]] == ["v2", "v3"]
    assert one.to_keep == (["v3"], [0])  # it came from the older incarnation, as far as is known here
    one.take()
    assert one.to_keep is None


def test_the_last_group_is_released_when_the_next_one_is_taken() -> None:
    one = filled()
    one.take()
    assert one.releasable == 0
    one.take()
    assert one.releasable == 1
    other = filled(store=False)
    other.take()
    assert other.releasable == 1


def test_a_new_incarnation_begins_with_the_value_that_was_kept_for_it() -> None:
    one = OptionalInput(OptionalSpec(4, again=True, kept=(("old",), (1,))))
    assert one.take() == ("old", 1)
    assert not one.over
    one.open(Open(4, 1, 0, 3))
    one.end(End(4, 1, 0, 3, final=True))
    assert one.over  # it is kept already
    pair = OptionalInput(OptionalSpec(4, 2, again=True, kept=(("old", "older"), (0, 0))))
    assert pair.take() == (["old", "older"], [0, 0])


def test_deleted_blocks_do_not_fill_the_window_for_ever() -> None:
    """The producer has no room, and the group given last is in front of deleted blocks."""
    one = filled(8, buffer_size=1, delete_mode="newest")
    one.take()
    assert (one.releasable, one.to_keep) == (0, None)
    one.open(Open(4, 1, 0, 0))
    group = one.to_keep
    assert group == (["v1"], [0])
    one.kept(group)
    assert one.releasable == 8


def test_a_full_window_of_one_group_continues() -> None:
    """What is kept and the next group are all that a producer's window must hold."""
    one = OptionalInput(OptionalSpec(4, 2))
    one.open(Open(4, 1, 0, 0))
    for number in range(1, 40):
        assert number - 1 - one.releasable < 4
        one.data(Data(4, 1, 0, number, [f"v{number}"]))
        one.take()


def test_the_value_that_the_last_incarnation_had_does_not_push_another_out() -> None:
    """With a buffer of one, a new incarnation gets what the old one was given last, and what waited."""
    one = filled(2, buffer_size=1, delete_mode="newest", again=True)
    assert [one.take()[0] for _ in range(3)] == ["v1", "v2", "v2"]
    assert one.dropped == 0


@pytest.mark.parametrize("values", [{"delete_mode": "middle"}, {"block_count": 0}, {"buffer_size": -1}])
def test_inputs_that_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        OptionalInput(OptionalSpec(4, **values))


# -- the tests are tested ---------------------------------------------------------------------------------------------


class DeletesTheWrongOne(OptionalInput):
    def __init__(self, spec: OptionalSpec) -> None:
        super().__init__(replace(spec, delete_mode="newest" if spec.delete_mode == "oldest" else "oldest"))


class StoresAlways(OptionalInput):
    def take(self) -> tuple[Any, Any]:
        self._default = self._last
        return super().take()


class TakesTheNewestFirst(OptionalInput):
    def take(self) -> tuple[Any, Any]:
        self._buffer.reverse()
        try:
            return super().take()
        finally:
            self._buffer.reverse()


class ReleasesWhatWaits(OptionalInput):
    def _find_releasable(self) -> None:
        self._upto = self.receiver.high


class ReleasesWhatItStores(OptionalInput):
    def take(self) -> tuple[Any, Any]:
        given = super().take()
        self._taken = 0
        self._find_releasable()
        return given


class NeverReleasesTheLast(OptionalInput):
    @property
    def over(self) -> bool:
        return self.finished and not self._taken


class KeepsNothing(OptionalInput):
    to_keep = None


class ForgetsOnNewGenerations(OptionalInput):
    def open(self, message: Open) -> Arrival:
        arrival = super().open(message)
        if arrival is Arrival.NEW_GENERATION:
            self._buffer.clear()
        return arrival


class TakesTwice(OptionalInput):
    def __init__(self, spec: OptionalSpec) -> None:
        super().__init__(spec)

        class Repeating(Receiver):
            def accept(self, incarnation: int, generation: int, first: int, count: int) -> int:
                return max(0, super().accept(incarnation, generation, first, count) - 1)

        self.receiver = Repeating()


BROKEN = [DeletesTheWrongOne, StoresAlways, TakesTheNewestFirst, ReleasesWhatWaits, ForgetsOnNewGenerations, TakesTwice]
BROKEN += [ReleasesWhatItStores, NeverReleasesTheLast, KeepsNothing]


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(180)
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_input_is_caught(broken: type[OptionalInput]) -> None:
    class Broken(OptionalMachine):
        make = broken

    assert_machine_catches(Broken)
