"""What jobs asked the client to store and is not on the disk yet: one write of a job at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

from fission.protocol.messages.job_to_client import RetainValue, SaveSnapshot, SnapshotStable


@dataclass(slots=True)
class JobWrites:
    """What must be stored for one job.

    Every snapshot is written, in the order in which the job took them. A newer one does not replace
    an older one that waits: the older one may be the only one that can become stable, because the
    outputs up to the newer one are released only after inputs that this job holds back.

    Attributes:
        values: newest value of each pipe to retain, with its content.
        snapshots: snapshots with their states, by (generation, block), in the order of the job.
        stable: newest snapshot before which all others may be deleted; None if there is none.
    """

    values: dict[int, tuple[RetainValue, bytes]] = field(default_factory=dict)
    snapshots: dict[tuple[int, int], tuple[SaveSnapshot, bytes]] = field(default_factory=dict)
    stable: SnapshotStable | None = None


class PendingWrites:
    """The writes of all jobs that have not begun, and which jobs have one that has."""

    def __init__(self) -> None:
        self._waiting: dict[int, JobWrites] = {}
        self._busy: set[int] = set()

    def add(self, job: int, message: SaveSnapshot | SnapshotStable | RetainValue, payload: bytes) -> None:
        """Add a request of a job."""
        writes = self._waiting.setdefault(job, JobWrites())
        if isinstance(message, RetainValue):
            writes.values[message.pipe] = message, payload
        elif isinstance(message, SaveSnapshot):
            writes.snapshots[_number(message)] = message, payload
        elif writes.stable is None or _number(message) > _number(writes.stable):
            writes.stable = message

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
