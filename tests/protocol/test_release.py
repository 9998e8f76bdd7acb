"""The release rule: never early, never forgotten. Each part of it has a variant that breaks it, which must be caught."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.protocol.link_messages import CLOSED
from fission.protocol.release import NEVER, RELEASE_AFTER_S, RELEASE_SHARE, ReleaseRule, taken_with
from tests.protocol.caught import assert_caught

WINDOW = 9


class FakeOutput:
    """An output whose consumer releases on request."""

    def __init__(self) -> None:
        self.generation = self.released = 0
        self.kept: list[int] = []  # older generations

    def released_before(self, generation: int) -> bool:
        return self.released >= CLOSED or (generation <= self.generation and all(number >= generation for number in self.kept))


class FakeDevice:
    """A sink's file."""

    def __init__(self) -> None:
        self.generation = self.synced = 0
        self.kept_from = (0, 0)

    def acknowledgeable(self, generation: int) -> float:
        return self.synced if generation == self.generation else NEVER if self.generation > generation else 0

    def covers(self, generation: int) -> bool:
        return self.generation > generation

    def keep_from(self, generation: int, number: int) -> None:
        self.kept_from = generation, number


class FakeSnapshots:
    """The snapshots of a job with CHECKPOINT."""

    def __init__(self) -> None:
        self.stable = self.stored = 0
        self.settling = False

    def settle(self, released: int) -> None:
        if self.stored <= released:
            self.stable = max(self.stable, self.stored)


class Job:
    """A job that the rule decides for, and everything that it has released, in order."""

    def __init__(self, kind: type[ReleaseRule], outputs: int, *, device: bool, snapshots: bool) -> None:
        self.rule = kind([1], window_blocks=WINDOW, window_bytes=1 << 20)
        self.outputs = [FakeOutput() for _ in range(outputs)]
        self.device, self.snapshots = FakeDevice() if device else None, FakeSnapshots() if snapshots else None
        self.rule.outputs, self.rule.device, self.rule.snapshots = self.outputs, self.device, self.snapshots
        self.now = 0.0
        self.released: dict[int, int] = {}  # by generation; CLOSED when all of it is
        self.deadline = NEVER
        self.small_at: list[float] = []  # times of releases that cover less than the share of a window

    def step(self, what: str, number: int) -> None:
        """Let something happen; afterwards the job checks what it may release."""
        rule = self.rule
        if what == "done":
            rule.done += 1 + number
        elif what == "released" and self.outputs:
            output = self.outputs[number % len(self.outputs)]
            output.released = min(rule.done, output.released + 1 + number)
        elif what == "closed" and self.outputs:
            self.outputs[number % len(self.outputs)].released = CLOSED
        elif what == "older" and self.outputs:
            output = self.outputs[number % len(self.outputs)]
            output.kept = output.kept[1:]
        elif what == "synced" and self.device is not None:
            self.device.generation, self.device.synced = rule.generation, rule.done
        elif what == "taken" and self.snapshots is not None:
            self.snapshots.stored = rule.done
            self.snapshots.settling = False
        elif what == "generation":
            self._switch()
        elif what == "time":
            self.now += number * RELEASE_AFTER_S / 2
        self.look()

    def _switch(self) -> None:
        for output in self.outputs:
            if output.released < CLOSED:
                output.kept.append(output.generation)
                output.released = 0
            output.generation += 1
        if self.snapshots is not None:
            self.snapshots.stable = self.snapshots.stored = 0
            self.snapshots.settling = True
        self.rule.switch(self.rule.generation + 1, keeps=True)

    def look(self) -> None:
        """As the two threads of a job do."""
        rule = self.rule
        if self.deadline <= self.now:
            rule.begin_tick()
            releasable = [(1, rule.finished_upto())]
            if rule.tick(self.now, pending=rule.pending(releasable)):
                self._send_small(releasable)
            self.deadline = rule.next_deadline
        if rule.worth_a_look():
            upto = rule.finished_upto()
            due, left = rule.due([(1, upto)])
            rule.found(upto)
            self._send(due)
            if left and rule.rested(self.now):
                self._send_small([(1, upto)])
            elif left:
                self.deadline = min(self.deadline, rule.left(self.now))
        for generation in rule.older_released():
            self.check_older(generation)
            self.released[generation] = CLOSED

    def _send_small(self, releasable: list[tuple[int, int]]) -> None:
        self.small_at.append(self.now)
        self._send(self.rule.due(releasable, force=True)[0])

    def _send(self, due: list[tuple[int, int]]) -> None:
        for pipe, upto in due:
            assert upto <= self.allowed(), f"released up to {upto}, and only {self.allowed()} may go"
            self.rule.sent(pipe, upto)
            self.released[self.rule.generation] = upto

    def allowed(self) -> int:
        """The rule, as the oracle has it."""
        facts: list[float] = [self.rule.done, *(output.released for output in self.outputs)]
        if self.device is not None:
            facts.append(self.device.acknowledgeable(self.rule.generation))
        if self.snapshots is not None:
            facts.append(self.snapshots.stored)
        return int(min(facts))

    def check_older(self, generation: int) -> None:
        """The same for a whole generation."""
        assert generation < self.rule.generation
        for output in self.outputs:
            assert output.released >= CLOSED or (output.generation > generation and generation not in output.kept)
        assert self.device is None or self.device.generation > generation
        assert self.snapshots is None or not self.snapshots.settling

    def finish(self) -> None:
        """Nothing happens any longer but that time passes: everything that may go goes."""
        for _ in range(6):
            self.now += RELEASE_AFTER_S
            self.look()
        assert self.released.get(self.rule.generation, 0) >= self.rule.finished_upto()
        pauses = [after - before for before, after in zip(self.small_at, self.small_at[1:], strict=False)]
        assert min(pauses, default=NEVER) >= RELEASE_AFTER_S - 1e-9, "small releases follow each other closely"
        if not any(output.kept for output in self.outputs) and (self.device is None or self.device.generation == self.rule.generation):
            assert self.rule.older == [] or (self.snapshots is not None and self.snapshots.settling)


WHAT = ["done", "done", "released", "released", "closed", "older", "synced", "taken", "generation", "time"]
PLAYS = st.tuples(
    st.integers(0, 2), st.booleans(), st.booleans(), st.lists(st.tuples(st.sampled_from(WHAT), st.integers(0, 3)), max_size=40)
)


def play(kind: type[ReleaseRule], case: tuple[int, bool, bool, list[tuple[str, int]]]) -> None:
    outputs, device, snapshots, steps = case
    job = Job(kind, outputs, device=device and not outputs, snapshots=snapshots)
    for what, number in steps:
        job.step(what, number)
    job.finish()


@given(PLAYS)
def test_exactly_the_blocks_that_are_no_longer_needed_are_released(case: Any) -> None:
    play(ReleaseRule, case)


class Undone(ReleaseRule):
    """Releases what all outputs have released, done or not."""

    def finished_upto(self) -> int:
        done, self.done = self.done, 1 << 40
        try:
            return super().finished_upto()
        finally:
            self.done = done


class Unreleased(ReleaseRule):
    """Does not wait for its consumers."""

    def finished_upto(self) -> int:
        outputs, self.outputs = self.outputs, ()
        try:
            return super().finished_upto()
        finally:
            self.outputs = outputs


class OneConsumer(ReleaseRule):
    """Waits for one of its consumers."""

    def finished_upto(self) -> int:
        outputs, self.outputs = self.outputs, self.outputs[:1]
        try:
            return super().finished_upto()
        finally:
            self.outputs = outputs


class Unsynced(ReleaseRule):
    """Does not wait for the device."""

    def finished_upto(self) -> int:
        device, self.device = self.device, None
        try:
            return super().finished_upto()
        finally:
            self.device = device


class NoSnapshot(ReleaseRule):
    """Does not wait for a snapshot."""

    def finished_upto(self) -> int:
        snapshots, self.snapshots = self.snapshots, None
        try:
            return super().finished_upto()
        finally:
            self.snapshots = snapshots


class ForgetsOlder(ReleaseRule):
    """Never releases an older generation."""

    def older_released(self) -> list[int]:
        return []


class OlderAtOnce(ReleaseRule):
    """Releases older generations as soon as a new one begins."""

    def older_released(self) -> list[int]:
        found, self.older = self.older, []
        return found


class Timeless(ReleaseRule):
    """Sends only what has gathered."""

    def tick(self, now: float, *, pending: bool) -> bool:
        super().tick(now, pending=pending)
        return False


class Restless(ReleaseRule):
    """Sends a small release for every compute block."""

    def rested(self, now: float) -> bool:
        return True


class Restful(ReleaseRule):
    """Forgets what it left for later, because it takes it for sent."""

    def left(self, now: float) -> float:
        super().left(now)
        return NEVER


class Repeats(ReleaseRule):
    """Keeps what it has sent when a generation begins."""

    def switch(self, generation: int, *, keeps: bool) -> None:
        sent = dict(self._released)
        super().switch(generation, keeps=keeps)
        self._released.update(sent)


class Sleeps(ReleaseRule):
    """Does not look again when its consumers have released more."""

    def worth_a_look(self, *, force: bool = False) -> bool:
        self.found(1 << 40 if self._found_upto >= 0 else -1)
        return super().worth_a_look(force=force)


class Skips(ReleaseRule):
    """Counts what the job has done as found, whatever its consumers have released."""

    def found(self, upto: int) -> None:
        super().found(self.done)


@pytest.mark.parametrize(
    "broken",
    [Undone, Unreleased, OneConsumer, Unsynced, NoSnapshot, ForgetsOlder, OlderAtOnce, Timeless, Restless, Restful, Repeats, Sleeps, Skips],
    ids=lambda kind: kind.__name__,
)
def test_a_broken_rule_is_caught(broken: type[ReleaseRule]) -> None:
    assert_caught(lambda case: play(broken, case), PLAYS)


def rule(**more: int) -> ReleaseRule:
    return ReleaseRule([1], **{"window_blocks": WINDOW, "window_bytes": 90, **more})


def test_a_share_of_a_window_is_sent_at_once_and_less_is_left() -> None:
    one = rule()
    assert one.due([(1, WINDOW // RELEASE_SHARE - 1)]) == ([], True)
    assert one.due([(1, WINDOW // RELEASE_SHARE), (2, 1)]) == ([(1, 3)], True)
    one.sent(1, 3)
    assert one.due([(1, 3)], force=True) == ([], False)
    assert one.due([(1, 4)], force=True) == ([(1, 4)], False)


def test_many_bytes_are_released_however_few_blocks_they_are() -> None:
    one = rule()
    one.arrived(90 // RELEASE_SHARE)
    assert one.due([(1, 1)]) == ([(1, 1)], False)
    one.sent(1, 1)
    assert one.due([(1, 2)]) == ([], True)  # the bytes are counted anew


def test_a_small_rest_is_not_released_until_it_has_grown() -> None:
    one = rule()
    assert one.worth_a_look()
    assert one.left(5.0) == 5.0 + RELEASE_AFTER_S
    assert not one.worth_a_look()
    assert one.worth_a_look(force=True)
    one.done = WINDOW // RELEASE_SHARE
    assert one.worth_a_look()


def test_nothing_new_is_looked_for_until_a_consumer_releases_more() -> None:
    one, output = rule(), FakeOutput()
    one.outputs = [output]
    one.done, output.released = 3, 2
    assert one.worth_a_look()
    one.found(one.finished_upto())
    one.done = 5
    assert not one.worth_a_look()
    assert one.worth_a_look(force=True)
    output.released = 3
    assert one.worth_a_look()
    one.found(3)
    one.forget(1)
    assert one.worth_a_look(), "a release that must be sent again is found without a new one"
    one.found(3)
    one.switch(1, keeps=False)
    assert one.worth_a_look()


def test_the_deadline_is_reached_once() -> None:
    one = rule()
    assert not one.tick(1.0, pending=True)
    assert one.next_deadline == 1.0 + RELEASE_AFTER_S
    assert not one.tick(1.0 + RELEASE_AFTER_S / 2, pending=True)
    assert one.tick(1.0 + RELEASE_AFTER_S, pending=True)
    assert one.next_deadline == NEVER
    assert not one.tick(2.0, pending=False)
    assert one.next_deadline == NEVER


def test_a_program_is_asked_which_inputs_its_outputs_belong_to() -> None:
    one, output = rule(), FakeOutput()
    one.outputs, one.done, output.released = [output], 9, 8
    one.follow = lambda released: released // 2
    assert one.finished_upto() == 4


def test_a_file_must_be_able_to_return_to_the_last_stable_snapshot() -> None:
    one, device, snapshots = rule(), FakeDevice(), FakeSnapshots()
    one.device, one.snapshots = device, snapshots
    one.done, device.synced, snapshots.stored = 5, 4, 3
    assert one.finished_upto() == 3
    assert device.kept_from == (0, 3)


def test_the_device_hurries_when_a_window_may_wait_for_it() -> None:
    one, device = rule(), FakeDevice()
    assert not one.device_hurries
    one.device, one.done = device, WINDOW // RELEASE_SHARE
    assert one.device_hurries
    device.synced = 1
    assert not one.device_hurries


def test_an_end_that_is_not_final_does_not_end_a_later_generation() -> None:
    assert taken_with(3, final=False) == 3
    assert taken_with(CLOSED, final=False) == 0
    assert taken_with(CLOSED, final=True) == CLOSED


def test_releases_that_the_producer_may_have_missed_are_sent_again() -> None:
    one = rule()
    one.sent(1, 4)
    assert one.sent_upto(1) == 4
    assert not one.pending([(1, 4)])
    one.forget(1)
    assert one.pending([(1, 4)])
