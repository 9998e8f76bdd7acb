"""The four shares of a job's time add up, whatever was measured."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.protocol.activity import Activity, Observed, Spent, WaitClock

SECONDS = st.floats(0, 10)
STEPS = st.lists(st.tuples(st.floats(0.001, 10), SECONDS, SECONDS, SECONDS, SECONDS), min_size=1, max_size=10)


def spend(steps: list[tuple[float, float, float, float, float]], *, program: bool = False, kind: Any = Activity) -> Spent:
    """Return what was spent after measurements of which each is that much later than the one before."""
    activity, sums = kind(100.0, program=program), [100.0, 0.0, 0.0, 0.0, 0.0]
    for step in steps:
        sums = [old + new for old, new in zip(sums, step, strict=True)]
        spent: Spent = activity.observe(Observed(*sums))
    return spent


def check_sum(steps: list[tuple[float, float, float, float, float]], *, program: bool, kind: Any = Activity) -> None:
    spent = spend(steps, program=program, kind=kind)
    assert sum(astuple(spent)) == pytest.approx(sum(step[0] for step in steps))
    assert min(astuple(spent)) >= 0


@given(STEPS, st.booleans())
def test_the_shares_are_all_of_the_time(steps: list[tuple[float, float, float, float, float]], program: bool) -> None:
    check_sum(steps, program=program)


class WithoutLimit(Activity):
    """A broken one: counts all that was measured."""

    def observe(self, now: Observed) -> Spent:
        self.spent = Spent(now.cpu_s, now.at - 100 - now.cpu_s, now.starved_s, now.blocked_s)
        return self.spent


def test_counting_more_than_the_time_that_has_passed_is_caught() -> None:
    with pytest.raises(AssertionError):
        check_sum([(1.0, 3.0, 0.0, 0.5, 0.0)], program=False, kind=WithoutLimit)


@pytest.mark.parametrize(
    ("step", "program", "expected"),
    [
        ((10, 0.1, 0, 0, 0), False, (0.1, 9.9, 0, 0)),  # a source that sleeps
        ((10, 2, 7.5, 0, 0), False, (9.5, 0.5, 0, 0)),  # on a machine where others compute too: it was ready
        ((10, 30, 0, 2.5, 0), False, (7.5, 0, 2.5, 0)),  # on several processors
        ((10, 4, 0, 9, 0), False, (1, 0, 9, 0)),  # threads that bring its blocks compute meanwhile
        ((10, 4, 0, 9, 0), True, (4, 0, 6, 0)),  # a program computes while its host waits
        ((10, 1, 0, 0, 9), True, (1, 0, 0, 9)),
        ((10, 1, 0, 0, 0), True, (1, 9, 0, 0)),
    ],
)
def test_what_counts_as_what(step: tuple[float, ...], program: bool, expected: tuple[float, ...]) -> None:
    assert astuple(spend([step], program=program)) == pytest.approx(expected)  # type: ignore[list-item]


def test_an_ended_child_takes_no_time_back() -> None:
    activity = Activity(0.0)
    activity.observe(Observed(10, cpu_s=8))
    assert astuple(activity.observe(Observed(20, cpu_s=5))) == (8, 12, 0, 0)


def test_waits_of_several_threads_at_once_count_once() -> None:
    clock = WaitClock()
    clock.begin(1.0)
    clock.begin(2.0)
    clock.end(3.0)
    assert clock.seconds(4.0) == 3.0
    clock.end(5.0)
    assert clock.seconds(9.0) == 4.0
    clock.begin(10.0)
    assert clock.seconds(11.0) == 5.0
