"""A job's end of one output pipe: numbers blocks and coalesces them.

When blocks follow each other within `HOLD_S`, the link counts as busy: they are held back and sent
in one message. A block that comes after a longer pause is sent at once. If the job falls silent,
`Output.tick` sends what is held within `HELD_AT_MOST_S`, or within `HELD_BEHIND_S` if the consumer
lags; a job that is about to wait calls `flush`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

from fission.protocol import frames
from fission.protocol.block_times import BlockTimes
from fission.protocol.endpoint_effects import Effect, SendData
from fission.protocol.frames import Buffer
from fission.protocol.joined import encode_value, join
from fission.protocol.large_blocks import LentBuffer, add_times, big_message, is_leased, packed_message
from fission.protocol.pacing import (
    BEHIND_BLOCKS,
    BEHIND_SHARE,
    COALESCE_BLOCKS,
    COALESCE_BYTES,
    COALESCE_FAR_BYTES,
    COALESCE_SHARE,
    HELD_AT_MOST_S,
    HELD_BEHIND_S,
    HOLD_S,
)
from fission.protocol.replay_buffer import ReplayBuffer
from fission.protocol.shared_blocks import SMALLEST_BYTES
from fission.protocol.window import SendWindow

#: Kinds of blocks that share a message: small ones, large ones in shared memory whose consumer is near or far, and other large ones.
#: A block that is sent alone is a kind of its own: its index among the others.
SMALL, SHARED, FAR, LARGE = -1, -2, -3, -4


class Output(ReplayBuffer):
    """One output.

    The caller appends to ``pending`` and calls `look`, or calls `add`, which does both for any kind
    of block.

    Attributes:
        heads: heads of the pending blocks; None if all are 0.
        joins: whether the pending blocks are values to be encoded together (`joined`), not payloads.
            Only the thread that puts blocks changes it, with the lock held. Never with heads.
        packs: whether its blocks have one length and may be packed (`fission.protocol.packed`).
        lend: puts blocks of one length, one after the other, into shared memory, or returns None;
            None without shared memory.
        size: size of the pending blocks, in bytes; 0 if they are values, which are small.
        hold_until: time up to which the link counts as busy, in seconds.
        behind: whether the consumer lags so far that only full messages are sent.
        busy: whether blocks are among the effects that `after_send` has not confirmed.
        times: times of the job's blocks, if this output sends them; None otherwise.
        asks: whether the consumer was asked for the times of blocks that are made again, and has not
            answered.
        put_at: time at which the first of the pending blocks was put, for its stamp.
        blocked_s: time spent waiting for room, in seconds, without the current wait.
        blocked_since: time at which the current wait began, in seconds; 0 if the job does not wait.
    """

    def __init__(
        self,
        pipe: int,
        incarnation: int,
        window: SendWindow[list[Buffer]],
        *,
        reader: int = 0,
        repeats: bool = False,
        effects: list[Effect] | None = None,
    ) -> None:
        """Create the output; `open` sends the first message.

        Args:
            pipe: as in `ReplayBuffer`.
            incarnation: as in `ReplayBuffer`.
            window: as in `ReplayBuffer`.
            reader: number of the consumer among the readers of this job's shared memory.
            repeats: as in `ReplayBuffer`.
            effects: as in `ReplayBuffer`.
        """
        super().__init__(pipe, incarnation, window, repeats=repeats, effects=effects)
        self.blocked_s = self.blocked_since = self.put_at = 0.0
        self.times: BlockTimes | None = None
        self.asks = False
        self._reader = reader
        self.heads: list[int] | None = None
        self.joins = False
        self.packs = False
        self.lend: Callable[[list[bytes]], LentBuffer | None] | None = None
        self.size = 0
        self.hold_until = -1.0
        self.behind = False
        self._some_big = False
        self._held_since = 0.0
        self._held = False
        self.busy = False

    def add(self, payload: bytes | list[Any], head: int, now: float) -> float:
        """Put a block; return the same as `look`.

        Args:
            payload: the block, or [payload, buffer, ...], or [payload, lease, ...].
            head: head of the block, as a number.
            now: current time, in seconds.
        """
        if self.joins:
            self.encode_values()
        self.pending.append(payload)
        self.size += len(payload) if isinstance(payload, bytes) else self._weight(payload)
        self._some_big = self._some_big or type(payload) is not bytes
        if head or self.heads is not None:
            if self.heads is None:
                self.heads = [0] * (len(self.pending) - 1)
            self.heads.append(head)
        return self.look(now)

    def add_value(self, value: Any, now: float) -> float:
        """Put a value that may be joined with others; return the same as `look`.

        Args:
            value: the value, without a head; only FISSION refers to it.
            now: current time, in seconds.
        """
        if not self.joins and self.pending:
            return self.add(encode_value(value), 0, now)
        self.joins = True
        self.pending.append(value)
        return self.look(now)

    def alone(self, now: float) -> bool:
        """Whether a small block that is put now is sent alone and at once: see `send_alone`.

        It is if nothing is held back, the link is not busy and the consumer keeps up. If it is,
        `put_at` is ``now``.
        """
        if self.pending or now < self.hold_until or self.behind or self.closed:
            return False
        self.put_at = now
        return True

    def send_alone(self, payload: bytes) -> list[Buffer]:
        """Number a small block and return its message, for the caller to send before anything else.

        `add` would do the same, but slower: this runs for each block where blocks come slowly. The
        block's stamp, if it has one, is among the effects, to be performed first.
        """
        place = self.pipe, self._incarnation, self.generation, self.window.next
        message: list[Buffer] = [frames.encode_data(*place, [payload], None)]
        stamps = self.stamps
        if self.put_at >= stamps.due or stamps.coming:
            self._stamp(1)
        if self.times is not None:
            add_times(message, self.times.of_outputs(self.window.next, 1))
        self._retain(message, 1, len(payload))
        return message

    def sent_alone(self, now: float) -> None:
        """Register that the message was sent."""
        self.hold_until = now + HOLD_S

    def encode_values(self) -> None:
        """Encode the pending values one by one, so that other blocks may follow."""
        self.joins = False
        self.pending[:] = map(encode_value, self.pending)
        self.size = sum(map(len, self.pending))

    def look(self, now: float) -> float:
        """Hold or send the pending blocks, after one was added.

        Returns:
            Time at which `tick` must be called because of it; 0 if it need not be.
        """
        count = len(self.pending)
        if count == 1:
            self.put_at = now
        if 0 < count < self.allow and self.size < COALESCE_BYTES and (self.behind or now < self.hold_until):
            return self._hold(now) if count == 1 else 0.0
        self.flush()
        return 0.0

    def after_send(self, now: float) -> float:
        """Register that the effects were performed.

        Returns:
            Time at which `tick` must be called; 0 if it need not be.
        """
        if self.busy:
            self.busy, self.hold_until = False, now + HOLD_S
        # the job may have put a block meanwhile, which it assumes to be held with the others
        return self._hold(now) if self.pending else 0.0

    def blocked(self, now: float) -> None:
        """Register that the job begins to wait for room."""
        self.blocked_since = now

    def unblocked(self, now: float) -> None:
        """Register the end of the wait."""
        self.blocked_s += now - self.blocked_since
        self.blocked_since = 0.0

    def seek(self, number: int) -> None:
        """Give the next block this number; blocks in between do not exist."""
        if number - 1 != self.last_number:
            self.flush()
            self.window.skip(number)

    def tick(self, now: float) -> float:
        """Send blocks that were held too long; return the time of the next call, or infinity."""
        held, self._held = self._held, False
        self._judge()  # the consumer may have caught up
        limit = HELD_BEHIND_S if self.behind else HELD_AT_MOST_S
        if not self.pending:
            # the job itself has sent the held blocks, so it is busy: one more call is cheaper than a wake-up
            return now + limit if held else float("inf")
        due = self._held_since + limit
        if now >= due:
            self.flush()
            return float("inf")
        return due

    def _hold(self, now: float) -> float:
        self._held_since = now
        self._held = True
        return now + (HELD_BEHIND_S if self.behind else HELD_AT_MOST_S)

    def flush(self) -> None:
        """Number and send the pending blocks."""
        blocks, heads = self.pending[:], self.heads
        if not blocks:
            return
        # before the window numbers them: `seek` must not find them in both places
        del self.pending[: len(blocks)]
        self.heads, self.size = None, 0
        if self.closed:
            return
        if self.joins and len(blocks) > 1:
            payload = join(blocks)
            self._send([frames.encode_joined(*self._place, len(blocks), payload)], len(blocks), len(payload))
            return
        if self.joins:
            blocks = [encode_value(blocks[0])]
        if self._some_big:
            self._some_big = False
            self._send_in_runs(blocks, heads)
        elif self.packs and len(blocks) > 1 and heads is None and len(set(map(len, blocks))) == 1 and blocks[0]:
            self._send_blocks(blocks, len(blocks[0]))
        else:
            self._send([frames.encode_data(*self._place, blocks, heads)], len(blocks), sum(map(len, blocks)))

    def _send_blocks(self, blocks: list[bytes], size: int) -> None:
        """Send blocks of one length together."""
        length = len(blocks) * size
        lease = self.lend(blocks) if length >= SMALLEST_BYTES and self.lend is not None and self.near else None
        if lease is None:
            self._send([frames.encode_packed(*self._place, size, length, blocks)], len(blocks), length)
        else:
            self._send(packed_message(self._place, self._reader, lease, size), len(blocks), length)

    def send_packed(self, data: memoryview | LentBuffer, size: int) -> None:
        """Number and send blocks of one length, after the pending ones; see `Endpoint.put_packed`."""
        self.flush()
        count = data.nbytes // size
        if self.closed:
            return
        if isinstance(data, memoryview):
            self._send([frames.encode_packed(*self._place, size, data.nbytes, [data])], count, data.nbytes)
        else:
            self._send(packed_message(self._place, self._reader if self.near else None, data, size), count, data.nbytes)

    @property
    def _place(self) -> tuple[int, int, int, int]:
        return self.pipe, self._incarnation, self.generation, self.window.next

    def _send(self, message: list[Buffer], count: int, size: int) -> None:
        stamps = self.stamps
        if self.put_at >= stamps.due or stamps.coming:
            self._stamp(count)
        if self.times is not None:
            add_times(message, self.times.of_outputs(self.window.next, count))
        self.effects.append(SendData(self.pipe, message))
        self.busy = True
        self._retain(message, count, size)

    def _stamp(self, count: int) -> None:
        """Send the stamps of blocks that are sent next."""
        for number, origins in self.stamps.sent(self.generation, self.window.next, count, self.put_at):
            self._say_stamp(self.generation, number, origins)

    def _retain(self, message: list[Buffer], count: int, size: int) -> None:
        window = self.window
        window.add(count, size, message)
        self.allow = min(COALESCE_BLOCKS, window.room)  # as `_find_allowed` and `_judge` do: this runs for each message
        self.behind = window.next - 1 - window.released >= BEHIND_BLOCKS or window.used >= window.size // BEHIND_SHARE

    def _judge(self) -> None:
        """Find whether the consumer lags."""
        window = self.window
        self.behind = window.next - 1 - window.released >= BEHIND_BLOCKS or window.used >= window.size // BEHIND_SHARE

    # blocks with large buffers

    def _weight(self, payload: list[Any]) -> int:
        """Return the bytes that a block with large buffers counts for.

        In shared memory, the blocks held together are limited to a share of the window, because
        only descriptors are sent.
        """
        if not self.near:
            return -(-_bytes_of(payload) * COALESCE_BYTES // COALESCE_FAR_BYTES)
        if not is_leased(payload):
            return _bytes_of(payload)
        size: int = sum(lease.nbytes for lease in payload[1:])
        return -(-size * COALESCE_BYTES * COALESCE_SHARE // self.window.size)

    def _send_in_runs(self, blocks: list[Any], heads: list[int] | None) -> None:
        """Send blocks of which some are large.

        Consecutive blocks of a kind share a message, as small ones do. A large block that fills a
        message has its own.
        """
        first = 0
        if self.near and all(map(is_leased, blocks)):  # fast path for nearly all calls: the code below gives the same result
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
        leased = is_leased(payload)
        if leased and self.near:
            return SHARED
        together = _bytes_of(payload) < (COALESCE_BYTES if self.near else COALESCE_FAR_BYTES)
        return (FAR if leased else LARGE) if together else index


def _bytes_of(payload: list[Any]) -> int:
    """Return the bytes that are sent for a large block if its buffers are sent."""
    return sum(part.nbytes if hasattr(part, "nbytes") else len(part) for part in payload)
