"""What several tests of the protocol compare with."""

from __future__ import annotations

from fission.protocol.window import Arrival


class ReceiverModel:
    """A set of the numbers that are had, each life by itself."""

    def __init__(self) -> None:
        self.life: tuple[int, int] | None = None  # (incarnation, generation), once a link was opened
        self.marks: list[int] = []  # of this generation
        self.had: set[int] = {0}
        self.last: int | None = None
        self.refused = 0

    def open(self, incarnation: int, generation: int, mark: int) -> Arrival:
        before = self.life or (0, 0)
        if incarnation < before[0] or generation < before[1]:
            return Arrival.STALE
        if self.life == (incarnation, generation) and mark <= max(self.marks):
            return Arrival.KNOWN
        first_time = self.life is None
        self.life = (incarnation, generation)
        if generation > before[1]:
            self.marks, self.had, self.last = [], {0}, None
        self.marks.append(mark)
        self.have(mark)
        return Arrival.NEW_GENERATION if generation > before[1] and not first_time else Arrival.NEW_LIFE

    def have(self, upto: int) -> None:
        """On a link in order, what is missing before a block never comes."""
        self.had |= set(range(upto + 1))

    def accept(self, incarnation: int, generation: int, first: int, count: int) -> list[int]:
        """The numbers that are new."""
        new = [number for number in range(first, first + count) if number not in self.had]
        if self.life != (incarnation, generation):
            new = []
        self.refused += count - len(new)
        if new:
            self.have(new[-1])
        return new

    def end(self, incarnation: int, generation: int, last: int) -> bool:
        if self.life != (incarnation, generation):
            return False
        self.last = last
        self.have(last)
        return True
