"""One run of a network, as `simulate` and `run` have decided it before anything starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fission.client.run.bundles import Addresses
from fission.client.run.resume_state import ResumeState
from fission.client.run.windows import Windows
from fission.core.nodes import NodeInfo
from fission.ports import Engine
from fission.project.config import LoadedNetwork

if TYPE_CHECKING:
    from fission.client.run.coordinator import Coordinator

#: Runs beside the network until it is over; it is cancelled then.
Companion: TypeAlias = "Callable[[Coordinator], Awaitable[None]]"


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Everything in which one run differs from another; `NetworkRun` performs it.

    Attributes:
        loaded: the network.
        folder: of the run; the folders of jobs are in it.
        run_folder: temporary folder for the sockets of this machine.
        make_folders: makes ``folder`` ready; may raise UserError.
        nodes: that the run expects.
        engine: hosts the jobs; not open yet.
        addresses: where jobs and client listen.
        remote_address: where jobs of other machines reach the client; empty: there are none.
        guard: encrypts the sockets that other machines reach; None: nothing does.
        gather_s: seconds after which the network starts without the nodes that are not up; None: it needs all of them.
        stdin: whether standard input may feed a console.
        shown_jobs: jobs whose output this terminal always shows.
        windows: show the output of the other jobs in a window; where no window opens, this terminal shows it.
            None: other terminals may ask for it.
        collects_logs: whether other terminals get the nodes' logs through this run.
        resume_state: what the run that is resumed had reached; None: this is a new run.
        warnings: to report as soon as the run begins.
        companions: what else runs while the network does.
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
