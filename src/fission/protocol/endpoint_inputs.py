"""A job's end of all its input pipes: aligns incoming blocks and releases finished ones.

It has no lock and no link. Answers are `SendControl` effects in `Inputs.effects`; the caller sends
them after each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fission.errors import RemoteProtocolError
from fission.protocol import frames
from fission.protocol.align import MAX_BATCH, Aligner
from fission.protocol.batches import Batch
from fission.protocol.block_times import BlockTimes
from fission.protocol.endpoint_effects import Effect, SendControl
from fission.protocol.inputs import InputCounts, InputSpec
from fission.protocol.link_messages import CLOSED, Data, End, Message, Open, Release, Starved, Times
from fission.protocol.optional import OptionalInput, OptionalSpec
from fission.protocol.release import ReleaseRule, taken_with
from fission.protocol.window import Arrival


class Inputs:
    """All inputs of one job.

    Only the job's main thread calls `data`, `take` and `switch`; it needs no lock for `data`.
    Everything else requires the caller's lock.

    Attributes:
        aligner: aligner of the non-ASYNC inputs; None if there are none.
        effects: see `fission.protocol.endpoint_effects`.
        optional: ASYNC inputs, by pipe.
        pipes: ids of all inputs.
        rule: decides what is released, and when.
        times: times of the blocks; None: there are none.
        batch_limit: maximum number of compute blocks that `take` returns.
    """

    def __init__(
        self,
        specs: Sequence[InputSpec],
        optional: Sequence[OptionalSpec],
        *,
        incarnation: int,
        head_size: int,
        window_blocks: int,
        window_bytes: int,
        effects: list[Effect] | None = None,
    ) -> None:
        """Create the inputs, before the first message.

        Args:
            specs: non-ASYNC inputs, in the order of the job.
            optional: ASYNC inputs.
            incarnation: incarnation of this job.
            head_size: size of a head, in bytes.
            window_blocks: size of the producers' windows, in blocks.
            window_bytes: size of the producers' windows, in bytes.
            effects: list that effects are added to; a list of its own by default.
        """
        self.aligner = Aligner(specs, head_size) if specs else None
        self.optional = {spec.pipe: OptionalInput(spec) for spec in optional}
        self.rule = ReleaseRule([spec.block_count for spec in specs], window_blocks=window_blocks, window_bytes=window_bytes)
        self.batch_limit = MAX_BATCH
        self.times: BlockTimes | None = None
        self._asked = {spec.pipe for spec in specs if spec.asked}
        self._times_reported: dict[int, int] = {}  # by pipe: incarnation of the producer to which times were reported
        self._incarnation = incarnation
        self.effects: list[Effect] = [] if effects is None else effects
        self._block_counts = {spec.pipe: spec.block_count for spec in specs}
        self.pipes = [spec.pipe for spec in specs] + [spec.pipe for spec in optional]
        # with MAX_QUEUE the producer must learn at once what was taken: it sends only what its consumer keeps up with
        self.eager = {spec.pipe for spec in specs if spec.max_queue}
        self._behind: dict[int, set[int]] = {}
        self._closed = False
        self._closed_pipes: set[int] = set()
        self._opened_by: dict[int, int] = {}  # incarnation of the producer whose `Open` was answered, by pipe

    def data(self, message: Data, size: int) -> int:
        """Accept the blocks of a message and return how many are new.

        Args:
            message: the message.
            size: size of its blocks, in bytes.

        Raises:
            RemoteProtocolError: the pipe is not an input of this job.
        """
        target: Any = self.aligner
        if target is None or self.optional:
            target = self._target(message.pipe)
        self.rule.arrived(size)
        new: int = target.data(message)
        return new

    def repeated(self, pipe: int) -> None:
        """Repeat the release of a pipe: all blocks of a message were duplicates."""
        self.rule.forget(pipe)

    def opened_or_ended(self, message: Message) -> bool:
        """Process a producer's `Open` or `End`.

        Returns:
            Whether the producer has repeated its `Open`, because a producer waits for a release.

        Raises:
            RemoteProtocolError: the message is of another kind, or the pipe is not an input of this
                job.
        """
        if not isinstance(message, (Open, End)):
            raise RemoteProtocolError(f"a {type(message).__name__} does not belong here")
        target = self._target(message.pipe)
        self.rule.found(-1)
        if isinstance(message, Open):
            return self._on_open(target, message)
        target.end(message)
        if message.final:
            self.rule.forget(message.pipe)  # releases of this generation now apply to all generations
        return False

    def compute_block_of(self, message: Data, sqn: int) -> tuple[int, int] | None:
        """Return (generation, compute block) of a block; None if it came through an ASYNC pipe.

        Args:
            message: the message that has the block.
            sqn: sqn of the block.
        """
        count = self._block_counts.get(message.pipe, 0)
        return (message.generation, (sqn - 1) // count + 1) if count else None

    def lacks(self, message: Data) -> bool:
        """Whether this job still needs blocks of a message that cannot be read."""
        return not self._closed and self.aligner is not None and self.aligner.lacks(message)

    def works_on(self, taken_for: tuple[int, int] | None) -> bool:
        """Whether a buffer belongs to a compute block that the job is not done with.

        Other buffers may be released at any time.

        Args:
            taken_for: generation and compute block of the buffer; None if it came through an ASYNC
                pipe.
        """
        return taken_for is not None and taken_for[0] == self.rule.generation and taken_for[1] > self.rule.done

    def _target(self, pipe: int) -> Any:
        target = self.optional.get(pipe, self.aligner)
        if target is None:
            raise RemoteProtocolError(f"pipe {pipe} is not an input of this job")
        return target

    def _on_open(self, target: Any, message: Open) -> bool:
        optional = isinstance(target, OptionalInput)
        older = target.receiver.generation if optional else 0
        again: bool = not optional and target.opened(message)
        arrival = target.open(message)
        self.rule.forget(message.pipe)
        if arrival is not Arrival.STALE and message.incarnation > 1:
            self._opened_by[message.pipe] = message.incarnation
            self._answer_open(message.pipe)
        if message.pipe in self._asked and message.incarnation > 1:
            self._report_times(message.pipe, message.incarnation)
        behind = target.receiver.generation if optional else self.rule.generation
        if arrival is Arrival.STALE and message.generation < behind and (optional or message.generation not in self.rule.older):
            # a new incarnation of the producer begins with a generation that this job has let go of before the producer existed
            self._let_go(message.pipe, message.generation)
        if optional and arrival is Arrival.NEW_GENERATION:
            # its values stay in the buffer; their old numbers are no longer used
            self._let_go(message.pipe, older)
        return again

    def take(self) -> Batch | None:
        """Return the complete compute blocks; None if there are none."""
        if self.aligner is None:
            return None
        if not self.eager:
            return self.aligner.take(self.batch_limit)
        before = self.aligner.next
        batch = self.aligner.take(self.batch_limit)
        if self.aligner.next > before:
            self._say_taken(self.aligner.next - 1)
        return batch

    @property
    def finished(self) -> bool:
        """Whether nothing can come any longer.

        True when all non-ASYNC inputs are worked off, or all ASYNC ones if there are no others.
        """
        if self.aligner is not None:
            return self.aligner.finished
        return bool(self.optional) and all(one.finished for one in self.optional.values())

    @property
    def final(self) -> bool:
        """Whether the inputs are `finished` and no producer can begin a new generation."""
        if not self.finished:
            return False
        receivers = [one.receiver for one in self.optional.values()] if self.aligner is None else self.aligner.receivers
        return all(receiver.final for receiver in receivers)

    def switch(self, generation: int, *, keeps: bool) -> None:
        """Continue in a new generation, which the aligner has already begun.

        Args:
            generation: as in `ReleaseRule.switch`.
            keeps: as in `ReleaseRule.switch`.
        """
        self.rule.switch(generation, keeps=keeps)

    @property
    def exhausted(self) -> bool:
        """Whether no compute block can come any longer, although some inputs may still continue."""
        return self.aligner is not None and self.aligner.exhausted

    def wire(self, pipe: int, incarnation: int) -> None:
        """Register a new incarnation of a producer; older ones no longer count.

        Answers go to the new incarnation from now on.

        Raises:
            RemoteProtocolError: the pipe is not an input of this job.
        """
        self.check(pipe)
        if pipe in self.optional:
            self.optional[pipe].announce(incarnation)
        elif self.aligner is not None:
            self.aligner.announce(pipe, incarnation)
        self.rule.forget(pipe)
        for generation in self._behind.pop(pipe, ()):  # the first time, this was sent to the old incarnation
            self._send(pipe, CLOSED, 0, generation)
        if pipe in self._closed_pipes:  # the new incarnation does not know
            self._send(pipe, CLOSED, CLOSED)
        if self._opened_by.get(pipe) == incarnation:  # the answer was sent to the old incarnation
            self._answer_open(pipe)
        if pipe in self._asked:
            # here, not when the opening arrives: the job may wait for room, which only blocks of this source can make
            reported = self._times_reported.pop(pipe, 0)  # what was sent may have gone to an old incarnation, or into a broken connection
            self._report_times(pipe, incarnation or reported)

    def check(self, pipe: int) -> None:
        """Check that a pipe is an input of this job.

        Raises:
            RemoteProtocolError: the pipe is not an input of this job.
        """
        if pipe not in self.pipes:
            raise RemoteProtocolError(f"pipe {pipe} is neither an input nor an output of this job")

    def pending_release(self, done: int, generation: int) -> bool:
        """Whether `release` with ``force`` would send something."""
        return self.rule.pending(self._releasable(done, generation))

    def release(self, done: int, generation: int, *, force: bool = False) -> bool:
        """Release the inputs of compute blocks up to ``done`` of a generation.

        Releases are sent where enough has accumulated; with ``force``, all of them are sent.

        Returns:
            Whether something is left that could be released.
        """
        if self._closed:
            return False
        due, left = self.rule.due(self._releasable(done, generation), force=force)
        self.rule.found(done if self.aligner is not None and self.aligner.flowing and not self.optional else -1)
        for pipe, upto in due:
            final = pipe in self.optional and self.optional[pipe].receiver.final
            self._send(pipe, upto, taken_with(upto, final=final))
        return left

    def release_generation(self, generation: int) -> None:
        """Release an older generation as a whole, once this job's outputs keep nothing of it."""
        for pipe in self.pipes:
            if pipe not in self.optional and not self._closed:
                self._let_go(pipe, generation)

    def _let_go(self, pipe: int, generation: int) -> None:
        # it may go to an old incarnation of the producer, although the new one has opened already: `wire` repeats it
        self._behind.setdefault(pipe, set()).add(generation)
        self._send(pipe, CLOSED, 0, generation)

    def close(self) -> None:
        """Notify all producers that this job needs nothing more."""
        if not self._closed:
            self._closed = True
            self._close(self.pipes)

    def close_optional(self) -> None:
        """Notify the producers of the ASYNC inputs that this job needs nothing more from them."""
        self._close(list(self.optional))

    def _close(self, pipes: Sequence[int]) -> None:
        self._closed_pipes.update(pipes)
        for pipe in pipes:
            self._send(pipe, CLOSED, CLOSED)

    def say_starved(self, through: int, done: int) -> None:
        """Report to the producers how far compute blocks are worked off.

        Args:
            through: last compute block that this job and all jobs after it have worked off.
            done: last compute block that this job has worked off.
        """
        if self.aligner is None:
            return
        for pipe, upto in self.aligner.worked_off(through, whole=through == done):
            self._answer(pipe, frames.encode_starved(Starved(pipe, self._incarnation, self.rule.generation, upto)))

    def exhaust(self, *, exhausted: bool) -> None:
        """Set whether the job's loop takes nothing more in this generation.

        If so, ASYNC inputs must not wait for it.
        """
        for one in self.optional.values():
            one.hold(not exhausted)

    def counts(self) -> dict[int, InputCounts]:
        """Return the counters of the inputs, by pipe."""
        counts = self.aligner.counts() if self.aligner else {}
        for pipe, one in self.optional.items():
            counts[pipe] = InputCounts(received=one.received, duplicates=one.receiver.duplicates, dropped=one.dropped)
        return counts

    def _releasable(self, done: int, generation: int) -> list[tuple[int, int]]:
        found = self.aligner.releasable(done, generation) if self.aligner else []
        # an input that has ended needs nothing any longer, so its producer (such as a console) can end long before this job does
        return found + [(pipe, CLOSED if one.over else one.releasable) for pipe, one in self.optional.items()]

    def _report_times(self, pipe: int, incarnation: int) -> None:
        """Tell a new incarnation of a source the times that its blocks had, once."""
        if self.times is not None and self._times_reported.get(pipe, 1) < incarnation:
            self._times_reported[pipe] = incarnation
            generation, first, times = self.times.received(pipe)
            self._answer(pipe, frames.encode_times(Times(pipe, self._incarnation, generation, first, times)))

    def _answer_open(self, pipe: int) -> None:
        # an ordinary release is not enough: it counts finished blocks, but the new incarnation continues after the blocks that are here
        if pipe in self.optional or (self.aligner is not None and self.aligner.next):
            self.say_had(pipe)

    def say_had(self, only: int | None = None) -> None:
        """Report to the producers up to which sqn this job has their blocks.

        A new incarnation of a producer may not know.

        Args:
            only: the only pipe whose producer is notified; None for all.
        """
        aligner = self.aligner
        receivers = {} if aligner is None else {pipe: aligner.receiver(pipe) for pipe in self._block_counts}
        if only in self.optional:
            receivers = {only: self.optional[only].receiver}
        for pipe, receiver in receivers.items():
            if (
                only in (None, pipe)
                and receiver.incarnation > 1
                and not self._closed
                and (aligner is None or receiver.generation == aligner.generation)
            ):
                self._send(pipe, self.rule.sent_upto(pipe), receiver.high, had=True)

    def _say_taken(self, number: int) -> None:
        for pipe, taken in self.aligner.releasable(number, self.aligner.generation) if self.aligner else []:
            if pipe in self.eager and not self._closed:
                self._send(pipe, self.rule.sent_upto(pipe), taken)

    def _send(self, pipe: int, upto: int, taken: int, generation: int | None = None, *, had: bool = False) -> None:
        one = self.optional.get(pipe)
        if generation is None:
            self.rule.sent(pipe, upto)
            generation = one.receiver.generation if one is not None else self.aligner.generation if self.aligner is not None else 0
        self._answer(pipe, frames.encode_release(Release(pipe, self._incarnation, generation, upto, taken, had)))

    def _answer(self, pipe: int, message: bytes) -> None:
        self.effects.append(SendControl(pipe, message))
