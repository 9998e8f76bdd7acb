"""A job's end of all its input pipes: aligns what arrives, and releases what is done.

No lock, no link: what is to be answered gathers in `Inputs.answers`, in order, and the caller sends it after each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fission.errors import RemoteProtocolError
from fission.protocol import frames
from fission.protocol.align import Aligner, Batch
from fission.protocol.frames import CLOSED, Data, End, Message, Open, Release, Starved
from fission.protocol.inputs import InputCounts, InputSpec
from fission.protocol.optional import OptionalInput, OptionalSpec
from fission.protocol.release import ReleaseRule, taken_with
from fission.protocol.window import Arrival


class Inputs:
    """All inputs of one job.

    `data`, `take` and `switch` belong to the job's main thread, which needs no lock for `data`; everything else to the caller's lock.

    Attributes:
        aligner: makes compute blocks of the non-ASYNC inputs; None if there are none.
        answers: (pipe, message) that the caller is to send to the producer of that pipe, and then to remove.
        optional: the ASYNC inputs, by pipe.
        rule: decides what is released, and when.
        bytes_in: payload bytes that arrived.
        pressed: a producer has said again where its blocks begin: a producer waits for a release. For the reader to set back.
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
    ) -> None:
        """Begin before the first message.

        Args:
            specs: the non-ASYNC inputs, in the order of the job.
            optional: the ASYNC inputs.
            incarnation: of this job.
            head_size: of heads, in bytes.
            window_blocks: size of the producers' windows.
            window_bytes: the same in bytes.
        """
        self.aligner = Aligner(specs, head_size) if specs else None
        self.optional = {spec.pipe: OptionalInput(spec) for spec in optional}
        self.rule = ReleaseRule([spec.block_count for spec in specs], window_blocks=window_blocks, window_bytes=window_bytes)
        self._incarnation = incarnation
        self.bytes_in = 0
        self.pressed = False
        self.answers: list[tuple[int, bytes]] = []
        self._block_counts = {spec.pipe: spec.block_count for spec in specs}
        self._pipes = [spec.pipe for spec in specs] + [spec.pipe for spec in optional]
        # with MAX_QUEUE the producer must hear at once what was taken: it sends only what its consumer keeps up with
        self.eager = {spec.pipe for spec in specs if spec.max_queue}
        self._behind: dict[int, set[int]] = {}
        self._closed = False
        self._closed_pipes: set[int] = set()
        self._opened_by: dict[int, int] = {}  # the producer's incarnation, by pipe, whose `Open` was answered

    def data(self, message: Data, size: int) -> int:
        """Blocks of so many bytes have arrived; return how many are new.

        Raises:
            RemoteProtocolError: they are for a pipe that is not an input of this job.
        """
        target: Any = self.aligner
        if target is None or self.optional:
            target = self._target(message.pipe)
        self.bytes_in += size
        self.rule.arrived(size)
        new: int = target.data(message)
        return new

    def repeated(self, pipe: int) -> None:
        """All blocks of a message had been there before: say again what is released."""
        self.rule.forget(pipe)

    def opened_or_ended(self, message: Message) -> None:
        """A producer has said where its blocks begin or end.

        Raises:
            RemoteProtocolError: it is another message, or for a pipe that is not an input of this job.
        """
        if not isinstance(message, (Open, End)):
            raise RemoteProtocolError(f"a {type(message).__name__} does not belong here")
        target = self._target(message.pipe)
        if isinstance(message, Open):
            self._on_open(target, message)
            return
        target.end(message)
        if message.final:
            self.rule.forget(message.pipe)  # what was released for this generation is now so for all

    def compute_block_of(self, message: Data, sqn: int) -> tuple[int, int] | None:
        """Return (generation, compute block) to which a block of a message belongs; None: it came by an ASYNC pipe."""
        count = self._block_counts.get(message.pipe, 0)
        return (message.generation, (sqn - 1) // count + 1) if count else None

    def lacks(self, message: Data) -> bool:
        """Whether this job needs blocks of a message that cannot be read: nothing was done with them yet."""
        return not self._closed and self.aligner is not None and self.aligner.lacks(message)

    def works_on(self, taken_for: tuple[int, int] | None) -> bool:
        """Whether a buffer belongs to the compute block that the job works on: one that is done with may be released at any time.

        Args:
            taken_for: its generation and compute block; None: it came by an ASYNC pipe.
        """
        return taken_for is not None and taken_for[0] == self.rule.generation and taken_for[1] > self.rule.done

    def _target(self, pipe: int) -> Any:
        target = self.optional.get(pipe, self.aligner)
        if target is None:
            raise RemoteProtocolError(f"pipe {pipe} is no input of this job")
        return target

    def _on_open(self, target: Any, message: Open) -> None:
        optional = isinstance(target, OptionalInput)
        older = target.receiver.generation if optional else 0
        again = not optional and target.opened(message)
        arrival = target.open(message)
        self.rule.forget(message.pipe)
        if again:
            self.pressed = True
        if arrival is not Arrival.STALE and message.incarnation > 1:
            self._opened_by[message.pipe] = message.incarnation
            self._answer_open(message.pipe)
        behind = target.receiver.generation if optional else self.rule.generation
        if arrival is Arrival.STALE and message.generation < behind and (optional or message.generation not in self.rule.older):
            # a new life of the producer begins with a generation that this job has behind it, and was not there when it said so
            self._let_go(message.pipe, message.generation)
        if optional and arrival is Arrival.NEW_GENERATION:
            # its values stay in the buffer; the numbers that they had are of no use any more
            self._let_go(message.pipe, older)

    def take(self) -> Batch | None:
        """Return the compute blocks that are complete; None if there are none."""
        if self.aligner is None:
            return None
        if not self.eager:
            return self.aligner.take()
        before = self.aligner.next
        batch = self.aligner.take()
        if self.aligner.next > before:
            self._say_taken(self.aligner.next - 1)
        return batch

    @property
    def finished(self) -> bool:
        """Whether nothing can come any more: all non-ASYNC inputs are worked off, or all ASYNC ones if there are no others."""
        if self.aligner is not None:
            return self.aligner.finished
        return bool(self.optional) and all(one.finished for one in self.optional.values())

    @property
    def final(self) -> bool:
        """Whether besides no producer can begin a new generation any more."""
        if not self.finished:
            return False
        receivers = [one.receiver for one in self.optional.values()] if self.aligner is None else self.aligner.receivers
        return all(receiver.final for receiver in receivers)

    def switch(self, generation: int, *, keeps: bool) -> None:
        """The job's loop continues in a new generation, which its aligner has already. Args: as `ReleaseRule.switch`."""
        self.rule.switch(generation, keeps=keeps)

    @property
    def exhausted(self) -> bool:
        """Whether no compute block can come any more, although some inputs may still go on."""
        return self.aligner is not None and self.aligner.exhausted

    def wire(self, pipe: int, incarnation: int) -> None:
        """The producer has a new incarnation; older ones no longer count. Answers go to it from now on.

        Raises:
            RemoteProtocolError: this job has no such input.
        """
        self.check(pipe)
        if pipe in self.optional:
            self.optional[pipe].announce(incarnation)
        elif self.aligner is not None:
            self.aligner.announce(pipe, incarnation)
        self.rule.forget(pipe)
        for generation in self._behind.pop(pipe, ()):  # said to where the old life was
            self._send(pipe, CLOSED, 0, generation)
        if pipe in self._closed_pipes:  # the new life does not know
            self._send(pipe, CLOSED, CLOSED)
        if self._opened_by.get(pipe) == incarnation:  # the answer went to where the old life was
            self._answer_open(pipe)

    def check(self, pipe: int) -> None:
        """Raise RemoteProtocolError if this job has no such input."""
        if pipe not in self._pipes:
            raise RemoteProtocolError(f"pipe {pipe} is neither an input nor an output of this job")

    def pending_release(self, done: int, generation: int) -> bool:
        """Whether there is something that `release` with ``force`` would send."""
        return self.rule.pending(self._releasable(done, generation))

    def release(self, done: int, generation: int, *, force: bool = False) -> bool:
        """Release the inputs of compute blocks up to ``done`` of a generation, where enough has gathered or ``force`` says so.

        Return whether something is left that could be released.
        """
        if self._closed:
            return False
        due, left = self.rule.due(self._releasable(done, generation), force=force)
        for pipe, upto in due:
            final = pipe in self.optional and self.optional[pipe].receiver.final
            self._send(pipe, upto, taken_with(upto, final=final))
        return left

    def release_generation(self, generation: int) -> None:
        """Let go of everything of an older generation: nothing that came from it is kept by this job's outputs any more."""
        for pipe in self._pipes:
            if pipe not in self.optional and not self._closed:
                self._let_go(pipe, generation)

    def _let_go(self, pipe: int, generation: int) -> None:
        # it may go to where an old life of the producer was, although the new one has spoken already: `wire` says it again
        self._behind.setdefault(pipe, set()).add(generation)
        self._send(pipe, CLOSED, 0, generation)

    def close(self) -> None:
        """Tell all producers that this job needs nothing any more."""
        if not self._closed:
            self._closed = True
            self._close(self._pipes)

    def close_optional(self) -> None:
        """Tell the producers of the ASYNC inputs that this job needs nothing from them any more."""
        self._close(list(self.optional))

    def _close(self, pipes: Sequence[int]) -> None:
        self._closed_pipes.update(pipes)
        for pipe in pipes:
            self._send(pipe, CLOSED, CLOSED)

    def say_starved(self, through: int, done: int) -> None:
        """Tell the producers: compute blocks up to ``through`` are worked off to the end, up to ``done`` by this job."""
        if self.aligner is None:
            return
        for pipe, upto in self.aligner.worked_off(through, whole=through == done):
            self.answers.append((pipe, frames.encode_starved(Starved(pipe, self._incarnation, self.rule.generation, upto))))

    def exhaust(self, *, exhausted: bool) -> None:
        """The job's loop takes nothing more in this generation, or does again: ASYNC inputs must not wait for it then."""
        for one in self.optional.values():
            one.hold(not exhausted)

    def counts(self) -> dict[int, InputCounts]:
        """What happened so far, by pipe."""
        counts = self.aligner.counts() if self.aligner else {}
        for pipe, one in self.optional.items():
            counts[pipe] = InputCounts(received=one.received, duplicates=one.receiver.duplicates, dropped=one.dropped)
        return counts

    def _releasable(self, done: int, generation: int) -> list[tuple[int, int]]:
        found = self.aligner.releasable(done, generation) if self.aligner else []
        # one that has ended needs nothing any more, so its producer (a console, say) can end long before this job does
        return found + [(pipe, CLOSED if one.over else one.releasable) for pipe, one in self.optional.items()]

    def _answer_open(self, pipe: int) -> None:
        # an ordinary release will not do: it counts what is done with, and the new incarnation numbers on after what is here
        if pipe in self.optional or (self.aligner is not None and self.aligner.next):
            self.say_had(pipe)

    def say_had(self, only: int | None = None) -> None:
        """Tell the producers (or that of one pipe) how far this job has their blocks: a new incarnation may not know."""
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
        self.answers.append((pipe, frames.encode_release(Release(pipe, self._incarnation, generation, upto, taken, had))))
