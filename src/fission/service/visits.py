"""What a node answers a client that runs nothing: who it is and how busy, and the files of a network that it keeps.

Such a client does not enlist the node: whatever the node runs goes on, and no run is replaced.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fission.adapters.keys import home
from fission.adapters.machine import Means
from fission.errors import UserError
from fission.protocol.node_lease import NodeLease, State
from fission.service.archive_store import ArchiveStore
from fission.service.versions import difference

Answer = Callable[[Mapping[str, Any], bytes], Awaitable[dict[str, Any]]]


class Visits:
    """Answers the orders of `answers`."""

    def __init__(self, name: str, max_jobs: int, root: Path | None, versions: Mapping[str, str], residence: NodeLease) -> None:
        """Args: name, max_jobs, root, versions: of `NodeOptions`. residence: whom the node serves."""
        self._name, self._max_jobs, self._root, self._versions = name, max_jobs, root, versions
        self._residence = residence
        self._means: Means | None = None

    def answers(self, ip: Callable[[], str]) -> dict[str, Answer]:
        """Return what answers each order. ``ip``: gives this machine's address."""

        async def visit(order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
            return await self._visit(order, ip())

        return {"visit": visit, "keep": self._keep, "remove": self._remove}

    async def _visit(self, order: Mapping[str, Any], ip: str) -> dict[str, Any]:
        """Who the node is; its means are those since the order with ``first``."""
        who = {"name": self._name, "ip": ip, "max_jobs": self._max_jobs}
        if error := difference(self._versions, order["versions"]) or self._residence.taken(time.monotonic()):
            return {**who, "error": error}
        if order.get("first") or self._means is None:
            self._means = Means(self._folder(order))
        self._means.sample(time.monotonic())
        return {**who, "means": asdict(self._means.load())}

    def _folder(self, order: Mapping[str, Any]) -> Path:
        return self._root or Path(order["root"] or home("the node's folder", "name one with --root") / "fission")

    async def _keep(self, order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        """Take a piece of an archive."""
        stock = ArchiveStore(self._folder(order))
        if not order["start"]:
            await asyncio.to_thread(stock.prepare)
        return {"have": await asyncio.to_thread(stock.add, order["digest"], order["start"], order["size"], blob)}

    async def _remove(self, order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        """Remove what is here of a network: the folders of its jobs and their log; and all archives, if the node is free."""
        network = str(order["network"])
        serving = self._residence.state is State.SERVING
        if serving and self._residence.network == network:
            raise UserError(f"it runs jobs of {network}; stop the network first")
        return {"bytes": await asyncio.to_thread(ArchiveStore(self._folder(order)).remove, network, archives=not serving)}
