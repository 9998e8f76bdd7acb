"""The queue of waiting pipelines against a plain list that is sorted each time."""

from __future__ import annotations

from random import Random

from fission.protocol.waiting_queue import WaitingQueue
from tests.protocol.seeds import expect_caught, run_seeds


def play(rng: Random, kind: type[WaitingQueue] = WaitingQueue) -> None:
    queue, model, turns = kind(), dict[str, tuple[int, int]](), 0
    taken: dict[str, tuple[int, int]] = {}
    for _ in range(rng.choice([5, 30, 300])):
        name = f"p{rng.randrange(12)}"
        choice = rng.random()
        if choice < 0.4:
            priority = rng.choice([0, 0, 0, 5, -5])
            turn = queue.add(name, priority)
            if name not in model:
                turns += 1
                model[name] = (-priority, turns)
            assert turn == model[name][1]
        elif choice < 0.6:
            queue.remove(name)
            if name in model:
                taken[name] = model.pop(name)
        elif choice < 0.75 and name in taken and name not in model:
            minus, turn = taken[name]
            assert queue.add(name, -minus, turn) == turn, "one that comes back has its turn"
            model[name] = (minus, turn)
        else:
            number = rng.randrange(5)
            assert queue.first(number) == sorted(model, key=model.__getitem__)[:number]
        assert len(queue) == len(model)
        assert bool(queue) == bool(model)
        assert (name in queue) == (name in model)
    assert list(queue) == queue.first(99) == sorted(model, key=model.__getitem__)


def test_each_waits_once_and_the_most_urgent_and_oldest_are_first() -> None:
    run_seeds(play, 300)


class Twice(WaitingQueue):
    """What has caused C13: a name that waits is queued again."""

    def add(self, name: str, priority: int = 0, turn: int | None = None) -> int:
        self._entries.pop(name, None)
        return super().add(name, priority, turn)


class ComesLast(WaitingQueue):
    """One that comes back has lost its turn."""

    def add(self, name: str, priority: int = 0, turn: int | None = None) -> int:
        return super().add(name, priority)


class NeverRemoved(WaitingQueue):
    def remove(self, name: str) -> None:
        pass


def test_broken_queues_are_caught() -> None:
    for broken in (Twice, ComesLast, NeverRemoved):
        expect_caught(lambda rng, broken=broken: play(rng, broken), 50)  # type: ignore[misc]
