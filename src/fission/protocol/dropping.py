"""Output whose consumer has a MAX_QUEUE."""

from __future__ import annotations

from collections import deque
from typing import Any

from fission.protocol.frames import Buffer
from fission.protocol.link_messages import Release
from fission.protocol.output import Output
from fission.protocol.window import SendWindow


class DroppingOutput(Output):
    """Output whose consumer has a MAX_QUEUE.

    The producer never waits; when too many blocks wait, the oldest is dropped. At most
    ``max_queue`` blocks, but at least two compute blocks, are in flight. About as many more wait
    here, unsent.
    """

    def __init__(self, *args: Any, max_queue: int, needed: int, **keywords: Any) -> None:
        """Create the output; `open` sends the first message.

        Args:
            args: as in `Output`.
            max_queue: MAX_QUEUE of the consumer, in blocks.
            needed: BLOCK_COUNT of the consumer.
            keywords: as in `Output`.
        """
        super().__init__(*args, **keywords)
        self._limit = max(max_queue, 2 * needed)
        self._keep = max(max_queue, needed)
        self._waiting: deque[tuple[int, bytes | list[Any], int]] = deque()
        self._number = self.window.next
        self._lost = 0

    def add(self, payload: bytes | list[Any], head: int, now: float) -> float:
        """Number a block and send it if the consumer keeps up; arguments as in `Output.add`."""
        if self.closed:
            return 0.0
        self._waiting.append((self._number, payload, head))
        self._number += 1
        self.put_at = now
        if len(self._waiting) > self._keep:
            self._send_waiting()
        while len(self._waiting) > self._keep:
            self._waiting.popleft()
            self._lost += 1
        self._send_waiting()
        return 0.0

    def begin(self, number: int) -> None:
        """Begin this incarnation with block ``number``."""
        super().begin(number)
        self._number = max(self._number, number)

    def restart(self, generation: int, window: SendWindow[list[Buffer]]) -> None:
        """Number from 1 again, after sending the waiting blocks with their old numbers."""
        self._send_waiting(everything=True)
        super().restart(generation, window)
        self._number = window.next

    @property
    def may_continue(self) -> bool:
        """Always true: the producer never waits."""
        return True

    def seek(self, number: int) -> None:
        """Give the next block this number; blocks in between do not exist."""
        self._number = max(self._number, number)

    def end(self, *, more: bool = False) -> None:
        """Send all waiting blocks, regardless of the limit, and notify the consumer of the end."""
        if self.ended and self._more == more:
            return
        self._send_waiting(everything=True)
        if self._number > self.window.next:
            self.window.skip(self._number)
        super().end(more=more)

    @property
    def last_number(self) -> int:
        """Number of the last block that was put."""
        return self._number - 1

    @property
    def dropped(self) -> int:
        """Number of blocks dropped because too many waited."""
        return self._lost

    @property
    def queue(self) -> int:
        """Number of unreleased blocks."""
        return super().queue + len(self._waiting)

    def on_release(self, message: Release) -> None:
        """Send waiting blocks, after the consumer has taken or released some."""
        super().on_release(message)
        if self.closed:
            self._waiting.clear()
        self._send_waiting()

    def _send_waiting(self, *, everything: bool = False) -> None:
        window = self.window
        while self._waiting and (everything or window.next - 1 - self.taken < self._limit):
            number, payload, head = self._waiting.popleft()
            if number > window.next:
                window.skip(number)
            self.pending.append(payload)
            self._some_big = type(payload) is not bytes
            self.heads = [head] if head else None
            self.flush()
