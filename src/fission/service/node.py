"""The service of one node: keeps a Dask worker connected to the client, owns the fork server and the jobs, pulses, reports ends.

It runs no user code, and what happens to its connections does not touch its jobs: `fission.protocol.node_lease` decides what does.
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
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fission.adapters import batman
from fission.adapters.cluster.ending import end_all
from fission.adapters.cluster.worker import ClusterWorker
from fission.adapters.datagrams import Datagrams, Sealing
from fission.adapters.keys import home
from fission.adapters.local_engine import LocalEngine
from fission.adapters.machine import Means
from fission.adapters.run_folder import make_run_folder
from fission.adapters.shared_memory import run_prefix, sweep
from fission.adapters.zmq_jobs import ZmqJobSender
from fission.core.addresses import host_port
from fission.errors import EngineError, UserError
from fission.ports import NODE_FAULT, JobExited, JobOutput, NodeGone, NodeName, Place
from fission.protocol.link_quality import NodeLink, to_wire
from fission.protocol.node_lease import NodeLease, State, Stop
from fission.protocol.replay import echo_context, pulse_context
from fission.service.archive_store import ArchiveStore, take_snapshot
from fission.service.link_meter import LinkMeter
from fission.service.pulses import Pulses
from fission.service.versions import difference
from fission.service.visits import Visits
from fission.service.way import Way, find_way, is_own

#: The one virtual node of the service's own engine.
HERE = NodeName("here")
#: Seconds between two looks at this machine's address and the client's; arbitrary.
LOOK_S = 1.0
#: Seconds after which it is said again that there is no way to the client; arbitrary.
SAY_AGAIN_S = 60.0
#: How often the client is notified that the service ends: datagrams may get lost. Arbitrary.
GOODBYES = 3
#: Bytes of a log that are sent to a client who collects; arbitrary.
LOG_BYTES = 8 << 20

log = logging.getLogger("fission.node")


@dataclass(frozen=True)
class NodeOptions:
    """What a service is started with.

    Attributes:
        client, port: where the client listens, as `fission node` was given them.
        ip: of this machine, as the client and the other nodes reach it; None: the one on the way to the client.
        name: of this node in messages.
        max_jobs: how many jobs it takes.
        root: where files go; None: as the client says.
        keys: folder of the network's keys; empty: nothing is encrypted.
        versions: of Python, fission and Dask.
        preload: modules that the fork server loads.
        sweep: import string of what removes shared memory by its prefix.
    """

    client: str
    port: int
    ip: str | None
    name: str
    max_jobs: int
    root: Path | None
    keys: str
    versions: Mapping[str, str]
    preload: tuple[str, ...]
    sweep: str


class NodeService:
    """One node, from its start to its end."""

    def __init__(self, options: NodeOptions, *, tls: Any, guard: Callable[[Any], Any] | None, sealing: Sealing) -> None:
        """Args: options: of this node. tls, guard: what encrypts Dask and ZeroMQ; None: nothing does. sealing: the same for pulses."""
        self._options = options
        self._guard = guard
        self._service = secrets.token_hex(8)
        self._run_folder = make_run_folder()
        self._shared_prefix = run_prefix()
        self._residence = NodeLease()
        self._stock: ArchiveStore | None = None
        self._prepared: set[int] = set()
        self._ends: dict[tuple[int, int], asyncio.Future[None]] = {}
        self._engine = LocalEngine(
            self._run_folder, (HERE,), options.preload, 1.0, (options.sweep, self._shared_prefix), f"node {options.name}"
        )
        dask_folder = os.path.join(self._run_folder, "dask")
        self._worker = ClusterWorker(options.name, dask_folder, self.obey, tls, lambda: None)
        self._way: Way | None = None
        self._on_the_way = asyncio.Event()  # the way was found
        self._client = ""  # life of the client that has enlisted this node
        self._datagrams = Datagrams(self._on_echo, sealing, bytes.fromhex(self._service), self._echo_context)
        mesh = batman.Batman(log) if batman.available() else None
        self._links = LinkMeter(bytes.fromhex(self._service), sealing, self._say_links, mesh)
        self._voice: ZmqJobSender | None = None
        self._means = Means(options.root or home("the node's folder", "name one with --root"))
        self._visits = Visits(options.name, options.max_jobs, options.root, options.versions, self._residence)
        self._pulses = Pulses()
        self._pulse_to: tuple[str, int] = ("", 0)
        self._interval_s = 1.0
        self._dropping: asyncio.Future[None] | None = None
        self._following = False
        self._enlisted = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled; afterwards no job, process or file of ours is left but those in the node's root."""
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._engine.open()
            works = (self._follow_way(), self._connect(), self._follow_engine(), self._pulse(), self._links.run())
            tasks = [asyncio.create_task(work) for work in works]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            self._say_goodbye()
            await end_all(tasks)
            await self._engine.close()
            self._datagrams.close()
            self._links.close()
            self._close_voice()
            sweep(self._shared_prefix)
            shutil.rmtree(self._run_folder, ignore_errors=True)

    # where the client is, and where this machine is

    async def _connect(self) -> None:
        await self._on_the_way.wait()
        await self._worker.run()

    async def _follow_way(self) -> None:
        """Find the client, and keep up with its address and this machine's own. Waits for ever."""
        options, said_at = self._options, -math.inf
        while True:
            try:
                if self._way is None or not self._worker.connected or not is_own(self._way.own):
                    await self._take_way(await find_way(options.client, options.port, options.ip))
            except EngineError as why:
                if time.monotonic() - said_at >= SAY_AGAIN_S:
                    said_at = time.monotonic()
                    log.warning("node %s waits for a way to the client at %s: %s", options.name, options.client, why)
            await asyncio.sleep(LOOK_S)

    async def _take_way(self, way: Way) -> None:
        """Use these addresses from now on. Raises EngineError: this machine has lost them."""
        before, options = self._way, self._options
        if before is not None and way.own == before.own and way.client == before.client:
            return
        if before is None or way.own != before.own:
            if before is not None:
                log.warning("this machine's address is %s now, and was %s: its jobs are stopped, and start anew", way.own, before.own)
                await self._leave()
                self._close_voice()  # its connection comes from the old address, and what is sent there does not arrive
            self._datagrams.close()
            self._links.close()
            await self._datagrams.open(way.own)
            await self._links.open(way.own)
        self._way = way
        self._worker.retarget(way.client, options.port, way.own)
        if before is None or way.client != before.client:
            secure = "" if options.keys else ", without encryption"
            log.info("node %s at %s waits for a client at %s%s", options.name, way.own, host_port(way.client, options.port), secure)
        self._on_the_way.set()
        if before is not None:
            await self._drop()

    async def _leave(self) -> None:
        """End the stay: the addresses at which its jobs listen are gone."""
        if self._residence.state is State.SERVING:
            await self._kill(self._residence.dismiss())
            self._free()

    def _close_voice(self) -> None:
        """Give up the connection over which the client is told; the next `_enlist` makes another one."""
        if self._voice is not None:
            self._voice.close()
            self._voice = None

    def _say_goodbye(self) -> None:
        """Tell the client that the service ends on purpose: it need not wait for pulses."""
        if self._residence.state is State.SERVING and self._pulse_to[1]:
            for _ in range(GOODBYES):
                self._send_pulse(time.monotonic(), left=True)

    # orders of the client

    async def obey(self, order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        """Take one order; return the answer. Never raises: an error of ours is in the answer and in the log."""
        work = {
            "enlist": self._enlist,
            "install": self._install,
            "launch": self._launch,
            "stop": self._stop,
            "dismiss": self._dismiss,
            "follow": self._follow,
            "peers": self._peers,
            "look": self._look,
            "log": self._log,
            "snapshot": self._snapshot,
            **self._visits.answers(lambda: self._own_ip),
        }.get(order.get("do", ""))
        if work is None:
            return {"error": f"the node does not know the order {order.get('do')!r}"}
        try:
            return await work(order, blob)
        except (UserError, EngineError) as why:
            return {"error": str(why)}
        except Exception as why:
            log.exception("an order failed: %s", order.get("do"))
            return {"error": f"{type(why).__name__}: {why}"}

    async def _enlist(self, order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        who = {"name": self._options.name, "ip": self._own_ip, "service": self._service}
        if error := difference(self._options.versions, order["versions"]):
            return {**who, "error": error}
        stock = ArchiveStore(self._options.root or Path(order["root"] or home("the node's folder", "name one with --root") / "fission"))
        try:
            await asyncio.to_thread(stock.prepare)
        except UserError as why:
            return {**who, "error": str(why)}
        before, folder = self._residence.stay, self._stay_folder
        error, stops = self._residence.enlist(
            order["run"],
            order["network"],
            time.monotonic(),
            interval_s=order["interval_s"],
            orphan_timeout_s=order["orphan_timeout_s"],
        )
        if error:
            return {**who, "error": error}
        await self._kill(stops)
        self._stock, self._interval_s = stock, order["interval_s"]
        if self._residence.stay != before:
            shutil.rmtree(folder, ignore_errors=True)
            self._prepared.clear()
            log.info("serves the network %s", order["network"])
        self._pulses.enlisted()
        self._client = str(order["client"])
        self._pulse_to = (str(order["pulses"][0]), int(order["pulses"][1]))
        self._following = bool(order["follow"])
        if self._voice is None or self._voice.address != order["ear"]:
            self._close_voice()
            self._voice = ZmqJobSender(order["ear"], self._guard)
        self._links.serve(self._residence.run, self._life)
        self._enlisted.set()
        return {
            **who,
            "life": self._life,
            "max_jobs": self._options.max_jobs,
            "probes": self._links.port,
            "lives": sorted(self._residence.lives),
            "told": self._residence.told,
        }

    @property
    def _own_ip(self) -> str:
        return "" if self._way is None else self._way.own

    @property
    def _life(self) -> str:
        """What the client knows this service by, as long as its jobs live: after a stay that has ended it is another one."""
        return f"{self._service}.{self._residence.stay}"

    @property
    def _stay_folder(self) -> str:
        """Where the jobs of the present stay have their sockets: no name is used a second time, whatever a killed job has left."""
        return os.path.join(self._run_folder, str(self._residence.stay))

    def _store(self) -> ArchiveStore:
        if self._stock is None:
            raise UserError("the node was not enlisted")
        return self._stock

    async def _install(self, order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        there = await asyncio.to_thread(self._store().add, order["digest"], order["start"], order["size"], blob)
        return {"have": there}

    def _snapshots(self, job: int, incarnation: int) -> Path:
        """Where the snapshots that a life asks for come."""
        return Path(self._stay_folder, f"snapshots-{job}.{incarnation}")

    async def _snapshot(self, order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        if (order["job"], order["incarnation"]) not in self._residence.lives or order["run"] != self._residence.run:
            return {"error": "the job does not run here"}
        folder = self._snapshots(order["job"], order["incarnation"])
        await asyncio.to_thread(take_snapshot, folder, order["name"], order["start"], blob, order["state"])
        return {}

    async def _launch(self, order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        job, incarnation = order["job"], order["incarnation"]
        error, new, stops = self._residence.launch(order["run"], job, incarnation)
        if error:
            return {"error": error}
        await self._kill(stops)
        if new:
            self._ends[job, incarnation] = asyncio.get_running_loop().create_future()
            try:
                place = await self._place(order)
                if (job, incarnation) in self._residence.lives:  # it was not stopped meanwhile
                    self._engine.host(job, incarnation, blob, HERE, place)
            except (UserError, EngineError, OSError) as why:  # its disk is full or read-only, or it can start nothing: another one may
                self._ended(job, incarnation, {"code": 1, "report": {"outcome": NODE_FAULT, "error": str(why)}})
        end = self._ends.get((job, incarnation))
        if end is not None:
            await asyncio.shield(end)
        return {}

    async def _place(self, order: Mapping[str, Any]) -> Place:
        stock, network, job = self._store(), self._residence.network, order["job"]
        os.makedirs(self._snapshots(job, order["incarnation"]), exist_ok=True)
        anew = job not in self._prepared
        self._prepared.add(job)
        folder = await asyncio.to_thread(stock.job_folder, network, job, order["dependencies"], anew=anew)
        code = await asyncio.to_thread(stock.verified, order["code"])
        return Place(
            folder=str(folder),
            sys_path=(str(code),),
            log_file=str(stock.log_file(network)),
            run_folder=self._stay_folder,
            ip=self._own_ip,
            keys=self._options.keys,
            shared_prefix=self._shared_prefix,
            snapshot_folder=str(self._snapshots(job, order["incarnation"])),
        )

    async def _stop(self, order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        if order["run"] == self._residence.run:
            await self._engine.stop(order["job"], order["incarnation"], HERE, grace=order["grace"])
        return {}

    async def _dismiss(self, order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        if order["run"] == self._residence.run and self._residence.state is State.SERVING:
            await self._kill(self._residence.dismiss())
            self._free()
        return {}

    async def _follow(self, order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        self._following = bool(order["on"])
        return {}

    async def _peers(self, order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        if order["run"] == self._residence.run:
            self._links.set_peers(order["peers"])
        return {}

    async def _look(self, order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        return {"standing": await self._engine.look(order["job"], order["incarnation"], HERE)}

    async def _log(self, order: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
        found = await asyncio.to_thread(self._store().log_tail, order["network"], LOG_BYTES)
        return {"log": found.decode("utf-8", "replace")}

    # jobs

    async def _kill(self, stops: list[Stop]) -> None:
        for stop in stops:
            await self._engine.stop(stop.job, stop.incarnation, HERE, grace=0)

    def _free(self) -> None:
        log.info("serves nobody")
        self._links.serve("", "")
        self._enlisted.clear()
        shutil.rmtree(self._stay_folder, ignore_errors=True)  # killed jobs leave their sockets there
        sweep(self._shared_prefix)

    async def _follow_engine(self) -> None:
        async for event in self._engine.events():
            if isinstance(event, JobExited):
                self._ended(event.job_id, event.incarnation, {"code": event.code, "report": dict(event.report)})
            elif isinstance(event, JobOutput) and self._following:
                self._say({"what": "output", "job": event.job_id, "stream": event.stream, "lines": list(event.lines)})
            elif isinstance(event, NodeGone):
                log.error("the fork server died, and its jobs with it; there is a new one now")
                for job, incarnation in sorted(self._residence.lives):
                    self._ended(job, incarnation, {"code": -9, "report": {}})
                await self._engine.revive(HERE)

    def _ended(self, job: int, incarnation: int, body: dict[str, Any]) -> None:
        end = self._ends.pop((job, incarnation), None)
        if end is not None and not end.done():
            end.set_result(None)
        told = self._residence.ended(job, incarnation, {"what": "exited", "job": job, "incarnation": incarnation, **body}, time.monotonic())
        if told is not None:
            self._say(told)

    def _say(self, body: Mapping[str, Any]) -> None:
        if self._voice is not None:
            self._voice.say({**body, "run": self._residence.run, "life": self._life})

    def _say_links(self, links: Mapping[str, NodeLink]) -> None:
        self._say({"what": "links", "links": to_wire(links)})

    # pulses

    async def _pulse(self) -> None:
        while True:
            await self._enlisted.wait()
            now = time.monotonic()
            self._means.sample(now)
            self._send_pulse(now, means={**asdict(self._means.load()), "rtt": self._pulses.rtt_s})
            again, stops = self._residence.tick(now)
            for body in again:
                self._say(body)
            if self._residence.state is State.FREE:
                log.warning("the client was not heard for too long: its jobs are stopped")
                await self._kill(stops)
                self._free()
                # a client that was only stopped, or cut off, shall notice at once that its jobs are gone, and may have the node again
                self._dropping = asyncio.ensure_future(self._drop())
            await asyncio.sleep(self._interval_s)

    def _send_pulse(self, now: float, **more: Any) -> None:
        pulse = {"life": self._life, "n": self._pulses.next(now), "echoed": self._pulses.echoed, **more}
        self._datagrams.send(pulse, self._pulse_to, pulse_context(self._residence.run, self._client))

    def _echo_context(self) -> bytes:
        """Of what the client of the present run answers this service; empty: there is none."""
        run = self._residence.run
        return echo_context(run, self._client, self._life) if run else b""

    def _on_echo(self, echo: dict[str, Any], source: tuple[str, int], sender: bytes) -> None:
        number, ack = echo.get("n"), echo.get("ack")
        now = time.monotonic()
        if not isinstance(ack, int) or not self._pulses.echo(number, now):
            return
        self._residence.heard(self._residence.run, now)
        self._residence.acknowledged(self._residence.run, ack)
        if self._pulses.cut_off(known=bool(echo.get("known")), connected=self._worker.connected):
            self._dropping = asyncio.ensure_future(self._drop())

    async def _drop(self) -> None:
        with contextlib.suppress(Exception):  # it is being made anew anyway
            await self._worker.drop()
