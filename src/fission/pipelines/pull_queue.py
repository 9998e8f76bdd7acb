"""Jobs for third-party brokers, which ask for them one by one: the jobs whose worker no process of
FISSION's Brokers has.

A job stays with the cluster until a third-party broker takes it. It can be taken only while no
process of the cluster has its worker, because the cluster may have started any other job. A taken
job belongs to its taker until the taker reports, its timeout expires, or it is cancelled: such a
broker sends no pulse, so its death cannot be seen.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fission.pipelines.ports import Cluster
from fission.protocol.pipeline_records import Task, TaskEnd

#: Pipeline, job, attempt.
Key: TypeAlias = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class PulledTask:
    """A task that a third-party broker has taken.

    Attributes:
        task: what it runs.
        since: when it was taken, in monotonic seconds.
    """

    task: Task
    since: float


class PullQueue:
    """`fission.pipelines.ports.Cluster` around another cluster. For one thread.

    Attributes:
        pulled: tasks that third-party brokers have, by key.
        fresh: whether a task was ordered whose worker no process of the cluster has; set it to
            False after the broadcast.
    """

    def __init__(self, cluster: Cluster) -> None:
        """Create an empty queue.

        Args:
            cluster: runs all tasks that no third-party broker takes.
        """
        self._cluster = cluster
        self._turns = itertools.count()
        self._open: dict[Key, Task] = {}
        self._by_worker: dict[str, list[tuple[int, int, Key]]] = {}  # heaps; entries that are not open are dropped when met
        self.pulled: dict[Key, PulledTask] = {}
        self.fresh = False

    @property
    def open(self) -> Collection[Key]:
        """Keys of the tasks that can be pulled once no process of the cluster has their worker."""
        return self._open.keys()

    # third-party brokers

    def pull(self, now: float, workers: Sequence[str] | None = None) -> Task | None:
        """Take the most urgent task, the oldest among equals; None if there is none.

        Args:
            now: monotonic seconds.
            workers: names of the workers that the broker has; None: any.
        """
        found = self._first(workers)
        if found is None:
            return None
        task = self._open[found]
        self._drop(found)
        self._cluster.forget([found])
        self.pulled[found] = PulledTask(task, now)
        return task

    def any(self) -> bool:
        """Return whether a task can be pulled."""
        return self._first(None) is not None

    def release(self, key: Key) -> bool:
        """Return whether a third-party broker may report the end of this task; if so, it is neither
        open nor pulled afterwards.
        """
        if self.pulled.pop(key, None) is not None:
            return True
        task = self._open.get(key)
        if task is None or task.worker in self._cluster.workers():
            return False
        self._drop(key)
        self._cluster.forget([key])
        return True

    def overdue(self, now: float) -> list[PulledTask]:
        """Remove and return pulled tasks whose timeout has expired; the caller reports them."""
        found = [pulled for pulled in self.pulled.values() if pulled.task.timeout is not None and now - pulled.since >= pulled.task.timeout]
        for pulled in found:
            del self.pulled[key_of(pulled.task)]
        return found

    def _first(self, workers: Sequence[str] | None) -> Key | None:
        here = self._cluster.workers()
        best: tuple[int, int, Key] | None = None
        named = list(self._by_worker) if workers is None else dict.fromkeys(workers)  # each once: an empty heap is deleted
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
        """Take ends of tasks from the cluster."""
        for end in ends:
            self._drop((end.pipeline, end.job, end.attempt))

    def run(self, tasks: Sequence[Task]) -> None:
        """See `Cluster.run`."""
        if not tasks:
            return
        here = self._cluster.workers()
        for task in tasks:
            if task.tag:  # third-party brokers have no tags
                continue
            self._open[key_of(task)] = task
            heapq.heappush(self._by_worker.setdefault(task.worker, []), (-task.priority, next(self._turns), key_of(task)))
            self.fresh = self.fresh or task.worker not in here
        self._cluster.run(tasks)

    def forget(self, tasks: Iterable[Key]) -> None:
        """See `Cluster.forget`."""
        keys = list(tasks)
        for key in keys:
            self._drop(key)
            self.pulled.pop(key, None)
        self._cluster.forget(keys)

    def workers(self) -> Mapping[str, int]:
        """See `Cluster.workers`."""
        return self._cluster.workers()

    def tags(self) -> Mapping[str, int]:
        """See `Cluster.tags`."""
        return self._cluster.tags()

    def can_run(self, worker: str, tag: str) -> bool:
        """See `Cluster.can_run`."""
        return self._cluster.can_run(worker, tag)

    def processes(self) -> int:
        """See `Cluster.processes`."""
        return self._cluster.processes()

    def busy(self) -> frozenset[str]:
        return self._cluster.busy()

    def processes_of(self, broker: str) -> frozenset[str]:
        """See `Cluster.processes_of`."""
        return self._cluster.processes_of(broker)

    def lost(self, addresses: Iterable[str]) -> None:
        """See `Cluster.lost`."""
        self._cluster.lost(addresses)


def key_of(task: Task) -> Key:
    """Return which job, and which attempt of it, a task runs."""
    return task.pipeline, task.job, task.attempt
