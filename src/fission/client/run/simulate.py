"""Runs a network on this machine to its end, on as many virtual nodes as somebody wants to see."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Sequence
from pathlib import Path

from fission.adapters.descriptors import raise_limit
from fission.adapters.local_engine import LocalEngine
from fission.adapters.run_folder import make_run_folder
from fission.client.run.bundles import groups_of
from fission.client.run.coordinator import Coordinator
from fission.client.run.elsewhere import held
from fission.client.run.faults import Chaos, Fault, Saboteur, check_faults
from fission.client.run.folders import alone, fill_folder
from fission.client.run.one_run import CLIENT, OneRun
from fission.client.run.signals import Signals
from fission.client.run.summary import Summary
from fission.core.nodes import NodeInfo
from fission.errors import UserError
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
    folder: Path | None = None,
) -> Summary:
    """Run the network on this machine until it ends, fails, ``duration`` is over or a signal comes. Blocks.

    Every job gets a process and the empty folder ``NETWORK/simulation/<job id>`` (or ``FOLDER/<job id>``) with DEPENDENCIES. Afterwards
    no process, socket or shared memory is left. Must be called in the main thread, because it takes SIGINT and SIGTERM meanwhile.

    Args:
        loaded: the network.
        duration: seconds after which it is stopped, which counts as a success; None: no limit.
        observer: told what happens.
        stdin: whether standard input may feed the network's InteractiveJob, if it has exactly one.
        nodes: how many virtual nodes the jobs are spread over, named 1 to N; local jobs stay on the client. 0: none.
        faults: what is to be lost, and when.
        chaos: random faults besides.
        folder: where the jobs work in place of ``NETWORK/simulation``, which is emptied; here only the folders of jobs and what an earlier
            simulation has made are removed, and all else stays.

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
    elsewhere = folder.resolve() if folder is not None else None
    usual = loaded.folder / "simulation"
    if elsewhere == usual.resolve():
        elsewhere = None
    with Signals() as signals, alone(loaded, elsewhere), held(elsewhere, loaded.network.jobs) if elsewhere else contextlib.nullcontext():
        run_folder = make_run_folder()
        try:
            run = _Simulation(loaded, elsewhere or usual, run_folder, observer or Observer(), stdin, names, faults, chaos)
            run.elsewhere = elsewhere is not None
            return asyncio.run(run.main(duration, signals))
        finally:
            signals.forget()
            shutil.rmtree(run_folder, ignore_errors=True)


class _Simulation(OneRun):
    """One run of a network on virtual nodes.

    Attributes:
        elsewhere: its folder is the user's and is ready.
    """

    elsewhere = False

    def __init__(
        self,
        loaded: LoadedNetwork,
        folder: Path,
        run_folder: str,
        observer: Observer,
        stdin: bool,
        virtual: Sequence[str],
        faults: Sequence[Fault],
        chaos: Chaos | None,
    ) -> None:
        super().__init__(loaded, folder, run_folder, observer, stdin)
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

    def _make_folders(self) -> None:
        if not self.elsewhere:
            super()._make_folders()
            return
        try:
            fill_folder(self._loaded, self.folder)
        except OSError as why:
            raise UserError(f"{self.folder}, where the jobs work, cannot be written: {why}") from None

    def _companions(self, engine: Engine, coordinator: Coordinator) -> list[Awaitable[None]]:
        if not isinstance(engine, LocalEngine):
            return []
        saboteur = Saboteur(engine, self._observer, self._virtual, sorted(self._loaded.network.jobs))
        return [saboteur.run(self._faults, self._chaos)]
