"""A job's end of one output pipe: numbers blocks and coalesces them.

When blocks follow each other within `HOLD_S`, the link counts as busy: they are held back and travel together. A block that
comes after a longer pause is sent at once. What is held when the job falls silent is sent by `Output.tick` within `HELD_AT_MOST_S`; a
job that is about to wait calls `flush`.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from fission.protocol import frames
from fission.protocol.frames import Buffer
from fission.protocol.large_blocks import big_message, is_leased
from fission.protocol.pacing import (
    BEHIND_BLOCKS,
    BEHIND_SHARE,
    COALESCE_BYTES,
    COALESCE_SHARE,
    HELD_AT_MOST_S,
    HOLD_S,
)
from fission.protocol.replay_buffer import ReplayBuffer
from fission.protocol.window import SendWindow

#: Kinds of blocks that travel together; one that travels alone is a kind of its own, its place among the others.
SMALL, SHARED = -1, -2


class Output(ReplayBuffer):
    """One output. The caller appends to ``pending`` and calls `look`, or calls `add`, which does both for any kind of block.

    Attributes:
        heads: of what is pending; None: all are 0.
        size: bytes that are pending.
        hold_until: the moment up to which the link counts as busy.
        behind: whether the consumer lags so much that only full messages are sent.
        blocked_s: seconds spent waiting for room, without the current wait.
        blocked_since: the moment at which the current wait began; 0: there is none.
    """

    def __init__(self, pipe: int, incarnation: int, window: SendWindow[list[Buffer]], *, reader: int = 0, repeats: bool = False) -> None:
        """Prepare; `open` sends the first message.

        Args:
            pipe: as `ReplayBuffer`.
            incarnation: the same.
            window: the same.
            reader: number of its consumer among the readers of this job's shared memory.
            repeats: as `ReplayBuffer`.
        """
        super().__init__(pipe, incarnation, window, repeats=repeats)
        self.blocked_s = self.blocked_since = 0.0
        self._reader = reader
        self.heads: list[int] | None = None
        self.size = 0
        self.hold_until = -1.0
        self.behind = False
        self._some_big = False
        self._held_since = 0.0
        self._held = False
        self._busy = False  # there are blocks in what is outgoing

    def add(self, payload: bytes | list[Any], head: int, now: float) -> float:
        """Put a block; return as `look`.

        Args:
            payload: the block, or [payload, buffer, ...], or [payload, lease, ...].
            head: its head as a number.
            now: the time.
        """
        self.pending.append(payload)
        self.size += len(payload) if isinstance(payload, bytes) else self._weight(payload)
        self._some_big = self._some_big or type(payload) is not bytes
        if head or self.heads is not None:
            if self.heads is None:
                self.heads = [0] * (len(self.pending) - 1)
            self.heads.append(head)
        return self.look(now)

    def look(self, now: float) -> float:
        """More is pending: hold it, or send it. Return the moment at which `tick` is to be called because of that; 0: none."""
        count = len(self.pending)
        if 0 < count < self.allow and self.size < COALESCE_BYTES and (self.behind or now < self.hold_until):
            return self._hold(now) if count == 1 else 0.0
        self.flush()
        return 0.0

    def after_send(self, now: float) -> float:
        """What was outgoing was sent. Return the moment at which `tick` is to be called; 0: none."""
        if self._busy:
            self._busy, self.hold_until = False, now + HOLD_S
        # the job may have put a block meanwhile, in the belief that it is held with the others
        return self._hold(now) if self.pending else 0.0

    def blocked(self, now: float) -> None:
        """The job begins to wait for room."""
        self.blocked_since = now

    def unblocked(self, now: float) -> None:
        """The wait has ended."""
        self.blocked_s += now - self.blocked_since
        self.blocked_since = 0.0

    def seek(self, number: int) -> None:
        """The next block put will have this number; those in between do not exist."""
        if number - 1 != self.last_number:
            self.flush()
            self.window.skip(number)

    def tick(self, now: float) -> float:
        """Send what was held too long; return the moment of the next look, infinity if there is none."""
        held, self._held = self._held, False
        if not self.pending:
            # what was held since the last look was sent by the job itself, which is busy then: one more look is cheaper than to be woken up
            return now + HELD_AT_MOST_S if held else float("inf")
        due = self._held_since + HELD_AT_MOST_S
        if now >= due:
            self.flush()
            return float("inf")
        return due

    def _hold(self, now: float) -> float:
        self._held_since = now
        self._held = True
        return now + HELD_AT_MOST_S

    def flush(self) -> None:
        """Number and send what is pending."""
        blocks, heads = self.pending[:], self.heads
        if not blocks:
            return
        # before the window numbers them: `seek` must not meet them in both places
        del self.pending[: len(blocks)]
        self.heads, self.size = None, 0
        if self.closed:
            return
        if self._some_big:
            self._some_big = False
            self._send_in_runs(blocks, heads)
        else:
            place = self.pipe, self._incarnation, self.generation, self.window.next
            self._send([frames.encode_data(*place, blocks, heads)], len(blocks), sum(map(len, blocks)))

    @property
    def _place(self) -> tuple[int, int, int, int]:
        return self.pipe, self._incarnation, self.generation, self.window.next

    def _send(self, message: list[Buffer], count: int, size: int) -> None:
        self.outgoing.append(message)
        self._busy = True
        window = self.window
        window.add(count, size, message)
        self._find_allowed()
        self.behind = window.next - 1 - window.released >= BEHIND_BLOCKS or window.used >= window.size // BEHIND_SHARE

    # blocks with big buffers

    def _weight(self, payload: list[Any]) -> int:
        """What such a block counts for: in shared memory, all that may be held together is a share of the window; else it goes at once."""
        if not (self.near and is_leased(payload)):
            return COALESCE_BYTES
        size: int = sum(lease.nbytes for lease in payload[1:])
        return -(-size * COALESCE_BYTES * COALESCE_SHARE // self.window.size)

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
