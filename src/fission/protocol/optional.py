"""ASYNC inputs: what `run` gets from an input that it never waits for.

Every compute block takes one value (BLOCK_COUNT of them) from the buffer, oldest first. With an empty buffer it gets the last
value again if the pipe stores, else the default. A full buffer loses its oldest value, or the newest, which is the one that
has just come. Payloads are opaque here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from fission.errors import LocalProtocolError
from fission.protocol.frames import Data, End, Open
from fission.protocol.window import Arrival, Receiver


class _Default:
    def __repr__(self) -> str:
        return "DEFAULT"


#: Stands for the pipe's OPTIONAL_DEFAULT in what `OptionalInput.take` returns.
DEFAULT = _Default()


@dataclass(frozen=True, slots=True)
class OptionalSpec:
    """One ASYNC input.

    Args:
        pipe: its id.
        block_count: blocks of it that `run` gets at once, from 1.
        store: whether the last value is given again while there is no new one.
        buffer_size: most values that wait; 0 = no limit.
        delete_mode: which one is deleted when the buffer is full: "oldest" or "newest".
        feedback: whether the pipe is part of a circle of jobs, or its ends are joined through non-ASYNC pipes. Its blocks are released
            as they arrive then: a release that waits for a later compute block would wait for itself.
    """

    pipe: int
    block_count: int = 1
    store: bool = True
    buffer_size: int = 0
    delete_mode: str = "oldest"
    feedback: bool = False


class OptionalInput:
    """The buffer of one ASYNC input.

    Attributes:
        receiver: the life and numbering of its producer.
        received: blocks that were new, in all.
        dropped: values that were deleted because the buffer was full.
        releasable: the sqn up to which its blocks may be released. A plain number, because another thread reads it.
    """

    def __init__(self, spec: OptionalSpec) -> None:
        if spec.delete_mode not in ("oldest", "newest") or spec.block_count < 1 or spec.buffer_size < 0:
            raise LocalProtocolError(f"an ASYNC input cannot be like that: {spec}")
        self.spec = spec
        self.receiver = Receiver()
        self._holds = not spec.feedback
        self.received = 0
        self.dropped = 0
        self._buffer: deque[tuple[int, Any, int]] = deque()
        self._last: tuple[Any, Any] = (DEFAULT, 0) if spec.block_count == 1 else ([DEFAULT] * spec.block_count, [0] * spec.block_count)
        self._default = self._last
        self.releasable = 0

    def open(self, message: Open) -> Arrival:
        """A producer's first word; a new generation starts the numbering again and keeps the values."""
        arrival = self.receiver.open(message.incarnation, message.generation, message.mark)
        if arrival is Arrival.NEW_GENERATION:
            self._buffer = deque((0, payload, head) for _, payload, head in self._buffer)
        self._find_releasable()
        return arrival

    def data(self, message: Data) -> int:
        """Blocks have arrived; return how many are new."""
        had = self.receiver.accept(message.incarnation, message.generation, message.sqn, len(message.payloads))
        limit = max(self.spec.buffer_size, self.spec.block_count) if self.spec.buffer_size else 0
        for index in range(had, len(message.payloads)):
            self.received += 1
            if limit and len(self._buffer) >= limit:
                self.dropped += 1
                if self.spec.delete_mode == "newest":
                    continue
                self._buffer.popleft()
            self._buffer.append((message.sqn + index, message.payloads[index], message.heads[index] if message.heads else 0))
        self._find_releasable()
        return len(message.payloads) - had

    def end(self, message: End) -> bool:
        """The pipe has ended; return whether that counts. What is buffered can still be taken."""
        counts = self.receiver.end(message.incarnation, message.generation, message.last, final=message.final, more=message.more)
        self._find_releasable()
        return counts

    def take(self) -> tuple[Any, Any]:
        """Return (payload, head) for the next compute block, `DEFAULT` standing for the default; lists where BLOCK_COUNT > 1."""
        count = self.spec.block_count
        if len(self._buffer) < count:
            return self._last if self.spec.store else self._default
        taken = [self._buffer.popleft() for _ in range(count)]
        self._find_releasable()
        self._last = taken[0][1:] if count == 1 else ([one[1] for one in taken], [one[2] for one in taken])
        return self._last

    @property
    def waiting(self) -> int:
        """Values in the buffer."""
        return len(self._buffer)

    @property
    def finished(self) -> bool:
        """Whether the pipe has ended and no whole group of BLOCK_COUNT values is left."""
        return self.receiver.last is not None and not self.receiver.more and len(self._buffer) < self.spec.block_count

    def hold(self, holds: bool) -> None:
        """Whether blocks are released only when they are taken; never where the pipe is feedback."""
        self._holds = holds and not self.spec.feedback
        self._find_releasable()

    def _find_releasable(self) -> None:
        if not self._holds or not self._buffer:
            self.releasable = self.receiver.high
        else:
            self.releasable = max(0, self._buffer[0][0] - 1)
