"""The Broker: runs jobs in worker processes on this machine."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fission.errors import RemoteProtocolError, UserError
from fission.pipelines.daemon import OLDER, ask, ask_fields, host_of, protect_with, quiet_logger, read_keys, sigterm_ends
from fission.pipelines.errors import DaemonError, KeysRefused, RouterAnswer, RouterUnreachable
from fission.pipelines.jobs import load_all_workers
from fission.pipelines.monitoring import Monitor, cluster_ip
from fission.pipelines.store_secrets import scrubber
from fission.pipelines.worker_processes import WorkerDeath, WorkerProcesses, WorkerSettings
from fission.protocol.messages.pipelines.broker_to_router import BrokerPulse, GetConfiguration, ReportProcessEnded
from fission.protocol.messages.pipelines.router_to_broker import KillJobs, ProcessEndNoted, PulseHeard, RouterConfiguration
from fission.protocol.messages.pipelines.wire import convert, decode_object, encode
from fission.protocol.pipeline_limits import NAME_LENGTH, is_name

if TYPE_CHECKING:
    from fission.adapters.zmq_api import ApiClient, Listener

#: Seconds between two pulses. As in fission.pipelines.broker_registry.
PULSE_S = 1.0
#: Seconds to wait for an answer of the Router.
ANSWER_S = 2.0
#: Maximum number of seconds between two checks of timeouts.
CHECK_S = 0.05


class Broker:
    """Runs jobs in worker processes. Any number of Brokers may run, each with its own workers."""

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
        """Prepare a Broker; `start` connects it.

        Args:
            api: the Router's address for requests, ``tcp://HOST:PORT``.
            broadcast: the Router's address for broadcasts, ``tcp://HOST:PORT``.
            store_class: makes a store from the arguments in the Router's ``config['store']``: one
                for this Broker, whose methods are called one after the other, or, if it has a class
                attribute ``parallel = True``, one in each worker process.
            workers: name of a module whose ``__all__`` names the workers, or a list of such names.
            logger: gets the log; None: nothing is logged.
            logger_name: name of the logger if none is given.
            poll_time: milliseconds between two checks of timeouts, at most 50.
            number_of_workers: number of worker processes; None: the number of CPUs.
            keys: the Router's, the folder of `fission keys`; None: the Router has none.
            store_arguments: arguments of the store that replace the Router's of the same names.
                They are never sent or logged; use them for secrets.
            executables: workers that are programs, by name: a command, or a dict with ``command``,
                ``requires``, ``timeout`` (seconds) and ``max_output`` (bytes).
            tags: names that jobs with a ``tag`` ask for.

        Raises:
            DaemonError: an argument is malformed, workers cannot be loaded, or the keys cannot be
                used.
        """
        self._api = api
        self._broadcast = broadcast
        self._store_arguments = checked_store_arguments(store_arguments)
        self._keys = read_keys(keys)
        self.logger = logger if logger is not None else quiet_logger(logger_name)
        self.poll_time = poll_time
        if not callable(store_class):
            raise DaemonError(f"store_class must be a class with retrieve, save and save_monitoring, but is {store_class!r}")
        self.StoreClass = store_class
        self.number_of_workers = _checked_number(number_of_workers)
        self.workers = workers
        loaded = load_all_workers(workers, executables or {})
        self.tags = checked_tags(tags)
        self.available_workers = list(loaded)
        settings = WorkerSettings(self.number_of_workers, loaded, store_class, self._store_arguments, self.tags, self._keys)
        self.processes = WorkerProcesses(settings, self.logger)
        self._name = uuid.uuid4().hex
        self._router = ""
        self._configuration: RouterConfiguration
        self._scrub: Callable[[str], str] = str
        self._there = True  # whether the Router has answered the last pulse
        self._trouble = ""  # what was logged about a Router that does not answer
        self._known_addresses: set[str] = set()
        #: Whether Ctrl-C or SIGTERM has ended it.
        self.interrupted = False

    def start(self) -> None:
        """Run jobs until Ctrl-C or SIGTERM; the Router may come and go.

        Raises:
            DaemonError: an address is malformed, the program there is not a Router or has other
                keys, or the store cannot be constructed.
        """
        from fission.adapters.zmq_api import ApiClient, Listener

        self.logger.info("Starting worker processes")
        with contextlib.ExitStack() as stack:
            stack.callback(self.processes.close)
            reports = self.processes.open()
            try:
                client = ApiClient(self._api, protect_with(self._keys))
                stack.callback(client.close)
                listener = Listener(self._broadcast, ["kill"], protect_with(self._keys))
                stack.callback(listener.close)
            except UserError as error:
                raise DaemonError(str(error)) from None
            try:
                with sigterm_ends():
                    listener.add_descriptor(reports)
                    self._work(client, listener)
            except KeyboardInterrupt:
                self.interrupted = True
                self.logger.info("Got a signal to end, exiting.")
                if self._router:
                    client.request(encode(self._pulse(leave=True)), 0.5, again=0.5)

    def _work(self, client: ApiClient, listener: Listener) -> None:
        self.logger.info("Broker started")
        self._ask_configuration(client)
        try:
            store = self.processes.make_store()
        except DaemonError as error:
            raise DaemonError(self._scrub(str(error))) from None
        monitor = Monitor(self.logger, cluster_ip(host_of(self._api)), self.number_of_workers)
        next_pulse = next_monitoring = 0.0
        while True:
            now = time.monotonic()
            if self._there:
                self.processes.start_missing(now)
            if now >= next_pulse:
                next_pulse = now + PULSE_S
                self._send_pulse(client)
            if now >= next_monitoring:
                next_monitoring = now + max(CHECK_S, self._configuration.monitoring_interval)
                monitor.begin(store, self.processes.running(), self._scrub)
            for _, body in listener.receive(min(CHECK_S, self.poll_time / 1000)):
                self.kill_cancelled(body)
            now = time.monotonic()
            for death in self.processes.deaths(now):
                if self._report(client, death, dead=True) and death.ended and death.job is not None:
                    self.logger.error("Job %s (%s): %s", death.job.job, death.job.worker, death.error)
            self._check_timeouts(client, now)
            if self._there and self._known_addresses != set(self.processes.addresses()):
                next_pulse = now  # a process has started or died: the Router must know whose it is

    # jobs

    def _report(self, client: ApiClient, death: WorkerDeath, *, dead: bool) -> bool:
        """Report a process that has died or must die; return whether its job was running in this
        attempt.
        """
        if not self._there:
            return False
        job = death.job
        report = ReportProcessEnded(
            broker=self._name,
            process=death.address,
            dead=dead,
            error=death.error,
            job=job.job if job is not None else "",
            attempt=job.attempt if job is not None else 0,
            node=death.name if job is not None else "",
        )
        try:
            return ask(client, self._api, report, ProcessEndNoted, ANSWER_S).its_job
        except (RouterUnreachable, RouterAnswer):
            return False

    def _check_timeouts(self, client: ApiClient, now: float) -> None:
        for slot, job in self.processes.current():
            if job.timeout is None or now - job.since < job.timeout:
                continue
            error = f"timeout: it ran for longer than {job.timeout:g} s; its process was killed"
            if self._report(client, self.processes.death_of(slot, job, error), dead=False):
                self.logger.warning("Job %s (%s): %s", job.job, job.worker, error)
            self.processes.kill(slot, job)

    def kill_cancelled(self, body: bytes) -> None:
        """Kill the processes that run jobs of a broadcast `KillJobs`; a malformed broadcast is
        ignored.
        """
        try:
            jobs = set(convert(decode_object(body), KillJobs).jobs)
        except RemoteProtocolError:
            return
        for slot, job in self.processes.current():
            if job.job in jobs:
                self.logger.info("Job %s (%s) was cancelled", job.job, job.worker)
                self.processes.kill(slot, job)

    # the Router

    def _pulse(self, *, leave: bool = False) -> BrokerPulse:
        addresses = self.processes.addresses()
        self._known_addresses = set(addresses)
        return BrokerPulse(broker=self._name, workers=list(self.available_workers), processes=addresses, leave=leave)

    def _send_pulse(self, client: ApiClient) -> None:
        try:
            router = ask(client, self._api, self._pulse(), PulseHeard, ANSWER_S).fission.router
        except RouterUnreachable as error:
            before, self._trouble = self._trouble, str(error) if isinstance(error, KeysRefused) else "The Router does not answer"
            if self._trouble != before:
                self.logger.warning("%s; asking again", self._trouble)
            self._there = False
            return
        except RouterAnswer as error:
            self.logger.error("The Router: %s", error)
            return
        if router != self._router:
            self.logger.info("The Router was restarted; restarting the worker processes")
            self._name = uuid.uuid4().hex
            self._ask_configuration(client)
        elif not self._there:
            self.logger.info("The Router is back")
        self._there, self._trouble = True, ""

    def _ask_configuration(self, client: ApiClient) -> None:
        self.logger.info("Trying to connect to router...")
        request = GetConfiguration()
        self.logger.info("[API] Request to router: %s", msgspec.to_builtins(request))
        warned = False
        while True:
            try:
                fields = ask_fields(client, self._api, request, ANSWER_S)
                self._configuration = configuration_of(fields)
                break
            except RouterUnreachable as error:
                if isinstance(error, KeysRefused) and not self._router:
                    raise DaemonError(str(error)) from None
                if not warned:
                    self.logger.warning("The Router does not answer; asking again")
                warned = True
            except (RouterAnswer, RemoteProtocolError) as error:
                if not self._router:
                    raise DaemonError(f"the program at {self._api} is not a Router: {error}") from None
                self.logger.warning("The Router's answer cannot be understood: %s; asking again", error)
                time.sleep(PULSE_S)
        about, store = self._configuration.fission, self._configuration.store
        self._router = about.router
        self._scrub = scrubber({**store, **self._store_arguments}, self._store_arguments)
        protocol = "tls" if self._keys is not None else "tcp"
        self.processes.configure(self._router, self._name, f"{protocol}://{host_of(self._api)}:{about.scheduler_port}", store)
        shown = {name: value for name, value in fields.items() if name != "fission"}
        self.logger.info("[API] Reply from router: %s", self._scrub(str(shown)))


def configuration_of(fields: Mapping[str, Any]) -> RouterConfiguration:
    """Return the Router's configuration.

    Args:
        fields: members of its answer.

    Raises:
        RemoteProtocolError: it is malformed, or pypelinin's own.
    """
    if "fission" not in fields:
        raise RemoteProtocolError(f"its configuration has no 'fission': {OLDER}")
    configuration: RouterConfiguration = convert(fields, RouterConfiguration)
    return configuration


def checked_tags(tags: Any) -> list[str]:
    """Return the tags of a Broker, each once.

    Raises:
        DaemonError: *tags* is not a list of names.
    """
    wrong = isinstance(tags, str) or not isinstance(tags, Iterable)
    found = [] if wrong else list(tags)
    if wrong or not all(is_name(tag) and len(tag) <= NAME_LENGTH for tag in found):
        raise DaemonError(
            f"tags must be a list of names without spaces, of at most {NAME_LENGTH} characters, such as ['gpu'], but is {tags!r}"
        )
    return list(dict.fromkeys(found))


def _checked_number(number: Any) -> int:
    if number is None:
        return os.cpu_count() or 1
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise DaemonError(f"number_of_workers must be a whole number above 0, but is {number!r}")
    return number


def checked_store_arguments(arguments: Any) -> dict[str, Any]:
    """Return a Broker's own arguments of the store.

    Raises:
        DaemonError: they are not a dict of JSON's types; the text shows no value.
    """
    try:
        loaded: dict[str, Any] = dict(arguments or {})
        json.dumps(loaded, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DaemonError(f"store_arguments must be a dict of JSON's types: {type(error).__name__}") from None
    return loaded
