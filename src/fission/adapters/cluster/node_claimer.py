"""Claims each node that connects until it joins, and knows why the others are absent."""

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

#: Seconds before an unusable node is claimed again; arbitrary.
CLAIM_AGAIN_S = 1.0
#: The same for a service that is not one of the nodes or whose name is taken; arbitrary.
LEFT_ALONE_S = 10.0

log = logging.getLogger("fission.cluster")


class NodeClaimer:
    """The nodes that have connected but not yet joined.

    Attributes:
        opened: set when this process's own connection to the scheduler works; a node may connect
            earlier.
    """

    def __init__(
        self,
        dask: DaskScheduler,
        parameters: RunParameters,
        client: str,
        register: Register,
        directory: NodeDirectory,
        *,
        keys: str,
        on_joined: Callable[[str, Identity, NodeClaimed], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            dask: scheduler that reaches the nodes.
            parameters: description of the run, sent to the nodes.
            client: identity of this process.
            register: register of the nodes that have joined.
            directory: directory of the nodes.
            keys: folder of the network's keys, used in messages; empty if nothing is encrypted.
            on_joined: called with Dask's address, the identity and the answer of each node that
                joins.
            on_trouble: called once with each text that tells the user why a node has not joined.
        """
        self._dask, self._parameters, self._client = dask, parameters, client
        self._register, self._directory = register, directory
        self._on_joined, self._on_trouble = on_joined, on_trouble
        self._arrivals = Arrivals(directory, keys)
        self._reported: set[str] = set()
        self.opened = asyncio.Event()

    async def claim(self, worker: str, following: Callable[[], bool]) -> None:
        """Claim the node of a Dask worker until it has joined or its connection is gone.

        Args:
            worker: Dask's address of the worker.
            following: returns whether nodes report the output of their jobs.
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
                return  # the node will open a new connection
            self._arrivals.note(ip, ArrivalState.REFUSED, answer.name)
            self._report(trouble)
            await asyncio.sleep(again_s)  # another client may release it, the user may fix it, its name may become free
            if not self._dask.has(worker):
                return
        self._arrivals.joined(ip)
        self._on_joined(worker, identity.in_groups(answer.groups), answer)

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
            preload=parameters.preload,
        )

    async def _identity(self, claimed: NodeClaimed) -> Identity | str:
        """Return the identity of a service, or why it is left alone."""
        found: Identity | str | None = self._register.known(claimed.service)
        if found is None:
            found = await asyncio.to_thread(self._directory.recognise, claimed.ip, claimed.name)
        return self._register.settled(found, claimed) if isinstance(found, Identity) else found

    def absence(self, node: NodeName) -> str:
        """Return why a node is missing; see `Arrivals.absence`."""
        return self._arrivals.absence(node)

    def dask_says(self, text: str) -> None:
        """Handle a Dask warning, which may be about a node that cannot connect."""
        if trouble := self._arrivals.dask_says(text):
            self._report(trouble)

    def _report(self, trouble: str) -> None:
        if trouble not in self._reported:
            self._reported.add(trouble)
            self._on_trouble(trouble)
