"""The groups of compute blocks that a program was given, as runs of consecutive ones.

A program may be given thousands of groups before the first one is released, and millions in a
second: a run of them takes as much time and memory as one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class Groups:
    """The first compute block of each group, in ascending order."""

    def __init__(self, takes: int) -> None:
        """Begin without a group.

        Args:
            takes: number of compute blocks of a group.
        """
        self._takes = takes
        self._runs: deque[list[int]] = deque()  # first compute block of the first group, number of groups
        self._count = 0

    def __len__(self) -> int:
        """Return the number of groups."""
        return self._count

    def __getitem__(self, index: int) -> int:
        """Return the first compute block of a group. Raises IndexError: the group does not exist."""
        return self.run_from(index)[0]

    def append(self, number: int) -> None:
        """Add the group that begins with this compute block."""
        self._add(number, 1)

    def extend(self, numbers: Sequence[int]) -> None:
        """Add groups of one compute block each."""
        if isinstance(numbers, range):
            self._add(numbers[0], len(numbers))
            return
        for number in numbers:
            self._add(number, 1)

    def run_from(self, index: int) -> tuple[int, int]:
        """Return the first compute block of a group, and how many groups follow each other from it on.

        Raises:
            IndexError: the group does not exist.
        """
        for first, count in self._runs:
            if index < count:
                return first + index * self._takes, count - index
            index -= count
        raise IndexError(index)

    def count_upto(self, number: int) -> int:
        """Return how many groups begin with a compute block up to this one."""
        found = 0
        for first, count in self._runs:
            here = (number - first) // self._takes + 1
            if here < count:
                return found + max(0, here)
            found += count
        return found

    def drop(self, count: int) -> None:
        """Remove the first groups."""
        self._count -= count
        while count:
            run = self._runs[0]
            cut = min(count, run[1])
            count -= cut
            if cut == run[1]:
                self._runs.popleft()
            else:
                run[0] += cut * self._takes
                run[1] -= cut

    def _add(self, first: int, count: int) -> None:
        self._count += count
        if self._runs and self._runs[-1][0] + self._runs[-1][1] * self._takes == first:
            self._runs[-1][1] += count
        else:
            self._runs.append([first, count])
