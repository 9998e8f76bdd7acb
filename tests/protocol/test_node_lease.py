"""protocol/node_lease.py: the table, single rules, and a hypothesis machine with clients, jobs and time against a simple model."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fission.errors import LocalProtocolError
from fission.protocol.messages.node_to_client import ExitReport
from fission.protocol.messages.process_to_engine import ProcessReport
from fission.protocol.node_lease import (
    AGAIN_S,
    QUIET_PULSES,
    TRANSITIONS,
    Claimed,
    Dismissed,
    IncarnationToStop,
    LeaseState,
    NodeLease,
    Orphaned,
)
from tests.protocol.caught import assert_machine_catches

INTERVAL_S, TIMEOUT_S = 0.1, 10.0
QUIET_S = QUIET_PULSES * INTERVAL_S

WRITTEN = ProcessReport(outcome="finished")


def serving(run: str = "a") -> NodeLease:
    one = NodeLease(service="s")
    assert claim(one, run, 0.0) == ("", [])
    return one


def claim(one: NodeLease, run: str, now: float) -> tuple[str, list[IncarnationToStop]]:
    return one.claim(run, f"net {run}", now, interval_s=INTERVAL_S, orphan_timeout_s=TIMEOUT_S)


def report(number: int, job: int, code: int, written: ProcessReport | None = None) -> ExitReport:
    return ExitReport(run="a", lease="s.1", number=number, job=job, incarnation=1, code=code, report=written)


def test_the_table() -> None:
    assert {
        (LeaseState.FREE, Claimed): LeaseState.SERVING,
        (LeaseState.SERVING, Claimed): LeaseState.SERVING,
        (LeaseState.SERVING, Orphaned): LeaseState.FREE,
        (LeaseState.SERVING, Dismissed): LeaseState.FREE,
    } == TRANSITIONS


def test_events_outside_the_table_are_illegal_and_change_nothing() -> None:
    one = NodeLease()
    with pytest.raises(LocalProtocolError, match="has no run: Dismissed is illegal"):
        one.dismiss()
    assert (one.state, one.run) == (LeaseState.FREE, "")
    assert one.tick(1e9) == ([], [])  # no client is missed


def test_one_run_at_a_time_until_its_client_is_quiet() -> None:
    one = serving()
    assert one.launch("a", 1, 1) == ("", True, [])
    one.heard("a", 5.0)
    error, stops = claim(one, "b", 5.0 + QUIET_S - 0.01)
    assert error == "it serves the network net a of another client"
    assert not stops
    assert (one.run, one.running) == ("a", {(1, 1)})
    one.heard("b", 7.0)  # of no run of ours
    assert claim(one, "b", 5.0 + QUIET_S) == ("", [IncarnationToStop(1, 1)])
    assert (one.run, one.network, one.running) == ("b", "net b", set())
    assert one.launch("a", 1, 2)[0]
    assert one.launch("b", 1, 1) == ("", True, [])


def test_the_same_run_may_claim_it_again_and_nothing_stops() -> None:
    one = serving()
    one.launch("a", 1, 1)
    assert claim(one, "a", 9.0) == ("", [])
    assert one.running == {(1, 1)}
    assert one.tick(9.0 + TIMEOUT_S) == ([], [])  # it counts as a word


def test_an_incarnation_is_started_once_and_an_older_one_never() -> None:
    one = serving()
    assert one.launch("a", 1, 2) == ("", True, [])
    assert one.launch("a", 1, 2) == ("", False, [])
    assert one.launch("a", 1, 1)[0] == "incarnation 2 of job 1 was started here before"
    assert one.launch("a", 1, 3) == ("", True, [IncarnationToStop(1, 2)])
    one.ended(1, 3, 0, None, 1.0)
    assert one.launch("a", 1, 3) == ("", False, [])  # the order comes twice: it has run


def test_an_end_is_reported_until_it_is_acknowledged() -> None:
    one = serving()
    for job in (1, 2):
        one.launch("a", job, 1)
    assert one.acknowledged == 0
    assert one.ended(1, 1, 0, WRITTEN, 1.0) == (first := report(1, 1, 0, WRITTEN))
    assert one.ended(1, 1, 0, None, 1.0) is None
    assert one.ended(2, 1, 1, None, 1.1) == (second := report(2, 2, 1))
    assert one.tick(1.0 + AGAIN_S) == ([first], [])
    assert one.tick(1.0 + AGAIN_S) == ([], [])
    one.acknowledge("b", 2)
    one.acknowledge("a", 1)
    assert one.acknowledged == 1
    assert one.tick(3.0) == ([second], [])
    one.acknowledge("a", 2)
    assert one.acknowledged == 2
    assert one.tick(5.0) == ([], [])


def test_orphans_are_stopped() -> None:
    one = serving()
    one.launch("a", 1, 1)
    assert one.tick(TIMEOUT_S) == ([], [])
    assert one.tick(TIMEOUT_S + 0.01) == ([], [IncarnationToStop(1, 1)])
    assert one.state is LeaseState.FREE
    assert one.ended(1, 1, 0, None, TIMEOUT_S + 0.1) is None  # there is no client
    assert one.launch("a", 1, 2)[0] == "the node does not serve this run"


class LeaseMachine(RuleBasedStateMachine):
    """Two clients, each of which may die and return, and processes that end. The model: the served client, what runs, what was reported."""

    make: ClassVar[type[NodeLease]] = NodeLease

    @initialize()
    def start(self) -> None:
        self.one = self.make()
        self.now = 0.0
        self.run, self.heard = "", 0.0
        self.number = 0
        self.running: set[tuple[int, int]] = set()
        self.newest: dict[int, int] = {}
        self.ends: list[ExitReport] = []  # of this run, in order
        self.acked = 0

    def stop(self, stops: list[IncarnationToStop], expected: set[tuple[int, int]]) -> None:
        assert {(one.job, one.incarnation) for one in stops} == expected, "other incarnations are stopped than must be"
        self.running -= expected

    def forget(self) -> None:
        self.run = ""
        self.newest.clear()
        self.ends.clear()
        self.acked = 0

    @rule(seconds=st.sampled_from([0.05, 0.3, 0.6, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        again, stops = self.one.tick(self.now)
        if self.run and self.now - self.heard > TIMEOUT_S:
            self.stop(stops, set(self.running))
            self.forget()
            assert not again
        else:
            assert not stops
            assert [one.number for one in again] == sorted(one.number for one in again)
            assert all(one in self.ends[self.acked :] for one in again)

    @rule(run=st.sampled_from("ab"))
    def a_client_claims_it(self, run: str) -> None:
        error, stops = claim(self.one, run, self.now)
        if self.run and self.run != run and self.now - self.heard < QUIET_S:
            assert error, "the run of a client that is heard is replaced"
            assert not stops
            return
        assert not error
        if run != self.run:
            self.stop(stops, set(self.running))
            self.forget()
        else:
            self.stop(stops, set())
        self.number += not self.run  # also where another run was put aside
        self.run, self.heard = run, self.now

    @rule(run=st.sampled_from("ab"))
    def a_client_is_heard(self, run: str) -> None:
        self.one.heard(run, self.now)
        if run == self.run:
            self.heard = self.now

    @rule(run=st.sampled_from("ab"), job=st.integers(1, 3), incarnation=st.integers(1, 4))
    def an_order_to_launch(self, run: str, job: int, incarnation: int) -> None:
        error, new, stops = self.one.launch(run, job, incarnation)
        if run != self.run or not self.run or incarnation < self.newest.get(job, 0):
            assert error, "an incarnation is started that must not be"
            assert not new
            assert not stops
            return
        assert not error
        assert new == (incarnation > self.newest.get(job, 0)), "an incarnation is started twice, or never"
        if new:
            older = {one for one in self.running if one[0] == job}
            assert {(one.job, one.incarnation) for one in stops} == older, "an older incarnation continues"
            self.newest[job] = incarnation
            self.running.add((job, incarnation))  # the older ones too, until their ends come
        else:
            assert not stops

    @rule(job=st.integers(1, 3), incarnation=st.integers(1, 4), code=st.integers(0, 1))
    def a_process_ends(self, job: int, incarnation: int, code: int) -> None:
        reported = self.one.ended(job, incarnation, code, None, self.now)
        if (job, incarnation) not in self.running:
            assert reported is None
            return
        self.running.discard((job, incarnation))
        self.ends.append(
            ExitReport(run=self.run, lease=self.one.id, number=len(self.ends) + 1, job=job, incarnation=incarnation, code=code)
        )
        assert reported == self.ends[-1], "an end is not reported, or with another number"

    @precondition(lambda self: self.ends)
    @rule(data=st.data())
    def a_client_acknowledges(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.ends)))
        self.one.acknowledge(self.run, number)
        self.acked = max(self.acked, number)

    @rule(number=st.integers(0, 5))
    def a_stranger_acknowledges(self, number: int) -> None:
        self.one.acknowledge("c", number)

    @precondition(lambda self: self.run)
    @rule()
    def the_client_dismisses(self) -> None:
        self.stop(self.one.dismiss(), set(self.running))
        self.forget()

    @rule()
    def everything_is_reported_sooner_or_later(self) -> None:
        if self.run and self.now + AGAIN_S - self.heard <= TIMEOUT_S:
            self.now += AGAIN_S
            again, _ = self.one.tick(self.now)
            assert again == self.ends[self.acked :], "an end that was not acknowledged is not reported again"

    @invariant()
    def it_knows_what_runs(self) -> None:
        assert self.one.running == self.running
        assert self.one.run == self.run
        assert (self.one.state is LeaseState.SERVING) == bool(self.run)
        assert self.one.acknowledged == self.acked
        assert self.one.number == self.number, "numbers of two leases can be taken for each other"


TestLease = LeaseMachine.TestCase
TestLease.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


class Impatient(NodeLease):
    """Any other client takes the node."""

    def claim(self, run: str, network: str, now: float, **intervals: float) -> tuple[str, list[IncarnationToStop]]:
        self._quiet_s = 0.0
        return super().claim(run, network, now, **intervals)


class Forgetful(NodeLease):
    """Does not remember which incarnations have ended."""

    def ended(self, job: int, incarnation: int, code: int, report: ProcessReport | None, now: float) -> ExitReport | None:
        self._newest.pop(job, None)
        return super().ended(job, incarnation, code, report, now)


class ReportsOnce(NodeLease):
    """Believes that what was sent was received."""

    def tick(self, now: float) -> tuple[list[ExitReport], list[IncarnationToStop]]:
        return [], super().tick(now)[1]


class Loyal(NodeLease):
    """Waits for its client for ever."""

    def tick(self, now: float) -> tuple[list[ExitReport], list[IncarnationToStop]]:
        self._heard = now
        return super().tick(now)


class Obedient(NodeLease):
    """Starts jobs of any run."""

    def launch(self, run: str, job: int, incarnation: int) -> tuple[str, bool, list[IncarnationToStop]]:
        return super().launch(self.run, job, incarnation)


class AnyAcknowledgement(NodeLease):
    """Takes the acknowledgements of any run."""

    def acknowledge(self, run: str, number: int) -> None:
        super().acknowledge(self.run, number)


class OneNumber(NodeLease):
    """Takes the return of a client for the lease that it was away from."""

    def claim(self, run: str, network: str, now: float, **intervals: float) -> tuple[str, list[IncarnationToStop]]:
        found = super().claim(run, network, now, **intervals)
        self.number = min(self.number, 1)
        return found


@pytest.mark.parametrize("broken", [Impatient, Forgetful, ReportsOnce, Loyal, Obedient, AnyAcknowledgement, OneNumber])
def test_broken_leases_are_caught(broken: type[NodeLease]) -> None:
    assert_machine_catches(type("Broken", (LeaseMachine,), {"make": broken}))
