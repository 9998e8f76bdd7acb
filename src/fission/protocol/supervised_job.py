"""One supervised job: its state, which changes only by the table `TRANSITIONS`, and its history."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from fission.errors import LocalProtocolError
from fission.protocol.restarts import RestartPolicy
from fission.protocol.supervision_messages import TRANSITIONS, JobEvent, JobPlan, JobState

#: Number of events in each job's history; arbitrary.
HISTORY_EVENTS = 40


@dataclass(slots=True)
class SupervisedJob:
    """A job of `Supervisor`.

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

    def move(self, event: JobEvent, now: float) -> None:
        """Change the state by an event.

        Raises:
            LocalProtocolError: the event is illegal in this state; nothing has changed.
        """
        if (self.state, event) not in TRANSITIONS:
            raise self.error(f"is {self.state.name}: {event.__name__} is illegal")
        self.state = TRANSITIONS[self.state, event]
        self.history.append(f"{now:.3f} {event.__name__}: {self.state.name}, life {self.incarnation}, node {self.node or '-'}")

    def error(self, what: str) -> LocalProtocolError:
        """Return an error about the job, with its history."""
        return LocalProtocolError(f"{self.plan.name} {what}\n" + "\n".join(self.history))
