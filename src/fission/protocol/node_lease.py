"""What the service of a node decides: whom it serves, which lives may run, what it still has to tell, when jobs are orphans.

Rules
    A node serves one run of one network at a time. Another run is refused while the client of the present one is heard, and takes
    its place when that has not been heard for `quiet_s`; the jobs of the old run are stopped then.
    The same run may enlist the node as often as it likes: after a broken connection, or because its client was started again. Its
    jobs go on.
    A life of a job is started only for the present run, and only if no newer life of that job was started here; an older one is
    stopped.
    The end of a life is told until the client has acknowledged it.
    Ends are numbered from 1 within a *stay*: from the moment at which a free node is enlisted until it is free again. What was said in
    one stay means nothing in another, also of the same run: the jobs of the one are gone in the other.
    Nothing heard of the client for `orphan_timeout_s`: all jobs of the run are stopped, and the node is free.

Times are seconds of the node's own monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from fission.errors import LocalProtocolError

#: Pulse intervals after which a client that is not heard may be replaced by another one. As a node's: SPEC section 6.
QUIET_PULSES = 5
#: Seconds after which an end that was not acknowledged is told again; arbitrary.
AGAIN_S = 0.5


class State(Enum):
    """Whether the node has a run."""

    FREE = "serves nobody"
    SERVING = "hosts the jobs of a run"


class Enlisted:
    """A run's client wants the node, and may have it."""


class Orphaned:
    """The client was not heard for too long."""


class Dismissed:
    """The run is over, says its client; or another one takes its place."""


Event: TypeAlias = "type[Enlisted] | type[Orphaned] | type[Dismissed]"

#: The machine. What is not in it is illegal.
TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.FREE, Enlisted): State.SERVING,
    (State.SERVING, Enlisted): State.SERVING,
    (State.SERVING, Orphaned): State.FREE,
    (State.SERVING, Dismissed): State.FREE,
}


@dataclass(frozen=True, slots=True)
class Stop:
    """Kill this life."""

    job: int
    incarnation: int


@dataclass(slots=True)
class _Told:
    number: int
    body: Mapping[str, Any]
    again_at: float


@dataclass
class NodeLease:
    """Decides for one node.

    Attributes:
        state: see `State`.
        run: identity of the present run; empty if there is none.
        network: its name.
        stay: number of the present stay, or of the last one; 0 before the first.
        lives: (job, incarnation) of every life that was started and has not ended.
    """

    state: State = State.FREE
    run: str = ""
    network: str = ""
    stay: int = 0
    lives: set[tuple[int, int]] = field(default_factory=set)
    _heard: float = 0.0
    _quiet_s: float = 0.0
    _orphan_timeout_s: float = 0.0
    _newest: dict[int, int] = field(default_factory=dict)
    _told: list[_Told] = field(default_factory=list)
    _count: int = 0

    def enlist(self, run: str, network: str, now: float, *, interval_s: float, orphan_timeout_s: float) -> tuple[str, list[Stop]]:
        """A client wants the node. Return why it cannot have it (empty: it has), and what is to be stopped."""
        stops: list[Stop] = []
        if run != self.run and (taken := self.taken(now)):
            return taken, []
        if self.state is State.SERVING and run != self.run:
            stops = self.dismiss()
        self.stay += self.state is State.FREE
        self._move(Enlisted)
        self.run, self.network, self._heard = run, network, now
        self._quiet_s, self._orphan_timeout_s = QUIET_PULSES * interval_s, orphan_timeout_s
        return "", stops

    def taken(self, now: float) -> str:
        """Why another run could not have the node now, because the client of the present one is heard; empty: it could."""
        if self.state is State.SERVING and now - self._heard < self._quiet_s:
            return f"it serves the network {self.network} of another client"
        return ""

    def heard(self, run: str, now: float) -> None:
        """A word of a client has come; that of another run changes nothing."""
        if run == self.run:
            self._heard = now

    def launch(self, run: str, job: int, incarnation: int) -> tuple[str, bool, list[Stop]]:
        """A life is to be started. Return why it must not (empty: all is well), whether it is to be, and what is to be stopped first.

        The order may come twice, because its answer got lost; the second one changes nothing.
        """
        if self.state is State.FREE or run != self.run:
            return "the node does not serve that run (any more)", False, []
        newest = self._newest.get(job, 0)
        if incarnation < newest:
            return f"life {newest} of job {job} was started here before", False, []
        if incarnation == newest:
            return "", False, []
        self._newest[job] = incarnation
        stops = [Stop(known, life) for known, life in sorted(self.lives) if known == job]
        self.lives.add((job, incarnation))
        return "", True, stops

    def ended(self, job: int, incarnation: int, body: Mapping[str, Any], now: float) -> Mapping[str, Any] | None:
        """A life has ended. Return what to tell the client; None if nobody is to be told."""
        known = (job, incarnation) in self.lives
        self.lives.discard((job, incarnation))
        if self.state is State.FREE or not known:
            return None
        self._count += 1
        numbered = {**body, "number": self._count}
        self._told.append(_Told(self._count, numbered, now + AGAIN_S))
        return numbered

    def acknowledged(self, run: str, number: int) -> None:
        """The client of a run has heard everything up to that number."""
        if run == self.run:
            self._told = [one for one in self._told if one.number > number]

    @property
    def told(self) -> int:
        """The number of the last end that its client has acknowledged."""
        return min((one.number for one in self._told), default=self._count + 1) - 1

    def dismiss(self) -> list[Stop]:
        """The run is over, or replaced: forget it. Return what is to be stopped.

        Raises:
            LocalProtocolError: there is none.
        """
        self._move(Dismissed)
        return self._forget()

    def tick(self, now: float) -> tuple[list[Mapping[str, Any]], list[Stop]]:
        """Time has passed. Return what is to be told again, and what is to be stopped because its client is gone."""
        if self.state is State.SERVING and now - self._heard > self._orphan_timeout_s:
            self._move(Orphaned)
            return [], self._forget()
        again = [one for one in self._told if now >= one.again_at]
        for one in again:
            one.again_at = now + AGAIN_S
        return [one.body for one in again], []

    def _forget(self) -> list[Stop]:
        stops = [Stop(job, incarnation) for job, incarnation in sorted(self.lives)]
        self.run = self.network = ""
        self.lives.clear()
        self._newest.clear()
        self._told.clear()
        self._count = 0
        return stops

    def _move(self, event: Event) -> None:
        if (self.state, event) not in TRANSITIONS:
            raise LocalProtocolError(f"the node {self.state.value}: {event.__name__} is illegal")
        self.state = TRANSITIONS[self.state, event]
