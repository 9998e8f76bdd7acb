"""Stamps: when a source made a block, on the way to the sinks.

Rules
    A source stamps a block in `EVERY_S` for each output: the first one of a message. A stamp has
    the number of the block, the source with its incarnation, and the time on the clock of the
    source's machine at which the block was put. It travels ahead of its block.
    A job with inputs passes the stamps of its input blocks on, with the block that results. Where
    inputs are joined, and where several blocks become one, the earliest time of each source counts.
    Stamps of unreleased blocks are kept, and sent again with them: a replayed block has the time at
    which it was first made.
    A job compares the stamp with its own clock when it is done with the block. Such a sample is not
    corrected: the client knows the clocks (`latency`). One that is *measured*, such as a sink,
    reports each sample; the others only the newest one of a source in each report, since nothing is
    judged by it.
    ASYNC pipes carry no stamps, and nor do executables whose RATIO is None: which block results
    from which is unknown there.

A stamp is a message of its own, so that a block without one costs nothing; one that is to have a
stamp for every block sends more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import NamedTuple

NEVER = float("inf")

#: Seconds between two stamped blocks of an output. Arbitrary: ten a second are enough for percentiles over a window, and
#: their messages cost less than a thousandth of a processor.
EVERY_S = 0.1
#: Largest number of stamps that are kept for unreleased blocks, wait for their blocks, or wait to be reported. Arbitrary: more
#: than are made while a window of blocks is under way; the oldest are forgotten.
MOST = 1024
#: Largest number of generations to come whose stamps are kept; the nearest stay. Arbitrary: there is seldom more than one, and a
#: malformed message must not take memory for more.
MOST_GENERATIONS = 4
#: Largest number of sources whose newest samples a job reports that is not measured: those with the least ids. Arbitrary: what a
#: person reads in the panel of a job, and a job after a thousand sources must not report a thousand samples a second.
MOST_NEWEST = 8


class Origin(NamedTuple):
    """Where and when a block was made.

    Attributes:
        source: id of the job.
        incarnation: of the source.
        at: seconds on the clock of its machine.
    """

    source: int
    incarnation: int
    at: float


class Sample(NamedTuple):
    """How long a block was under way, uncorrected.

    Attributes:
        source: id of the job that made it.
        incarnation: of the source.
        seconds: the clock of this machine when the block was done, less the time of the stamp.
    """

    source: int
    incarnation: int
    seconds: float


Origins = dict[int, Origin]


def join(known: Mapping[int, Origin], more: Mapping[int, Origin]) -> Origins:
    """Return both, with the earliest time of each source."""
    found = dict(known)
    for source, origin in more.items():
        if source not in found or origin.at < found[source].at:
            found[source] = origin
    return found


class Stamps:
    """The stamps that have arrived at one job, until their blocks are done.

    The caller holds the endpoint's lock.

    Attributes:
        waiting: by number of a compute block of this generation, for a job that is measured.
        samples: of the blocks that were done since `take`, of a job that is measured.
        newest: by source, that of the last such block, of another job.
        ratio: output blocks for each compute block; None: unknown.
    """

    def __init__(self, block_counts: Mapping[int, int], *, measured: bool, ratio: Fraction | None = Fraction(1)) -> None:
        """Begin without stamps.

        Args:
            block_counts: BLOCK_COUNT of each non-ASYNC input.
            measured: whether each sample is taken.
            ratio: as in the attribute.
        """
        self.waiting: dict[int, Origins] = {}
        self.samples: list[Sample] = []
        self.newest: dict[int, Sample] = {}
        self.ratio = ratio
        self._block_counts = block_counts
        self._measured = measured
        self._coming: dict[int, dict[int, Origins]] = {}  # by newer generation and compute block

    def arrived(
        self, pipe: int, number: int, generation: int, present: int, done: int, origins: Mapping[int, Origin]
    ) -> tuple[int, Origins]:
        """Take a stamp; return the number of the output block that results, and its stamp so far.

        Args:
            pipe: input on which it arrived.
            number: of the block on that input.
            generation: of the number.
            present: generation of the job.
            done: the last compute block that is done.
            origins: of the stamp.

        Returns:
            (0, {}): there is no such block, or its generation has not begun.
        """
        count = self._block_counts.get(pipe, 0)
        block = (number - 1) // count + 1 if count else 0
        if not block or generation < present or (generation == present and block <= done):
            return 0, {}
        waiting = self.waiting if generation == present else self._coming.setdefault(generation, {})
        while len(self._coming) > MOST_GENERATIONS:
            del self._coming[max(self._coming)]
        found = waiting[block] = join(waiting.get(block, {}), origins)
        while len(waiting) > MOST:
            del waiting[next(iter(waiting))]
        return (self.output(block), found) if generation == present else (0, {})

    def output(self, block: int) -> int:
        """Return the number of the last output block of a compute block; 0 if it is unknown."""
        return -(-block * self.ratio.numerator // self.ratio.denominator) if self.ratio else 0

    def switch(self, generation: int) -> dict[int, Origins]:
        """Enter a new generation; return the stamps of its output blocks that have arrived."""
        self.waiting = self._coming.pop(generation, {})
        self._coming = {number: blocks for number, blocks in self._coming.items() if number > generation}
        found: dict[int, Origins] = {}
        for block, origins in self.waiting.items():
            found[self.output(block)] = join(found.get(self.output(block), {}), origins)
        found.pop(0, None)
        return found

    def done(self, number: int, now: float) -> None:
        """Note that compute blocks up to ``number`` are done."""
        for block in [block for block in self.waiting if block <= number]:
            origins = self.waiting.pop(block)
            found = [Sample(origin.source, origin.incarnation, now - origin.at) for origin in origins.values()]
            if self._measured:
                self.samples += found
            else:
                self.newest |= {sample.source: sample for sample in found}
        del self.samples[:-MOST]
        while len(self.newest) > MOST_NEWEST:
            del self.newest[max(self.newest)]

    def take(self) -> list[Sample]:
        """Return the samples since the last call."""
        found, self.samples = self.samples + list(self.newest.values()), []
        self.newest.clear()
        return found


class OutputStamps:
    """The stamps of one output: those for blocks to come, and those of unreleased blocks.

    Attributes:
        due: time from which the next message gets a stamp of this source; infinity if the job is
            not a source, or its pipe carries none.
        coming: by the number of a block that is not sent yet.
    """

    def __init__(self, source: tuple[int, int] | None = None) -> None:
        """Begin.

        Args:
            source: id and incarnation of the job, if it is a source.
        """
        self._source = source
        self.due = NEVER if source is None else -NEVER
        self.coming: dict[int, Origins] = {}
        self._kept: dict[tuple[int, int], Origins] = {}

    def expect(self, number: int, origins: Origins) -> None:
        """Take the stamp of a block to come, which replaces an earlier one of that block."""
        self.coming[number] = origins
        while len(self.coming) > MOST:
            del self.coming[next(iter(self.coming))]

    def restart(self) -> None:
        """Forget the blocks to come: numbering begins again."""
        self.coming.clear()

    def sent(self, generation: int, first: int, count: int, put_at: float) -> list[tuple[int, Origins]]:
        """Return (number, stamp) of blocks that are about to be sent, and keep them.

        Args:
            generation: of the numbers.
            first: number of the first block of the message.
            count: number of its blocks.
            put_at: time at which the first one was put.
        """
        found: list[tuple[int, Origins]] = []
        if put_at >= self.due and self._source is not None:
            self.due = put_at + EVERY_S
            found.append((first, {self._source[0]: Origin(*self._source, put_at)}))
        for number in [number for number in self.coming if number < first + count]:
            origins = self.coming.pop(number)
            if number >= first:
                found.append((number, origins))
        for number, origins in found:
            self._kept[generation, number] = origins
        while len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]
        return found

    def released(self, upto: Callable[[int], int]) -> None:
        """Forget the stamps of released blocks.

        Args:
            upto: returns the number up to which the blocks of a generation are released.
        """
        if self._kept:
            self._kept = {
                (generation, number): origins for (generation, number), origins in self._kept.items() if number > upto(generation)
            }

    def of(self, generation: int) -> list[tuple[int, Origins]]:
        """Return (number, stamp) of the unreleased blocks of a generation."""
        return [(number, origins) for (kept, number), origins in self._kept.items() if kept == generation]
