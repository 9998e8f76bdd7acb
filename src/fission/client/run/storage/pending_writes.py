"""What jobs asked the client to store and is not on the disk yet, and in which order it is written.

Several snapshots of a job are written at the same time, because the device commits them together;
each is confirmed by itself. Two writes never concern the same file, and the snapshot with which a
numbering begins (block 0) is alone: until it is stored, a newer one would not be a place to begin
at. Retained values, and the deletion of old snapshots, are one write of a job at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fission.protocol.messages.job_to_client import RetainValue, SaveSnapshot, SnapshotStable

#: Number of snapshots of one job that are written at the same time. Measured with 1 MB blocks, of which a window holds 32: two are not
#: enough for the flow, and eight wait longer for the device.
SNAPSHOTS_AT_ONCE = 4


@dataclass(slots=True)
class JobWrites:
    """What must be stored for one job.

    Every snapshot is written; a newer one does not replace an older one that waits: the older one
    may be the only one that can become stable, because the outputs up to the newer one are released
    only after inputs that this job holds back.

    Attributes:
        values: newest value of each pipe to retain, with its content.
        snapshots: snapshots with their states, by (generation, block), in the order of the job.
        stable: newest snapshot before which all others may be deleted; None if there is none.
    """

    values: dict[int, tuple[RetainValue, bytes]] = field(default_factory=dict)
    snapshots: dict[tuple[int, int], tuple[SaveSnapshot, bytes]] = field(default_factory=dict)
    stable: SnapshotStable | None = None


class PendingWrites:
    """The writes of all jobs that have not begun, and which have begun and not ended."""

    def __init__(self) -> None:
        self._waiting: dict[int, JobWrites] = {}
        self._busy: set[int] = set()  # jobs of which values are written, or old snapshots deleted
        self._being_written: dict[int, set[tuple[int, int]]] = {}  # snapshots, by job
        self._without_first: set[int] = set()  # jobs whose snapshot of block 0 could not be written

    def add(self, job: int, message: SaveSnapshot | SnapshotStable | RetainValue, payload: bytes) -> None:
        """Add a request of a job.

        A snapshot that could not be a place to begin at is left out; the job repeats it when it is
        asked again.
        """
        if isinstance(message, SaveSnapshot) and job in self._without_first:
            if message.block:
                return
            self._without_first.discard(job)
        writes = self._waiting.setdefault(job, JobWrites())
        if isinstance(message, RetainValue):
            writes.values[message.pipe] = message, payload
        elif isinstance(message, SaveSnapshot):
            writes.snapshots[_number(message)] = message, payload
        elif writes.stable is None or _number(message) > _number(writes.stable):
            writes.stable = message

    def begin(self) -> list[tuple[int, JobWrites]]:
        """Return what can be written now, each with its job; `finish` must follow for each of them."""
        found = []
        for job, writes in list(self._waiting.items()):
            if (writes.values or writes.stable) and job not in self._busy:
                found.append((job, JobWrites(values=writes.values, stable=writes.stable)))
                writes.values, writes.stable = {}, None
                self._busy.add(job)
            found += [(job, JobWrites(snapshots={number: writes.snapshots.pop(number)})) for number in self._begin_snapshots(job, writes)]
            if not (writes.values or writes.stable or writes.snapshots):
                del self._waiting[job]
        return found

    def _begin_snapshots(self, job: int, writes: JobWrites) -> list[tuple[int, int]]:
        being_written = self._being_written.setdefault(job, set())
        found: list[tuple[int, int]] = []
        for number in writes.snapshots:
            first = not number[1] or not all(block for _, block in being_written)
            if number in being_written or len(being_written) >= (1 if first else SNAPSHOTS_AT_ONCE):
                break
            being_written.add(number)
            found.append(number)
        return found

    def finish(self, job: int, writes: JobWrites, *, failed: bool = False) -> None:
        """Record that a write of a job has ended.

        Args:
            job: id of the job.
            writes: one of those that `begin` has returned.
            failed: whether something could not be written.
        """
        if not writes.snapshots:
            self._busy.discard(job)
        for number in writes.snapshots:
            self._being_written[job].discard(number)
            if failed and not number[1]:
                self._without_first.add(job)
                if job in self._waiting:
                    self._waiting[job].snapshots.clear()

    def drop(self, job: int) -> JobWrites:
        """Return and discard what has not begun for a job: its next incarnation has asked nothing yet."""
        self._without_first.discard(job)
        return self._waiting.pop(job, JobWrites())


def _number(message: SaveSnapshot | SnapshotStable) -> tuple[int, int]:
    return message.generation, message.block
