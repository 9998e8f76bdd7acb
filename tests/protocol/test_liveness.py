"""Liveness: single rules, a plain model with random clocks, a client that is frozen at random, and broken variants."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.errors import LocalProtocolError
from fission.protocol.liveness import (
    TRANSITIONS,
    Away,
    Event,
    Expect,
    Instruction,
    Left,
    Liveness,
    LivenessState,
    LivenessTick,
    Look,
    Lost,
    NodeStopped,
    Pulse,
    Return,
    Silence,
    Up,
    Watch,
)
from tests.protocol.seeds import expect_caught, run_seeds

EXPECTED, UP, LOST = LivenessState.EXPECTED, LivenessState.UP, LivenessState.LOST


def watched(*nodes: str, interval: float = 1.0, since: float = 0.0) -> Liveness:
    """Return a machine whose nodes were all up at that time."""
    machine = Liveness(interval)
    for node in nodes:
        machine.handle(Expect(node), since)
        machine.handle(Pulse(node, 1), since)
    return machine


def tick_through(machine: Liveness, until: float) -> list[tuple[float, Instruction]]:
    """Ticks as the shell does them when nothing else happens, to the end."""
    done = []
    while (due := machine.next_deadline()) is not None and due <= until:
        done += [(due, instruction) for instruction in machine.handle(LivenessTick(), due)]
    return done


# -- single rules -----------------------------------------------------------------------------------------------------


def test_the_first_pulse_brings_a_node_up() -> None:
    machine = Liveness(1.0)
    assert machine.handle(Expect("1"), 0.0) == []
    assert machine.state("1") is EXPECTED
    assert machine.next_deadline() is None
    assert machine.handle(LivenessTick(), 900.0) == []  # how long to wait for a node is not decided here
    assert machine.handle(Pulse("1", 4), 900.0) == [Up("1", 4, False, "first pulse")]
    assert machine.state("1") is UP


def test_five_missed_pulses_and_not_a_moment_less() -> None:
    machine = watched("1", interval=0.1)
    tick_through(machine, 0.5)
    assert machine.handle(LivenessTick(), 0.5) == []
    assert machine.state("1") is UP
    after = math.nextafter(0.5, 1)
    assert machine.next_deadline() == after
    assert machine.handle(LivenessTick(), after) == [Lost("1", 1, after, "5 pulses missed: last one 0.50 s ago")]
    assert machine.state("1") is LOST
    assert machine.next_deadline() is None
    assert machine.handle(LivenessTick(), 3.0) == []


def test_the_shell_needs_no_tick_between_pulses_and_at_most_one_an_interval() -> None:
    machine = watched("1")
    times = []
    while (due := machine.next_deadline()) is not None:
        times.append(due)
        machine.handle(LivenessTick(), due)
    assert times == [1.0, 2.0, 3.0, 4.0, 5.0, math.nextafter(5.0, 6)]


def test_a_shorter_silence_changes_nothing() -> None:
    machine = watched("1")
    assert tick_through(machine, 5.0) == []
    assert machine.handle(Pulse("1", 1), 5.0) == []
    assert tick_through(machine, 10.0) == []
    assert [instruction.node for _, instruction in tick_through(machine, 11.0)] == ["1"]


def test_a_pulse_handed_in_before_the_tick_saves_the_node() -> None:
    machine = watched("1", "2")
    tick_through(machine, 5.0)
    assert machine.handle(Pulse("1", 1), 5.3) == []
    assert [instruction.node for instruction in machine.handle(LivenessTick(), 5.3)] == ["2"]


def test_a_node_that_leaves_is_lost_at_once() -> None:
    machine = watched("1")
    assert machine.handle(Left("1", 1), 0.25) == [Lost("1", 1, 0.25, "it left")]
    assert machine.handle(Left("1", 1), 0.25) == []
    machine.handle(Expect("2"), 0.5)
    assert machine.handle(Left("2", 1), 0.5) == []
    assert machine.handle(Pulse("2", 2), 0.5) == [Up("2", 2, False, "first pulse")]
    # the end of an incarnation that never pulsed: the one before it is over, too
    assert machine.handle(Left("2", 3), 0.5) == [Lost("2", 2, 0.0, "it left")]
    # pulses of the older incarnation are dropped: two of them, half an interval apart, do not bring the node back
    assert machine.handle(Pulse("2", 2), 0.6) == []
    assert machine.handle(Pulse("2", 2), 1.2) == []
    assert machine.state("2") is LOST


def test_a_late_burst_does_not_bring_a_lost_node_back() -> None:
    machine = watched("1")
    tick_through(machine, 6.0)
    for number in range(50):
        assert machine.handle(Pulse("1", 1), 8.0 + number / 101) == []
    assert machine.state("1") is LOST
    assert machine.handle(LivenessTick(), 20.0) == []
    # far apart, so they prove nothing either
    for number in range(4):
        assert machine.handle(Pulse("1", 1), 21.0 + 5.5 * number) == []
    assert machine.handle(Pulse("1", 1), 39.0) == [Up("1", 1, True, "its pulses have come back")]
    assert [at for at, _ in tick_through(machine, 99.0)] == [math.nextafter(44.0, 45)]


def test_after_a_second_loss_the_proof_is_asked_again() -> None:
    machine = watched("1")
    machine.handle(Left("1", 1), 0.0)
    machine.handle(Pulse("1", 1), 1.0)
    assert len(machine.handle(Pulse("1", 1), 1.5)) == 1
    machine.handle(Left("1", 1), 1.75)
    assert machine.handle(Pulse("1", 1), 2.0) == []
    assert machine.handle(Pulse("1", 1), 2.25) == []
    machine.handle(Left("1", 1), 2.25)
    assert machine.handle(Pulse("1", 1), 2.5) == []
    assert machine.handle(Pulse("1", 1), 3.0) == [Up("1", 1, True, "its pulses have come back")]


def test_a_new_incarnation_replaces_the_old_one() -> None:
    machine = watched("1")
    why = "its service began anew (incarnation 2 after 1)"
    assert machine.handle(Pulse("1", 2), 0.5) == [Lost("1", 1, 0.5, why), Up("1", 2, True, why)]
    assert machine.handle(Pulse("1", 1), 0.75) == []
    assert machine.handle(Left("1", 1), 0.75) == []
    assert machine.state("1") is UP
    assert [at for at, _ in tick_through(machine, 9.0)] == [math.nextafter(5.5, 6)]  # the old incarnation's pulse did not count
    why = "its service began anew (incarnation 7 after 2)"
    assert machine.handle(Pulse("1", 7), 9.0) == [Up("1", 7, True, why)]


def test_no_node_is_judged_by_the_silence_of_a_client_that_was_stopped() -> None:
    machine = watched("1", "2", "3", since=0.0)
    tick_through(machine, 4.0)
    assert machine.handle(LivenessTick(), 60.0) == []
    assert machine.handle(Pulse("2", 1), 60.5) == []
    assert [(at, one.node, one.reason) for at, one in tick_through(machine, 65.25) if isinstance(one, Lost)] == [
        (math.nextafter(65.0, 66), "1", "5 pulses missed: last one 65.00 s ago"),
        (math.nextafter(65.0, 66), "3", "5 pulses missed: last one 65.00 s ago"),
    ]


def test_no_node_is_judged_by_the_silence_of_a_machine_that_was_suspended() -> None:
    """The clock does not count it, so pulses continue as if nothing had happened; the nodes' links may take a moment."""
    machine = watched("1")
    tick_through(machine, 4.0)
    assert machine.handle(Away(3600.0), 4.5) == []
    assert [at for at, _ in tick_through(machine, 20.0)] == [math.nextafter(9.5, 10)]


# -- nodes of the client's own machine --------------------------------------------------------------------------------


def virtual(*nodes: str) -> Liveness:
    machine = Liveness(1.0)
    for node in nodes:
        machine.handle(Expect(node, Watch.KERNEL), 0.0)
        machine.handle(Pulse(node, 1), 0.0)
    return machine


def test_silence_alone_does_not_condemn_a_node_of_this_machine_however_long_it_is() -> None:
    machine = virtual("1")
    looks = tick_through(machine, 100.0)
    assert {type(one) for _, one in looks} == {Look}
    assert 40 <= len(looks) <= 96  # about one an interval
    assert machine.state("1") is UP
    machine.handle(Pulse("1", 1), 100.0)
    assert tick_through(machine, 105.0) == []


def test_a_stopped_node_of_this_machine_is_lost_as_soon_as_five_pulses_are_missing() -> None:
    machine = virtual("1", "2")
    machine.handle(Pulse("2", 1), 1.0)
    (at, look), *_ = tick_through(machine, math.nextafter(5.0, 6))
    assert (at, look) == (math.nextafter(5.0, 6), Look("1"))
    assert machine.handle(NodeStopped("1"), at) == [Lost("1", 1, at, "5 pulses missed: last one 5.00 s ago; its process is stopped")]
    assert (machine.state("1"), machine.state("2")) == (LOST, UP)
    machine.handle(Pulse("1", 1), 7.0)
    assert machine.handle(Pulse("1", 1), 8.0) == [Up("1", 1, True, "its pulses have come back")]


def test_the_death_of_a_local_node_is_reported_by_the_kernel() -> None:
    machine = virtual("1")
    assert machine.handle(Left("1", 1), 0.25) == [Lost("1", 1, 0.25, "it left")]


def test_the_clients_own_node_is_lost_by_its_end_alone() -> None:
    machine = Liveness(1.0)
    machine.handle(Expect("client", Watch.END), 0.0)
    machine.handle(Pulse("client", 1), 0.0)
    assert machine.next_deadline() is None
    assert machine.handle(LivenessTick(), 1000.0) == []
    with pytest.raises(LocalProtocolError, match="is not judged by the kernel"):
        machine.handle(NodeStopped("client"), 1000.0)
    assert len(machine.handle(Left("client", 1), 1000.0)) == 1


class CondemnsByForce(Liveness):
    """As before: silence is all that it looks at."""

    def _silent(self, name, node, now):  # type: ignore[no-untyped-def]
        node.watch = Watch.PULSES
        return super()._silent(name, node, now)


def test_a_machine_that_judges_its_own_nodes_by_silence_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "Liveness", CondemnsByForce)
    with pytest.raises(AssertionError):
        test_silence_alone_does_not_condemn_a_node_of_this_machine_however_long_it_is()


def test_the_absence_is_noticed_by_the_first_event() -> None:
    machine = watched("1", "2")
    machine.handle(Pulse("2", 1), 60.0)
    assert machine.handle(LivenessTick(), 60.0) == []
    assert machine.state("1") is UP


def test_silence_is_counted_from_zero_after_an_absence() -> None:
    machine = watched("1")
    assert machine.handle(LivenessTick(), 2.5) == []
    assert [at for at, _ in tick_through(machine, 9.0)] == [math.nextafter(7.5, 8)]


def test_a_client_that_is_always_late_still_finds_its_dead_nodes() -> None:
    machine = watched("1")
    lost = [number for number in range(1, 20) if machine.handle(LivenessTick(), 7.0 * number)]
    assert lost == [6]


# -- the way to a node ------------------------------------------------------------------------------------------------


def test_tq_of_a_good_link_is_255_despite_jitter() -> None:
    machine, rng = watched("1"), Random(1)
    for number in range(1, 99):
        machine.handle(Pulse("1", 1), number + rng.uniform(-0.24, 0.24))
        assert machine.tq("1", number + 0.24) == 255


def test_tq_falls_with_missing_pulses_and_recovers() -> None:
    machine = watched("1")
    assert machine.tq("1", 0.0) == 255
    for number in range(1, 20):
        machine.handle(Pulse("1", 1), float(number))
    assert [machine.tq("1", 19.0 + gap) for gap in (1.4, 1.5, 2.5, 5.0, 19.0, 20.5, 999.0)] == [255, 242, 230, 204, 26, 0, 0]
    for number in range(20, 60, 2):
        machine.handle(Pulse("1", 1), float(number))
    assert machine.tq("1", 58.0) == 128
    for number in range(59, 79):
        machine.handle(Pulse("1", 1), float(number))
    assert machine.tq("1", 78.0) == 255


def test_tq_counts_late_and_doubled_pulses_once() -> None:
    machine = watched("1")
    for number in range(4, 81, 4):  # four at once, every fourth interval
        tick_through(machine, number)
        for copy_ in range(4):
            machine.handle(Pulse("1", 1), number + copy_ / 100)
    assert machine.tq("1", 80.0) == round(255 / 4)


def test_tq_does_not_blame_the_link_for_an_absence_of_the_client() -> None:
    machine = watched("1")
    for now in (30.0, 30.25, 31.25, 32.25):
        machine.handle(Pulse("1", 1), now)
    assert machine.tq("1", 33.0) == 255


def test_tq_before_the_first_pulse_is_0() -> None:
    machine = Liveness(1.0)
    machine.handle(Expect("1"), 0.0)
    assert machine.tq("1", 5.0) == 0


# -- misuse -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "now", "text"),
    [
        (Expect("1"), 7.0, r"node '1' is UP: Expect is illegal. What happened before: Pulse at 0.000 -> UP; Left at 1.000 -> LOST; Return"),
        (Pulse("2", 1), 7.0, "node '2' is not expected: Pulse is illegal"),
        (Left("2", 1), 7.0, "node '2' is not expected: Left is illegal"),
        (Pulse("1", 0), 7.0, r"counted from 1; got Pulse\(node='1', incarnation=0\)"),
        (Pulse("1", 1), 2.75, "time must not go back or end"),
        (LivenessTick(), math.inf, "time must not go back or end"),
        (LivenessTick(), math.nan, "time must not go back or end"),
    ],
)
def test_an_illegal_event_raises_and_changes_nothing(event: Event, now: float, text: str) -> None:
    machine = watched("1")
    machine.handle(Left("1", 1), 1.0)
    machine.handle(Pulse("1", 1), 2.0)
    machine.handle(Pulse("1", 1), 3.0)
    before, deadline = copy.deepcopy(vars(machine)), machine.next_deadline()
    with pytest.raises(LocalProtocolError, match=text):
        machine.handle(event, now)
    assert vars(machine) | {"_silences": None} == before | {"_silences": None}  # which shows in the deadline
    assert machine.next_deadline() == deadline


@pytest.mark.parametrize("arguments", [(0.0, 5), (-1.0, 5), (math.inf, 5), (math.nan, 5), (0.1, 0)])
def test_wrong_limits_raise(arguments: tuple[float, int]) -> None:
    with pytest.raises(LocalProtocolError, match="must be positive, misses at least 1"):
        Liveness(*arguments)


def test_the_state_of_an_unexpected_node_cannot_be_asked_for() -> None:
    with pytest.raises(LocalProtocolError, match="'9' was never expected; there are 1, 2"):
        watched("1", "2").state("9")
    with pytest.raises(LocalProtocolError, match="there are none"):
        Liveness(1.0).tq("9", 0.0)


def test_the_table_has_no_dead_ends_and_no_shortcuts() -> None:
    assert set(TRANSITIONS.values()) == set(LivenessState)
    assert {state for state, _ in TRANSITIONS} == {None, *LivenessState}
    assert (EXPECTED, Silence) not in TRANSITIONS
    assert [state for (state, event) in TRANSITIONS if event is Return] == [LOST]


# -- the model: any events at any times -------------------------------------------------------------------------------
#
# Times are whole eighths of an interval, so floats are exact.

STEP = 0.125
INTERVAL = 8  # of them
NODES = ("a", "b")


@dataclass
class ModelNode:
    """What happened to a node, and when; its meaning is found by looking back."""

    incarnation: int = 0
    status: str = "expected"
    last_pulse: int = 0
    further_until: int = -1  # absences of the client give it until then
    further: int = 0
    since_loss: list[int] = field(default_factory=list)


class Model:
    """The head of liveness.py, read word by word. Answers with (lost or up, node, incarnation) only."""

    def __init__(self, misses: int = 5) -> None:
        self.misses = misses
        self.nodes = {name: ModelNode() for name in NODES}
        self.last_event = 0

    def handle(self, event: Event, now: int) -> list[tuple[str, str, int]]:
        if now - self.last_event > 2 * INTERVAL:
            for node in self.nodes.values():
                if node.status == "up" and node.further < self.misses:
                    node.further += 1
                    node.further_until = now + self.misses * INTERVAL
        self.last_event = now
        if isinstance(event, LivenessTick):
            return list(self.tick(now))
        assert isinstance(event, (Pulse, Left))
        node = self.nodes[event.node]
        if event.incarnation < node.incarnation:
            return []
        return list(self.pulse(node, event, now) if isinstance(event, Pulse) else self.left(node, event))

    def tick(self, now: int) -> Iterator[tuple[str, str, int]]:
        for name, node in self.nodes.items():
            if node.status == "up" and now - node.last_pulse > self.misses * INTERVAL and now > node.further_until:
                node.status, node.since_loss = "lost", []
                yield "lost", name, node.incarnation

    def left(self, node: ModelNode, event: Left) -> Iterator[tuple[str, str, int]]:
        if node.status == "up":
            node.status = "lost"
            yield "lost", event.node, node.incarnation
        node.incarnation, node.since_loss = event.incarnation, []

    def pulse(self, node: ModelNode, event: Pulse, now: int) -> Iterator[tuple[str, str, int]]:
        anew = event.incarnation > node.incarnation
        if node.status == "up" and anew:
            yield "lost", event.node, node.incarnation
            yield "up", event.node, event.incarnation
        elif node.status == "expected":
            yield "up", event.node, event.incarnation
            node.status = "up"
        elif node.status == "lost":
            pulses = [*node.since_loss, now]
            first = 0  # of those without a silence that would be a loss
            for index in range(1, len(pulses)):
                if pulses[index] - pulses[index - 1] > self.misses * INTERVAL:
                    first = index
            if anew or 2 * (now - pulses[first]) >= INTERVAL:
                yield "up", event.node, event.incarnation
                node.status = "up"
            node.since_loss = pulses
        node.incarnation, node.last_pulse, node.further, node.further_until = event.incarnation, now, 0, -1


Make = Callable[[float, int], Liveness]
Schedule = list[tuple[int, Event]]


def any_schedule(rng: Random) -> Schedule:
    """Events and the delay before each. Incarnations are mostly the first or second, so there are old ones and new ones."""
    schedule: Schedule = []
    longest, ticks = rng.choice([2, 6, 12, 20, 60]), rng.choice([3, 5, 9])
    for _ in range(rng.randint(1, 40)):
        kind = rng.randint(0, 9)
        node, incarnation = rng.choice(NODES), rng.choice([1, 1, 1, 2, 2, 3])
        event = LivenessTick() if kind < ticks else Left(node, incarnation) if kind == ticks else Pulse(node, incarnation)
        schedule.append((rng.choice([0, 1, INTERVAL // 2, INTERVAL, rng.randint(0, longest)]), event))
    return schedule


def check_model(make: Make, schedule: Schedule) -> None:
    """The machine does what the model does."""
    machine, model, now = make(STEP * INTERVAL, 5), Model(), 0
    for name in NODES:
        machine.handle(Expect(name), 0.0)
    for gap, event in schedule:
        now += gap
        done = machine.handle(event, now * STEP)
        assert [(type(one).__name__.lower(), one.node, one.incarnation) for one in done] == model.handle(event, now), (now, event)
        assert {name: node.status for name, node in model.nodes.items()} == {name: machine.state(name).name.lower() for name in NODES}
        for one in done:
            assert isinstance(one, Up) or one.silence_s >= 0
        assert all(0 <= machine.tq(name, now * STEP) <= 255 for name in NODES)
        due = machine.next_deadline()
        assert (due is None) == (UP not in map(machine.state, NODES))
        assert due is None or due <= (now + INTERVAL) * STEP
        if due is not None:
            after = copy.deepcopy(machine)
            after.handle(LivenessTick(), max(due, now * STEP))
            assert (after.next_deadline() or math.inf) > due


@given(st.randoms(use_true_random=False))
def test_any_events_at_any_times(rng: Random) -> None:
    check_model(Liveness, any_schedule(rng))


def test_many_events_at_any_times() -> None:
    run_seeds(lambda rng: check_model(Liveness, any_schedule(rng)), 400)


# -- a client and its nodes, in time ----------------------------------------------------------------------------------


@dataclass
class World:
    """Pulses as they arrive, nodes that die, and when the client is stopped; times in intervals."""

    arrivals: list[tuple[float, str]]
    deaths: dict[str, float]
    stops: list[tuple[float, float]]
    end: float
    delay: float

    def readable(self, arrival: float) -> float:
        """When a pulse can be read: at once, or some time after the client has woken up."""
        for begin, wake in self.stops:
            if begin < arrival < wake + self.delay:
                return wake + self.delay
        return arrival

    def awake(self, moment: float) -> float:
        """When a timer for that moment goes off."""
        for begin, wake in self.stops:
            if begin < moment < wake:
                return wake
        return moment


def any_world(rng: Random) -> World:
    """A live node is never silent for longer than 5 intervals; its messages can be read within one interval after the client wakes."""
    arrivals: list[tuple[float, str]] = []
    deaths: dict[str, float] = {}
    end = 60.0
    for name in NODES:
        deaths[name] = rng.choice([math.inf, rng.uniform(1, end)])
        now, steady = 0.0, rng.random() < 0.5
        while now < min(deaths[name], end + 60):
            arrivals.append((now, name))
            now += 1.0 if steady else rng.uniform(0.0, 5.0)
    stops: list[tuple[float, float]] = []
    now = rng.uniform(0.0, 20.0)
    while now < end - 20:
        stops.append((now, now + rng.uniform(2.01, 30.0)))
        now = stops[-1][1] + rng.uniform(1.01, 10.0)
    return World(sorted(arrivals), deaths, stops, end + 60, rng.uniform(0.0, 0.99))


def check_world(make: Make, world: World) -> None:
    """No living node is lost, however long the client is stopped; a dead one is, at its time."""
    machine = make(1.0, 5)
    for name in NODES:
        machine.handle(Expect(name), 0.0)
    waiting = sorted((world.readable(arrival), name) for arrival, name in world.arrivals)
    last = {name: max(at for at, each in waiting if each == name) for name in NODES}
    lost: dict[str, float] = {}
    now = 0.0
    while True:
        due = machine.next_deadline()
        tick = math.inf if due is None else max(now, world.awake(due))
        if min([tick, *(at for at, _ in waiting[:1])]) > world.end:
            break
        if waiting and waiting[0][0] <= tick:
            now, name = waiting.pop(0)
            done = machine.handle(Pulse(name, 1), now)
        else:
            now = tick
            done = machine.handle(LivenessTick(), now)
        for one in done:
            assert one.node not in lost
            if isinstance(one, Lost):
                assert world.deaths[one.node] < math.inf, f"{one} at {now}, which is alive"
                lost[one.node] = now
    for name, death in world.deaths.items():
        if death < math.inf:
            # the client's own stops are not held against the node: silence counts anew after each
            begun = [stop for stop in world.stops if last[name] < stop[1] and stop[0] <= lost[name]]
            assert last[name] + 5 < lost[name], "too early"
            assert lost[name] <= max([last[name] + 5, *(wake + 5 for _, wake in begun)]) + 1e-9, "too late"


@given(st.randoms(use_true_random=False))
def test_a_client_that_is_stopped_at_random_loses_the_dead_nodes_and_no_other(rng: Random) -> None:
    check_world(Liveness, any_world(rng))


def test_a_client_that_is_stopped_often_loses_the_dead_nodes_and_no_other() -> None:
    run_seeds(lambda rng: check_world(Liveness, any_world(rng)), 400)


# -- the tests themselves ---------------------------------------------------------------------------------------------


class HearsOldIncarnations(Liveness):
    def _is_stale(self, event, node):  # type: ignore[no-untyped-def]
        return False


class LosesAMomentEarly(Liveness):
    def _is_silent(self, node, now):  # type: ignore[no-untyped-def]
        return node.state is UP and now >= node.silent_until


class NeverWasAway(Liveness):
    def _was_away(self, now):  # type: ignore[no-untyped-def]
        return False


class NeverInTime(Liveness):
    def _was_away(self, now):  # type: ignore[no-untyped-def]
        return True


class RaisedByOnePulse(Liveness):
    def _comes_back(self, node, now):  # type: ignore[no-untyped-def]
        return True


class RaisedByABurst(Liveness):
    def _comes_back(self, node, now):  # type: ignore[no-untyped-def]
        return node.back_since is not None


class NeverComesBack(Liveness):
    def _comes_back(self, node, now):  # type: ignore[no-untyped-def]
        return False


class RemembersAnOldProof(Liveness):
    def _left(self, event, node, now):  # type: ignore[no-untyped-def]
        since = node.back_since
        lost = super()._left(event, node, now)
        node.back_since = since
        return lost


class BlindToNewIncarnations(Liveness):
    def _pulse(self, event, node, now):  # type: ignore[no-untyped-def]
        incarnation = event.incarnation if node.state is EXPECTED else node.incarnation
        return super()._pulse(Pulse(event.node, incarnation), node, now)


class ExcusesForEver(Liveness):
    def _pass_time(self, now):  # type: ignore[no-untyped-def]
        for node in self._nodes.values():
            node.excuses = 0
        super()._pass_time(now)


BROKEN: dict[str, tuple[Make, str]] = {
    "four pulses": (lambda interval, misses: Liveness(interval, 4), "both"),
    "six pulses": (lambda interval, misses: Liveness(interval, 6), "both"),
    "a moment early": (LosesAMomentEarly, "model"),
    "old incarnations count": (HearsOldIncarnations, "model"),
    "new incarnations do not": (BlindToNewIncarnations, "model"),
    "no mercy after an absence": (NeverWasAway, "both"),
    "absent all the time": (NeverInTime, "both"),
    "one pulse raises the dead": (RaisedByOnePulse, "model"),
    "a burst raises the dead": (RaisedByABurst, "model"),
    "nothing raises the dead": (NeverComesBack, "model"),
    "a pulse from before it left": (RemembersAnOldProof, "model"),
    "excuses for ever": (ExcusesForEver, "model"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_machine_differs_from_the_model(fault: str) -> None:
    expect_caught(lambda rng: check_model(BROKEN[fault][0], any_schedule(rng)), within=3000)


@pytest.mark.parametrize("fault", [fault for fault, (_, where) in BROKEN.items() if where == "both"])
def test_a_broken_machine_fails_in_time(fault: str) -> None:
    expect_caught(lambda rng: check_world(BROKEN[fault][0], any_world(rng)), within=1000)
