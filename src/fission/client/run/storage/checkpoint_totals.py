"""What the client has stored for its jobs so far, for viewers."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from fission.protocol.messages.client_to_viewer import CheckpointCounts


class CheckpointTotals:
    """Counts by job; each only grows."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        """Begin with no counts.

        Args:
            wall_clock: returns the seconds since the epoch.
        """
        self._wall_clock = wall_clock
        self._jobs: dict[int, CheckpointCounts] = {}

    def of(self, job: int) -> CheckpointCounts:
        """Return the counts of a job."""
        return self._jobs.get(job, CheckpointCounts())

    def stored(self, job: int, size: int) -> None:
        """Count a snapshot that is on the disk.

        Args:
            job: id of the job.
            size: bytes of the snapshot.
        """
        old = self.of(job)
        self._jobs[job] = msgspec.structs.replace(old, stored=old.stored + 1, bytes=old.bytes + size, last=self._wall_clock())

    def failed(self, job: int) -> None:
        """Count something that could not be written."""
        old = self.of(job)
        self._jobs[job] = msgspec.structs.replace(old, failed=old.failed + 1)
