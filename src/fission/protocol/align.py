"""Blocks of several inputs -> compute blocks.

Rules
    Compute block k is made of the blocks (k-1)c+1 to kc of every input, c being that input's BLOCK_COUNT.
    Numbering begins at the largest mark of the inputs (`beginning`, `begin`): what lies before was finished by an earlier life,
    also when the input with that mark has left for a newer generation. So within a generation it never begins further back.
    A block that is missing for good (a gap, or dropped by MAX_QUEUE) becomes a dummy: `InputSpec.dummy` if there is one, else
    the previous block of that input again, with the corrupted bit in its head; without a previous block the compute block is
    left out. After the end of an input, blocks of the others that can no longer be matched are dropped.
    A generation is worked off before the next one begins, and the next one begins when all inputs have it. An input whose end is final
    is in every later generation too, without a block.

What comes from an older life, twice, or before the beginning is dropped and counted. Payloads are opaque here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fission.core.head import CORRUPTED, bit_mask
from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.protocol.frames import CLOSED, Data, End, Open
from fission.protocol.inputs import LOST, Input, InputCounts, InputSpec, Stage
from fission.protocol.window import Arrival, Receiver

#: Most compute blocks in one batch; arbitrary, bounds the memory that a huge gap takes when it is turned into dummies.
MAX_BATCH = 1024


class Batch(NamedTuple):
    """Consecutive compute blocks.

    Attributes:
        generation: of their numbering; when it differs from the batch before, numbering has started again.
        numbers: the compute blocks' numbers, ascending; a list only where some were left out.
        columns: per input, per compute block: its payload, or the list of its payloads where BLOCK_COUNT > 1.
        heads: the same for the heads (numbers); None if all are 0.
    """

    generation: int
    numbers: range | list[int]
    columns: list[list[Any]]
    heads: list[list[Any]] | None


class Aligner:
    """The machine that turns what arrives on the non-ASYNC inputs of one job into compute blocks.

    Feed it with `open`, `data` and `end` as messages arrive; when `beginning` is a number, call `begin`; then `take`.

    Attributes:
        generation: of the numbering that is worked on.
        next: the next compute block; 0 while numbering has not begun.
    """

    def __init__(self, specs: Sequence[InputSpec], head_size: int = 1) -> None:
        """Args: specs: the inputs, in the order of the job; at least one. head_size: of the heads, in bytes."""
        if not specs or len({spec.pipe for spec in specs}) != len(specs):
            raise LocalProtocolError("an aligner needs at least one input, each of another pipe")
        if any(spec.block_count < 1 or spec.max_queue < 0 for spec in specs):
            raise LocalProtocolError("BLOCK_COUNT is at least 1 and MAX_QUEUE at least 0")
        self._inputs = [Input(spec) for spec in specs]
        self._by_pipe = {one.spec.pipe: one for one in self._inputs}
        self._only = self._inputs[0] if len(specs) == 1 and specs[0].block_count == 1 else None
        self._corrupted = bit_mask(CORRUPTED, head_size)
        self._final = CLOSED  # the last compute block that the inputs which have ended allow
        self._changing = False  # whether an input has a generation that is not worked on yet
        self.generation = 0
        self.next = 0

    # what arrives

    def open(self, message: Open) -> Arrival:
        """A producer's first word. Raises RemoteProtocolError for a pipe that is no input."""
        one = self._input(message.pipe)
        arrival = one.receiver.open(message.incarnation, message.generation, message.mark)
        if arrival is Arrival.STALE or arrival is Arrival.KNOWN or one.receiver.generation < self.generation:
            return arrival
        if one.receiver.generation > self.generation:
            if arrival is Arrival.NEW_GENERATION and one.coming is not None:
                one.counts.unmatched += one.coming.waiting()
            if arrival is Arrival.NEW_GENERATION or one.coming is None:
                if one.stage.last is None:
                    one.stage.last = one.stage.high  # the link is in order: nothing follows in the numbering that is worked on
                    self._find_final()
                one.coming = Stage()
                self._changing = True
        one.newest.high = one.receiver.high
        one.newest.mark = one.receiver.mark or 0
        if self.next and one.coming is None and self._first(one) > self.next:
            self.next = 0  # an earlier life of this job had finished these: it begins again, further on
        if not self.next:
            self._switch()
        return arrival

    def data(self, message: Data) -> int:
        """Blocks have arrived; return how many are new. Raises RemoteProtocolError for a pipe that is no input."""
        pipe, incarnation, generation, first, payloads, heads = message
        one = self._by_pipe.get(pipe) or self._input(pipe)
        receiver, stage = one.receiver, one.stage
        if (
            first == receiver.high + 1
            and generation == self.generation == receiver.generation
            and incarnation == receiver.incarnation
            and receiver.mark is not None
            and one.coming is None
            and self._final == CLOSED
            and not one.spec.max_queue
        ):  # as nearly always, and quickly: what follows does the same
            receiver.high = stage.high = first + len(payloads) - 1
            one.counts.received += len(payloads)
            stage.segments.append((first, payloads, heads))
            return len(payloads)
        had = receiver.accept(incarnation, generation, first, len(payloads))
        if had:
            one.counts.duplicates += had
            if had == len(payloads):
                return 0
            payloads = payloads[had:]
            heads = heads[had:] if heads else None
            first += had
        one.counts.received += len(payloads)
        if receiver.generation < self.generation:
            one.counts.unmatched += len(payloads)
            return len(payloads)
        stage = one.newest
        stage.high = receiver.high
        if one.coming is None and self._worked_off():
            one.counts.unmatched += len(payloads)
            return len(payloads)
        stage.segments.append((first, payloads, heads))
        if one.spec.max_queue:
            one.limit()
        return len(payloads)

    def end(self, message: End) -> bool:
        """A pipe has ended; return whether that counts. Raises RemoteProtocolError for a pipe that is no input."""
        one = self._input(message.pipe)
        if not one.receiver.end(message.incarnation, message.generation, message.last, final=message.final, more=message.more):
            return False
        if one.receiver.generation < self.generation:
            return True
        one.newest.last = message.last
        one.newest.high = one.receiver.high
        self._find_final()
        if not self.next:
            self._switch()
        return True

    # what goes on

    @property
    def beginning(self) -> int | None:
        """The compute block with which the job may begin; None if it has begun or an input was not opened yet.

        While only some inputs have a newer generation, the older one is to be begun all the same: what the others have of it can have
        no partners, and is let go.
        """
        if self.next or any(one.receiver.mark is None for one in self._inputs):
            return None
        return max(self._first(one) for one in self._inputs)

    def begin(self, first: int) -> None:
        """Begin with compute block ``first``; everything before it is dropped.

        Raises:
            LocalProtocolError: the job has begun, cannot yet, or ``first`` lies before `beginning`.
        """
        beginning = self.beginning
        if beginning is None or first < beginning:
            raise LocalProtocolError(f"a job begins once, at {beginning} or behind it; got {first}")
        self.next = first
        for one in self._inputs:
            one.begin_at(self._position(one), receiving=one.receiver.generation == self.generation)

    def take(self, limit: int = MAX_BATCH) -> Batch | None:
        """Return the compute blocks that are complete, at most ``limit``; None if there are none.

        None can also mean that a new generation has come: `next` is 0 then, and `beginning` is a number.
        """
        batch = None
        if self._only is not None and self.next:
            if self._only.stage.high < self.next and self._final == CLOSED and not self._changing:
                return None  # it is the usual case that nothing waits, and quickly known where there is one input
            batch = self._message(self._only, limit)
        while self.next and batch is None:
            count = min(limit, self._complete())
            if count <= 0:
                if self._changing:
                    self._switch()
                break
            batch = self._batch(count)
        return batch

    @property
    def flowing(self) -> bool:
        """Whether the job has begun, no input has ended, and none has another generation than the one that is worked on."""
        return self.next > 0 and self._final == CLOSED and not self._changing

    @property
    def finished(self) -> bool:
        """Whether all inputs have ended and every compute block that they hold was taken."""
        return (
            bool(self.next)
            and self._worked_off()
            and all(one.coming is None and one.stage.last is not None and not one.receiver.more for one in self._inputs)
        )

    @property
    def exhausted(self) -> bool:
        """Whether no further compute block can come in this generation, because an input has ended or left it; others may go on."""
        return bool(self.next) and self._worked_off()

    @property
    def changing(self) -> bool:
        """Whether an input has a generation that is not worked on yet."""
        return self._changing

    @property
    def receivers(self) -> list[Receiver]:
        """What is known of each producer."""
        return [one.receiver for one in self._inputs]

    def releasable(self, done: int, generation: int) -> list[tuple[int, int]]:
        """Return per input (pipe, sqn up to which its blocks may be released) when compute blocks up to ``done`` are done with.

        Nothing if ``generation`` is not the one that is worked on: ``done`` counts in another numbering then.
        """
        if generation != self.generation:
            return []
        if self.next and done >= self._final:
            return [(one.spec.pipe, one.stage.high) for one in self._inputs]
        return [(one.spec.pipe, done * one.spec.block_count) for one in self._inputs]

    def worked_off(self, through: int, *, whole: bool) -> list[tuple[int, int]]:
        """Return per input (pipe, sqn up to which its blocks are in compute blocks up to ``through``).

        With ``whole`` they are all that there are, and blocks that begin one which is not complete count too.
        """
        found = []
        for one in self._inputs:
            upto, count = through * one.spec.block_count, one.spec.block_count
            found.append((one.spec.pipe, upto + max(0, min(one.stage.high - upto, count - 1)) if whole else upto))
        return found

    def receiver(self, pipe: int) -> Receiver:
        """What is known of the producer of a pipe."""
        return self._input(pipe).receiver

    def opened(self, message: Open) -> bool:
        """Whether this life of the producer has said in this generation where it stands before: then somebody waits for a release."""
        receiver = self._input(message.pipe).receiver
        return receiver.current(message.incarnation, message.generation)

    def lacks(self, message: Data) -> bool:
        """Whether a message that was not taken would bring new blocks of the producer's newest life and generation."""
        receiver = self._input(message.pipe).receiver
        last = message.sqn + len(message.payloads) - 1
        return receiver.current(message.incarnation, message.generation) and last > receiver.high

    def announce(self, pipe: int, incarnation: int) -> None:
        """A producer has a new life: whatever comes from older ones is dropped from now on."""
        self._input(pipe).receiver.announce(incarnation)

    def waiting(self, pipe: int) -> int:
        """Blocks of that input that have arrived and were not taken."""
        one = self._input(pipe)
        return one.stage.waiting() + (one.coming.waiting() if one.coming else 0)

    def left_over(self) -> dict[int, int]:
        """Blocks behind the last whole compute block of inputs that have ended, by pipe; only those with some."""
        rest = {one.spec.pipe: one.stage.last % one.spec.block_count for one in self._inputs if one.stage.last is not None}
        return {pipe: blocks for pipe, blocks in rest.items() if blocks}

    def counts(self) -> dict[int, InputCounts]:
        """What happened so far, by pipe."""
        return {one.spec.pipe: one.counts for one in self._inputs}

    # inner workings

    def _input(self, pipe: int) -> Input:
        try:
            return self._by_pipe[pipe]
        except KeyError:
            raise RemoteProtocolError(f"pipe {pipe} is no input of this job; its inputs are {sorted(self._by_pipe)}") from None

    def _position(self, one: Input) -> int:
        return (self.next - 1) * one.spec.block_count + 1

    def _first(self, one: Input) -> int:
        # the stage's mark, not the receiver's: an input that has a newer generation does not take back what was finished in this one;
        # a mark within a compute block is where a new life of the producer began: this job had finished the whole block
        return -(-one.stage.mark // one.spec.block_count) + 1

    def _find_final(self) -> None:
        ended = (one.stage.last // one.spec.block_count for one in self._inputs if one.stage.last is not None)
        self._final = min(ended, default=CLOSED)

    def _worked_off(self) -> bool:
        return self.next > self._final

    def _complete(self) -> int:
        count = self._final - self.next + 1
        for one in self._inputs:
            count = min(count, (one.stage.high - self._position(one) + 1) // one.spec.block_count)
        if count <= 0 and self._worked_off():
            for one in self._inputs:
                one.counts.unmatched += one.stage.waiting()
                one.stage.segments.clear()
        return count

    def _newest_of_all(self) -> int | None:
        """The generation that all inputs have reached or left behind, if that is a new one."""
        if any(one.receiver.mark is None for one in self._inputs):
            return None
        reached = [one.receiver.generation for one in self._inputs if not one.receiver.final]
        newest = min(reached, default=max(one.receiver.generation for one in self._inputs))
        return newest if newest > self.generation else None

    def _switch(self) -> None:
        generation = self._newest_of_all()
        if generation is None:
            return
        # first, because another thread compares it before it releases anything
        self.generation = generation
        self.next = 0
        for one in self._inputs:
            one.counts.unmatched += one.stage.waiting()
            if one.receiver.generation == generation:
                one.stage, one.coming = one.coming or Stage(), None
            else:
                one.stage = Stage(last=0)  # it has ended for good, or has nothing of this generation but of a later one
                if one.receiver.generation < generation:
                    one.counts.unmatched += one.coming.waiting() if one.coming else 0
                    one.coming = None
        self._changing = any(one.coming is not None for one in self._inputs)
        self._find_final()

    def _message(self, one: Input, limit: int) -> Batch | None:
        """The commonest batch, for speed: the next message of the only input as it is, if it has no heads. `_batch` gives the same."""
        if not one.stage.segments:
            return None
        first, payloads, heads = one.stage.segments[0]
        following = first + len(payloads)
        if first != self.next or heads is not None or len(payloads) > limit or following - 1 > self._final:
            return None
        one.stage.segments.popleft()
        one.previous = payloads[-1]
        self.next = following
        return Batch(self.generation, range(first, following), [payloads], None)

    def _batch(self, count: int) -> Batch | None:
        """Take that many compute blocks; None if all of them are left out."""
        numbers = range(self.next, self.next + count)
        columns: list[list[Any]] = []
        heads: list[list[Any]] = []
        some_heads = False
        lost: list[tuple[Input, list[int]]] = []
        left_out: set[int] = set()
        for one in self._inputs:
            size = one.spec.block_count
            items, item_heads, lost_at = one.pull(self._position(one), count * size)
            if lost_at and item_heads is not None:
                one.fill(items, lost_at)
                for index in lost_at:
                    item_heads[index] = self._corrupted
                    if items[index] is LOST:
                        left_out.add(index // size)
                lost.append((one, lost_at))
            one.previous = items[-1]
            some_heads = some_heads or item_heads is not None
            item_heads = item_heads or [0] * len(items)
            columns.append(items if size == 1 else _groups(items, size))
            heads.append(item_heads if size == 1 else _groups(item_heads, size))
        self.next += count
        for one, lost_at in lost:
            one.counts.dummies += len(lost_at)
        if left_out:
            self._count_left_out(left_out, dict(lost))
            return self._without(left_out, numbers, columns, heads)
        return Batch(self.generation, numbers, columns, heads if some_heads else None)

    def _count_left_out(self, left_out: set[int], lost: dict[Input, list[int]]) -> None:
        for one in self._inputs:
            size = one.spec.block_count
            no_dummies = sum(index // size in left_out for index in lost.get(one, ()))
            one.counts.dummies -= no_dummies
            one.counts.unmatched += len(left_out) * size - no_dummies

    def _without(self, left_out: set[int], numbers: range, columns: list[list[Any]], heads: list[list[Any]]) -> Batch | None:
        keep = [index for index in range(len(numbers)) if index not in left_out]
        if not keep:
            return None
        return Batch(
            self.generation,
            [numbers[index] for index in keep],
            [[column[index] for index in keep] for column in columns],
            [[column[index] for index in keep] for column in heads],
        )


def _groups(items: list[Any], size: int) -> list[Any]:
    return [items[start : start + size] for start in range(0, len(items), size)]
