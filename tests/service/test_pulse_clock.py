"""A node measures its clock against the client's by its pulses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.service.pulses import PULSES_REMEMBERED, Pulses


@given(st.floats(-1e4, 1e4), st.lists(st.tuples(st.floats(0.0001, 0.5), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_true_offset_is_within_the_error(offset: float, trips: list[tuple[float, float]]) -> None:
    """However a round trip is shared between the way there and back."""
    pulses = Pulses()
    for number, (trip, share) in enumerate(trips, 1):
        there = 1e5 + number  # on the node's clock
        assert pulses.next(there) == number
        at = there + share * trip - offset
        pulses.echo(number, there + trip, at, at)
        clock = pulses.clock(there + trip)
        assert abs(clock["clock_offset"] - offset) <= clock["clock_error"] + 2e-6


def test_an_earlier_client_had_another_clock() -> None:
    pulses = Pulses()
    pulses.next(1.0)
    assert pulses.clock(1.0) == {}
    pulses.echo(1, 1.1, 5.0, 5.0)
    assert pulses.clock(1.1)["clock_error"] == pytest.approx(0.05, rel=0.01)
    pulses.claimed()
    assert pulses.clock(1.1) == {}


def test_an_answer_to_a_forgotten_pulse_says_nothing_of_the_clock() -> None:
    """It is not known when that pulse left."""
    pulses = Pulses()
    for number in range(1, PULSES_REMEMBERED + 2):
        pulses.next(float(number))
    assert pulses.echo(1, 100.0, 1.5, 1.5)
    assert pulses.clock(100.0) == {}
