"""benchmarks.failover: which gap between two arrivals belongs to a fault."""

from __future__ import annotations

from benchmarks.failover import gap_at

#: The gap from 3.0 to 3.5 is of the machine, that from 4.0 to 4.1 of the fault.
ARRIVALS = [2.9, 3.0, 3.5, 3.95, 4.0, 4.1, 4.15, 4.2]


def test_the_gap_is_that_around_the_launch() -> None:
    assert gap_at(4.05, ARRIVALS) == (4.0, 4.1)


def test_blocks_in_flight_may_arrive_after_the_launch() -> None:
    assert gap_at(3.97, ARRIVALS) == (4.0, 4.1)
