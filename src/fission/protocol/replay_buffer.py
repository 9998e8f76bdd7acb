"""What a job keeps of one output pipe until it is released, and what it says to the consumer about it.

When the consumer has a new incarnation, everything that is kept is sent again (`ReplayBuffer.wire`). When numbering restarts
(`ReplayBuffer.restart`), what is kept of the older generations stays until it is released, and does not count against the window.

No lock, no link, no clock: what is to be sent gathers in `ReplayBuffer.outgoing`, in order, and the caller sends it after each call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from fission.protocol import frames
from fission.protocol.frames import CLOSED, Buffer, End, Open, Release, Starved
from fission.protocol.large_blocks import Leased
from fission.protocol.pacing import COALESCE_BLOCKS
from fission.protocol.window import SendWindow


class ReplayBuffer(ABC):
    """One output, without the way that blocks come into it.

    Attributes:
        outgoing: messages that the caller is to send to the consumer, and then to remove.
        pipe: its id.
        window: the blocks of this generation that are kept.
        older: (generation, window) of older ones of which blocks are kept.
        generation: of the numbering.
        pending: payloads that were put and have no number yet.
        allow: so many blocks may be pending at most; 0: the window is full.
        taken: the consumer has taken blocks up to here; see `fission.protocol.dropping`.
        ended: whether the consumer was sent an end.
        consumer: the newest incarnation of the consumer that is known; 0 before the first.
        closed: the consumer needs nothing any more; what is put is dropped.
        near: the consumer is on this machine, and has part in its shared memory.
        had: the last block that the consumer had when this incarnation's link was opened; None before it has said so.
        lost_before: by generation, how many blocks fewer than an executable was given had come from earlier incarnations of it.
        through: its blocks up to here were worked off by the consumer and all behind it, as far as they were asked.
    """

    def __init__(self, pipe: int, incarnation: int, window: SendWindow[list[Buffer]], *, repeats: bool = False) -> None:
        """Prepare; `open` sends the first message.

        Args:
            pipe: its id.
            incarnation: of this job.
            window: empty; its `next` is the first number.
            repeats: whether the consumer of this ASYNC pipe is told where blocks begin a second time, after all that was kept for it.
        """
        self.pipe = pipe
        self.closed = False
        self._incarnation = incarnation
        self.generation = 0
        self.outgoing: list[list[Buffer]] = []
        self.window = window
        self._repeats = repeats
        self.pending: list[Any] = []
        self.allow = 1
        self.ended = self._final = self._more = False
        self.older: list[tuple[int, SendWindow[list[Buffer]]]] = []
        self._unlimited_below = 0
        self.consumer = 0
        self.near = True
        self._opened = False
        self._sent_before: dict[int, int] = {}  # the last number, by older generation
        self.taken = 0
        self.through = 0
        self.had: int | None = None
        self.lost_before: dict[int, int] = {}

    @abstractmethod
    def flush(self) -> None:
        """Number and send what is pending."""

    def open(self, generation: int = 0) -> None:
        """Tell the consumer where numbering begins. Once, before the first `put`."""
        self.generation = generation
        self._opened = True
        self.say_open()
        if self._repeats:
            self.say_open()

    def begin(self, number: int) -> None:
        """This incarnation begins with block ``number``: what is before it was released by an earlier one."""
        self.flush()
        if number > self.window.next:
            self.window.skip(number)
            self.say_open()

    def press(self) -> None:
        """Say again where blocks begin: a producer waits for a release, and the consumer is to pass that on."""
        if self._opened:
            self.flush()
            self.say_open()

    def restart(self, generation: int, window: SendWindow[list[Buffer]]) -> None:
        """Number from 1 again, in ``generation``; what is unreleased of the old numbering is kept."""
        self.flush()
        if len(self.window) and not self.closed:
            self.older.append((self.generation, self.window))
        self._sent_before[self.generation] = self.last_number
        self.window = window
        self.generation = generation
        self.ended = self._more = False
        self.taken = self.through = 0
        self.had = None
        self.say_open()

    def go_on_after(self, had: int, given: int) -> None:
        """Number on after ``had``, which the consumer has of an earlier incarnation and may not have released.

        Args:
            had: as in the attribute.
            given: blocks that the job was given and has released up to here, of which each should have come.
        """
        self.window.resume_after(had)
        self.lost_before[self.generation] = max(0, given - had)
        self._find_allowed()

    def lift(self, generation: int) -> None:
        """Blocks of generations before this one do not wait for room from now on.

        Their consumer may wait for blocks of another source that will never come, until this job says that there is a new generation.
        """
        self._unlimited_below = max(self._unlimited_below, generation)

    def wire(self, incarnation: int, *, near: bool = True) -> int:
        """The consumer has a new incarnation: send it everything that is kept; return how many blocks.

        Args:
            incarnation: its number.
            near: whether it is on this machine, and can read its shared memory.
        """
        self.consumer = incarnation
        self.near = near
        if not self._opened:
            return 0
        blocks = 0
        for generation, window in [*self.older, (self.generation, self.window)]:
            self._out(self._opening(generation, window))
            for sent in window.unreleased():
                item = sent.item
                copied = isinstance(item, Leased) and (item.handed_on or not near)
                self.outgoing.append(item.for_afar() if copied else item)
                blocks += sent.last - sent.first + 1
        self.taken = self.window.released
        self.through = 0
        if self._repeats:
            self.say_open()
        if self.ended:
            self._say_end()
        return blocks

    def end(self, *, more: bool = False) -> None:
        """Send what is pending and tell the consumer that nothing follows, or only (``more``) a new generation. Idempotent."""
        if self.ended and self._more == more:
            return
        self.flush()
        self.ended, self._more = True, more
        if not self.closed:
            self._say_end()

    def finalize(self) -> None:
        """Tell the consumer, if it was sent an end, that no later generation will have a block either."""
        self._final, self._more = True, False
        if self.ended and not self.closed:
            self._say_end()

    @property
    def may_continue(self) -> bool:
        """Whether a block may be put now; else the caller waits until something was released."""
        return self.window.room > 0 or self.closed or self.unlimited

    @property
    def unlimited(self) -> bool:
        """Whether blocks of this generation do not wait for room; see `lift`."""
        return self.generation < self._unlimited_below

    def say_open(self) -> None:
        """Tell the consumer where blocks begin."""
        if not self.closed:
            self._out(self._opening(self.generation, self.window))
        self._find_allowed()

    @property
    def all_released(self) -> bool:
        """Whether every block was released, but for what is pending."""
        return self.closed or (not len(self.window) and not self.older)

    @property
    def all_closed(self) -> bool:
        """Whether the consumer needs nothing of this pipe any longer, if it was sent an end: then the end has arrived."""
        return self.closed or not self.ended

    @property
    def last(self) -> tuple[int, int]:
        """(generation, number) of the last block that was numbered."""
        return self.generation, self.window.next - 1

    @property
    def released(self) -> int:
        """The number up to which blocks were released (`CLOSED`: the consumer needs none)."""
        return CLOSED if self.closed else self.window.released

    def released_before(self, generation: int) -> bool:
        """Whether numbering has come to this generation, and nothing of an older one is kept."""
        return self.closed or (generation <= self.generation and all(number >= generation for number, _ in self.older))

    @property
    def queue(self) -> int:
        """Blocks that are not released."""
        return sum(len(window) for _, window in self.older) + len(self.window) + len(self.pending)

    @property
    def sent(self) -> int:
        """The last number of each generation, summed up."""
        return sum(self.sent_by_generation().values())

    def sent_by_generation(self) -> dict[int, int]:
        """Return, by generation of this incarnation, the number up to which blocks were numbered, by this one or an earlier one."""
        return {**self._sent_before, self.generation: self.last_number}

    @property
    def last_number(self) -> int:
        """The number of the last block that was put."""
        return self.window.next - 1 + len(self.pending)

    @property
    def dropped(self) -> int:
        """Blocks that were given up because too many waited."""
        return self.window.dropped

    def on_release(self, message: Release) -> None:
        """The consumer has released something, or says how far it has taken blocks. Messages of older incarnations are dropped."""
        if message.incarnation < self.consumer:
            return
        if message.released >= CLOSED and message.taken >= CLOSED:
            self.close()
        elif message.generation != self.generation:
            self._release_older(message)
        else:
            self.taken = max(self.taken, message.taken)
            if self.had is None and message.had:
                self.had = max(message.taken, message.released)
            self.window.release(message.released)
            self._find_allowed()

    def on_starved(self, message: Starved) -> None:
        """The consumer and all jobs after it have worked off what they were sent up to a block."""
        if message.incarnation < self.consumer:
            return
        if message.generation == self.generation:
            self.through = max(self.through, message.upto)
            if self.window.may_grant(self.through):
                self.window.grant()

    def close(self) -> None:
        """Forget everything: the consumer needs none of it."""
        self.closed = True
        self.allow = 0
        self.flush()
        self.older.clear()
        self.window.release(CLOSED)

    def _release_older(self, message: Release) -> None:
        for generation, window in self.older:
            if generation == message.generation:
                window.release(message.released)
        self.older = [(generation, window) for generation, window in self.older if len(window)]

    def _find_allowed(self) -> None:
        self.allow = min(COALESCE_BLOCKS, self.window.room)

    def _out(self, message: bytes) -> None:
        self.outgoing.append([message])

    def _opening(self, generation: int, window: SendWindow[list[Buffer]]) -> bytes:
        mark = window.released if window.released < CLOSED else window.next - 1
        return frames.encode_open(Open(self.pipe, self._incarnation, generation, mark))

    def _say_end(self) -> None:
        end = End(self.pipe, self._incarnation, self.generation, self.window.next - 1, final=self._final, more=self._more)
        self._out(frames.encode_end(end))
