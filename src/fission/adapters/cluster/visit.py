"""The nodes that are present now, for a client that runs nothing on them.

The client asks for their identity and load, and sends or removes files. It claims no node: a node's
jobs continue, including those of a killed client, which ``run --resume`` continues.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from distributed.security import Security

from fission.adapters.cluster.archive_sender import PIECE_BYTES
from fission.adapters.cluster.arrivals import Arrivals, ArrivalState
from fission.adapters.cluster.ending import end_all
from fission.adapters.cluster.members import Identity, NodeDirectory
from fission.adapters.cluster.scheduler import DaskScheduler
from fission.core.addresses import split_host_port
from fission.errors import EngineError
from fission.ports import Archive, NodeName
from fission.protocol.messages.client_to_node import InspectNode, RemoveNetwork, StoreArchive
from fission.protocol.messages.node_to_client import ArchiveProgress, NetworkRemoved, NodeInspected, OrderRefused

#: Seconds between two checks of the nodes that have answered; arbitrary.
LOOK_S = 0.05
#: Seconds over which a node without a run measures its load, since it measures only while asked. Arbitrary.
MEASURE_S = 0.6
#: Seconds before an unusable node is asked again; arbitrary.
AGAIN_S = 0.5

log = logging.getLogger("fission.cluster")


@dataclass(frozen=True, slots=True)
class Visited:
    """A node that has answered.

    Attributes:
        name: name of the node, for placement.
        groups: groups that contain the node, for placement.
        max_jobs: largest number of jobs, for placement.
        ip: address of the node.
        means: measured means, named as in `core.nodes.NodeInfo`.
        worker: Dask's address of the worker.
    """

    name: NodeName
    ip: str
    groups: tuple[str, ...]
    max_jobs: int
    means: Mapping[str, float]
    worker: str


class Visit:
    """One visit to the nodes."""

    def __init__(
        self,
        directory: NodeDirectory,
        versions: Mapping[str, str],
        *,
        ip: str,
        port: int,
        cluster: str | None,
        tls: Security | None,
        keys: str,
        root: str,
    ) -> None:
        """Prepare; `open` lets the nodes connect.

        Args:
            directory: directory of the nodes.
            versions: versions of Python, fission and Dask.
            ip: address on which a new scheduler listens.
            port: port on which a new scheduler listens.
            cluster: address of an existing scheduler; None starts one in this process.
            tls: encryption of the connections; None disables encryption.
            keys: folder of the network's keys, used in messages; empty if nothing is encrypted.
            root: REMOTE_ROOT; empty leaves it to the services.
        """
        self._directory, self._versions, self._root = directory, dict(versions), root
        self._arrivals = Arrivals(directory, keys)
        self._dask = DaskScheduler(ip, port, cluster, tls, self._on_dask_warning)
        self._nodes: dict[NodeName, Visited] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened = asyncio.Event()
        self._troubles: dict[str, None] = {}  # in the order of discovery

    async def open(self) -> None:
        """Let the nodes connect.

        Raises:
            EngineError: the address cannot be used.
        """
        try:
            await self._dask.open(self._on_worker, self._on_worker_gone)
            self._opened.set()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect from the nodes. Idempotent."""
        await end_all(self._tasks)
        await self._dask.close()

    async def gather(self, expected: Collection[str], seconds: float) -> list[Visited]:
        """Wait for the expected nodes and return those that are present.

        Args:
            expected: names of the nodes to wait for; empty waits for the full time.
            seconds: longest time to wait.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not (expected and set(expected) <= set(self._nodes)):
            await asyncio.sleep(LOOK_S)
        return list(self._nodes.values())

    async def measure(self) -> list[Visited]:
        """Return the present nodes with fresh measurements."""
        await asyncio.sleep(MEASURE_S)
        await asyncio.gather(*(self._ask_who(node.worker, first=False) for node in list(self._nodes.values())))
        return list(self._nodes.values())

    def absence(self, node: str) -> str:
        """Return what to do about a missing node. May block."""
        return self._arrivals.absence(node)

    @property
    def troubles(self) -> list[str]:
        """What the user should know about unusable nodes that have connected."""
        return list(self._troubles)

    async def send(self, node: Visited, archive: Archive) -> str:
        """Send an archive unless the node has it; return the node's error, or ""."""
        size = len(archive.content)
        for start in range(0, size, PIECE_BYTES):
            order = StoreArchive(digest=archive.digest, start=start, size=size, root=self._root)
            try:
                answer = await self._dask.ask(node.worker, order, ArchiveProgress, archive.content[start : start + PIECE_BYTES], wait=None)
            except EngineError as why:
                return str(why)
            if isinstance(answer, OrderRefused):
                return answer.error
            if answer.complete:
                break
        return ""

    async def remove(self, node: Visited, network: str) -> int | str:
        """Remove a network's files from a node; return the bytes freed, or the error."""
        try:
            answer = await self._dask.ask(node.worker, RemoveNetwork(network=network, root=self._root), NetworkRemoved)
        except EngineError as why:
            return str(why)
        return answer.error if isinstance(answer, OrderRefused) else answer.size

    # identification of nodes

    def _on_worker(self, worker: str) -> None:
        task = asyncio.ensure_future(self._greet(worker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_worker_gone(self, worker: str) -> None:
        for name, node in list(self._nodes.items()):
            if node.worker == worker:
                del self._nodes[name]

    async def _greet(self, worker: str) -> None:
        ip, _ = split_host_port(worker)
        self._arrivals.note(ip, ArrivalState.CONNECTED)
        await self._opened.wait()  # a service may connect before `open` has finished
        while self._dask.has(worker):
            name = await self._ask_who(worker, first=True)
            if not name:
                return
            self._arrivals.note(ip, ArrivalState.REFUSED, name)
            await asyncio.sleep(AGAIN_S)

    async def _ask_who(self, worker: str, *, first: bool) -> str:
        """Ask a service for its identity; return its name if it cannot be used."""
        ip, _ = split_host_port(worker)
        order = InspectNode(versions=self._versions, root=self._root, first=first)
        try:
            found = await self._dask.ask(worker, order, NodeInspected)
        except EngineError as why:
            log.warning("%s", why)
            return ""  # the node will open a new connection
        name = found.name or ip
        if isinstance(found, OrderRefused):
            self._troubles[f"node {name} cannot be used: {found.error}"] = None
            return name
        identity = await asyncio.to_thread(self._directory.recognise, found.ip, name)
        if not isinstance(identity, Identity):
            self._troubles[f"node {name} ({found.ip}) is left alone: {identity}"] = None
            return name
        holder = self._nodes.get(identity.name)
        if holder is not None and holder.worker != worker:
            text = f"the services at {holder.ip} and {found.ip} are both the node {identity.name}; give each its own name"
            self._troubles[text] = None
            return name
        self._arrivals.joined(ip)
        max_jobs = found.max_jobs if identity.max_jobs is None else identity.max_jobs
        groups = identity.in_groups(found.groups).groups
        self._nodes[identity.name] = Visited(identity.name, found.ip, groups, max_jobs, found.means, worker)
        return ""

    def _on_dask_warning(self, text: str) -> None:
        if trouble := self._arrivals.dask_says(text):
            self._troubles[trouble] = None
