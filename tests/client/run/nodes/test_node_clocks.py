"""What the client makes of the clocks that nodes report, and of its own."""

from __future__ import annotations

import pytest

from fission.client.run.nodes.node_clocks import NodeClocks


class Wall:
    """The time of day of the client's machine, minus its steady clock."""

    def __init__(self) -> None:
        self.offset_s = 1000.0

    def __call__(self) -> float:
        return self.offset_s


def report(steady: float, wall: float, error: float = 0.001) -> dict[str, float]:
    """Return what a node reports whose steady clock, and whose time of day minus that, are so many seconds ahead."""
    return {"clock_offset": steady, "clock_error": error, "clock_drift": 0.0, "clock_wall": wall, "rtt": 2 * error}


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def clocks(wall: Wall) -> NodeClocks:
    return NodeClocks(wall)


def test_the_time_of_day_counts_whenever_the_machines_were_started(clocks: NodeClocks) -> None:
    assert clocks.heard("one", report(50.0, 950.25)) == []
    steady, found = clocks.steady("one"), clocks.wall("one")
    assert steady is not None
    assert steady.offset_s == 50.0
    assert found is not None
    assert found.offset_s == pytest.approx(0.25)
    assert clocks.wall("two") is None


@pytest.mark.parametrize(
    ("step", "words"), [(3600.0, "forward by 3600.0 s"), (-1.7e9, "back by 1700000000.0 s"), (0.2, "forward by 0.2 s")]
)
def test_a_clock_of_a_node_that_was_set_is_reported_once(clocks: NodeClocks, step: float, words: str) -> None:
    clocks.heard("one", report(50.0, 950.0))
    (found,) = clocks.heard("one", report(50.0, 950.0 + step))
    assert found.startswith(f"the clock of node one was set {words}; ")
    assert clocks.heard("one", report(50.0, 950.0 + step)) == []


def test_a_clock_that_was_set_while_the_machine_was_away_is_reported(clocks: NodeClocks) -> None:
    """As on a board without a battery: it comes back with another steady clock, and an hour late."""
    clocks.heard("one", report(50.0, 950.0))
    clocks.joined("one")
    assert clocks.steady("one") is clocks.wall("one") is None
    assert clocks.heard("one", {"rtt": 0.1}) == []  # its first pulse knows no clock
    (found,) = clocks.heard("one", report(-7.0, 1007.0 - 3600))
    assert "back by 3600.0 s" in found


def test_a_machine_that_was_started_again_with_the_right_time_is_not(clocks: NodeClocks) -> None:
    clocks.heard("one", report(50.0, 950.0))
    clocks.joined("one")
    assert clocks.heard("one", report(-7.0, 1007.0)) == []


def test_the_clock_of_the_client_is_reported_as_its_own(clocks: NodeClocks, wall: Wall) -> None:
    for node in ("one", "two"):
        clocks.heard(node, report(50.0, 950.0))
    wall.offset_s += 10
    (sentence,) = clocks.heard("one", report(50.0, 950.0))
    assert sentence.startswith("the clock of this machine was set forward by 10.0 s; ")
    assert clocks.heard("two", report(50.0, 950.0)) == []
    found = clocks.wall("two")
    assert found is not None
    assert found.offset_s == pytest.approx(-10)


def test_what_cannot_be_distinguished_from_a_bad_link_is_not_reported(clocks: NodeClocks) -> None:
    clocks.heard("one", report(50.0, 950.0, error=0.3))
    assert clocks.heard("one", report(50.0, 950.5, error=0.3)) == []
