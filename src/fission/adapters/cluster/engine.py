"""`fission.ports.Engine` over several machines.

Nodes run ``fission node``; a Dask scheduler in this process reaches them.

The lease of a node's service identifies the node and outlives its connections. When Dask loses a
worker whose service still pulses, orders for the node wait for its next worker. The service counts
as dead only when both the connection and the pulses are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from distributed.security import Security

from fission.adapters.cluster.archive_sender import ArchiveSender
from fission.adapters.cluster.ending import end_all
from fission.adapters.cluster.members import Identity, Member, NodeDirectory, RunParameters
from fission.adapters.cluster.node_claimer import NodeClaimer
from fission.adapters.cluster.node_events import DEAF_PULSES, NodeEvents
from fission.adapters.cluster.peer_lists import PeerLists
from fission.adapters.cluster.register import Register
from fission.adapters.cluster.scheduler import DaskScheduler
from fission.errors import EngineError, InternalError
from fission.ports import (
    NODE_FAULT,
    Archive,
    EngineEvent,
    EngineNode,
    EngineNotice,
    JobArchives,
    JobBundle,
    JobExited,
    JobId,
    NodeGone,
    NodeJoined,
    NodeName,
    Seconds,
)
from fission.protocol.messages.client_to_node import (
    DismissNode,
    FollowOutput,
    InspectJob,
    LaunchJob,
    ReadLog,
    StopJob,
    StoreSnapshot,
)
from fission.protocol.messages.node_to_client import (
    JobInspected,
    LogTail,
    NodeClaimed,
    OrderDone,
    OrderRefused,
)
from fission.protocol.messages.process_to_engine import ProcessReport

#: Pulse intervals without a pulse before a node whose connection has ended is gone. Arbitrary: one pulse may be lost in transit.
GONE_PULSES = 2.1
#: Seconds to wait for the answer to an inspection of a job's process; arbitrary.
LOOK_S = 1.0
log = logging.getLogger("fission.cluster")


class DaskEngine:
    """Hosts jobs on the machines that run ``fission node``."""

    def __init__(
        self,
        parameters: RunParameters,
        directory: NodeDirectory,
        archives_of: Callable[[JobId], JobArchives],
        *,
        ip: str,
        port: int,
        cluster: str | None = None,
        tls: Security | None = None,
        guard: Callable[[Any], Any] | None = None,
        pulses: Any = None,
        pre_copy: Callable[[], Sequence[Archive]] = tuple,
        follow: bool = False,
        keys: str = "",
    ) -> None:
        """Prepare the engine; `open` starts it.

        Args:
            parameters: description of the run, sent to the nodes.
            directory: directory of the nodes.
            archives_of: returns the archives that a job needs.
            ip: address on which the scheduler listens if ``cluster`` is None.
            port: port on which the scheduler listens.
            cluster: address of an existing scheduler; None starts one in this process.
            tls: encryption of Dask's connections; None disables encryption.
            guard: returns the encryption for a ZeroMQ context's sockets; None disables encryption.
            pulses: creates the pulse socket; called like `fission.adapters.datagrams.Datagrams`,
                without the sealing.
            pre_copy: returns the archives that every node receives as soon as it joins.
            follow: whether nodes report the output of their jobs; see `follow`.
            keys: folder of the network's keys, used in messages.
        """
        self._pre_copy = pre_copy
        self._parameters, self._archives_of = parameters, archives_of
        self._dask = DaskScheduler(ip, port, cluster, tls, lambda text: self._claimer.dask_says(text))
        self._archive_sender = ArchiveSender(self._dask)
        self._peer_lists = PeerLists(self._dask, parameters.run)
        self._id = secrets.token_hex(8)  # of this client's process
        self._register = Register(DEAF_PULSES * parameters.interval_s, parameters.orphan_timeout_s)
        self._events: asyncio.Queue[EngineEvent] = asyncio.Queue()
        self._node_events = NodeEvents(parameters, self._id, self._register, self._events.put_nowait, guard, pulses)
        self._tasks: set[asyncio.Task[None]] = set()
        self._claimer = NodeClaimer(
            self._dask, parameters, self._id, self._register, directory, keys=keys, on_joined=self._join, on_trouble=self._notice
        )
        self._following = follow
        self._closed = False

    # begin and end

    async def open(self) -> None:
        try:
            await self._node_events.open()
            self._spawn(self._node_events.receive())
            await self._dask.open(self.on_worker, self.on_worker_gone)
            self._claimer.opened.set()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for member in self._register:
            if member.suspicion is not None:
                member.suspicion.cancel()
        await self._peer_lists.close()
        await end_all(self._tasks)
        await self._archive_sender.close()
        await self._dask.close()
        await self._node_events.close()

    async def dismiss(self) -> None:
        order = DismissNode(run=self._parameters.run)
        workers = [member.worker for member in self._register if member.worker]
        await asyncio.gather(*(self._dask.ask(worker, order, OrderDone) for worker in workers), return_exceptions=True)

    def nodes(self) -> Mapping[NodeName, EngineNode]:
        newest = self._register.current()
        return {
            member.name: EngineNode(member.name, member.ip, frozenset(job for job, _ in member.jobs)) for member in newest if member.worker
        }

    async def events(self) -> AsyncIterator[EngineEvent]:
        while True:
            yield await self._events.get()

    # orders

    async def launch(self, job: JobBundle, node: NodeName) -> None:
        member = self._member(node)
        if member.gone:
            raise EngineError(f"node {node} is gone")
        member.jobs.add((job.job_id, job.incarnation))
        blob = pickle.dumps(job)

        async def give() -> None:
            try:
                error = await self._launch(member, job, blob)
            except EngineError:  # the connection broke; the next worker knows whether the order had arrived
                if self._register.newest(node) is member and (job.job_id, job.incarnation) in member.jobs:
                    await self._when_connected(member, give)
                return
            if error is not None and (job.job_id, job.incarnation) in member.jobs:
                member.jobs.discard((job.job_id, job.incarnation))
                self._events.put_nowait(JobExited(job.job_id, job.incarnation, 1, ProcessReport(outcome=NODE_FAULT, error=error)))

        await self._when_connected(member, give)

    async def _launch(self, member: Member, job: JobBundle, blob: bytes) -> str | None:
        archives = self._archives_of(job.job_id)
        for archive in (archives.code, archives.dependencies):
            if archive is not None and (error := await self._archive_sender.install(member, archive)):
                return error
        order = LaunchJob(
            run=self._parameters.run,
            job=job.job_id,
            incarnation=job.incarnation,
            code=archives.code.digest,
            dependencies=archives.dependencies.digest if archives.dependencies is not None else "",
        )
        answer = await self._dask.ask(member.worker, order, OrderDone, blob, wait=None)
        return answer.error if isinstance(answer, OrderRefused) else None

    async def stop(self, job: JobId, incarnation: int, node: NodeName, *, grace: Seconds) -> None:
        member = self._register.newest(node)
        if member is None:
            return  # the client is resumed, and the node has not joined it yet; superseded incarnations are stopped when it does
        order = StopJob(run=self._parameters.run, job=job, incarnation=incarnation, grace_s=max(0.0, grace))

        async def give() -> None:
            with contextlib.suppress(EngineError):  # supervision repeats the order when the service is back
                await self._dask.ask(member.worker, order, OrderDone)

        await self._when_connected(member, give)

    def stopped(self, node: NodeName) -> bool | None:
        """Return None: the processes of other machines are not visible here."""
        return None

    async def look(self, job: JobId, incarnation: int, node: NodeName) -> str:
        member = self._register.newest(node)
        if member is None or not member.worker:
            return ""
        order = InspectJob(run=self._parameters.run, job=job, incarnation=incarnation)
        with contextlib.suppress(EngineError, asyncio.TimeoutError):
            answer = await asyncio.wait_for(self._dask.ask(member.worker, order, JobInspected), LOOK_S)
            return "" if isinstance(answer, OrderRefused) else answer.standing
        return ""

    async def bring(self, job: JobId, incarnation: int, node: NodeName, name: str, pieces: Iterator[bytes]) -> None:
        member = self._register.newest(node)
        if member is None:
            return  # a resumed client hears the jobs of a node before the node has joined it; the incarnation asks again
        first = StoreSnapshot(run=self._parameters.run, job=job, incarnation=incarnation, name=name, start=0, state="more")
        self._archive_sender.bring_snapshot(member, first, pieces)

    async def lost(self, node: NodeName) -> None:
        """Disconnect a node that supervision has declared dead.

        Dask is notified; a service that returns must open a new connection.
        """
        member = self._register.newest(node)
        if member is None:
            return
        member.waiting.clear()
        worker, member.worker = member.worker, ""
        self._peer_lists.changed(self._register)
        if worker:
            await self._dask.remove(worker)

    async def follow(self, on: bool) -> None:
        self._following = on
        workers = [member.worker for member in self._register if member.worker]
        await asyncio.gather(*(self._dask.ask(worker, FollowOutput(on=on), OrderDone) for worker in workers), return_exceptions=True)

    async def logs(self, network: str) -> Mapping[NodeName, str]:
        members = [member for member in self._register.current() if member.worker]
        found = await asyncio.gather(*(self._log(member, network) for member in members))
        return dict(zip([member.name for member in members], found, strict=True))

    async def _log(self, member: Member, network: str) -> str:
        try:
            answer = await self._dask.ask(member.worker, ReadLog(network=network), LogTail)
        except EngineError as why:
            return f"{why}\n"
        return f"{answer.error}\n" if isinstance(answer, OrderRefused) else answer.text

    def _member(self, node: NodeName) -> Member:
        member = self._register.newest(node)
        if member is None:
            raise InternalError(f"no node {node}; there are {sorted(member.name for member in self._register.current())}")
        return member

    async def _when_connected(self, member: Member, give: Callable[[], Awaitable[None]]) -> None:
        if member.worker:
            self._spawn(give())
        else:
            member.waiting.append(give)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("an order failed", exc_info=task.exception())

    # members

    def on_worker(self, worker: str) -> None:
        """Claim the node of a Dask worker that has connected."""
        self._spawn(self._claimer.claim(worker, lambda: self._following))

    def on_worker_gone(self, worker: str) -> None:
        """Suspect the node of a Dask worker that has disconnected; its service may still run."""
        for member in self._register:
            if member.worker == worker:
                member.worker = ""
                member.archives.clear()
                self._suspect(member)

    def _suspect(self, member: Member) -> None:
        if member.suspicion is not None:
            member.suspicion.cancel()
        loop = asyncio.get_running_loop()
        member.suspicion = loop.call_later(GONE_PULSES * self._parameters.interval_s, self._judge, member, member.pulse)

    def _judge(self, member: Member, pulse: int) -> None:
        member.suspicion = None
        if member.pulse != pulse or member.worker or member.gone:
            return  # it still pulses, or its end is already known
        member.waiting.clear()
        member.gone = True
        self._events.put_nowait(NodeGone(member.name, "its service has ended", member.incarnation))

    def absence(self, node: NodeName) -> str:
        """Return why a node is missing; see `Arrivals.absence`."""
        return self._claimer.absence(node)

    def _notice(self, text: str) -> None:
        log.warning("%s", text)
        self._events.put_nowait(EngineNotice(text))

    def _join(self, worker: str, identity: Identity, claimed: NodeClaimed) -> None:
        member = self._register.of_lease(claimed.lease)
        if member is None:
            member, older = self._register.enter(identity, claimed)
            if older is not None:
                self._replace(older, member)
            running = tuple(sorted(member.jobs))
            self._events.put_nowait(NodeJoined(member.name, member.ip, identity.groups, member.max_jobs, member.incarnation, running))
        member.worker, member.gone, member.probe_port = worker, False, claimed.probe_port
        self._peer_lists.changed(self._register)
        if member.suspicion is not None:
            member.suspicion.cancel()
            member.suspicion = None
        for archive in self._pre_copy():
            self._spawn(self._archive_sender.bring(member, archive))
        waiting, member.waiting = member.waiting, []
        for give in waiting:
            self._spawn(give())

    def _replace(self, older: Member, newer: Member) -> None:
        """Replace a node's lease by its new one; orders of the older lease are void."""
        if older.suspicion is not None:
            older.suspicion.cancel()
        older.waiting.clear()
        if why := self._register.why_over(older, newer):
            self._events.put_nowait(NodeGone(older.name, why, older.incarnation))
        older.gone = True
