"""A deadline is later on a machine that had no processor for what was awaited, and only there."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from tests import deadlines
from tests.deadlines import MOST_S, MOST_TIMES, Deadline, stalled_s


class Machine:
    """A machine whose processes wait for a processor for a share of the time."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.now = 100.0

    def end_of(self, seconds: float) -> float:
        """Return how long a deadline takes to be over."""
        began = self.now
        deadline = Deadline(seconds, clock=lambda: self.now, stalled=lambda: self.share * self.now)
        while not deadline.over:
            self.now += max(deadline.left_s, 1e-6)
        return self.now - began


@pytest.mark.parametrize(
    ("share", "seconds", "expected"),
    [
        (0.0, 5.0, 5.0),
        (0.5, 5.0, 5.0 + 0.5 * MOST_TIMES * 5.0),
        (1.0, 5.0, 5.0 + MOST_TIMES * 5.0),
        (7.0, 5.0, 5.0 + MOST_TIMES * 5.0),
        (1.0, 300.0, 300.0 + MOST_S),
        (0.5, 0.0, 0.0),
    ],
)
def test_a_deadline_is_later_by_the_share_of_the_time_in_which_something_waited(share: float, seconds: float, expected: float) -> None:
    assert Machine(share).end_of(seconds) == pytest.approx(expected, abs=1e-3)


def test_what_waited_before_it_began_does_not_count() -> None:
    now = [50.0]
    deadline = Deadline(2.0, clock=lambda: now[0], stalled=lambda: 49.0)
    now[0] = 52.0
    assert deadline.over


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("some avg10=1.00 avg60=2.00 avg300=3.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n", 2.5),
        ("nothing of it\n", 0.0),
        (None, 0.0),
    ],
)
def test_it_is_read_where_the_kernel_counts_it(tmp_path: Path, text: str | None, expected: float) -> None:
    path = tmp_path / "cpu"
    if text is not None:
        path.write_text(text)
    with mock.patch.object(deadlines, "PRESSURE", path):
        assert stalled_s() == expected
