"""Makes the engine of this machine, which needs no extra."""

from __future__ import annotations

from collections.abc import Sequence

from fission.adapters.local_engine import LocalEngine
from fission.ports import NodeName
from fission.project.config import LoadedNetwork

#: Modules that every job's process needs; the fork server loads them once.
PRELOAD = (
    "fission.adapters.zmq_links",
    "fission.adapters.shared_memory.arena",
    "fission.adapters.shared_memory.views",
    "fission.runtime.job_process",
)
#: Function that a fork server calls with the run's prefix of shared memory when this process dies.
SWEEP = "fission.adapters.shared_memory.segments:sweep"


def local_engine(loaded: LoadedNetwork, run_folder: str, shared_prefix: str, names: Sequence[str]) -> LocalEngine:
    """Return the engine of this machine.

    Args:
        loaded: the network.
        run_folder: temporary folder of the run.
        shared_prefix: prefix of the run's names in shared memory.
        names: names of its virtual nodes.
    """
    nodes = [NodeName(name) for name in names]
    interval_s, modules = loaded.config.pulse_interval, loaded.config.preload
    return LocalEngine(run_folder, nodes, PRELOAD, interval_s, (SWEEP, shared_prefix), loaded.name, user_modules=modules)
