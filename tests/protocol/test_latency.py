"""Latencies: the digest against exact quantiles, the correction of clocks, DEADLINE."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.protocol.latency import WINDOW_S, Clock, Digest, Latencies, quantile
from fission.protocol.stamps import Sample

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


def check_quantile(values: list[float], share: float, found: float) -> None:
    """Check the definition: at least this share of the values do not exceed it, and of no smaller value."""
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


@given(VALUES)
def test_the_digest_has_the_exact_quantiles(values: list[float]) -> None:
    digest = Digest()
    for number, value in enumerate(values):
        digest.add(number / 1000, value, 0.0)
    found = digest.latency(1.0)
    assert found is not None
    assert (found.blocks, found.least) == (len(values), min(values))
    check_quantile(values, 0.5, found.median)
    check_quantile(values, 0.99, found.p99)
    assert found.median == statistics.median_low(values)


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(0, 9)), min_size=1, max_size=60), st.integers(1, 40))
def test_only_the_newest_samples_of_the_window_count(samples: list[tuple[float, float]], most: int) -> None:
    digest, samples = Digest(most=most), sorted(samples)
    for now, value in samples:
        digest.add(now, value, 0.0)
    now = samples[-1][0]
    kept = [value for at, value in samples[-most:] if at > now - WINDOW_S]
    found = digest.latency(now)
    assert found is not None
    assert (found.blocks, found.least) == (len(kept), min(kept))
    assert digest.latency(now + WINDOW_S + 1) is None


def mean(ordered: list[float], share: float) -> float:
    """A broken quantile, which averages."""
    return statistics.fmean(ordered)


def test_a_mean_instead_of_a_quantile_is_caught() -> None:
    check_quantile([0.0, 0.0, 9.0], 0.5, quantile([0.0, 0.0, 9.0], 0.5))
    with pytest.raises(AssertionError):
        check_quantile([0.0, 0.0, 9.0], 0.5, mean([0.0, 0.0, 9.0], 0.5))


def heard(latencies: Latencies, seconds: float, node: str = "b", source: str | None = "a", now: float = 1.0) -> float | None:
    return latencies.heard(2, node, [Sample(1, 1, seconds)], lambda job, incarnation: source, now)


@given(ahead=st.floats(-1e5, 1e5), behind=st.floats(-1e5, 1e5), true=st.floats(0, 10), errors=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_clocks_of_two_machines_are_corrected(ahead: float, behind: float, true: float, errors: tuple[float, float]) -> None:
    latencies = Latencies({2: None})
    latencies.measured("a", Clock(ahead, errors[0]))
    latencies.measured("b", Clock(behind, errors[1]))
    made, done = 50.0, 50.0 + true  # on the client's clock
    heard(latencies, (done + behind) - (made + ahead))
    found = latencies.paths(1.0)[1, 2]
    assert found.median == pytest.approx(true, abs=1e-6)
    assert found.uncertainty == sum(errors)


def test_without_the_clock_of_another_machine_there_is_no_latency() -> None:
    latencies = Latencies({2: 0.1})
    latencies.measured("b", Clock(0.0, 0.0))
    heard(latencies, 5.0)
    heard(latencies, 5.0, source=None)
    assert latencies.paths(1.0) == {}
    assert latencies.judged == {2: 0}
    heard(latencies, 5.0, source="b")
    assert latencies.paths(1.0)[1, 2].uncertainty == 0
    latencies.measured("a", Clock(0.0, 0.0))
    latencies.forget("a")
    assert latencies.clock("a") is None


def test_late_blocks_are_counted_and_the_first_is_reported() -> None:
    latencies: Any = Latencies({1: None, 2: 0.5})
    assert [heard(latencies, seconds, source="b") for seconds in (0.5, 0.4, 0.51, 0.1, 0.9)] == [None, None, 0.51, None, None]
    assert (latencies.late, latencies.judged) == ({2: 2}, {2: 5})
