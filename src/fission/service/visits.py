"""A node's answers to a client that runs nothing: name, load, and files stored for a network.

Such a client does not claim the node: whatever runs there continues, and no run is replaced.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict

from fission.adapters.machine import Means
from fission.errors import UserError
from fission.protocol.messages.client_to_node import InspectNode, RemoveNetwork, StoreArchive
from fission.protocol.messages.node_to_client import Answer, ArchiveProgress, NetworkRemoved, NodeInspected, OrderRefused
from fission.protocol.node_lease import LeaseState, NodeLease
from fission.service.announced_groups import AnnouncedGroups
from fission.service.archive_store import ArchiveStore
from fission.service.options import NodeOptions, folder_of
from fission.service.versions import difference


class Visits:
    """Carries out the orders of clients that have no lease."""

    def __init__(self, options: NodeOptions, lease: NodeLease, own_ip: Callable[[], str], announced: AnnouncedGroups) -> None:
        """Prepare.

        Args:
            options: settings of the service.
            lease: the node's lease, which names the client.
            own_ip: returns this machine's address.
            announced: the groups that this machine is in.
        """
        self._options, self._lease, self._own_ip, self._announced = options, lease, own_ip, announced
        self._means: Means | None = None

    async def inspect(self, order: InspectNode, blob: bytes) -> Answer:
        """Report name and load; averages are those since the order with ``first``."""
        options, now = self._options, time.monotonic()
        if error := difference(order.versions, options.versions, options.name) or self._lease.taken(now):
            return OrderRefused(error=error, name=options.name, ip=self._own_ip())
        if order.first or self._means is None:
            self._means = Means(folder_of(options.root, order.root))
        self._means.sample(now)
        means = asdict(self._means.load())
        groups = await self._announced.current(fresh=order.first and self._lease.state is not LeaseState.SERVING)
        return NodeInspected(name=options.name, ip=self._own_ip(), max_jobs=options.max_jobs, means=means, groups=groups)

    async def store(self, order: StoreArchive, blob: bytes) -> Answer:
        """Store a piece of an archive."""
        archives = self._archives(order.root)
        if not order.start:
            await asyncio.to_thread(archives.prepare)
        return ArchiveProgress(complete=await asyncio.to_thread(archives.add, order.digest, order.start, order.size, blob))

    async def remove(self, order: RemoveNetwork, blob: bytes) -> Answer:
        """Remove a network's job folders and log, and all archives if the node is free.

        Raises:
            UserError: the network is running here, or its files cannot be removed.
        """
        serving = self._lease.state is LeaseState.SERVING
        if serving and self._lease.network == order.network:
            raise UserError(f"it runs jobs of {order.network}; stop the network first")
        archives = self._archives(order.root)
        return NetworkRemoved(size=await asyncio.to_thread(archives.remove, order.network, archives=not serving))

    def _archives(self, root: str) -> ArchiveStore:
        return ArchiveStore(folder_of(self._options.root, root))
