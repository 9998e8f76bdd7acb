"""Sends each node the list of the run's other nodes, so that they measure their links."""

from __future__ import annotations

import asyncio
import contextlib

from fission.adapters.cluster.ending import end_all
from fission.adapters.cluster.register import Register
from fission.adapters.cluster.scheduler import DaskScheduler
from fission.errors import EngineError
from fission.protocol.messages.client_to_node import PeerNode, SetPeers
from fission.protocol.messages.node_to_client import OrderDone

#: Seconds over which changes are gathered; arbitrary: a starting network need not send a list for each node and change.
GATHER_S = 0.05


class PeerLists:
    """Sends the lists again whenever they may have changed."""

    def __init__(self, dask: DaskScheduler, run: str) -> None:
        """Prepare.

        Args:
            dask: scheduler that reaches the nodes.
            run: identity of the run.
        """
        self._dask, self._run = dask, run
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def changed(self, register: Register) -> None:
        """Schedule new lists after a node has joined, returned or gone."""
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._send(register))

    async def close(self) -> None:
        """Stop sending. Idempotent."""
        if self._task is not None:
            await end_all([self._task])

    async def _send(self, register: Register) -> None:
        while self._again:
            await asyncio.sleep(GATHER_S)
            self._again = False
            members = [member for member in register.current() if member.worker and member.probe_port]
            orders = []
            for member in members:
                others = (other for other in members if other is not member)
                peers = tuple(PeerNode(name=other.name, ip=other.ip, port=other.probe_port, lease=other.lease) for other in others)
                orders.append(self._give(member.worker, SetPeers(run=self._run, peers=peers)))
            await asyncio.gather(*orders)

    async def _give(self, worker: str, order: SetPeers) -> None:
        with contextlib.suppress(EngineError):  # its connection has ended: it receives the list over the next one
            await self._dask.ask(worker, order, OrderDone)
