"""Who is sent away from a crowded door: silent ones first, the oldest first; nobody who has shown long ago who he is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.protocol.doorkeeper import LEAST_HANDSHAKE, Doorkeeper
from tests.protocol.caught import assert_caught

MOST = 3
#: (what happens, how many bytes the one who comes will have sent), one after the other, each a second later.
STORY = st.lists(st.tuples(st.sampled_from(["comes", "comes", "comes", "goes", "greets"]), st.sampled_from([0, 500])), max_size=60)


def bounded(make: Callable[..., Doorkeeper]) -> Callable[[list[tuple[str, int]]], None]:
    """Never more than `MOST` silent young connections are left, and nobody who is old is sent away."""

    def check(story: list[tuple[str, int]]) -> None:
        door = make(most=MOST, patience_s=10.0)
        there: dict[int, tuple[float, int]] = {}
        for now, (what, sent) in enumerate(story):
            if what == "comes":
                door.accepted(now, float(now))
                there[now] = (now, sent)
            elif what == "goes" and there:
                gone = min(there)
                door.ended(gone)
                del there[gone]
            elif what == "greets":
                door.greeted(float(now))
            sent_away = door.surplus(lambda one: there[one][1], float(now))
            for one in sent_away:
                since, _ = there.pop(one)
                assert now - since <= 10
            silent = [one for one, (since, size) in there.items() if size < LEAST_HANDSHAKE and now - since <= 10]
            assert len(silent) <= MOST
            if what == "comes" and sent:
                assert now in there or len([one for one in there if there[one][1]]) >= 2 * MOST, "who has something to say gets in"

    return check


@given(STORY)
def test_strangers_are_bounded(story: list[tuple[str, int]]) -> None:
    bounded(Doorkeeper)(story)


class Lenient(Doorkeeper):
    """Sends nobody away."""

    def surplus(self, received: Callable[[int], int], now: float) -> list[int]:
        return []


class Grumpy(Doorkeeper):
    """Sends those away who are established."""

    def surplus(self, received: Callable[[int], int], now: float) -> list[int]:
        self._patience_s = 1000.0
        return super().surplus(received, now)


@pytest.mark.parametrize("broken", [Lenient, Grumpy])
def test_broken_variants_are_caught(broken: type[Doorkeeper]) -> None:
    assert_caught(bounded(broken), STORY)


def test_who_talks_without_end_is_bounded_too() -> None:
    door = Doorkeeper(most=MOST, patience_s=10.0)
    away: list[int] = []
    for number in range(100):
        door.accepted(number, 0.0)
        away += door.surplus(lambda one: 5000, 0.0)
    assert len(away) == 100 - 2 * MOST
    assert len(set(away)) == len(away)
    assert door.strangers == 2 * MOST


def test_a_crowd_that_shows_who_it_is_stays() -> None:
    door = Doorkeeper(most=MOST, patience_s=10.0)
    for number in range(100):
        door.accepted(number, 0.0)
        door.greeted(0.0)
        assert door.surplus(lambda one: 600, 0.0) == []
