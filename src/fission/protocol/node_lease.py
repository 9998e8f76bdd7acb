"""The decisions of a node's service.

It decides which client the node serves, which incarnations of jobs may run, which exit reports are
outstanding, and when jobs are orphans.

Rules
    A node serves one run of one network at a time: it has at most one *lease*.
    Another run is refused while the client of the current run sends messages. When that client has
    been silent for ``QUIET_PULSES`` pulse intervals, another run may take the node; the jobs of the
    old run are then stopped.
    The same run may claim the node any number of times: after a broken connection, or because its
    client was restarted. Its jobs continue.
    An incarnation of a job is started only for the current run, and only if no newer one was
    started here; an older one is stopped.
    The end of an incarnation is reported until the client has acknowledged the report.
    Leases are numbered from 1. Each begins when a free node is claimed, and ends when it is free
    again. Exit reports are numbered from 1 within a lease. Reports of one lease mean nothing in
    another, even of the same run, because the jobs do not outlive the lease.
    When the client has been silent for `orphan_timeout_s`, all jobs of the run are stopped, and the
    node is free.

Times are in seconds of the node's own monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from fission.errors import LocalProtocolError
from fission.protocol.messages.node_to_client import ExitReport
from fission.protocol.messages.process_to_engine import ProcessReport

#: Pulse intervals of silence after which another client may replace the current one. The same as for a node: `liveness.MISSES`.
QUIET_PULSES = 5
#: Seconds after which an unacknowledged exit report is sent again. Arbitrary.
AGAIN_S = 0.5


class LeaseState(Enum):
    """Whether the node has a run."""

    FREE = "has no run"
    SERVING = "hosts the jobs of a run"


class Claimed:
    """A run's client wants the node, and may have it."""


class Orphaned:
    """No message came from the client for too long."""


class Dismissed:
    """The run is over, says its client; or another one takes its place."""


Event: TypeAlias = "type[Claimed] | type[Orphaned] | type[Dismissed]"

#: The state machine. A transition that is not listed is illegal.
TRANSITIONS: Mapping[tuple[LeaseState, Event], LeaseState] = {
    (LeaseState.FREE, Claimed): LeaseState.SERVING,
    (LeaseState.SERVING, Claimed): LeaseState.SERVING,
    (LeaseState.SERVING, Orphaned): LeaseState.FREE,
    (LeaseState.SERVING, Dismissed): LeaseState.FREE,
}


@dataclass(frozen=True, slots=True)
class IncarnationToStop:
    """Incarnation of a job that must be killed."""

    job: int
    incarnation: int


@dataclass(slots=True)
class _Unacknowledged:
    report: ExitReport
    again_at: float


@dataclass
class NodeLease:
    """The lease of one node, and the decisions of the node's service.

    Attributes:
        service: identity of the service's process.
        state: whether the node has a run.
        run: identity of the current run; empty if there is none.
        network: name of the current run's network; empty if there is none.
        number: number of the current lease, or of the last one; 0 before the first.
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
        """Identity by which the client knows the service while its jobs run.

        The next lease has another identity.
        """
        return f"{self.service}.{self.number}"

    def claim(
        self, run: str, network: str, now: float, *, interval_s: float, orphan_timeout_s: float
    ) -> tuple[str, list[IncarnationToStop]]:
        """Claim the node for the run of a client.

        Args:
            run: identity of the client's run.
            network: name of the client's network.
            now: current time, in seconds.
            interval_s: interval between two pulses, in seconds.
            orphan_timeout_s: silence of the client after which its jobs are stopped, in seconds.

        Returns:
            Reason for the refusal (empty if the claim succeeds), and incarnations to stop.
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
        """Return why another run cannot claim the node now; empty if it can.

        It cannot while the client of the current run sends messages.
        """
        if self.state is LeaseState.SERVING and now - self._heard < self._quiet_s:
            return f"it serves the network {self.network} of another client"
        return ""

    def heard(self, run: str, now: float) -> None:
        """Register a message of a client; one of another run changes nothing."""
        if run == self.run:
            self._heard = now

    def launch(self, run: str, job: int, incarnation: int) -> tuple[str, bool, list[IncarnationToStop]]:
        """Decide whether an incarnation is started.

        The order may arrive twice, because its answer was lost; the second one changes nothing.

        Returns:
            Reason for the refusal (empty if the order is accepted), whether the incarnation must be
            started now, and incarnations to stop first.
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

    def ended(self, job: int, incarnation: int, code: int, report: ProcessReport | None, now: float) -> ExitReport | None:
        """Register the end of an incarnation; return the report for the client, or None.

        Args:
            job: id of the job.
            incarnation: incarnation of the job.
            code: exit code of its process.
            report: report that the process wrote at its end.
            now: current time, in seconds.
        """
        known = (job, incarnation) in self.running
        self.running.discard((job, incarnation))
        if self.state is LeaseState.FREE or not known:
            return None
        self._count += 1
        found = ExitReport(run=self.run, lease=self.id, number=self._count, job=job, incarnation=incarnation, code=code, report=report)
        self._unacknowledged.append(_Unacknowledged(found, now + AGAIN_S))
        return found

    def acknowledge(self, run: str, number: int) -> None:
        """Register that the client of a run has received all exit reports up to ``number``."""
        if run == self.run:
            self._unacknowledged = [entry for entry in self._unacknowledged if entry.report.number > number]

    @property
    def acknowledged(self) -> int:
        """Number of the last exit report that the client has acknowledged."""
        return min((entry.report.number for entry in self._unacknowledged), default=self._count + 1) - 1

    def dismiss(self) -> list[IncarnationToStop]:
        """Forget the run, which has ended or is replaced; return the incarnations to stop.

        Raises:
            LocalProtocolError: the node has no run.
        """
        self._move(Dismissed)
        return self._forget()

    def tick(self, now: float) -> tuple[list[ExitReport], list[IncarnationToStop]]:
        """Check the deadlines.

        Returns:
            Exit reports to send again, and incarnations to stop because their client is gone.
        """
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
