"""Brokers and Pipeliners of others among all other events: no job is lost, run twice or ended by the wrong one, in any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest

from fission.pipelines.leases import LeasedPipeline
from fission.pipelines.pull_queue import Key, PulledTask, PullQueue
from fission.pipelines.router_api import RouterApi
from fission.pipelines.router_state import RouterState
from fission.protocol.pipeline_records import Task
from tests.pipelines.test_router_api import Talk
from tests.protocol.seeds import expect_caught, run_seeds
from tests.seeds import test_pypelinin_wire
from tests.seeds.others_storm import OthersWorld


def play(rng: Random, api: type[RouterApi] = RouterApi) -> None:
    world = OthersWorld(rng, api)
    try:
        world.play(150)
        world.heal()
    finally:
        world.close()


@pytest.mark.parametrize("number", [15, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(600)])])
def test_all_orders(number: int) -> None:
    run_seeds(play, number)


# broken variants


def with_offers(offers: type[PullQueue]) -> type[RouterApi]:
    class Broken(RouterApi):
        def __init__(self, *arguments: object, **more: object) -> None:
            super().__init__(*arguments, **more)  # type: ignore[arg-type]
            self.queue.__class__ = offers

    return Broken


class OffersEverything(PullQueue):
    """Also what a process of ours may have begun."""

    def _first(self, workers: Sequence[str] | None) -> Key | None:
        return next(iter(self._open), None)


class LeavesItToTheCluster(PullQueue):
    """What is taken runs on the cluster too, if a process with its worker comes."""

    def pull(self, now: float, workers: Sequence[str] | None = None) -> Task | None:
        found = self._first(workers)
        if found is None:
            return None
        task = self._open[found]
        self._drop(found)
        self.pulled[found] = PulledTask(task, now)
        return task


class BelievesAll(PullQueue):
    """Every end is believed, whichever client reports it."""

    def release(self, key: Key) -> bool:
        super().release(key)
        return True


class Careless(RouterState):
    """A pipeline is given to a Pipeliner of others even if jobs of it have begun."""

    def hand_out(self, fits: Callable[[LeasedPipeline], bool], wanted: Sequence[str] | None = None) -> LeasedPipeline | None:
        return super().hand_out(lambda active: True, wanted)


class BroadcastsNothing(RouterApi):
    """Ends are recorded, but not broadcast as pypelinin does."""

    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)  # type: ignore[arg-type]
        self.pypelinin.lines = lambda ended: []  # type: ignore[method-assign]


def test_broken_variants_are_caught() -> None:
    for api in (with_offers(OffersEverything), with_offers(LeavesItToTheCluster), with_offers(BelievesAll), BroadcastsNothing):
        expect_caught(lambda rng, api=api: play(rng, api), 60)  # type: ignore[misc]


def test_giving_away_a_begun_pipeline_is_caught() -> None:
    talk = Talk(":memory:")
    talk.api.state.__class__ = Careless
    try:
        with pytest.raises(AssertionError):
            test_pypelinin_wire.test_a_pipeline_begun_by_our_pipeliners_is_not_given_away(talk)
    finally:
        talk.store.close()
