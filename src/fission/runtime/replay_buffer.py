"""What a job keeps of one output pipe until it is released, and what it tells the consumer of it.

When the consumer gets a new life, everything that is kept is sent again (`wire`). When numbering starts again (`restart`), what
is kept of the older generations goes on being kept until it is released, and is not counted against the window.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any

from fission.ports import Links
from fission.protocol import frames
from fission.protocol.frames import CLOSED, Buffer, End, Open, Release, Starved
from fission.protocol.window import SendWindow
from fission.runtime.large_blocks import Leased
from fission.runtime.pacing import COALESCE_BLOCKS


class ReplayBuffer(ABC):
    """One output, without the way that blocks come into it. `on_release`, `on_starved`, `on_closed`, `wire` belong to the control thread.

    Attributes:
        closed: the consumer needs nothing any more; what is put is dropped.
        near: the consumer is on this machine, and has part in its shared memory.
        had: the last block that the consumer had when this incarnation's link was opened; None before it has said so.
        lost_before: by generation, how many blocks fewer than an executable was given had come from earlier incarnations of it.
        through: its blocks up to here were worked off by the consumer and all behind it, as far as they were asked.
    """

    def __init__(self, pipe: int, incarnation: int, links: Links, window: SendWindow[list[Buffer]], *, repeats: bool) -> None:
        """Prepare; `open` sends the first message. Args: as `fission.runtime.output.Output` has them."""
        self.pipe = pipe
        self.closed = False
        self._incarnation = incarnation
        self._generation = 0
        self._links = links
        self._window = window
        self._repeats = repeats
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pending: list[Any] = []  # put, and not in the window yet
        self._allow = 1  # so many blocks may be pending at most; 0: the window is full
        self._ended = self._final = self._more = False
        self._older: list[tuple[int, SendWindow[list[Buffer]]]] = []
        self._unlimited_below = 0
        self._consumer = 0
        self.near = True
        self._opened = False
        self._sent_before: dict[int, int] = {}  # the last number, by older generation
        self.taken = 0
        self.through = 0
        self.had: int | None = None
        self.lost_before: dict[int, int] = {}

    @abstractmethod
    def _flush(self) -> None:
        """With the lock held: number and send what is pending."""

    def open(self, generation: int = 0) -> None:
        """Tell the consumer where numbering begins. Once, before the first `put`."""
        with self._lock:
            self._generation = generation
            self._opened = True
            self._say_open()
            if self._repeats:
                self._say_open()

    def begin(self, number: int) -> None:
        """This life begins with block ``number``: what is before it was released by an earlier life."""
        with self._lock:
            self._flush()
            if number > self._window.next:
                self._window.skip(number)
                self._say_open()

    def press(self) -> None:
        """Say again where blocks begin: somebody waits for a release, and the consumer is to pass that on."""
        with self._lock:
            if self._opened:
                self._flush()
                self._say_open()

    def restart(self, generation: int, window: SendWindow[list[Buffer]]) -> None:
        """Number from 1 again, in ``generation``; what is unreleased of the old numbering goes on being kept."""
        with self._lock:
            self._flush()
            if len(self._window) and not self.closed:
                self._older.append((self._generation, self._window))
            self._sent_before[self._generation] = self._last_number
            self._window = window
            self._generation = generation
            self._ended = self._more = False
            self.taken = self.through = 0
            self.had = None
            self._say_open()

    def go_on_after(self, had: int, given: int) -> None:
        """Number on after ``had``, which the consumer has of an earlier incarnation and may not have released.

        Args:
            had: as in the attribute.
            given: blocks that the job was given and has released up to here, of which each should have come.
        """
        with self._lock:
            self._window.resume_after(had)
            self.lost_before[self._generation] = max(0, given - had)
            self._allow = min(COALESCE_BLOCKS, self._window.room)

    def lift(self, generation: int) -> None:
        """Any thread: blocks of generations before this one do not wait for room any more.

        Who takes them may wait for blocks of another source that will never come, until it hears of the new generation from here.
        """
        with self._changed:
            self._unlimited_below = max(self._unlimited_below, generation)
            self._changed.notify_all()

    @property
    def consumer(self) -> int:
        """The newest life of the consumer that is known; 0 before the first was told."""
        return self._consumer

    def wire(self, address: str, incarnation: int, *, near: bool = True) -> int:
        """Control thread: the consumer has a new life there; send it everything that is kept. Return how many blocks.

        ``near``: it is on this machine, and has part in its shared memory.
        """
        with self._changed:
            self._consumer = incarnation
            self.near = near
            self._links.redirect(self.pipe, address)
            if not self._opened:
                return 0
            blocks = 0
            for generation, window in [*self._older, (self._generation, self._window)]:
                self._links.send(self.pipe, [self._opening(generation, window)])
                for sent in window.unreleased():
                    item = sent.item
                    copied = isinstance(item, Leased) and (item.handed_on or not near)
                    self._links.send(self.pipe, item.for_afar() if copied else item)
                    blocks += sent.last - sent.first + 1
            self.taken = self._window.released
            self.through = 0
            if self._repeats:
                self._say_open()
            if self._ended:
                self._say_end()
            return blocks

    def end(self, *, more: bool = False) -> None:
        """Send what is held and tell the consumer that nothing follows, or only (``more``) a new generation. Twice is right."""
        with self._lock:
            if self._ended and self._more == more:
                return
            self._flush()
            self._ended, self._more = True, more
            if not self.closed:
                self._say_end()

    def finalize(self) -> None:
        """Tell the consumer, if it was told of an end, that no later generation will have a block either."""
        with self._lock:
            self._final, self._more = True, False
            if self._ended and not self.closed:
                self._say_end()

    def wait_released(self) -> None:
        """Block until every block was released."""
        with self._changed:
            self._flush()
            while not self.all_released:
                self._changed.wait()

    def wait_closed(self) -> None:
        """Block until the consumer needs nothing of this pipe any more, if it was told of an end: the end has reached it then."""
        with self._changed:
            while not self.all_closed:
                self._changed.wait()

    @property
    def all_released(self) -> bool:
        """Whether every block was released; what is held is not looked at."""
        return self.closed or (not len(self._window) and not self._older)

    @property
    def all_closed(self) -> bool:
        """Whether the consumer needs nothing of this pipe any more, if it was told of an end."""
        return self.closed or not self._ended

    @property
    def last(self) -> tuple[int, int]:
        """(generation, number) of the last block that was numbered."""
        return self._generation, self._window.next - 1

    @property
    def released(self) -> int:
        """The number up to which blocks were released (`CLOSED`: the consumer needs none)."""
        return CLOSED if self.closed else self._window.released

    def released_before(self, generation: int) -> bool:
        """Whether numbering has come to this generation, and nothing of an older one is kept."""
        return self.closed or (generation <= self._generation and all(number >= generation for number, _ in self._older))

    @property
    def queue(self) -> int:
        """Blocks that are not released."""
        return sum(len(window) for _, window in self._older) + len(self._window) + len(self._pending)

    @property
    def sent(self) -> int:
        """The last number of each generation, summed up."""
        return sum(self.sent_by_generation().values())

    def sent_by_generation(self) -> dict[int, int]:
        """Any thread: the number up to which blocks were numbered, by this life or the ones before it, in each generation of this one."""
        return {**self._sent_before, self._generation: self._last_number}

    @property
    def _last_number(self) -> int:
        return self._window.next - 1 + len(self._pending)

    @property
    def dropped(self) -> int:
        """Blocks that were given up because too many waited."""
        return self._window.dropped

    def on_release(self, message: Release) -> None:
        """The consumer has released something, or says how far it has taken blocks. What an older life of it says is dropped."""
        if message.incarnation < self._consumer:
            return
        with self._changed:
            if message.released >= CLOSED and message.taken >= CLOSED:
                self.close()
            elif message.generation != self._generation:
                self._release_older(message)
            else:
                self.taken = max(self.taken, message.taken)
                if self.had is None and message.had:
                    self.had = max(message.taken, message.released)
                self._window.release(message.released)
                self._allow = min(COALESCE_BLOCKS, self._window.room)
            self._changed.notify_all()

    def on_starved(self, message: Starved) -> None:
        """The consumer and all behind it have worked off what they were sent up to a block."""
        if message.incarnation < self._consumer:
            return
        with self._changed:
            if message.generation == self._generation:
                self.through = max(self.through, message.upto)
                if self._window.may_grant(self.through):
                    self._window.grant()
                    self._changed.notify_all()

    def on_closed(self) -> None:
        """The consumer has finished, says the client."""
        with self._changed:
            self.close()
            self._changed.notify_all()

    # with the lock held

    def close(self) -> None:
        """Forget everything: nobody needs it. With the lock held, or where no other thread is."""
        self.closed = True
        self._allow = 0
        self._flush()
        self._older.clear()
        self._window.release(CLOSED)

    def _release_older(self, message: Release) -> None:
        for generation, window in self._older:
            if generation == message.generation:
                window.release(message.released)
        self._older = [(generation, window) for generation, window in self._older if len(window)]

    def _say_open(self) -> None:
        if not self.closed:
            self._links.send(self.pipe, [self._opening(self._generation, self._window)])
        self._allow = min(COALESCE_BLOCKS, self._window.room)

    def _opening(self, generation: int, window: SendWindow[list[Buffer]]) -> bytes:
        mark = window.released if window.released < CLOSED else window.next - 1
        return frames.encode_open(Open(self.pipe, self._incarnation, generation, mark))

    def _say_end(self) -> None:
        end = End(self.pipe, self._incarnation, self._generation, self._window.next - 1, final=self._final, more=self._more)
        self._links.send(self.pipe, [frames.encode_end(end)])
