"""One pipeline's machine: every job whose dependencies finished runs, none after it finished, and the pipeline ends exactly once."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fission.errors import LocalProtocolError
from fission.protocol.dagrun import (
    Cancelled,
    CompletePipeline,
    DagJobPlan,
    DagJobState,
    DagRun,
    JobFinished,
    JobLost,
    JobRaised,
    RecordedJob,
    StartAttempt,
)
from tests.protocol.dagrun_play import BROKEN, Broken, World, check_end, play

DIAMOND = [DagJobPlan(), DagJobPlan(frozenset({0})), DagJobPlan(frozenset({0})), DagJobPlan(frozenset({1, 2}))]


def run(job: int, attempt: int = 1) -> StartAttempt:
    return StartAttempt(job=job, attempt=attempt)


def test_a_diamond_runs_in_order_and_ends_once() -> None:
    machine = DagRun(DIAMOND)
    assert machine.begin() == [run(0)]
    assert machine.running() == {0: 1}
    assert machine.handle(JobFinished(job=0, attempt=1)) == [run(1), run(2)]
    assert machine.handle(JobFinished(job=2, attempt=1)) == []
    assert machine.handle(JobFinished(job=1, attempt=1)) == [run(3)]
    assert machine.handle(JobFinished(job=3, attempt=1)) == [CompletePipeline(state=DagJobState.FINISHED)]
    assert machine.over
    assert machine.handle(JobFinished(job=3, attempt=1)) == []


def test_a_raise_uses_retries_and_then_fails_all_dependent_jobs() -> None:
    machine = DagRun([DagJobPlan(retries=1), DagJobPlan(), DagJobPlan(frozenset({0})), DagJobPlan(frozenset({1}))])
    assert machine.begin() == [run(0), run(1)]
    assert machine.handle(JobRaised(job=0, attempt=1, error="once")) == [run(0, 2)]
    assert machine.handle(JobRaised(job=0, attempt=2, error="twice")) == []
    assert [machine.state(job) for job in range(4)] == [DagJobState.FAILED, DagJobState.RUNNING, DagJobState.SKIPPED, DagJobState.WAITING]
    assert machine.handle(JobFinished(job=1, attempt=1)) == [run(3)], "the other branch continues"
    assert machine.handle(JobFinished(job=3, attempt=1)) == [CompletePipeline(state=DagJobState.FAILED, failed=0, error="twice")]


def test_a_hopeless_job_is_not_tried_again() -> None:
    machine = DagRun([DagJobPlan(retries=5)])
    machine.begin()
    assert machine.handle(JobRaised(job=0, attempt=1, error="no such worker", hopeless=True)) == [
        CompletePipeline(state=DagJobState.FAILED, failed=0, error="no such worker")
    ]


def test_a_lost_job_uses_no_retry() -> None:
    machine = DagRun([DagJobPlan()])
    machine.begin()
    for attempt in range(1, 20):
        assert machine.handle(JobLost(job=0, attempt=attempt)) == [run(0, attempt + 1)]


def test_of_an_old_attempt_only_the_good_end_counts() -> None:
    machine = DagRun([DagJobPlan(), DagJobPlan(frozenset({0}))])
    machine.begin()
    machine.handle(JobLost(job=0, attempt=1))
    assert machine.handle(JobRaised(job=0, attempt=1, error="old")) == []
    assert machine.handle(JobLost(job=0, attempt=1)) == []
    assert machine.handle(JobFinished(job=0, attempt=1)) == [run(1)]
    assert machine.handle(JobFinished(job=0, attempt=2)) == []
    assert machine.state(0) is DagJobState.FINISHED


def test_a_new_incarnation_runs_with_what_is_recorded() -> None:
    machine = DagRun(DIAMOND, {0: RecordedJob(tries=1, finished=True), 1: RecordedJob(tries=0, attempt=3)})
    assert machine.begin() == [run(2)], "0 is finished, 1 runs as attempt 3"
    assert machine.handle(JobLost(job=1, attempt=3)) == [run(1, 4)]
    assert DagRun([DagJobPlan()], {0: RecordedJob(tries=1, finished=True)}).begin() == [CompletePipeline(state=DagJobState.FINISHED)]
    assert DagRun([DagJobPlan()], {0: RecordedJob(tries=1, failed=True, error="e")}).begin() == [
        CompletePipeline(state=DagJobState.FAILED, failed=0, error="e")
    ]
    again = DagRun([DagJobPlan(retries=1)], {0: RecordedJob(tries=1, error="first")})
    assert again.begin() == [run(0, 2)]
    assert again.handle(JobRaised(job=0, attempt=2, error="second"))[0] == CompletePipeline(
        state=DagJobState.FAILED, failed=0, error="second"
    )


def test_cancelled_is_over_at_once() -> None:
    machine = DagRun(DIAMOND)
    machine.begin()
    assert machine.handle(Cancelled()) == [CompletePipeline(state=DagJobState.CANCELLED)]
    assert machine.count == 0
    assert machine.handle(JobFinished(job=0, attempt=1)) == []


@pytest.mark.parametrize("event", [JobFinished(job=0, attempt=2), JobFinished(job=9, attempt=1), JobLost(job=1, attempt=1)])
def test_impossible_events_raise_and_change_nothing(event: JobFinished | JobLost) -> None:
    machine = DagRun(DIAMOND)
    machine.begin()
    with pytest.raises(LocalProtocolError):
        machine.handle(event)
    assert machine.running() == {0: 1}
    assert machine.handle(JobFinished(job=0, attempt=1)) == [run(1), run(2)]


def test_wrong_use_is_reported() -> None:
    with pytest.raises(LocalProtocolError, match="there is no job 7"):
        DagRun([DagJobPlan(frozenset({7}))])
    with pytest.raises(LocalProtocolError, match="there is no job 3"):
        DagRun([DagJobPlan()], {3: RecordedJob()})
    machine = DagRun([DagJobPlan()])
    with pytest.raises(LocalProtocolError, match="has not begun"):
        machine.handle(Cancelled())
    machine.begin()
    with pytest.raises(LocalProtocolError, match="begins once"):
        machine.begin()


class Machine(RuleBasedStateMachine):
    """`World`, with hypothesis choosing the graph and what happens."""

    world: World
    machine: DagRun

    @initialize(shape=st.lists(st.tuples(st.frozensets(st.integers(0, 7), max_size=4), st.integers(0, 2)), min_size=1, max_size=8))
    def graph(self, shape: list[tuple[frozenset[int], int]]) -> None:
        self.world = World(random.Random(0))
        self.world.plans = [DagJobPlan(frozenset(one for one in after if one < at), retries) for at, (after, retries) in enumerate(shape)]
        self.begin()

    def begin(self) -> None:
        self.machine = DagRun(self.world.plans, self.world.known())
        self.world.take(self.machine.begin())

    def runs(self) -> bool:
        return not self.world.ends

    def pick(self, index: int) -> tuple[int, int]:
        jobs = sorted(self.world.running.items())
        return jobs[index % len(jobs)]

    @precondition(runs)
    @rule(index=st.integers(0, 7))
    def finishes(self, index: int) -> None:
        self.world.take(self.machine.handle(self.world.finish(*self.pick(index))))

    @precondition(runs)
    @rule(index=st.integers(0, 7), hopeless=st.booleans())
    def raises(self, index: int, hopeless: bool) -> None:
        self.world.take(self.machine.handle(self.world.bad_end(*self.pick(index), hopeless)))

    @precondition(runs)
    @rule(index=st.integers(0, 7))
    def is_lost(self, index: int) -> None:
        self.world.take(self.machine.handle(self.world.lose(*self.pick(index))))

    @precondition(lambda self: self.world.ghosts)
    @rule(index=st.integers(0, 99), kind=st.sampled_from(["finish", "raise", "lost"]))
    def a_ghost_answers(self, index: int, kind: str) -> None:
        self.world.take(self.machine.handle(self.world.ghost(index, kind)))

    @precondition(runs)
    @rule()
    def the_pipeliner_dies(self) -> None:
        self.world.ghosts.clear()
        self.begin()

    @precondition(runs)
    @rule()
    def a_client_cancels(self) -> None:
        self.world.cancelled = True
        self.world.running.clear()
        self.world.take(self.machine.handle(Cancelled()))

    @precondition(lambda self: self.world.ends)
    @rule(index=st.integers(0, 7))
    def a_job_answers_late(self, index: int) -> None:
        job = index % len(self.world.plans)
        assert self.machine.handle(JobFinished(job=job, attempt=1)) == []

    @invariant()
    def it_runs_or_has_ended_once(self) -> None:
        assert len(self.world.ends) <= 1
        if self.world.ends:
            check_end(self.world, self.world.ends[0])
        else:
            assert self.world.running, "nothing runs, and the pipeline is not over"
            assert self.world.running == self.machine.running()

    def teardown(self) -> None:
        while hasattr(self, "machine") and not self.world.ends:
            self.finishes(0)
            self.it_runs_or_has_ended_once()


Machine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase


def test_many_random_plays() -> None:
    for seed in range(2000):
        play(World(random.Random(seed)))


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_machine_that_is_broken_on_purpose_is_caught(broken: type[Broken]) -> None:
    def caught(seed: int) -> bool:
        try:
            play(World(random.Random(seed), broken))
        except (AssertionError, LocalProtocolError):
            return True
        return False

    assert any(caught(seed) for seed in range(300))
