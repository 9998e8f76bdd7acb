"""A job's end of one output pipe: numbers blocks, coalesces them, waits for room.

When blocks follow each other within `HOLD_S`, the link counts as busy: they are held back and travel together. A block that
comes after a longer pause is sent at once. What is held when the job falls silent is sent by the control thread within
`HELD_AT_MOST_S`; a job that knows it is about to wait calls `flush`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from time import perf_counter
from typing import Any

from fission.ports import Links
from fission.protocol import frames
from fission.protocol.frames import Buffer
from fission.protocol.window import SendWindow
from fission.runtime.large_blocks import big_message, is_leased
from fission.runtime.pacing import (
    BEHIND_BLOCKS,
    BEHIND_SHARE,
    CIRCLE_POLL_S,
    COALESCE_BLOCKS,
    COALESCE_BYTES,
    COALESCE_SHARE,
    HELD_AT_MOST_S,
    HOLD_S,
    PRESS_S,
)
from fission.runtime.replay_buffer import ReplayBuffer

#: Kinds of blocks that travel together; one that travels alone is a kind of its own, its place among the others.
SMALL, SHARED = -1, -2


class Output(ReplayBuffer):
    """One output. `put`, `seek`, `flush`, `end` belong to the job's thread; `tick` and what others say to its control thread.

    Attributes:
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
        super().__init__(pipe, incarnation, links, window, repeats=repeats)
        self.blocked_s = self.blocked_since = 0.0
        self._arm = arm
        self._pump = pump
        self._reader = reader
        self._heads: list[int] | None = None
        self._size = 0
        self._some_big = False
        self._held_since = 0.0
        self._held = False
        self._hold_until = -1.0
        self._behind = False

    def put(self, payload: bytes | list[Any], head: int = 0, *, wait: bool = True) -> None:
        """Number a block and send it, now or with its followers. Blocks while the window is full.

        Args:
            payload: the block, or [payload, buffer, ...], or [payload, lease, ...].
            head: its head as a number.
            wait: whether to wait for room; else the caller calls `wait_for_room` when it has put this compute block's other outputs.
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
                self._send_or_hold(wait)
            return
        with self._lock:
            self._pending.append(payload)
            self._size += len(payload) if isinstance(payload, bytes) else self._weight(payload)
            self._some_big = self._some_big or type(payload) is not bytes
            if head or self._heads is not None:
                if self._heads is None:
                    self._heads = [0] * (len(self._pending) - 1)
                self._heads.append(head)
            self._send_or_hold(wait)

    def wait_for_room(self) -> None:
        """Block while the window is full. For after a `put` that did not wait."""
        if not self._allow and not self.closed:
            with self._lock:
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

    def tick(self, now: float) -> float:
        """Send what was held too long; return the moment of the next look, infinity if there is none."""
        held, self._held = self._held, False
        if not self._pending:
            # what was held since the last look was sent by the job itself, which is busy then: one more look is cheaper than to be woken up
            return now + HELD_AT_MOST_S if held else float("inf")
        with self._lock:
            if not self._pending:
                return float("inf")
            due = self._held_since + HELD_AT_MOST_S
            if now >= due:
                self._flush()
                return float("inf")
            return due

    # with the lock held

    def _send_or_hold(self, wait: bool = True) -> None:
        """What is held has grown."""
        if 0 < len(self._pending) < self._allow and self._size < COALESCE_BYTES:
            now = perf_counter()
            if self._behind or now < self._hold_until:
                if len(self._pending) == 1:
                    self._hold_from(now)
                return
        self._flush()
        if wait and not self._allow:
            self._wait_for_room()

    def _hold_from(self, now: float) -> None:
        self._held_since = now
        self._held = True
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
        if self._some_big:
            self._some_big = False
            self._send_in_runs(blocks, heads)
        else:
            place = self.pipe, self._incarnation, self._generation, self._window.next
            self._send([frames.encode_data(*place, blocks, heads)], len(blocks), sum(map(len, blocks)))
        if self._pending:  # the job's thread has put one meanwhile, and believes that it is held with the others
            self._hold_from(perf_counter())

    @property
    def _place(self) -> tuple[int, int, int, int]:
        return self.pipe, self._incarnation, self._generation, self._window.next

    def _send(self, message: list[Buffer], count: int, size: int) -> None:
        self._links.send(self.pipe, message)  # first, for speed: nobody sees the window before the lock is given back
        window = self._window
        window.add(count, size, message)
        self._allow = min(COALESCE_BLOCKS, window.room)
        self._hold_until = perf_counter() + HOLD_S
        self._behind = window.next - 1 - window.released >= BEHIND_BLOCKS or window.used >= window.size // BEHIND_SHARE

    # blocks with big buffers

    def _weight(self, payload: list[Any]) -> int:
        """What such a block counts for: in shared memory, all that may be held together is a share of the window; else it goes at once."""
        if not (self.near and is_leased(payload)):
            return COALESCE_BYTES
        size: int = sum(lease.nbytes for lease in payload[1:])
        return -(-size * COALESCE_BYTES * COALESCE_SHARE // self._window.size)

    def _send_in_runs(self, blocks: list[Any], heads: list[int] | None) -> None:
        """Send blocks of which some are big: those in shared memory travel together, as small ones do, and each other one alone."""
        first = 0
        if self.near and all(map(is_leased, blocks)):  # as nearly always, and quickly: what follows does the same
            message, size = big_message(self._place, self._reader, blocks, heads)
            self._send(message, len(blocks), size)
            return
        for kind, run in groupby(range(len(blocks)), lambda index: self._kind(blocks[index], index)):
            count = len(list(run))
            some, their_heads = blocks[first : first + count], heads and heads[first : first + count]
            first += count
            if their_heads and not any(their_heads):
                their_heads = None
            if kind == SMALL:
                self._send([frames.encode_data(*self._place, some, their_heads)], count, sum(map(len, some)))
            else:
                message, size = big_message(self._place, self._reader if self.near else None, some, their_heads)
                self._send(message, count, size)

    def _kind(self, payload: Any, index: int) -> int:
        if type(payload) is bytes:
            return SMALL
        return SHARED if self.near and is_leased(payload) else index

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
