"""What the client receives besides an engine: a store and an observer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from fission.core.nodes import NodeInfo
from fission.ports.names import JobId, PipeId


class CheckpointStore(Protocol):
    """The client's store of snapshots and of values of ASYNC inputs.

    Stored data survive a crash of the client.
    """

    def put(self, job: JobId, generation: int, block: int, state: bytes) -> None:
        """Store a snapshot.

        Raises:
            OSError: it cannot be stored.
        """
        ...

    def prune(self, job: JobId, generation: int, block: int) -> None:
        """Delete the job's snapshots before this one, which is stable."""
        ...

    def numbers(self, job: JobId) -> list[tuple[int, int]]:
        """Return (generation, block) of the job's snapshots, oldest first.

        Damaged snapshots are included.
        """
        ...

    def folder(self, job: JobId) -> str:
        """Return the folder of the job's snapshots.

        Each is in a file ``GENERATION.BLOCK``, which `fission.durable.read_snapshot` reads.

        Raises:
            OSError: the files cannot be read, or given these names.
        """
        ...

    def load(self, job: JobId) -> list[tuple[int, int, bytes]]:
        """Return (generation, block, state) of the job's undamaged snapshots, oldest first."""
        ...

    def pieces(self, job: JobId, generation: int, block: int) -> Iterator[bytes]:
        """Yield the state of one snapshot in pieces.

        Raises:
            DamagedFileError: the state differs from the stored one; detected after the last piece.
            OSError: the snapshot cannot be read.
        """
        ...

    def damaged(self, job: JobId) -> dict[tuple[int, int], str]:
        """Return the job's unusable snapshots.

        The keys are (generation, block); the values say what is wrong and where.
        """
        ...

    def keep(self, job: JobId, pipe: PipeId, group: bytes) -> None:
        """Store the blocks that an ASYNC input of the job was given last; replace older ones.

        Raises:
            OSError: they cannot be stored.
        """
        ...

    def kept(self, job: JobId) -> dict[PipeId, bytes]:
        """Return the stored values of the job's ASYNC inputs.

        Raises:
            DamagedFileError: one of them differs from the stored one.
            OSError: one of them cannot be read.
        """
        ...


class Observer:
    """Hooks of a run; override those that you need.

    All do nothing by default, except `network_failed`. They are called in the client's thread and
    must not block. ``job`` is always the job's name as shown: class and id.
    """

    def job_started(self, job: str, job_id: JobId) -> None:
        """Called when a job was ordered to start."""

    def nodes_ready(self, nodes: Sequence[NodeInfo], missing: Mapping[str, str]) -> None:
        """Called once, before the first job starts.

        Args:
            nodes: all nodes.
            missing: by name of each node that is not up, one line that says what to do about it;
                empty if a warning has said so.
        """

    def job_placed(self, job: str, job_id: JobId, node: str) -> None:
        """Called each time an incarnation of a job is ordered to start on a node."""

    def job_output(self, job: str, job_id: JobId, stream: str, line: str) -> None:
        """Called for each line that a job writes.

        Args:
            job: name of the job.
            job_id: id of the job.
            stream: "stdout" or "stderr".
            line: the line without its newline.
        """

    def job_ended(self, job: str, job_id: JobId, outcome: str) -> None:
        """Called when a job has ended without a failure.

        Args:
            job: name of the job.
            job_id: id of the job.
            outcome: "finished", "ended" (returned None) or "stopped".
        """

    def job_failed(self, job: str, job_id: JobId, report: str) -> None:
        """Called when a job has failed.

        Args:
            job: name of the job.
            job_id: id of the job.
            report: the user's frames and the error, in several lines.
        """

    def network_failed(self, job: str, job_id: JobId, report: str) -> None:
        """Called at the end of a network that a job's failure has ended, with that failure.

        By default it calls `job_failed`.
        """
        self.job_failed(job, job_id, report)

    def failover(self, text: str) -> None:
        """Called when something was lost and everything affected runs again; one line."""

    def notice(self, text: str) -> None:
        """Called with useful information, one line."""

    def warning(self, text: str) -> None:
        """Called with something that needs attention, one line."""
