"""Pipelines' jobs as Dask tasks: the scheduler inside the Router, and a worker process of a Broker.

A job is one task, restricted by a resource ``fission:NAME`` to the processes that have its worker.
Dask never reruns a task on its own: the first lost process ends it (`allowed-failures` 0), and an
ended task is released in the same iteration of the event loop, so that a result that dies with its
process is not computed a second time. The report of a task fits into the message of its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dask
from distributed import Client, Scheduler, Worker, get_worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

from fission.errors import RemoteProtocolError
from fission.protocol.messages.pipelines.wire import ERROR_LENGTH, convert, decode_object, encode
from fission.protocol.messages.pipelines.worker_to_router import JobFailure
from fission.protocol.pipeline_records import RESULT_LIMIT, Task, TaskEnd

RESOURCE = "fission:"
#: Resource of all worker processes of one Broker; no task requests it: it identifies their Broker.
BROKER = "fission-broker:"
#: Resource of the worker processes whose Broker has a tag.
TAG = "fission-tag:"
PLUGIN = "fission-jobs"
#: Name of a task's result in its metadata.
RESULT = "fission-result"
#: Amount of a resource in each process: more than all jobs can use. Arbitrary.
PLENTY = 1e12
#: Maximum number of a traceback's characters in the message of a task's end; Dask cuts at 10,000.
TEXT = 7000

SETTINGS: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    # Brokers pulse from a process that no job can block; a worker in a long C call must not look dead
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.low-level-log-length": 100,
    "distributed.admin.large-graph-warning-threshold": "1 GiB",
    "distributed.comm.retry.count": 0,
    "distributed.worker.memory.terminate": False,
    # Dask's web pages are not shown and need not be loaded
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


def _quiet() -> None:
    """Silence Dask's own log: FISSION logs the same facts."""
    for name in ("distributed", "distributed.scheduler", "distributed.worker", "distributed.core", "distributed.comm", "distributed.http"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


class JobError(Exception):
    """A job has failed in its process; its repr is sent to the scheduler."""

    def __init__(self, error: str, traceback: str) -> None:
        super().__init__(error, traceback)

    def __repr__(self) -> str:
        return encode(JobFailure(str(self.args[0])[:ERROR_LENGTH], str(self.args[1])[-TEXT:])).decode()


def run_job(body: str) -> None:
    """Run a job; the body of the Dask task.

    Raises:
        JobError: the job has failed.
    """
    worker = get_worker()
    plugin: Any = worker.plugins[PLUGIN]
    outcome = plugin.run(body)
    if isinstance(outcome, str):  # Dask sends the metadata with the message that the task has finished
        worker.state.tasks[worker.get_current_task()].metadata[RESULT] = outcome
    elif outcome is not None:
        raise JobError(*outcome)


class _Scheduler(Scheduler):
    """A scheduler without Dask's web pages, which would not require keys."""

    def start_http_server(self, *args: Any, **options: Any) -> None:
        """Called by Dask."""


class DaskCluster:
    """`fission.pipelines.ports.Cluster` with a scheduler in this event loop.

    Call `open` first and `close` at the end.
    """

    def __init__(self, on_ends: Callable[[Sequence[TaskEnd]], None]) -> None:
        """Prepare; `open` starts the scheduler.

        Args:
            on_ends: called in the event loop with tasks that have ended.
        """
        self._on_ends = on_ends
        self._numbers = itertools.count(1)
        self._tasks: dict[str, tuple[Task, Any]] = {}
        self._keys: dict[tuple[str, int, int], str] = {}
        self._scheduler: Scheduler
        self._client: Any
        self._background: set[asyncio.Task[Any]] = set()

    async def open(self, host: str, port: int = 0, *, security: Any = None) -> int:
        """Listen for worker processes and return the port.

        Args:
            host: address of an interface, or a host name; empty means all interfaces.
            port: port of the scheduler; 0 chooses a free one.
            security: a `distributed.Security`; None disables encryption.

        Raises:
            OSError: the port is in use.
        """
        dask.config.set(SETTINGS)
        _quiet()
        protocol = "tls" if security is not None else "tcp"
        self._scheduler = _Scheduler(
            host=[None, host],  # type: ignore[arg-type]  # one per protocol, as in distributed.comm.addressing
            port=[0, port],  # type: ignore[arg-type]
            protocol=["inproc", protocol],  # type: ignore[arg-type]
            security=security,
            dashboard=False,
        )
        with warnings.catch_warnings():
            # To name its in-process address Dask asks which interface reaches the internet. A closed network has none.
            warnings.filterwarnings("ignore", message="Couldn't detect a suitable IP address", category=RuntimeWarning)
            await self._scheduler
        self._ends = _Ends(self)
        self._scheduler.add_plugin(self._ends, name="fission-pipelines")
        addresses = [listener.contact_address for listener in self._scheduler.listeners]
        inproc = next(address for address in addresses if address.startswith("inproc"))
        client: Any = Client  # the original is untyped
        self._client = client(inproc, asynchronous=True, set_as_default=False)
        await self._client
        return int(next(address for address in addresses if address.startswith(protocol)).rpartition(":")[2])

    async def close(self) -> None:
        """Stop the scheduler; the worker processes notice."""
        for task in self._background:
            task.cancel()
        self._tasks.clear()
        with contextlib.suppress(Exception):  # errors of Dask's shutdown have no consequences
            await asyncio.wait_for(self._client.close(timeout=0.1), 0.3)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._scheduler.close(reason="the Router ends"), 0.5)

    def run(self, tasks: Sequence[Task]) -> None:
        alike: dict[tuple[str, str, int], list[Task]] = {}
        for task in tasks:
            alike.setdefault((task.worker, task.tag, task.priority), []).append(task)
        for (worker, tag, priority), some in alike.items():
            keys = [f"{worker}-{next(self._numbers)}" for _ in some]
            for key, task in zip(keys, some, strict=True):
                self._keys[task.pipeline, task.job, task.attempt] = key
            wanted = {f"{RESOURCE}{worker}": 1, **({f"{TAG}{tag}": 1} if tag else {})}
            bodies = [task.body for task in some]
            futures = self._client.map(run_job, bodies, key=keys, pure=False, resources=wanted, priority=priority)
            for key, task, future in zip(keys, some, futures, strict=True):
                self._tasks[key] = (task, future)

    def forget(self, tasks: Iterable[tuple[str, int, int]]) -> None:
        for name in tasks:
            key = self._keys.pop(name, None)
            if key is not None:
                self._tasks.pop(key)[1].release()

    def workers(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for worker in self._scheduler.workers.values():
            for resource in worker.resources:
                if resource.startswith(RESOURCE):
                    name = resource.removeprefix(RESOURCE)
                    found[name] = found.get(name, 0) + 1
        return found

    def tags(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for worker in self._scheduler.workers.values():
            for resource in worker.resources:
                if resource.startswith(TAG):
                    tag = resource.removeprefix(TAG)
                    found[tag] = found.get(tag, 0) + 1
        return found

    def can_run(self, worker: str, tag: str) -> bool:
        wanted = {f"{RESOURCE}{worker}", *([f"{TAG}{tag}"] if tag else ())}
        return any(wanted <= worker.resources.keys() for worker in self._scheduler.workers.values())

    def processes(self) -> int:
        return len(self._scheduler.workers)

    def busy(self) -> frozenset[str]:
        return frozenset(address for address, worker in self._scheduler.workers.items() if worker.processing)

    def processes_of(self, broker: str) -> frozenset[str]:
        return frozenset(address for address, worker in self._scheduler.workers.items() if f"{BROKER}{broker}" in worker.resources)

    def lost(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            if address not in self._scheduler.workers:  # already gone, or only claimed to be a process
                continue
            removal = asyncio.ensure_future(self._scheduler.remove_worker(address, stimulus_id="fission-lost"))
            self._background.add(removal)
            removal.add_done_callback(self._background.discard)

    def ended(self, ends: Sequence[tuple[str, TaskEnd]]) -> None:
        """Handle ended tasks, each with its key: release the keys and report the ends."""
        found = []
        for key, end in ends:
            task, future = self._tasks.pop(key, (None, None))
            if task is None:
                continue
            del future
            self._keys.pop((task.pipeline, task.job, task.attempt), None)
            found.append(end)
        self._scheduler.client_releases_keys([key for key, _ in ends], self._client.id)
        self._on_ends(found)

    def task_of(self, key: Any) -> Task | None:
        """Return the task with this key; None if its end does not matter."""
        return self._tasks.get(key, (None, None))[0]

    def name_of(self, address: str) -> str:
        """Return the display name of a worker process."""
        worker = self._scheduler.workers.get(address)
        return str(worker.name) if worker is not None else address


class _Ends(SchedulerPlugin):
    """Collects the tasks that end in one iteration of the event loop."""

    def __init__(self, cluster: DaskCluster) -> None:
        self._cluster = cluster
        self._waiting: list[tuple[str, TaskEnd]] = []

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        task = self._cluster.task_of(key) if finish in ("memory", "erred") else None
        if task is None:
            return
        if not self._waiting:
            # later in this iteration: the scheduler is in the middle of its own transitions
            asyncio.get_running_loop().call_soon(self._report)
        self._waiting.append((key, self._end_of(task, finish, kwargs)))

    def _report(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._cluster.ended(waiting)

    def _end_of(self, task: Task, finish: str, details: Mapping[str, Any]) -> TaskEnd:
        process = str(details.get("worker", ""))
        end = TaskEnd(
            task.pipeline,
            task.job,
            task.attempt,
            "finished",
            self._cluster.name_of(process),
            sum(span["stop"] - span["start"] for span in details.get("startstops") or () if span["action"] == "compute"),
            process=process,
        )
        if finish == "memory":
            result = (details.get("metadata") or {}).get(RESULT, "")
            return replace(end, result=result) if isinstance(result, str) and len(result) <= RESULT_LIMIT else end
        if "exception_text" not in details:  # the task has not raised: its process is gone
            return replace(end, kind="lost")
        try:
            failure: JobFailure = convert(decode_object(details["exception_text"].encode(errors="replace")), JobFailure)
        except RemoteProtocolError:  # an error of Dask: the task could not even start
            failure = JobFailure(details["exception_text"], details.get("traceback_text", ""))
        return replace(end, kind="raised", error=failure.error, traceback=failure.traceback)


class _Jobs(WorkerPlugin):
    """Passes jobs to the function that runs them."""

    name = PLUGIN

    def __init__(self, run: Callable[[str], tuple[str, str] | str | None]) -> None:
        self.run = run


async def serve(
    scheduler: str,
    name: str,
    broker: str,
    workers: Iterable[str],
    run: Callable[[str], tuple[str, str] | str | None],
    ready: Callable[[str], None],
    leaves: Callable[[], None],
    *,
    tags: Iterable[str] = (),
    security: Any = None,
) -> None:
    """Serve as a worker process until the scheduler is gone.

    Args:
        scheduler: address of the scheduler.
        name: display name of the process.
        broker: id of the Broker.
        workers: names of the workers that this process has.
        run: called with the body of each job in one of Dask's threads; returns None, a result as
            JSON, or (error, traceback).
        ready: called with the address of the process when it accepts jobs.
        leaves: called right before the process ends because it has lost its scheduler.
        tags: tags of the Broker.
        security: a `distributed.Security`; None disables encryption.
    """
    dask.config.set(SETTINGS)
    _quiet()
    worker = _Worker(
        scheduler,
        nthreads=1,
        name=name,
        resources={
            f"{BROKER}{broker}": 1,
            **{f"{RESOURCE}{name}": PLENTY for name in workers},
            **{f"{TAG}{name}": PLENTY for name in tags},
        },
        memory_limit=0,
        dashboard=False,
        security=security,
        plugins=(_Jobs(run),),
        heartbeat_interval="5s",
    )
    worker.on_end = leaves
    await worker
    ready(worker.address)
    await asyncio.Event().wait()  # the process ends with the worker


class _Worker(Worker):
    """A worker that ends its process at once when it ends.

    A job may still run in its thread, and its work no longer counts. The worker has none of Dask's
    web pages.
    """

    #: Called right before the process ends.
    on_end: Callable[[], None]

    def start_http_server(self, *args: Any, **options: Any) -> None:
        """Called by Dask."""

    async def close(self, timeout: float = 0, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        self.on_end()
        os._exit(0)
