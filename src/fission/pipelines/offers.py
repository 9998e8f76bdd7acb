"""Jobs for brokers that are not FISSION's: those whose worker no process of the cluster has, handed out one by one.

Rules. A job that was ordered is with the cluster until somebody else takes it; it is offered only while no process of the cluster has its
worker, because the cluster may have begun every other one. A job that was taken is the taker's until it reports, its time limit is over,
or it is cancelled: such a broker sends no pulse, so its death cannot be seen.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from fission.pipelines.ports import Cluster
from fission.protocol.pipeline_records import Task, TaskEnd

#: Pipeline, job, attempt.
Key: TypeAlias = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Taken:
    """A job that somebody has taken.

    Attributes:
        task: the order.
        since: monotonic seconds.
        timeout: seconds that it may take; None: any.
    """

    task: Task
    since: float
    timeout: float | None


class Offers:
    """`fission.pipelines.ports.Cluster` around another one. One thread's."""

    def __init__(self, cluster: Cluster) -> None:
        """Args: cluster: runs what nobody takes."""
        self._cluster = cluster
        self._turns = itertools.count()
        self._open: dict[Key, Task] = {}
        self._by_worker: dict[str, list[tuple[int, int, Key]]] = {}  # heaps; what is open no longer is dropped in passing
        self.taken: dict[Key, Taken] = {}
        #: Whether a job was ordered that no process of the cluster has the worker of, since this was set to False.
        self.fresh = False

    # what is offered

    def take(self, now: float, workers: Sequence[str] | None = None) -> Task | None:
        """The most urgent and oldest job that is offered; it is the caller's now.

        Args:
            now: monotonic seconds.
            workers: names of the workers that the caller has; None: it does not say.
        """
        found = self._first(workers)
        if found is None:
            return None
        task = self._open[found]
        self._drop(found)
        self._cluster.forget([found])
        self.taken[found] = Taken(task, now, _timeout(task))
        return task

    def any(self) -> bool:
        """Whether a job is offered."""
        return self._first(None) is not None

    def release(self, key: Key) -> bool:
        """Whether somebody else may report the end of this job; it is neither the cluster's nor a taker's any longer then."""
        if self.taken.pop(key, None) is not None:
            return True
        task = self._open.get(key)
        if task is None or task.worker in self._cluster.workers():
            return False
        self._drop(key)
        self._cluster.forget([key])
        return True

    def overdue(self, now: float) -> list[Taken]:
        """Those that were taken for longer than they may take; the caller reports their ends."""
        found = [taken for taken in self.taken.values() if taken.timeout is not None and now - taken.since >= taken.timeout]
        for taken in found:
            del self.taken[key_of(taken.task)]
        return found

    def _first(self, workers: Sequence[str] | None) -> Key | None:
        here = self._cluster.workers()
        best: tuple[int, int, Key] | None = None
        named = list(self._by_worker) if workers is None else dict.fromkeys(workers)  # each once, for one that has nothing is deleted
        for worker in [name for name in named if name in self._by_worker]:
            heap = self._by_worker[worker]
            while heap and heap[0][2] not in self._open:
                heapq.heappop(heap)
            if not heap:
                del self._by_worker[worker]
            elif worker not in here and (best is None or heap[0] < best):
                best = heap[0]
        return None if best is None else best[2]

    def _drop(self, key: Key) -> None:
        task = self._open.pop(key, None)
        if task is None:
            return
        heap = self._by_worker.get(task.worker, [])
        if len(heap) > 2 * len(self._open) + 64:
            self._by_worker[task.worker] = sorted(entry for entry in heap if entry[2] in self._open)

    # the cluster

    def ended(self, ends: Iterable[TaskEnd]) -> None:
        """What the cluster says has ended."""
        for end in ends:
            self._drop((end.pipeline, end.job, end.attempt))

    def run(self, tasks: Sequence[Task]) -> None:
        """As `Cluster.run`."""
        if not tasks:
            return
        here = self._cluster.workers()
        for task in tasks:
            if task.tag:  # such a broker says nothing of tags
                continue
            self._open[key_of(task)] = task
            heapq.heappush(self._by_worker.setdefault(task.worker, []), (-task.priority, next(self._turns), key_of(task)))
            self.fresh = self.fresh or task.worker not in here
        self._cluster.run(tasks)

    def forget(self, tasks: Iterable[Key]) -> None:
        """As `Cluster.forget`."""
        keys = list(tasks)
        for key in keys:
            self._drop(key)
            self.taken.pop(key, None)
        self._cluster.forget(keys)

    def workers(self) -> Mapping[str, int]:
        """As `Cluster.workers`."""
        return self._cluster.workers()

    def tags(self) -> Mapping[str, int]:
        """As `Cluster.tags`."""
        return self._cluster.tags()

    def can_run(self, worker: str, tag: str) -> bool:
        """As `Cluster.can_run`."""
        return self._cluster.can_run(worker, tag)

    def processes(self) -> int:
        """As `Cluster.processes`."""
        return self._cluster.processes()

    def processes_of(self, broker: str) -> frozenset[str]:
        """As `Cluster.processes_of`."""
        return self._cluster.processes_of(broker)

    def lost(self, addresses: Iterable[str]) -> None:
        """As `Cluster.lost`."""
        self._cluster.lost(addresses)


def key_of(task: Task) -> Key:
    """Which job, and which attempt, an order is of."""
    return task.pipeline, task.job, task.attempt


def _timeout(task: Task) -> float | None:
    body: dict[str, Any] = json.loads(task.body)
    found = body.get("timeout")
    return None if found is None else float(found)
