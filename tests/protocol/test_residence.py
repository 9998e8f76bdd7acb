"""protocol/node_lease.py: the table, single rules, and hypothesis playing clients, jobs and time against a simple model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fission.errors import LocalProtocolError
from fission.protocol.node_lease import (
    AGAIN_S,
    QUIET_PULSES,
    TRANSITIONS,
    Dismissed,
    Enlisted,
    NodeLease,
    Orphaned,
    State,
    Stop,
)
from tests.protocol.caught import assert_machine_catches

INTERVAL_S, TIMEOUT_S = 0.1, 10.0
QUIET_S = QUIET_PULSES * INTERVAL_S


def serving(run: str = "a") -> NodeLease:
    one = NodeLease()
    assert enlist(one, run, 0.0) == ("", [])
    return one


def enlist(one: NodeLease, run: str, now: float) -> tuple[str, list[Stop]]:
    return one.enlist(run, f"net {run}", now, interval_s=INTERVAL_S, orphan_timeout_s=TIMEOUT_S)


def test_the_table() -> None:
    assert {
        (State.FREE, Enlisted): State.SERVING,
        (State.SERVING, Enlisted): State.SERVING,
        (State.SERVING, Orphaned): State.FREE,
        (State.SERVING, Dismissed): State.FREE,
    } == TRANSITIONS


def test_what_is_not_in_the_table_is_illegal_and_changes_nothing() -> None:
    one = NodeLease()
    with pytest.raises(LocalProtocolError, match="serves nobody: Dismissed is illegal"):
        one.dismiss()
    assert (one.state, one.run) == (State.FREE, "")
    assert one.tick(1e9) == ([], [])  # nobody is missed


def test_one_run_at_a_time_until_its_client_is_quiet() -> None:
    one = serving()
    assert one.launch("a", 1, 1) == ("", True, [])
    one.heard("a", 5.0)
    error, stops = enlist(one, "b", 5.0 + QUIET_S - 0.01)
    assert error == "it serves the network net a of another client"
    assert not stops
    assert (one.run, one.lives) == ("a", {(1, 1)})
    one.heard("b", 7.0)  # of no run of ours
    assert enlist(one, "b", 5.0 + QUIET_S) == ("", [Stop(1, 1)])
    assert (one.run, one.network, one.lives) == ("b", "net b", set())
    assert one.launch("a", 1, 2)[0]
    assert one.launch("b", 1, 1) == ("", True, [])


def test_the_same_run_may_enlist_again_and_nothing_stops() -> None:
    one = serving()
    one.launch("a", 1, 1)
    assert enlist(one, "a", 9.0) == ("", [])
    assert one.lives == {(1, 1)}
    assert one.tick(9.0 + TIMEOUT_S) == ([], [])  # it counts as a word


def test_a_life_is_started_once_and_an_older_one_never() -> None:
    one = serving()
    assert one.launch("a", 1, 2) == ("", True, [])
    assert one.launch("a", 1, 2) == ("", False, [])
    assert one.launch("a", 1, 1)[0] == "life 2 of job 1 was started here before"
    assert one.launch("a", 1, 3) == ("", True, [Stop(1, 2)])
    one.ended(1, 3, {}, 1.0)
    assert one.launch("a", 1, 3) == ("", False, [])  # the order comes twice: it has run


def test_an_end_is_told_until_it_is_acknowledged() -> None:
    one = serving()
    for job in (1, 2):
        one.launch("a", job, 1)
    assert one.told == 0
    assert one.ended(1, 1, {"code": 0}, 1.0) == {"code": 0, "number": 1}
    assert one.ended(1, 1, {"code": 0}, 1.0) is None
    assert one.ended(2, 1, {"code": 1}, 1.1) == {"code": 1, "number": 2}
    assert one.tick(1.0 + AGAIN_S) == ([{"code": 0, "number": 1}], [])
    assert one.tick(1.0 + AGAIN_S) == ([], [])
    one.acknowledged("b", 2)
    one.acknowledged("a", 1)
    assert one.told == 1
    assert one.tick(3.0) == ([{"code": 1, "number": 2}], [])
    one.acknowledged("a", 2)
    assert one.told == 2
    assert one.tick(5.0) == ([], [])


def test_orphans_are_stopped() -> None:
    one = serving()
    one.launch("a", 1, 1)
    assert one.tick(TIMEOUT_S) == ([], [])
    assert one.tick(TIMEOUT_S + 0.01) == ([], [Stop(1, 1)])
    assert one.state is State.FREE
    assert one.ended(1, 1, {}, TIMEOUT_S + 0.1) is None  # nobody is to be told
    assert one.launch("a", 1, 2)[0] == "the node does not serve that run (any more)"


class ResidenceMachine(RuleBasedStateMachine):
    """Two clients, of which each may die and come again, and processes that end. The model: who is served, what runs, what was told."""

    make: ClassVar[type[NodeLease]] = NodeLease

    @initialize()
    def start(self) -> None:
        self.one = self.make()
        self.now = 0.0
        self.run, self.heard = "", 0.0
        self.stay = 0
        self.running: set[tuple[int, int]] = set()
        self.newest: dict[int, int] = {}
        self.ends: list[dict[str, Any]] = []  # of this run, in order
        self.acked = 0

    def stop(self, stops: list[Stop], expected: set[tuple[int, int]]) -> None:
        assert {(one.job, one.incarnation) for one in stops} == expected, "other lives are stopped than must be"
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
            assert [one["number"] for one in again] == sorted(one["number"] for one in again)
            assert all(one in self.ends[self.acked :] for one in again)

    @rule(run=st.sampled_from("ab"))
    def a_client_enlists(self, run: str) -> None:
        error, stops = enlist(self.one, run, self.now)
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
        self.stay += not self.run  # also where another run was put aside
        self.run, self.heard = run, self.now

    @rule(run=st.sampled_from("ab"))
    def a_client_is_heard(self, run: str) -> None:
        self.one.heard(run, self.now)
        if run == self.run:
            self.heard = self.now

    @rule(run=st.sampled_from("ab"), job=st.integers(1, 3), life=st.integers(1, 4))
    def an_order_to_launch(self, run: str, job: int, life: int) -> None:
        error, new, stops = self.one.launch(run, job, life)
        if run != self.run or not self.run or life < self.newest.get(job, 0):
            assert error, "a life is started that must not be"
            assert not new
            assert not stops
            return
        assert not error
        assert new == (life > self.newest.get(job, 0)), "a life is started twice, or never"
        if new:
            older = {one for one in self.running if one[0] == job}
            assert {(one.job, one.incarnation) for one in stops} == older, "an older life goes on"
            self.newest[job] = life
            self.running.add((job, life))  # the older ones too, until their ends come
        else:
            assert not stops

    @rule(job=st.integers(1, 3), life=st.integers(1, 4), code=st.integers(0, 1))
    def a_process_ends(self, job: int, life: int, code: int) -> None:
        told = self.one.ended(job, life, {"code": code}, self.now)
        if (job, life) not in self.running:
            assert told is None
            return
        self.running.discard((job, life))
        self.ends.append({"code": code, "number": len(self.ends) + 1})
        assert told == self.ends[-1], "an end is not told, or with another number"

    @precondition(lambda self: self.ends)
    @rule(data=st.data())
    def a_client_acknowledges(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.ends)))
        self.one.acknowledged(self.run, number)
        self.acked = max(self.acked, number)

    @rule(number=st.integers(0, 5))
    def a_stranger_acknowledges(self, number: int) -> None:
        self.one.acknowledged("c", number)

    @precondition(lambda self: self.run)
    @rule()
    def the_client_dismisses(self) -> None:
        self.stop(self.one.dismiss(), set(self.running))
        self.forget()

    @rule()
    def everything_is_told_sooner_or_later(self) -> None:
        if self.run and self.now + AGAIN_S - self.heard <= TIMEOUT_S:
            self.now += AGAIN_S
            again, _ = self.one.tick(self.now)
            assert again == self.ends[self.acked :], "an end that nobody has acknowledged is not told again"

    @invariant()
    def it_knows_what_runs(self) -> None:
        assert self.one.lives == self.running
        assert self.one.run == self.run
        assert (self.one.state is State.SERVING) == bool(self.run)
        assert self.one.told == self.acked
        assert self.one.stay == self.stay, "numbers of two stays can be taken for each other"


TestResidence = ResidenceMachine.TestCase
TestResidence.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


class Impatient(NodeLease):
    """Any other client takes the node."""

    def enlist(self, run: str, network: str, now: float, *, interval_s: float, orphan_timeout_s: float) -> tuple[str, list[Stop]]:
        self._quiet_s = 0.0
        return super().enlist(run, network, now, interval_s=interval_s, orphan_timeout_s=orphan_timeout_s)


class Forgetful(NodeLease):
    """Does not remember which lives have ended."""

    def ended(self, job: int, incarnation: int, body: Mapping[str, Any], now: float) -> Mapping[str, Any] | None:
        self._newest.pop(job, None)
        return super().ended(job, incarnation, body, now)


class TellsOnce(NodeLease):
    """Believes that what was said was heard."""

    def tick(self, now: float) -> tuple[list[Mapping[str, Any]], list[Stop]]:
        return [], super().tick(now)[1]


class Loyal(NodeLease):
    """Waits for its client for ever."""

    def tick(self, now: float) -> tuple[list[Mapping[str, Any]], list[Stop]]:
        self._heard = now
        return super().tick(now)


class Obedient(NodeLease):
    """Starts jobs of any run."""

    def launch(self, run: str, job: int, incarnation: int) -> tuple[str, bool, list[Stop]]:
        return super().launch(self.run, job, incarnation)


class AnybodysAck(NodeLease):
    """Takes anybody's word that an end was heard."""

    def acknowledged(self, run: str, number: int) -> None:
        super().acknowledged(self.run, number)


class OneStay(NodeLease):
    """Takes the return of a client for the stay that it was away from."""

    def enlist(self, run: str, network: str, now: float, *, interval_s: float, orphan_timeout_s: float) -> tuple[str, list[Stop]]:
        found = super().enlist(run, network, now, interval_s=interval_s, orphan_timeout_s=orphan_timeout_s)
        self.stay = min(self.stay, 1)
        return found


@pytest.mark.parametrize("broken", [Impatient, Forgetful, TellsOnce, Loyal, Obedient, AnybodysAck, OneStay])
def test_broken_residences_are_caught(broken: type[NodeLease]) -> None:
    assert_machine_catches(type("Broken", (ResidenceMachine,), {"make": broken}))
