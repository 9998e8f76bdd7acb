"""The simulated cluster: client with supervision, nodes, incarnations and faults, by one seed.

It runs in one thread. Real parts are the client's `Coordinator` with supervision, liveness and
placement, and for every incarnation of a job its `Endpoint` with its shell and its `PythonHost`.
`sim_net` replaces processes, sockets, threads and clocks.

The invariants of a run:

- After the last fault all jobs run or have finished within `RECOVERY_S`, and the network ends
  within `END_S`, with exit code 0.
- If all sources resume, the files of the sinks equal those of a run without faults.
- With a source that starts over, each generation in a file is complete up to its last block, and
  generations do not go back.
- With MAX_QUEUE a file has each compute block at most once, in order; a lost block is a dummy, and
  counted.
- A job that has received a value of an ASYNC input with OPTIONAL_STORE never receives the default
  again, if only processes of jobs fail.
- A source never sends two different blocks with the same number and generation.
- No process receives a malformed message.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import random
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fission.client.run.coordinator import Coordinator
from fission.client.run.jobs.bundles import Addresses, Bundles, plans
from fission.core.nodes import NodeInfo
from fission.ports import NODE_FAULT, JobBundle, JobExited, NodeGone, NodeName, NodePulse, Observer
from fission.protocol import frames
from fission.protocol.joined import separate
from fission.protocol.link_messages import Data, JobMessage
from fission.protocol.messages.process_to_engine import ProcessReport
from fission.protocol.output import Output
from fission.protocol.pacing import CIRCLE_POLL_S, PRESS_S
from fission.protocol.restarts import AVOID_S
from fission.protocol.supervision import JobState
from fission.runtime.endpoint_shell import make_shell
from fission.runtime.python_host import PythonHost
from fission.runtime.surroundings import Surroundings
from tests.stateful.sim_jobs import DummyPipe, FileSink, Reference, Scenario, Source, faultless, lose_power, rows_in
from tests.stateful.sim_net import Net, SimLinks, Timeline
from tests.stateful.sim_times import SimTimes

PULSE_S = 0.1
CLIENT = "client"
#: Seconds to detect a dead node and to place, start and wire its jobs, at maximum delays: 5 pulses
#: and one on the way, the longest back-off of a job that fails often, start, network, and an only
#: node that has refused the job.
RECOVERY_S = 6 * PULSE_S + 1.6 + 1.5 + AVOID_S
#: Probability that a node refuses an order to start a job; at most one refusal per node.
REFUSES = 0.05
#: Seconds from the last fault to the end of the network; far more than its work takes.
END_S = 60.0


class InvariantViolated(AssertionError):
    """The run violates one of the invariants at the head of this file."""


class Crash(BaseException):
    """The process is killed at this point of its code."""


class SimControl:
    """A stand-in for the control thread: its ticks are events."""

    def __init__(self, links: SimLinks, served: Any) -> None:
        self._process = links.process

    def arm(self, moment: float) -> None:
        self._process.tick_at(moment)

    def start(self) -> None:
        self._process.listens = True
        self._process.tick_at(0.0)

    def stop(self) -> None:
        pass


def malformed(text: str) -> None:
    """Fail the run: a control message was dropped."""
    raise InvariantViolated(text)


class SimProcess:
    """One incarnation of a job: a process."""

    def __init__(self, cluster: Cluster, bundle: JobBundle, node: str) -> None:
        self.cluster, self.bundle, self.node = cluster, bundle, node
        self.job, self.incarnation = bundle.job_id, bundle.incarnation
        self.state = "ordered"  # then "runs", "over"
        self.frozen = False
        self.crash_at = ""  # point of its code at which it crashes next; empty: it does not
        self.links = SimLinks(bundle.wiring, cluster.net, self)
        self.folder = cluster.folder / str(self.job)
        self.stepping = self.planned = self.missed = False
        self.listens = False  # whether its control thread runs
        self.control_box: deque[list[Any]] = deque()
        self.later: deque[Callable[[], None]] = deque()  # while frozen
        self._tick_at = float("inf")
        self.waits_since: float | None = None
        self.given: dict[int, int] = {}  # by ASYNC input, the number of the last value received
        self.pace = cluster.rng.choice(cluster.paces)

    def __str__(self) -> str:
        return f"{self.bundle.name}.{self.incarnation}@{self.node}"

    # what the simulation does to it

    def start(self) -> None:
        if self.state != "ordered":
            return
        if self.frozen:
            self.later.append(self.start)
            return
        job: Any = pickle.loads(self.bundle.pickled_job)
        job.__dict__["_fission_sim_process"] = self
        self.state = "runs"
        self.loaded = job
        self.shell = make_shell(job, self.bundle, self.links, surroundings=self.cluster.surroundings)
        self.endpoint = self.shell.endpoint
        self.host = PythonHost(job, self.shell, self.bundle)
        if self.cluster.times is not None:
            self.cluster.times.watch(self)
        self.host.turn = self.cluster.rng.choice([1, 1, 3])
        self.turns = self.host.turns()
        self.folder.mkdir(exist_ok=True)
        self.cluster.net.listen(self.bundle.wiring.data, self)
        self.cluster.net.listen(self.bundle.wiring.control, self)
        self.schedule_step()

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        self._control()
        while self.later and not self.frozen:
            self.later.popleft()()

    def kill(self) -> None:
        """End it as SIGKILL does."""
        if self.state == "over":
            return
        self.cluster.record(f"{self} dies")
        self._over()
        if self.cluster.rng.random() < 0.3:
            lose_power(self.folder, self.cluster.rng)
        for wire in self.cluster.net.of(self):
            wire.lose(self.cluster.rng)

    def _over(self) -> None:
        self.state = "over"
        sink_file = self.loaded.__dict__.get("_fission_sink_file") if hasattr(self, "loaded") else None
        if sink_file is not None:
            sink_file.close()
        self.cluster.net.leave(self.bundle.wiring.data)
        self.cluster.net.leave(self.bundle.wiring.control)
        self.later.clear()

    def take(self, address: str, message: list[Any]) -> None:
        """Take a message that has arrived."""
        if self.state != "runs":
            return
        if address == self.bundle.wiring.data:
            self.links.box.append(message)
            self.schedule_step()
        else:
            self.control_box.append(message)
            if not self.frozen:
                self._control()

    def _control(self) -> None:
        while self.listens and self.control_box and self.state == "runs":
            message = self.control_box.popleft()
            self._in_control(lambda message=message: self.shell.on_message(message))  # type: ignore[misc]
            self._tick()
            self.schedule_step()

    def _in_control(self, work: Callable[[], Any]) -> Any:
        """Do the control thread's work.

        If the process dies there, its main thread dies in the middle of its work, too.
        """
        if self.stepping:
            return work()
        try:
            return work()
        except Crash:
            self._crash()
            return float("inf")

    def tick_at(self, moment: float) -> None:
        if moment < self._tick_at:
            self._tick_at = moment
            self.cluster.time.at(moment, lambda: self._due(moment))

    def _due(self, moment: float) -> None:
        if self.state == "runs" and moment == self._tick_at:
            self._tick_at = float("inf")
            if self.frozen:
                self.later.append(self._tick)
            else:
                self._control()
                self._tick()

    def _tick(self) -> None:
        if self.state != "runs":
            return
        due = self._in_control(lambda: self.shell.tick(self.cluster.time.now))
        if due < float("inf"):
            self.tick_at(due)

    # its actions

    def schedule_step(self) -> None:
        """Schedule the next step of its main thread, unless one is scheduled."""
        if self.stepping:
            self.missed = True
        elif not self.planned and self.state == "runs":
            self.planned = True
            rng = self.cluster.rng
            self.cluster.time.after(rng.uniform(0, self.pace) if rng.random() < 0.5 else rng.uniform(0, 0.0001), self._step)

    def _step(self) -> None:
        self.planned = False
        if self.state != "runs":
            return
        if self.frozen:
            self.later.append(self.schedule_step)
            return
        if self.crash_at == "between":
            self._crash()
            return
        self.stepping, self.missed = True, False
        os.chdir(self.folder)
        try:
            again = self._work()
        except Crash:
            self.stepping = False
            self._crash()
            return
        except RuntimeError as why:  # the only exception that jobs of these networks raise
            self.stepping = False
            self.fail(str(why))
            return
        self.stepping = False
        if again or self.missed:
            self.schedule_step()

    def _crash(self) -> None:
        self.kill()
        self.cluster.exited(self, -9, None)

    def _work(self) -> bool:
        shell, endpoint = self.shell, self.endpoint
        if endpoint.ending.over:
            self._over()
            for wire in self.cluster.net.of(self):
                if wire.held and self.cluster.rng.random() < 0.5:
                    wire.lose(self.cluster.rng)  # its messages had not left when the process ended
            self.cluster.exited(self, 0, ProcessReport(outcome="finished", counts=shell.counts()))
        if endpoint.finishing:
            return False
        room = self._limit()
        if endpoint.begun and not room:
            if shell.pump:
                shell.drain_inputs()
                self.cluster.time.after(CIRCLE_POLL_S, self.schedule_step)
            now = self.cluster.time.now
            if self.waits_since is None:
                self.waits_since = now
                self.cluster.time.after(PRESS_S, self.schedule_step)
            elif now >= self.waits_since + PRESS_S:
                self.waits_since = None
                for output in shell.outputs:
                    if not output.closed and not output.machine.window.room:
                        output.press()
                return True
            return False
        self.waits_since = None
        shell.inputs.batch_limit = room
        try:
            waits = next(self.turns)
        except StopIteration:
            shell.end(sends_ends=True)
            return True
        if not waits:
            return True
        return shell.receive() or self.links.woken

    def fail(self, error: str) -> None:
        self.cluster.record(f"{self} fails: {error}")
        block = self.shell.rule.done + 1 if self.endpoint.begun else 0
        self._over()
        self.cluster.exited(self, 1, ProcessReport(outcome="failed", error=error, block=block, counts=self.shell.counts()))

    def _limit(self) -> int:
        """Return how many compute blocks fit without waiting for room; 0 if it waits already."""
        room = 5
        for output in self.endpoint.outputs:
            if type(output) is Output and not (output.closed or output.unlimited):
                room = min(room, output.window.room - len(output.pending))
        return max(0, room)

    # points of its code at which the simulation may interrupt it

    def interrupt(self, *, inside: bool = False) -> None:
        """Crash if that is planned here: in `run`, or ``inside`` a send, where locks are held."""
        if self.state != "runs":
            return
        if self.crash_at == ("inside" if inside else "run"):
            raise Crash
        if inside:
            return
        if self.crash_at == "raise":
            self.crash_at = ""
            raise RuntimeError(f"an error at {self.cluster.time.now!r}")
        if self.cluster.rng.random() < 0.03:
            # the control thread works while the main thread is here
            for wire in self.cluster.net.to(self.bundle.wiring.control):
                if self.cluster.rng.random() < 0.5:
                    wire.arrive()

    def check_async_value(self, pipe: Any, value: Any) -> None:
        """Check the ``value`` that ``run`` received from an ASYNC input.

        After the first value no incarnation of the job receives the default again. A new
        incarnation may repeat values whose releases had not left; within an incarnation the numbers
        of the values never decrease.
        """
        scenario = self.cluster.scenario
        if not scenario.exact or not pipe.OPTIONAL_STORE:
            return
        pipe = self.cluster._known(pipe)
        producer = scenario.producers[pipe]
        value = value[0] if pipe.BLOCK_COUNT > 1 else value
        number = self.cluster.number_of(pipe, value) if value is not None else 0
        before, producer_incarnation = self.cluster.seen.get(pipe.id, (0, 0))
        now = self.cluster.client.incarnation(producer.id)
        lost = before and not number and now == producer_incarnation and not self.cluster.others_failed
        # the client's value may be newer than the first one of a producer that died at the same time
        back = number < self.given.get(pipe.id, 0) and pipe.id not in self.bundle.kept
        if lost or back:
            newest = max(before, self.given.get(pipe.id, 0))
            raise InvariantViolated(f"{self} received value {number} of pipe {pipe.id} after value {newest}")
        self.cluster.seen[pipe.id] = number, now if self.cluster.is_safe(self.job, pipe, producer.id, now, number) else 0
        self.given[pipe.id] = number

    def record_sent(self, pipe: int, message: list[Any]) -> None:
        """Record a block that a source sends; it must not differ from an earlier one."""
        if self.cluster.times is not None:
            self.cluster.times.sent(self, pipe, message)
        if self.cluster.scenario.exact or not self.cluster.scenario.network.jobs[self.job].is_source:
            return
        data = frames.decode(message)
        if isinstance(data, Data):
            log = self.cluster.sent.setdefault(data.generation, {}).setdefault(pipe, {})
            for number, payload in enumerate(separate(data.payloads), data.sqn):
                value = pickle.loads(payload)
                if log.setdefault(number, value) != value:
                    raise InvariantViolated(f"{self} sent a different block {number} of generation {data.generation} on pipe {pipe}")


class Node:
    """A node's service: pulses, launches, reports."""

    def __init__(self, name: str) -> None:
        self.node = self.name = name
        self.incarnation = 1
        self.up = True
        self.frozen = False
        self.processes: list[SimProcess] = []


class Engine:
    """`fission.ports.Engine` over the nodes of a simulated cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def launch(self, bundle: JobBundle, node: NodeName) -> None:
        self._cluster.order(node, bundle)

    async def stop(self, job: int, incarnation: int, node: NodeName, *, grace: float) -> None:
        self._cluster.order_kill(node, job, incarnation)

    def stopped(self, node: NodeName) -> None:
        """Return None: each node is a machine of its own."""

    async def look(self, job: int, incarnation: int, node: NodeName) -> str:
        return ""

    async def lost(self, node: NodeName) -> None:
        pass


class SimJobChannel:
    """The client's end of the channel to its jobs."""

    node = CLIENT

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def send(self, address: str, frame: Any) -> None:
        self._cluster.net.wire(self, address).send([bytes(frame)])

    def forget(self, address: str) -> None:
        self._cluster.net.wire(self, address).in_transit.clear()

    def take(self, address: str, message: list[Any]) -> None:
        received = frames.decode(message)
        assert isinstance(received, JobMessage)
        self._cluster.to_client(received)


class Store:
    """`fission.ports.CheckpointStore` in memory."""

    def __init__(self) -> None:
        self.snapshots: dict[int, dict[tuple[int, int], bytes]] = {}
        self.values: dict[int, dict[int, bytes]] = {}

    def put(self, job: int, generation: int, block: int, state: bytes) -> None:
        self.snapshots.setdefault(job, {})[generation, block] = state

    def prune(self, job: int, generation: int, block: int) -> None:
        self.snapshots[job] = {number: state for number, state in self.snapshots.get(job, {}).items() if number >= (generation, block)}

    def load(self, job: int) -> list[tuple[int, int, bytes]]:
        return [(*number, state) for number, state in sorted(self.snapshots.get(job, {}).items())]

    def numbers(self, job: int) -> list[tuple[int, int]]:
        return sorted(self.snapshots.get(job, {}))

    def folder(self, job: int) -> str:
        return ""

    def damaged(self, job: int) -> dict[tuple[int, int], str]:
        return {}

    def keep(self, job: int, pipe: int, group: bytes) -> None:
        self.values.setdefault(job, {})[pipe] = group

    def kept(self, job: int) -> dict[int, bytes]:
        return dict(self.values.get(job, {}))


class SimDisk:
    """A `fission.client.run.storage.disk_threads.Disk` whose work takes a while."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._slow_s = cluster.rng.choice([0.0, 0.0, 0.02, 0.3])

    def submit(self, work: Callable[[], Any], done: Callable[[Any], None]) -> Callable[[], object]:
        results: list[Any] = []

        def perform() -> None:
            if not results:
                results.append(work())

        def finish() -> None:
            perform()
            done(results[0])

        if self._slow_s:
            self._cluster.time.after(self._cluster.rng.uniform(0, self._slow_s), finish)
        else:
            finish()
        return perform

    def close(self) -> None:
        pass


class SmallBundles(Bundles):
    """Bundles with small windows."""

    blocks = 8

    def bundle(self, *args: Any) -> JobBundle:
        return replace(super().bundle(*args), window_blocks=self.blocks)


class Cluster:
    """One run of one seed."""

    def __init__(self, seed: int, folder: Path, *, faults: bool = True, times: bool = False) -> None:
        self.seed, self.folder = seed, folder
        self.rng = random.Random(seed)
        # refusals have their own random numbers, so that earlier seeds keep their histories
        self._refusals = random.Random(-1 - seed)
        self._refused: set[str] = set()
        self.scenario = Scenario(random.Random(seed * 7919 + 1))
        self.times = SimTimes(self.scenario) if times else None
        self.time = Timeline()
        self.net = Net(self.time, self.rng)
        self.paces = self.rng.choice([[0.002, 0.01], [0.01, 0.02, 0.04], [0.0005, 0.02]])
        self.happened: list[str] = []
        self.seen: dict[int, tuple[int, int]] = {}  # by ASYNC pipe, (number, producer's incarnation) of the last value received
        self.others_failed = False  # whether anything but a job's process has failed so far
        self._numbers: dict[int, dict[int, int]] = {}
        self.sent: dict[int, dict[int, dict[int, int]]] = {}
        self.nodes = {name: Node(name) for name in [*map(str, range(1, self.rng.randint(2, 4) + 1)), CLIENT]}
        self.processes: list[SimProcess] = []
        self._pause_until = 0.0
        self._waiting: deque[Any] = deque()
        self._tick_at = float("inf")
        self._last_event: dict[str, float] = {}
        self.last_fault = 0.0
        self.compared = 0  # times at sinks
        self._faults = faults
        self.surroundings = Surroundings(self.time.clock, SimControl, waits=False, snapshots=self._snapshot_reader, malformed=malformed)
        self._make_client()

    def record(self, text: str) -> None:
        """Add a line to the history that a failing seed prints."""
        self.happened.append(f"{self.time.now:8.4f} {text}")

    # the client

    def _make_client(self) -> None:
        network = self.scenario.network
        for job in network.jobs.values():
            job.RESTARTS = 10_000  # type: ignore[misc]
        room = len(network.jobs)
        infos = [NodeInfo(name, "127.0.0.1", ("LOCAL",) if name == CLIENT else ("ALL",), max_jobs=room) for name in self.nodes]
        addresses = Addresses("run", "sim")
        self.store = Store()
        self.job_channel = SimJobChannel(self)
        engine: Any = Engine(self)
        job_channel: Any = self.job_channel
        self.client = Coordinator(
            network,
            plans(network, 10_000),
            infos,
            engine,
            job_channel,
            self.store,
            _FailoverRecorder(self),
            addresses,
            pulse_interval_s=PULSE_S,
            restart_window_s=1.0,
            allocation_timeout_s=60.0,
            on_console=lambda what, job, lines: None,
            clock=self.time.clock,
            disk=SimDisk(self),
        )
        loaded: Any = SimpleNamespace(name="net", network=network, root=self.folder, config=SimpleNamespace(head_size=1))
        bundles = SmallBundles(loaded, str(self.folder), addresses, self.client.incarnation)
        bundles.blocks = self.scenario.window
        self.bundles = bundles
        self.net.listen(addresses.client, self.job_channel)

    def _do(self, work: Any) -> None:
        try:
            work.send(None)
        except StopIteration:
            self._plan_tick()
            return
        raise InvariantViolated("the client awaited something while handling an event")

    def to_client(self, event: Any) -> None:
        """Deliver an event to the client, which may be busy."""
        self._waiting.append(event)
        self.time.at(self._pause_until, self._serve)

    def _serve(self) -> None:
        while self._waiting and self.time.now >= self._pause_until and self.client.result is None:
            self._do(self.client.take(self._waiting.popleft()))

    def _plan_tick(self) -> None:
        due = self.client.next_deadline()
        moment = float("inf") if due is None else max(self.time.now, due)
        if moment != self._tick_at:
            self._tick_at = moment
            if moment < float("inf"):
                self.time.at(moment, lambda: self._tick(moment))

    def _tick(self, moment: float) -> None:
        if moment != self._tick_at or self.client.result is not None:
            return
        if self.time.now < self._pause_until:
            self.time.at(self._pause_until, lambda: self._tick(moment))
            return
        self._serve()
        if moment == self._tick_at:
            self._tick_at = float("inf")
            self._do(self.client.tick())

    # nodes

    def _report(self, node: Node, event: Any, spread: float = 0.005) -> None:
        """Send a node's event to the client; in order, if no cut is between them."""
        service = node.incarnation
        moment = max(self._last_event.get(node.name, 0.0), self.time.now + self.rng.uniform(0, spread))
        self._last_event[node.name] = moment

        def deliver() -> None:
            if node.name in self.net.cut:
                self.time.after(0.01, deliver)
            elif node.incarnation == service:
                self.to_client(event)

        self.time.at(moment, deliver)

    def _pulse(self, node: Node) -> None:
        self.time.after(PULSE_S, lambda: self._pulse(node))
        if node.up and not node.frozen:
            self._report(node, NodePulse(NodeName(node.name), node.incarnation))

    def order(self, name: str, bundle: JobBundle) -> None:
        """Carry out the client's order to start an incarnation of a job on a node."""
        node = self.nodes[name]
        process = SimProcess(self, bundle, name)
        self.record(f"{process} is ordered")

        def launch() -> None:
            if name in self.net.cut:
                self.time.after(0.01, launch)
            elif not node.up or process.state != "ordered" or process.service != node.incarnation:
                process.state = "over"
            elif node.frozen:
                self.time.after(0.01, launch)
            elif self._faults and name not in self._refused and self._refusals.random() < REFUSES:
                self._refused.add(name)
                self._fault(f"{process}: the disk of its node is full")
                process.state = "over"
                self._report(
                    node, JobExited(process.job, process.incarnation, 1, ProcessReport(outcome=NODE_FAULT, error="its disk is full")), 0.02
                )
            else:
                node.processes.append(process)
                self.time.after(self.rng.choice([0.005, 0.03, 0.1]), process.start)

        process.service = node.incarnation  # type: ignore[attr-defined]
        self.processes.append(process)
        self.time.after(self.rng.uniform(0, 0.005), launch)

    def order_kill(self, name: str, job: int, incarnation: int) -> None:
        """Carry out the client's order to stop an old incarnation on a node."""
        node = self.nodes[name]

        def kill() -> None:
            if node.frozen or name in self.net.cut:
                self.time.after(0.01, kill)
                return
            for process in node.processes:
                if (process.job, process.incarnation) == (job, incarnation) and process.state != "over":
                    process.kill()
                    self.exited(process, -9, None)

        self.time.after(self.rng.uniform(0, 0.05), kill)

    def exited(self, process: SimProcess, code: int, report: ProcessReport | None) -> None:
        """Report the exit of a process, from its node."""
        node = self.nodes[process.node]
        if report is not None and report.outcome == "finished":
            self.record(f"{process} finishes")
        if node.up:
            self._report(node, JobExited(process.job, process.incarnation, code, report), 0.02)

    # faults

    def _plan_faults(self) -> None:
        rng = self.rng
        virtual = [name for name in self.nodes if name != CLIENT]
        # losses before a new incarnation's first block have no dummy: kill jobs with losses more often
        targets = [*self.scenario.network.jobs, *(3 * [job.id for job in self.scenario.sinks() if job.MAX_QUEUE])]
        until = rng.choice([0.3, 1.0, 3.0])
        kinds = ["job"] if rng.random() < 0.3 else ["job"] * 6 + ["node", "node", "freeze", "freeze", "cut", "cut", "client"]
        for _ in range(rng.choice([1, 2, 4, 8, 12])):
            moment = rng.uniform(0, until)
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                kind = rng.choice(kinds)
                seconds = rng.choice([rng.uniform(0.05, 0.4), rng.uniform(0.4, 1.5)])
                where = rng.choice(virtual)
                number = rng.choice(targets)
                if kind == "job":
                    how = rng.choice(["between", "run", "inside", "raise"])
                    self.time.at(moment, lambda number=number, how=how: self._crash_job(number, how))  # type: ignore[misc]
                elif kind == "client":
                    self.time.at(moment, lambda seconds=seconds: self._pause(min(0.3, seconds)))  # type: ignore[misc]
                else:
                    act: Any = {"node": self._crash_node, "freeze": self._freeze, "cut": self._cut}[kind]
                    self.time.at(moment, lambda act=act, where=where, seconds=seconds: act(where, seconds))  # type: ignore[misc]

    def _fault(self, text: str, *, job: bool = False) -> None:
        self.others_failed = self.others_failed or not job
        self.last_fault = self.time.now
        self.record(f"FAULT {text}")

    def is_safe(self, job: int, pipe: Any, producer: int, incarnation: int, number: int) -> bool:
        """Return whether anything besides the consumer has a value.

        It is safe with the incarnation of the producer that sent it, or if the client retains a
        value. If the producer died after sending, and the consumer dies before the client is
        notified, both died at once, and the value may be lost.
        """
        if pipe.id in self.store.kept(job):
            return True
        processes = [
            process
            for process in self.processes
            if (process.job, process.incarnation) == (producer, incarnation) and hasattr(process, "shell")
        ]
        return any(out.pipe == pipe.id and out.window.next > number for process in processes for out in process.endpoint.outputs)

    def number_of(self, pipe: Any, value: int) -> int:
        """Return the number of the block of a pipe that has this value."""
        if pipe.id not in self._numbers:
            column = Reference(self.scenario, faultless(self.scenario)).column(pipe)
            self._numbers[pipe.id] = {value: number for number, value in column.items()}
        return self._numbers[pipe.id][value]

    def _crash_job(self, number: int, how: str) -> None:
        for process in self.processes:
            if process.job == number and process.state == "runs" and not process.frozen:
                self._fault(f"{process} will die: {how}", job=True)
                process.crash_at = how
                if how != "between":
                    # it may wait for something that never comes: then it dies while it waits
                    self.time.after(0.2, lambda process=process: self._crash_while_waiting(process))  # type: ignore[misc]
                process.schedule_step()

    def _crash_while_waiting(self, process: SimProcess) -> None:
        if process.crash_at and process.state == "runs":
            self._fault(f"{process} dies while it waits", job=True)
            process.crash_at = "between"
            process.schedule_step()

    def _crash_node(self, name: str, seconds: float) -> None:
        node = self.nodes[name]
        if not node.up:
            return
        reported = self.rng.random() < 0.5
        self._fault(f"node {name} is dead for {seconds:.2f} s" + (", which is reported" if reported else ""))
        node.up = False
        for process in node.processes:
            process.kill()
        node.processes.clear()
        if reported and name not in self.net.cut:
            gone = NodeGone(NodeName(name), "it is dead", node.incarnation)
            self.time.after(self.rng.uniform(0, 0.05), lambda: self.to_client(gone))
        self.time.after(seconds, lambda: self._revive(node))

    def _revive(self, node: Node) -> None:
        self._fault(f"node {node.name} has restarted")
        node.incarnation += 1
        node.up = True
        node.frozen = False

    def _freeze(self, name: str, seconds: float) -> None:
        node = self.nodes[name]
        if node.frozen or not node.up:
            return
        self._fault(f"node {name} is frozen for {seconds:.2f} s")
        service = node.incarnation
        node.frozen = True
        for process in node.processes:
            process.freeze()

        def thaw() -> None:
            if node.incarnation == service and node.up:
                self._fault(f"node {name} continues")
                node.frozen = False
                for process in list(node.processes):
                    process.thaw()

        self.time.after(seconds, thaw)

    def _cut(self, name: str, seconds: float) -> None:
        if name in self.net.cut:
            return
        self._fault(f"node {name} is cut off for {seconds:.2f} s")
        self.net.cut.add(name)

        def heal() -> None:
            self._fault(f"node {name} is reachable again")
            self.net.cut.discard(name)
            for wire in list(self.net.wires.values()):
                # messages that waited until their sender or receiver was replaced may be lost, or arrive late
                if wire.held and self._replaced(wire) and self.rng.random() < 0.5:
                    wire.dead = True
                    wire.in_transit.clear()
            self.net.heal()

        self.time.after(seconds, heal)

    def _replaced(self, wire: Any) -> bool:
        ends = [wire.sender, self.net.receivers.get(wire.address)]
        return any(isinstance(end, SimProcess) and end.incarnation < self.client.incarnation(end.job) for end in ends)

    def _pause(self, seconds: float) -> None:
        self._fault(f"the client is frozen for {seconds:.2f} s")
        self._pause_until = max(self._pause_until, self.time.now + seconds)

    # the run

    def run(self) -> None:
        """Run until the network ends, and check the invariants."""
        with self._quiet():
            for node in self.nodes.values():
                self.time.after(self.rng.uniform(0, PULSE_S), lambda node=node: self._pulse(node))  # type: ignore[misc]
            self.client.begin(self.bundles)
            if self._faults:
                self._plan_faults()
            while self.client.result is None:
                if self.client.error is not None:
                    raise self.client.error
                if self.time.now > self.last_fault + RECOVERY_S:
                    self._all_run()
                    limit = self.last_fault + END_S
                    while self.client.result is None:
                        if self.time.now > limit:
                            raise InvariantViolated(f"the network has not ended {END_S:g} s after the last fault:\n{self.state_text()}")
                        self._next()
                    break
                self._next()
        self._check()

    def _next(self) -> None:
        if not self.time.step():
            raise InvariantViolated("the network has not ended, but no event is left")

    def _all_run(self) -> None:
        for number, job in self.scenario.network.jobs.items():
            state = self.client.supervisor.state(number)
            if state not in (JobState.RUNNING, JobState.FINISHED):
                raise InvariantViolated(f"{job.name} is {state.name} {RECOVERY_S:.1f} s after the last fault")

    def _snapshot_reader(self, bundle: JobBundle, say: Any) -> Callable[[int, int], bytes]:
        """Return a stand-in for the files of snapshots."""

        def read(generation: int, block: int) -> bytes:
            stored = self.store.snapshots[bundle.job_id]
            if (generation, block) not in stored and bundle.incarnation < self.client.incarnation(bundle.job_id):
                raise Crash  # a late start whose snapshot its successor no longer needs: the client ignores its failure
            return stored[generation, block]

        return read

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Log nothing, and return to this folder at the end."""
        here, level = os.getcwd(), logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(level)
            os.chdir(here)

    # the check of the result

    def _check(self) -> None:
        assert self.client.result is not None
        code, reason, error = self.client.result
        if code:
            raise InvariantViolated(f"the network ended with {code}: {reason}: {error}")
        for process in self.processes:
            if process.state != "ordered" and hasattr(process, "shell") and process.endpoint.counter.malformed:
                raise InvariantViolated(f"{process} got {process.endpoint.counter.malformed} malformed messages")
        for job in self.scenario.sinks():
            rows = rows_in(self.folder / str(job.id))
            if job.MAX_QUEUE:
                self._check_with_losses(job, rows)
            elif self.scenario.exact:
                self._check_exact(job, rows)
            else:
                self._check_generations(job, rows)

    def _check_exact(self, job: FileSink, rows: list[Any]) -> None:
        wanted = list(Reference(self.scenario, faultless(self.scenario)).rows(job).items())
        got = [(number, values) for _, number, _, values in rows]
        if got != wanted:
            raise InvariantViolated(f"{job.name} {difference(got, wanted)}")

    def _check_with_losses(self, job: FileSink, rows: list[Any]) -> None:
        """Check that compute blocks are in order, and that each lost block is a counted dummy."""
        reference = Reference(self.scenario, faultless(self.scenario))
        columns = [(reference.column(self._known(pipe)), pipe) for pipe in job.inputs if not pipe.ASYNC]
        last = dummies = 0
        for _, number, flags, values in rows:
            if number <= last:
                raise InvariantViolated(f"{job.name}: block {number} after {last}")
            last, here = number, 0
            for (column, pipe), value in zip(columns, values, strict=True):
                count = pipe.BLOCK_COUNT
                for at, one in enumerate(value if count > 1 else [value], (number - 1) * count + 1):
                    if column.get(at) == one:
                        continue
                    here += 1
                    # a dummy: the pipe's, or an earlier block
                    if one != -1 if isinstance(pipe, DummyPipe) else one not in [column.get(before) for before in range(1, at)]:
                        raise InvariantViolated(f"{job.name}: block {at} of pipe {pipe.id} is {one}, neither {column.get(at)} nor a dummy")
            if job.HEAD and bool(flags & 0x80) != bool(here):
                raise InvariantViolated(f"{job.name}: compute block {number} has {here} dummies and the flags {flags:#x}")
            dummies += here
        total = self.client.counters.total(job.id, self.client.incarnation(job.id))
        for _, pipe in columns:
            producer = self.scenario.producers[self._known(pipe)]
            dropped = self.client.counters.total(producer.id, 1)["outputs"][str(pipe.id)]["dropped"]
            counts = total["inputs"][str(pipe.id)]
            dummies -= counts["dummies"]
            if not self._faults and counts["lost"] + counts["dropped"] > dropped + counts["dropped"]:
                raise InvariantViolated(f"{job.name}: {counts} of pipe {pipe.id}, of which {dropped} blocks were dropped")
        if dummies != 0 and (not self._faults or (dummies > 0 and not total["lives_untold"])):
            raise InvariantViolated(f"{job.name}: its file has {dummies} more dummies than were counted")

    def _known(self, pipe: Any) -> Any:
        return next(known for known in self.scenario.producers if known.id == pipe.id)

    def _check_generations(self, job: FileSink, rows: list[Any]) -> None:
        before = -1
        last = 0
        for generation, number, flags, values in rows:
            if generation < before:
                raise InvariantViolated(f"{job.name}: a block of generation {generation} after one of {before}")
            if generation != before:
                before, last = generation, 0
                wanted = Reference(self.scenario, self.sent.get(generation, {})).rows(job)
            if number != last + 1:
                raise InvariantViolated(f"{job.name}: block {number} after {last} in generation {generation}")
            last = number
            if wanted.get(number) != values:
                raise InvariantViolated(f"{job.name}: block {number} of generation {generation} is {values}, not {wanted.get(number)}")
            if job.HEAD and bool(flags & 0x40) != (number == 1):
                raise InvariantViolated(f"{job.name}: block {number} of generation {generation} has the flags {flags:#x}")
            if job.HEAD and flags & 0x80:
                raise InvariantViolated(f"{job.name}: block {number} of generation {generation} is corrupted")

    def state_text(self) -> str:
        """Return the states of all jobs, one line each, with their pipes."""
        lines = []
        for number, job in self.scenario.network.jobs.items():
            supervisor = self.client.supervisor
            incarnation, node = supervisor.newest(number)
            lines.append(f"  {job.name}: {supervisor.state(number).name}, incarnation {incarnation} on {node}")
            for process in self.processes:
                if process.job == number and process.state == "runs":
                    endpoint = process.endpoint
                    aligner = endpoint.inputs.aligner
                    at = f"next {aligner.next} of {aligner.generation}, beginning {aligner.beginning}" if aligner else ""
                    lines.append(f"    {process} {endpoint.ending.stage.name}, done {endpoint.rule.done}, {at}")
                    for pipe in endpoint.inputs.counts() if aligner else []:
                        if pipe not in endpoint.inputs.optional:
                            r = aligner.receiver(pipe)
                            lines.append(
                                f"      in {pipe}: incarnation {r.incarnation} gen {r.generation} mark {r.mark} high {r.high} last {r.last}"
                                f" waiting {aligner.waiting(pipe)}"
                            )
                    for optional in endpoint.inputs.optional.values():
                        r = optional.receiver
                        lines.append(
                            f"      in? {optional.spec.pipe}: incarnation {r.incarnation} gen {r.generation} mark {r.mark}"
                            f" high {r.high} last {r.last}"
                        )
                    for out in endpoint.outputs:
                        lines.append(
                            f"      out {out.pipe}: gen {out.generation} next {out.window.next} released {out.window.released}"
                            f" room {out.window.room} ended {out.ended} closed {out.closed} older {[(g, len(w)) for g, w in out.older]}"
                        )
        return "\n".join(lines)


class _FailoverRecorder(Observer):
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def failover(self, text: str) -> None:
        self._cluster.record(text)


def difference(got: list[Any], wanted: list[Any]) -> str:
    """Return the first difference between two files."""
    for index, (one, other) in enumerate(zip(got, wanted, strict=False)):
        if one != other:
            return f"differs at row {index}: {one}, not {other} ({len(got)} rows of {len(wanted)})"
    return f"has {len(got)} rows, not {len(wanted)}"


def run_seed(seed: int, *, faults: bool = True, folder: Path | None = None, times: bool = False) -> tuple[Cluster | None, Exception | None]:
    """Run one seed; return the cluster and the error, if any."""
    place = Path(tempfile.mkdtemp(prefix="cluster-sim-")) if folder is None else folder
    cluster = None
    try:
        cluster = Cluster(seed, place, faults=faults, times=times)
        cluster.run()
        if cluster.times is not None:
            cluster.compared = cluster.times.check(cluster)
    except Exception as why:
        return cluster, why
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return cluster, None


__all__ = ["Cluster", "InvariantViolated", "Source", "run_seed"]
