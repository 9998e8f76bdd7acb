"""Add, cancel, retry, ask, finish, die, in all orders: no pipeline is lost, run twice or failed by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import msgspec

from fission.pipelines.leases import LeasedPipeline
from fission.pipelines.pipeliner import Pipeliner
from fission.pipelines.router_api import RouterApi
from fission.pipelines.router_state import RouterState
from fission.protocol.dagrun import DagRun
from fission.protocol.messages.pipelines.router_to_pipeliner import ExchangeAnswer
from fission.protocol.waiting_queue import WaitingQueue
from tests.pipelines.storm import World
from tests.protocol.seeds import expect_caught, run_seeds


def play(rng: Random, api: type[RouterApi] = RouterApi, pipeliner: type[Pipeliner] = Pipeliner) -> None:
    world = World(rng, api, pipeliner)
    try:
        world.play(150)
        world.heal()
    finally:
        world.close()


def test_all_orders() -> None:
    run_seeds(play, 40)


# broken variants: each is what the code did, or could easily do


class CancelLeavesItQueued(RouterApi):
    """A plain queue, from which cancelling removes nothing: run again, a pipeline is there twice."""

    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)  # type: ignore[arg-type]
        self.state.waiting = _PlainQueue()
        self.state.__class__ = _CancelsNothing


class _PlainQueue(WaitingQueue):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __len__(self) -> int:
        return len(self.names)

    def __bool__(self) -> bool:
        return bool(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def add(self, name: str, priority: int = 0, turn: int | None = None) -> int:
        if turn is None or turn == 0:
            self.names.append(name)
        return 1

    def remove(self, name: str) -> None:
        self.names.remove(name)

    def first(self, number: int) -> list[str]:
        return self.names[:number]


class _CancelsNothing(RouterState):
    def cancel(self, pipeline: str, accepted: float, wall: float) -> list[str]:
        queue = self.waiting
        self.waiting = WaitingQueue()
        try:
            return super().cancel(pipeline, accepted, wall)
        finally:
            self.waiting = queue


class AttemptsBeginAgain(RouterApi):
    """Attempts of a pipeline that is leased again have the numbers of earlier ones."""

    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)  # type: ignore[arg-type]
        self.state.__class__ = _NoLastAttempt


class _NoLastAttempt(RouterState):
    @property
    def _last_attempt(self) -> int:
        return 0

    @_last_attempt.setter
    def _last_attempt(self, value: int) -> None:
        pass


class HolderKeepsItsLease(RouterApi):
    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)  # type: ignore[arg-type]
        self.state.__class__ = _NeverDiscards


class _NeverDiscards(RouterState):
    def _close(self, active: LeasedPipeline, *rest: object) -> None:
        holder, active.holder = active.holder, ""
        super()._close(active, *rest)  # type: ignore[arg-type]
        active.holder = holder


class CancelsTheNewOne(Pipeliner):
    """What was cancelled comes last in an answer, as it did: it hits the same pipeline that was leased again."""

    def _take(self, answer: ExchangeAnswer, runs: dict[str, DagRun]) -> None:
        super()._take(msgspec.structs.replace(answer, cancelled=[]), runs)
        super()._take(msgspec.structs.replace(answer, events=[]), {})


def test_broken_variants_are_caught() -> None:
    for api in (CancelLeavesItQueued, AttemptsBeginAgain, HolderKeepsItsLease):
        expect_caught(lambda rng, api=api: play(rng, api), 60)  # type: ignore[misc]
    expect_caught(lambda rng: play(rng, RouterApi, CancelsTheNewOne), 60)
