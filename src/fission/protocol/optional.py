"""ASYNC inputs: what `run` gets from an input that it never waits for.

Every compute block takes one value (BLOCK_COUNT of them) from the buffer, oldest first. With an
empty buffer it gets the last value again if the pipe stores, else the default. A full buffer drops
its oldest value, or the newest, which is the one that has just arrived. Payloads are opaque here.

A pipe that stores *retains* the group that it delivered last: the group is not released before the
next one is taken, so that the producer's window can replay it to a new incarnation of this job. If
the window cannot keep it, because the pipe has ended, the client does (`to_keep`).

With `feedback`, a release must not wait for `run`. Such a pipe retains the *newest* group that has
arrived, whether it was delivered or not. When the pipe has ended, that group goes to the client
before it is released, although older groups still wait here.

A new incarnation of the producer does not have the blocks of older incarnations until it has
produced them again. Until then the client keeps the group, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fission.errors import LocalProtocolError
from fission.protocol.link_messages import Data, End, Open
from fission.protocol.window import Arrival, Receiver


class _Default:
    def __repr__(self) -> str:
        return "DEFAULT"


#: Placeholder for the pipe's OPTIONAL_DEFAULT in what `OptionalInput.take` returns.
DEFAULT = _Default()


@dataclass(frozen=True, slots=True)
class OptionalSpec:
    """One ASYNC input.

    Args:
        pipe: id of the pipe.
        block_count: number of blocks that `run` gets at once, from 1.
        store: whether the last value is delivered again while there is no new one.
        buffer_size: maximum number of waiting values; 0 for no limit.
        delete_mode: value to delete when the buffer is full: "oldest" or "newest".
        feedback: whether the pipe is part of a cycle of jobs, or its ends are connected through
            non-ASYNC pipes. If so, blocks are released as they arrive: a release that waits for a
            later compute block would wait for itself. If the pipe stores, the newest group is
            released when the next one has arrived or the client keeps it.
        again: whether this is a later incarnation of the job. Its first group may be the one that
            was delivered last, which does not count against ``buffer_size``.
        kept: (payloads, heads) of the group that an earlier incarnation delivered last, if its
            producer no longer has it.
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
        receiver: incarnation and numbering of the producer.
        received: number of new blocks in all.
        dropped: number of values deleted because the buffer was full.
        settled: whether everything that the producer replays to a new incarnation of this job has
            arrived; the producer repeats its `Open` after it.
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
        # with `store`, what a new incarnation must be able to get: the first number of the group that was taken last (0: none, or of
        # an older generation); with feedback the newest group, whether it was taken or not
        self._taken = 0
        self._newest: deque[tuple[int, Any, int]] = deque(maxlen=spec.block_count)
        self._first = spec.again and spec.store
        # the group that must not get lost, and the one that the client keeps: each is set by one thread only
        self._group: tuple[list[Any], list[int]] | None = None
        self._elsewhere: tuple[list[Any], list[int]] | None = None
        # plain numbers, because another thread reads them: what may be released while the group above is retained here, and otherwise
        self._upto = self._free = 0
        self._floor = 0  # with feedback: what could be released before the newest message came; the newest group may begin in that
        self._before = 0  # blocks up to this number came from older incarnations of the producer
        self._pressed = False

    def _given(self, payloads: list[Any], heads: list[Any]) -> tuple[Any, Any]:
        return (payloads[0], heads[0]) if self.spec.block_count == 1 else (payloads, heads)

    def announce(self, incarnation: int) -> None:
        """Register a new incarnation of the producer; older ones no longer count. Any thread."""
        if incarnation > self.receiver.incarnation:
            self.receiver.announce(incarnation)
            self._before = self.receiver.high

    @staticmethod
    def _parts(blocks: Iterable[tuple[int, Any, int]]) -> tuple[list[Any], list[int]]:
        return [one[1] for one in blocks], [one[2] for one in blocks]

    def open(self, message: Open) -> Arrival:
        """Process the `Open` of a producer.

        A new generation restarts the numbering; the buffered values stay.
        """
        incarnation, had = self.receiver.incarnation, self.receiver.high
        arrival = self.receiver.open(message.incarnation, message.generation, message.mark)
        if self.receiver.incarnation > incarnation:
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
        """Accept the blocks of a message and return how many are new."""
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
        """Process the end of the pipe and return whether it counts.

        Buffered values can still be taken.
        """
        counts = self.receiver.end(message.incarnation, message.generation, message.last, final=message.final, more=message.more)
        self.settled = self.settled or counts
        self._find_releasable()
        return counts

    def take(self) -> tuple[Any, Any]:
        """Return (payload, head) for the next compute block; lists if BLOCK_COUNT > 1.

        `DEFAULT` stands for the default.
        """
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
        """Number of values in the buffer."""
        return len(self._buffer)

    @property
    def finished(self) -> bool:
        """Whether the pipe has ended and no whole group of BLOCK_COUNT values is left."""
        return self.receiver.last is not None and not self.receiver.more and len(self._buffer) < self.spec.block_count

    @property
    def to_keep(self) -> tuple[list[Any], list[int]] | None:
        """The retained group, as (payloads, heads), if the client must keep it; else None.

        The client must keep it if the producer no longer can and the client does not yet (`kept`).
        A producer whose window is full of blocks that were deleted here cannot keep it either; it
        repeats its `Open` meanwhile.
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
        """Sqn up to which its blocks may be released. Any thread."""
        group = self._group
        return self._free if group is None or group is self._elsewhere else self._upto

    @property
    def over(self) -> bool:
        """Whether it is `finished` and its producer need not keep the last delivered group."""
        return self.finished and self.to_keep is None

    def kept(self, group: tuple[list[Any], list[int]]) -> None:
        """Register that the client keeps ``group``, which was `to_keep`.

        Only for the control thread, or before that has started.
        """
        if self._group is group:
            self._elsewhere = group

    def hold(self, holds: bool) -> None:
        """Set whether waiting blocks are withheld from release.

        A retained group is withheld in any case, until the client keeps it.
        """
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
                # unless the pipe has ended: then the producer may wait for the release before this job can take anything
                base = upto if len(self._newest) < self.spec.block_count and self.receiver.last is None else high
        self._free = max(0, base)
        self._upto = max(0, upto)
