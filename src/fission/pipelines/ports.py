"""The interfaces between the Router's decisions and the outside world: what it keeps, and what runs the jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from fission.protocol.pipeline_records import EndRecord, JobRecord, NewPipeline, PipelineRow, Task, TaskEnd


class PipelineStore(Protocol):
    """Accepted pipelines and finished jobs, durable. For one Router at a time; for one thread.

    Guarantees: what was written before `commit` returned outlives the process, in whatever moment it is killed; what was written
    since is there as a whole or not at all. A second store of the same place cannot be opened: it raises UserError.
    When the database is away, every method raises `StoreAway` and has changed nothing; what was written since the last `commit` is
    remembered, and written again by `recover`.
    """

    def add(self, pipelines: Sequence[NewPipeline]) -> None:
        """Keep new pipelines. An id that is there already changes nothing."""
        ...

    def waiting(self) -> list[tuple[str, int]]:
        """All pipelines that are not over, oldest first: (id, priority)."""
        ...

    def starting_with(self, letters: str, limit: int) -> list[str]:
        """Ids that begin with these letters, at most *limit* of them, newest first."""
        ...

    def rows(self, pipelines: Iterable[str]) -> dict[str, PipelineRow]:
        """Those of the pipelines that are kept, by id."""
        ...

    def listed(self, states: Iterable[str] | None, before: int | None, limit: int) -> list[PipelineRow]:
        """The newest *limit* pipelines in one of these states (None: all; "waiting" are all that are not over) before this order."""
        ...

    def record(self, jobs: Sequence[JobRecord]) -> None:
        """Keep how jobs ended, instead of what was kept of them before."""
        ...

    def jobs(self, pipelines: Iterable[str]) -> dict[str, list[JobRecord]]:
        """What is kept of these pipelines' jobs."""
        ...

    def end(self, ends: Sequence[EndRecord]) -> list[EndRecord]:
        """Keep how pipelines ended; returned with their numbers. One that is over already is left out."""
        ...

    def ended_since(self, number: int, limit: int) -> list[EndRecord]:
        """Ends behind this number, in order."""
        ...

    def last_end(self) -> int:
        """The largest number of an end; 0: none."""
        ...

    def reopen(self, pipeline: str) -> bool:
        """Forget the end of a pipeline and all its jobs but the finished ones; False if it is not over."""
        ...

    def known_workers(self) -> set[str]:
        """Names of all workers that a Broker ever had."""
        ...

    def remember_workers(self, names: Iterable[str]) -> None:
        """Add to them."""
        ...

    def commit(self) -> None:
        """Make all that was written durable, as one."""
        ...

    def recover(self) -> None:
        """Connect again after `StoreAway`, and write again what was not committed.

        Raises:
            StoreAway: it is still away.
            StoreLost: it is another one, or another Router has used it meanwhile: this Router must not go on.
        """
        ...

    def close(self) -> None:
        """Give it back; what is not committed is gone."""
        ...


class Cluster(Protocol):
    """What runs the tasks, anywhere."""

    def run(self, tasks: Sequence[Task]) -> None:
        """Run them as soon as a worker of that name is free; each is answered by one `TaskEnd`."""
        ...

    def forget(self, tasks: Iterable[tuple[str, int, int]]) -> None:
        """Do not run these (pipeline, job, attempt), if that is still possible; their ends no longer matter."""
        ...

    def workers(self) -> Mapping[str, int]:
        """Names of workers that can be run now, with the number of processes that have them."""
        ...

    def tags(self) -> Mapping[str, int]:
        """Tags of Brokers that are there, with the number of processes that have them."""
        ...

    def can_run(self, worker: str, tag: str) -> bool:
        """Whether a process has the worker and, if it is not empty, the tag."""
        ...

    def processes(self) -> int:
        """Number of worker processes that are there."""
        ...

    def processes_of(self, broker: str) -> frozenset[str]:
        """Addresses of a Broker's worker processes, whether it has told of them or not."""
        ...

    def lost(self, addresses: Iterable[str]) -> None:
        """These processes are judged dead."""
        ...


#: Called with all that has ended since the last time.
Ended = Callable[[Sequence[TaskEnd]], None]
