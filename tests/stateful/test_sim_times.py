"""Seeds of the simulated cluster whose sinks ask for the times of blocks: all pass, and broken rules make some fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fission.core.block_time import BlockTime
from fission.protocol import block_times
from fission.protocol.block_times import UNKNOWN, BlockTimes, ReceivedTimes, pack
from fission.protocol.endpoint import Endpoint
from fission.protocol.endpoint_inputs import Inputs
from tests.stateful.cluster_sim import outcome
from tests.stateful.sim_cluster import run_seed

#: Seeds among which a broken rule must make one fail.
SEARCHED_SEEDS = 40


def test_times_go_with_their_blocks_whatever_dies() -> None:
    for seed in range(6):
        assert not (wrong := outcome(seed, times=True)), wrong


def test_a_consumer_that_has_ended_is_not_asked_for_times() -> None:
    """The source makes a block again that only it has had."""
    assert not (wrong := outcome(91933, times=True)), wrong


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, 200, 50))
def test_times_go_with_their_blocks_in_many_networks(first: int) -> None:
    for seed in range(first, first + 50):
        assert not (wrong := outcome(seed, times=True)), wrong


def test_times_are_compared_at_the_sinks() -> None:
    assert sum(run_seed(seed, times=True, faults=False)[0].compared for seed in range(8)) > 50  # type: ignore[union-attr]


def no_source_asks(patch: pytest.MonkeyPatch) -> None:
    """A source makes blocks again at once, with new times."""
    patch.setattr(Endpoint, "asks_times", False)


def nothing_is_received(patch: pytest.MonkeyPatch) -> None:
    """A consumer does not know the times of the blocks that it has."""
    patch.setattr(ReceivedTimes, "offer", lambda *arguments: None)
    patch.setattr(ReceivedTimes, "accept", lambda *arguments: None)


def what_is_refused_is_reported(patch: pytest.MonkeyPatch) -> None:
    """A consumer reports times of blocks that it has refused: of an incarnation that was replaced."""
    patch.setattr(ReceivedTimes, "accept", lambda *arguments: None)


def reported_too_late(patch: pytest.MonkeyPatch) -> None:
    """A consumer answers when it comes to the opening: it may be waiting for room, for ever."""
    tell, wire = Inputs._report_times, Inputs.wire

    def wired(self: Inputs, pipe: int, incarnation: int) -> None:
        self._report_times = lambda *order: None  # type: ignore[method-assign]
        wire(self, pipe, incarnation)
        self._report_times = lambda *order: tell(self, *order)  # type: ignore[method-assign]

    patch.setattr(Inputs, "wire", wired)


def every_output_its_own(patch: pytest.MonkeyPatch) -> None:
    """A source takes the time when it sends, for each output."""
    of_outputs = BlockTimes.of_outputs

    def fresh(self: BlockTimes, first: int, count: int) -> bytes:
        return b"".join(pack(BlockTime.now()) for _ in range(count)) if self.own else of_outputs(self, first, count)

    patch.setattr(BlockTimes, "of_outputs", fresh)


def the_last_input_counts(patch: pytest.MonkeyPatch) -> None:
    """A join takes the time of whatever arrived last."""
    patch.setattr(block_times, "join", lambda one, other: one if other == UNKNOWN else other)


BROKEN: list[Callable[[Any], None]] = [
    no_source_asks,
    nothing_is_received,
    what_is_refused_is_reported,
    reported_too_late,
    every_output_its_own,
    the_last_input_counts,
]


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_rule_makes_seeds_fail(broken: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    assert any(outcome(seed, times=True) for seed in [35, 476, *range(SEARCHED_SEEDS)])
