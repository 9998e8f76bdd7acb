"""Runs a network on the nodes of its config, to its end."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from fission.adapters import batman
from fission.adapters.descriptors import raise_limit
from fission.adapters.keys import Keys
from fission.adapters.run_folder import make_run_folder
from fission.adapters.shared_memory.segments import run_prefix
from fission.client.folders import run_folders
from fission.client.folders.work_folder import alone
from fission.client.reports.summary import Summary
from fission.client.run.coordinator import Coordinator
from fission.client.run.engines.cluster import GATHER_S, all_archives, cluster_engine, guard_of, network_keys
from fission.client.run.engines.combined import CombinedEngine
from fission.client.run.engines.listening import await_address, check_ports, client_address
from fission.client.run.engines.local import local_engine
from fission.client.run.engines.own_address import until_moved
from fission.client.run.jobs.bundles import Addresses, HostAddresses, groups_of
from fission.client.run.network_run import ClientMovedError, NetworkRun
from fission.client.run.nodes.configured_nodes import ConfiguredNodes, only_here
from fission.client.run.plan import RunPlan
from fission.client.run.start import Start, identity_of, resumes
from fission.client.serve.windows import Windows
from fission.core.addresses import host_port
from fission.core.base import group_names
from fission.core.checks import CLIENT
from fission.core.nodes import NodeInfo
from fission.ports import NodeName, Observer, Place
from fission.posix.loop_signals import LoopSignals
from fission.posix.service_manager import ServiceManager
from fission.project.archives import Archives
from fission.project.config import LoadedNetwork
from fission.project.foresight import check_descriptors

log = logging.getLogger("fission.client")

#: Seconds between two measurements of the links' quality; arbitrary: batman-adv itself sends its messages every second.
QUALITIES_S = 1.0


def run(
    loaded: LoadedNetwork,
    *,
    duration: float | None = None,
    observer: Observer | None = None,
    stdin: bool = True,
    resume: bool = False,
    or_start: bool = False,
    output: Path | None = None,
) -> Summary:
    """Run the network on its NODES until it ends or fails, time is up or a signal arrives. Blocks.

    Local jobs run on this machine, in ``NETWORK/runs/DATE-N/<job id>``, to which ``NETWORK/local``
    links. All jobs do if NODES names no other machine. No process, socket or shared memory of the
    run remains afterwards, here or on a node. Call it in the main thread: it handles SIGINT and
    SIGTERM while it runs.

    Args:
        loaded: the network, not loaded for a simulation.
        duration: seconds after the start of all jobs after which the network is stopped, which
            counts as success; None: no limit.
        observer: notified of what happens.
        stdin: whether standard input may feed the network's InteractiveJob, if it has exactly one.
        resume: continue the last run, whose client was killed, with its snapshots, its running jobs
            and the files of its sinks.
        or_start: with ``resume``: a run that failed is continued too; if no run is left to continue,
            a new one begins; and the run waits until this machine has the address CLIENT_IP.
        output: file behind standard output and standard error, which is moved into the folder of
            the run. None: there is no such file.

    Returns:
        The summary of the run.

    Raises:
        DefinitionError: a part of a job cannot be sent to its process; nothing was started.
        UserError: the network is already running, its folder cannot be recreated, CLIENT_IP is not
            this machine's, there are no keys, or the limit on open files is too low.
        EngineError: processes cannot be started, or an address is in use.
    """
    manager = ServiceManager()
    here = only_here(loaded.config.nodes) and loaded.config.cluster is None
    keys = None if here else network_keys(loaded)
    observer = observer or Observer()
    if here:
        observer.notice(_why_here(loaded))
    elif or_start:
        await_address(loaded, lambda text: _waits(text, observer, manager))
    else:
        client_address(loaded)  # reports what is wrong with it before anything else happens
    check_descriptors(loaded)
    raise_limit()
    begun, before = time.monotonic(), None
    with LoopSignals() as signals, alone(loaded):
        while True:
            ip = "" if here else client_address(loaded)
            if not here:
                check_ports(loaded, ip)
            run_folder = make_run_folder()
            try:
                if or_start and before is None:
                    resume = resumes(loaded, observer.notice)
                folder = before or _folder(loaded, observer, resume=resume)
                identity = identity_of(folder) if resume else secrets.token_hex(8)
                start = Start(loaded, folder, identity, output, resume=resume, failed=or_start)
                plan = _plan_here(start, run_folder, stdin) if here else _plan_on_nodes(start, run_folder, stdin, keys, observer)
                left_s = duration if before is None or duration is None else max(0.0, duration - (time.monotonic() - begun))
                summary = asyncio.run(NetworkRun(dataclasses.replace(plan, manager=manager), observer).main(left_s, signals))
                return summary if before is None else dataclasses.replace(summary, seconds=time.monotonic() - begun)
            except ClientMovedError:
                observer.warning(f"this machine's address was {ip} and is {client_address(loaded)} now: the network continues there")
                before, resume, output = folder, True, None  # the file has its place already
            except BaseException:
                signals.forget()
                raise
            finally:
                shutil.rmtree(run_folder, ignore_errors=True)


def _folder(loaded: LoadedNetwork, observer: Observer, *, resume: bool) -> Path:
    """Return the folder of the run."""
    return run_folders.to_resume(loaded.folder) if resume else run_folders.new_run(loaded.folder, observer.notice)


def _waits(text: str, observer: Observer, manager: ServiceManager) -> None:
    observer.notice(text)
    manager.status(text)


def _why_here(loaded: LoadedNetwork) -> str:
    why = "names no other machine" if loaded.config.nodes else "is empty"
    return f"NODES {why}: {loaded.name} runs on this machine alone"


def _plan_here(start: Start, run_folder: str, stdin: bool) -> RunPlan:
    """Return the plan for NODES without another machine: all jobs run here, without any service."""
    loaded, network = start.loaded, start.loaded.network
    addresses = Addresses(run_folder, run_prefix())
    groups = tuple(dict.fromkeys((*groups_of(network), "ALL")))
    state, warnings = start.state()
    return RunPlan(
        loaded=loaded,
        folder=start.folder,
        run_folder=run_folder,
        make_folders=start.make_folders,
        nodes=(NodeInfo(CLIENT, "127.0.0.1", groups, max_jobs=len(network.jobs)),),
        engine=local_engine(loaded, run_folder, addresses.shared_prefix, [CLIENT]),
        addresses=addresses,
        stdin=stdin,
        shown_jobs=frozenset(network.jobs),
        resume_state=state,
        warnings=warnings,
    )


def _plan_on_nodes(start: Start, run_folder: str, stdin: bool, keys: Keys | None, observer: Observer) -> RunPlan:
    """Return the plan for other machines: local jobs run here, all others on the nodes."""
    loaded, network, config = start.loaded, start.loaded.network, start.loaded.config
    ip = client_address(loaded)
    configured, archives = ConfiguredNodes(config.nodes, ip), Archives(loaded)
    if keys is None:
        observer.warning("SECURITY = False: nothing is encrypted, and anyone who can reach the nodes can run code on them")
    remote_address = f"tcp://{host_port(ip, config.port + 1)}"
    addresses = HostAddresses(run_folder, run_prefix(), remote_address, CLIENT)
    pre_copy = (lambda: all_archives(network, archives)) if config.pre_copy else tuple
    local = local_engine(loaded, run_folder, addresses.shared_prefix, [CLIENT])
    remote = cluster_engine(loaded, start.identity, keys, configured, archives.of_job, pre_copy)
    place = Place("", (), "", run_folder, ip, "" if keys is None else str(keys.folder))
    state, warnings = start.state()
    expected = configured.expected()
    return RunPlan(
        loaded=loaded,
        folder=start.folder,
        run_folder=run_folder,
        make_folders=start.make_folders,
        nodes=(NodeInfo(CLIENT, ip, ("LOCAL",), max_jobs=len(network.jobs)), *expected),
        engine=CombinedEngine(local, remote, NodeName(CLIENT), place),
        addresses=addresses,
        remote_address=remote_address,
        guard=guard_of(keys),
        gather_s=GATHER_S,
        stdin=stdin,
        shown_jobs=frozenset(number for number, job in network.jobs.items() if "LOCAL" in group_names(job.GROUPS)),
        windows=Windows(loaded.root, observer) if config.debug_window else None,
        collects_logs=True,
        resume_state=state,
        warnings=warnings,
        moved=lambda observer: until_moved(loaded, ip, observer),
        companions=(
            *((lambda coordinator: _announce(coordinator, [node.name for node in expected]),) if expected else ()),
            *((_measure_qualities,) if batman.available() else ()),
        ),
    )


async def _announce(coordinator: Coordinator, names: Sequence[str]) -> None:
    coordinator.observer.notice(f"waiting for the nodes {', '.join(names)}" if len(names) > 1 else f"waiting for the node {names[0]}")


async def _measure_qualities(coordinator: Coordinator) -> None:
    mesh = batman.Batman(log)
    while True:
        ips = [node.ip for node in coordinator.nodes()]
        coordinator.known_nodes.qualities = await asyncio.to_thread(mesh.qualities, ips)
        await asyncio.sleep(QUALITIES_S)
