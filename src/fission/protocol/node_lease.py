"""What the service of a node decides: whom it serves, which incarnations of jobs may run, which ends it still has to report, and when
jobs are orphans.

Rules
    A node serves one run of one network at a time: it has at most one *lease*. Another run is refused while the client of the present
    one is heard, and takes its place when that has not been heard for ``QUIET_PULSES`` pulse intervals; the jobs of the old run are
    stopped then.
    The same run may claim the node as often as it likes: after a broken connection, or because its client was started again. Its
    jobs continue.
    An incarnation of a job is started only for the present run, and only if no newer one was started here; an older one is stopped.
    The end of an incarnation is reported until the client has acknowledged it.
    Leases are numbered from 1: each lasts from the moment at which a free node is claimed until it is free again. Exit reports are
    numbered from 1 within a lease. What was reported in one lease means nothing in another, also of the same run: the jobs of the one
    are gone in the other.
    Nothing heard of the client for `orphan_timeout_s`: all jobs of the run are stopped, and the node is free.

Times are seconds of the node's own monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from fission.errors import LocalProtocolError
from fission.protocol.messages.node_to_client import ExitReport

#: Pulse intervals after which a client that is not heard may be replaced by another one. As a node's: SPEC section 6.
QUIET_PULSES = 5
#: Seconds after which an exit report that was not acknowledged is sent again; arbitrary.
AGAIN_S = 0.5


class LeaseState(Enum):
    """Whether the node has a run."""

    FREE = "has no run"
    SERVING = "hosts the jobs of a run"


class Claimed:
    """A run's client wants the node, and may have it."""


class Orphaned:
    """The client was not heard for too long."""


class Dismissed:
    """The run is over, says its client; or another one takes its place."""


Event: TypeAlias = "type[Claimed] | type[Orphaned] | type[Dismissed]"

#: The machine. What is not in it is illegal.
TRANSITIONS: Mapping[tuple[LeaseState, Event], LeaseState] = {
    (LeaseState.FREE, Claimed): LeaseState.SERVING,
    (LeaseState.SERVING, Claimed): LeaseState.SERVING,
    (LeaseState.SERVING, Orphaned): LeaseState.FREE,
    (LeaseState.SERVING, Dismissed): LeaseState.FREE,
}


@dataclass(frozen=True, slots=True)
class IncarnationToStop:
    """An incarnation of a job that must be killed."""

    job: int
    incarnation: int


@dataclass(slots=True)
class _Unacknowledged:
    report: ExitReport
    again_at: float


@dataclass
class NodeLease:
    """Decides for one node.

    Attributes:
        service: identity of the service's process.
        state: see `LeaseState`.
        run: identity of the present run; empty if there is none.
        network: its name.
        number: of the present lease, or of the last one; 0 before the first.
        running: (job, incarnation) of every job that was started and has not ended.
    """

    service: str = ""
    state: LeaseState = LeaseState.FREE
    run: str = ""
    network: str = ""
    number: int = 0
    running: set[tuple[int, int]] = field(default_factory=set)
    _heard: float = 0.0
    _quiet_s: float = 0.0
    _orphan_timeout_s: float = 0.0
    _newest: dict[int, int] = field(default_factory=dict)
    _unacknowledged: list[_Unacknowledged] = field(default_factory=list)
    _count: int = 0

    @property
    def id(self) -> str:
        """By what the client knows the service as long as its jobs live: the lease after this one has another identity."""
        return f"{self.service}.{self.number}"

    def claim(
        self, run: str, network: str, now: float, *, interval_s: float, orphan_timeout_s: float
    ) -> tuple[str, list[IncarnationToStop]]:
        """A client wants the node. Return why it cannot have it (empty: it has), and what must be stopped.

        Args:
            run: identity of its run.
            network: name of its network.
            now: seconds.
            interval_s: between two pulses.
            orphan_timeout_s: seconds without the client after which its jobs are stopped.
        """
        stops: list[IncarnationToStop] = []
        if run != self.run and (taken := self.taken(now)):
            return taken, []
        if self.state is LeaseState.SERVING and run != self.run:
            stops = self.dismiss()
        self.number += self.state is LeaseState.FREE
        self._move(Claimed)
        self.run, self.network, self._heard = run, network, now
        self._quiet_s, self._orphan_timeout_s = QUIET_PULSES * interval_s, orphan_timeout_s
        return "", stops

    def taken(self, now: float) -> str:
        """Why another run could not have the node now, because the client of the present one is heard; empty: it could."""
        if self.state is LeaseState.SERVING and now - self._heard < self._quiet_s:
            return f"it serves the network {self.network} of another client"
        return ""

    def heard(self, run: str, now: float) -> None:
        """A message of a client has come; that of another run changes nothing."""
        if run == self.run:
            self._heard = now

    def launch(self, run: str, job: int, incarnation: int) -> tuple[str, bool, list[IncarnationToStop]]:
        """Decide whether an incarnation is started.

        The order may come twice, because its answer got lost; the second one changes nothing.

        Returns:
            Why it must not be (empty: all is well), whether it must be started now, and what must be stopped first.
        """
        if self.state is LeaseState.FREE or run != self.run:
            return "the node does not serve this run", False, []
        newest = self._newest.get(job, 0)
        if incarnation < newest:
            return f"incarnation {newest} of job {job} was started here before", False, []
        if incarnation == newest:
            return "", False, []
        self._newest[job] = incarnation
        stops = [IncarnationToStop(known, older) for known, older in sorted(self.running) if known == job]
        self.running.add((job, incarnation))
        return "", True, stops

    def ended(self, job: int, incarnation: int, code: int, report: Mapping[str, Any], now: float) -> ExitReport | None:
        """An incarnation has ended. Return what to report to the client; None: nothing.

        Args:
            job: its id.
            incarnation: of the job.
            code: exit code of its process.
            report: what the process wrote at its end.
            now: seconds.
        """
        known = (job, incarnation) in self.running
        self.running.discard((job, incarnation))
        if self.state is LeaseState.FREE or not known:
            return None
        self._count += 1
        found = ExitReport(
            run=self.run, lease=self.id, number=self._count, job=job, incarnation=incarnation, code=code, report=dict(report)
        )
        self._unacknowledged.append(_Unacknowledged(found, now + AGAIN_S))
        return found

    def acknowledge(self, run: str, number: int) -> None:
        """The client of a run has received all exit reports up to this number."""
        if run == self.run:
            self._unacknowledged = [entry for entry in self._unacknowledged if entry.report.number > number]

    @property
    def acknowledged(self) -> int:
        """Number of the last exit report that the client has acknowledged."""
        return min((entry.report.number for entry in self._unacknowledged), default=self._count + 1) - 1

    def dismiss(self) -> list[IncarnationToStop]:
        """The run is over, or replaced: forget it. Return what must be stopped.

        Raises:
            LocalProtocolError: there is none.
        """
        self._move(Dismissed)
        return self._forget()

    def tick(self, now: float) -> tuple[list[ExitReport], list[IncarnationToStop]]:
        """Time has passed. Return what is reported again, and what must be stopped because its client is gone."""
        if self.state is LeaseState.SERVING and now - self._heard > self._orphan_timeout_s:
            self._move(Orphaned)
            return [], self._forget()
        again = [entry for entry in self._unacknowledged if now >= entry.again_at]
        for entry in again:
            entry.again_at = now + AGAIN_S
        return [entry.report for entry in again], []

    def _forget(self) -> list[IncarnationToStop]:
        stops = [IncarnationToStop(job, incarnation) for job, incarnation in sorted(self.running)]
        self.run = self.network = ""
        self.running.clear()
        self._newest.clear()
        self._unacknowledged.clear()
        self._count = 0
        return stops

    def _move(self, event: Event) -> None:
        if (self.state, event) not in TRANSITIONS:
            raise LocalProtocolError(f"the node {self.state.value}: {event.__name__} is illegal")
        self.state = TRANSITIONS[self.state, event]
