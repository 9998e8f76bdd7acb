"""The client of a network of any size, in this process: the real coordinator, inbox, bundles and event log, without nodes and jobs.

What nodes and jobs would send is handed in, encoded as they send it. Only the sockets are missing: nothing is started, and nothing waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import random
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from benchmarks.chain import PROJECT
from fission.adapters.file_checkpoints import FileCheckpoints
from fission.client.run.coordinator import Coordinator
from fission.client.run.jobs.bundles import Bundles, HostAddresses, plans
from fission.core.nodes import NodeInfo
from fission.ports import EngineNotice, JobBundle, LinksMeasured, NodeGone, NodeJoined, NodeName, NodePulse, Observer
from fission.project.config import LoadedNetwork, load
from fission.protocol import frames
from fission.protocol.link_messages import JobMessage
from fission.protocol.link_quality import NodeLink
from fission.protocol.messages.job_to_client import CountsReport, InputTotals, JobCounts, JobHello, JobToClient, OutputTotals

#: What a node measures of itself.
MEANS = {"cpu": 50.0, "memory": 4e9, "disk": 1e11, "swap": 0.0, "rtt": 0.001}


class SimulatedEngine:
    """A `fission.ports.Engine` that counts orders, and whose events are handed in."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.bundle_bytes: list[int] = []
        self.launched: list[tuple[int, int]] = []

    async def events(self) -> AsyncIterator[Any]:
        while True:
            yield await self.queue.get()

    async def launch(self, bundle: JobBundle, node: NodeName) -> None:
        self.bundle_bytes.append(len(pickle.dumps(bundle)))
        self.launched.append((bundle.job_id, bundle.incarnation))

    async def stop(self, job: int, incarnation: int, node: NodeName, *, grace: float) -> None:
        pass

    def stopped(self, node: NodeName) -> None:
        """Return None: each node is a machine of its own."""

    async def look(self, job: int, incarnation: int, node: NodeName) -> str:
        return ""

    async def lost(self, node: NodeName) -> None:
        pass

    def absence(self, node: NodeName) -> str:
        return ""


class SimulatedTransport:
    """The client's link to its jobs: counts what is sent, and yields what is handed in."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[list[bytes]] = asyncio.Queue()
        self.sent = self.sent_bytes = 0

    async def messages(self) -> AsyncIterator[list[bytes]]:
        while True:
            yield await self.queue.get()

    def send(self, address: str, frame: Any) -> None:
        self.sent += 1
        self.sent_bytes += len(bytes(frame))

    def forget(self, address: str) -> None:
        pass


class _Marks(Observer):
    """Sets an event when all that was handed in before has been handled."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    def warning(self, text: str) -> None:
        if text == "mark":
            self.reached.set()


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def many_jobs(jobs: int) -> LoadedNetwork:
    """Return the network ``many`` of this project with so many jobs, half of them sources."""
    os.environ["FISSION_BENCH"] = json.dumps({"pairs": jobs // 2, "rate": 1})
    return load(PROJECT, "many", simulation=True)


class SimulatedClient:
    """A client with simulated nodes and jobs. Use it within `running`.

    Attributes:
        coordinator: the client's.
        engine: has what was launched.
        transport: has what was sent to jobs.
        started_cpu_s: processor time of the start, from the first node to the last job that runs.
        events_bytes: size of the event log after the start.
    """

    def __init__(self, loaded: LoadedNetwork, nodes: int, folder: Path, clock: Any = time.monotonic) -> None:
        self._loaded, self._nodes, self._folder = loaded, [f"n{number}" for number in range(1, nodes + 1)], folder
        self.engine, self.transport, self._marks = SimulatedEngine(), SimulatedTransport(), _Marks()
        jobs = len(loaded.network.jobs)
        self._room = 2 * -(-jobs // nodes)
        self._addresses = HostAddresses(str(folder), "sim", "tcp://10.0.0.1:8788", "client")
        engine: Any = self.engine
        transport: Any = self.transport
        self.coordinator = Coordinator(
            loaded.network,
            plans(loaded.network, None),
            [NodeInfo(name, self._ip(number), max_jobs=0) for number, name in enumerate(self._nodes)],
            engine,
            transport,
            FileCheckpoints(folder / "checkpoints"),
            self._marks,
            self._addresses,
            pulse_interval_s=1e4,  # simulated nodes do not pulse by themselves, and must not be lost meanwhile
            restart_window_s=60.0,
            allocation_timeout_s=1e4,
            on_console=lambda what, job, lines: None,
            gather_s=1e4,
            clock=clock,
        )
        self._run: asyncio.Task[None] | None = None
        self.started_cpu_s = 0.0
        self.events_bytes = 0

    def _ip(self, number: int) -> str:
        return f"10.0.{number >> 8}.{number & 255}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[SimulatedClient]:
        """Start all jobs on all nodes, with their links measured."""
        joins = self._joins()
        self.coordinator.open_log(self._folder)
        began = time.process_time()
        bundles = Bundles(self._loaded, str(self._folder), self._addresses, self.coordinator.incarnation)
        self._run = task = asyncio.create_task(self.coordinator.run(bundles))
        try:
            for event in joins:
                self.engine.queue.put_nowait(event)
            del joins
            await self.handled()
            await self.report_ready()
            self.started_cpu_s = time.process_time() - began
            self.events_bytes = (self._folder / "events.jsonl").stat().st_size
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _joins(self) -> list[NodeJoined | LinksMeasured | NodePulse]:
        """Return what the nodes send until they are up and have measured their links."""
        rng, names = random.Random(1), [NodeName(name) for name in self._nodes]
        joined = [NodeJoined(name, self._ip(number), ("ALL",), self._room) for number, name in enumerate(names)]
        links = [LinksMeasured(name, {other: NodeLink(rng.randint(100, 255), 0.001) for other in names if other != name}) for name in names]
        return [*joined, *links, *(NodePulse(name, 1, MEANS) for name in names)]

    async def report_ready(self) -> None:
        """Report that each job that was launched runs."""
        for job, incarnation in self.engine.launched:
            addresses = {"data": f"tcp://10.0.0.{job & 255}:40001", "control": f"tcp://10.0.0.{job & 255}:40002"}
            self._message(job, incarnation, JobHello(process=job, addresses=addresses))
        self.engine.launched.clear()
        await self.handled()

    async def pulses(self, rounds: int) -> int:
        """Hand in a pulse of each node, several times; return how many."""
        for _ in range(rounds):
            for name in self._nodes:
                self.engine.queue.put_nowait(NodePulse(NodeName(name), 1, MEANS))
        await self.handled()
        return rounds * len(self._nodes)

    async def reports(self, jobs: int) -> int:
        """Hand in the counts of the first jobs; return how many."""
        for job in range(1, jobs + 1):
            counts = JobCounts(compute_blocks={0: job}, inputs={}, outputs={(job + 1) // 2: OutputTotals(sent={0: job})})
            if job % 2 == 0:
                counts = JobCounts(compute_blocks={0: job}, inputs={job // 2: InputTotals(received=job)}, outputs={})
            self._message(job, 1, CountsReport(counts=counts, doing="RUN"))
        await self.handled()
        return jobs

    async def lose(self, node: int) -> None:
        """End the service of a node; its jobs are placed again and launched."""
        self.engine.queue.put_nowait(NodeGone(NodeName(self._nodes[node]), "benchmark", 1))
        await self.handled()

    async def handled(self) -> None:
        """Return when all that was handed in has been handled."""
        while not self.transport.queue.empty():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._marks.reached.clear()
        self.engine.queue.put_nowait(EngineNotice("mark"))
        reached = asyncio.create_task(self._marks.reached.wait())
        if self._run is None:
            raise RuntimeError("the client does not run; use `running`")
        await asyncio.wait({reached, self._run}, return_when=asyncio.FIRST_COMPLETED)
        if self._run.done():
            reached.cancel()
            self._run.result()
        if self.coordinator.error is not None:
            raise self.coordinator.error

    def _message(self, job: int, incarnation: int, message: JobToClient) -> None:
        self.transport.queue.put_nowait([frames.encode_job_message(JobMessage(job, incarnation, message))])


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for the event log, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="fission-benchmark-") as folder:
        yield Path(folder)
