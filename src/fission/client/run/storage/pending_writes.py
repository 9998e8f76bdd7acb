"""What jobs asked the client to store and is not on the disk yet: one write of a job at a time.

A job may take snapshots faster than the disk does. Only the newest one that waits is written: a new
incarnation could use any of them, and would use the newest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fission.protocol.messages.job_to_client import RetainValue, SaveSnapshot, SnapshotStable


@dataclass(slots=True)
class JobWrites:
    """What must be stored for one job.

    Attributes:
        values: newest value of each pipe to retain, with its content.
        snapshot: newest snapshot, with its state; None if there is none.
        stable: newest snapshot before which all others may be deleted; None if there is none.
    """

    values: dict[int, tuple[RetainValue, bytes]] = field(default_factory=dict)
    snapshot: tuple[SaveSnapshot, bytes] | None = None
    stable: SnapshotStable | None = None


class PendingWrites:
    """The writes of all jobs that have not begun, and which jobs have one that has."""

    def __init__(self) -> None:
        self._waiting: dict[int, JobWrites] = {}
        self._busy: set[int] = set()

    def add(self, job: int, message: SaveSnapshot | SnapshotStable | RetainValue, payload: bytes) -> None:
        """Add a request of a job; it replaces older ones of its kind that have not begun."""
        writes = self._waiting.setdefault(job, JobWrites())
        if isinstance(message, RetainValue):
            writes.values[message.pipe] = message, payload
        elif isinstance(message, SnapshotStable):
            if writes.stable is None or _number(message) > _number(writes.stable):
                writes.stable = message
        elif writes.snapshot is None or _number(message) >= _number(writes.snapshot[0]):
            writes.snapshot = message, payload

    def begin(self) -> dict[int, JobWrites]:
        """Return what can be written now, by job; `finish` must follow for each of them."""
        found = {job: writes for job, writes in self._waiting.items() if job not in self._busy}
        for job in found:
            del self._waiting[job]
        self._busy |= found.keys()
        return found

    def finish(self, job: int) -> None:
        """Record that the writes of a job have ended."""
        self._busy.discard(job)

    def drop(self, job: int) -> JobWrites:
        """Return and discard what has not begun for a job."""
        return self._waiting.pop(job, JobWrites())


def _number(message: SaveSnapshot | SnapshotStable) -> tuple[int, int]:
    return message.generation, message.block
