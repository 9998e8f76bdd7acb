"""One job under supervision: its state, moved by the table `TRANSITIONS` alone, and its history."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from fission.errors import LocalProtocolError
from fission.protocol.restarts import RestartPolicy
from fission.protocol.supervision_messages import TRANSITIONS, JobEvent, JobPlan, JobState

#: Events that each job's history keeps; arbitrary.
HISTORY_EVENTS = 40


@dataclass(slots=True)
class SupervisedJob:
    """A job of `Supervisor`.

    Attributes:
        plan: what does not change.
        policy: counts its failures.
        state: where it is.
        node: of its newest incarnation; empty: it has no place.
        reason: why it was placed there; empty: it stayed there.
        incarnation: the newest; 0: none yet.
        waiting_since: when it began to wait for a place.
        retry_at: when a failed job is started again.
        ordered_at: when its newest incarnation was launched.
        ready_at: when that reported to be ready; None: not yet.
        total_restarts: incarnations after the first one.
        history: its newest events in words, oldest first.
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
        """Take an event. Raises LocalProtocolError: it is impossible in this state; nothing has changed."""
        if (self.state, event) not in TRANSITIONS:
            raise self.error(f"is {self.state.name}: {event.__name__} is illegal")
        self.state = TRANSITIONS[self.state, event]
        self.history.append(f"{now:.3f} {event.__name__}: {self.state.name}, life {self.incarnation}, node {self.node or '-'}")

    def error(self, what: str) -> LocalProtocolError:
        """Return an error that says what is wrong with the job, with its history."""
        return LocalProtocolError(f"{self.plan.name} {what}\n" + "\n".join(self.history))
