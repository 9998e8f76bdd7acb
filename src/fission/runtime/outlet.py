"""A job's end of one output pipe: numbers blocks, coalesces them, keeps them until they are released, waits for room.

When blocks follow each other within `HOLD_S`, the link counts as busy: they are held back and travel together. A block that
comes after a longer pause is sent at once. What is held when the job falls silent is sent by the control thread within
`HELD_AT_MOST_S`; a job that knows it is about to wait calls `flush`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

from fission.ports import Links
from fission.protocol import frames
from fission.protocol.frames import CLOSED, Buffer, End, Open, Release
from fission.protocol.window import SendWindow

#: Blocks closer together than this are coalesced. Measured: a send costs about 2 us, so at most 2 % of a busy link's time.
HOLD_S = 100e-6
#: Where so many blocks are under way, the consumer is behind and nothing is won by sending soon: only full messages are sent
#: then. Arbitrary: two full messages.
BEHIND_BLOCKS = 512
#: Longest time that a block is held while its job does something else. Arbitrary: below what a person or a scheduler notices.
HELD_AT_MOST_S = 1e-3
#: A message is sent when it has so many blocks or bytes; arbitrary, where the gain per further block gets below 1 %.
COALESCE_BLOCKS = 256
COALESCE_BYTES = 64 << 10
#: Seconds between looks at the inputs while waiting for room in a circle of jobs; arbitrary.
CIRCLE_POLL_S = 0.02


class Outlet:
    """One output. `put`, `seek`, `flush`, `end` belong to the job's thread; `on_release`, `tick` to its control thread.

    Attributes:
        closed: the consumer needs nothing any more; what is put is dropped.
        sent: blocks that were numbered, in all.
        blocked_s: seconds spent waiting for room.
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
    ) -> None:
        """Prepare; `open` sends the first message.

        Args:
            pipe: its id.
            incarnation: of this job.
            links: where messages go.
            window: empty; its `next` is the first number.
            arm: called with a moment (`time.perf_counter`) at which `tick` is to be called at the latest.
            pump: called from time to time while `put` waits for room, where the job's inputs must not wait meanwhile.
        """
        self.pipe = pipe
        self.closed = False
        self.blocked_s = 0.0
        self._incarnation = incarnation
        self._generation = 0
        self._links = links
        self._window = window
        self._arm = arm
        self._pump = pump
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pending: list[bytes] = []
        self._heads: list[int] | None = None
        self._size = 0
        self._sent_at = -1.0
        self._held_since = 0.0
        self._hold = HOLD_S
        self._allow = 1
        self._ended = False
        self.taken = 0
        self._first = window.next

    def open(self) -> None:
        """Tell the consumer where numbering begins. Once, before the first `put`."""
        with self._lock:
            mark = Open(self.pipe, self._incarnation, self._generation, self._window.released)
            self._links.send(self.pipe, [frames.encode_open(mark)])
            self._allow = max(1, min(COALESCE_BLOCKS, self._window.room))

    def put(self, payload: bytes | list[Buffer], head: int = 0) -> None:
        """Number a block and send it, now or with its followers. Blocks while the window is full.

        Args:
            payload: the block, or [payload, buffer, ...].
            head: its head as a number.
        """
        with self._lock:
            if self.closed:
                return
            if type(payload) is not bytes:
                self._flush()
                self._put_big(payload, head)  # type: ignore[arg-type]  # bytes were excluded above; type() is the fast test
            else:
                pending = self._pending
                pending.append(payload)
                self._size += len(payload)
                if head or self._heads is not None:
                    self._add_head(head)
                if len(pending) < self._allow and self._size < COALESCE_BYTES:
                    now = perf_counter()
                    if now - self._sent_at < self._hold:
                        if len(pending) == 1:
                            self._held_since = now
                            self._arm(now + HELD_AT_MOST_S)
                        return
                self._flush()
            if not self._window.room:
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

    def end(self) -> None:
        """Send what is held and tell the consumer that nothing follows. Calling it twice is right."""
        with self._lock:
            if self._ended:
                return
            self._flush()
            self._ended = True
            if not self.closed:
                end = End(self.pipe, self._incarnation, self._generation, self._window.next - 1)
                self._links.send(self.pipe, [frames.encode_end(end)])

    def wait_released(self) -> None:
        """Block until every block was released."""
        with self._changed:
            self._flush()
            while not self.closed and len(self._window):
                self._changed.wait()

    def wait_closed(self) -> None:
        """Block until the consumer needs nothing of this pipe any more, if it was told of an end: the end has reached it then."""
        with self._changed:
            while self._ended and not self.closed:
                self._changed.wait()

    @property
    def released(self) -> int:
        """The number up to which blocks were released (`CLOSED`: the consumer needs none)."""
        return self._window.released

    @property
    def queue(self) -> int:
        """Blocks that are not released."""
        return len(self._window) + len(self._pending)

    @property
    def sent(self) -> int:
        """Blocks that were numbered, in all."""
        return self._window.next - self._first + len(self._pending)

    @property
    def dropped(self) -> int:
        """Blocks that were given up because too many waited."""
        return self._window.dropped

    def on_release(self, message: Release) -> None:
        """The consumer has released something, or says how far it has taken blocks."""
        if message.generation != self._generation:
            return
        with self._changed:
            self.taken = max(self.taken, message.taken)
            self._window.release(message.released)
            if message.released >= CLOSED:
                self.closed = True
                self._drop_pending()
            self._allow = max(1, min(COALESCE_BLOCKS, self._window.room))
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

    def _add_head(self, head: int) -> None:
        if self._heads is None:
            self._heads = [0] * (len(self._pending) - 1)
        self._heads.append(head)

    def _drop_pending(self) -> None:
        self._pending, self._heads, self._size = [], None, 0

    def _flush(self) -> None:
        pending = self._pending
        if not pending:
            return
        window = self._window
        message: list[Buffer] = [frames.encode_data(self.pipe, self._incarnation, self._generation, window.next, pending, self._heads)]
        window.add(len(pending), self._size, message)
        self._drop_pending()
        self._links.send(self.pipe, message)
        self._sent_at = perf_counter()
        self._allow = max(1, min(COALESCE_BLOCKS, window.room))
        self._hold = HOLD_S if len(window) < BEHIND_BLOCKS else HELD_AT_MOST_S

    def _put_big(self, parts: list[Buffer], head: int) -> None:
        window = self._window
        message = frames.encode_big(self.pipe, self._incarnation, self._generation, window.next, parts, head)
        window.add(1, sum(memoryview(part).nbytes for part in parts), message)
        self._links.send(self.pipe, message)
        self._sent_at = perf_counter()
        self._allow = max(1, min(COALESCE_BLOCKS, window.room))

    def _wait_for_room(self) -> None:
        started = perf_counter()
        while not (self._window.room or self.closed):
            if self._pump is None:
                self._changed.wait()
            elif not self._changed.wait(CIRCLE_POLL_S):
                self._lock.release()
                try:
                    self._pump()
                finally:
                    self._lock.acquire()
        self.blocked_s += perf_counter() - started


class DroppingOutlet(Outlet):
    """An output whose consumer has a MAX_QUEUE: the producer never waits; when too many blocks wait, the oldest is dropped.

    At most ``max_queue`` blocks (rounded up to two compute blocks) are under way; as many more wait here, unsent.
    """

    def __init__(self, *args: Any, max_queue: int, needed: int, **keywords: Any) -> None:
        """Args: max_queue: of the consumer, in blocks. needed: its BLOCK_COUNT. The rest as `Outlet`."""
        super().__init__(*args, **keywords)
        self._limit = max(max_queue, 2 * needed)
        self._keep = max(max_queue, needed)
        self._waiting: deque[tuple[int, bytes | list[Buffer], int]] = deque()
        self._number = self._window.next
        self._lost = 0

    def put(self, payload: bytes | list[Buffer], head: int = 0) -> None:
        """Number a block and send it if its consumer keeps up. Never blocks."""
        with self._lock:
            if self.closed:
                return
            self._waiting.append((self._number, payload, head))
            self._number += 1
            if len(self._waiting) > self._keep:
                self._send_waiting()
            while len(self._waiting) > self._keep:
                self._waiting.popleft()
                self._lost += 1
            self._send_waiting()

    def seek(self, number: int) -> None:
        """The next block put will have this number; those in between do not exist."""
        self._number = max(self._number, number)

    def flush(self) -> None:
        """Nothing is held back that may be sent."""

    def end(self) -> None:
        """Send all that waits, whatever the limit, and tell the consumer that nothing follows."""
        with self._lock:
            self._send_waiting(everything=True)
            if self._number > self._window.next:
                self._window.skip(self._number)
        super().end()

    @property
    def sent(self) -> int:
        """Blocks that were numbered, in all."""
        return self._number - self._first

    @property
    def dropped(self) -> int:
        """Blocks that were given up because too many waited."""
        return self._lost

    @property
    def queue(self) -> int:
        """Blocks that are not released."""
        return super().queue + len(self._waiting)

    def on_release(self, message: Release) -> None:
        """The consumer goes on: send what waits for it."""
        super().on_release(message)
        with self._lock:
            if self.closed:
                self._waiting.clear()
            self._send_waiting()

    def _send_waiting(self, *, everything: bool = False) -> None:
        window = self._window
        while self._waiting and (everything or window.next - 1 - self.taken < self._limit):
            number, payload, head = self._waiting.popleft()
            if number > window.next:
                window.skip(number)
            if type(payload) is not bytes:
                self._put_big(payload, head)  # type: ignore[arg-type]  # as in put
                continue
            self._pending, self._size = [payload], len(payload)
            self._heads = [head] if head else None
            self._flush()
