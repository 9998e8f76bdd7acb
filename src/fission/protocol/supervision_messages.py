"""Events, instructions and job states of `fission.protocol.supervision`, with the job's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias


class JobState(Enum):
    """The state of a job."""

    PENDING = "waits for a place"
    STARTING = "its start was ordered"
    RUNNING = "its process has reported that it runs"
    FAILED = "its process died; it waits for its next start"
    FINISHED = "it has ended for good"


PENDING, STARTING, RUNNING, FAILED, FINISHED = JobState


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What supervision needs to know about a job.

    Attributes:
        job: id of the job.
        name: class and id.
        inputs: producer by input pipe, ASYNC pipes included.
        outputs: consumer by output pipe, ASYNC pipes included.
        source: whether the job waits for no input: it numbers its compute blocks by itself.
        resumable: whether a new incarnation continues the numbers of the old one; only a source may
            be unable to.
        part: number of the part of the network that the job is joined to through non-ASYNC pipes.
        required: whether the network waits for the job to finish.
        restarts: maximum number of failures within the window; None: the job is always restarted.
        priority: precedence when there are too few places; higher first.
    """

    job: int
    name: str
    inputs: Mapping[int, int]
    outputs: Mapping[int, int]
    source: bool
    resumable: bool
    part: int
    required: bool
    restarts: int | None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class ResumedNetwork:
    """The progress of a network when its client went away.

    Attributes:
        incarnations: newest incarnation and its node, for each job that was ever started.
        finished: jobs that have ended for good.
        generations: generation by part of the network.
    """

    incarnations: Mapping[int, tuple[int, str]]
    finished: frozenset[int]
    generations: Mapping[int, int]


# events


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeUp:
    """A node can take jobs, for the first time or again."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLost:
    """A node counts as dead; ``reason`` says why. ``on_purpose``: its service was stopped."""

    node: str
    reason: str
    on_purpose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReady:
    """The job's process has reported that it runs."""

    job: int
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """A job's process has ended; ``error`` is None if it ended normally.

    ``block`` is the compute block at which it failed, 0 if it had not begun, and None if it is
    unknown, as for a process that was killed; ``hopeless`` says that a new incarnation would fail
    too.
    """

    job: int
    incarnation: int
    error: str | None = None
    block: int | None = None
    hopeless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRefused:
    """The node could not start or keep the job; ``cause`` says why: "No space left on device"."""

    job: int
    incarnation: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A producer has replayed ``blocks`` to incarnation ``incarnation`` of its consumer ``job``."""

    job: int
    incarnation: int
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has passed."""


Event: TypeAlias = "NodeUp | NodeLost | JobReady | JobEnded | JobRefused | Replayed | Tick"


# the meaning of an event for one job; these, JobReady, JobRefused and NodeLost are the table's
# events


class Placed:
    """The job has a node, and its start was ordered there."""


class Finished:
    """The process has ended with success."""


class Failed:
    """The process has ended with a failure."""


class Retry:
    """The back-off time has passed."""


JobEvent: TypeAlias = "type[Placed] | type[JobReady] | type[JobRefused] | type[Finished] | type[Failed] | type[Retry] | type[NodeLost]"

#: The state machine of a job. Any other transition is illegal.
TRANSITIONS: Mapping[tuple[JobState, JobEvent], JobState] = {
    (PENDING, Placed): STARTING,
    (STARTING, JobReady): RUNNING,
    (STARTING, Finished): FINISHED,
    (RUNNING, Finished): FINISHED,
    (STARTING, Failed): FAILED,
    (RUNNING, Failed): FAILED,
    (STARTING, JobRefused): PENDING,
    (RUNNING, JobRefused): PENDING,
    (FAILED, Retry): PENDING,
    (STARTING, NodeLost): PENDING,
    (RUNNING, NodeLost): PENDING,
    (FAILED, NodeLost): PENDING,
}


# instructions


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Start an incarnation of a job on a node.

    A source numbers in ``generation``. ``reason`` says why that node; empty: the job stays there.
    """

    job: int
    node: str
    incarnation: int
    generation: int
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Notify job ``job`` of the peer at the other end of ``pipe``.

    It is incarnation ``incarnation`` of job ``peer``.
    """

    job: int
    pipe: int
    peer: int
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Notify job ``job`` that the consumer of ``pipe`` has finished."""

    job: int
    pipe: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Notify a job that its part of the network numbers from 1 again, in ``generation``.

    A source restarts its numbering by itself.
    """

    job: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Stop the rest of an old incarnation on a node that has returned."""

    job: int
    node: str
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverStep:
    """A moment of a failover.

    Attributes:
        what: "job placed", or "job runs again" (or has ended for good).
        at: when, in seconds on the clock of the decisions.
        job: its id.
        node: where it was placed; empty: nowhere yet.
    """

    what: str
    at: float
    job: int
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """Notify the user that something was lost and that everything affected runs again.

    Attributes:
        what: what was lost.
        why: how it was noticed.
        moves: where its jobs went, in words.
        seconds: from the notice until all jobs ran again.
        replayed: number of blocks that producers have sent again.
        since: when it was noticed, in seconds on the clock of the decisions.
        node: name of the lost node, or of the node of the job that died.
        jobs: ids of the jobs that were lost.
        steps: what happened to them, in order.
    """

    what: str
    why: str
    moves: tuple[str, ...]
    seconds: float
    replayed: int
    since: float = field(default=0.0, compare=False)
    node: str = field(default="", compare=False)
    jobs: tuple[int, ...] = field(default=(), compare=False)
    steps: tuple[FailoverStep, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        moved = ", ".join(self.moves) or "nothing to move"
        blocks = "1 block" if self.replayed == 1 else f"{self.replayed} blocks"
        return f"{self.what}: {self.why}; {moved}; {self.seconds:.2f} s, {blocks} replayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Notify the user at once, in one line; ``warning``: it needs attention."""

    text: str
    warning: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The network is over."""

    exit_code: int
    reason: str
    error: str = ""


Instruction: TypeAlias = "Launch | Wire | Close | Reset | Kill | Failover | Notify | Finish"
