"""Aligns the blocks of several inputs to compute blocks.

Rules
    Compute block k consists of blocks (k-1)c+1 to kc of every input, where c is that input's
    BLOCK_COUNT.
    Numbering begins after the largest mark (low watermark) of the inputs (`beginning`, `begin`): an
    earlier incarnation has finished everything up to it. The mark still counts when its input has
    moved on to a newer generation, so numbering never begins further back within a generation.
    A block that is permanently missing (a gap, or dropped by MAX_QUEUE) is replaced by a dummy, or
    the compute block is left out; see `fission.protocol.batches`.
    After an input has ended, blocks of the others that can no longer be matched are dropped.
    A generation is worked off before the next one begins, and the next one begins when all inputs
    have reached it. An input whose end is final is in every later generation too, without blocks.

Duplicates, blocks of older incarnations and blocks before the beginning are dropped and counted.
Payloads are opaque here.
"""

from __future__ import annotations

from collections.abc import Sequence

from fission.core.head import CORRUPTED, bit_mask
from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.protocol.batches import Batch, build
from fission.protocol.inputs import Input, InputCounts, InputSpec, Stage
from fission.protocol.link_messages import CLOSED, Data, End, Open
from fission.protocol.window import Arrival, Receiver

#: Maximum number of compute blocks in a batch. Arbitrary; bounds the memory that the dummies for a huge gap take.
MAX_BATCH = 1024
#: Makes a `Batch` without a Python-level call, because it runs for each message.
_make_batch = tuple.__new__


class Aligner:
    """State machine that turns the messages of one job's non-ASYNC inputs into compute blocks.

    Call `open`, `data` and `end` as messages arrive. When `beginning` is a number, call `begin`,
    then `take`.

    Attributes:
        generation: generation of the current numbering.
        next: number of the next compute block; 0 while numbering has not begun.
    """

    def __init__(self, specs: Sequence[InputSpec], head_size: int = 1) -> None:
        """Create the state machine, before any message.

        Args:
            specs: inputs, in the order of the job; at least one.
            head_size: size of the heads, in bytes.

        Raises:
            LocalProtocolError: there is no input, two have the same pipe, or a limit is out of
                range.
        """
        if not specs or len({spec.pipe for spec in specs}) != len(specs):
            raise LocalProtocolError("an aligner needs at least one input, each of another pipe")
        if any(spec.block_count < 1 or spec.max_queue < 0 for spec in specs):
            raise LocalProtocolError("BLOCK_COUNT is at least 1 and MAX_QUEUE at least 0")
        self._inputs = [Input(spec) for spec in specs]
        self._by_pipe = {one.spec.pipe: one for one in self._inputs}
        self._only = self._inputs[0] if len(specs) == 1 and specs[0].block_count == 1 else None
        self._corrupted = bit_mask(CORRUPTED, head_size)
        self._final = CLOSED  # the last compute block that the inputs which have ended allow
        self._changing = False  # whether an input has reached a generation that is not current yet
        self.generation = 0
        self.next = 0

    # messages

    def open(self, message: Open) -> Arrival:
        """Process the first message of a producer.

        Raises:
            RemoteProtocolError: the pipe is not an input of this job.
        """
        one = self._input(message.pipe)
        arrival = one.receiver.open(message.incarnation, message.generation, message.mark)
        if arrival is Arrival.STALE or arrival is Arrival.KNOWN or one.receiver.generation < self.generation:
            return arrival
        if one.receiver.generation > self.generation:
            if arrival is Arrival.NEW_GENERATION and one.coming is not None:
                one.counts.unmatched += one.coming.waiting()
            if arrival is Arrival.NEW_GENERATION or one.coming is None:
                if one.stage.last is None:
                    one.stage.last = one.stage.high  # the link keeps order: nothing follows in the current numbering
                    self._find_final()
                one.coming = Stage()
                self._changing = True
        one.newest.high = one.receiver.high
        one.newest.mark = one.receiver.mark or 0
        if self.next and one.coming is None and self._first(one) > self.next:
            self.next = 0  # an earlier incarnation of this job has finished these blocks: begin again, further on
        if not self.next:
            self._switch()
        return arrival

    def data(self, message: Data) -> int:
        """Accept the blocks of a message and return how many are new.

        Raises:
            RemoteProtocolError: the pipe is not an input of this job.
        """
        pipe, incarnation, generation, first, payloads, heads, _ = message
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
        ):  # fast path for nearly all messages: the code below gives the same result
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
        """Process the end of a pipe and return whether it counts.

        Raises:
            RemoteProtocolError: the pipe is not an input of this job.
        """
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

    # compute blocks

    @property
    def beginning(self) -> int | None:
        """The first compute block that the job may begin with.

        None if the job has begun or an input has not been opened yet. While only some inputs have a
        newer generation, the job still begins the older one: the blocks that the other inputs have
        of it cannot be matched, and are dropped.
        """
        if self.next or any(one.receiver.mark is None for one in self._inputs):
            return None
        return max(self._first(one) for one in self._inputs)

    @property
    def acknowledged(self) -> int:
        """The last compute block that no producer keeps any longer; 0: there is none.

        It may be less than what lies before `beginning`: the blocks of one input may have died with
        their source, while the others are still kept.
        """
        return min(self._first(one) for one in self._inputs) - 1

    def begin(self, first: int) -> None:
        """Begin with compute block ``first`` and drop everything before it.

        Raises:
            LocalProtocolError: the job has begun, cannot begin yet, or ``first`` is before
                `beginning`.
        """
        beginning = self.beginning
        if beginning is None or first < beginning:
            raise LocalProtocolError(f"a job begins once, at {beginning} or behind it; got {first}")
        self.next = first
        for one in self._inputs:
            one.begin_at(one.position(self.next), receiving=one.receiver.generation == self.generation)

    def take(self, limit: int = MAX_BATCH) -> Batch | None:
        """Return the complete compute blocks, at most ``limit``; None if there are none.

        None can also mean that a new generation has begun: then `next` is 0 and `beginning` is a
        number.
        """
        batch = None
        if self._only is not None and self.next:
            if self._only.stage.high < self.next and self._final == CLOSED and not self._changing:
                return None  # fast path: usually nothing waits, and with one input that is cheap to find out
            batch = self._message(self._only, limit)
        while self.next and batch is None:
            count = min(limit, self._complete())
            if count <= 0:
                if self._changing:
                    self._switch()
                break
            batch = build(self._inputs, self.generation, self.next, count, self._corrupted)
            self.next += count
        return batch

    @property
    def flowing(self) -> bool:
        """Whether the job has begun, no input has ended, and all are in the current generation."""
        return self.next > 0 and self._final == CLOSED and not self._changing

    @property
    def finished(self) -> bool:
        """Whether all inputs have ended and all of their compute blocks have been taken."""
        return (
            bool(self.next)
            and self._worked_off()
            and all(one.coming is None and one.stage.last is not None and not one.receiver.more for one in self._inputs)
        )

    @property
    def exhausted(self) -> bool:
        """Whether no further compute block can come in this generation.

        True when an input has ended or left the generation; the other inputs may continue.
        """
        return bool(self.next) and self._worked_off()

    @property
    def changing(self) -> bool:
        """Whether an input has reached a generation that is not the current one yet."""
        return self._changing

    @property
    def receivers(self) -> list[Receiver]:
        """The receiver of each input, with what is known of its producer."""
        return [one.receiver for one in self._inputs]

    def releasable(self, done: int, generation: int) -> list[tuple[int, int]]:
        """Return what may be released when the job is done with compute blocks up to ``done``.

        Returns:
            One (pipe, sqn up to which its blocks may be released) per input. Empty if
            ``generation`` is not the current one, because ``done`` then counts in another
            numbering.
        """
        if generation != self.generation:
            return []
        if self.next and done >= self._final:
            return [(one.spec.pipe, one.stage.high) for one in self._inputs]
        return [(one.spec.pipe, done * one.spec.block_count) for one in self._inputs]

    def worked_off(self, through: int, *, whole: bool) -> list[tuple[int, int]]:
        """Return the blocks that are in compute blocks up to ``through``, as (pipe, sqn) per input.

        With ``whole`` there are no further compute blocks, and the blocks of an incomplete one
        count too.
        """
        found = []
        for one in self._inputs:
            upto, count = through * one.spec.block_count, one.spec.block_count
            found.append((one.spec.pipe, upto + max(0, min(one.stage.high - upto, count - 1)) if whole else upto))
        return found

    def receiver(self, pipe: int) -> Receiver:
        """Return the receiver of a pipe, with what is known of its producer."""
        return self._input(pipe).receiver

    def opened(self, message: Open) -> bool:
        """Whether this incarnation of the producer has opened this generation before.

        If so, a producer waits for a release.
        """
        receiver = self._input(message.pipe).receiver
        return receiver.current(message.incarnation, message.generation)

    def lacks(self, message: Data) -> bool:
        """Whether a message that was not accepted has new blocks.

        Only blocks of the producer's newest incarnation and generation count.
        """
        receiver = self._input(message.pipe).receiver
        last = message.sqn + len(message.payloads) - 1
        return receiver.current(message.incarnation, message.generation) and last > receiver.high

    def announce(self, pipe: int, incarnation: int) -> None:
        """Register a new incarnation of a producer; from now on, drop messages of older ones."""
        self._input(pipe).receiver.announce(incarnation)

    def waiting(self, pipe: int) -> int:
        """Return the number of blocks of an input that have arrived and have not been taken."""
        one = self._input(pipe)
        return one.stage.waiting() + (one.coming.waiting() if one.coming else 0)

    def left_over(self) -> dict[int, int]:
        """Return the blocks after the last whole compute block, as a number by pipe.

        Only inputs that have ended and have such blocks are included.
        """
        rest = {one.spec.pipe: one.stage.last % one.spec.block_count for one in self._inputs if one.stage.last is not None}
        return {pipe: blocks for pipe, blocks in rest.items() if blocks}

    def counts(self) -> dict[int, InputCounts]:
        """Return the counters of the inputs, by pipe."""
        return {one.spec.pipe: one.counts for one in self._inputs}

    # private methods

    def _input(self, pipe: int) -> Input:
        try:
            return self._by_pipe[pipe]
        except KeyError:
            raise RemoteProtocolError(f"pipe {pipe} is not an input of this job; its inputs are {sorted(self._by_pipe)}") from None

    def _first(self, one: Input) -> int:
        # the stage's mark, not the receiver's: an input in a newer generation does not take back what was finished in this one;
        # a mark within a compute block is where a new incarnation of the producer began: this job had finished the whole block
        return -(-one.stage.mark // one.spec.block_count) + 1

    def _find_final(self) -> None:
        ended = (one.stage.last // one.spec.block_count for one in self._inputs if one.stage.last is not None)
        self._final = min(ended, default=CLOSED)

    def _worked_off(self) -> bool:
        return self.next > self._final

    def _complete(self) -> int:
        count = self._final - self.next + 1
        for one in self._inputs:
            count = min(count, (one.stage.high - one.position(self.next) + 1) // one.spec.block_count)
        if count <= 0 and self._worked_off():
            for one in self._inputs:
                one.counts.unmatched += one.stage.waiting()
                one.stage.segments.clear()
        return count

    def _newest_of_all(self) -> int | None:
        """Return the generation that all inputs have reached or passed, if it is a new one."""
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
                one.stage = Stage(last=0)  # its end is final, or it has blocks of a later generation only
                if one.receiver.generation < generation:
                    one.counts.unmatched += one.coming.waiting() if one.coming else 0
                    one.coming = None
        self._changing = any(one.coming is not None for one in self._inputs)
        self._find_final()

    def _message(self, one: Input, limit: int) -> Batch | None:
        """Return the next message of the only input unchanged, if it has no heads.

        Fast path for the most frequent batch; `build` gives the same result.
        """
        if not one.stage.segments:
            return None
        first, payloads, heads = one.stage.segments[0]
        following = first + len(payloads)
        if first != self.next or heads is not None or len(payloads) > limit or following - 1 > self._final:
            return None
        one.stage.segments.popleft()
        one.previous = payloads[-1]
        self.next = following
        return _make_batch(Batch, (self.generation, range(first, following), [payloads], None))
