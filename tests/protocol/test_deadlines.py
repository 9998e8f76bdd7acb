"""The earliest of many deadlines is exact, and costs no look at all of them."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from fission.protocol.deadlines import Deadlines


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
