"""Asks each node that connects to take part in the run, until it does; knows why those that do not are absent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from fission.adapters.cluster.arrivals import Arrivals, ArrivalState
from fission.adapters.cluster.members import Identity, NodeDirectory, RunParameters
from fission.adapters.cluster.register import Register
from fission.adapters.cluster.scheduler import DaskScheduler
from fission.core.addresses import split_host_port
from fission.errors import EngineError
from fission.ports import NodeName
from fission.protocol.messages.client_to_node import ClaimNode, DismissNode
from fission.protocol.messages.node_to_client import NodeClaimed, OrderDone, OrderRefused

#: Seconds until a node that cannot be used is asked again; arbitrary.
CLAIM_AGAIN_S = 1.0
#: The same for one that is none of the nodes, or not the only one of its name; arbitrary.
LEFT_ALONE_S = 10.0

log = logging.getLogger("fission.cluster")


class NodeClaimer:
    """The nodes that have connected and have not joined yet.

    Attributes:
        opened: set when this process's own connection to the scheduler works; a node may be quicker.
    """

    def __init__(
        self,
        dask: DaskScheduler,
        parameters: RunParameters,
        client: str,
        register: Register,
        who: NodeDirectory,
        *,
        keys: str,
        on_joined: Callable[[str, Identity, NodeClaimed], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            dask: reaches the nodes.
            parameters: what nodes are sent about the run.
            client: identity of this process.
            register: the nodes that have joined.
            who: knows the nodes.
            keys: folder of the network's keys, for messages; empty: nothing is encrypted.
            on_joined: called with (Dask's address of it, who it is, its answer) of each node that takes part.
            on_trouble: called with what the user should know of one that does not, once for each text.
        """
        self._dask, self._parameters, self._client = dask, parameters, client
        self._register, self._who = register, who
        self._on_joined, self._on_trouble = on_joined, on_trouble
        self._arrivals = Arrivals(who, keys)
        self._reported: set[str] = set()
        self.opened = asyncio.Event()

    async def claim(self, worker: str, following: Callable[[], bool]) -> None:
        """Ask the node of a Dask worker until it has joined or its connection is gone.

        Args:
            worker: Dask's address of it.
            following: whether nodes send what their jobs write, when asked.
        """
        ip, _ = split_host_port(worker)
        self._arrivals.note(ip, ArrivalState.CONNECTED)
        await self.opened.wait()
        order = self._order(follow=following())
        while True:
            try:
                answer = await self._dask.ask(worker, order, NodeClaimed)
                again_s = CLAIM_AGAIN_S
                if isinstance(answer, OrderRefused):
                    trouble = f"node {answer.name or ip} cannot be used: {answer.error}"
                else:
                    identity = await self._identity(answer)
                    if isinstance(identity, Identity):
                        break
                    again_s = LEFT_ALONE_S
                    trouble = f"node {answer.name} ({answer.ip}) is left alone: {identity}"
                    await self._dask.ask(worker, DismissNode(run=order.run), OrderDone)
            except EngineError as why:
                log.warning("%s", why)
                return  # it will come with a new connection
            self._arrivals.note(ip, ArrivalState.REFUSED, answer.name)
            self._report(trouble)
            await asyncio.sleep(again_s)  # another client may leave it, the user may fix it, its name may become free
            if not self._dask.has(worker):
                return
        self._arrivals.joined(ip)
        self._on_joined(worker, identity, answer)

    def _order(self, *, follow: bool) -> ClaimNode:
        parameters = self._parameters
        return ClaimNode(
            run=parameters.run,
            client=self._client,
            network=parameters.network,
            pulse_address=parameters.pulse_address,
            report_address=parameters.report_address,
            interval_s=parameters.interval_s,
            orphan_timeout_s=parameters.orphan_timeout_s,
            root=parameters.root,
            versions=dict(parameters.versions),
            follow=follow,
        )

    async def _identity(self, claimed: NodeClaimed) -> Identity | str:
        """Who a service is; a text says why it is left alone."""
        found: Identity | str | None = self._register.known(claimed.service)
        if found is None:
            found = await asyncio.to_thread(self._who.recognise, claimed.ip, claimed.name)
        return self._register.settled(found, claimed) if isinstance(found, Identity) else found

    def absence(self, node: NodeName) -> str:
        """As `Arrivals.absence`."""
        return self._arrivals.absence(node)

    def dask_says(self, text: str) -> None:
        """Take a warning of Dask's, which may be about a node that cannot connect."""
        if trouble := self._arrivals.dask_says(text):
            self._report(trouble)

    def _report(self, trouble: str) -> None:
        if trouble not in self._reported:
            self._reported.add(trouble)
            self._on_trouble(trouble)
