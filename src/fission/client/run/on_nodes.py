"""Runs a network on the nodes of its config, to its end."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from fission import durable
from fission.adapters import batman
from fission.adapters.cluster.engine import DaskEngine
from fission.adapters.cluster.members import Session
from fission.adapters.cluster.worker import security
from fission.adapters.curve import Guard
from fission.adapters.datagrams import Datagrams
from fission.adapters.descriptors import raise_limit
from fission.adapters.file_checkpoints import FileCheckpoints
from fission.adapters.keys import Keys, default_folder, load_keys
from fission.adapters.run_folder import make_run_folder
from fission.adapters.sealing import Seals
from fission.adapters.zmq_jobs import ZmqJobTransport
from fission.client.attach.attach import keep_output
from fission.client.run import run_folders
from fission.client.run.bundles import Addresses, HostAddresses, groups_of, plans
from fission.client.run.checkpoint_service import check_stored
from fission.client.run.coordinator import Coordinator
from fission.client.run.endings import OUTPUT_FILE
from fission.client.run.engines import Engines
from fission.client.run.event_log import EVENTS
from fission.client.run.folders import alone, fill_folder
from fission.client.run.listening import check_ports, client_address
from fission.client.run.one_run import CHECKPOINTS, CLIENT, OneRun
from fission.client.run.resume_state import CURE, ResumeState, read_history
from fission.client.run.roster import Roster, only_here
from fission.client.run.signals import Signals
from fission.client.run.summary import Summary
from fission.client.run.windows import Windows
from fission.client.serve.control_server import Connection, ControlServer
from fission.core.addresses import host_port
from fission.core.base import group_names
from fission.core.network import Network
from fission.core.nodes import NodeInfo
from fission.errors import UserError
from fission.ports import Archive, Engine, JobArchives, NodeName, Observer, Place
from fission.project.archives import Archives
from fission.project.config import LoadedNetwork
from fission.project.foresight import check_descriptors
from fission.service.versions import versions

log = logging.getLogger("fission.client")

#: Seconds between two looks at the quality of the ways; arbitrary, batman-adv itself sends its messages every second.
WAYS_S = 1.0
#: In the run's folder; nodes know the run by what is in it.
IDENTITY = "run.json"
#: Seconds that nodes have to answer before the network starts without them; arbitrary. Their services look for the client every second.
GATHER_S = 5.0


def run(
    loaded: LoadedNetwork,
    *,
    duration: float | None = None,
    observer: Observer | None = None,
    stdin: bool = True,
    resume: bool = False,
    output: Path | None = None,
) -> Summary:
    """Run the network on its NODES until it ends, fails, ``duration`` is over or a signal comes. Blocks.

    Local jobs run on this machine, in ``NETWORK/runs/DATE-N/<job id>``, where ``NETWORK/local`` is a link to; so do all, if NODES names
    no other machine. Afterwards no process, socket or shared memory of the run is left, here or on a node. Must be called in the main
    thread, because it takes SIGINT and SIGTERM meanwhile.

    Args:
        loaded: the network, not loaded for a simulation.
        duration: seconds after all jobs were started after which it is stopped, which counts as a success; None: no limit.
        observer: told what happens.
        stdin: whether standard input may feed the network's InteractiveJob, if it has exactly one.
        output: file that standard output and standard error are; it is moved into the folder of the run. None: they are no such file.
        resume: go on with the last run, whose client was killed: with its snapshots, its jobs that still live, and its sinks' files.

    Raises:
        DefinitionError: something of a job cannot be sent to its process; nothing was started.
        UserError: the network runs already, its folder cannot be made anew, CLIENT_IP is not this machine's, there are no keys, or too few
            files may be open.
        EngineError: processes cannot be started, or an address is in use.
    """
    here = only_here(loaded.config.nodes) and loaded.config.cluster is None
    keys = None if here else network_keys(loaded)
    observer = observer or Observer()
    if here:
        observer.notice(_why_here(loaded))
    else:
        client_address(loaded)  # what is wrong with it is said before anything else happens
    check_descriptors(loaded)
    raise_limit()
    with Signals() as signals, alone(loaded):
        if not here:
            check_ports(loaded, client_address(loaded))
        run_folder = make_run_folder()
        try:
            folder = run_folders.to_resume(loaded.folder) if resume else run_folders.new_run(loaded.folder, observer.notice)
            arguments = (loaded, folder, run_folder, observer, stdin)
            one = _RunHere(*arguments, resume=resume) if here else _RunOnNodes(*arguments, resume=resume, keys=keys)
            one.output = output
            return asyncio.run(one.main(duration, signals))
        finally:
            signals.forget()
            shutil.rmtree(run_folder, ignore_errors=True)


def _why_here(loaded: LoadedNetwork) -> str:
    why = "names no other machine" if loaded.config.nodes else "is empty"
    return f"NODES {why}: {loaded.name} runs on this machine alone"


def network_keys(loaded: LoadedNetwork) -> Keys | None:
    """Return the keys with which the network is encrypted; None: SECURITY is off. Raises UserError: there are none."""
    if loaded.config.security:
        return load_keys(default_folder())
    return None


async def logs_of(engine: DaskEngine, network: str) -> dict[str, str]:
    """The log of a network's jobs on each node that is there, by node; the error where there is none."""
    names = list(engine.nodes())
    answers = await asyncio.gather(*(engine.question(name, {"do": "log", "network": network}) for name in names), return_exceptions=True)
    found = {}
    for name, answer in zip(names, answers, strict=True):
        found[str(name)] = answer.get("log", "") if isinstance(answer, dict) else f"{answer}\n"
    return found


def all_archives(network: Network, archives: Archives) -> list[Archive]:
    """The archives that any job of a network needs, each once."""
    found: dict[str, Archive] = {}
    for job in network.jobs:
        baggage = archives.baggage(job)
        found |= {one.digest: one for one in (baggage.code, baggage.dependencies) if one is not None}
    return list(found.values())


def guard_of(keys: Keys | None) -> Callable[[Any], Any]:
    """What bounds strangers at the sockets of a ZeroMQ context, and encrypts them if there are keys."""
    return lambda context: Guard(context, keys, log)


def far_engine(
    loaded: LoadedNetwork,
    run: str,
    keys: Keys | None,
    roster: Roster,
    baggage: Callable[[int], JobArchives],
    pre_copy: Callable[[], Sequence[Archive]] = tuple,
) -> DaskEngine:
    """Return the engine that reaches the nodes of a network.

    Args:
        loaded: the network; CLIENT_IP is set.
        run: identity of the run.
        keys: of the network; None: nothing is encrypted.
        roster: who is who.
        baggage, pre_copy: as `DaskEngine` has them.
    """
    config, ip = loaded.config, client_address(loaded)
    session = Session(
        run=run,
        network=loaded.name,
        pulses=(ip, config.port),
        ear=f"tcp://{host_port(ip, config.port + 2)}",
        interval_s=config.pulse_interval,
        orphan_timeout_s=config.orphan_timeout,
        root=config.remote_root or "",
        versions=versions(),
    )
    return DaskEngine(
        session,
        roster,
        baggage,
        ip=ip,
        port=config.port,
        cluster=config.cluster,
        tls=None if keys is None else security(str(keys.ca_file), str(keys.cert_file), str(keys.key_file)),
        guard=guard_of(keys),
        pulses=lambda take, sender, hears: Datagrams(take, Seals(keys), sender, hears),
        follow=config.debug_window,
        pre_copy=pre_copy,
        keys="" if keys is None else str(keys.folder),
    )


class _Resumable(OneRun):
    """A run that another client can continue.

    Attributes:
        output: file that standard output and standard error are, if it belongs into the folder of the run.
    """

    output: Path | None = None

    def __init__(self, loaded: LoadedNetwork, folder: Path, run_folder: str, observer: Observer, stdin: bool, *, resume: bool) -> None:
        super().__init__(loaded, folder, run_folder, observer, stdin)
        self._resume = resume
        self._run = _identity(folder) if resume else secrets.token_hex(8)

    def _history(self) -> ResumeState | None:
        if not self._resume:
            return None
        history = read_history(self.folder, plans(self._loaded.network, self._loaded.config.restarts))
        if history.torn_bytes:
            text = f"{self.folder / EVENTS}: its last {history.torn_bytes} bytes are an entry that was not written to its end"
            self._observer.warning(text)
        jobs = [job for job in self._loaded.network.jobs if job not in history.story.finished]
        check_stored(FileCheckpoints(self.folder / CHECKPOINTS), jobs, history.stored)
        self._keep_output()  # before there are processes that have the same standard output
        return history

    def _make_folders(self) -> None:
        if self._resume:
            try:
                fill_folder(self._loaded, self.folder)
                if self.folder.name != run_folders.LOCAL:
                    run_folders.point(self._loaded.folder, self.folder)
            except OSError as why:
                raise UserError(f"{self.folder}, where the jobs work, cannot be written: {why}") from None
        else:
            run_folders.make_run(self.folder, self._fill)
            self._keep_output()
            run_folders.remove_old(self._loaded.folder, self._loaded.config.keep_runs, self.folder)

    def _keep_output(self) -> None:
        if self.output is not None:
            try:
                keep_output(self.output, self.folder)
            except OSError as why:
                raise UserError(f"{self.folder / OUTPUT_FILE} cannot be written: {why.strerror or why}") from None

    def _fill(self, folder: Path) -> None:
        fill_folder(self._loaded, folder)
        durable.write_whole(folder / EVENTS, durable.seal({"s": 0, "what": "Run", "run": self._run, "network": self._loaded.name}))
        durable.write_json(folder / IDENTITY, {"run": self._run})


def _identity(folder: Path) -> str:
    path = folder / IDENTITY
    try:
        return str(durable.read_json(path)["run"])
    except durable.DamagedFileError as why:
        raise UserError(f"the run cannot be resumed: {why}; {CURE}") from None
    except KeyError:
        raise UserError(f"the run cannot be resumed: {path} is of another version of FISSION; {CURE}") from None
    except OSError as why:
        text = f"there is no run to resume in {folder}: {path}: {why.strerror or why}; start one without --resume"
        raise UserError(text) from None


class _RunHere(_Resumable):
    """NODES names no other machine: all jobs run on this one, without any service."""

    def _nodes(self) -> list[NodeInfo]:
        return [
            NodeInfo(
                CLIENT,
                "127.0.0.1",
                tuple(dict.fromkeys((*groups_of(self._loaded.network), "ALL"))),
                max_jobs=len(self._loaded.network.jobs),
            )
        ]


class _RunOnNodes(_Resumable):
    """Local jobs here, all others on the nodes."""

    def __init__(
        self, loaded: LoadedNetwork, folder: Path, run_folder: str, observer: Observer, stdin: bool, *, resume: bool, keys: Keys | None
    ) -> None:
        super().__init__(loaded, folder, run_folder, observer, stdin, resume=resume)
        self._keys = keys
        self._roster = Roster(loaded.config.nodes)
        self._archives = Archives(loaded)
        self._ip, self._port = client_address(loaded), loaded.config.port
        self._windows, self._windowed = Windows(loaded.root, observer), False
        if keys is None:
            observer.warning("SECURITY = False: nothing is encrypted, and whoever reaches the nodes can run code on them")

    def _nodes(self) -> list[NodeInfo]:
        room = len(self._loaded.network.jobs)
        return [NodeInfo(CLIENT, self._ip, ("LOCAL",), max_jobs=room), *self._roster.expected()]

    def _addresses(self) -> Addresses:
        return HostAddresses(self._run_folder, self._shared_prefix, self._at(1), CLIENT)

    def _at(self, offset: int) -> str:
        return f"tcp://{host_port(self._ip, self._port + offset)}"

    def _desk(self, addresses: Addresses) -> ZmqJobTransport:
        return ZmqJobTransport(addresses.client, self._at(1), guard_of(self._keys))

    def _engine(self, nodes: list[NodeInfo]) -> Engine:
        pre_copy = self._all_archives if self._loaded.config.pre_copy else tuple
        far = far_engine(self._loaded, self._run, self._keys, self._roster, self._archives.baggage, pre_copy)
        place = Place("", (), "", self._run_folder, self._ip, "" if self._keys is None else str(self._keys.folder))
        return Engines(self._local_engine([NodeName(CLIENT)]), far, NodeName(CLIENT), place)

    def _all_archives(self) -> list[Archive]:
        return all_archives(self._loaded.network, self._archives)

    def _gather_s(self) -> float | None:
        return GATHER_S

    def _shows(self, job: int) -> bool:
        return (self._loaded.config.debug_window and not self._windowed) or "LOCAL" in group_names(self._loaded.network.jobs[job].GROUPS)

    def _follower(self, engine: Engine) -> Callable[[bool], Awaitable[None]] | None:
        if not isinstance(engine, Engines):
            return None
        return lambda on: engine.far.follow(on or self._loaded.config.debug_window)

    def _answer(self, requests: ControlServer, engine: Engine, coordinator: Coordinator) -> None:
        super()._answer(requests, engine, coordinator)

        async def collect(request: dict[str, Any], connection: Connection) -> dict[str, Any]:
            logs = await logs_of(engine.far, self._loaded.name) if isinstance(engine, Engines) else {}
            return {"logs": logs, "ips": {node.name: node.ip for node in coordinator.nodes()}}

        requests.answer("collect", collect)

    def _opened(self) -> None:
        if self._loaded.config.debug_window:
            self._windowed = self._windows.open(self._loaded.name, "debug")

    async def _before_close(self, engine: Engine) -> None:
        self._windows.close()
        if isinstance(engine, Engines):
            await engine.far.dismiss()

    def _companions(self, engine: Engine, coordinator: Coordinator) -> list[Awaitable[None]]:
        names = [node.name for node in self._roster.expected()]
        if names:
            self._observer.notice(f"waiting for the nodes {', '.join(names)}" if len(names) > 1 else f"waiting for the node {names[0]}")
        return [self._measure_ways(coordinator)] if batman.available() else []

    async def _measure_ways(self, coordinator: Coordinator) -> None:
        mesh = batman.Batman(log)
        while True:
            ips = [node.ip for node in coordinator.nodes()]
            coordinator.places.qualities = await asyncio.to_thread(mesh.qualities, ips)
            await asyncio.sleep(WAYS_S)
