"""Events, instructions and states of the failure detector of nodes, with its transition table.

The state machine is in `fission.protocol.liveness`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class LivenessState(Enum):
    """What the client knows of a node."""

    EXPECTED = "no pulse so far"
    UP = "jobs can be placed there"
    LOST = "its jobs are placed elsewhere"


# events


class Watch(Enum):
    """What shows, besides its end, that a node is dead."""

    PULSES = "their absence: it is another machine"
    KERNEL = "its process is stopped: it is a part of this machine"
    END = "nothing: it is the client's own node"


@dataclass(frozen=True, slots=True)
class Expect:
    """The node belongs to the network: it is in NODES, or a MultiNode has admitted it. ``watch``
    says how it is watched.
    """

    node: str
    watch: Watch = Watch.PULSES


@dataclass(frozen=True, slots=True)
class Pulse:
    """A pulse of one incarnation of the node's service; newer incarnations have greater numbers."""

    node: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Left:
    """This incarnation of the node's service has ended, as it or its connection reported."""

    node: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class NodeStopped:
    """The kernel says that the process of this silent node is stopped."""

    node: str


@dataclass(frozen=True, slots=True)
class Away:
    """The client did not run for some seconds that its clock has not counted.

    Its machine was suspended.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class LivenessTick:
    """Time has passed."""


Event: TypeAlias = Expect | Pulse | Left | NodeStopped | Away | LivenessTick


# what an event means for a node; together with Expect, Pulse, Left and NodeStopped, these are the events of the table


class NewIncarnation:
    """A pulse of an incarnation that is newer than the known one."""


class Silence:
    """More than the allowed number of pulses is missing."""


class Return:
    """A second pulse of a lost node, at least half an interval after the first."""


NodeEvent: TypeAlias = type[Expect] | type[Pulse] | type[Left] | type[NodeStopped] | type[NewIncarnation] | type[Silence] | type[Return]

#: The state machine. A transition that is not listed is illegal. None: the node is not known.
TRANSITIONS: Mapping[tuple[LivenessState | None, NodeEvent], LivenessState] = {
    (None, Expect): LivenessState.EXPECTED,
    (LivenessState.EXPECTED, Pulse): LivenessState.UP,
    (LivenessState.EXPECTED, Left): LivenessState.EXPECTED,  # it joined and left before it sent a pulse
    (LivenessState.UP, Pulse): LivenessState.UP,
    (LivenessState.UP, NewIncarnation): LivenessState.UP,  # two instructions: the old incarnation is lost, the new one is up
    (LivenessState.UP, Left): LivenessState.LOST,
    (LivenessState.UP, Silence): LivenessState.LOST,
    (LivenessState.UP, NodeStopped): LivenessState.LOST,
    (LivenessState.LOST, Pulse): LivenessState.LOST,  # may be a late pulse
    (LivenessState.LOST, Return): LivenessState.UP,
    (LivenessState.LOST, NewIncarnation): LivenessState.UP,
    (LivenessState.LOST, Left): LivenessState.LOST,
}


# instructions


@dataclass(frozen=True, slots=True)
class Up:
    """The node can be used.

    Attributes:
        returned: whether it was lost before; its old processes must then be stopped.
    """

    node: str
    incarnation: int
    returned: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """This incarnation of the node must not be used any longer.

    Attributes:
        silence_s: seconds since its last pulse.
    """

    node: str
    incarnation: int
    silence_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the kernel about the process of a silent node of this machine.

    If the process is stopped, hand in `NodeStopped` at once.
    """

    node: str


Instruction: TypeAlias = Up | Lost | Look
