"""Runs a network on this machine to its end, on as many virtual nodes as somebody wants to see."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Sequence

from fission.adapters.descriptors import raise_limit
from fission.adapters.local_engine import LocalEngine
from fission.adapters.run_folder import make_run_folder
from fission.client.bundles import groups_of
from fission.client.conductor import Conductor
from fission.client.faults import Chaos, Fault, Saboteur, check_faults
from fission.client.folders import alone
from fission.client.one_run import CLIENT, OneRun
from fission.client.signals import Signals
from fission.client.summary import Summary
from fission.core.nodes import NodeInfo
from fission.ports import Engine, Observer
from fission.project.config import LoadedNetwork
from fission.project.foresight import check_descriptors


def simulate(
    loaded: LoadedNetwork,
    *,
    duration: float | None = None,
    observer: Observer | None = None,
    stdin: bool = True,
    nodes: int = 0,
    faults: Sequence[Fault] = (),
    chaos: Chaos | None = None,
) -> Summary:
    """Run the network on this machine until it ends, fails, ``duration`` is over or a signal comes. Blocks.

    Every job gets the empty folder ``NETWORK/simulation/<job id>`` (with its DEPENDENCIES) and a process. Afterwards no process,
    socket or shared memory is left. Must be called in the main thread, because it takes SIGINT and SIGTERM meanwhile.

    Args:
        loaded: the network.
        duration: seconds after which it is stopped, which counts as a success; None: no limit.
        observer: told what happens.
        stdin: whether standard input may feed the network's InteractiveJob, if it has exactly one.
        nodes: how many virtual nodes the jobs are spread over, named 1 to N; local jobs stay on the client. 0: none.
        faults: what is to be lost, and when.
        chaos: random faults besides.

    Raises:
        DefinitionError: something of a job cannot be sent to its process; nothing was started.
        UserError: the network runs already, its folder cannot be made anew, or a fault names no node or job, or too few files may be open;
            nothing was started.
        EngineError: processes cannot be started.
    """
    names = [str(number) for number in range(1, nodes + 1)]
    check_faults(faults, names, sorted(loaded.network.jobs))
    check_descriptors(loaded)
    raise_limit()
    with Signals() as signals, alone(loaded):
        run_folder = make_run_folder()
        try:
            run = _Simulation(loaded, run_folder, observer or Observer(), stdin, names, faults, chaos)
            return asyncio.run(run.main(duration, signals))
        finally:
            signals.forget()
            shutil.rmtree(run_folder, ignore_errors=True)


class _Simulation(OneRun):
    """One run of a network on virtual nodes."""

    def __init__(
        self,
        loaded: LoadedNetwork,
        run_folder: str,
        observer: Observer,
        stdin: bool,
        virtual: Sequence[str],
        faults: Sequence[Fault],
        chaos: Chaos | None,
    ) -> None:
        super().__init__(loaded, loaded.folder / "simulation", run_folder, observer, stdin)
        self._virtual, self._faults, self._chaos = virtual, faults, chaos

    def _nodes(self) -> list[NodeInfo]:
        """In a simulation every group is everywhere."""
        groups = tuple(dict.fromkeys((*groups_of(self._loaded.network), "ALL")))
        room = len(self._loaded.network.jobs)
        virtual = tuple(group for group in groups if group != "LOCAL")
        client = ("LOCAL",) if self._virtual else groups
        return [
            *(NodeInfo(name, "127.0.0.1", virtual, max_jobs=room) for name in self._virtual),
            NodeInfo(CLIENT, "127.0.0.1", client, max_jobs=room),
        ]

    def _companions(self, engine: Engine, conductor: Conductor) -> list[Awaitable[None]]:
        if not isinstance(engine, LocalEngine):
            return []
        saboteur = Saboteur(engine, self._observer, self._virtual, sorted(self._loaded.network.jobs))
        return [saboteur.run(self._faults, self._chaos)]
