"""protocol/supervision.py: single rules, and a hypothesis machine with nodes and processes that come, fail and return."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fission.errors import EXIT_FAILED, EXIT_NO_PLACE, EXIT_OK, AllocationError, LocalProtocolError
from fission.protocol.outages import ANNOUNCE_S
from fission.protocol.restarts import AVOID_CAP_S, AVOID_S, ENDLESS_CAP_S, FIRST_BACK_OFF_S, RestartPolicy
from fission.protocol.supervised_job import SupervisedJob, SupervisedJobs
from fission.protocol.supervision import (
    TRANSITIONS,
    Close,
    Failover,
    Finish,
    Instruction,
    JobEnded,
    JobPlan,
    JobReady,
    JobRefused,
    JobState,
    Kill,
    Launch,
    NodeLost,
    NodeUp,
    Notify,
    Replayed,
    Reset,
    ResumedNetwork,
    Supervisor,
    Tick,
    Wire,
)
from tests.protocol.caught import assert_machine_catches

WINDOW_S, TIMEOUT_S = 10.0, 30.0


def plan(job: int, inputs: Mapping[int, int] | None = None, outputs: Mapping[int, int] | None = None, **more: Any) -> JobPlan:
    values: dict[str, Any] = {"resumable": True, "part": 1, "required": True, "restarts": 3, "source": not inputs}
    return JobPlan(job, f"Job {job}", inputs or {}, outputs or {}, **{**values, **more})


def chain(**more: Any) -> list[JobPlan]:
    """1 -101-> 2 -102-> 3."""
    return [plan(1, outputs={101: 2}, **more), plan(2, {101: 1}, {102: 3}), plan(3, {102: 2})]


class Places:
    """Nodes with this many places each; the one with the fewest jobs is chosen."""

    def __init__(self, room: int) -> None:
        self.room = room

    def round(self, taken: Mapping[str, Collection[int]], avoided: Mapping[str, str]) -> Round:
        assert not taken.keys() & avoided.keys()
        return Round(self.room, {node: set(jobs) for node, jobs in taken.items()})


class Round:
    """One round of `Places`."""

    def __init__(self, room: int, taken: dict[str, set[int]]) -> None:
        self.room, self.taken = room, taken

    def place(self, job: int) -> tuple[str, str]:
        assert all(job not in jobs for jobs in self.taken.values())
        free = [node for node, jobs in self.taken.items() if len(jobs) < self.room]
        if not free:
            raise AllocationError(f"no place for Job {job}: all full")
        node = min(free, key=lambda node: (len(self.taken[node]), node))
        self.taken[node].add(job)
        return node, "fewest jobs"


def supervised(plans: Sequence[JobPlan], *nodes: str, room: int = 9, make: type[Supervisor] = Supervisor) -> Supervisor:
    one = make(plans, Places(room), restart_window_s=WINDOW_S, allocation_timeout_s=TIMEOUT_S)
    for node in nodes:
        assert one.handle(NodeUp(node=node), 0.0) == []
    return one


def running(plans: Sequence[JobPlan], *nodes: str, room: int = 9) -> Supervisor:
    one = supervised(plans, *nodes, room=room)
    one.start(0.0)
    for job in [each.job for each in plans]:
        one.handle(JobReady(job=job, incarnation=1), 0.0)
    return one


def inside(thing: Any) -> str:
    """Everything that a machine holds, as a text."""
    if type(thing).__module__.startswith("fission.") and not isinstance(thing, JobState):
        names = [*getattr(thing, "__slots__", ()), *getattr(thing, "__dict__", ())]
        return f"{type(thing).__name__}({', '.join(f'{name}={inside(getattr(thing, name))}' for name in names)})"
    if isinstance(thing, dict):
        return str({key: inside(value) for key, value in thing.items()})
    return str([inside(one) for one in thing]) if isinstance(thing, (list, deque)) else repr(thing)


def kinds(instructions: Sequence[Instruction], kind: type) -> list[Any]:
    return [one for one in instructions if type(one) is kind]


# -- single rules


def test_everything_is_placed_at_the_start_in_the_order_of_priorities() -> None:
    plans = chain()
    plans[2] = replace(plans[2], priority=5)
    found = supervised(plans, "a", "b").start(1.0)
    assert found == [
        Launch(job=3, node="a", incarnation=1, generation=0),
        Launch(job=1, node="b", incarnation=1, generation=0),
        Launch(job=2, node="a", incarnation=1, generation=0),
    ]


def test_a_node_is_lost_and_everything_on_it_is_moved_and_wired() -> None:
    one = running(chain(), "a", "b")
    assert [one.newest(job) for job in (1, 2, 3)] == [(1, "a"), (1, "b"), (1, "a")]
    found = one.handle(NodeLost(node="b", reason="silent"), 2.0)
    assert found == [
        Launch(job=2, node="a", incarnation=2, generation=0),
        Wire(job=1, pipe=101, peer=2, incarnation=2),
        Wire(job=3, pipe=102, peer=2, incarnation=2),
    ]
    one.handle(Replayed(job=2, incarnation=2, blocks=5), 2.1)
    one.handle(Replayed(job=2, incarnation=1, blocks=7), 2.1)
    (reported,) = one.handle(JobReady(job=2, incarnation=2), 2.25)
    assert reported == Failover(what="node b is lost", why="silent", moves=("Job 2 -> a",), seconds=0.25, replayed=5)
    assert str(reported) == "node b is lost: silent; Job 2 -> a; 0.25 s, 5 blocks replayed"
    assert one.handle(NodeUp(node="b"), 3.0) == [Kill(job=2, node="b", incarnation=1)]


def test_a_job_that_dies_is_started_again_where_it_was_and_later_each_time() -> None:
    one = running(chain(), "a", "b")
    assert kinds(one.handle(JobEnded(job=2, incarnation=1, error="boom"), 1.0), Launch) == [
        Launch(job=2, node="b", incarnation=2, generation=0)
    ]
    assert kinds(one.handle(JobEnded(job=2, incarnation=2, error="boom"), 1.5), Launch) == []
    assert one.state(2) is JobState.FAILED
    assert one.due == 1.5 + FIRST_BACK_OFF_S
    assert kinds(one.handle(Tick(), 1.5 + FIRST_BACK_OFF_S), Launch) == [Launch(job=2, node="b", incarnation=3, generation=0)]
    assert one.newest(2)[0] == 3


def test_restarts_are_limited_within_the_window() -> None:
    one = running(chain(), "a")
    now = 0.0
    for incarnation in range(1, 4):
        now += 8.0
        one.handle(Tick(), now)
        assert kinds(one.handle(JobEnded(job=2, incarnation=incarnation, error="boom"), now), Finish) == []
        one.handle(Tick(), now + 5)
    later = now + WINDOW_S + 6
    assert kinds(one.handle(JobEnded(job=2, incarnation=4, error="boom"), later), Finish) == []
    for incarnation in range(5, 7):
        later += 2
        one.handle(Tick(), later)
        assert not kinds(one.handle(JobEnded(job=2, incarnation=incarnation, error="boom"), later), Finish)
    one.handle(Tick(), later + 2)
    found = one.handle(JobEnded(job=2, incarnation=7, error="boom\nat last"), later + 2)
    assert found[0] == Notify(text="Job 2 is not started again: it failed 4 times within 10 s (RESTARTS = 3)")
    assert found[1:] == [Finish(exit_code=EXIT_FAILED, reason="Job 2 failed", error="boom\nat last")]
    assert one.over
    assert one.due is None
    assert one.handle(Tick(), later + 99) == []


@pytest.mark.parametrize("job", [1, 2, 3])
@pytest.mark.parametrize("again", [{"hopeless": True}, {"block": 7}, {"block": 0}])
def test_a_failure_that_would_come_again_is_not_retried(again: dict[str, Any], job: int) -> None:
    one = running(chain(), "a")
    if "block" in again:
        assert not kinds(one.handle(JobEnded(job=job, incarnation=1, error="boom at 0x7f3a12345678", **again), 1.0), Finish)
    incarnation = one.newest(job)[0]
    why, end = one.handle(JobEnded(job=job, incarnation=incarnation, error="boom at 0x7f3a87654321", **again), 1.0)
    assert end == Finish(exit_code=EXIT_FAILED, reason=f"Job {job} failed", error="boom at 0x7f3a87654321")
    assert why.text.startswith(f"Job {job} is not started again: ")


@pytest.mark.parametrize("restarts", [3, None])
@pytest.mark.parametrize(("second", "same"), [(("boom", 7), True), (("boom", 8), False), (("bang", 7), False), (("boom", None), False)])
def test_only_the_same_failure_at_the_same_block_is_the_same(second: tuple[str, int | None], same: bool, restarts: int | None) -> None:
    one = running(chain(restarts=restarts), "a")
    one.handle(JobEnded(job=1, incarnation=1, error="boom", block=7), 1.0)
    error, block = second
    assert bool(kinds(one.handle(JobEnded(job=1, incarnation=2, error=error, block=block), 1.0), Finish)) is (same and restarts is not None)


@pytest.mark.parametrize("job", [1, 2, 3])
def test_with_restarts_none_a_job_is_always_restarted_with_growing_pauses(job: int) -> None:
    plans = [replace(one, restarts=None) for one in chain()]
    one = running(plans, "a")
    now, waits = 1.0, []
    for incarnation in range(1, 40):
        assert not kinds(
            one.handle(JobEnded(job=job, incarnation=incarnation, error="refused", block=5, hopeless=incarnation % 2 == 0), now), Finish
        )
        waits.append(0.0)
        while one.state(job) is JobState.FAILED:
            waits[-1] += (one.due or 0.0) - now
            now = one.due or 0.0
            one.handle(Tick(), now)
        one.handle(JobReady(job=job, incarnation=incarnation + 1), now)
    assert waits == sorted(waits, key=lambda wait: round(wait, 6))
    assert waits[:3] == pytest.approx([0.0, 0.1, 0.2])
    assert waits[-1] == pytest.approx(ENDLESS_CAP_S)
    # an incarnation that has run for RESTART_WINDOW: the back-off begins again
    assert kinds(one.handle(JobEnded(job=job, incarnation=40, error="refused", block=5), now + WINDOW_S), Launch)


# -- failures that are the node's


def test_a_job_that_its_node_cannot_start_goes_to_another_one_at_once_without_a_failure_of_the_job() -> None:
    one = running(chain(restarts=0), "a", "b", "c")
    node = one.newest(1)[1]
    cause = "No space left on device: /home/pi/fission/1"
    found = one.handle(JobRefused(job=1, incarnation=1, cause=cause), 1.0)
    (launch,) = kinds(found, Launch)
    assert (launch.incarnation, launch.node != node) == (2, True)
    (reported,) = kinds(one.handle(JobReady(job=1, incarnation=2), 1.2), Failover)
    assert str(reported) == f"Job 1 could not start on node {node}: {cause}; Job 1 -> {launch.node}; 0.20 s, 0 blocks replayed"
    assert not one.over


def test_a_node_that_refuses_is_left_out_longer_each_time_until_a_job_starts_there() -> None:
    one = running([plan(1)], "a")
    now, waits = 1.0, []
    for incarnation in range(1, 5):
        found = one.handle(JobRefused(job=1, incarnation=incarnation, cause="cannot fork"), now)
        assert not kinds(found, Launch)
        assert ["no place for Job 1" in each.text for each in kinds(found, Notify)[-1:]] == ([True] if incarnation == 1 else [])
        again, launched = now, []
        while not launched:
            again = one.due or 0.0
            launched = kinds(one.handle(Tick(), again), Launch)
        waits.append(again - now)
        now = again
    assert waits == pytest.approx([AVOID_S * 2**count for count in range(4)])
    assert not one.over
    one.handle(JobReady(job=1, incarnation=5), now)
    found = one.handle(JobRefused(job=1, incarnation=5, cause="cannot fork"), now + 1)
    assert not kinds(found, Launch)
    assert kinds(one.handle(Tick(), now + 1 + AVOID_S), Launch)


def test_without_a_node_that_can_start_it_the_network_ends_after_the_timeout_and_says_why() -> None:
    one = running([plan(1)], "a")
    now, end = 1.0, []
    one.handle(JobRefused(job=1, incarnation=1, cause="cannot fork"), now)
    while not end:
        now = one.due or 0.0
        for launch in kinds(found := one.handle(Tick(), now), Launch):
            found += one.handle(JobRefused(job=1, incarnation=launch.incarnation, cause="cannot fork"), now)
        end = kinds(found, Finish)
    assert (now - 1.0, end[0].exit_code) == (TIMEOUT_S, EXIT_NO_PLACE)


# -- what the user hears before everything runs again


def test_too_little_room_is_reported_at_once_with_its_consequences_and_a_remedy() -> None:
    one = running([plan(job) for job in range(1, 7)], "mic1", "mic2", room=3)
    lost = [job for job in range(1, 7) if one.newest(job)[1] == "mic2"]
    names = ", ".join(f"Job {job}" for job in lost)
    node, wait = kinds(one.handle(NodeLost(node="mic2", reason="5 pulses missed"), 2.0), Notify)
    assert node.text == f"node mic2 is lost: 5 pulses missed; not running yet: {names}"
    assert all(
        part in wait.text
        for part in (
            ", ".join(f"Job {job}" for job in lost) + ": all full; ",
            "waiting up to 30 s",
            "ALLOCATION_TIMEOUT",
            "start a lost node again",
            "max_jobs",
        )
    )
    assert not kinds(one.handle(Tick(), 2.5), Notify)  # once
    assert one.handle(NodeUp(node="mic2"), 3.0)
    assert not kinds(one.handle(Tick(), 4.5), Notify)


def test_a_job_for_which_no_node_has_a_microphone_says_when_nodes_look_for_one() -> None:
    one = running([plan(1), plan(2)], "mic1", "mic2", room=1)
    assert kinds(one.handle(NodeLost(node="mic2", reason="silent"), 2.0), Notify)
    for job in (1, 2):
        one.reasons[job] = f"no place for Job {job}: mic1: not in HAS_MIC"
    one._announced.clear()
    (wait,) = one._waiting(3.0)
    assert isinstance(wait, Notify)
    assert wait.text.endswith(
        "; a node is in HAS_MIC if it finds such a device when the network starts: see there: fission audio devices, and "
        "fission node --announce"
    )
    assert "HAS_LOUDSPEAKER" not in wait.text


def test_a_short_outage_is_one_line_and_a_long_one_is_reported_while_it_lasts() -> None:
    one = running(chain(), "a", "b")
    assert not kinds(one.handle(NodeLost(node="b", reason="silent"), 2.0), Notify)
    assert one.due == 2.0 + ANNOUNCE_S
    assert [each.text for each in one.handle(Tick(), 3.0)] == ["node b is lost: silent; not running yet: Job 2"]
    one.handle(JobReady(job=2, incarnation=2), 8.0)
    assert kinds(one.handle(Replayed(job=2, incarnation=2, blocks=3), 8.1), Failover)


def test_a_node_that_was_stopped_on_purpose_has_left_without_a_warning() -> None:
    one = running([plan(1), plan(2)], "a", "b", room=1)
    left, _ = kinds(one.handle(NodeLost(node="b", reason="its service was stopped", on_purpose=True), 2.0), Notify)
    assert left == Notify(text="node b has left: its service was stopped; not running yet: Job 2", warning=False)


def test_a_source_that_cannot_resume_begins_a_new_generation_of_its_part() -> None:
    plans = [
        plan(1, outputs={101: 3}, resumable=False),
        plan(2, outputs={102: 3}),
        plan(3, {101: 1, 102: 2}),
        plan(4, outputs={103: 5}, part=4),
        plan(5, {103: 4}, part=4),
    ]
    one = running(plans, "a")
    found = one.handle(JobEnded(job=1, incarnation=1, error="boom"), 1.0)
    assert found[:-1] == [
        Reset(job=2, generation=1),
        Reset(job=3, generation=1),
        Launch(job=1, node="a", incarnation=2, generation=1),
    ]
    assert found[-1] == Wire(job=3, pipe=101, peer=1, incarnation=2)
    # a job that resumes stays in the present generation
    found = one.handle(JobEnded(job=2, incarnation=1, error="boom"), 2.0)
    assert found[0] == Launch(job=2, node="a", incarnation=2, generation=1)
    assert not kinds(found, Reset)


def test_a_client_that_comes_back_repeats_what_the_previous_one_may_not_have_sent() -> None:
    plans = [plan(1, outputs={101: 2, 104: 4}, resumable=False), plan(2, {101: 1}, {102: 3}), plan(3, {102: 2}), plan(4, {104: 1})]
    one = supervised(plans, "a")
    one.resume(ResumedNetwork({1: (2, "a"), 2: (1, "a"), 3: (1, "a"), 4: (1, "a")}, frozenset({4}), {1: 1}))
    assert one.start(1.0, [3])[:-2] == [
        Reset(job=1, generation=1),
        Wire(job=1, pipe=101, peer=2, incarnation=1),
        Close(job=1, pipe=104),
        Reset(job=2, generation=1),
        Wire(job=2, pipe=101, peer=1, incarnation=2),  # it learns of job 3 when that has its new incarnation
    ]
    assert [one.newest(job)[0] for job in (1, 2, 3, 4)] == [2, 1, 2, 1]


def test_the_end_is_reported_to_producers_and_ends_the_network() -> None:
    one = running(chain(), "a")
    assert one.handle(JobEnded(job=3, incarnation=1), 1.0) == [Close(job=2, pipe=102)]
    assert one.handle(JobEnded(job=2, incarnation=1), 1.0) == [Close(job=1, pipe=101)]
    assert one.handle(JobEnded(job=1, incarnation=1), 1.0) == [Finish(exit_code=EXIT_OK, reason="finished")]


def test_jobs_that_are_not_required_are_not_waited_for() -> None:
    plans = [plan(1, outputs={101: 2}), plan(2, {101: 1}), plan(3, outputs={102: 2}, required=False)]
    one = running(plans, "a")
    one.handle(JobEnded(job=1, incarnation=1), 1.0)
    assert kinds(one.handle(JobEnded(job=2, incarnation=1), 1.0), Finish)


def test_without_a_place_the_network_ends_after_the_timeout() -> None:
    one = supervised(chain(), "a", room=2)
    assert len(kinds(one.start(1.0), Launch)) == 2
    assert one.due == 1.0 + TIMEOUT_S
    assert one.handle(Tick(), 1.0 + TIMEOUT_S - 0.001) == []
    end = one.handle(Tick(), 1.0 + TIMEOUT_S)[-1]
    assert end == Finish(exit_code=EXIT_NO_PLACE, reason="no place for Job 3", error="no place for Job 3: all full")


def test_a_place_that_becomes_free_is_taken_by_the_highest_priority() -> None:
    plans = [plan(1, outputs={101: 2}), plan(2, {101: 1}), plan(3, priority=1), plan(4)]
    one = supervised(plans, "a", room=2)
    assert [launch.job for launch in kinds(one.start(0.0), Launch)] == [3, 1]
    one.handle(JobReady(job=3, incarnation=1), 0.0)
    assert [launch.job for launch in kinds(one.handle(JobEnded(job=3, incarnation=1), 1.0), Launch)] == [2]
    assert [launch.job for launch in kinds(one.handle(NodeUp(node="b"), 2.0), Launch)] == [4]


def test_a_job_that_waits_for_its_restart_keeps_its_place() -> None:
    plans = [plan(1, outputs={101: 2}), plan(2, {101: 1}), plan(3)]
    one = supervised(plans, "a", "b", room=2)
    one.start(0.0)
    assert [one.newest(job)[1] for job in (1, 2, 3)] == ["a", "b", "a"]
    one.handle(JobEnded(job=1, incarnation=1, error="boom"), 1.0)
    one.handle(JobEnded(job=1, incarnation=2, error="boom"), 1.0)
    assert one.state(1) is JobState.FAILED
    assert not kinds(one.handle(NodeLost(node="b", reason="gone"), 1.0), Launch)  # both places of a are taken
    assert [launch.job for launch in kinds(one.handle(Tick(), 9.0), Launch)] == [1]


IMPOSSIBLE = [
    JobReady(job=9, incarnation=1),
    JobEnded(job=9, incarnation=1),
    JobReady(job=2, incarnation=2),
    JobEnded(job=2, incarnation=5, error="boom"),
    NodeUp(node="a"),
    NodeLost(node="z", reason="never was"),
]


@pytest.mark.parametrize("event", IMPOSSIBLE, ids=repr)
def test_an_impossible_event_raises_and_changes_nothing(event: Any) -> None:
    one = running(chain(), "a", "b")
    before = inside(one)
    with pytest.raises(LocalProtocolError) as caught:
        one.handle(event, 1.0)
    assert inside(one) == before
    if getattr(event, "job", 0) == 2:
        assert all(
            line in str(caught.value) for line in ("Placed: STARTING, incarnation 1, node b", "JobReady: RUNNING, incarnation 1, node b")
        )
    assert one.handle(NodeLost(node="b", reason="later"), 2.0)


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("event", dict.fromkeys(event for _, event in TRANSITIONS), ids=lambda event: event.__name__)
def test_only_events_of_the_table_may_happen(state: JobState, event: Any) -> None:
    job = SupervisedJob(plan(2), RestartPolicy(3, WINDOW_S), state)
    jobs = SupervisedJobs([job])
    job.history.append("what was before")
    before = list(job.history)
    if (state, event) in TRANSITIONS:
        jobs.move(job, event, 1.0)
        assert job.state is TRANSITIONS[state, event]
        assert job.history[-1].startswith(f"1.000 {event.__name__}: {job.state.name}")
        return
    with pytest.raises(LocalProtocolError, match=rf"Job 2 is {state.name}: {event.__name__} is illegal") as caught:
        jobs.move(job, event, 1.0)
    assert "what was before" in str(caught.value)
    assert job.state is state
    assert list(job.history) == before


def test_messages_of_an_older_incarnation_change_nothing() -> None:
    one = running(chain(), "a")
    one.handle(JobEnded(job=2, incarnation=1, error="boom"), 1.0)
    for event in (JobReady(job=2, incarnation=1), JobEnded(job=2, incarnation=1), JobEnded(job=2, incarnation=1, error="again")):
        assert one.handle(event, 1.5) == []
    assert one.newest(2) == (2, "a")
    assert one.state(2) is JobState.STARTING
    assert "fenced" in one._jobs[2].history[-1]


# -- anything that can happen


NODES = ("a", "b", "c")


class SupervisorMachine(RuleBasedStateMachine):
    """Nodes and processes do what they like; the test keeps its own account of what was ordered."""

    make: ClassVar[type[Supervisor]] = Supervisor

    @initialize(data=st.data(), room=st.integers(1, 5))
    def start(self, data: st.DataObject, room: int) -> None:
        plans = []
        count = data.draw(st.integers(2, 5))
        inputs: dict[int, dict[int, int]] = {job: {} for job in range(1, count + 1)}
        outputs: dict[int, dict[int, int]] = {job: {} for job in range(1, count + 1)}
        for job in range(2, count + 1):
            for producer in data.draw(st.sets(st.integers(1, job - 1), max_size=2)):
                pipe = 100 * producer + job
                inputs[job][pipe], outputs[producer][pipe] = producer, job
        for job in range(1, count + 1):
            source = not inputs[job]
            plans.append(
                plan(
                    job,
                    inputs[job],
                    outputs[job],
                    resumable=not source or data.draw(st.booleans()),
                    required=job == count or data.draw(st.booleans()),
                    restarts=data.draw(st.sampled_from([0, 1, 2, 3, None])),
                    priority=data.draw(st.integers(0, 2)),
                )
            )
        self.plans = {one.job: one for one in plans}
        self.room, self.now = room, 0.0
        self.one = self.make(plans, Places(room), restart_window_s=WINDOW_S, allocation_timeout_s=TIMEOUT_S)
        self.up: set[str] = set()
        self.incarnations = dict.fromkeys(self.plans, 0)
        self.places: dict[int, str] = {}  # of those that were ordered and have not ended
        self.ended: set[int] = set()
        self.known: dict[tuple[int, int], int] = {}  # (job, pipe) -> the peer's incarnation that the job knows
        self.failures: dict[int, list[float]] = {job: [] for job in self.plans}
        self.refused: dict[str, float] = {}  # when a node has refused a job the last time
        self.generation = 0
        self.begun = False
        self.finishes: list[Finish] = []

    def do(self, event: Any) -> list[Instruction]:
        was_over = self.one.over
        found = self.one.handle(event, self.now)
        assert not (was_over and found)
        self.perform(found)
        return found

    def perform(self, found: Sequence[Instruction]) -> None:
        launched = {one.job for one in kinds(found, Launch)}
        before = self.generation
        for one in found:
            if isinstance(one, Launch):
                assert one.node in self.up, "launched on a node that is not up"
                assert one.job not in self.places, "launched while an incarnation of it runs"
                assert one.job not in self.ended, "launched after its end"
                assert one.incarnation == self.incarnations[one.job] + 1
                plan = self.plans[one.job]
                if plan.source and not plan.resumable and one.incarnation > 1:
                    assert one.generation > before
                self.generation = max(self.generation, one.generation)
                assert one.generation == self.generation
                self.incarnations[one.job], self.places[one.job] = one.incarnation, one.node
                for pipe, peer in {**plan.inputs, **plan.outputs}.items():
                    self.known[one.job, pipe] = -1 if peer in launched else self.incarnations[peer]
            elif isinstance(one, Wire):
                assert one.job in self.places, "a message to no job"
                assert one.incarnation == self.incarnations[one.peer], "an old incarnation is announced"
                self.known[one.job, one.pipe] = one.incarnation
            elif isinstance(one, (Reset, Close)):
                assert one.job in self.places, "a message to no job"
            elif isinstance(one, Kill):
                assert one.node in self.up
                assert self.places.get(one.job) != one.node or one.incarnation < self.incarnations[one.job]
            elif isinstance(one, Finish):
                self.finishes.append(one)
        for job in launched:  # jobs that are launched together are handed each other's newest incarnations
            for pipe, peer in {**self.plans[job].inputs, **self.plans[job].outputs}.items():
                if self.known[job, pipe] == -1:
                    self.known[job, pipe] = self.incarnations[peer]

    def job(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.plans)))

    @precondition(lambda self: not self.begun)
    @rule()
    def begin(self) -> None:
        self.begun = True
        self.perform(self.one.start(self.now))

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.5, 3.0, 11.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.do(Tick())

    @precondition(lambda self: self.one.due is not None)
    @rule()
    def tick_when_due(self) -> None:
        self.now = max(self.now, self.one.due or 0.0)
        self.do(Tick())
        assert self.one.due is None or self.one.due > self.now, "the shell would tick for ever"

    @rule(node=st.sampled_from(NODES))
    def node_up(self, node: str) -> None:
        if node in self.up or self.one.over:
            return
        self.up.add(node)
        self.do(NodeUp(node=node))

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def node_lost(self, data: st.DataObject) -> None:
        if self.one.over:
            return
        node = data.draw(st.sampled_from(sorted(self.up)))
        self.up.discard(node)
        self.places = {job: place for job, place in self.places.items() if place != node}
        self.do(NodeLost(node=node, reason="silent"))

    @precondition(lambda self: self.places)
    @rule(data=st.data())
    def ready(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.places)))
        self.do(JobReady(job=job, incarnation=self.incarnations[job]))

    @precondition(lambda self: self.places)
    @rule(data=st.data())
    def finishes_by_itself(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.places)))
        if not self.one.over:
            del self.places[job]
            self.ended.add(job)
        self.do(JobEnded(job=job, incarnation=self.incarnations[job]))

    @precondition(lambda self: self.places)
    @rule(data=st.data(), hopeless=st.sampled_from([False] * 5 + [True]))
    def fails(self, data: st.DataObject, hopeless: bool) -> None:
        if self.one.over:
            return
        job = data.draw(st.sampled_from(sorted(self.places)))
        del self.places[job]
        self.failures[job] = [moment for moment in self.failures[job] if self.now - moment <= WINDOW_S] + [self.now]
        self.do(JobEnded(job=job, incarnation=self.incarnations[job], error=f"boom at {self.now}", hopeless=hopeless))
        limit = self.plans[job].restarts
        assert self.one.over is (limit is not None and (len(self.failures[job]) > limit or hopeless))
        if self.one.over:
            assert self.finishes[-1].exit_code == EXIT_FAILED

    @precondition(lambda self: self.places)
    @rule(data=st.data())
    def is_refused(self, data: st.DataObject) -> None:
        if self.one.over:
            return
        job = data.draw(st.sampled_from(sorted(self.places)))
        node = self.places.pop(job)
        self.refused[node] = self.now
        found = self.do(JobRefused(job=job, incarnation=self.incarnations[job], cause="its disk is full"))
        assert all(one.node != node for one in kinds(found, Launch)), "ordered where a job was just refused"

    @rule(data=st.data(), error=st.sampled_from([None, "boom"]))
    def an_older_incarnation_speaks(self, data: st.DataObject, error: str | None) -> None:
        job = self.job(data)
        alive = job in self.places
        newest = self.incarnations[job]
        incarnation = data.draw(st.integers(0, newest - 1 if alive else newest)) if newest else 0
        before = [(self.one.state(each), self.one.newest(each)) for each in self.plans]
        for event in (JobReady(job=job, incarnation=incarnation), JobEnded(job=job, incarnation=incarnation, error=error)):
            assert self.do(event) == []
        assert [(self.one.state(each), self.one.newest(each)) for each in self.plans] == before

    @rule(data=st.data())
    def nonsense(self, data: st.DataObject) -> None:
        if self.one.over:
            return
        job = self.job(data)
        before = inside(self.one)
        events: list[Any] = [JobReady(job=99, incarnation=1), JobEnded(job=job, incarnation=self.incarnations[job] + 1)]
        events += [NodeUp(node=node) for node in self.up]
        events += [NodeLost(node=node, reason="") for node in NODES if node not in self.up]
        with pytest.raises(LocalProtocolError):
            self.one.handle(data.draw(st.sampled_from(events)), self.now)
        assert inside(self.one) == before

    @invariant()
    def the_account_is_right(self) -> None:
        for job in self.plans:
            assert self.one.newest(job)[0] == self.incarnations[job]
            if not self.one.over:
                assert self.one.alive(job) is (job in self.places)
            if job in self.places:
                assert self.one.newest(job)[1] == self.places[job]

    @invariant()
    def jobs_are_found_by_state_and_by_node(self) -> None:
        jobs = self.one._jobs
        for state in JobState:
            assert jobs.within(state) == [one for one in jobs if one.state is state]
        for node in {one.node for one in jobs} - {""}:
            assert set(jobs.on(node)) == {one.plan.job for one in jobs if one.node == node and one.state is not JobState.FINISHED}
        assert jobs.all_finished is all(one.state is JobState.FINISHED for one in jobs if one.plan.required)

    @invariant()
    def no_job_is_forgotten(self) -> None:
        if self.one.over or not self.begun:
            return
        for job in self.plans:
            assert job in self.places or job in self.ended or self.one.state(job) in (JobState.PENDING, JobState.FAILED)
        if any(self.one.state(job) in (JobState.PENDING, JobState.FAILED) for job in self.plans):
            assert self.one.due is not None
        kept = dict.fromkeys(self.up, 0)
        for job in self.plans:
            node = self.one.newest(job)[1]
            if node in kept and self.one.state(job) not in (JobState.PENDING, JobState.FINISHED):
                kept[node] += 1
        assert all(count <= self.room for count in kept.values()), "more jobs than places"
        if any(count < self.room for node, count in kept.items() if self.now >= self.refused.get(node, -AVOID_CAP_S) + AVOID_CAP_S):
            assert all(self.one.state(job) is not JobState.PENDING for job in self.plans), "a place is free and a job waits"

    @invariant()
    def a_running_job_knows_the_newest_incarnation_of_its_neighbours(self) -> None:
        if self.one.over:
            return
        for job in self.places:
            for pipe, peer in {**self.plans[job].inputs, **self.plans[job].outputs}.items():
                if peer in self.places:
                    assert self.known[job, pipe] == self.incarnations[peer]

    @invariant()
    def the_network_ends_once_and_when_it_should(self) -> None:
        assert len(self.finishes) <= 1
        assert self.one.over is bool(self.finishes)
        required = {job for job, one in self.plans.items() if one.required}
        if self.begun and required <= self.ended:
            assert self.finishes
        if self.finishes and self.finishes[0].exit_code == EXIT_OK:
            assert required <= self.ended


TestSupervisor = SupervisorMachine.TestCase
TestSupervisor.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


# -- the tests are tested


class ForgetsToFence(Supervisor):
    def handle(self, event: Any, now: float) -> list[Instruction]:
        if isinstance(event, (JobReady, JobEnded)) and event.job in self._jobs and event.incarnation < self._jobs[event.job].incarnation:
            event = replace(event, incarnation=self._jobs[event.job].incarnation)
        return super().handle(event, now)


class WiresNoJob(Supervisor):
    def _orders(self, launched: Any) -> list[Instruction]:
        return [one for one in super()._orders(launched) if not isinstance(one, Wire)]


class LeavesJobsOnLostNodes(Supervisor):
    def _on_node_lost(self, event: NodeLost, now: float) -> None:
        self._up.remove(event.node)


class ForgetsToLeave(Supervisor):
    def _settle(self, now: float) -> list[Instruction]:
        self._jobs._leave = lambda one: None  # type: ignore[method-assign]
        return super()._settle(now)


class RestartsForEver(Supervisor):
    def _on_failed(self, one: Any, event: JobEnded, error: str, now: float) -> list[Instruction]:
        one.policy._recent.clear()
        return super()._on_failed(one, event, error, now)


class NoNewGeneration(Supervisor):
    def _new_generation(self, cause: Any, new: set[int]) -> list[Instruction]:
        return []


class RefusalsAreForgotten(Supervisor):
    def _on_refused(self, one: Any, cause: str, now: float) -> None:
        super()._on_refused(one, cause, now)
        self._avoided._refusals.clear()


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "broken", [RefusalsAreForgotten, ForgetsToFence, WiresNoJob, LeavesJobsOnLostNodes, ForgetsToLeave, RestartsForEver, NoNewGeneration]
)
def test_a_broken_supervisor_is_caught(broken: type[Supervisor]) -> None:
    assert_machine_catches(type("Broken", (SupervisorMachine,), {"make": broken}), steps=25)
