"""Runs a network on this machine to its end.

The shell around it is one asyncio loop. Signals are events too: the first Ctrl-C or SIGTERM stops the jobs in order, the second
kills them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence

from fission.adapters.file_checkpoints import FileCheckpoints
from fission.adapters.local_engine import LocalEngine
from fission.adapters.shared_memory import run_prefix, sweep
from fission.adapters.zmq_desk import ZmqDesk
from fission.client.bundles import Addresses, Bundles, groups_of, plans
from fission.client.conductor import Conductor
from fission.client.consoles import Consoles
from fission.client.deaths import failed_job
from fission.client.faults import Chaos, Fault, Saboteur, check_faults
from fission.client.folders import alone, end_log, make_folders, start_log
from fission.client.signals import Signals
from fission.client.summary import Summary
from fission.core.nodes import NodeInfo
from fission.errors import EXIT_INTERRUPTED, EXIT_OK, JobFailed
from fission.ports import NodeName, Observer
from fission.project.config import LoadedNetwork

#: Exit code after SIGTERM: 128 + 15, as shells report it.
EXIT_TERMINATED = 143
#: Seconds that a job has to stop after it was asked to. With what follows it keeps Ctrl-C below 2 s (SPEC section 1).
GRACE_S = 1.0
#: Seconds that the end of killed jobs is waited for; arbitrary.
KILLED_S = 0.5
#: What every job's process needs; loaded once by the zygote, before it forks.
PRELOAD = ("fission.adapters.zmq_links", "fission.adapters.shared_memory", "fission.adapters.shared_views", "fission.runtime.job_process")
#: What a zygote calls with the run's prefix when this process dies.
SWEEP = "fission.adapters.shared_memory:sweep"
#: Name of the node on which local jobs run, and all of them where no virtual nodes are wanted.
CLIENT = "client"


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
        UserError: the network runs already, its folder cannot be made anew, or a fault names no node or job; nothing was started.
        EngineError: processes cannot be started.
    """
    names = [str(number) for number in range(1, nodes + 1)]
    check_faults(faults, names, sorted(loaded.network.jobs))
    with Signals() as signals, alone(loaded):
        run_folder = tempfile.mkdtemp(prefix="fission-")
        try:
            run = _Run(loaded, run_folder, observer or Observer(), stdin, names)
            return asyncio.run(run.main(duration, signals, faults, chaos))
        finally:
            signals.forget()
            shutil.rmtree(run_folder, ignore_errors=True)


class _Run:
    """One run of a network on this machine."""

    def __init__(self, loaded: LoadedNetwork, run_folder: str, observer: Observer, stdin: bool, virtual: Sequence[str]) -> None:
        self._loaded = loaded
        self._observer = observer
        self._virtual = virtual
        self._folder = loaded.folder / "simulation"
        self._run_folder = run_folder
        self._shared_prefix = run_prefix()
        self._stdin = stdin
        self._exit_code = EXIT_OK
        self._reason = ""
        self._over = asyncio.Event()  # the network is to be stopped
        self._kill = asyncio.Event()  # and at once

    def _nodes(self) -> list[NodeInfo]:
        """The nodes of this run; in a simulation every group is everywhere."""
        groups = (*groups_of(self._loaded.network), "ALL")
        room = len(self._loaded.network.jobs)
        virtual = tuple(group for group in groups if group != "LOCAL")
        client = ("LOCAL",) if self._virtual else groups
        return [
            *(NodeInfo(name, "127.0.0.1", virtual, max_jobs=room) for name in self._virtual),
            NodeInfo(CLIENT, "127.0.0.1", client, max_jobs=room),
        ]

    async def main(self, duration: float | None, signals: Signals, faults: Sequence[Fault], chaos: Chaos | None) -> Summary:
        started = time.monotonic()
        config, network = self._loaded.config, self._loaded.network
        signals.deliver(asyncio.get_running_loop(), self._on_signal)
        addresses = Addresses(self._run_folder, self._shared_prefix)
        nodes = self._nodes()
        engine = LocalEngine(
            self._run_folder, [NodeName(node.name) for node in nodes], PRELOAD, config.pulse_interval, (SWEEP, self._shared_prefix)
        )
        desk = ZmqDesk(addresses.client)
        conductor = Conductor(
            network,
            plans(network, config.restarts),
            nodes,
            engine,
            desk,
            FileCheckpoints(self._folder / ".checkpoints"),
            self._observer,
            addresses,
            pulse_interval_s=config.pulse_interval,
            restart_window_s=config.restart_window,
            allocation_timeout_s=config.allocation_timeout,
            on_console=lambda what, job, lines: consoles.hear(what, job, lines),
        )
        consoles = Consoles(self._loaded, self._run_folder, self._folder, self._observer, self._stdin, conductor.command)
        handlers: list[logging.Handler] = []
        tasks: list[asyncio.Task[None]] = []
        try:
            opening = asyncio.create_task(engine.open())
            await asyncio.sleep(0)  # the zygotes start while the folders are made
            make_folders(self._loaded, self._folder)
            handlers = start_log(self._loaded, self._folder / "fission.log", self._observer)
            bundles = Bundles(self._loaded, str(self._folder), addresses, conductor.incarnation)
            await self._unless_over(opening)
            if not self._over.is_set():
                await consoles.open()
                tasks.append(asyncio.create_task(conductor.run(bundles, self._folder / "events.jsonl")))
                saboteur = Saboteur(engine, self._observer, self._virtual, sorted(network.jobs))
                tasks.append(asyncio.create_task(saboteur.run(faults, chaos)))
                await self._until_over(conductor, duration)
            await self._stop_all(engine, conductor)
        finally:
            await engine.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await consoles.close()
            desk.close()
            sweep(self._shared_prefix)
            for path in self._folder.glob("*/.pipe_*.fifo"):  # of executables whose jobs had to be killed
                path.unlink(missing_ok=True)
            signals.forget()
            end_log(handlers)
        if conductor.error is not None:
            raise conductor.error
        return self._summary(conductor, time.monotonic() - started)

    async def _unless_over(self, opening: asyncio.Task[None]) -> None:
        await _first_of(opening, self._over.wait())
        if opening.done():
            opening.result()
        else:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)

    async def _until_over(self, conductor: Conductor, duration: float | None) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_first_of(self._over.wait(), conductor.over.wait()), duration)
        if conductor.result is not None:
            self._end(conductor.result[1])
        self._end("time is over")

    # signals and the end

    def _on_signal(self, number: int) -> None:
        if self._over.is_set():
            self._kill.set()
            return
        self._exit_code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TERMINATED
        self._end("interrupted" if number == signal.SIGINT else "terminated")

    def _end(self, reason: str) -> None:
        if not self._over.is_set():
            self._reason = reason
            self._over.set()

    async def _stop_all(self, engine: LocalEngine, conductor: Conductor) -> None:
        conductor.stopping = True
        for job, incarnation, node in conductor.processes():
            await engine.stop(job, incarnation, NodeName(node), grace=GRACE_S)
        if not conductor.empty.is_set():
            await asyncio.wait_for(
                _first_of(conductor.empty.wait(), self._kill.wait(), asyncio.sleep(GRACE_S + KILLED_S)), GRACE_S + 2 * KILLED_S
            )

    def _summary(self, conductor: Conductor, seconds: float) -> Summary:
        for job, _, _ in conductor.processes():
            conductor.jobs[job].outcome = "killed"  # by the engine's end, which nobody followed
        failures = []
        if conductor.result is not None and self._exit_code == EXIT_OK:
            self._exit_code, reason, error = conductor.result
            if error:
                failures = [JobFailed(failed_job(reason), error)]
        return Summary(
            self._loaded.name, self._exit_code, self._reason, seconds, conductor.summaries(), failures, tuple(conductor.failovers)
        )


async def _first_of(*waits: object) -> None:
    """Wait until the first of them is done; cancel those that are not, but for tasks, which belong to the caller."""
    tasks = [wait if isinstance(wait, asyncio.Task) else asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait, task in zip(waits, tasks, strict=True):
            if wait is not task:
                task.cancel()
