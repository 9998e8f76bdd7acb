"""A node measures its clock against the client's by its pulses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.service.pulses import Pulses


@given(st.floats(-1e4, 1e4), st.lists(st.tuples(st.floats(0.0001, 0.5), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_true_offset_is_within_the_error(offset: float, trips: list[tuple[float, float]]) -> None:
    """However a round trip is shared between the way there and back."""
    pulses = Pulses()
    for number, (trip, share) in enumerate(trips, 1):
        there = 1e5 + number  # on the node's clock
        assert pulses.next(there) == number
        pulses.echo(number, there + trip, there + share * trip - offset)
    clock = pulses.clock
    assert abs(clock["clock_offset"] - offset) <= clock["clock_error"] + 1e-6
    assert clock["clock_error"] == pytest.approx(min(trip for trip, _ in trips[-20:]) / 2, abs=1e-6)


def test_an_earlier_client_had_another_clock() -> None:
    pulses = Pulses()
    pulses.next(1.0)
    assert pulses.clock == {}
    pulses.echo(1, 1.1, 5.0)
    assert pulses.clock["clock_error"] == pytest.approx(0.05)
    pulses.claimed()
    assert pulses.clock == {}
