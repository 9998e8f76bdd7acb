"""One run of a network as `simulate` and `run` decide it before anything starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fission.client.run.jobs.bundles import Addresses
from fission.client.run.storage.resume_state import ResumeState
from fission.client.serve.windows import Windows
from fission.core.nodes import NodeInfo
from fission.ports import Engine, Observer
from fission.posix.service_manager import ServiceManager
from fission.project.config import LoadedNetwork

if TYPE_CHECKING:
    from fission.client.run.coordinator import Coordinator

#: Runs beside the network and is cancelled when the network is over.
Companion: TypeAlias = "Callable[[Coordinator], Awaitable[None]]"


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Everything that makes one run differ from another; `NetworkRun` performs it.

    Attributes:
        loaded: the network.
        folder: folder of the run, which contains the jobs' folders.
        run_folder: temporary folder for the sockets of this machine.
        make_folders: prepares ``folder``; may raise UserError.
        nodes: the expected nodes.
        engine: hosts the jobs; not open yet.
        addresses: where jobs and client listen.
        remote_address: where jobs on other machines reach the client; empty: there are none.
        guard: encrypts the sockets that other machines reach; None: no encryption.
        gather_s: seconds after which the network starts without the missing nodes; None: it needs
            all of them.
        stdin: whether standard input may feed a console.
        shown_jobs: ids of the jobs whose output this terminal always shows.
        windows: show the output of the other jobs in a window; if no window opens, this terminal
            shows it. None: other terminals may ask for it.
        collects_logs: whether other terminals get the nodes' logs through this run.
        resume_state: state of the run to resume; None: this is a new run.
        warnings: texts to report as soon as the run begins.
        companions: coroutines that run beside the network.
        moved: waits until the nodes must reach this machine at another address; None: they never
            must.
        manager: the service manager that started this process.
    """

    loaded: LoadedNetwork
    folder: Path
    run_folder: str
    make_folders: Callable[[], None]
    nodes: tuple[NodeInfo, ...]
    engine: Engine
    addresses: Addresses
    remote_address: str = ""
    guard: Callable[[Any], Any] | None = None
    gather_s: float | None = None
    stdin: bool = True
    shown_jobs: frozenset[int]
    windows: Windows | None = None
    collects_logs: bool = False
    resume_state: ResumeState | None = None
    warnings: tuple[str, ...] = ()
    companions: tuple[Companion, ...] = ()
    moved: Callable[[Observer], Awaitable[None]] | None = None
    manager: ServiceManager = field(default_factory=ServiceManager)
