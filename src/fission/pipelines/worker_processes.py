"""The processes of a Broker: how they start, what they run, and why they die.

A fork server forks them (`fission.posix.fork_server_process`). Process number *n* says in slot *n*
of shared memory what it runs; the last slot belongs to the process of the store, unless each worker
process has a store of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fission.pipelines.daemon import tls_of
from fission.pipelines.errors import DaemonError
from fission.pipelines.jobs import JobRunner, new_store
from fission.pipelines.main_thread import MainThread
from fission.pipelines.process_state import DescriptorGuard
from fission.pipelines.slots import CurrentJob, Slots
from fission.pipelines.store_host import SharedStore, StoreListener, host
from fission.pipelines.store_secrets import scrubber
from fission.posix.exit_status import how_ended
from fission.posix.fork_server_process import ForkServerProcess
from fission.protocol.messages.fork_server_to_client import ChildEnded, ChildForked, ForkRefused
from fission.protocol.messages.pipelines.broker_to_worker import StartStore, StartWorker
from fission.protocol.messages.pipelines.wire import UserJson, convert, decode_object, encode

if TYPE_CHECKING:
    from fission.adapters.keys import Keys

#: Seconds before a process that has died is started again, by number of deaths in a row. Arbitrary.
BACK_OFF_S = (0.0, 0.0, 0.1, 0.5, 2.0)
#: Seconds that the Router has for an answer that a process sent right before its death. Arbitrary; less than the Router waits for a report.
DELIVERY_S = 0.5
#: Seconds after which the death of a process counts as the first one again. Arbitrary.
LIVED_S = 10.0


@dataclass(slots=True)
class ChildState:
    """What the Broker knows of one of its processes.

    Attributes:
        pid: 0: there is none; -1: it is being forked.
        router: id of the Router for which it was started.
        started: monotonic seconds.
        deaths: number of deaths in a row.
        start_at: monotonic seconds before which it must not start again.
        name: for people.
        killed: whether the Broker has killed it.
    """

    pid: int = 0
    router: str = ""
    started: float = 0.0
    deaths: int = 0
    start_at: float = 0.0
    name: str = ""
    killed: bool = False

    def count_death(self, now: float) -> None:
        """Note that it has died: the more deaths in a row, the later it may start again."""
        self.deaths = self.deaths + 1 if now - self.started < LIVED_S else 1
        self.pid, self.start_at = 0, now + BACK_OFF_S[min(self.deaths, len(BACK_OFF_S)) - 1]

    def kill(self) -> None:
        """Kill it, if it is there."""
        if self.pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class WorkerDeath:
    """A worker process that could run jobs has died.

    Attributes:
        address: of the process.
        job: the job that killed it, or that it ran last; None: none.
        ended: whether that job had ended, so that its answer may have arrived.
        error: why, for people; empty: no job has killed it.
        name: of the process.
    """

    address: str
    job: CurrentJob | None
    error: str
    name: str
    ended: bool = False


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What the processes of a Broker have in common, from its start to its end.

    Attributes:
        number: of worker processes.
        workers: classes by name.
        store_class: makes a store.
        store_arguments: of the store; they replace the Router's of the same names.
        tags: of the Broker.
        keys: the Router's; None: it has none.
    """

    number: int
    workers: Mapping[str, type]
    store_class: Callable[..., Any]
    store_arguments: Mapping[str, Any]
    tags: Sequence[str]
    keys: Keys | None


class WorkerProcesses:
    """Starts the processes of a Broker again whenever they die.

    For one thread; ``now`` is in monotonic seconds.
    """

    def __init__(self, settings: WorkerSettings, logger: logging.Logger) -> None:
        """Prepare; `open` forks the fork server.

        Args:
            settings: of all processes.
            logger: the Broker's.
        """
        self._settings = settings
        self._log = logger
        self._workers = [ChildState() for _ in range(settings.number)]
        self._store = ChildState(name="store")
        parallel = getattr(settings.store_class, "parallel", False) is True
        self._listener = None if parallel else StoreListener()
        self._slots: Slots
        self._fork_server: ForkServerProcess | None = None
        self._router = self._broker = self._scheduler = ""
        self._arguments: UserJson = {}
        self._later: list[tuple[float, WorkerDeath]] = []  # deaths after a job, with the time from which they are reported

    # the Broker's process

    def open(self) -> int:
        """Fork the fork server; return the descriptor that is readable when `deaths` has something
        to do.
        """
        self._slots = Slots(self._settings.number + 1)  # the last one is for the store's process
        self._fork_server = ForkServerProcess(_load, self._run)
        return self._fork_server.fileno()

    def close(self) -> None:
        """End all processes."""
        if self._fork_server is not None:
            self._fork_server.close()
        if self._listener is not None:
            self._listener.close()

    def configure(self, router: str, broker: str, scheduler: str, store: Mapping[str, Any]) -> None:
        """Kill the processes of an earlier Router; start new ones from now on.

        Args:
            router: the Router's id.
            broker: the Broker's id.
            scheduler: address of the Router's Dask scheduler.
            store: arguments of the StoreClass that the Router has sent.
        """
        self._router, self._broker, self._scheduler = router, broker, scheduler
        self._arguments = {**store, **self._settings.store_arguments}
        for process in (*self._workers, self._store):
            if process.router != router:
                process.kill()  # what it runs does not count any longer

    def make_store(self) -> Any:
        """Return the Broker's own store, for monitoring, or its connection to the process of the
        store.

        Raises:
            DaemonError: the store cannot be constructed.
        """
        if self._listener is None:
            return new_store(self._settings.store_class, self._arguments)
        self._store.router = self._router
        self._start_store(time.monotonic())
        store = SharedStore(self._listener)
        store.check()
        return store

    def start_missing(self, now: float) -> None:
        """Start all processes that are missing and may start."""
        self._start_store(now)
        for slot, process in enumerate(self._workers):
            if not process.pid and now >= process.start_at:
                self._slots.set_address(slot, "")
                self._slots.clear(slot)
                process.pid, process.router, process.started = -1, self._router, now
                process.killed = False
                process.name = f"{socket.gethostname()}-{os.getpid()}-{slot}-{uuid.uuid4().hex[:6]}"
                self._fork(slot, StartWorker(process.name, self._broker, self._scheduler, self._arguments))

    def _start_store(self, now: float) -> None:
        process = self._store
        if self._listener is not None and not process.pid and now >= process.start_at:
            process.pid, process.started = -1, now
            self._fork(self._settings.number, StartStore(self._arguments))

    def _fork(self, slot: int, message: StartWorker | StartStore) -> None:
        if self._fork_server is not None:
            self._fork_server.fork(slot, encode(message))

    def deaths(self, now: float) -> list[WorkerDeath]:
        """Take the fork server's reports; return the worker processes that have died since the last
        call, or `DELIVERY_S` ago if their job had ended.

        Raises:
            DaemonError: the fork server has died.
        """
        reports = self._fork_server.reports() if self._fork_server is not None else None
        if reports is None:
            raise DaemonError("the process that starts the worker processes has died; start the Broker again")
        found = []
        for report in reports:
            if not isinstance(report, (ChildForked, ForkRefused, ChildEnded)):
                continue
            (slot,) = report.key
            process = self._store if slot == self._settings.number else self._workers[slot]
            if isinstance(report, ChildForked):
                process.pid = report.process
                if process.router != self._router:
                    process.kill()
            elif process is self._store:
                self._store_ended(report, now)
            elif isinstance(report, ForkRefused):
                process.count_death(now)
                self._log.warning("A worker process cannot start: %s; trying again", report.cause)
            elif (death := self._worker_ended(slot, report, now)) is not None:
                if death.ended:
                    self._later.append((now + DELIVERY_S, death))
                else:
                    found.append(death)
        found += [death for due, death in self._later if due <= now]
        self._later = [(due, death) for due, death in self._later if due > now]
        return found

    def _store_ended(self, report: ForkRefused | ChildEnded, now: float) -> None:
        process = self._store
        process.count_death(now)
        if process.router == self._router and not process.killed:
            if isinstance(report, ForkRefused):
                self._log.error("The store's process cannot start: %s; trying again", report.cause)
            else:
                self._log.error("The store's process %s %s; starting it again", report.process, how_ended(report.code))
        process.router, process.killed = self._router, False
        self._slots.clear(self._settings.number)

    def _worker_ended(self, slot: int, report: ChildEnded, now: float) -> WorkerDeath | None:
        process = self._workers[slot]
        job, address = self._slots.last(slot), self._slots.address(slot)
        process.count_death(now)
        lost_router = self._slots.has_lost_router(slot)
        self._slots.clear(slot)
        how = how_ended(report.code)
        if process.router != self._router:
            process.start_at = now
            return None
        if not address:
            self._log.warning("Worker process %s could not reach the Router and %s", report.process, how)
            return None
        self._slots.set_address(slot, "")
        if job is None or lost_router:
            return WorkerDeath(address, None, "", process.name)
        if not job.since:
            # its answer may not have arrived: a job that ruins its process must not run forever
            return WorkerDeath(address, job, f"its process {how} after it had run, before its result arrived", process.name, ended=True)
        if not process.killed:
            self._log.error("Worker process %s %s while it ran %s (%s)", report.process, how, job.worker, job.job)
        return WorkerDeath(address, job, f"its process {how}", process.name)

    # what they run

    def running(self) -> list[tuple[int, CurrentJob | None]]:
        """Return (pid, current job) of each worker process."""
        return [(process.pid, self._slots.current(slot)) for slot, process in enumerate(self._workers) if process.pid > 0]

    def addresses(self) -> list[str]:
        """Return the addresses of the worker processes that can run jobs."""
        return [address for slot, process in enumerate(self._workers) if process.pid and (address := self._slots.address(slot))]

    def current(self) -> list[tuple[int, CurrentJob]]:
        """Return (slot, current job) of each worker process that runs one."""
        jobs = [(slot, self._slots.current(slot)) for slot, process in enumerate(self._workers) if process.pid > 0]
        return [(slot, job) for slot, job in jobs if job is not None]

    def death_of(self, slot: int, job: CurrentJob, error: str) -> WorkerDeath:
        """Return what to report before the process in this slot is killed because of this job."""
        return WorkerDeath(self._slots.address(slot), job, error, self._workers[slot].name)

    def kill(self, slot: int, job: CurrentJob) -> None:
        """Kill the process in this slot, if it still runs this job."""
        now = self._slots.current(slot)
        if now is None or (now.job, now.attempt, now.since) != (job.job, job.attempt, job.since):
            return
        self._workers[slot].killed = True
        self._workers[slot].kill()
        in_store = self._slots.current(self._settings.number)
        if in_store is not None and in_store.job == job.job:  # or the next job would wait for this one's call of the store
            self._store.killed = True
            self._store.kill()

    # a forked process

    def _run(self, slot: int, payload: bytes) -> None:
        """Be a worker process, or the store's, until it ends."""
        from fission.adapters.dask_pipelines import serve

        settings, listener = self._settings, self._listener
        if listener is not None and slot == settings.number:
            message: StartStore = convert(decode_object(payload), StartStore)
            host(listener, lambda: new_store(settings.store_class, message.store), self._slots, slot)
            return
        start: StartWorker = convert(decode_object(payload), StartWorker)

        def make_store() -> Any:
            return new_store(settings.store_class, start.store) if listener is None else SharedStore(listener)

        guard = DescriptorGuard()

        def leaves() -> None:
            if guard.intact():  # otherwise the job has closed the connection to the Router
                self._slots.set_lost_router(slot)

        runner = JobRunner(settings.workers, make_store, self._slots, slot, scrubber(start.store, settings.store_arguments))
        jobs = MainThread(runner)
        jobs.run_beside(
            lambda: asyncio.run(
                serve(
                    start.scheduler,
                    start.name,
                    start.broker,
                    settings.workers,
                    jobs,
                    lambda address: self._slots.set_address(slot, address),
                    leaves,
                    tags=settings.tags,
                    security=tls_of(settings.keys),
                )
            )
        )
        jobs.serve()


def _load() -> None:
    """Load what each worker process needs, once."""
    import fission.adapters.dask_pipelines  # noqa: F401
