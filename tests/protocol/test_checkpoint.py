"""protocol/checkpoint.py: single rules, and a hypothesis machine with a job's snapshots, confirmations and releases."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fission.protocol.checkpoint import Checkpoints, to_restore
from fission.protocol.checkpointing import APART_S, AS_MADE, Checkpointing, CheckpointSpec
from tests.protocol.caught import assert_machine_catches


def test_a_snapshot_every_so_many_blocks() -> None:
    one = Checkpoints(3, 100)
    one.begin(0, 0.0)
    assert [block for block in range(1, 11) if one.due(block, 0.0)] == [3, 6, 9]


def test_a_snapshot_every_so_often() -> None:
    one = Checkpoints(timedelta(seconds=2), 100)
    one.begin(0, 10.0)
    assert [block for block in range(1, 11) if one.due(block, 10.0 + block / 2)] == [4, 8]


def test_a_small_window_asks_for_a_snapshot_earlier() -> None:
    one = Checkpoints(1000, 4)
    one.begin(10, 0.0)
    assert [block for block in range(11, 25) if one.due(block, 0.0)] == [14, 18, 22]
    # one that is stable makes room for as many again
    one.on_stored(22)
    assert one.settle(23)
    assert [block for block in range(25, 31) if one.due(block, 0.0)] == [26, 30]


def test_an_empty_window_asks_for_a_snapshot_after_each_block() -> None:
    one = Checkpoints(1000, 0)
    one.begin(0, 0.0)
    assert [block for block in range(1, 4) if one.due(block, 0.0)] == [1, 2, 3]


def test_a_waiting_job_asks_for_a_snapshot_at_once_but_not_for_the_same_again() -> None:
    one = Checkpoints(1000, 100)
    one.begin(5, 0.0)
    assert not one.due(5, 0.0, pressed=True)
    assert one.due(6, 0.0, pressed=True)
    assert not one.due(6, 0.0, pressed=True)
    assert one.taken == 6


def test_while_one_waits_for_the_client_another_is_taken_only_where_the_flow_would_stop() -> None:
    one = Checkpoints(2, 10)
    one.begin(0, 0.0)
    assert [block for block in range(1, 16) if one.due(block, 0.0, waits=True)] == [10]
    assert one.due(12, 0.0, pressed=True, waits=True)
    assert not one.due(14, 0.0, waits=True)
    assert one.due(14, 0.0)


def test_a_job_need_not_ask_before_a_snapshot_can_be_due() -> None:
    one = Checkpoints(80, 200)
    one.begin(0, 0.0)
    assert one.look_at == 0
    assert not one.due(1, 0.0)
    assert one.look_at == 80
    assert not one.due(80, 0.0, waits=True)
    assert one.look_at == 90, "it looks again soon whether the client has confirmed"
    assert one.due(90, 0.0)
    assert one.look_at == 170
    assert not one.due(289, 0.0, waits=True)
    assert one.look_at == 290, "and in any case when half of the window is in use"
    one.pressed_after = 20
    assert one.look_at == 110, "blocks have become larger"
    timed = Checkpoints(timedelta(seconds=1), 200)
    timed.begin(0, 0.0)
    assert [timed.due(block, block / 4) for block in range(1, 9)].count(True) == 2
    assert timed.look_at == 9


def test_snapshots_that_only_the_interval_asks_for_are_some_time_apart() -> None:
    decisions = Checkpointing(CheckpointSpec("Sum 3", 1, 100))
    decisions.begin(decisions.restoration(0, 1), AS_MADE, 0.0)
    decisions.on_stored(0, 0)
    taken = []
    for block in range(1, 1000):
        now = block / 10_000
        if decisions.due(block, now):
            taken.append(block)
            decisions.take(block, bytes(1000))
            decisions.on_stored(0, block)
    assert 100e-3 / APART_S * 0.9 < len(taken) <= 100e-3 / APART_S + 1
    assert decisions.due(1000, now, pressed=True)
    assert not decisions.due(1001, now)
    assert decisions.due(1101, now), "the flow would stop"


def test_a_snapshot_is_stable_when_it_is_stored_and_its_outputs_are_released() -> None:
    one = Checkpoints(3, 100)
    one.begin(0, 0.0)
    assert not one.settle(100)
    one.on_stored(3)
    one.on_stored(6)
    assert not one.settle(2)
    assert one.stable == 0
    assert one.settle(5)
    assert one.stable == 3
    assert not one.settle(5)
    assert one.settle(6)
    assert one.stable == 6
    one.on_stored(3)  # an old word
    assert not one.settle(6)
    assert one.stable == 6


def test_a_state_that_is_made_once_is_stored_before_the_first_block() -> None:
    job = Checkpointing(CheckpointSpec("J", every=10, pressed_after=100))
    job.begin(job.restoration(0, 1), b"made once", 0.0, stored_first=True)
    assert job.settling
    job.on_stored(0, 0)
    assert not job.settling
    later = Checkpointing(CheckpointSpec("J", every=10, pressed_after=100, stored=[(0, 0)]))
    restoration = later.restoration(0, 1)
    assert (restoration.snapshot, restoration.block) == ((0, 0), 0)
    later.begin(restoration, b"made once", 0.0)
    assert not later.settling


def test_snapshots_of_earlier_incarnations_count() -> None:
    one = Checkpoints(100, 100)
    one.begin(7, 0.0, [3, 7, 14, 21])
    assert one.settle(20)
    assert one.stable == 14


def test_a_new_beginning_forgets() -> None:
    one = Checkpoints(3, 100)
    one.begin(0, 0.0)
    one.on_stored(3)
    one.begin(12, 0.0)
    assert not one.settle(100)
    assert (one.stable, one.taken) == (12, 12)


@pytest.mark.parametrize(
    ("stored", "first", "found"),
    [([], 1, None), ([0], 1, 0), ([0, 20], 1, 0), ([5, 10], 6, 5), ([5, 10], 7, 10), ([5, 10], 11, 10), ([5, 10], 12, None)],
)
def test_an_incarnation_begins_with_the_smallest_that_is_not_before_what_is_finished(
    stored: list[int], first: int, found: int | None
) -> None:
    assert to_restore(stored, first) == found


class CheckpointMachine(RuleBasedStateMachine):
    """A job, the client's store, and consumers that release. Whenever the job dies, it must be able to resume."""

    make: ClassVar[type[Checkpoints]] = Checkpoints

    @initialize(every=st.integers(1, 6) | st.just(timedelta(seconds=3)), pressed_after=st.integers(0, 5))
    def start(self, every: int | timedelta, pressed_after: int) -> None:
        self.every, self.pressed_after, self.now = every, pressed_after, 0.0
        self.store = [0]  # on the client's disk; what is under way to it, and back:
        self.under_way: list[tuple[str, int]] = []
        self.confirmed: list[int] = []
        self.done = 0
        self.released = 0  # of the outputs, by their consumers
        self.inputs_released = 0
        self.live()

    def live(self) -> None:
        found = to_restore(self.store, self.inputs_released + 1)
        assert found is not None, "a new incarnation has nothing to begin with"
        assert found <= max(self.released, self.inputs_released), "it would leave out blocks that its consumers have not released"
        self.one = self.make(self.every, self.pressed_after)
        self.one.begin(found, self.now, self.store)
        self.done = found
        self.under_way.clear()
        self.confirmed.clear()

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.0]), pressed=st.booleans(), waits=st.booleans())
    def compute(self, seconds: float, pressed: bool, waits: bool) -> None:
        self.done += 1
        self.now += seconds
        if (pressed or self.done >= self.one.look_at) and self.one.due(self.done, self.now, pressed=pressed, waits=waits):
            self.under_way.append(("store", self.done))
        assert self.done - self.one.taken < max(1, self.pressed_after) + max(0, self.one.stable - self.one.taken)

    @precondition(lambda self: self.under_way)
    @rule()
    def client(self) -> None:
        what, block = self.under_way.pop(0)
        if what == "store":
            self.store = sorted({*self.store, block})
            self.confirmed.append(block)
        else:
            self.store = [one for one in self.store if one >= block]

    @precondition(lambda self: self.confirmed)
    @rule()
    def hear(self) -> None:
        self.one.on_stored(self.confirmed.pop(0))

    @rule(count=st.integers(1, 4))
    def consumers_release(self, count: int) -> None:
        self.released = max(self.released, min(self.released + count, self.done))

    @rule()
    def settle(self) -> None:
        before = self.one.stable
        if self.one.settle(self.released):
            assert self.one.stable > before
            self.under_way.append(("stable", self.one.stable))

    @rule()
    def release_inputs(self) -> None:
        assert self.one.stable >= self.inputs_released or not self.inputs_released
        self.inputs_released = max(self.inputs_released, self.one.stable)

    @rule()
    def die(self) -> None:
        self.live()

    @invariant()
    def it_could_die_now(self) -> None:
        found = to_restore(self.store, self.inputs_released + 1)
        assert found is not None, "a new incarnation would have nothing to begin with"
        assert found <= max(self.released, self.inputs_released), "it would leave out blocks that its consumers have not released"


TestCheckpoints = CheckpointMachine.TestCase
TestCheckpoints.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


class StableWhenStored(Checkpoints):
    """Forgets to ask whether the outputs are released."""

    def settle(self, released: int) -> bool:
        return super().settle(1 << 60)


class StableWhenTaken(Checkpoints):
    """Forgets to wait for the client."""

    def due(self, block: int, now: float, *, pressed: bool = False, waits: bool = False) -> bool:
        due = super().due(block, now, pressed=pressed, waits=waits)
        if due:
            self.on_stored(block)
        return due


class NeverPressed(Checkpoints):
    """Forgets the window."""

    def __init__(self, every: int | timedelta, pressed_after: int) -> None:
        super().__init__(every, 1 << 60)


class LooksTooLate(Checkpoints):
    """Has the job look when the window is full, not when half of it is."""

    def due(self, block: int, now: float, *, pressed: bool = False, waits: bool = False) -> bool:
        due = super().due(block, now, pressed=pressed, waits=waits)
        self.look_at += self.pressed_after
        return due


@pytest.mark.parametrize("broken", [StableWhenStored, StableWhenTaken, NeverPressed, LooksTooLate])
def test_broken_checkpoints_are_caught(broken: type[Checkpoints]) -> None:
    assert_machine_catches(type("Broken", (CheckpointMachine,), {"make": broken}))
