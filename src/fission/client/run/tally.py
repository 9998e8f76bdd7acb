"""Adds up what all lives of a job have told of their pipes (`fission.runtime.counts`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Tally:
    """The counts of all jobs of a run."""

    def __init__(self) -> None:
        self._told: dict[int, dict[int, Mapping[str, Any]]] = {}  # by job and incarnation, what was told last
        self._final: set[tuple[int, int]] = set()
        self._replayed: dict[int, dict[str, int]] = {}
        self._first: dict[int, int] = {}  # compute blocks that a job had come to when it was heard first

    def tell(self, job: int, incarnation: int, counts: Mapping[str, Any], *, final: bool) -> None:
        """A life has come to these counts, which stand for all it told before; ``final``: they are its last.

        Empty ones say nothing.
        """
        if counts and (final or (job, incarnation) not in self._final):
            self._first.setdefault(job, _highest([counts["compute_blocks"]]))
            self._told.setdefault(job, {})[incarnation] = counts
            if final:
                self._final.add((job, incarnation))

    def first(self, job: int) -> int:
        """Return the compute blocks that a job had come to when it was heard first."""
        return self._first.get(job, 0)

    def replayed(self, job: int, pipe: int, blocks: int) -> None:
        """A job has sent blocks of an output pipe again, to a new life of its consumer."""
        pipes = self._replayed.setdefault(job, {})
        pipes[str(pipe)] = pipes.get(str(pipe), 0) + blocks

    def left_behind(self, producer: int, pipe: int, consumer: int, block_count: int) -> int:
        """Return how many blocks a producer told of that are in no compute block of the consumer, in generations that are over.

        A life that was killed told of what it had sent at most a second before (`fission.runtime.counts`).
        """
        sent = _highest_each([one["outputs"].get(str(pipe), {}).get("sent", {}) for one in self._told.get(producer, {}).values()])
        done = _highest_each([one["compute_blocks"] for one in self._told.get(consumer, {}).values()])
        newest = max((int(generation) for generation in {**sent, **done}), default=0)
        over = [generation for generation in sent if int(generation) < newest]
        return sum(max(0, sent[generation] - done.get(generation, 0) * block_count) for generation in over)

    def total(self, job: int, lives: int) -> dict[str, Any]:
        """Return the counts of a job that had so many ``lives``; an empty dict if none of them has told anything.

        ``lives_untold`` of them were killed before they had told their last counts: what they met after the last telling is missing.
        """
        told = self._told.get(job)
        if not told:
            return {}
        newest = told[max(told)]
        everything = list(told.values())
        found = {
            "compute_blocks": _highest([counts["compute_blocks"] for counts in everything]),
            "inputs": {pipe: _summed([counts["inputs"].get(pipe, {}) for counts in everything]) for pipe in newest["inputs"]},
            "outputs": {},
            "malformed": sum(counts["malformed"] for counts in everything),
            "not_shared": sum(counts["not_shared"] for counts in everything),
            "lives_untold": max(0, lives - sum(number == job for number, _ in self._final)),
        }
        for pipe, last in newest["outputs"].items():
            lives_of_pipe = [counts["outputs"][pipe] for counts in everything if pipe in counts["outputs"]]
            found["outputs"][pipe] = {
                "sent": _highest([one["sent"] for one in lives_of_pipe]),
                "lost": _highest([one.get("lost", {}) for one in lives_of_pipe]),
                "dropped": sum(one["dropped"] for one in lives_of_pipe),
                "queue": last["queue"],
                "blocked_s": round(sum(one["blocked_s"] for one in lives_of_pipe), 6),
                "replayed": self._replayed.get(job, {}).get(pipe, 0),
            }
        return found


def _highest(lives: list[Mapping[str, int]]) -> int:
    return sum(_highest_each(lives).values())


def _highest_each(lives: list[Mapping[str, int]]) -> dict[str, int]:
    """Numbers begin again in each generation, and a life goes on with those of the one before it."""
    highest: dict[str, int] = {}
    for numbers in lives:
        for generation, number in numbers.items():
            highest[generation] = max(number, highest.get(generation, 0))
    return highest


def _summed(lives: list[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in lives:
        for name, number in counts.items():
            total[name] = total.get(name, 0) + number
    return total
