"""What the client is handed besides an engine: a store, and an observer of what happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from fission.core.nodes import NodeInfo
from fission.ports.names import JobId, PipeId


class CheckpointStore(Protocol):
    """The client's store of snapshots, and of values of ASYNC inputs. What was put is there after a crash of the client."""

    def put(self, job: JobId, generation: int, block: int, state: bytes) -> None:
        """Keep a snapshot. Raises OSError if it cannot."""
        ...

    def prune(self, job: JobId, generation: int, block: int) -> None:
        """Forget the job's snapshots before that one: it is stable."""
        ...

    def numbers(self, job: JobId) -> list[tuple[int, int]]:
        """Return (generation, block) of the job's snapshots, oldest first, whole or not."""
        ...

    def folder(self, job: JobId) -> str:
        """Return the folder of the job's snapshots, each a record of `fission.durable` in a file ``GENERATION.BLOCK``."""
        ...

    def load(self, job: JobId) -> list[tuple[int, int, bytes]]:
        """Return (generation, block, state) of the job's whole snapshots, oldest first."""
        ...

    def pieces(self, job: JobId, generation: int, block: int) -> Iterator[bytes]:
        """Return the state of one snapshot in pieces.

        Raises:
            DamagedFileError: it is not what was put; known after the last piece.
            OSError: it cannot be read.
        """
        ...

    def damaged(self, job: JobId) -> dict[tuple[int, int], str]:
        """Return the job's snapshots that cannot be used: what is wrong and where, by generation and block."""
        ...

    def keep(self, job: JobId, pipe: PipeId, group: bytes) -> None:
        """Keep what an ASYNC input of the job was given last, in place of what was kept of it before. Raises OSError if it cannot."""
        ...

    def kept(self, job: JobId) -> dict[PipeId, bytes]:
        """Return what is kept of the job's ASYNC inputs.

        Raises:
            DamagedFileError: one of them is not what was kept.
            OSError: one cannot be read.
        """
        ...


class Observer:
    """Hooks of a run, all no-op: subclass what you need. Called in the client's thread; they must not block.

    ``job`` is the job's name as shown (class and id) everywhere.
    """

    def job_started(self, job: str, job_id: JobId) -> None:
        """Called when the order to start a job was given."""

    def nodes_ready(self, nodes: Sequence[NodeInfo], missing: Mapping[str, str]) -> None:
        """Called once, before the first job starts, with all nodes, and the names of those that are not up.

        Args:
            nodes: all of them.
            missing: name -> what to do about it, in one line; empty where a warning has said it.
        """

    def job_placed(self, job: str, job_id: JobId, node: str) -> None:
        """Called each time a life of a job is ordered to start on a node."""

    def job_output(self, job: str, job_id: JobId, stream: str, line: str) -> None:
        """Called for each line of a job; ``stream`` is "stdout" or "stderr"; no newline at the end."""

    def job_ended(self, job: str, job_id: JobId, outcome: str) -> None:
        """Called when a job is over without a failure: "finished", "ended" (returned None) or "stopped"."""

    def job_failed(self, job: str, job_id: JobId, report: str) -> None:
        """Called when a job failed; ``report`` are the user's frames and the error, in several lines."""

    def network_failed(self, job: str, job_id: JobId, report: str) -> None:
        """Called at the end of a network that a job's failure has ended, with that failure. Default: as `job_failed`."""
        self.job_failed(job, job_id, report)

    def failover(self, text: str) -> None:
        """Called when something was lost and all that it took runs again; one line."""

    def notice(self, text: str) -> None:
        """Called with something that is good to know, one line."""

    def warning(self, text: str) -> None:
        """Called with something that deserves a look, one line."""
