"""The figures that `hz` computes."""

from __future__ import annotations

import statistics

import pytest

from fission.cli.commands.hz import Rate


def of(moments: list[tuple[float, int]]) -> Rate:
    rate, before = Rate(), 0.0
    for moment, count in moments:
        rate.add(moment, count, before)
        before = moment
    return rate


def test_rate_and_jitter() -> None:
    moments = [100.0, 100.1, 100.3, 100.4, 100.8]
    intervals = [0.1, 0.2, 0.1, 0.4]
    row = of([(moment, 1) for moment in moments]).row(missed=3)
    assert row == {
        "blocks": 5,
        "per_s": 5.0,
        "mean_s": 0.2,
        "jitter_s": pytest.approx(statistics.pstdev(intervals), abs=1e-6),
        "least_s": 0.1,
        "most_s": 0.4,
        "missed": 3,
    }


def test_blocks_that_travel_together() -> None:
    row = of([(1.0, 10), (2.0, 10), (3.0, 10)]).row(0)
    assert (row["blocks"], row["least_s"], row["most_s"]) == (30, 0.0, 1.0)
    assert row["mean_s"] == pytest.approx(2 / 29, abs=1e-6)


@pytest.mark.parametrize("moments", [[], [(5.0, 1)]])
def test_too_few_for_a_rate(moments: list[tuple[float, int]]) -> None:
    row = of(moments).row(0)
    assert row["per_s"] is row["mean_s"] is row["jitter_s"] is None
    assert row["blocks"] == len(moments)
