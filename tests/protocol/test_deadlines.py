"""The earliest of many deadlines is exact, and costs no look at all of them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

import pytest

from fission.protocol.deadlines import Deadlines
from fission.protocol.liveness import Expect, Left, Liveness, LivenessTick, Pulse, Watch
from fission.protocol.progress import Progress


class LooksAtAll(Deadlines[int]):
    """A broken variant: each question looks at every key."""

    @property
    def earliest(self) -> float | None:
        found = [self._deadline(key) for key in self._entries]
        return min((each for each in found if each is not None), default=None)


class KeepsTheFirst(Deadlines[int]):
    """A broken variant: it does not notice that a deadline has moved later."""

    @property
    def earliest(self) -> float | None:
        return self._heap[0][0] if self._heap else None


def compared(made: type[Deadlines[int]], seed: int) -> None:
    """Compare with the minimum, while deadlines move later, vanish, and come again earlier."""
    rng = random.Random(seed)
    present: dict[int, float] = {}
    deadlines = made(present.get)
    for now in range(300):
        key = rng.randrange(20)
        what = rng.random()
        if what < 0.6 and key in present:
            present[key] += rng.choice([0.0, 1.0, rng.random()])
        elif what < 0.8:
            present.pop(key, None)
        else:
            present[key] = now + rng.uniform(-50, 50)
            deadlines.add(key)
        if rng.random() < 0.5:
            assert deadlines.earliest == min(present.values(), default=None)


@pytest.mark.parametrize("seed", range(30))
def test_the_earliest_deadline_is_exact(seed: int) -> None:
    compared(Deadlines, seed)


def looks(made: type[Deadlines[int]], keys: int, rounds: int = 5) -> float:
    """Return how often a deadline is looked at for each one that moves later."""
    moments = [0.0] * keys
    asked = 0

    def deadline(key: int) -> float:
        nonlocal asked
        asked += 1
        return moments[key]

    deadlines = made(deadline)
    for key in range(keys):
        deadlines.add(key)
    asked = 0
    for turn in range(1, rounds + 1):
        for key in shuffled(keys, turn):
            moments[key] = float(turn)
            assert deadlines.earliest == min(moments)
    return asked / (rounds * keys)


def shuffled(keys: int, seed: int) -> Iterable[int]:
    order = list(range(keys))
    random.Random(seed).shuffle(order)
    return order


@pytest.mark.parametrize("keys", [10, 100, 300])
def test_a_deadline_that_moves_costs_two_looks_however_many_there_are(keys: int) -> None:
    assert looks(Deadlines, keys) <= 2.5


def test_broken_variants_are_caught() -> None:
    assert looks(LooksAtAll, 100) > 50
    with pytest.raises(AssertionError):
        compared(KeepsTheFirst, 1)


class ProgressOfAll(Progress):
    """Looks at all jobs for the next deadline."""

    @property
    def due(self) -> float | None:
        return min((moment for job in self._jobs if (moment := self._judged_at(job)) is not None), default=None)


class LivenessOfAll(Liveness):
    """Looks at all nodes for the next deadline."""

    def next_deadline(self) -> float | None:
        moments = [moment for name in self._nodes if (moment := self._judged_at(name)) is not None]
        return min([self._now + self._interval, *(math.nextafter(moment, math.inf) for moment in moments)]) if moments else None


def same_progress(made: type[Progress], seed: int) -> None:
    """Compare what is due, and what is stalled, over random reports of jobs with short and long timeouts."""
    rng = random.Random(seed)
    timeouts = {1: 0.5, 2: 1.0, 3: 5.0, 4: None}
    one, other, now = made(timeouts), ProgressOfAll(timeouts), 0.0
    for _ in range(200):
        now += rng.choice([0.0, 0.1, 0.4, 2.0])
        job, what = rng.choice(list(timeouts)), rng.random()
        for progress in (one, other):
            if what < 0.2:
                progress.started(job, now)
            elif what < 0.3:
                progress.ready(job, now)
            elif what < 0.35:
                progress.ended(job)
            elif what < 0.8:
                progress.heard(job, int(what * 1000) % 3, "RUN" if what < 0.7 else "INPUT", now)
        if what >= 0.8:
            assert one.stalled(now) == other.stalled(now)
        assert one.due == other.due


def same_liveness(made: type[Liveness], seed: int) -> None:
    """Compare the deadlines and the instructions over random pulses, losses and absences."""
    rng = random.Random(seed)
    one, other, now = made(1.0), LivenessOfAll(1.0), 0.0
    for name, watch in (("a", Watch.PULSES), ("b", Watch.KERNEL), ("c", Watch.END), ("d", Watch.PULSES)):
        assert one.handle(Expect(name, watch), now) == other.handle(Expect(name, watch), now)
    for _ in range(300):
        now += rng.choice([0.0, 0.2, 0.9, 2.5])
        name, what = rng.choice("abcd"), rng.random()
        event = Pulse(name, 1) if what < 0.7 else Left(name, 1) if what < 0.75 else Pulse(name, 2) if what < 0.77 else LivenessTick()
        assert one.handle(event, now) == other.handle(event, now)
        assert one.next_deadline() == other.next_deadline()


@pytest.mark.parametrize("seed", range(30))
def test_the_deadlines_of_nodes_and_jobs_are_those_that_a_look_at_all_finds(seed: int) -> None:
    same_progress(Progress, seed)
    same_liveness(Liveness, seed)


class ForgetsTheSuspicion(Progress):
    """A broken variant: a report that ends a suspicion does not bring the deadline forward."""

    def heard(self, job, mark, doing, now, next_s=1.0):  # type: ignore[no-untyped-def]
        deadlines, self._deadlines = self._deadlines, Deadlines(lambda job: None)
        super().heard(job, mark, doing, now, next_s)
        self._deadlines = deadlines


class ForgetsNodesThatComeBack(Liveness):
    """A broken variant: only the first pulse of a node enters its deadline."""

    def _pulse(self, event, node, now):  # type: ignore[no-untyped-def]
        silences = self._silences
        if node.incarnation:
            self._silences = Deadlines(lambda name: None)
        found = super()._pulse(event, node, now)
        self._silences = silences
        return found


def test_forgotten_deadlines_are_caught() -> None:
    with pytest.raises(AssertionError):
        compare_all(lambda seed: same_progress(ForgetsTheSuspicion, seed))
    with pytest.raises(AssertionError):
        compare_all(lambda seed: same_liveness(ForgetsNodesThatComeBack, seed))


def compare_all(compare: Callable[[int], None]) -> None:
    for seed in range(30):
        compare(seed)
