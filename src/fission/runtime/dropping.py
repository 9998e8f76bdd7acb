"""An output whose consumer has a MAX_QUEUE."""

from __future__ import annotations

from collections import deque
from typing import Any

from fission.protocol.frames import Buffer, Release
from fission.protocol.window import SendWindow
from fission.runtime.output import Output


class DroppingOutput(Output):
    """An output whose consumer has a MAX_QUEUE: the producer never waits; when too many blocks wait, the oldest is dropped.

    At most ``max_queue`` blocks (rounded up to two compute blocks) are under way; as many more wait here, unsent.
    """

    def __init__(self, *args: Any, max_queue: int, needed: int, **keywords: Any) -> None:
        """Args: max_queue: of the consumer, in blocks. needed: its BLOCK_COUNT. The rest as `Output`."""
        super().__init__(*args, **keywords)
        self._limit = max(max_queue, 2 * needed)
        self._keep = max(max_queue, needed)
        self._waiting: deque[tuple[int, bytes | list[Any], int]] = deque()
        self._number = self._window.next
        self._lost = 0

    def put(self, payload: bytes | list[Any], head: int = 0, *, wait: bool = True) -> None:
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

    def begin(self, number: int) -> None:
        """This life begins with block ``number``."""
        super().begin(number)
        self._number = max(self._number, number)

    def restart(self, generation: int, window: SendWindow[list[Buffer]]) -> None:
        """Number from 1 again; what waits is sent first, as the old numbering has it."""
        with self._lock:
            self._send_waiting(everything=True)
        super().restart(generation, window)
        self._number = window.next

    def wait_for_room(self) -> None:
        """It never waits."""

    def seek(self, number: int) -> None:
        """The next block put will have this number; those in between do not exist."""
        self._number = max(self._number, number)

    def flush(self) -> None:
        """Nothing is held back that may be sent."""

    def end(self, *, more: bool = False) -> None:
        """Send all that waits, whatever the limit, and tell the consumer that nothing follows."""
        with self._lock:
            self._send_waiting(everything=True)
            if self._number > self._window.next:
                self._window.skip(self._number)
        super().end(more=more)

    @property
    def _last_number(self) -> int:
        return self._number - 1

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
            self._pending, self._some_big = [payload], type(payload) is not bytes
            self._heads = [head] if head else None
            self._flush()
