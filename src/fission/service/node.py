"""The service of one node: connects a Dask worker to the client and carries out its orders.

It runs no user code, and a lost connection does not affect its jobs:
`fission.protocol.node_lease` decides what does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from fission.adapters import batman
from fission.adapters.cluster.ending import end_all
from fission.adapters.cluster.worker import ClusterWorker
from fission.adapters.datagrams import Sealing
from fission.adapters.keys import home
from fission.adapters.local_engine import LocalEngine
from fission.adapters.machine import Means
from fission.adapters.run_folder import make_run_folder
from fission.adapters.shared_memory.segments import run_prefix, sweep
from fission.core.addresses import host_port
from fission.errors import EngineError, RemoteProtocolError, UserError
from fission.protocol.messages.client_to_node import (
    ClaimNode,
    DismissNode,
    FollowOutput,
    InspectJob,
    InspectNode,
    InstallArchive,
    LaunchJob,
    Order,
    ReadLog,
    RemoveNetwork,
    SetPeers,
    StopJob,
    StoreArchive,
    StoreSnapshot,
)
from fission.protocol.messages.node_to_client import Answer, NodeClaimed, OrderDone, OrderRefused
from fission.protocol.messages.order_envelopes import unwrap_order, versions_of, wrap_answer
from fission.protocol.node_lease import LeaseState, NodeLease
from fission.service.announced_groups import AnnouncedGroups
from fission.service.archive_store import ArchiveStore
from fission.service.client_link import ClientLink
from fission.service.health import HealthSocket
from fission.service.hosted_jobs import HERE, HostedJobs
from fission.service.link_meter import LinkMeter
from fission.service.options import NodeOptions, folder_of
from fission.service.route import Route, find_route, is_own
from fission.service.versions import difference
from fission.service.visits import Visits

#: Seconds between two checks of this machine's address and the client's; arbitrary.
LOOK_S = 1.0
#: Seconds between repeated messages that the client cannot be reached; arbitrary.
SAY_AGAIN_S = 60.0
#: Carries out orders of one class, given the bytes beside them. Raises UserError or EngineError.
Handler: TypeAlias = "Callable[[Any, bytes], Awaitable[Answer]]"

log = logging.getLogger("fission.node")


class NodeService:
    """One node, from its start to its end."""

    def __init__(
        self,
        options: NodeOptions,
        *,
        tls: Any,
        guard: Callable[[Any], Any] | None,
        sealing: Sealing,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; `run` begins.

        Args:
            options: settings of this node.
            tls: encryption of Dask's connections; None: no encryption.
            guard: returns the encryption of a ZeroMQ context's sockets; None: no encryption.
            sealing: creates and opens datagrams.
            on_ready: called when jobs can be started here; the client may not be there yet.
        """
        self._options, self._on_ready = options, on_ready
        self._run_folder = make_run_folder()
        self._shared_prefix = run_prefix()
        self._lease = NodeLease(service=secrets.token_hex(8))
        self._worker = ClusterWorker(options.name, os.path.join(self._run_folder, "dask"), self.handle, tls, lambda: None)
        self._route: Route | None = None
        self._has_route = asyncio.Event()  # set when the route is known
        means = Means(options.root or home("the node's folder", "name one with --root"))
        self._client = ClientLink(self._lease, means, guard, sealing, lambda: self._worker.connected, self._reconnect)
        mesh = batman.Batman(log) if batman.available() else None
        self._links = LinkMeter(bytes.fromhex(self._lease.service), sealing, self._client.report_links, mesh)
        cleanup, title = (options.sweep, self._shared_prefix), f"node {options.name}"
        self._engine = LocalEngine(self._run_folder, (HERE,), options.preload, 1.0, cleanup, title)
        self._jobs = HostedJobs(
            options, self._engine, self._lease, self._client, self._run_folder, self._shared_prefix, lambda: self._own_ip
        )
        self._health = HealthSocket(self._run_folder, self._state)
        self._announced = AnnouncedGroups(options.announce)
        visits = Visits(options, self._lease, lambda: self._own_ip, self._announced)
        self._handlers: Mapping[type[Order], Handler] = {
            ClaimNode: self._claim,
            InstallArchive: self._jobs.install,
            LaunchJob: self._jobs.launch,
            StopJob: self._jobs.stop,
            InspectJob: self._jobs.inspect,
            StoreSnapshot: self._jobs.store_snapshot,
            ReadLog: self._jobs.read_log,
            DismissNode: self._dismiss,
            FollowOutput: self._follow,
            SetPeers: self._set_peers,
            InspectNode: visits.inspect,
            StoreArchive: visits.store,
            RemoveNetwork: visits.remove,
        }
        self._dropping: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Serve until cancelled; leave no job or process, and no file except in the node's root."""
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._engine.open()
            await self._health.open()
            works = (self._follow_route(), self._connect(), self._jobs.follow(), self._pulse(), self._links.run())
            tasks = [asyncio.create_task(work) for work in works]
            self._on_ready()
            self._announced.begin()
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            self._health.close()
            self._client.say_goodbye()
            await end_all(tasks)
            await self._announced.close()
            await self._engine.close()
            self._client.close()
            self._links.close()
            sweep(self._shared_prefix)
            shutil.rmtree(self._run_folder, ignore_errors=True)

    def _state(self) -> dict[str, Any]:
        """Return what `fission node --healthcheck` shows."""
        serving = self._lease.state is LeaseState.SERVING
        return {
            "name": self._options.name,
            "client": host_port(self._options.client, self._options.port),
            "connected": self._worker.connected,
            "network": self._lease.network if serving else None,
            "jobs": len(self._lease.running) if serving else 0,
        }

    # addresses of the client and of this machine

    async def _connect(self) -> None:
        await self._has_route.wait()
        await self._worker.run()

    async def _follow_route(self) -> None:
        """Find the client; follow changes of its address and this machine's until cancelled."""
        options, logged_at = self._options, -math.inf
        while True:
            try:
                route = self._route
                if route is None or not self._worker.connected or not is_own(route.own) or self._client.silent:
                    await self._use_route(await find_route(options.client, options.port, options.ip, route))
            except EngineError as why:
                if time.monotonic() - logged_at >= SAY_AGAIN_S:
                    logged_at = time.monotonic()
                    log.warning("node %s waits for a route to the client at %s: %s", options.name, options.client, why)
            await asyncio.sleep(LOOK_S)

    async def _use_route(self, route: Route) -> None:
        """Use these addresses from now on.

        Raises:
            EngineError: this machine no longer has them.
        """
        before, options = self._route, self._options
        if before is not None and route.own == before.own and route.client == before.client:
            return
        if before is None or route.own != before.own:
            if before is not None:
                log.warning("this machine's address changed from %s to %s: its jobs are stopped and started again", before.own, route.own)
                await self._leave()  # the addresses at which its jobs listen no longer exist
                self._client.hang_up()  # its connection uses the old address, where nothing arrives
            self._links.close()
            await self._client.open(route.own)
            await self._links.open(route.own)
        self._route = route
        self._worker.retarget(route.client, options.port, route.own)
        if before is None or route.client != before.client:
            secure = "" if options.keys else ", without encryption"
            log.info("node %s at %s waits for a client at %s%s", options.name, route.own, host_port(route.client, options.port), secure)
        self._has_route.set()
        if before is not None:
            await self._drop()

    async def _leave(self) -> None:
        """End the lease, if any."""
        if self._lease.state is LeaseState.SERVING:
            await self._jobs.kill(self._lease.dismiss())
            self._free()

    @property
    def _own_ip(self) -> str:
        return "" if self._route is None else self._route.own

    def _reconnect(self) -> None:
        self._dropping = asyncio.ensure_future(self._drop())

    async def _drop(self) -> None:
        with contextlib.suppress(Exception):  # it is being replaced anyway
            await self._worker.drop()

    # orders of the client

    async def handle(self, envelope: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        """Carry out one order and return the answer. Never raises: errors are answered and logged.

        Args:
            envelope: an envelope of `fission.protocol.messages.order_envelopes`, or what a client
                of another version sends.
            blob: bytes that travel beside the order.
        """
        return wrap_answer(await self._answer(envelope, blob))

    async def _answer(self, envelope: Mapping[str, Any], blob: bytes) -> Answer:
        try:
            order = unwrap_order(envelope)
        except RemoteProtocolError as why:
            there = versions_of(envelope)
            error = difference(there, self._options.versions, self._options.name) if there else ""
            return self._refused(error or str(why))
        try:
            return await self._handlers[type(order)](order, blob)
        except (UserError, EngineError) as why:
            return self._refused(str(why))
        except Exception as why:
            log.exception("an order failed: %s", type(order).__name__)
            return self._refused(f"{type(why).__name__}: {why}")

    def _refused(self, error: str) -> OrderRefused:
        return OrderRefused(error=error, name=self._options.name, ip=self._own_ip)

    async def _claim(self, order: ClaimNode, blob: bytes) -> Answer:
        if error := difference(order.versions, self._options.versions, self._options.name):
            return self._refused(error)
        groups = await self._announced.current(fresh=not self._lease.running)
        archives = ArchiveStore(folder_of(self._options.root, order.root))
        await asyncio.to_thread(archives.prepare)
        lease, folder, now = self._lease.number, self._jobs.lease_folder, time.monotonic()
        intervals = {"interval_s": order.interval_s, "orphan_timeout_s": order.orphan_timeout_s}
        error, stops = self._lease.claim(order.run, order.network, now, **intervals)
        if error:
            return self._refused(error)
        await self._jobs.kill(stops)
        self._jobs.use(archives)
        if self._lease.number != lease:
            log.info("serves the network %s", order.network)
        self._client.claimed(order)
        if self._lease.number != lease:
            self._jobs.begin_lease(folder, order.preload)
        self._links.serve(self._lease.run, self._lease.id)
        return NodeClaimed(
            name=self._options.name,
            ip=self._own_ip,
            service=self._lease.service,
            lease=self._lease.id,
            max_jobs=self._options.max_jobs,
            probe_port=self._links.port,
            running=tuple(sorted(self._lease.running)),
            acknowledged=self._lease.acknowledged,
            groups=groups,
        )

    async def _dismiss(self, order: DismissNode, blob: bytes) -> Answer:
        if order.run == self._lease.run:
            await self._leave()
        return OrderDone()

    async def _follow(self, order: FollowOutput, blob: bytes) -> Answer:
        self._client.follow = order.on
        return OrderDone()

    async def _set_peers(self, order: SetPeers, blob: bytes) -> Answer:
        if order.run == self._lease.run:
            self._links.set_peers(order.peers)
        return OrderDone()

    # the lease

    def _free(self) -> None:
        log.info("no longer serves a network")
        self._links.serve("", "")
        self._client.freed()
        self._jobs.end_lease()

    async def _pulse(self) -> None:
        while True:
            stops = await self._client.run()
            log.warning("no message from the client for too long: its jobs are stopped")
            await self._jobs.kill(stops)
            self._free()
            # a client that was stopped or cut off must notice at once that its jobs are gone, and may claim the node again
            self._reconnect()
