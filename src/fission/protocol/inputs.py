"""Blocks that have arrived on one non-ASYNC input and are not yet taken into compute blocks.

Blocks stay in *segments*: runs of consecutive blocks, unchanged as they arrived. A message that is
exactly what a batch needs is therefore passed on without a copy. Blocks missing between segments
never arrive later: the link keeps order, and each number arrives once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fission.protocol.window import Receiver


class _Lost:
    def __repr__(self) -> str:
        return "LOST"


#: Placeholder for a permanently missing block in what `Input.pull` returns.
LOST = _Lost()


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One non-ASYNC input.

    Args:
        pipe: id of the pipe.
        block_count: number of its blocks in one compute block, from 1.
        max_queue: number of blocks that may wait before the oldest is dropped; 0 for no limit.
        dummy: creates the payload of a dummy; None to repeat the previous block.
        asked: whether the producer may ask for the times of its blocks.
    """

    pipe: int
    block_count: int = 1
    max_queue: int = 0
    dummy: Callable[[], Any] | None = None
    asked: bool = False


@dataclass(slots=True)
class InputCounts:
    """Counters of one input, in blocks.

    Every arriving block counts as `duplicates` or `received`. Every received block was delivered,
    is waiting, or counts as `dropped` or `unmatched`. Compute blocks hold delivered blocks and
    `dummies`.

    Attributes:
        received: blocks that arrived for the first time, from the current incarnation, and not
            before the beginning.
        duplicates: blocks that arrived again, from an older incarnation, or before the beginning,
            where an earlier incarnation of the job had finished them.
        lost: blocks of compute blocks that never arrived.
        dropped: blocks dropped because of MAX_QUEUE.
        dummies: dummies delivered instead of lost or dropped blocks.
        unmatched: blocks dropped because no other input can match them, or because their compute
            block was left out.
    """

    received: int = 0
    duplicates: int = 0
    lost: int = 0
    dropped: int = 0
    dummies: int = 0
    unmatched: int = 0


@dataclass(slots=True)
class Stage:
    """Blocks of one input and one generation.

    Attributes:
        segments: (first number, payloads, heads or None) tuples, ascending, without overlap.
        high: last number that has arrived or is known to be missing.
        mark: newest mark of the producer in this generation; 0 before its first.
        last: number of the last block; None while it is unknown.
        dropped: numbers that MAX_QUEUE has removed from the segments and that `met` has not counted
            yet.
    """

    segments: deque[tuple[int, list[Any], list[int] | None]] = field(default_factory=deque)
    high: int = 0
    mark: int = 0
    last: int | None = None
    dropped: deque[range] = field(default_factory=deque)

    def waiting(self) -> int:
        """Return the number of blocks in the segments."""
        return sum(len(payloads) for _, payloads, _ in self.segments)

    def drop(self, excess: int) -> None:
        """Remove the ``excess`` oldest blocks."""
        while excess > 0:
            first, payloads, heads = self.segments.popleft()
            cut = min(excess, len(payloads))
            if cut < len(payloads):
                self.segments.appendleft((first + cut, payloads[cut:], heads[cut:] if heads else None))
            excess -= cut
            start = self.dropped.pop().start if self.dropped and self.dropped[-1].stop == first else first
            self.dropped.append(range(start, first + cut))

    def met(self, start: int, stop: int) -> int:
        """Return how many of the numbers were dropped; forget these and all before.

        Args:
            start: first number.
            stop: number after the last one.
        """
        count = 0
        while self.dropped and self.dropped[0].start < stop:
            one = self.dropped.popleft()
            count += max(0, min(one.stop, stop) - max(one.start, start))
            if one.stop > stop:
                self.dropped.appendleft(range(stop, one.stop))
        return count


class Input:
    """One non-ASYNC input: the state of its link, its waiting blocks and its counters.

    Attributes:
        stage: stage of the current generation.
        coming: stage of the newest generation, if that is not the current one.
        previous: payload before the next position, for a dummy.
    """

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec
        self.receiver = Receiver()
        self.stage = Stage()
        self.coming: Stage | None = None
        self.previous: Any = LOST
        self.counts = InputCounts()

    @property
    def newest(self) -> Stage:
        """The stage that takes arriving blocks."""
        return self.coming or self.stage

    def position(self, compute_block: int) -> int:
        """Return the number of its first block in a compute block."""
        return (compute_block - 1) * self.spec.block_count + 1

    def begin_at(self, position: int, *, receiving: bool) -> None:
        """Drop everything before ``position``.

        Args:
            position: number of the first block to keep.
            receiving: whether the receiver is in this generation; if so, later arrivals are dropped
                too.
        """
        segments = self.stage.segments
        forgotten = 0
        while segments and segments[0][0] < position:
            first, payloads, heads = segments.popleft()
            cut = min(position - first, len(payloads))
            forgotten += cut
            if cut < len(payloads):
                segments.appendleft((position, payloads[cut:], heads[cut:] if heads else None))
        self.counts.received -= forgotten
        self.counts.duplicates += forgotten
        self.stage.met(0, position)
        if not receiving:
            self.stage.high = max(self.stage.high, position - 1)
            return
        self.receiver.skip(position - 1)
        self.stage.high = self.receiver.high

    def limit(self) -> None:
        """Drop what exceeds MAX_QUEUE; one compute block may always wait."""
        excess = self.newest.waiting() - max(self.spec.max_queue, self.spec.block_count)
        if excess > 0:
            self.newest.drop(excess)
            self.counts.dropped += excess

    def pull(self, position: int, count: int) -> tuple[list[Any], list[int] | None, list[int]]:
        """Take ``count`` blocks from ``position`` on.

        Returns:
            Payloads, heads (None if all are 0), and indexes of the blocks that are `LOST`.
        """
        segments = self.stage.segments
        if segments and segments[0][0] == position and len(segments[0][1]) == count:
            _, payloads, heads = segments.popleft()
            return payloads, heads, []
        found: list[Any] = []
        found_heads: list[int] = []
        lost: list[int] = []
        some_heads = False
        while len(found) < count:
            missing = count - len(found)
            at = position + len(found)
            gap = missing if not segments else min(missing, segments[0][0] - at)
            if gap > 0:
                lost += range(len(found), len(found) + gap)
                found += [LOST] * gap
                found_heads += [0] * gap
                self.counts.lost += gap - self.stage.met(at, at + gap)
                continue
            first, payloads, heads = segments.popleft()
            if len(payloads) > missing:
                segments.appendleft((first + missing, payloads[missing:], heads[missing:] if heads else None))
                payloads = payloads[:missing]
                heads = heads[:missing] if heads else None
            found += payloads
            found_heads += heads or [0] * len(payloads)
            some_heads = some_heads or heads is not None
        return found, found_heads if some_heads or lost else None, lost

    def fill(self, items: list[Any], lost: list[int]) -> None:
        """Put dummies in place of lost blocks; a block without a possible dummy stays `LOST`."""
        for index in lost:
            if self.spec.dummy is not None:
                items[index] = self.spec.dummy()
            else:
                items[index] = items[index - 1] if index else self.previous
