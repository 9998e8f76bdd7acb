"""Which snapshot an incarnation begins with, and what the client must learn of new ones.

`fission.protocol.checkpoint` decides when a snapshot is taken and which one is stable. The caller
calls the job's `snapshot` and `restore`, and reads stored snapshots.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from fission.errors import LocalProtocolError, SnapshotError
from fission.protocol.checkpoint import Checkpoints, to_restore
from fission.protocol.endpoint_effects import Effect, TellClient
from fission.protocol.messages.job_to_client import SaveSnapshot, SnapshotStable

#: A state is small if so many of them fit into half a window. Arbitrary: then the states are at most an eighth of what flows.
SMALL_STATES = 16
#: Seconds from a snapshot to the next one that only CHECKPOINT asks for: the first for one without bytes, another second for so many
#: bytes, and the most. A snapshot takes 1 ms of processors, and 1 MB of state 2 ms more: so these take a sixth of one processor at most.
#: What is replayed after a failure is longer by that time.
APART_S, APART_BYTES_PER_S, APART_MOST_S = 10e-3, 100e6, 20e-3
#: Stands for the state of the job when `setup` has returned, in place of a snapshot.
AS_MADE = b""


@dataclass(frozen=True)
class CheckpointSpec:
    """The snapshots of a job with CHECKPOINT.

    Args:
        job: name of the job, for messages.
        every: CHECKPOINT of the job, as a number of compute blocks or a time.
        pressed_after: number of compute blocks that half an input window holds, if they are small.
        drops: whether the job has a MAX_QUEUE, so that blocks may be missing.
        stored: (generation, block) of the snapshots of earlier incarnations.
        damaged: faults of stored snapshots that cannot be used, by generation and block.
        pressed_bytes: bytes of blocks that half an input window holds; 0: no limit.
    """

    job: str
    every: int | timedelta
    pressed_after: int
    drops: bool = False
    stored: Collection[tuple[int, int]] = ()
    damaged: Mapping[tuple[int, int], str] = field(default_factory=dict)
    pressed_bytes: int = 0


@dataclass(frozen=True)
class Restoration:
    """The state with which a job continues.

    Args:
        generation: generation of the numbering.
        block: compute block after which the job continues.
        snapshot: (generation, block) of the snapshot to restore; None for the state that the job
            has.
        first: whether the restored state is also to be stored as the snapshot after block 0.
        uncovered: reason why no compute block can follow; empty if one can.
    """

    generation: int
    block: int
    snapshot: tuple[int, int] | None = None
    first: bool = False
    uncovered: str = ""


class Checkpointing:
    """The decisions about the snapshots of one incarnation.

    Call `restoration`, restore what it says, then `begin`. After a compute block, ask `due`; if a
    snapshot is due, take one and hand it to `take`.

    Attributes:
        effects: see `fission.protocol.endpoint_effects`.
        generation: generation of the numbering in which snapshots are taken.
        settling: whether the older generation is still needed, because this one has no stored
            snapshot; or whether no block may be sent before the first state is stored.
        points: decides when a snapshot is taken and which one is stable.
    """

    def __init__(self, spec: CheckpointSpec, effects: list[Effect] | None = None) -> None:
        """Prepare.

        Args:
            spec: what is known before the incarnation begins.
            effects: list that effects are added to; a list of its own by default.
        """
        self.effects: list[Effect] = [] if effects is None else effects
        self.points = Checkpoints(spec.every, spec.pressed_after)
        self.generation = 0
        self.settling = False
        self._spec = spec
        self._bytes, self._blocks = 0, 0.0  # that have arrived; in bytes and compute blocks
        self._state_bytes = 0  # size of the last snapshot
        self._next_at = 0.0  # before this time, none is taken that only CHECKPOINT asks for
        self._unconfirmed: dict[tuple[int, int], bytes] = {}  # states that the client has not confirmed, by generation and block
        self._begun = False

    @property
    def stable(self) -> int:
        """The block up to which inputs may be released."""
        return self.points.stable

    def restoration(self, generation: int, first: int) -> Restoration:
        """Return the state with which inputs that can begin with ``first`` are continued.

        If no snapshot covers the blocks before ``first``, the incarnation gets the newest state of
        this generation. This is correct if the blocks since then were dropped, or had no partners
        because another input had ended; no compute block may follow (`Restoration.uncovered`).

        Args:
            generation: generation of the numbering.
            first: first compute block that the inputs can provide.

        Raises:
            SnapshotError: the required snapshot is damaged or missing.
        """
        stored, damaged = self._spec.stored, self._spec.damaged
        blocks = [block for number, block in stored if number == generation]
        unusable = [block for number, block in damaged if number == generation]
        block = to_restore([*blocks, *unusable], first)
        if block is not None:
            if block not in blocks:
                raise self.lost(damaged[generation, block])
            return Restoration(generation, block, (generation, block))
        block = first - 1
        if blocks or unusable:
            newest_block = max([*blocks, *unusable])
            if newest_block not in blocks:
                raise self.lost(damaged[generation, newest_block])
            own = self.points.taken if self._begun and self.generation == generation else -1
            # otherwise the job is ahead of all snapshots
            snapshot = (generation, newest_block) if own < newest_block else None
            missing = f"its inputs begin with block {first}, and its newest snapshot is after block {newest_block}"
            return Restoration(generation, block, snapshot, block == 0, "" if self._spec.drops else missing)
        snapshot = None
        if not self.settling and self.generation != generation:
            # a new generation restarts the numbering, but keeps the state of the job
            snapshot = max([number for number in stored if number[0] < generation], default=None)
            newest_damaged = max([number for number in damaged if number[0] < generation], default=None)
            if newest_damaged is not None and (snapshot is None or newest_damaged > snapshot):
                raise self.lost(damaged[newest_damaged])
        return Restoration(generation, block, snapshot, block == 0)

    def begin(self, restoration: Restoration, state: bytes, now: float, *, stored_first: bool = False) -> None:
        """Record that a state was restored; the job continues after it.

        Args:
            restoration: what `restoration` returned.
            state: the state; `AS_MADE` if the job has kept its own.
            now: current time, in seconds.
            stored_first: whether the client must store a first state before the first block is sent: another
                incarnation would not make the same one.
        """
        if restoration.first:
            # otherwise the first snapshot that is stored, but not yet stable, would count as a point to continue from
            self._save(restoration.generation, 0, state)
        self.generation, self._begun, self.settling = restoration.generation, True, restoration.first and stored_first
        stored = [block for number, block in self._spec.stored if number == restoration.generation]
        self.points.begin(restoration.block, now, stored)

    def keeps_state(self, generation: int) -> bool:
        """Whether a running job enters a generation with its current state.

        It does, unless an earlier incarnation had already reached this generation: then
        `restoration` decides.
        """
        return not any(number == generation for number, _ in (*self._spec.stored, *self._spec.damaged))

    def continue_in(self, generation: int, state: bytes, now: float) -> None:
        """Enter a new generation with this state, which the client must store first.

        Args:
            generation: generation of the numbering.
            state: snapshot of the job's current state.
            now: current time, in seconds.
        """
        self.generation, self._begun, self.settling = generation, True, True
        self.points.begin(0, now)
        self._save(generation, 0, state)

    def arrived(self, size: int, compute_blocks: float) -> None:
        """Learn how large blocks are, from a message that has arrived.

        Half a window in use means a snapshot, and large blocks fill it sooner; with a small state,
        a quarter of a window in bytes does.

        Args:
            size: size of the message's blocks, in bytes.
            compute_blocks: number of compute blocks that they are enough for; of a job with several
                inputs, a share of them.
        """
        self._bytes += size
        self._blocks += compute_blocks
        if self._bytes and self._spec.pressed_bytes:
            share = self._spec.pressed_bytes
            if self._state_bytes * SMALL_STATES <= share:
                share //= 2  # several small snapshots are stored at the same time, while the rest of the window flows
            fitting = int(share * self._blocks / self._bytes)
            self.points.pressed_after = max(1, min(self._spec.pressed_after, fitting))

    def due(self, block: int, now: float, *, pressed: bool = False) -> bool:
        """Whether a snapshot must be taken after a compute block (see `Checkpoints.due`)."""
        due = self.points.due(block, now, pressed=pressed, waits=bool(self._unconfirmed) or now < self._next_at)
        if due:
            self._next_at = now + min(APART_MOST_S, APART_S + self._state_bytes / APART_BYTES_PER_S)
        return due

    def take(self, block: int, state: bytes) -> None:
        """Have the client store a snapshot.

        Args:
            block: compute block that it was taken after.
            state: the snapshot.

        Raises:
            LocalProtocolError: the incarnation has not begun.
        """
        if not self._begun:
            raise LocalProtocolError("a snapshot is taken after `begin` or `continue_in`")
        self._save(self.generation, block, state)

    def on_stored(self, generation: int, block: int) -> None:
        """Record that the client has confirmed a snapshot."""
        self._unconfirmed.pop((generation, block), None)
        if generation == self.generation:
            self.settling = False
            self.points.on_stored(block)

    def settle(self, released: int) -> None:
        """Record that all outputs up to ``released`` are released; report a new stable snapshot."""
        if self.points.settle(released):
            self.effects.append(TellClient(SnapshotStable(generation=self.generation, block=self.points.stable)))

    def repeat_reports(self) -> None:
        """Repeat the messages that the client may have missed."""
        for (generation, block), state in sorted(self._unconfirmed.items()):
            self.effects.append(TellClient(SaveSnapshot(generation=generation, block=block), state))
        if self.points.stable > 0:
            self.effects.append(TellClient(SnapshotStable(generation=self.generation, block=self.points.stable)))

    def lost(self, what: str) -> SnapshotError:
        """Return the error to raise when a snapshot cannot be restored.

        Args:
            what: fault of the snapshot.
        """
        return SnapshotError(
            f"{self._spec.job}: the snapshot with which it continues is lost: {what}; start the network again, without --resume"
        )

    def _save(self, generation: int, block: int, state: bytes) -> None:
        self._state_bytes = len(state)
        self._unconfirmed[generation, block] = state
        self.effects.append(TellClient(SaveSnapshot(generation=generation, block=block), state))
