"""A job's end of one output pipe: numbers blocks, coalesces them, keeps them until they are released, waits for room.

When its consumer gets a new life, everything that is kept is sent again (`wire`). When numbering starts again (`restart`), what
is kept of the older generations goes on being kept until it is released, and is not counted against the window.

When blocks follow each other within `HOLD_S`, the link counts as busy: they are held back and travel together. A block that
comes after a longer pause is sent at once. What is held when the job falls silent is sent by the control thread within
`HELD_AT_MOST_S`; a job that knows it is about to wait calls `flush`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from fission.ports import Links
from fission.protocol import frames
from fission.protocol.frames import CLOSED, Buffer, End, Open, Release, Starved
from fission.protocol.window import SendWindow
from fission.runtime.big import Leased, big_message
from fission.runtime.pacing import BEHIND_BLOCKS, CIRCLE_POLL_S, COALESCE_BLOCKS, COALESCE_BYTES, HELD_AT_MOST_S, HOLD_S, PRESS_S


class Outlet:
    """One output. `put`, `seek`, `flush`, `end` belong to the job's thread; `on_release`, `tick` to its control thread.

    Attributes:
        closed: the consumer needs nothing any more; what is put is dropped.
        near: the consumer is on this machine, and has part in its shared memory.
        through: its blocks up to here were worked off by the consumer and all behind it, as far as they were asked.
        blocked_s: seconds spent waiting for room, without the wait that goes on since ``blocked_since`` (`perf_counter`; 0: none).
    """

    def __init__(
        self,
        pipe: int,
        incarnation: int,
        links: Links,
        window: SendWindow[list[Buffer]],
        *,
        arm: Callable[[float], None],
        pump: Callable[[], None] | None = None,
        reader: int = 0,
        repeats: bool = False,
    ) -> None:
        """Prepare; `open` sends the first message.

        Args:
            pipe: its id.
            incarnation: of this job.
            links: where messages go.
            window: empty; its `next` is the first number.
            arm: called with a moment (`time.perf_counter`) at which `tick` is to be called at the latest.
            repeats: whether the consumer of this ASYNC pipe is told where blocks begin a second time, behind all that was kept for it.
            reader: number of its consumer among the readers of this job's shared memory.
            pump: called from time to time while `put` waits for room, where the job's inputs must not wait meanwhile.
        """
        self.pipe = pipe
        self.closed = False
        self.blocked_s = self.blocked_since = 0.0
        self._incarnation = incarnation
        self._generation = 0
        self._links = links
        self._window = window
        self._arm = arm
        self._pump = pump
        self._reader = reader
        self._repeats = repeats
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pending: list[bytes] = []
        self._heads: list[int] | None = None
        self._size = 0
        self._held_since = 0.0
        self._hold_until = -1.0
        self._behind = False
        self._allow = 1
        self._ended = self._final = self._more = False
        self._older: list[tuple[int, SendWindow[list[Buffer]]]] = []
        self._unlimited_below = 0
        self._consumer = 0
        self.near = True
        self._opened = False
        self._sent_before: dict[int, int] = {}  # the last number, by older generation
        self.taken = 0
        self.through = 0

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
            self._say_open()

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
                    self._links.send(self.pipe, item.for_afar() if isinstance(item, Leased) and not near else item)
                    blocks += sent.last - sent.first + 1
            self.taken = self._window.released
            self.through = 0
            if self._repeats:
                self._say_open()
            if self._ended:
                self._say_end()
            return blocks

    def put(self, payload: bytes | list[Any], head: int = 0) -> None:
        """Number a block and send it, now or with its followers. Blocks while the window is full.

        Args:
            payload: the block, or [payload, buffer, ...], or [payload, lease, ...].
            head: its head as a number.
        """
        if type(payload) is bytes and not head and self._heads is None:
            # A block that follows others which are held joins them without the lock: this is most of what a fast block costs. What is
            # held only grows here, at its end, and is only taken with the lock, from its start, each in one step of the interpreter.
            pending = self._pending
            pending.append(payload)
            self._size += len(payload)
            if 1 < len(pending) < self._allow and self._size < COALESCE_BYTES and (self._behind or perf_counter() < self._hold_until):
                return
            with self._lock:
                self._send_or_hold()
            return
        with self._lock:
            if type(payload) is bytes:
                self._pending.append(payload)
                self._size += len(payload)
                if self._heads is None:
                    self._heads = [0] * (len(self._pending) - 1)
                self._heads.append(head)
                self._send_or_hold()
            elif not self.closed:
                self._flush()
                self._put_big(payload, head)  # type: ignore[arg-type]  # bytes were excluded above; type() is the fast test
                if not self._allow:
                    self._wait_for_room()

    def seek(self, number: int) -> None:
        """The next block put will have this number; those in between do not exist."""
        if number != self._window.next + len(self._pending):
            with self._lock:
                self._flush()
                self._window.skip(number)

    def flush(self) -> None:
        """Send what is held."""
        if self._pending:
            with self._lock:
                self._flush()

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
        """Whether nothing of an older generation is kept any more."""
        return self.closed or all(number >= generation for number, _ in self._older)

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
                if self.through >= self._window.next - 1 and not self._window.room:
                    self._window.grant()
                    self._changed.notify_all()

    def on_closed(self) -> None:
        """The consumer has finished, says the client."""
        with self._changed:
            self.close()
            self._changed.notify_all()

    def tick(self, now: float) -> float:
        """Send what was held too long; return the moment of the next look, infinity if there is none."""
        if not self._pending:
            return float("inf")
        with self._lock:
            if not self._pending:
                return float("inf")
            due = self._held_since + HELD_AT_MOST_S
            if now >= due:
                self._flush()
                return float("inf")
            return due

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

    def _send_or_hold(self) -> None:
        """What is held has grown."""
        if 0 < len(self._pending) < self._allow and self._size < COALESCE_BYTES:
            now = perf_counter()
            if self._behind or now < self._hold_until:
                if len(self._pending) == 1:
                    self._hold_from(now)
                return
        self._flush()
        if not self._allow:
            self._wait_for_room()

    def _hold_from(self, now: float) -> None:
        self._held_since = now
        self._arm(now + HELD_AT_MOST_S)

    def _flush(self) -> None:
        blocks, heads = self._pending[:], self._heads
        if not blocks:
            return
        # before the window numbers them: `seek` must not meet them in both places, and looks without the lock
        del self._pending[: len(blocks)]
        self._heads, self._size = None, 0
        if self.closed:
            return
        place = self.pipe, self._incarnation, self._generation, self._window.next
        self._send([frames.encode_data(*place, blocks, heads)], len(blocks), sum(map(len, blocks)))
        if self._pending:  # the job's thread has put one meanwhile, and believes that it is held with the others
            self._hold_from(perf_counter())

    def _send(self, message: list[Buffer], count: int, size: int) -> None:
        window = self._window
        window.add(count, size, message)
        self._links.send(self.pipe, message)
        self._allow = min(COALESCE_BLOCKS, window.room)
        self._hold_until = perf_counter() + HOLD_S
        self._behind = len(window) >= BEHIND_BLOCKS

    def _put_big(self, parts: list[Any], head: int) -> None:
        place = self.pipe, self._incarnation, self._generation, self._window.next
        message, size = big_message(place, self._reader if self.near else None, parts, head)
        self._send(message, 1, size)

    def _may_go_on(self) -> bool:
        return self._window.room > 0 or self.closed or self._generation < self._unlimited_below

    def _wait_for_room(self) -> None:
        if self._may_go_on():
            return
        started = pressed = self.blocked_since = perf_counter()
        while not self._may_go_on():
            if self._pump is None:
                if not self._changed.wait(PRESS_S):
                    self._say_open()
            elif not self._changed.wait(CIRCLE_POLL_S):
                self._lock.release()
                try:
                    self._pump()
                finally:
                    self._lock.acquire()
                if perf_counter() - pressed >= PRESS_S:
                    pressed = perf_counter()
                    self._say_open()
        self.blocked_s += perf_counter() - started
        self.blocked_since = 0.0
