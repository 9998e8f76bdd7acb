"""The queue of pipelines that wait for a Pipeliner.

Each is in it at most once. The most urgent comes first; among equals, the oldest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator


class WaitingQueue:
    """A priority queue of names that supports removal from its middle.

    Every operation costs O(log n). A name keeps its turn: one that was taken and returns (because
    its Pipeliner has died) is served before all that came after it.
    """

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, int]] = {}
        self._heap: list[tuple[int, int, str]] = []
        self._turns = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in the order in which `first` returns them."""
        return (name for _, _, name in sorted((*entry, name) for name, entry in self._entries.items()))

    def add(self, name: str, priority: int = 0, turn: int | None = None) -> int:
        """Add *name* to the queue; a name that already waits keeps its place.

        Args:
            name: name to add.
            priority: priority of the name; a larger one is served earlier.
            turn: turn that an earlier `add` of this name returned; None: it is the newest.

        Returns:
            The turn of the name.
        """
        known = self._entries.get(name)
        if known is not None:
            return known[1]
        if turn is None:
            self._turns += 1
            turn = self._turns
        entry = (-priority, turn)
        self._entries[name] = entry
        heapq.heappush(self._heap, (*entry, name))
        return turn

    def remove(self, name: str) -> None:
        """Remove a name from the queue; a name that does not wait is ignored."""
        self._entries.pop(name, None)
        if len(self._heap) > 2 * len(self._entries) + 64:  # purge removed names from the heap occasionally
            self._heap = sorted((*entry, kept) for kept, entry in self._entries.items())

    def first(self, number: int) -> list[str]:
        """Return the *number* names that are served next, without removing them."""
        found: list[tuple[int, int, str]] = []
        while self._heap and len(found) < number:
            entry = heapq.heappop(self._heap)
            if self._entries.get(entry[2]) == entry[:2] and (not found or found[-1] != entry):
                found.append(entry)
        for entry in found:
            heapq.heappush(self._heap, entry)
        return [name for _, _, name in found]
