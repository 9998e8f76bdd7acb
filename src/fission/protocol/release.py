"""The release rule: when a job releases (acknowledges) its inputs. It is decided only here.

What may be released
    A job releases the inputs of compute block k when the consumers have released all its outputs of
    k and the job itself has finished k. A sink releases them when `run` has returned and its effect
    is on the device (`Device`). A job with CHECKPOINT releases inputs only up to its last *stable*
    snapshot: one that the client has stored and up to which all outputs are released
    (`fission.protocol.checkpoint`). A new incarnation begins after it. A program with a RATIO
    releases the inputs of a group of compute blocks when all output blocks of that group are
    released. A program with ``RATIO = None`` releases its inputs when it has read them
    (`ReleaseRule.follow`, `fission.protocol.relay`). An older generation is released as a whole
    when no output keeps a block of it or of an earlier one, a sink's device has it, and the first
    snapshot of the new generation is stored. `Aligner.releasable` and `OptionalInput.releasable`
    translate a compute block into the sqn of each pipe: an input that has ended needs nothing
    further.

When it is sent
    A release is sent at once when it covers a share of a window (`RELEASE_SHARE`), in blocks or in
    bytes, so that a producer never waits for a release that is due; when a consumer's release has
    made it possible (that consumer has already gathered); and when the job is about to wait in a
    cycle of jobs. Anything below that share is sent when the last such release is `RELEASE_AFTER_S`
    ago: at once on a slow link, which then needs no timer.

A release that was sent cannot be revoked: the producer discards the blocks. A fact here may
therefore be late, but never early. `done` and `generation` belong to the job's main thread,
everything else to the caller's lock; nothing here waits.

Invariants, each with the broken variant in tests/protocol/test_release.py that a test must catch
    Not before the job itself is done (`Undone`), nor before every consumer has released its outputs
    (`Unreleased`, `OneConsumer`).
    Not before the device has it (`Unsynced`), nor beyond the last stable snapshot (`NoSnapshot`).
    An older generation neither too early (`OlderAtOnce`) nor never (`ForgetsOlder`).
    What may be released is released in the end (`Timeless`), in each generation (`Repeats`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from fission.protocol.link_messages import CLOSED

#: A release is sent when it covers this share of a window, so that a producer never waits for a
#: release that is due. Measured with 1 MB blocks: a third gives 6 % more blocks/s than a quarter.
RELEASE_SHARE = 3
#: Least seconds between two releases of a smaller share. Arbitrary: windows fill more slowly on an
#: idle link.
RELEASE_AFTER_S = 0.02
#: A deadline that never comes; also no limit.
NEVER = float("inf")


class Consumer(Protocol):
    """An output, as the release rule sees it."""

    @property
    def released(self) -> int:
        """The sqn up to which the consumer has released this generation.

        `CLOSED` if it needs nothing further.
        """
        ...

    def released_before(self, generation: int) -> bool:
        """Whether numbering has reached this generation and no block of an older one is kept."""
        ...


class Device(Protocol):
    """A sink's file, as the release rule sees it."""

    def acknowledgeable(self, generation: int) -> float:
        """Return the compute block of a generation up to which the device has the file."""
        ...

    def covers(self, generation: int) -> bool:
        """Whether the device has all of an older generation."""
        ...

    def keep_from(self, generation: int, number: int) -> None:
        """Keep what a new incarnation needs to return to the end of this compute block."""
        ...


class Snapshots(Protocol):
    """The snapshots of a job with CHECKPOINT, as the release rule sees them."""

    @property
    def stable(self) -> int:
        """The compute block of the last stable snapshot."""
        ...

    @property
    def settling(self) -> bool:
        """Whether no snapshot of this generation is stored yet."""
        ...

    def settle(self, released: int) -> None:
        """Record that all outputs up to this compute block are released."""
        ...


class ReleaseRule:
    """The release rule of one job.

    Attributes:
        done: compute block up to which the job's own work is done; set by the job's loop.
        generation: generation that ``done`` refers to.
        older: earlier generations whose inputs are not released yet.
        outputs: the job's outputs; empty for a sink.
        device: a sink's file; None if it has none.
        snapshots: the snapshots of a job with CHECKPOINT; None for other jobs.
        follow: maps a number up to which all outputs are released to the compute block up to which
            inputs may be released; None for a job whose every compute block gives one block to
            every output, which an executable need not do.
    """

    def __init__(self, block_counts: Iterable[int] = (), *, window_blocks: int, window_bytes: int) -> None:
        """Begin before compute block 1 of generation 0.

        Args:
            block_counts: BLOCK_COUNT of each non-ASYNC input.
            window_blocks: size of the producers' windows in blocks.
            window_bytes: size of the producers' windows in bytes.
        """
        self.done = self.generation = 0
        self.older: list[int] = []
        self.outputs: Sequence[Consumer] = ()
        self.device: Device | None = None
        self.snapshots: Snapshots | None = None
        self.follow: Callable[[int], int] | None = None
        self._step = max(1, window_blocks // RELEASE_SHARE)
        self._byte_step = max(1, window_bytes // RELEASE_SHARE)
        self._look_step = max(1, self._step // (RELEASE_SHARE * max(block_counts, default=1)))
        self._released: dict[int, int] = {}  # sqn that was sent, by pipe
        self._bytes = 0  # received since the last release
        self._looked_at = 0
        self._found_upto = -1  # compute block up to which everything was found that may be released; -1: unknown
        self._timed = False  # `tick` will check the rest
        self._release_at = NEVER
        self._small_at = -NEVER  # the time of the last release of a small share

    # what may be released

    def finished_upto(self) -> int:
        """Return the compute block of `generation` up to which inputs may be released."""
        upto = done = self.done
        if self.outputs:
            upto = min(output.released for output in self.outputs)
            upto = min(done, upto) if self.follow is None else self.follow(upto)
        if self.device is not None:
            upto = int(min(upto, self.device.acknowledgeable(self.generation)))
        if self.snapshots is None:
            return upto
        self.snapshots.settle(upto)
        if self.device is not None:
            self.device.keep_from(self.generation, self.snapshots.stable)
        return self.snapshots.stable

    def older_released(self) -> list[int]:
        """Return and discard the older generations that can be released as a whole."""
        if self.snapshots is not None and self.snapshots.settling:
            return []
        found = [generation for generation in self.older if self._may_leave(generation)]
        for generation in found:
            with suppress(ValueError):  # another thread found it too; a second release is harmless
                self.older.remove(generation)
        return found

    def _may_leave(self, generation: int) -> bool:
        if self.device is not None and not self.device.covers(generation):
            return False
        return all(output.released_before(generation + 1) for output in self.outputs)

    def switch(self, generation: int, *, keeps: bool) -> None:
        """Continue in a new generation.

        Args:
            generation: number of the new generation.
            keeps: whether the job has inputs whose older blocks it may still need; a source has
                none.
        """
        if keeps and generation != self.generation:
            self.older += range(self.generation, generation)  # skipped generations had blocks too, which no job can use
        self.done = self._looked_at = 0  # first: another thread must not combine the new generation with the old number
        self._found_upto = -1
        self.generation = generation
        self._released.clear()

    # when it is sent

    def arrived(self, size: int) -> None:
        """Count ``size`` received bytes."""
        self._bytes += size

    def worth_a_look(self, *, force: bool = False) -> bool:
        """Whether `due` may find something that `tick` will not find by itself."""
        if force or self.older or self._bytes >= self._byte_step:
            return True
        if self._timed:
            return self.done - self._looked_at >= self._look_step
        if not self.outputs or self.snapshots is not None or self.device is not None or self.follow is not None:
            return True
        # `done` is read after its consumers' releases by who takes these, and these are read here after it was set: one of both looks
        for output in self.outputs:  # noqa: SIM110 - a generator would cost more than all else here
            if output.released <= self._found_upto:
                return False
        return True

    def found(self, upto: int) -> None:
        """Record that everything was found that may be released.

        From now on, a consumer must release more before there is anything else, unless the job
        takes snapshots, writes to a device or is a program.

        Args:
            upto: compute block up to which inputs may be released; -1 if blocks without a compute
                block may follow.
        """
        self._found_upto = upto

    @property
    def device_hurries(self) -> bool:
        """Whether a producer may be waiting for data that the device does not have yet."""
        device = self.device
        if device is None:
            return False
        return self.done - device.acknowledgeable(self.generation) >= self._step or self._bytes >= self._byte_step

    def due(self, releasable: Iterable[tuple[int, int]], *, force: bool = False) -> tuple[list[tuple[int, int]], bool]:
        """Return (releases to send now, whether something is left for later).

        Args:
            releasable: (pipe, sqn up to which it may be released) pairs.
            force: whether to also send releases that cover less than the share of a window.
        """
        self._looked_at = self.done
        force = force or self._bytes >= self._byte_step
        found, left = [], False
        for pipe, upto in releasable:
            released = self._released.get(pipe, 0)
            if upto <= released:
                continue
            if force or upto - released >= self._step:
                found.append((pipe, upto))
            else:
                left = True
        if force:
            self._bytes = 0
        return found, left

    def pending(self, releasable: Iterable[tuple[int, int]]) -> bool:
        """Whether `due` with ``force`` would find anything."""
        return any(self._released.get(pipe, 0) < upto for pipe, upto in releasable)

    def sent(self, pipe: int, upto: int) -> None:
        """Record that a release of this generation was sent."""
        self._released[pipe] = upto

    def sent_upto(self, pipe: int) -> int:
        """Return the sqn up to which releases of a pipe were sent."""
        return self._released.get(pipe, 0)

    def forget(self, pipe: int) -> None:
        """Send the release of a pipe again: the producer may not have received it."""
        self._released.pop(pipe, None)
        self._found_upto = -1

    # time

    def rested(self, now: float) -> bool:
        """Return whether what is left may be released now, however little; the caller then does it."""
        if now < self._small_at + RELEASE_AFTER_S:
            return False
        self._small_at = now
        return True

    def left(self, now: float) -> float:
        """Record that something is left to release; return the deadline of the next `tick`."""
        self._timed = True
        return now + RELEASE_AFTER_S

    def begin_tick(self) -> None:
        """Prepare a `tick`; call it before asking which compute blocks are finished.

        Work that finishes after this call requests another tick.
        """
        self._timed = False

    def tick(self, now: float, *, pending: bool) -> bool:
        """Return whether to send all possible releases now; update `next_deadline`.

        Args:
            now: the current time.
            pending: whether anything can be released.
        """
        if not pending:
            self._release_at = NEVER
            return False
        if self._release_at == NEVER:
            self._release_at = now + RELEASE_AFTER_S
        elif now >= self._release_at:
            self._release_at = NEVER
            self._small_at = now
            return True
        self._timed = True
        return False

    @property
    def next_deadline(self) -> float:
        """The time of the next `tick`; infinity if there is none."""
        return self._release_at


def taken_with(upto: int, *, final: bool) -> int:
    """Return the number of taken blocks that a release reports.

    An ASYNC pipe that has ended needs nothing of this generation, but its producer may begin
    another one unless its end is ``final``.
    """
    return upto if upto < CLOSED or final else 0
