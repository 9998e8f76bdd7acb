"""The interfaces between the Router's decisions and the outside world: the database, and what runs
the jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from fission.protocol.pipeline_records import EndRecord, JobRecord, NewPipeline, PipelineRow, Task, TaskEnd


class PipelineStore(Protocol):
    """Accepted pipelines and finished jobs, durable. For one Router at a time; for one thread.

    Guarantees: what was written before `commit` returned survives a kill at any moment; what was
    written since is stored as a whole or not at all. A second store of the same database cannot be
    opened: this raises UserError. While the database is unavailable, every method raises
    `StoreAway` and changes nothing; what was written since the last `commit` is remembered, and
    `recover` writes it again.
    """

    def add(self, pipelines: Sequence[NewPipeline]) -> None:
        """Store new pipelines; ignore those whose id exists."""
        ...

    def waiting(self) -> list[tuple[str, int]]:
        """Return all pipelines that have not ended, oldest first: (id, priority)."""
        ...

    def starting_with(self, letters: str, limit: int) -> list[str]:
        """Return ids that begin with these letters, at most *limit*, newest first."""
        ...

    def rows(self, pipelines: Iterable[str]) -> dict[str, PipelineRow]:
        """Return those of these pipelines that are stored, by id."""
        ...

    def listed(self, states: Iterable[str] | None, before: int | None, limit: int) -> list[PipelineRow]:
        """Return the newest *limit* pipelines in these states (None: all; "waiting": all that have
        not ended) before this order.
        """
        ...

    def record(self, jobs: Sequence[JobRecord]) -> None:
        """Store how jobs ended; this replaces earlier records of the same jobs."""
        ...

    def jobs(self, pipelines: Iterable[str]) -> dict[str, list[JobRecord]]:
        """Return the records of these pipelines' jobs."""
        ...

    def end(self, ends: Sequence[EndRecord]) -> list[EndRecord]:
        """Store how pipelines ended and return the ends with their numbers, without those of
        pipelines that had ended before.
        """
        ...

    def ended_since(self, number: int, limit: int) -> list[EndRecord]:
        """Return ends with larger numbers, in order."""
        ...

    def last_end(self) -> int:
        """Return the largest number of an end; 0: none."""
        ...

    def reopen(self, pipeline: str) -> bool:
        """Forget the end of a pipeline and the records of all jobs that are not finished; return
        False if it has not ended.
        """
        ...

    def counts(self) -> dict[str, int]:
        """Return the number of pipelines in each state ("waiting": all that have not ended).

        It reads nothing from the database, so that it can be called each second.
        """
        ...

    def known_workers(self) -> set[str]:
        """Return the names of all workers that a Broker ever had."""
        ...

    def remember_workers(self, names: Iterable[str]) -> None:
        """Add names of workers."""
        ...

    def commit(self) -> None:
        """Make all writes durable, atomically."""
        ...

    def recover(self) -> None:
        """Connect again after `StoreAway`, and repeat all writes since the last commit.

        Raises:
            StoreAway: the database is still unavailable.
            StoreLost: it is a different database, or another Router has used it: this Router must
                end.
        """
        ...

    def close(self) -> None:
        """Close the database; uncommitted writes are lost."""
        ...


class Cluster(Protocol):
    """Runs tasks on worker processes."""

    def run(self, tasks: Sequence[Task]) -> None:
        """Run tasks as soon as a process with their worker is free; each is answered by one
        `TaskEnd`.
        """
        ...

    def forget(self, tasks: Iterable[tuple[str, int, int]]) -> None:
        """Do not run these (pipeline, job, attempt) if they have not started; ignore their ends."""
        ...

    def workers(self) -> Mapping[str, int]:
        """Return the number of processes by the name of a worker that they have."""
        ...

    def tags(self) -> Mapping[str, int]:
        """Return the number of processes by the tag of their Broker."""
        ...

    def can_run(self, worker: str, tag: str) -> bool:
        """Return whether a process has this worker and, unless it is empty, this tag."""
        ...

    def processes(self) -> int:
        """Return the number of worker processes."""
        ...

    def busy(self) -> frozenset[str]:
        """Return the addresses of the worker processes that have a job."""
        ...

    def processes_of(self, broker: str) -> frozenset[str]:
        """Return the addresses of a Broker's worker processes, also of those that it has not
        reported.
        """
        ...

    def lost(self, addresses: Iterable[str]) -> None:
        """Remove these processes: they are judged dead."""
        ...


#: Called with all tasks that have ended since the last call.
Ended = Callable[[Sequence[TaskEnd]], None]
