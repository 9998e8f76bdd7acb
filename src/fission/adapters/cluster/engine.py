"""`fission.ports.Engine` over several machines: nodes run ``fission node``, and a Dask scheduler in this process reaches them.

A node is known by the life of its service, which outlives its connections: when Dask loses a worker whose service still pulses, the
orders for it wait for its next worker. Only the silence of both says that the service has died.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import pickle
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from distributed.security import Security

from fission.adapters.cluster.archive_sender import ArchiveSender
from fission.adapters.cluster.ending import end_all
from fission.adapters.cluster.enlisting import Enlister
from fission.adapters.cluster.members import Identity, Member, Session, WhoIsWho
from fission.adapters.cluster.node_messages import NodeMessages
from fission.adapters.cluster.peer_lists import PeerLists
from fission.adapters.cluster.register import Register
from fission.adapters.cluster.scheduler import DaskScheduler
from fission.errors import EngineError, InternalError
from fission.ports import (
    NODE_FAULT,
    Archive,
    EngineEvent,
    EngineNotice,
    JobArchives,
    JobBundle,
    JobExited,
    JobId,
    JobOutput,
    LinksMeasured,
    NodeGone,
    NodeJoined,
    NodeName,
    NodePulse,
    NodeState,
    Seconds,
)
from fission.protocol.link_quality import from_wire
from fission.protocol.replay import echo_context, pulse_context

#: Pulse intervals without a pulse after which a node whose connection has ended is gone. Arbitrary: one may be lost on the way.
GONE_PULSES = 2.1
#: Pulses whose answers a node may miss before its pulses count for nothing: it speaks and does not hear, so it cannot work. As many as it
#: may leave out itself (SPEC section 6), and one that is on its way.
DEAF_PULSES = 6
#: Seconds that the answer to a look at a job's process is waited for; arbitrary.
LOOK_S = 1.0
log = logging.getLogger("fission.cluster")


class DaskEngine:
    """Hosts jobs on the machines that run ``fission node``."""

    def __init__(
        self,
        session: Session,
        who: WhoIsWho,
        baggage: Callable[[JobId], JobArchives],
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
        """Prepare; `open` begins.

        Args:
            session: what nodes are sent about the run.
            who: knows the nodes.
            baggage: what goes with a job.
            ip, port: where the scheduler listens, ``cluster`` being None; else an existing scheduler's address is used.
            tls, guard: what encrypts Dask's connections and ZeroMQ's sockets; None: nothing does.
            pulses: factory of the socket for pulses, called with what takes a message, the sender's name, and what gives the context
                of what it hears.
            pre_copy: gives the archives that every node gets as soon as it is there.
            follow: whether nodes send what their jobs write; see `follow`.
            keys: folder of the network's keys, for messages.
        """
        self._pre_copy = pre_copy
        self._session, self._baggage = session, baggage
        self._dask = DaskScheduler(ip, port, cluster, tls, self._on_dask_warning)
        self._stocker = ArchiveSender(self._dask)
        self._peer_lists = PeerLists(self._dask, session.run)
        self._life = secrets.token_hex(8)
        heard = pulse_context(session.run, self._life)
        self._datagrams = pulses(self._on_pulse, bytes.fromhex(self._life), lambda: heard)
        self._messages = NodeMessages(session.ear, session.run, guard, self._on_word)
        self._register = Register(DEAF_PULSES * session.interval_s, session.orphan_timeout_s)
        self._events: asyncio.Queue[EngineEvent] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._enlister = Enlister(
            self._dask, session, self._life, self._register, who, keys=keys, on_joined=self._join, on_trouble=self._notice
        )
        self._following = follow
        self._closed = False

    # the engine's life

    async def open(self) -> None:
        try:
            await self._open_sockets()
            await self._dask.open(self.on_worker, self.on_worker_gone)
            self._enlister.opened.set()
        except BaseException:
            await self.close()
            raise

    async def _open_sockets(self) -> None:
        await self._datagrams.open(*self._session.pulses)
        self._messages.open()
        self._spawn(self._messages.receive())

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for member in self._register:
            if member.suspicion is not None:
                member.suspicion.cancel()
        await self._peer_lists.close()
        await end_all(self._tasks)
        await self._stocker.close()
        await self._dask.close()
        self._datagrams.close()
        await asyncio.sleep(0)  # asyncio gives its sockets back in the loop's next round: the port is free when this returns
        self._messages.close()

    async def dismiss(self) -> None:
        orders = [self._dask.ask(member.worker, {"do": "dismiss", "run": self._session.run}) for member in self._register if member.worker]
        await asyncio.gather(*orders, return_exceptions=True)

    def nodes(self) -> Mapping[NodeName, NodeState]:
        newest = self._register.current()
        return {one.name: NodeState(one.name, one.ip, frozenset(job for job, _ in one.jobs)) for one in newest if one.worker}

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
            except EngineError:  # the connection broke: whether the order had arrived, its next worker will know
                if self._register.newest(node) is member and (job.job_id, job.incarnation) in member.jobs:
                    await self._when_connected(member, give)
                return
            if error is not None and (job.job_id, job.incarnation) in member.jobs:
                member.jobs.discard((job.job_id, job.incarnation))
                self._events.put_nowait(JobExited(job.job_id, job.incarnation, 1, {"outcome": NODE_FAULT, "error": error}))

        await self._when_connected(member, give)

    async def _launch(self, member: Member, job: JobBundle, blob: bytes) -> str | None:
        baggage = self._baggage(job.job_id)
        for archive in (baggage.code, baggage.dependencies):
            if archive is not None and (error := await self._stocker.install(member, archive)):
                return error
        order = {
            "do": "launch",
            "run": self._session.run,
            "job": job.job_id,
            "incarnation": job.incarnation,
            "code": baggage.code.digest,
            "dependencies": baggage.dependencies.digest if baggage.dependencies is not None else "",
        }
        answer = await self._dask.ask(member.worker, order, blob, wait=None)
        return str(answer["error"]) if "error" in answer else None

    async def stop(self, job: JobId, incarnation: int, node: NodeName, *, grace: Seconds) -> None:
        member = self._member(node)
        order = {"do": "stop", "run": self._session.run, "job": job, "incarnation": incarnation, "grace": grace}

        async def give() -> None:
            with contextlib.suppress(EngineError):  # its service will be told again when supervision has it back
                await self._dask.ask(member.worker, order)

        await self._when_connected(member, give)

    def stopped(self, node: NodeName) -> bool | None:
        """None: the processes of other machines are not known here."""
        return None

    async def look(self, job: JobId, incarnation: int, node: NodeName) -> str:
        member = self._member(node)
        if not member.worker:
            return ""
        order = {"do": "look", "run": self._session.run, "job": job, "incarnation": incarnation}
        with contextlib.suppress(EngineError, asyncio.TimeoutError):
            return str((await asyncio.wait_for(self._dask.ask(member.worker, order), LOOK_S)).get("standing", ""))
        return ""

    async def bring(self, job: JobId, incarnation: int, node: NodeName, name: str, pieces: Iterator[bytes]) -> None:
        order = {"run": self._session.run, "job": job, "incarnation": incarnation, "name": name}
        self._stocker.bring_snapshot(self._member(node), order, pieces)

    async def lost(self, node: NodeName) -> None:
        """Supervision has judged a node dead: Dask is told, and a service that returns must come with a new connection."""
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
        workers = [one.worker for one in self._register if one.worker]
        await asyncio.gather(*(self._dask.ask(worker, {"do": "follow", "on": on}) for worker in workers), return_exceptions=True)

    async def logs(self, network: str) -> Mapping[NodeName, str]:
        members = [member for member in self._register.current() if member.worker]
        orders = [self._dask.ask(member.worker, {"do": "log", "network": network}) for member in members]
        answers = await asyncio.gather(*orders, return_exceptions=True)
        return {
            member.name: str(answer.get("log", "")) if isinstance(answer, dict) else f"{answer}\n"
            for member, answer in zip(members, answers, strict=True)
        }

    def _member(self, node: NodeName) -> Member:
        member = self._register.newest(node)
        if member is None:
            raise InternalError(f"no node {node}; there are {sorted(one.name for one in self._register.current())}")
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
        """A Dask worker has connected."""
        self._spawn(self._enlister.enlist(worker, lambda: self._following))

    def on_worker_gone(self, worker: str) -> None:
        """A Dask worker's connection has ended: its service may still live."""
        for member in self._register:
            if member.worker == worker:
                member.worker = ""
                member.have.clear()
                self._suspect(member)

    def _suspect(self, member: Member) -> None:
        if member.suspicion is not None:
            member.suspicion.cancel()
        loop = asyncio.get_running_loop()
        member.suspicion = loop.call_later(GONE_PULSES * self._session.interval_s, self._judge, member, member.pulse)

    def _judge(self, member: Member, pulse: int) -> None:
        member.suspicion = None
        if member.pulse != pulse or member.worker or member.gone:
            return  # it still speaks, or its end is known
        member.waiting.clear()
        member.gone = True
        self._events.put_nowait(NodeGone(member.name, "its service has ended", member.incarnation))

    def absence(self, node: NodeName) -> str:
        """As `Arrivals.absence`."""
        return self._enlister.absence(node)

    def _notice(self, text: str) -> None:
        log.warning("%s", text)
        self._events.put_nowait(EngineNotice(text))

    def _join(self, worker: str, identity: Identity, facts: Mapping[str, Any]) -> None:
        member = self._register.life(facts["life"])
        if member is None:
            member, older = self._register.enter(identity, facts)
            if older is not None:
                self._replace(older, member)
            lives = tuple(sorted(member.jobs))
            self._events.put_nowait(NodeJoined(member.name, member.ip, identity.groups, member.max_jobs, member.incarnation, lives))
        member.worker, member.gone, member.probe_port = worker, False, int(facts.get("probes", 0))
        self._peer_lists.changed(self._register)
        if member.suspicion is not None:
            member.suspicion.cancel()
            member.suspicion = None
        for archive in self._pre_copy():
            self._spawn(self._stocker.bring(member, archive))
        waiting, member.waiting = member.waiting, []
        for give in waiting:
            self._spawn(give())

    def _replace(self, older: Member, newer: Member) -> None:
        """A node begins a new life: what was ordered in the older one is void."""
        if older.suspicion is not None:
            older.suspicion.cancel()
        older.waiting.clear()
        if why := self._register.why_over(older, newer):
            self._events.put_nowait(NodeGone(older.name, why, older.incarnation))
        older.gone = True

    # what nodes say

    def _on_pulse(self, pulse: dict[str, Any], source: tuple[str, int], sender: bytes) -> None:
        life, number = pulse.get("life"), pulse.get("n")
        if not isinstance(life, str) or life.partition(".")[0] != sender.hex() or not isinstance(number, int):
            return  # its sender speaks for another service
        member = self._register.life(life)
        if member is not None and pulse.get("left"):
            self._on_left(member)
            return
        known = member is not None and bool(member.worker)
        answer = {"n": number, "ack": member.heard if member is not None else 0, "known": known}
        self._datagrams.send(answer, source, echo_context(self._session.run, self._life, life))
        if member is not None and number > member.pulse:
            member.pulse, member.pulse_at = number, time.monotonic()
            echoed = pulse.get("echoed")
            deaf = isinstance(echoed, int) and number - echoed > DEAF_PULSES
            if known and not deaf and self._register.newest(member.name) is member:
                self._events.put_nowait(NodePulse(member.name, member.incarnation, _numbers(pulse.get("means"))))

    def _on_dask_warning(self, text: str) -> None:
        self._enlister.dask_says(text)

    def _on_left(self, member: Member) -> None:
        """Its service says that it ends."""
        if not member.gone:
            member.waiting.clear()
            member.gone = True
            self._events.put_nowait(NodeGone(member.name, "its service was stopped", member.incarnation, on_purpose=True))

    def _on_word(self, word: Mapping[str, Any]) -> None:
        member = self._register.life(word["life"])
        if member is None:
            return
        if word["what"] == "output":
            self._events.put_nowait(JobOutput(int(word["job"]), str(word["stream"]), tuple(map(str, word["lines"]))))
        elif word["what"] == "links":
            if self._register.newest(member.name) is member:
                self._events.put_nowait(LinksMeasured(member.name, from_wire(word["links"])))
        elif word["what"] == "exited" and word["number"] > member.heard:
            if word["number"] > member.heard + 1:
                return  # the one before it is told again, and then this one too
            exited = JobExited(int(word["job"]), int(word["incarnation"]), int(word["code"]), dict(word["report"]))
            member.heard = int(word["number"])
            member.jobs.discard((exited.job_id, exited.incarnation))
            self._events.put_nowait(exited)


def _numbers(means: Any) -> dict[str, float]:
    """What a node has measured; what is no number is left out."""
    if not isinstance(means, dict):
        return {}
    return {name: value for name, value in means.items() if type(value) in (int, float) and math.isfinite(value)}
