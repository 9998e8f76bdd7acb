"""What supervision is told, what it orders, and where a job can be: the words of `fission.protocol.supervision`, with its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias


class JobState(Enum):
    """Where a job is."""

    PENDING = "waits for a place"
    STARTING = "its process was ordered"
    RUNNING = "its process has said hello"
    FAILED = "its process died; it waits for its next start"
    FINISHED = "it has ended for good"


PENDING, STARTING, RUNNING, FAILED, FINISHED = JobState


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What supervision needs to know of a job.

    Attributes:
        job: its id.
        name: class and id.
        inputs: producer by input pipe; ASYNC pipes too.
        outputs: consumer by output pipe; ASYNC pipes too.
        source: whether nothing makes it wait: it numbers its compute blocks by itself.
        resumable: whether a new life goes on with the numbers of the old one; only a source may be unable to.
        part: the part of the network that it is joined to through non-ASYNC pipes, any number.
        required: whether the network waits for its end.
        restarts: how often it may fail within the window; None: it is always started again.
        priority: who keeps a place when there are too few; higher first.
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
    """How far a network had come when its client went away.

    Attributes:
        lives: newest incarnation and its node, of each job that was ever started.
        finished: jobs that have ended for good.
        generations: by part of the network.
    """

    lives: Mapping[int, tuple[int, str]]
    finished: frozenset[int]
    generations: Mapping[int, int]


# events


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeUp:
    """A node can take jobs, for the first time or again."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLost:
    """A node is judged dead; ``reason`` says why. ``on_purpose``: its service was stopped in order, so it has left."""

    node: str
    reason: str
    on_purpose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReady:
    """A job's process has said hello."""

    job: int
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """A job's process has ended; ``error`` is None if it ended as it should.

    ``block`` is the compute block at which it failed, 0 if it had not begun, None if that is not known, as of a process that was killed;
    ``hopeless`` says that a new life would fail too.
    """

    job: int
    incarnation: int
    error: str | None = None
    block: int | None = None
    hopeless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRefused:
    """The job's node could not start it, or could not keep it, for a reason of its own: ``cause``, as "No space left on device"."""

    job: int
    incarnation: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A producer has sent ``blocks`` again to life ``incarnation`` of its consumer ``job``."""

    job: int
    incarnation: int
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has passed."""


Event: TypeAlias = "NodeUp | NodeLost | JobReady | JobEnded | JobRefused | Replayed | Tick"


# what an event turns out to be for a job; with JobReady, JobRefused and NodeLost the events of the table


class Placed:
    """A node was found for it, and its process ordered there."""


class Finished:
    """Its process has ended as it should."""


class Failed:
    """Its process has ended in another way."""


class Retry:
    """The time of its back-off is over."""


JobEvent: TypeAlias = "type[Placed] | type[JobReady] | type[JobRefused] | type[Finished] | type[Failed] | type[Retry] | type[NodeLost]"

#: The machine. What is not in it is illegal.
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
    """Start a life of a job on a node, numbering in ``generation`` if it is a source. ``reason``: why there; empty: it stays there."""

    job: int
    node: str
    incarnation: int
    generation: int
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Tell job ``job`` that at the other end of ``pipe`` now is life ``incarnation`` of job ``peer``."""

    job: int
    pipe: int
    peer: int
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Tell job ``job`` that the consumer of ``pipe`` has finished."""

    job: int
    pipe: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Tell a job that its part of the network numbers from 1 again, in ``generation``: a source does so itself."""

    job: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Stop what is left of an old life on a node that has returned."""

    job: int
    node: str
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """Tell the user: something was lost and everything it took runs again."""

    what: str
    why: str
    moves: tuple[str, ...]
    seconds: float
    replayed: int

    def __str__(self) -> str:
        moved = ", ".join(self.moves) or "nothing to move"
        blocks = "1 block" if self.replayed == 1 else f"{self.replayed} blocks"
        return f"{self.what}: {self.why}; {moved}; {self.seconds:.2f} s, {blocks} replayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Tell the user at once, one line; ``warning``: it deserves a look."""

    text: str
    warning: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The network is over."""

    exit_code: int
    reason: str
    error: str = ""


Instruction: TypeAlias = "Launch | Wire | Close | Reset | Kill | Failover | Notify | Finish"
