"""The replay buffer of one output pipe: the unreleased blocks, and the messages to the consumer.

When the consumer has a new incarnation, all kept blocks are sent again (`ReplayBuffer.wire`). When
numbering restarts (`ReplayBuffer.restart`), blocks of older generations are kept until they are
released; they do not count against the window.

There is no lock, link or clock here. Messages are `SendData` effects in `ReplayBuffer.effects`, and
the caller sends them after each call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from fission.protocol import frames
from fission.protocol.endpoint_effects import Effect, SendData
from fission.protocol.frames import Buffer
from fission.protocol.large_blocks import Leased
from fission.protocol.link_messages import CLOSED, End, Open, Release, Stamp, Starved
from fission.protocol.pacing import COALESCE_BLOCKS
from fission.protocol.stamps import Origins, OutputStamps
from fission.protocol.window import SendWindow


class ReplayBuffer(ABC):
    """The replay buffer of one output; a subclass decides how blocks enter it.

    Attributes:
        effects: see `fission.protocol.endpoint_effects`.
        pipe: id of the pipe.
        window: the kept blocks of this generation.
        older: (generation, window) of each older generation that still has kept blocks.
        generation: generation of the numbering.
        pending: payloads that were put and have no number yet.
        allow: maximum number of pending blocks; 0: the window is full.
        taken: number up to which the consumer has taken blocks; see `fission.protocol.dropping`.
        ended: whether an end was sent to the consumer.
        consumer: newest known incarnation of the consumer; 0 before the first.
        closed: whether the consumer needs nothing further; blocks that are put are dropped.
        near: whether the consumer is on this machine and can read its shared memory.
        had: last block that the consumer had when this incarnation's link was opened; None until
            the consumer has reported it.
        lost_before: by generation, the number of blocks that earlier incarnations of an executable
            gave fewer than they were given.
        through: number up to which the consumer and all jobs after it have processed the blocks, as
            far as they were asked.
        stamps: stamps of its blocks.
    """

    def __init__(
        self, pipe: int, incarnation: int, window: SendWindow[list[Buffer]], *, repeats: bool = False, effects: list[Effect] | None = None
    ) -> None:
        """Prepare the buffer; `open` sends the first message.

        Args:
            pipe: id of the pipe.
            incarnation: incarnation of this job.
            window: an empty window; its `next` is the first number.
            repeats: whether the consumer of this ASYNC pipe is sent a second opening after all
                blocks that were kept for it.
            effects: list that effects are added to; a list of its own by default.
        """
        self.pipe = pipe
        self.closed = False
        self._incarnation = incarnation
        self.generation = 0
        self.effects: list[Effect] = [] if effects is None else effects
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
        self._sent_before: dict[int, int] = {}  # last number, by older generation
        self.taken = 0
        self.through = 0
        self.had: int | None = None
        self.lost_before: dict[int, int] = {}
        self.stamps = OutputStamps()

    @abstractmethod
    def flush(self) -> None:
        """Number and send the pending blocks."""

    def open(self, generation: int = 0) -> None:
        """Send the consumer the opening, once, before the first `put`: where numbering begins."""
        self.generation = generation
        self._opened = True
        self.say_open()
        if self._repeats:
            self.say_open()

    def begin(self, number: int) -> None:
        """Begin this incarnation with block ``number``.

        An earlier incarnation has released all blocks before it.
        """
        self.flush()
        if number > self.window.next:
            self.window.skip(number)
            self.say_open()

    def press(self) -> None:
        """Send the opening again: a producer waits for a release.

        The consumer passes that on.
        """
        if self._opened:
            self.flush()
            self.say_open()

    def restart(self, generation: int, window: SendWindow[list[Buffer]]) -> None:
        """Restart numbering at 1 in ``generation``; unreleased older blocks are kept."""
        self.flush()
        if len(self.window) and not self.closed:
            self.older.append((self.generation, self.window))
        self._sent_before[self.generation] = self.last_number
        self.window = window
        self.generation = generation
        self.stamps.restart()
        self.ended = self._more = False
        self.taken = self.through = 0
        self.had = None
        self.say_open()

    def continue_after(self, had: int, given: int) -> None:
        """Continue numbering after ``had``, which came from an earlier incarnation.

        The consumer may not have released the blocks up to it yet.

        Args:
            had: last block that the consumer had, as in the attribute.
            given: number of blocks that the job was given and has released up to here; each of them
                should have produced a block.
        """
        self.window.resume_after(had)
        self.lost_before[self.generation] = max(0, given - had)
        self._find_allowed()

    def lift(self, generation: int) -> None:
        """Let blocks of generations before this one pass without waiting for room from now on.

        Their consumer may be waiting for blocks of another source that will never come, until this
        job announces the new generation.
        """
        self._unlimited_below = max(self._unlimited_below, generation)

    def wire(self, incarnation: int, *, near: bool = True) -> int:
        """Send all kept blocks to a new incarnation of the consumer; return the number of blocks.

        Args:
            incarnation: number of the consumer's new incarnation.
            near: whether it is on this machine and can read its shared memory.
        """
        self.consumer = incarnation
        self.near = near
        if not self._opened:
            return 0
        blocks = 0
        for generation, window in [*self.older, (self.generation, self.window)]:
            self._out(self._opening(generation, window))
            for number, origins in self.stamps.of(generation):
                self._say_stamp(generation, number, origins)
            for sent in window.unreleased():
                item = sent.item
                copied = isinstance(item, Leased) and (item.handed_on or not near)
                self.effects.append(SendData(self.pipe, item.for_afar() if copied else item))
                blocks += sent.last - sent.first + 1
        self.taken = self.window.released
        self.through = 0
        if self._repeats:
            self.say_open()
        if self.ended:
            self._say_end()
        return blocks

    def end(self, *, more: bool = False) -> None:
        """Send the pending blocks and an end to the consumer. Idempotent.

        Args:
            more: whether a new generation may follow; otherwise nothing follows.
        """
        if self.ended and self._more == more:
            return
        self.flush()
        self.ended, self._more = True, more
        if not self.closed:
            self._say_end()

    def finalize(self) -> None:
        """Notify the consumer that no later generation has a block, if it was sent an end."""
        self._final, self._more = True, False
        if self.ended and not self.closed:
            self._say_end()

    @property
    def may_continue(self) -> bool:
        """Whether a block may be put now; if not, the caller waits for a release."""
        return self.window.room > 0 or self.closed or self.unlimited

    @property
    def unlimited(self) -> bool:
        """Whether blocks of this generation do not wait for room; see `lift`."""
        return self.generation < self._unlimited_below

    def say_open(self) -> None:
        """Send the consumer the opening: where blocks begin."""
        if not self.closed:
            self._out(self._opening(self.generation, self.window))
        self._find_allowed()

    @property
    def all_released(self) -> bool:
        """Whether every numbered block has been released; pending blocks do not count."""
        return self.closed or (not len(self.window) and not self.older)

    @property
    def all_closed(self) -> bool:
        """Whether the consumer needs nothing further of this pipe, if it was sent an end.

        In that case the end has arrived.
        """
        return self.closed or not self.ended

    @property
    def last(self) -> tuple[int, int]:
        """(generation, number) of the last numbered block."""
        return self.generation, self.window.next - 1

    @property
    def released(self) -> int:
        """The number up to which blocks were released; `CLOSED` if the consumer needs none."""
        return CLOSED if self.closed else self.window.released

    def released_before(self, generation: int) -> bool:
        """Whether numbering has reached this generation and no block of an older one is kept."""
        return self.closed or (generation <= self.generation and all(number >= generation for number, _ in self.older))

    @property
    def queue(self) -> int:
        """Number of unreleased blocks, pending ones included."""
        return sum(len(window) for _, window in self.older) + len(self.window) + len(self.pending)

    @property
    def sent(self) -> int:
        """Sum of the last numbers of all generations."""
        return sum(self.sent_by_generation().values())

    def sent_by_generation(self) -> dict[int, int]:
        """Return the last number of each generation of this incarnation.

        Blocks numbered by an earlier incarnation are included.
        """
        return {**self._sent_before, self.generation: self.last_number}

    @property
    def last_number(self) -> int:
        """The number of the last block that was put."""
        return self.window.next - 1 + len(self.pending)

    @property
    def dropped(self) -> int:
        """Number of blocks that were dropped because too many waited; see `DroppingOutput`."""
        return 0

    def on_release(self, message: Release) -> None:
        """Process a release, or a report of how far the consumer has taken blocks.

        Messages of older incarnations are dropped.
        """
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
        self.stamps.released(self._released_upto)

    def on_starved(self, message: Starved) -> None:
        """Process a report that the consumer and all jobs after it have no work left.

        They have processed the blocks that they were sent, up to a number.
        """
        if message.incarnation < self.consumer:
            return
        if message.generation == self.generation:
            self.through = max(self.through, message.upto)
            if self.window.may_grant(self.through):
                self.window.grant()

    def close(self) -> None:
        """Discard everything: the consumer needs none of it."""
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

    def _released_upto(self, generation: int) -> int:
        if generation == self.generation:
            return self.released
        return next((window.released for older, window in self.older if older == generation), CLOSED)

    def _say_stamp(self, generation: int, number: int, origins: Origins) -> None:
        self._out(frames.encode_stamp(Stamp(self.pipe, self._incarnation, generation, number, origins)))

    def _find_allowed(self) -> None:
        self.allow = min(COALESCE_BLOCKS, self.window.room)

    def _out(self, message: bytes) -> None:
        self.effects.append(SendData(self.pipe, [message]))

    def _opening(self, generation: int, window: SendWindow[list[Buffer]]) -> bytes:
        mark = window.released if window.released < CLOSED else window.next - 1
        return frames.encode_open(Open(self.pipe, self._incarnation, generation, mark))

    def _say_end(self) -> None:
        end = End(self.pipe, self._incarnation, self.generation, self.window.next - 1, final=self._final, more=self._more)
        self._out(frames.encode_end(end))
