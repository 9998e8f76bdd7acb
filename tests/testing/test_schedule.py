"""When a replay feeds blocks, whatever times the recording has."""

from __future__ import annotations

import math

import pytest

from fission.testing.replay import Schedule

HOUR_S, DAY_S = 3600.0, 86400.0


def waits(times: list[float], speed: float | None = 1.0, longest_gap_s: float = 60.0) -> tuple[list[float], list[str]]:
    schedule = Schedule(speed, longest_gap_s)
    found = [schedule.next(when) for when in times]
    return [after for after, _ in found], [said for _, said in found if said]


def test_as_recorded() -> None:
    assert waits([100.0, 100.5, 102.0]) == ([0.0, 0.5, 2.0], [])
    assert waits([100.0, 100.5, 102.0], speed=2.0) == ([0.0, 0.25, 1.0], [])
    assert waits([100.0, 1e9], speed=None) == ([0.0, 0.0], [])


def test_pipes_that_are_not_quite_in_order_take_no_longer() -> None:
    assert waits([100.0, 100.5, 100.2, 100.6, 100.4, 101.0])[0] == pytest.approx([0.0, 0.5, 0.5, 0.6, 0.6, 1.0])


@pytest.mark.parametrize("jump_s", [HOUR_S, 25 * DAY_S, 1e300])
def test_a_long_gap_is_shortened_and_reported(jump_s: float) -> None:
    after, said = waits([100.0, 100.0 + jump_s, 101.0 + jump_s])
    assert after[1] == 60.0
    assert after[2] <= 61.0
    assert said == [f"the recording has a gap of {jump_s:.6g} s here; waiting 60 s (--longest-gap)"]


def test_a_wait_is_reported() -> None:
    assert waits([100.0, 110.0]) == ([0.0, 10.0], ["the recording has a gap of 10 s here; waiting 10 s"])


@pytest.mark.parametrize("jump_s", [-HOUR_S, -25 * DAY_S, -1e300])
def test_a_clock_that_was_set_back_costs_nothing(jump_s: float) -> None:
    after, said = waits([100.0, 101.0, 101.0 + jump_s, 102.0 + jump_s])
    assert after[:3] == [0.0, 1.0, 1.0]
    assert after[3] <= 2.0
    assert said[0] == f"the recording's clock was set back by {-jump_s:.6g} s here; the next block follows at once"


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_stamp_that_is_not_a_time_means_now(odd: float) -> None:
    assert waits([odd, 100.0, odd, 101.0]) == ([0.0, 0.0, 0.0, 1.0], [])
