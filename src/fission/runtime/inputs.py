"""A job's end of all its input pipes: decodes what arrives, aligns it, and releases what is done with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from fission.errors import RemoteProtocolError
from fission.ports import Links, SharedReader
from fission.protocol import frames
from fission.protocol.align import Aligner, Batch
from fission.protocol.frames import CLOSED, Command, Data, End, JobMessage, Open, Release, Starved
from fission.protocol.inputs import InputCounts, InputSpec
from fission.protocol.optional import OptionalInput, OptionalSpec
from fission.protocol.release import ReleaseRule, taken_with
from fission.protocol.shared_blocks import BlockGone, Descriptor
from fission.protocol.window import Arrival

log = logging.getLogger("fission.runtime")


class MemoryGone(Exception):
    """A block that this job needs, and that others hold as sent, was in memory that is gone. A new life of this job gets it as a copy."""


class Inputs:
    """All inputs of one job. `feed` and `take` belong to the job's main thread; `release` to any thread.

    Attributes:
        optional: the ASYNC inputs, by pipe.
        rule: decides what is released, and when.
        malformed: messages that were dropped because they were none.
        bytes_in: payload bytes that arrived.
        pressed: a producer has said again where its blocks begin: somebody waits for a release. For the reader to set back.
    """

    def __init__(
        self,
        specs: Sequence[InputSpec],
        optional: Sequence[OptionalSpec],
        links: Links,
        *,
        incarnation: int,
        head_size: int,
        window_blocks: int,
        window_bytes: int,
        viewer: SharedReader | None = None,
    ) -> None:
        self.aligner = Aligner(specs, head_size) if specs else None
        self.optional = {spec.pipe: OptionalInput(spec) for spec in optional}
        self.rule = ReleaseRule([spec.block_count for spec in specs], window_blocks=window_blocks, window_bytes=window_bytes)
        self._incarnation = incarnation
        self.malformed = 0
        self.bytes_in = 0
        self.pressed = False
        self._links = links
        self._viewer = viewer
        self._lock = threading.Lock()
        self._block_counts = {spec.pipe: spec.block_count for spec in specs}
        self._pipes = [spec.pipe for spec in specs] + [spec.pipe for spec in optional]
        # with MAX_QUEUE the producer must hear at once what was taken: it sends only what its consumer keeps up with
        self._eager = {spec.pipe for spec in specs if spec.max_queue}
        self._behind: dict[int, set[int]] = {}
        self._closed = False
        self._closed_pipes: set[int] = set()
        self._opened_by: dict[int, int] = {}  # the producer's incarnation, by pipe, whose `Open` was answered

    def feed(self, message_frames: Sequence[frames.Buffer]) -> None:
        """Take one data message. Malformed ones and those of pipes that are no inputs are counted, logged and dropped."""
        try:
            message = frames.decode(message_frames)
            if type(message) is not Data:
                self._dispatch(message)
                return
            payloads = message.payloads
            if type(payloads[0]) is list:
                size = self._look_up(message)
            else:
                size = len(payloads[0]) if len(payloads) == 1 else sum(map(len, payloads))
            target: Any = self.aligner
            if target is None or self.optional:
                target = self._target(message.pipe)
            self.bytes_in += size
            self.rule.arrived(size)
            if not target.data(message):
                self._forget(message.pipe)  # had it before: say again what is released
        except BlockGone as why:
            log.debug("dropped a block that was there before: %s", why)
        except RemoteProtocolError as why:
            self.malformed += 1
            log.warning("dropped a message that is none: %s", why)

    def _look_up(self, message: Data) -> int:
        """Put the memory itself where blocks name shared memory; return their bytes. Before anything else: what is gone was never here."""
        count = self._block_counts.get(message.pipe, 0)
        size = 0
        for sqn, parts in enumerate(message.payloads, message.sqn):
            if len(parts) > 1 and isinstance(parts[1], Descriptor):
                if self._viewer is None:
                    raise RemoteProtocolError("a block in shared memory, and this process has none")
                taken_for = (message.generation, (sqn - 1) // count + 1) if count else None
                try:
                    for index in range(1, len(parts)):
                        size += parts[index].length
                        parts[index] = self._viewer.get(parts[index], taken_for)
                except BlockGone as why:
                    self._check_gone(message, parts[index], why)
                    raise
                size += len(parts[0])
            else:
                size += sum(memoryview(part).nbytes for part in parts)
        return size

    def works_on(self, taken_for: tuple[int, int] | None) -> bool:
        """Whether a buffer belongs to the compute block that the job works on: one that is done with may be released at any time.

        Args:
            taken_for: its generation and compute block; None: it came by an ASYNC pipe.
        """
        return taken_for is not None and taken_for[0] == self.rule.generation and taken_for[1] > self.rule.done

    def _check_gone(self, message: Data, descriptor: Descriptor, why: BlockGone) -> None:
        """A producer's new life sends its own blocks again. What another job has handed on only comes again to a new life of this one."""
        if descriptor.handed_on and not self._closed and self.aligner is not None and self.aligner.lacks(message):
            raise MemoryGone(f"blocks from {message.sqn} on of pipe {message.pipe} cannot be read any more: {why}") from None

    def _target(self, pipe: int) -> Any:
        target = self.optional.get(pipe, self.aligner)
        if target is None:
            raise RemoteProtocolError(f"pipe {pipe} is no input of this job")
        return target

    def _dispatch(self, message: frames.Message) -> None:
        if isinstance(message, (Data, Release, Starved, Command, JobMessage)):
            raise RemoteProtocolError(f"a {type(message).__name__} does not belong here")
        target = self._target(message.pipe)
        if isinstance(message, Open):
            self._on_open(target, message)
        elif isinstance(message, End):
            target.end(message)
            if message.final:
                self._forget(message.pipe)  # what was released for this generation is now so for all

    def _on_open(self, target: Any, message: Open) -> None:
        optional = isinstance(target, OptionalInput)
        older = target.receiver.generation if optional else 0
        again = not optional and target.opened(message)
        arrival = target.open(message)
        self._forget(message.pipe)
        if again:
            self.pressed = True
        if arrival is not Arrival.STALE and message.incarnation > 1:
            self._opened_by[message.pipe] = (
                message.incarnation
            )  # before the answer: one of the two, here or in `wire`, finds the new address
            self._answer_open(message.pipe)
        behind = target.receiver.generation if optional else self.rule.generation
        if arrival is Arrival.STALE and message.generation < behind and (optional or message.generation not in self.rule.older):
            # a new life of the producer begins with a generation that this job has behind it, and was not there when it said so
            with self._lock:
                self._let_go(message.pipe, message.generation)
        if optional and arrival is Arrival.NEW_GENERATION:
            # its values stay in the buffer; the numbers that they had are of no use any more
            with self._lock:
                self._let_go(message.pipe, older)

    def _forget(self, pipe: int) -> None:
        with self._lock:
            self.rule.forget(pipe)

    def take(self) -> Batch | None:
        """Return the compute blocks that are complete; None if there are none."""
        if self.aligner is None:
            return None
        if not self._eager:
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
        with self._lock:
            self.rule.switch(generation, keeps=keeps)

    @property
    def exhausted(self) -> bool:
        """Whether no compute block can come any more, although some inputs may still go on."""
        return self.aligner is not None and self.aligner.exhausted

    def wire(self, pipe: int, address: str, incarnation: int) -> None:
        """Control thread: the producer has a new incarnation there; older ones no longer count.

        Raises:
            RemoteProtocolError: this job has no such input.
        """
        if pipe not in self._pipes:
            raise RemoteProtocolError(f"pipe {pipe} is neither an input nor an output of this job")
        self._links.redirect(pipe, address)
        if pipe in self.optional:
            self.optional[pipe].announce(incarnation)
        elif self.aligner is not None:
            self.aligner.announce(pipe, incarnation)
        with self._lock:
            self.rule.forget(pipe)
            for generation in self._behind.pop(pipe, ()):  # said to where the old life was
                self._send(pipe, CLOSED, 0, generation)
            if pipe in self._closed_pipes:  # the new life does not know
                self._send(pipe, CLOSED, CLOSED)
        if self._opened_by.get(pipe) == incarnation:  # the answer went to where the old life was
            self._answer_open(pipe)

    def pending_release(self, done: int, generation: int) -> bool:
        """Whether there is something that `release` with ``force`` would send."""
        return self.rule.pending(self._releasable(done, generation))

    def release(self, done: int, generation: int, *, force: bool = False) -> bool:
        """Release the inputs of compute blocks up to ``done`` of a generation, where enough has gathered or ``force`` says so.

        Return whether something is left that could be released.
        """
        with self._lock:
            if self._closed:
                return False
            due, left = self.rule.due(self._releasable(done, generation), force=force)
            for pipe, upto in due:
                final = pipe in self.optional and self.optional[pipe].receiver.final
                self._send(pipe, upto, taken_with(upto, final=final))
        return left

    def release_generation(self, generation: int) -> None:
        """Let go of everything of an older generation: nothing that came from it is kept by this job's outputs any more."""
        with self._lock:
            for pipe in self._pipes:
                if pipe not in self.optional and not self._closed:
                    self._let_go(pipe, generation)

    def _let_go(self, pipe: int, generation: int) -> None:
        # it may go to where an old life of the producer was, although the new one has spoken already: `wire` says it again
        self._behind.setdefault(pipe, set()).add(generation)
        self._send(pipe, CLOSED, 0, generation)

    def close(self) -> None:
        """Tell all producers that this job needs nothing any more."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._close(self._pipes)

    def close_optional(self) -> None:
        """Tell the producers of the ASYNC inputs that this job needs nothing from them any more."""
        with self._lock:
            self._close(list(self.optional))

    def _close(self, pipes: Sequence[int]) -> None:
        self._closed_pipes.update(pipes)
        for pipe in pipes:
            self._send(pipe, CLOSED, CLOSED)

    def say_starved(self, through: int, done: int) -> None:
        """Tell the producers: compute blocks up to ``through`` are worked off to the end, up to ``done`` by this job."""
        if self.aligner is None:
            return
        with self._lock:
            for pipe, upto in self.aligner.worked_off(through, whole=through == done):
                self._links.answer(pipe, frames.encode_starved(Starved(pipe, self._incarnation, self.rule.generation, upto)))

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
        with self._lock:
            for pipe, receiver in receivers.items():
                if (
                    only in (None, pipe)
                    and receiver.incarnation > 1
                    and not self._closed
                    and (aligner is None or receiver.generation == aligner.generation)
                ):
                    self._send(pipe, self.rule.sent_upto(pipe), receiver.high, had=True)

    def _say_taken(self, number: int) -> None:
        with self._lock:
            for pipe, taken in self.aligner.releasable(number, self.aligner.generation) if self.aligner else []:
                if pipe in self._eager and not self._closed:
                    self._send(pipe, self.rule.sent_upto(pipe), taken)

    def _send(self, pipe: int, upto: int, taken: int, generation: int | None = None, *, had: bool = False) -> None:
        one = self.optional.get(pipe)
        if generation is None:
            self.rule.sent(pipe, upto)
            generation = one.receiver.generation if one is not None else self.aligner.generation if self.aligner is not None else 0
        self._links.answer(pipe, frames.encode_release(Release(pipe, self._incarnation, generation, upto, taken, had)))
