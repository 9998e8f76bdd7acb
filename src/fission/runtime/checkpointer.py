"""The snapshots of a job with CHECKPOINT.

The job's loop takes them, the client confirms them to the control thread, and a new incarnation
restores them.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from time import monotonic
from typing import Any

from fission.core.python_job import resumable
from fission.errors import SnapshotError, Stopped, ValueFitError, error_text
from fission.ports import JobBundle
from fission.protocol.checkpoint import Checkpoints, to_restore
from fission.protocol.messages.job_to_client import JobToClient, SaveSnapshot, SnapshotStable
from fission.runtime.surroundings import PROCESS, Surroundings

#: Stands for the state of the job when `setup` has returned, in place of a snapshot.
AS_MADE = b""
#: Largest snapshot in bytes. Arbitrary: the job, its links and the client each hold several copies in memory.
MOST_BYTES = 4 << 30


class Checkpointer:
    """Takes and restores the snapshots of one incarnation of a job.

    Attributes:
        generation: generation of the numbering in which snapshots are taken.
    """

    def __init__(
        self,
        job: Any,
        every: int | timedelta,
        pressed_after: int,
        stored: Collection[tuple[int, int]],
        read: Callable[[int, int], bytes],
        say: Callable[[JobToClient, bytes], None],
        damaged: Mapping[tuple[int, int], str] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Prepare; `begin` restores.

        Args:
            job: job that the snapshots belong to.
            every: CHECKPOINT of the job.
            pressed_after: number of compute blocks that half an input window holds.
            stored: (generation, block) of earlier incarnations' snapshots.
            read: function that returns the state of a stored snapshot, or raises SnapshotError.
            say: function that sends a message to the client.
            damaged: faults of stored snapshots that cannot be used, by generation and block.
            clock: function that returns the time in seconds.
        """
        self._job = job
        self._checkpoints = Checkpoints(every, pressed_after)
        self._stored = stored
        self._read = read
        self._damaged = damaged or {}
        self._say = say
        self._clock = clock
        self._lock = threading.Lock()
        self._settling = False  # the first snapshot of a new generation is not stored yet
        self._unconfirmed: dict[tuple[int, int], bytes] = {}  # states that the client has not confirmed, by generation and block
        self._uncovered = ""  # the reason why no compute block can follow: the state before it is missing
        self._begun = False
        self.generation = 0

    @property
    def stable(self) -> int:
        """The block up to which inputs may be released."""
        return self._checkpoints.stable

    @property
    def settling(self) -> bool:
        """Whether the older generation is still needed, because this one has no stored snapshot."""
        return self._settling

    def begin(self, generation: int, first: int) -> int:
        """Restore the state for inputs that can begin with ``first``; return the first block.

        If no snapshot covers the blocks before ``first``, the incarnation gets the newest state of
        this generation. This is correct if the blocks since then were dropped, or had no partners
        because another input had ended; `check` raises if a block follows nevertheless.

        Args:
            generation: generation of the numbering.
            first: first compute block that the inputs can provide.

        Raises:
            SnapshotError: the required snapshot is damaged or missing.
        """
        self._uncovered = ""
        own = self._checkpoints.taken if self._begun and self.generation == generation else -1
        blocks = [block for number, block in self._stored if number == generation]
        damaged = [block for number, block in self._damaged if number == generation]
        block = to_restore([*blocks, *damaged], first)
        if block is None:
            block = first - 1
            state = AS_MADE
            if blocks or damaged:
                newest_block = max([*blocks, *damaged])
                if newest_block not in blocks:
                    raise self._lost(self._damaged[generation, newest_block])
                if own < newest_block:  # otherwise the job is ahead of all snapshots
                    state = self._state(generation, newest_block)
                if not self._job.MAX_QUEUE:
                    self._uncovered = f"its inputs begin with block {first}, and its newest snapshot is after block {newest_block}"
            elif not self._settling and self.generation != generation:
                # a new generation restarts the numbering, but keeps the state of the job
                newest = max([number for number in self._stored if number[0] < generation], default=None)
                newest_damaged = max([number for number in self._damaged if number[0] < generation], default=None)
                if newest_damaged is not None and (newest is None or newest_damaged > newest):
                    raise self._lost(self._damaged[newest_damaged])
                if newest is not None:
                    state = self._state(*newest)
            if block == 0:
                # otherwise the first snapshot that is stored, but not yet stable, would count as a point to continue from
                self._store(generation, 0, state)
        elif block in blocks:
            state = self._state(generation, block)
        else:
            raise self._lost(self._damaged[generation, block])
        if state != AS_MADE:
            self._job.restore(pickle.loads(state))
        with self._lock:
            self.generation, self._begun = generation, True
            self._settling = False
            self._checkpoints.begin(block, self._clock(), blocks)
        return block + 1

    def check(self) -> None:
        """Check that the state before the next compute block was restored.

        Raises:
            SnapshotError: the snapshot with that state is missing.
        """
        if self._uncovered:
            raise self._lost(self._uncovered)

    def _state(self, generation: int, block: int) -> bytes:
        try:
            return self._read(generation, block)
        except SnapshotError as why:
            raise self._lost(str(why)) from why

    def _lost(self, what: str) -> SnapshotError:
        return SnapshotError(
            f"{self._job._fission_name}: the snapshot with which it continues is lost: {what}; start the network again, without --resume"
        )

    def first_of_generation(self, generation: int, first: int) -> int:
        """Continue a running job in a new generation; return its first block.

        This is ``first`` or a later one. A new incarnation would begin with the job's current
        state, unless an earlier incarnation had already reached this generation.
        """
        if any(number == generation for number, _ in (*self._stored, *self._damaged)):
            return self.begin(generation, first)
        self._uncovered = ""
        with self._lock:
            self.generation, self._begun = generation, True
            self._checkpoints.begin(0, self._clock())
            self._settling = True
        self._take(0)
        return first

    def after(self, block: int, *, pressed: bool = False) -> None:
        """Take a snapshot after compute block ``block``, if one is due (see `Checkpoints.due`)."""
        with self._lock:
            due = self._checkpoints.due(block, self._clock(), pressed=pressed)
        if due:
            self._take(block)

    def on_stored(self, generation: int, block: int) -> None:
        """Control thread: record that the client has confirmed a snapshot."""
        for number in list(self._unconfirmed):
            if number <= (generation, block):
                self._unconfirmed.pop(number, None)  # the client stores only the newest of those that wait
        with self._lock:
            if generation == self.generation:
                self._settling = False
                self._checkpoints.on_stored(block)

    def settle(self, released: int) -> None:
        """Record that all outputs up to ``released`` are released; report a new stable snapshot."""
        with self._lock:
            generation, news = self.generation, self._checkpoints.settle(released)
            block = self._checkpoints.stable
        if news:
            self._say(SnapshotStable(generation=generation, block=block), b"")

    def _take(self, block: int) -> None:
        state = self._job.snapshot()
        try:
            pickled = pickle.dumps(state, 5)
        except Stopped:
            raise
        except BaseException as why:
            text = f"{self._job._fission_name}: what snapshot gave ({type(state).__name__}) cannot be pickled: {error_text(why)}"
            raise ValueFitError(text) from why
        if len(pickled) > MOST_BYTES:
            raise ValueFitError(
                f"{self._job._fission_name}: what snapshot gave has {len(pickled)} bytes; a snapshot must have at most "
                f"{MOST_BYTES}: give less of "
                "the job's state, or write it to a file of your own and give its name"
            )
        self._store(self.generation, block, pickled)

    def _store(self, generation: int, block: int, state: bytes) -> None:
        self._unconfirmed[generation, block] = state
        self._say(SaveSnapshot(generation=generation, block=block), state)

    def say_again(self) -> None:
        """Control thread: repeat the messages that the client may have missed."""
        for (generation, block), state in sorted(self._unconfirmed.copy().items()):
            self._say(SaveSnapshot(generation=generation, block=block), state)
        with self._lock:
            generation, block = self.generation, self._checkpoints.stable
        if block > 0:
            self._say(SnapshotStable(generation=generation, block=block), b"")


def make_checkpointer(
    job: Any, bundle: JobBundle, say: Callable[[JobToClient, bytes], None], surroundings: Surroundings = PROCESS
) -> Checkpointer | None:
    """Return the checkpointer of an incarnation of a job.

    It is None for a job without CHECKPOINT, and for one that cannot resume.
    """
    every: int | timedelta | None = job.CHECKPOINT
    if every is None or not resumable(job):
        return None
    counts = [pipe.BLOCK_COUNT for pipe in job.inputs if not pipe.ASYNC]
    pressed_after = min((bundle.window_blocks // 2 // count for count in counts), default=bundle.window_blocks)
    read = surroundings.snapshots(bundle, say)
    return Checkpointer(job, every, pressed_after, bundle.snapshots, read, say, bundle.damaged, surroundings.clock)
