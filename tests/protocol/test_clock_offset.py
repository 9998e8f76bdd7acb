"""The offset of two clocks, from exchanges over simulated links whose delays, drift and asymmetry are known."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fission.protocol.clock_offset import MOST_DRIFT, Clock, ClockComparison

#: Seconds between two pulses, as by default.
INTERVAL_S = 0.1


class Compares(Protocol):
    def exchanged(self, left: float, reached: float, answered: float, returned: float) -> None: ...

    def estimate(self, now: float) -> Clock | None: ...


class ShortestOfTwenty:
    """The broken variant: the middle of the shortest of the last twenty round trips, without drift."""

    def __init__(self) -> None:
        self._found: deque[tuple[float, float]] = deque(maxlen=20)

    def exchanged(self, left: float, reached: float, answered: float, returned: float) -> None:
        self._found.append(((returned - left) / 2, (left + returned) / 2 - (reached + answered) / 2))

    def estimate(self, now: float) -> Clock | None:
        error_s, offset_s = min(self._found)
        return Clock(offset_s, error_s)


class ForgetsDrift(ClockComparison):
    """The broken variant: old bounds are taken as they are."""

    def _close(self) -> None:
        self._slopes = (0.0, 0.0)


class TrustsSymmetry(ClockComparison):
    """The broken variant: says that its error is what the two ways differ by chance."""

    def estimate(self, now: float) -> Clock | None:
        found = super().estimate(now)
        return found and found._replace(error_s=found.error_s / 10)


def exchanges(
    comparison: Compares, there: Callable[[], float], back: Callable[[], float], offset: Callable[[float], float], seconds: float
) -> Iterator[tuple[float, float, Clock]]:
    """Exchange pulses; yield (seconds so far, the true offset, the estimate) after each answer.

    Args:
        there: returns the delay of a pulse, as ``back`` of an answer, in seconds.
        offset: returns by how much this clock is ahead at a time of the client's.
        seconds: duration.
    """
    held = random.Random(7)
    for number in range(int(seconds / INTERVAL_S)):
        left = number * INTERVAL_S  # on the client's clock, as all here
        reached = left + there()
        answered = reached + held.uniform(0, 0.0005)
        returned = answered + back()
        comparison.exchanged(left + offset(left), reached, answered, returned + offset(returned))
        found = comparison.estimate(returned + offset(returned))
        assert found is not None
        yield left, offset(returned), found


def worst(comparison: Compares, seed: int, drift: float) -> float:
    """Return the largest error after ten seconds, with delays of 5 ms +- 2 ms in both directions."""
    rng = random.Random(seed)
    delay = lambda: rng.uniform(0.003, 0.007)  # noqa: E731
    runs = exchanges(comparison, delay, delay, lambda at: 1000.0 + drift * at, 60)
    return max(abs(found.offset_s - true) for at, true, found in runs if at > 10)


@pytest.mark.parametrize("drift", [0.0, 20e-6, -100e-6, 200e-6])
def test_half_a_millisecond_where_the_ways_are_alike(drift: float) -> None:
    assert max(worst(ClockComparison(), seed, drift) for seed in range(5)) <= 0.0005


@pytest.mark.parametrize("broken", [ShortestOfTwenty, ForgetsDrift])
def test_it_catches_a_worse_estimate(broken: type[Compares]) -> None:
    assert max(worst(broken(), seed, 200e-6) for seed in range(5)) > 0.0005


def uncovered(comparison: Compares, seed: int, drift: float, least: tuple[float, float], jitter: float) -> float:
    """Return the share of estimates whose stated error is less than the true one."""
    rng = random.Random(seed)
    there, back = ((lambda least=one: least + rng.expovariate(1 / jitter)) for one in least)  # type: ignore[misc]
    runs = [
        abs(found.offset_s - true) > found.error_s + 1e-6
        for _, true, found in exchanges(comparison, there, back, lambda at: drift * at, 40)
    ]
    return sum(runs) / len(runs)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000),
    st.floats(-MOST_DRIFT, MOST_DRIFT),
    st.tuples(st.floats(0.0001, 0.2), st.floats(0.0001, 0.2)),
    st.floats(0.0001, 0.05),
)
def test_the_stated_error_covers_the_true_one_however_the_ways_differ(
    seed: int, drift: float, least: tuple[float, float], jitter: float
) -> None:
    assert uncovered(ClockComparison(), seed, drift, least, jitter) == 0


def test_it_catches_an_error_that_trusts_the_ways_to_be_alike() -> None:
    assert uncovered(TrustsSymmetry(), 1, 20e-6, (0.001, 0.1), 0.002) > 0.5


def test_the_drift_is_found_within_a_minute() -> None:
    rng = random.Random(3)
    delay = lambda: rng.uniform(0.003, 0.007)  # noqa: E731
    *_, (_, _, found) = exchanges(ClockComparison(), delay, delay, lambda at: 50e-6 * at, 62)
    assert found.drift == pytest.approx(50e-6, abs=10e-6)


def test_a_clock_that_is_slewed_is_right_again_soon() -> None:
    """The rate changes by more than all bounds of before allow."""
    rng = random.Random(4)
    delay = lambda: rng.uniform(0.0002, 0.0006)  # noqa: E731
    offset = lambda at: 0.0 if at < 60 else 500e-6 * (at - 60)  # noqa: E731
    for at, true, found in exchanges(ClockComparison(), delay, delay, offset, 120):
        if not 60 <= at < 65:
            assert abs(found.offset_s - true) <= found.error_s + 1e-6, at


def test_a_clock_that_jumps_is_right_again_at_once() -> None:
    comparison = ClockComparison()
    for number in range(100):
        at = number * INTERVAL_S
        ahead = 0.0 if number < 50 else -30.0
        comparison.exchanged(at + ahead, at + 0.001, at + 0.001, at + 0.002 + ahead)
        found = comparison.estimate(at + 0.002 + ahead)
        if found is None:
            assert number in (50, 51)
        else:
            assert abs(found.offset_s - ahead) <= found.error_s + 1e-6


def test_times_that_cannot_be_are_dropped() -> None:
    comparison = ClockComparison()
    for times in ((1.0, 0.0, 0.0, 0.9), (1.0, 5.0, 4.9, 1.1), (1.0, 5.0, 5.5, 1.1)):
        comparison.exchanged(*times)
    assert comparison.estimate(2.0) is None
