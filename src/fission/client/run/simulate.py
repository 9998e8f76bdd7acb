"""Runs a network on this machine to its end, optionally spread over virtual nodes."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from fission.adapters.descriptors import raise_limit
from fission.adapters.run_folder import make_run_folder
from fission.adapters.shared_memory.segments import run_prefix
from fission.client.folders.simulation_folder import held
from fission.client.folders.work_folder import alone, fill_folder, make_folders
from fission.client.reports.summary import Summary
from fission.client.run.engines.local import local_engine
from fission.client.run.faults import Chaos, FaultInjector, InjectedFault, check_faults
from fission.client.run.jobs.bundles import Addresses, groups_of
from fission.client.run.network_run import NetworkRun
from fission.client.run.plan import Companion, RunPlan
from fission.core.checks import CLIENT
from fission.core.network import Network
from fission.core.nodes import NodeInfo
from fission.errors import UserError
from fission.ports import Observer
from fission.posix.loop_signals import LoopSignals
from fission.project.config import LoadedNetwork
from fission.project.foresight import check_descriptors


def simulate(
    loaded: LoadedNetwork,
    *,
    duration: float | None = None,
    observer: Observer | None = None,
    stdin: bool = True,
    nodes: int = 0,
    faults: Sequence[InjectedFault] = (),
    chaos: Chaos | None = None,
    folder: Path | None = None,
    companions: Sequence[Companion] = (),
) -> Summary:
    """Run the network on this machine until it ends or fails, time is up or a signal arrives.

    Blocks. Each job gets a process and the empty folder ``NETWORK/simulation/<job id>`` (or
    ``FOLDER/<job id>``) with its DEPENDENCIES. No process, socket or shared memory remains
    afterwards. Call it in the main thread: it handles SIGINT and SIGTERM while it runs.

    Args:
        loaded: the network.
        duration: seconds after which the network is stopped, which counts as success; None: no
            limit.
        observer: notified of what happens.
        stdin: whether standard input may feed the network's InteractiveJob, if it has exactly one.
        nodes: number of virtual nodes, named 1 to N, that share the jobs; local jobs stay on the
            client. 0: no virtual nodes.
        faults: faults to inject, with their times.
        chaos: additional random faults.
        folder: work folder of the jobs in place of ``NETWORK/simulation``. The default folder is
            emptied; in this one only the jobs' folders and the files of an earlier simulation are
            removed.
        companions: more coroutines that run beside the network.

    Returns:
        The summary of the run.

    Raises:
        DefinitionError: a part of a job cannot be sent to its process; nothing was started.
        UserError: the network is already running, its folder cannot be recreated, a fault names an
            unknown node or job, or the limit on open files is too low; nothing was started.
        EngineError: processes cannot be started.
    """
    names = [str(number) for number in range(1, nodes + 1)]
    check_faults(faults, names, sorted(loaded.network.jobs))
    check_descriptors(loaded)
    raise_limit()
    own_folder = folder.resolve() if folder is not None else None
    usual = loaded.folder / "simulation"
    if own_folder == usual.resolve():
        own_folder = None
    with (
        LoopSignals() as signals,
        alone(loaded, own_folder),
        held(own_folder, loaded.network.jobs) if own_folder else contextlib.nullcontext(),
    ):
        run_folder = make_run_folder()
        try:
            addresses = Addresses(run_folder, run_prefix())
            engine = local_engine(loaded, run_folder, addresses.shared_prefix, [*names, CLIENT])
            jobs = sorted(loaded.network.jobs)
            plan = RunPlan(
                loaded=loaded,
                folder=own_folder or usual,
                run_folder=run_folder,
                make_folders=lambda: _fill(loaded, own_folder) if own_folder else make_folders(loaded, usual),
                nodes=tuple(_nodes(loaded.network, names)),
                engine=engine,
                addresses=addresses,
                stdin=stdin,
                shown_jobs=frozenset(jobs),
                companions=(lambda coordinator: FaultInjector(engine, coordinator.observer, names, jobs).run(faults, chaos), *companions),
            )
            return asyncio.run(NetworkRun(plan, observer or Observer()).main(duration, signals))
        finally:
            signals.forget()
            shutil.rmtree(run_folder, ignore_errors=True)


def _nodes(network: Network, virtual: Sequence[str]) -> list[NodeInfo]:
    """Return the nodes of a simulation.

    Every node is in every group. With virtual nodes, the client takes local jobs only.
    """
    groups = tuple(dict.fromkeys((*groups_of(network), "ALL")))
    room = len(network.jobs)
    remote = tuple(group for group in groups if group != "LOCAL")
    return [
        *(NodeInfo(name, "127.0.0.1", remote, max_jobs=room) for name in virtual),
        NodeInfo(CLIENT, "127.0.0.1", ("LOCAL",) if virtual else groups, max_jobs=room),
    ]


def _fill(loaded: LoadedNetwork, folder: Path) -> None:
    try:
        fill_folder(loaded, folder)
    except OSError as why:
        raise UserError(f"{folder}, where the jobs work, cannot be written: {why}") from None
