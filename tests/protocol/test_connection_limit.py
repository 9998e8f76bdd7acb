"""Which connections are closed at the limit: silent ones first, the oldest first; never one that is established."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.protocol.connection_limit import LEAST_HANDSHAKE, ConnectionLimit
from tests.protocol.caught import assert_caught

MOST = 3
#: (event, bytes that a new connection will have sent), one second apart.
EVENTS = st.lists(st.tuples(st.sampled_from(["comes", "comes", "comes", "goes", "greets"]), st.sampled_from([0, 500])), max_size=60)


def bounded(make: Callable[..., ConnectionLimit]) -> Callable[[list[tuple[str, int]]], None]:
    """Never more than `MOST` silent young connections are left, and no established one is closed."""

    def check(events: list[tuple[str, int]]) -> None:
        limit = make(most=MOST, patience_s=10.0)
        there: dict[int, tuple[float, int]] = {}
        for now, (what, sent) in enumerate(events):
            if what == "comes":
                limit.accepted(now, float(now))
                there[now] = (now, sent)
            elif what == "goes" and there:
                gone = min(there)
                limit.ended(gone)
                del there[gone]
            elif what == "greets":
                limit.greeted(float(now))
            closed = limit.surplus(lambda one: there[one][1], float(now))
            for one in closed:
                since, _ = there.pop(one)
                assert now - since <= 10
            silent = [one for one, (since, size) in there.items() if size < LEAST_HANDSHAKE and now - since <= 10]
            assert len(silent) <= MOST
            if what == "comes" and sent:
                assert now in there or len([one for one in there if there[one][1]]) >= 2 * MOST, "a connection that sends something gets in"

    return check


@given(EVENTS)
def test_strangers_are_bounded(events: list[tuple[str, int]]) -> None:
    bounded(ConnectionLimit)(events)


class Lenient(ConnectionLimit):
    """Closes no connection."""

    def surplus(self, received: Callable[[int], int], now: float) -> list[int]:
        return []


class Grumpy(ConnectionLimit):
    """Closes established connections."""

    def surplus(self, received: Callable[[int], int], now: float) -> list[int]:
        self._patience_s = 1000.0
        return super().surplus(received, now)


@pytest.mark.parametrize("broken", [Lenient, Grumpy])
def test_broken_variants_are_caught(broken: type[ConnectionLimit]) -> None:
    assert_caught(bounded(broken), EVENTS)


def test_connections_that_never_finish_their_handshake_are_bounded_too() -> None:
    limit = ConnectionLimit(most=MOST, patience_s=10.0)
    closed: list[int] = []
    for number in range(100):
        limit.accepted(number, 0.0)
        closed += limit.surplus(lambda one: 5000, 0.0)
    assert len(closed) == 100 - 2 * MOST
    assert len(set(closed)) == len(closed)
    assert limit.strangers == 2 * MOST


def test_many_authenticated_connections_stay() -> None:
    limit = ConnectionLimit(most=MOST, patience_s=10.0)
    for number in range(100):
        limit.accepted(number, 0.0)
        limit.greeted(0.0)
        assert limit.surplus(lambda one: 600, 0.0) == []
