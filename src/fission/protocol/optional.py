"""ASYNC inputs: what `run` gets from an input that it never waits for.

Every compute block takes one value (BLOCK_COUNT of them) from the buffer, oldest first. With an empty buffer it gets the last
value again if the pipe stores, else the default. A full buffer loses its oldest value, or the newest, which is the one that
has just come. Payloads are opaque here.

A pipe that stores *keeps* the group that it gave last: it is not released before the next one is taken, so that the producer's window
has it for a new life of this job. What the window cannot keep, because the pipe has ended, is for the client to keep (`to_keep`).
With `feedback` a release must not wait for `run`: such a pipe keeps the *newest* group that has come, whether it was given or not, and when
it has ended, that goes to the client before it is released, although older groups still wait here.
A new life of the producer has nothing of what the older ones sent before it has come to it again: the client keeps it until then, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
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
            as they arrive then: a release that waits for a later compute block would wait for itself. If it stores, the newest
            group is released when the next one has arrived, or somebody else keeps it.
        again: whether this is not the job's first life. Its first group may be the one that was given last, which does not count
            against ``buffer_size``.
        kept: (payloads, heads) of the group that was given last by an earlier life, if its producer has it no more.
    """

    pipe: int
    block_count: int = 1
    store: bool = True
    buffer_size: int = 0
    delete_mode: str = "oldest"
    feedback: bool = False
    again: bool = False
    kept: tuple[tuple[Any, ...], tuple[int, ...]] | None = None


class OptionalInput:
    """The buffer of one ASYNC input.

    Attributes:
        receiver: the life and numbering of its producer.
        received: blocks that were new, in all.
        dropped: values that were deleted because the buffer was full.
        settled: whether everything that its producer had for a new life of this job has arrived: it repeats its first word behind that.
    """

    def __init__(self, spec: OptionalSpec) -> None:
        if spec.delete_mode not in ("oldest", "newest") or spec.block_count < 1 or spec.buffer_size < 0:
            raise LocalProtocolError(f"an ASYNC input cannot be like that: {spec}")
        self.spec = spec
        self.receiver = Receiver()
        self._holds = True
        self.received = 0
        self.dropped = 0
        self.settled = not (spec.again and spec.store)
        self._buffer: deque[tuple[int, Any, int]] = deque()
        self._default = self._given([DEFAULT] * spec.block_count, [0] * spec.block_count)
        self._last = self._default if spec.kept is None else self._given(*map(list, spec.kept))
        # with `store`, what a new life must be able to have: the first number of the group that was taken last (0: none, or of an
        # older generation); with feedback the newest group, whether it was taken or not
        self._taken = 0
        self._newest: deque[tuple[int, Any, int]] = deque(maxlen=spec.block_count)
        self._first = spec.again and spec.store
        # what must not get lost, and which of those somebody else keeps: each is set by one thread only
        self._group: tuple[list[Any], list[int]] | None = None
        self._elsewhere: tuple[list[Any], list[int]] | None = None
        # plain numbers, because another thread reads them: what may be released while the group above is kept here, and when it is not
        self._upto = self._free = 0
        self._floor = 0  # with feedback: what could be released before the newest block came, whose group may begin in that
        self._before = 0  # up to this number, blocks came from older lives of the producer
        self._pressed = False

    def _given(self, payloads: list[Any], heads: list[Any]) -> tuple[Any, Any]:
        return (payloads[0], heads[0]) if self.spec.block_count == 1 else (payloads, heads)

    def announce(self, incarnation: int) -> None:
        """Any thread: the producer has this life now; older ones do not count any more."""
        if incarnation > self.receiver.incarnation:
            self.receiver.announce(incarnation)
            self._before = self.receiver.high

    @staticmethod
    def _parts(blocks: Iterable[tuple[int, Any, int]]) -> tuple[list[Any], list[int]]:
        return [one[1] for one in blocks], [one[2] for one in blocks]

    def open(self, message: Open) -> Arrival:
        """A producer's first word; a new generation starts the numbering again and keeps the values."""
        life, had = self.receiver.incarnation, self.receiver.high
        arrival = self.receiver.open(message.incarnation, message.generation, message.mark)
        if self.receiver.incarnation > life:
            self._before = had
        if arrival is Arrival.NEW_GENERATION:
            self._before = self._floor = 0
            self._buffer = deque((0, payload, head) for _, payload, head in self._buffer)
            self._taken = 0
            self._newest.clear()
        if arrival is Arrival.KNOWN and self.receiver.current(message.incarnation, message.generation):
            self.settled = self._pressed = True
        self._find_releasable()
        return arrival

    def data(self, message: Data) -> int:
        """Blocks have arrived; return how many are new."""
        had = self.receiver.accept(message.incarnation, message.generation, message.sqn, len(message.payloads))
        limit = max(self.spec.buffer_size, self.spec.block_count) if self.spec.buffer_size else 0
        if limit and self._first:
            limit += self.spec.block_count
        if self.spec.feedback:
            self._floor = self.releasable
        for index in range(had, len(message.payloads)):
            self.received += 1
            block = message.sqn + index, message.payloads[index], message.heads[index] if message.heads else 0
            self._newest.append(block)
            if limit and len(self._buffer) >= limit:
                self.dropped += 1
                if self.spec.delete_mode == "newest":
                    continue
                self._buffer.popleft()
            self._buffer.append(block)
        if self.spec.feedback and self.spec.store and had < len(message.payloads) and len(self._newest) == self.spec.block_count:
            self._group = self._parts(self._newest)
        self._find_releasable()
        return len(message.payloads) - had

    def end(self, message: End) -> bool:
        """The pipe has ended; return whether that counts. What is buffered can still be taken."""
        counts = self.receiver.end(message.incarnation, message.generation, message.last, final=message.final, more=message.more)
        self.settled = self.settled or counts
        self._find_releasable()
        return counts

    def take(self) -> tuple[Any, Any]:
        """Return (payload, head) for the next compute block, `DEFAULT` standing for the default; lists where BLOCK_COUNT > 1."""
        count = self.spec.block_count
        if len(self._buffer) < count:
            return self._last if self.spec.store else self._default
        taken = [self._buffer.popleft() for _ in range(count)]
        self._taken, self._first, self._pressed = taken[0][0], False, False
        group = self._parts(taken)
        self._last = self._given(*group)
        if not self.spec.feedback:
            self._group = group if self.spec.store else None
        self._find_releasable()
        return self._last

    @property
    def waiting(self) -> int:
        """Values in the buffer."""
        return len(self._buffer)

    @property
    def finished(self) -> bool:
        """Whether the pipe has ended and no whole group of BLOCK_COUNT values is left."""
        return self.receiver.last is not None and not self.receiver.more and len(self._buffer) < self.spec.block_count

    @property
    def to_keep(self) -> tuple[list[Any], list[int]] | None:
        """(payloads, heads) of the group that is kept, if its producer cannot keep it any more and nobody else does (`kept`).

        It cannot, either, where its window is full of blocks that were deleted here, and says so again and again.
        """
        if self.spec.feedback:
            first = self._newest[0][0] if len(self._newest) == self.spec.block_count else 0
            gone = self.receiver.last is not None
        else:
            first = self._taken
            gone = self.finished or (self._pressed and len(self._buffer) < self.spec.block_count)
        group = self._group
        return group if (gone or first <= self._before or not self._holds) and group is not self._elsewhere else None

    @property
    def releasable(self) -> int:
        """Any thread: the sqn up to which its blocks may be released."""
        group = self._group
        return self._free if group is None or group is self._elsewhere else self._upto

    @property
    def over(self) -> bool:
        """Whether it is `finished`, and its producer need not keep what it gave last."""
        return self.finished and self.to_keep is None

    def kept(self, group: tuple[list[Any], list[int]]) -> None:
        """Control thread, or before it has started: ``group``, which was `to_keep`, is kept by somebody else."""
        if self._group is group:
            self._elsewhere = group

    def hold(self, holds: bool) -> None:
        """Whether anything is kept from being released; what is stored is, until somebody else keeps it, in any case."""
        self._holds = holds
        self._find_releasable()

    def _find_releasable(self) -> None:
        high = self.receiver.high
        if not self.spec.feedback:
            base = self._buffer[0][0] - 1 if self._buffer else high
            upto = min(base, self._taken - 1) if self._taken else base
            base = base if self._holds else high
        else:
            upto = base = high
            if self._newest and self.spec.store:
                upto = max(self._newest[0][0] - 1, self._floor)
                # not beyond the end: the producer may wait for the release before this job can take anything
                base = upto if len(self._newest) < self.spec.block_count and self.receiver.last is None else high
        self._free = max(0, base)
        self._upto = max(0, upto)
