"""The earliest of many deadlines, without looking at all of them whenever it is asked for.

A deadline usually moves later: each pulse of a node, each report of a job moves one. An entry of
the heap is therefore allowed to be too early; it is corrected when it is the first one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")


class Deadlines(Generic[Key]):
    """The deadlines of many things, by key; keys can be sorted."""

    def __init__(self, deadline: Callable[[Key], float | None]) -> None:
        """Begin without keys.

        Args:
            deadline: returns the present deadline of a key that was added; None: it has none, and
                is forgotten until it is added again.
        """
        self._deadline = deadline
        self._heap: list[tuple[float, Any]] = []
        self._entries: dict[Any, float] = {}

    def add(self, key: Key) -> None:
        """Add a key that has a deadline now, or whose deadline has moved earlier. Idempotent."""
        deadline = self._deadline(key)
        if deadline is not None and deadline < self._entries.get(key, float("inf")):
            self._entries[key] = deadline
            heapq.heappush(self._heap, (deadline, key))

    @property
    def earliest(self) -> float | None:
        """The earliest deadline; None: there is none."""
        while self._heap:
            entry, key = self._heap[0]
            if self._entries.get(key) != entry:  # it was added again with an earlier one
                heapq.heappop(self._heap)
                continue
            deadline = self._deadline(key)
            if deadline is None:
                heapq.heappop(self._heap)
                del self._entries[key]
            elif deadline > entry:
                self._entries[key] = deadline
                heapq.heapreplace(self._heap, (deadline, key))
            else:
                return deadline
        return None
