"""Imports the modules of PRELOAD as a run would, in a process of its own, and nothing else."""

from __future__ import annotations

import asyncio
import shutil

from fission.adapters.run_folder import make_run_folder
from fission.adapters.shared_memory.segments import run_prefix
from fission.client.run.engines.local import local_engine
from fission.project.config import LoadedNetwork


def try_preload(loaded: LoadedNetwork) -> list[str]:
    """Import the modules of PRELOAD here; return a warning about each that leaves something behind.

    Raises:
        UserError: a module cannot be imported, or ends the process that imports it.
        EngineError: the system does not allow a process.
    """
    return asyncio.run(_try_preload(loaded)) if loaded.config.preload else []


async def _try_preload(loaded: LoadedNetwork) -> list[str]:
    run_folder = make_run_folder()
    engine = local_engine(loaded, run_folder, run_prefix(), ["client"])
    try:
        await engine.open()
        return list(engine.notices)
    finally:
        await engine.close()
        shutil.rmtree(run_folder, ignore_errors=True)
