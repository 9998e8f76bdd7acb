"""Starts the service of a node and runs it until a signal arrives."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any

from fission.adapters.cluster.worker import security
from fission.adapters.curve import Guard
from fission.adapters.descriptors import comfortable, raise_limit
from fission.adapters.keys import Keys, NoKeysError, default_folder, load_keys
from fission.adapters.sealing import Seals
from fission.core.addresses import MUST, canonical, fault_of
from fission.errors import EXIT_OK, UserError
from fission.posix.service_manager import ServiceManager
from fission.posix.signals import ending_signals_call
from fission.service.node import NodeService
from fission.service.options import NodeOptions
from fission.service.versions import versions

#: Modules that every job's process needs; loaded once by the fork server.
PRELOAD = (
    "fission.adapters.zmq_links",
    "fission.adapters.keys",
    "fission.adapters.curve",
    "fission.adapters.shared_memory.arena",
    "fission.adapters.shared_memory.views",
    "fission.runtime.job_process",
)
SWEEP = "fission.adapters.shared_memory.segments:sweep"

log = logging.getLogger("fission.node")


def serve(
    *,
    client: str,
    port: int,
    ip: str | None,
    name: str,
    jobs: int | None,
    root: Path | None,
    keys_folder: Path | None,
    insecure: bool,
    announce: tuple[str, ...] | None = None,
) -> int:
    """Run the service until SIGINT or SIGTERM; return its exit code.

    Blocks, and logs to standard error.

    Args:
        client, port: address of the client's scheduler. The service waits while the name is unknown
            or unreachable.
        ip: address of this machine; None: the one that reaches the client. The service waits
            until this machine has it.
        name: name of this node.
        jobs: maximum number of jobs; None: the number of CPUs for this process.
        root: folder for files; None: the client decides.
        keys_folder: folder of the network's keys; None: the one where `fission keys` makes them.
        insecure: whether to run without keys.
        announce: groups to announce; None: what the machine has.

    Raises:
        UserError: there are no keys, or an address is invalid.
        EngineError: the fork server does not start.
    """
    for option, text in (("--client", client), ("--ip", ip)):
        if text is not None and (fault := fault_of(text)):
            raise UserError(f"{option} must be {MUST}, but is {fault}")
    manager = ServiceManager()
    keys = None if insecure else _keys(keys_folder or default_folder())
    options = NodeOptions(
        client=canonical(client),
        port=port,
        ip=None if ip is None else canonical(ip),
        name=name,
        max_jobs=jobs or len(os.sched_getaffinity(0)),
        root=root,
        keys="" if keys is None else str(keys.folder),
        versions=versions(),
        preload=PRELOAD,
        sweep=SWEEP,
        announce=announce,
    )
    _start_log()
    limit, jobs_here = raise_limit(), jobs or len(os.sched_getaffinity(0))
    if limit < comfortable(jobs_here):
        log.warning(
            "this service may open %d files and connections, and %d jobs need %d: ulimit -n", limit, jobs_here, comfortable(jobs_here)
        )
    service = NodeService(
        options,
        tls=None if keys is None else security(str(keys.ca_file), str(keys.cert_file), str(keys.key_file)),
        guard=lambda context: Guard(context, keys, log),
        sealing=Seals(keys),
        on_ready=manager.ready,
    )
    asyncio.run(_until_signal(service, manager))
    log.info("node %s has ended", name)
    return EXIT_OK


def _keys(folder: Path) -> Keys:
    try:
        return load_keys(folder)
    except NoKeysError as why:
        raise UserError(f"{why}. Only for networks with SECURITY = False: fission node --insecure") from None


async def _until_signal(service: NodeService, manager: ServiceManager) -> None:
    task = asyncio.current_task()
    running = asyncio.ensure_future(service.run())
    alive = asyncio.ensure_future(manager.keep_alive())

    def end() -> None:
        manager.stopping()
        running.cancel()

    try:
        with ending_signals_call(asyncio.get_running_loop(), end):
            await running
    except asyncio.CancelledError:
        if task is not None and hasattr(task, "cancelling") and task.cancelling():
            raise
    finally:
        alive.cancel()


def _start_log() -> None:
    # users cannot use Dask's messages on heartbeats, keys and stimuli; `ClusterWorker` logs the connection
    for name, level, formatter in (("fission", logging.INFO, logging.Formatter), ("distributed", logging.CRITICAL, _OneLine)):
        logger = logging.getLogger(name)
        handler: logging.StreamHandler[Any] = logging.StreamHandler(sys.stderr)
        handler.setFormatter(formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False


class _OneLine(logging.Formatter):
    """A formatter without Dask's tracebacks of broken connections: the message is enough."""

    def formatException(self, ei: Any) -> str:
        return str(ei[1]).strip() or type(ei[1]).__name__
