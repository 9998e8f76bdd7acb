"""The Broker: worker processes on this machine, which retrieve, process and save."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fission.errors import RemoteProtocolError, UserError
from fission.pipelines.answers import Configuration, configuration, router_of
from fission.pipelines.daemon import ask, host_of, protect_with, quiet_logger, read_keys, sigterm_ends, tls_of
from fission.pipelines.errors import DaemonError, KeysRefused, RouterAnswer, RouterUnreachable
from fission.pipelines.hidden import scrubber
from fission.pipelines.jobs import JobRunner, load_all_workers, new_store
from fission.pipelines.limits import NAME_LENGTH, is_name
from fission.pipelines.main_thread import MainThread
from fission.pipelines.messages import decode, take
from fission.pipelines.monitoring import Monitor, cluster_ip
from fission.pipelines.slots import CurrentJob, Slots
from fission.pipelines.store_host import Rendezvous, SharedStore, host
from fission.posix.exit_status import how_ended
from fission.posix.fork_server_process import ForkServerProcess
from fission.protocol.messages.fork_server_to_client import ChildEnded, ChildForked, ForkRefused

if TYPE_CHECKING:
    from fission.adapters.zmq_api import ApiClient, Listener

#: Seconds between two pulses, and for an answer. As in fission.pipelines.router_state.
PULSE_S = 1.0
ANSWER_S = 2.0
#: Seconds between two looks at time limits.
LOOK_S = 0.05
#: Seconds before a process that has died is started again, after so many deaths in a row. Arbitrary.
BACK_OFF_S = (0.0, 0.0, 0.1, 0.5, 2.0)
#: Seconds that a process must have lived for its death to count as the first one again. Arbitrary.
LIVED_S = 10.0


@dataclass(slots=True)
class _Process:
    """A worker process: its pid (0: none, -1: ordered), for which Router, when it was started, how often it died in a row,
    when it may start again, its name for people, whether we have killed it.
    """

    pid: int = 0
    router: str = ""
    started: float = 0.0
    deaths: int = 0
    start_at: float = 0.0
    name: str = ""
    killed: bool = False

    def count_death(self, now: float) -> None:
        """It is gone; the more often in a row, the later it may start again."""
        self.deaths = self.deaths + 1 if now - self.started < LIVED_S else 1
        self.pid, self.start_at = 0, now + BACK_OFF_S[min(self.deaths, len(BACK_OFF_S)) - 1]


class Broker:
    """Runs worker processes. As many Brokers as you like may run, each with its own module of workers."""

    def __init__(
        self,
        api: str,
        broadcast: str,
        store_class: Callable[..., Any],
        workers: str | Sequence[str],
        logger: logging.Logger | None = None,
        logger_name: str = "Broker",
        poll_time: int = 50,
        number_of_workers: int | None = None,
        *,
        keys: str | Path | None = None,
        store_arguments: Mapping[str, Any] | None = None,
        executables: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        """Args:
            api, broadcast: the Router's addresses, ``tcp://HOST:PORT``.
            store_class: makes a store of the arguments in the Router's ``config['store']``. One for this Broker, whose methods are
                called one after the other; with a class attribute ``parallel = True`` one in each worker process.
            workers: name of a module whose ``__all__`` names the workers, or a list of such names.
            poll_time: milliseconds between two looks at time limits, at most 50.
            number_of_workers: processes; default: as many as there are CPUs.
            keys: the Router's, the folder of `fission keys`; None: it has none.
            store_arguments: more arguments of the store, instead of the Router's of these names; never sent or logged. For secrets.
            executables: workers that are programs, by name: a command, or a dict with ``command``,
                ``requires``, ``timeout`` (seconds) and ``max_output`` (bytes).
            tags: names that jobs with a ``tag`` ask for.

        Raises:
            DaemonError: one of them cannot be.
        """
        self._api = api
        self._store_arguments = dict(store_arguments or {})
        self._broadcast = broadcast
        self._keys = read_keys(keys)
        self.logger = logger if logger is not None else quiet_logger(logger_name)
        self.poll_time = poll_time
        if not callable(store_class):
            raise DaemonError(f"store_class must be a class with retrieve, save and save_monitoring, is {store_class!r}")
        number = _checked_number(number_of_workers)
        self.StoreClass = store_class
        self.number_of_workers = number
        self.workers = workers
        self._workers = load_all_workers(workers, executables or {})
        self.tags = checked_tags(tags)
        self.available_workers = list(self._workers)
        self._processes = [_Process() for _ in range(number)]
        self._name = uuid.uuid4().hex
        self._router = ""
        self._configuration: Configuration
        self._scrub: Callable[[str], str] = str
        self._rendezvous = Rendezvous() if getattr(store_class, "parallel", False) is not True else None
        self._store_process = _Process(name="store")
        self._store: Any = None
        self._there = True
        self._trouble = ""  # what was said of a Router that is not there
        self._known_addresses: set[str] = set()
        #: Whether Ctrl-C or SIGTERM has ended it.
        self.interrupted = False

    def start(self) -> None:
        """Run jobs until Ctrl-C or SIGTERM; the Router may come and go.

        Raises:
            DaemonError: an address cannot be one, what answers there is no Router or has other keys, or the store cannot be constructed.
        """
        from fission.adapters.zmq_api import ApiClient, Listener

        self._slots = Slots(self.number_of_workers + 1)  # the last one is for the store's process
        self.logger.info("Starting worker processes")
        self._fork_server = ForkServerProcess(_prepare, self._live)
        try:
            with contextlib.ExitStack() as stack:
                try:
                    client = ApiClient(self._api, protect_with(self._keys))
                    stack.callback(client.close)
                    listener = Listener(self._broadcast, ["kill"], protect_with(self._keys))
                    stack.callback(listener.close)
                except UserError as error:
                    raise DaemonError(str(error)) from None
                try:
                    with sigterm_ends():
                        listener.also(self._fork_server.fileno())
                        self._work(client, listener)
                except KeyboardInterrupt:
                    self.interrupted = True
                    self.logger.info("Got a signal to end, exiting.")
                    if self._router:
                        client.request(json.dumps(self._pulse() | {"leave": True}).encode(), 0.5, again=0.5)
        finally:
            self._fork_server.close()
            if self._rendezvous is not None:
                self._rendezvous.close()

    # the worker processes

    def _live(self, slot: int, payload: bytes) -> None:
        """Be a worker process, or the store's, until it ends."""
        told: dict[str, Any] = json.loads(payload)
        from fission.adapters.dask_pipelines import serve

        rendezvous = self._rendezvous
        if rendezvous is not None and slot == self.number_of_workers:
            host(rendezvous, lambda: new_store(self.StoreClass, told["store"]), self._slots, slot)
            return
        if rendezvous is None:
            make_store: Callable[[], Any] = lambda: new_store(self.StoreClass, told["store"])  # noqa: E731
        else:
            make_store = lambda: SharedStore(rendezvous)  # noqa: E731
        jobs = MainThread(JobRunner(self._workers, make_store, self._slots, slot, scrubber(told["store"], self._store_arguments)))
        jobs.beside(
            lambda: asyncio.run(
                serve(
                    told["scheduler"],
                    told["name"],
                    told["broker"],
                    self._workers,
                    jobs,
                    lambda at: self._slots.lives_at(slot, at),
                    lambda: self._slots.leaves(slot),
                    tags=self.tags,
                    security=tls_of(self._keys),
                )
            )
        )
        jobs.serve()

    def _fork(self, slot: int, arguments: dict[str, Any]) -> None:
        self._fork_server.fork(slot, json.dumps(arguments).encode())

    def _start_store(self, now: float) -> None:
        """The store's process, if there is to be one and it is not there."""
        process = self._store_process
        if self._rendezvous is not None and not process.pid and now >= process.start_at:
            process.pid, process.started = -1, now
            self._fork(self.number_of_workers, {"store": self._arguments()})

    def _store_reported(self, report: ChildForked | ForkRefused | ChildEnded, now: float) -> None:
        process = self._store_process
        if isinstance(report, ChildForked):
            self._forked(process, report)
            return
        process.count_death(now)
        if process.router == self._router and not process.killed:
            if isinstance(report, ForkRefused):
                self.logger.error("The store's process cannot start: %s; trying again", report.cause)
            else:
                self.logger.error("The store's process %s %s; starting it again", report.process, how_ended(report.code))
        process.router, process.killed = self._router, False
        self._slots.end(self.number_of_workers)

    def _arguments(self) -> dict[str, Any]:
        return {**self._configuration.store, **self._store_arguments}

    def _start_missing(self, now: float) -> None:
        self._start_store(now)
        for slot, process in enumerate(self._processes):
            if not process.pid and now >= process.start_at:
                self._slots.lives_at(slot, "")
                self._slots.end(slot)
                process.pid, process.router, process.started = -1, self._router, now
                process.killed = False
                process.name = name = f"{socket.gethostname()}-{os.getpid()}-{slot}-{uuid.uuid4().hex[:6]}"
                protocol = "tls" if self._keys is not None else "tcp"
                scheduler = f"{protocol}://{host_of(self._api)}:{self._configuration.scheduler_port}"
                self._fork(slot, {"name": name, "broker": self._name, "scheduler": scheduler, "store": self._arguments()})

    def _take_reports(self, client: ApiClient, now: float) -> None:
        reports = self._fork_server.reports()
        if reports is None:
            raise DaemonError("the process that starts the worker processes has died; start the Broker again")
        for report in reports:
            if not isinstance(report, (ChildForked, ForkRefused, ChildEnded)):
                continue
            (slot,) = report.key
            if slot == self.number_of_workers:
                self._store_reported(report, now)
            elif isinstance(report, ChildForked):
                self._forked(self._processes[slot], report)
            elif isinstance(report, ForkRefused):
                self._processes[slot].count_death(now)
                self.logger.warning("A worker process cannot start: %s; trying again", report.cause)
            else:
                self._worker_ended(client, slot, report, now)

    def _forked(self, process: _Process, report: ChildForked) -> None:
        process.pid = report.process
        if process.router != self._router:
            self._end(process)

    def _worker_ended(self, client: ApiClient, slot: int, report: ChildEnded, now: float) -> None:
        process = self._processes[slot]
        doing, address = self._slots.doing(slot), self._slots.address(slot)
        process.count_death(now)
        left = self._slots.has_left(slot)
        self._slots.end(slot)
        how = how_ended(report.code)
        if process.router != self._router:
            process.start_at = now
        elif address:
            self._slots.lives_at(slot, "")
            if doing is not None and not left:
                if not process.killed:
                    self.logger.error("Worker process %s %s while it ran %s (%s)", report.process, how, doing.worker, doing.job)
                self._tell(client, address, doing, f"its process {how}", dead=True, node=process.name)
            else:
                self._tell(client, address, None, "", dead=True)
        else:
            self.logger.warning("Worker process %s could not reach the Router and %s", report.process, how)

    def _tell(self, client: ApiClient, process: str, doing: CurrentJob | None, error: str, *, dead: bool, node: str = "") -> bool:
        message = {"command": "process ended", "broker": self._name, "process": process, "dead": dead, "error": error}
        if doing is not None:
            message |= {"job": doing.job, "attempt": doing.attempt, "node": node}
        if not self._there:
            return False
        try:
            return bool(ask(client, self._api, message, ANSWER_S).get("its job"))
        except (RouterUnreachable, RouterAnswer):
            return False

    def _look_at_limits(self, client: ApiClient, now: float) -> None:
        for slot, process in enumerate(self._processes):
            doing = self._slots.doing(slot) if process.pid > 0 else None
            if doing is None or doing.timeout is None or now - doing.since < doing.timeout:
                continue
            error = f"timeout: it ran for longer than {doing.timeout:g} s; its process was killed"
            if self._tell(client, self._slots.address(slot), doing, error, dead=False, node=process.name):
                self.logger.warning("Job %s (%s): %s", doing.job, doing.worker, error)
            self._kill(slot, doing)

    def _end(self, process: _Process) -> None:
        if process.pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def _kill(self, slot: int, doing: CurrentJob) -> None:
        still = self._slots.doing(slot)
        if still is not None and (still.job, still.attempt, still.since) == (doing.job, doing.attempt, doing.since):
            self._processes[slot].killed = True
            self._end(self._processes[slot])
            in_store = self._slots.doing(self.number_of_workers)
            if in_store is not None and in_store.job == doing.job:  # or the next job would wait for this one's call of the store
                self._store_process.killed = True
                self._end(self._store_process)

    # the main loop

    def _work(self, client: ApiClient, listener: Listener) -> None:
        self.logger.info("Broker started")
        self._ask_configuration(client)
        self._make_store()
        self._monitor = Monitor(self.logger, cluster_ip(host_of(self._api)), self.number_of_workers)
        next_pulse = next_monitoring = 0.0
        while True:
            now = time.monotonic()
            if self._there:
                self._start_missing(now)
            if now >= next_pulse:
                next_pulse = now + PULSE_S
                self._send_pulse(client)
            if now >= next_monitoring:
                next_monitoring = now + max(LOOK_S, self._configuration.interval_s)
                self._monitor.begin(self._store, self._running(), self._scrub)
            for _, body in listener.hear(min(LOOK_S, self.poll_time / 1000)):
                self._kill_cancelled(body)
            now = time.monotonic()
            self._take_reports(client, now)
            self._look_at_limits(client, now)
            if self._there and self._known_addresses != set(self._addresses()):
                next_pulse = now  # a process has come or gone: the Router must know whose it is

    def _make_store(self) -> None:
        """The Broker's own way to the store, for monitoring.

        Raises:
            DaemonError: the store cannot be constructed.
        """
        try:
            if self._rendezvous is None:
                self._store = new_store(self.StoreClass, self._arguments())
                return
            self._store_process.router = self._router
            self._start_store(time.monotonic())
            self._store = SharedStore(self._rendezvous)
            self._store.check()
        except DaemonError as error:
            raise DaemonError(self._scrub(str(error))) from None

    def _addresses(self) -> list[str]:
        return [address for slot, process in enumerate(self._processes) if process.pid and (address := self._slots.address(slot))]

    def _pulse(self) -> dict[str, Any]:
        addresses = self._addresses()
        self._known_addresses = set(addresses)
        return {"command": "pulse", "broker": self._name, "workers": self.available_workers, "processes": addresses}

    def _ask_configuration(self, client: ApiClient) -> None:
        self.logger.info("Trying to connect to router...")
        request = {"command": "get configuration"}
        self.logger.info("[API] Request to router: %s", request)
        told = False
        while True:
            try:
                answer = ask(client, self._api, request, ANSWER_S)
                self._configuration = configuration(answer)
                break
            except RouterUnreachable as error:
                if isinstance(error, KeysRefused) and not self._router:
                    raise DaemonError(str(error)) from None
                if not told:
                    self.logger.warning("The Router does not answer; asking again")
                told = True
            except (RouterAnswer, RemoteProtocolError) as error:
                if not self._router:
                    raise DaemonError(f"what answers at {self._api} is no Router: {error}") from None
                self.logger.warning("The Router's answer cannot be understood: %s; asking again", error)
                time.sleep(PULSE_S)
        self._router = self._configuration.router
        self._scrub = scrubber(self._arguments(), self._store_arguments)
        shown = {name: value for name, value in answer.items() if name != "fission"}
        self.logger.info("[API] Reply from router: %s", self._scrub(str(shown)))

    def _send_pulse(self, client: ApiClient) -> None:
        try:
            router = router_of(ask(client, self._api, self._pulse(), ANSWER_S))
        except RouterUnreachable as error:
            before, self._trouble = self._trouble, str(error) if isinstance(error, KeysRefused) else "The Router does not answer"
            if self._trouble != before:
                self.logger.warning("%s; asking again", self._trouble)
            self._there = False
            return
        except (RouterAnswer, RemoteProtocolError) as error:
            self.logger.error("The Router: %s", error)
            return
        if router != self._router:
            self.logger.info("The Router was started anew: so are the worker processes")
            self._ask_configuration(client)
            self._name = uuid.uuid4().hex
            for process in (*self._processes, self._store_process):  # what they run counts no more
                self._end(process)
        elif not self._there:
            self.logger.info("The Router is back")
        self._there, self._trouble = True, ""

    def _kill_cancelled(self, body: bytes) -> None:
        try:
            jobs = {job for job in take(decode(body), "jobs", list) if isinstance(job, str)}
        except RemoteProtocolError:
            return
        for slot, process in enumerate(self._processes):
            doing = self._slots.doing(slot) if process.pid > 0 else None
            if doing is not None and doing.job in jobs:
                self.logger.info("Job %s (%s) was cancelled", doing.job, doing.worker)
                self._kill(slot, doing)

    def _running(self) -> list[tuple[int, CurrentJob | None]]:
        return [(process.pid, self._slots.doing(slot)) for slot, process in enumerate(self._processes) if process.pid > 0]


def checked_tags(tags: Any) -> list[str]:
    """The tags of a Broker, each once.

    Raises:
        DaemonError: one of them cannot be.
    """
    wrong = isinstance(tags, str) or not isinstance(tags, Iterable)
    found = [] if wrong else list(tags)
    if wrong or not all(is_name(tag) and len(tag) <= NAME_LENGTH for tag in found):
        raise DaemonError(f"tags must be a list of names without spaces, of at most {NAME_LENGTH} characters, is {tags!r}: ['gpu']")
    return list(dict.fromkeys(found))


def _checked_number(number: Any) -> int:
    if number is None:
        return os.cpu_count() or 1
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise DaemonError(f"number_of_workers must be a whole number from 1 on, is {number!r}")
    return number


def _prepare() -> None:
    """Loads what every worker process needs, once."""
    import fission.adapters.dask_pipelines  # noqa: F401
