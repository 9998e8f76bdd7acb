"""The supervised jobs of a network: places, and states, which change only by `TRANSITIONS`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fission.errors import LocalProtocolError
from fission.protocol.restarts import RestartPolicy
from fission.protocol.supervision_messages import TRANSITIONS, JobEvent, JobPlan, JobState

#: Number of events in each job's history; arbitrary.
HISTORY_EVENTS = 40


@dataclass(slots=True)
class SupervisedJob:
    """A job of `Supervisor`. Only `SupervisedJobs` changes its state and its node.

    Attributes:
        plan: the job's constant properties.
        policy: counts the job's failures.
        state: current state.
        node: node of the newest incarnation; empty: the job has no place.
        reason: why it was placed there; empty: it stayed there.
        incarnation: newest incarnation; 0: none yet.
        waiting_since: time at which the job began to wait for a place.
        retry_at: time at which a failed job is restarted.
        ordered_at: time at which the newest incarnation was launched.
        ready_at: time at which that incarnation reported that it is ready; None: not yet.
        total_restarts: number of incarnations after the first.
        history: newest events in words, oldest first.
    """

    plan: JobPlan
    policy: RestartPolicy
    state: JobState = JobState.PENDING
    node: str = ""
    reason: str = ""
    incarnation: int = 0
    waiting_since: float = 0.0
    retry_at: float = 0.0
    ordered_at: float = 0.0
    ready_at: float | None = None
    total_restarts: int = 0
    history: deque[str] = field(default_factory=lambda: deque(maxlen=HISTORY_EVENTS))

    @property
    def alive(self) -> bool:
        """Whether a process was ordered and has not ended."""
        return self.state in (JobState.STARTING, JobState.RUNNING)

    def error(self, what: str) -> LocalProtocolError:
        """Return an error about the job, with its history."""
        return LocalProtocolError(f"{self.plan.name} {what}\n" + "\n".join(self.history))


class SupervisedJobs:
    """The jobs of one network, found by id, by state and by node.

    No event looks at all jobs, so that a network of ten thousand jobs is supervised like a small
    one.
    """

    def __init__(self, jobs: Iterable[SupervisedJob]) -> None:
        self._jobs = {one.plan.job: one for one in jobs}
        self._order = {job: position for position, job in enumerate(self._jobs)}
        self._by_state: dict[JobState, dict[int, SupervisedJob]] = {state: {} for state in JobState}
        self._on_node: dict[str, dict[int, None]] = {}  # ids of jobs that have not finished
        self._unfinished = {one.plan.job for one in self._jobs.values() if one.plan.required}
        for job, one in self._jobs.items():
            self._by_state[one.state][job] = one

    def __getitem__(self, job: int) -> SupervisedJob:
        return self._jobs[job]

    def __contains__(self, job: int) -> bool:
        return job in self._jobs

    def __iter__(self) -> Iterator[SupervisedJob]:
        return iter(self._jobs.values())

    def within(self, *states: JobState) -> list[SupervisedJob]:
        """Return the jobs in these states, in the order of the network."""
        found = [one for state in states for one in self._by_state[state].values()]
        return sorted(found, key=lambda one: self._order[one.plan.job])

    def on(self, node: str) -> list[int]:
        """Return the ids of the jobs that have a place on a node and have not finished."""
        return list(self._on_node.get(node, ()))

    @property
    def all_finished(self) -> bool:
        """Whether every job that is required has finished."""
        return not self._unfinished

    def move(self, one: SupervisedJob, event: JobEvent, now: float) -> None:
        """Change the state of a job by an event.

        Raises:
            LocalProtocolError: the event is illegal in this state; nothing has changed.
        """
        if (one.state, event) not in TRANSITIONS:
            raise one.error(f"is {one.state.name}: {event.__name__} is illegal")
        self._set(one, TRANSITIONS[one.state, event])
        one.history.append(f"{now:.3f} {event.__name__}: {one.state.name}, incarnation {one.incarnation}, node {one.node or '-'}")

    def put(self, one: SupervisedJob, node: str) -> None:
        """Give a job a place on another node; empty: it has none."""
        self._leave(one)
        one.node = node
        if node and one.state is not JobState.FINISHED:
            self._on_node.setdefault(node, {})[one.plan.job] = None

    def _leave(self, one: SupervisedJob) -> None:
        self._on_node.get(one.node, {}).pop(one.plan.job, None)

    def restore(self, one: SupervisedJob, incarnation: int, node: str, *, finished: bool) -> None:
        """Restore a job that an earlier client supervised."""
        self._set(one, JobState.FINISHED if finished else JobState.RUNNING)
        self.put(one, node)
        one.incarnation, one.total_restarts = incarnation, incarnation - 1
        one.history.append(f"incarnation {incarnation} on node {node}: {one.state.name}, before the client came back")

    def _set(self, one: SupervisedJob, state: JobState) -> None:
        del self._by_state[one.state][one.plan.job]
        one.state = state
        self._by_state[state][one.plan.job] = one
        if state is JobState.FINISHED:
            self._unfinished.discard(one.plan.job)
            self._leave(one)
