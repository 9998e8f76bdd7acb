"""What has arrived on one non-ASYNC input and was not yet taken into compute blocks.

Blocks are kept as they came, in *segments* of consecutive ones, so that a message which is exactly what a batch needs is handed
on as it is. What is missing between segments is missing for good: the link is in order, and each number arrives once.
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


#: Stands for a block that is missing for good in what `Input.pull` returns.
LOST = _Lost()


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One non-ASYNC input.

    Args:
        pipe: its id.
        block_count: blocks of it in one compute block, from 1.
        max_queue: when more blocks than this wait, the oldest is dropped; 0 = never.
        dummy: makes the payload of a dummy; None = the previous block again.
    """

    pipe: int
    block_count: int = 1
    max_queue: int = 0
    dummy: Callable[[], Any] | None = None


@dataclass(slots=True)
class InputCounts:
    """What happened on one input, in blocks.

    Every block that arrives is `duplicates` or `received`, and every received one was delivered, is waiting, or is one of `dropped`
    and `unmatched`. What compute blocks hold is delivered blocks and `dummies`.

    Attributes:
        received: arrived for the first time, from the life that counts, and not before the beginning.
        duplicates: came again, from an older life, or before the beginning: an earlier life of the job had finished those.
        lost: numbers of compute blocks that never arrived.
        dropped: given up because of MAX_QUEUE.
        dummies: delivered instead of what was lost or dropped.
        unmatched: dropped because no other input can have their partners, or a compute block was left out.
    """

    received: int = 0
    duplicates: int = 0
    lost: int = 0
    dropped: int = 0
    dummies: int = 0
    unmatched: int = 0


@dataclass(slots=True)
class Stage:
    """What one input has of one generation.

    Attributes:
        segments: (first number, payloads, heads or None), ascending, without overlap.
        high: the last number that arrived or is known to be missing.
        mark: the producer's newest mark in this generation; 0 before it has said one.
        last: the number of the last block, once that is known.
        dropped: numbers that MAX_QUEUE took out of the segments and that were not yet met as a gap.
    """

    segments: deque[tuple[int, list[Any], list[int] | None]] = field(default_factory=deque)
    high: int = 0
    mark: int = 0
    last: int | None = None
    dropped: deque[range] = field(default_factory=deque)

    def waiting(self) -> int:
        """Blocks in the segments."""
        return sum(len(payloads) for _, payloads, _ in self.segments)

    def drop(self, excess: int) -> None:
        """Take so many blocks away, the oldest ones."""
        while excess > 0:
            first, payloads, heads = self.segments.popleft()
            cut = min(excess, len(payloads))
            if cut < len(payloads):
                self.segments.appendleft((first + cut, payloads[cut:], heads[cut:] if heads else None))
            excess -= cut
            start = self.dropped.pop().start if self.dropped and self.dropped[-1].stop == first else first
            self.dropped.append(range(start, first + cut))

    def met(self, start: int, stop: int) -> int:
        """Return how many of these numbers were dropped; forget them and all before."""
        count = 0
        while self.dropped and self.dropped[0].start < stop:
            one = self.dropped.popleft()
            count += max(0, min(one.stop, stop) - max(one.start, start))
            if one.stop > stop:
                self.dropped.appendleft(range(stop, one.stop))
        return count


class Input:
    """One non-ASYNC input: its link's life, what waits, what happened.

    Attributes:
        stage: of the generation that is worked on.
        coming: of the newest generation, if that is another one.
        previous: the payload in front of the next position, for a dummy.
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
        """Where what arrives goes."""
        return self.coming or self.stage

    def begin_at(self, position: int, *, receiving: bool) -> None:
        """Let go of everything before ``position``: what is there and, if the receiver still counts in this generation, what may come."""
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
        """Drop what MAX_QUEUE does not allow; one compute block always may wait."""
        excess = self.newest.waiting() - max(self.spec.max_queue, self.spec.block_count)
        if excess > 0:
            self.newest.drop(excess)
            self.counts.dropped += excess

    def pull(self, position: int, count: int) -> tuple[list[Any], list[int] | None, list[int]]:
        """Take blocks ``position`` and following: (payloads, heads or None if all are 0, indexes of those that are `LOST`)."""
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
        """Put dummies where blocks are lost; those that cannot have one stay `LOST`."""
        for index in lost:
            if self.spec.dummy is not None:
                items[index] = self.spec.dummy()
            else:
                items[index] = items[index - 1] if index else self.previous
