"""The shell around supervision and liveness: hands them what happens, performs what they decide, writes down both.

What happens comes from the engine (processes, pulses), from the jobs (words) and from the clock, one thing at a time, in one task
of the client's loop.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fission.adapters.zmq_desk import ZmqDesk
from fission.client.bundles import Addresses, Bundles
from fission.client.deaths import death, failed_job
from fission.client.history import History
from fission.client.places import Places
from fission.client.summary import JobSummary
from fission.client.switchboard import Switchboard
from fission.client.tally import Tally
from fission.core.network import Network
from fission.core.nodes import NodeInfo
from fission.errors import EXIT_FAILED, EngineError, RemoteProtocolError
from fission.ports import (
    CheckpointStore,
    Engine,
    EngineEvent,
    EngineNotice,
    JobExited,
    JobOutput,
    NodeGone,
    NodeJoined,
    NodeName,
    NodePulse,
    Observer,
)
from fission.protocol import frames, liveness, supervision
from fission.protocol.frames import Word
from fission.protocol.supervision import JobEnded, JobReady, JobState, Replayed, Supervisor

#: How Python says that a module cannot be imported.
MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named '([^']+)'")

log = logging.getLogger("fission.client")


class Conductor:
    """One run of a network.

    Attributes:
        jobs: what the summary tells of each job.
        result: (exit code, reason, error) once supervision has decided that the network is over.
        over: set then.
        empty: set while no process of a job runs.
        places: its nodes.
        hearers: who takes further words, by what they say.
        on_launch: called with a job's id when the order to start a new life of it was given.
    """

    def __init__(
        self,
        network: Network,
        plans: Sequence[supervision.JobPlan],
        nodes: Sequence[NodeInfo],
        engine: Engine,
        desk: ZmqDesk,
        store: CheckpointStore,
        observer: Observer,
        addresses: Addresses,
        *,
        pulse_interval_s: float,
        restart_window_s: float,
        allocation_timeout_s: float,
        on_console: Callable[[str, int, int], None],
        gather_s: float | None = None,
        history: History | None = None,
    ) -> None:
        """Prepare; `run` begins.

        Args:
            nodes: that are expected.
            gather_s: seconds after which the network starts without those that are not up; None: never.
            on_console: called with (what, job, lines) of what happens to jobs with consoles, and of each job's end.
            history: of the run that is to be gone on with.
            The rest: as in `fission.client.simulate`.
        """
        self._network = network
        self._gather_s = gather_s
        self._engine = engine
        self._desk = desk
        self._store = store
        self.observer = observer
        self._addresses = addresses
        self._on_console = on_console
        self._names = {number: job.name for number, job in network.jobs.items()}
        self._liveness = liveness.Liveness(pulse_interval_s)
        self.places = Places(network, nodes, several=gather_s is not None, tq=self._pulse_quality)
        self._supervisor = Supervisor(
            plans, self.places.place, restart_window_s=restart_window_s, allocation_timeout_s=allocation_timeout_s
        )
        self._lines = Switchboard(network, self._supervisor, desk, addresses)
        self._processes: dict[tuple[int, int], str] = {}  # node of each life whose process may run
        self._living: set[tuple[int, int]] = set()  # lives that nodes had when they joined
        self._shown: set[str] = set()
        self._tally = Tally()
        self._why_gone: dict[tuple[str, int], str] = {}
        self._bundles: Bundles | None = None
        self._events_file: Any = None
        self._started = False
        self._began = time.monotonic()
        self.stopping = False
        self.error: Exception | None = None
        self.jobs = {number: JobSummary(job.name) for number, job in network.jobs.items()}
        self.result: tuple[int, str, str] | None = None
        self.over = asyncio.Event()
        self.empty = asyncio.Event()
        self.empty.set()
        self.hearers: dict[str, Callable[[Word], None]] = {}
        self.on_launch: Callable[[int], None] = lambda job: None
        self._history = history
        if history is not None:
            self._recall(history)

    def _recall(self, history: History) -> None:
        self._supervisor.resume(history.story)
        self._lines.ends.update({job: dict(ends) for job, ends in history.ends.items()})
        for job, (incarnation, node) in history.story.lives.items():
            self._addresses.placed(job, incarnation, node)
            self.jobs[job].restarts = incarnation - 1
            if job in history.story.finished:
                self.jobs[job].outcome = "finished"
        for (job, incarnation), told in history.addresses.items():
            self._addresses.told(job, incarnation, told)

    async def _go_on(self) -> None:
        """All nodes that will come are there: what should run and does not is started anew."""
        missing = []
        story = self._history.story if self._history is not None else None
        for job, (incarnation, _) in story.lives.items() if story is not None else ():
            if self._supervisor.state(job) is not JobState.RUNNING:
                continue
            if (job, incarnation) in self._living:
                self._processes[job, incarnation] = self._supervisor.life(job)[1]
            elif job in self._lines.ends:
                await self._end_for(job, incarnation)
            else:
                missing.append(job)
        self._say_empty()
        await self._perform(self._supervisor.start(time.monotonic(), missing))

    def summaries(self) -> dict[int, JobSummary]:
        """What the summary tells of each job, with what all its lives have counted."""
        for number, summary in self.jobs.items():
            summary.counts = self._tally.total(number, self._supervisor.life(number)[0])
        return self.jobs

    @property
    def failovers(self) -> list[supervision.Failover]:
        """All failovers so far."""
        return self._supervisor.failovers

    def nodes(self) -> list[NodeInfo]:
        """Every node that is known, with the names of its jobs; those that have never been up have no room."""
        return self.places.infos(lambda node: [job for job in sorted(self._names) if self._supervisor.life(job)[1] == node])

    def _pulse_quality(self, node: str) -> int:
        return self._liveness.statistics(time.monotonic())[node].tq

    def up(self, node: str) -> bool:
        """Whether a node pulses."""
        return self._liveness.state(node) is liveness.NodeState.UP

    def incarnation(self, job: int) -> int:
        """The newest life of a job; 0 if it has none yet."""
        return self._supervisor.life(job)[0]

    def state(self, job: int) -> JobState:
        """Where a job is."""
        return self._supervisor.state(job)

    def processes(self) -> list[tuple[int, int, str]]:
        """(job, incarnation, node) of every newest life whose process runs."""
        lives = sorted(self._processes.items())
        return [(job, life, node) for (job, life), node in lives if life == self._supervisor.life(job)[0]]

    async def run(self, bundles: Bundles, events_file: Path) -> None:
        """Follow everything until cancelled."""
        self._bundles = bundles
        queue: asyncio.Queue[EngineEvent | Word] = asyncio.Queue()
        feeders = [asyncio.create_task(self._feed_events(queue)), asyncio.create_task(self._feed_words(queue))]
        with open(events_file, "a", encoding="utf-8") as self._events_file:
            try:
                for name in self.places:
                    await self._live(liveness.Expect(name))
                while True:
                    try:
                        event = await asyncio.wait_for(queue.get(), self._patience())
                    except asyncio.TimeoutError:
                        await self._guarded(self._tick())
                    else:
                        await self._guarded(self._take(event))
            finally:
                for task in feeders:
                    task.cancel()
                await asyncio.gather(*feeders, return_exceptions=True)

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except Exception as why:
            # an error of an observer must not leave the network running with nobody looking: it is stopped in order
            self.error = self.error or why
            self.observer = Observer()
            self._decide(1, "the client failed", "")

    async def _feed_events(self, queue: asyncio.Queue[Any]) -> None:
        async for event in self._engine.events():
            queue.put_nowait(event)

    async def _feed_words(self, queue: asyncio.Queue[Any]) -> None:
        async for message in self._desk.words():
            try:
                word = frames.decode(message)
                if not isinstance(word, Word):
                    raise RemoteProtocolError(f"a {type(word).__name__} is no word")
                if word.body["say"] in self.hearers:
                    self._hear(word)
                    await asyncio.sleep(0)  # there may be many: pulses must not wait for them
                else:
                    queue.put_nowait(word)
            except RemoteProtocolError as why:
                log.warning("dropped a word that is none: %s", why)

    def _patience(self) -> float | None:
        gathered = self._began + self._gather_s if self._gather_s is not None and not self._started else None
        moments = [moment for moment in (self._supervisor.due, self._liveness.next_deadline(), gathered) if moment is not None]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    # what happens

    async def _take(self, event: EngineEvent | Word) -> None:
        if isinstance(event, JobOutput):
            for line in event.lines:
                self.observer.job_output(self._names[event.job_id], event.job_id, event.stream, line)
        elif isinstance(event, Word):
            await self._on_word(event)
        elif isinstance(event, JobExited):
            await self._on_exited(event)
        elif isinstance(event, NodePulse):
            if event.means:
                self.places.measured(event.name, event.means)
            await self._live(liveness.Pulse(event.name, event.incarnation))
        elif isinstance(event, NodeJoined):
            await self._on_joined(event)
        elif isinstance(event, EngineNotice):
            self.observer.warning(event.text)
        elif isinstance(event, NodeGone):
            self._processes = {life: node for life, node in self._processes.items() if node != event.name}
            self._say_empty()
            self._why_gone[event.name, event.incarnation] = event.reason
            if not self.stopping and self.places.local(event.name):
                # the client's own node: nobody starts it again, and no other one takes local jobs
                self.observer.warning(f"node {event.name} is lost: {event.reason}")
                self._decide(EXIT_FAILED, f"node {event.name} is lost: {event.reason}", "")
                return
            await self._live(liveness.Left(event.name, event.incarnation))

    async def _tick(self) -> None:
        await self._live(liveness.Tick())
        if self._started:
            await self._supervise(supervision.Tick())

    async def _on_joined(self, event: NodeJoined) -> None:
        new = self.places.joined(event)
        self._living.update(event.lives)
        self._write_down(event)
        if new:
            await self._live(liveness.Expect(event.name))

    async def _live(self, event: liveness.Event) -> None:
        for told in self._liveness.handle(event, time.monotonic()):
            if isinstance(told, liveness.Up):
                await self._supervise(supervision.NodeUp(node=told.node))
            else:
                for job in [job for job in self._lines.ends if self._supervisor.alive(job) and self._supervisor.life(job)[1] == told.node]:
                    await self._end_for(job, self._supervisor.life(job)[0])
                reason = self._why_gone.pop((told.node, told.incarnation), told.reason)
                await self._engine.lost(NodeName(told.node))
                await self._supervise(supervision.NodeLost(node=told.node, reason=reason))
        if not self._started and (all(map(self.up, self.places)) or self._gathered()):
            self._started = True
            self.observer.nodes_ready(self.nodes(), [name for name in self.places if not self.up(name)])
            await self._go_on()

    def _gathered(self) -> bool:
        return self._gather_s is not None and time.monotonic() >= self._began + self._gather_s

    async def _on_word(self, word: Word) -> None:
        what, body = word.body["say"], word.body
        if "counts" in body:
            self._tally.tell(word.job, word.incarnation, body["counts"], final=what == "ended")
        if what == "counts":
            return
        if word.incarnation != self._supervisor.life(word.job)[0]:
            return  # fenced: its job has a newer life
        if what == "hello":
            self._write_down({"what": "Hello", "job": word.job, "incarnation": word.incarnation, **body})
            self._lines.said_hello(word.job, word.incarnation, body.get("addresses", {}))
            await self._supervise(JobReady(job=word.job, incarnation=word.incarnation))
        elif what == "replayed":
            self._tally.replayed(word.job, body["pipe"], body["blocks"])
            await self._supervise(Replayed(job=body["job"], incarnation=body["incarnation"], blocks=body["blocks"]))
        elif what == "store":
            self._store.put(word.job, body["generation"], body["block"], word.payload)
            stored = {"do": "stored", "generation": body["generation"], "block": body["block"]}
            self.command(word.job, stored)
        elif what == "ended":
            if not self._supervisor.alive(word.job):
                return  # it was given up with its node, and waits for a place: its next life has another end to tell
            # all its work is done and released: what happens to its process from here on is no failure
            self._lines.ends[word.job] = {int(pipe): (word.incarnation, *last) for pipe, last in body["ends"].items()}
            self._write_down({"what": "Ended", "job": word.job, "ends": self._lines.ends[word.job]})
            self.command(word.job, {"do": "noted"})
        elif what == "keep":
            self._store.keep(word.job, body["pipe"], word.payload)
            self.command(word.job, {"do": "kept", "pipe": body["pipe"], "number": body["number"]})
        elif what == "typed":
            self._on_console(what, word.job, body["lines"])
        elif what == "warning":
            self.observer.warning(f"{self._names[word.job]}: {body['text']}")
        elif what == "stable":
            self._store.prune(word.job, body["generation"], body["block"])
        else:
            log.warning("%s says %r, which nobody understands", self._names.get(word.job), what)

    def _hear(self, word: Word) -> None:
        """Words that change nothing do not stand in the queue of those that do."""
        if word.incarnation == self.incarnation(word.job):
            self.hearers[word.body["say"]](word)

    async def _on_exited(self, event: JobExited) -> None:
        self._processes.pop((event.job_id, event.incarnation), None)
        newest = event.incarnation == self._supervisor.life(event.job_id)[0]
        self._tally.tell(event.job_id, event.incarnation, event.report.get("counts") or {}, final=True)
        outcome = str(event.report.get("outcome") or "failed")
        error = None
        if outcome == "stopped" and not self.stopping:
            outcome, error = "failed", "its process was told to stop (SIGTERM) by somebody else"
        elif outcome == "failed":
            error = self._located(event, str(event.report.get("error") or death(event.code)))
        ended = newest and event.job_id in self._lines.ends and outcome == "failed"
        if ended:
            outcome, error = "finished", None
        if newest:
            summary = self.jobs[event.job_id]
            summary.outcome = "killed" if self.stopping and not event.report and event.code else outcome
            self._tell_end(event.job_id, summary.outcome, error)
        self._say_empty()
        if ended and not self.stopping:
            await self._end_for(event.job_id, event.incarnation)
        elif not self.stopping:
            hopeless = bool(event.report.get("hopeless"))
            block = int(event.report.get("block") or 0)
            await self._supervise(JobEnded(job=event.job_id, incarnation=event.incarnation, error=error, block=block, hopeless=hopeless))

    def _located(self, event: JobExited, error: str) -> str:
        """Name the node where that matters: something that this machine has is missing there."""
        node = self._supervisor.life(event.job_id)[1]
        missing = MISSING_MODULE.search(error)
        if missing is None or self.places.local(node):
            return error
        name = missing[1].partition(".")[0]
        how = f"install it there, with the pip of its service (python3 -m pip install {name}), or add it to the job's DEPENDENCIES"
        return f"{error}\nthe module {name} is missing on node {node}: {how}"

    async def _end_for(self, job: int, incarnation: int) -> None:
        """A job had ended, and its process died before its consumers had taken note: the client tells them in its place."""
        self._lines.send_ends(job)
        await self._supervise(JobEnded(job=job, incarnation=incarnation))

    def _tell_end(self, job: int, outcome: str, error: str | None) -> None:
        name = self._names[job]
        if error is not None and outcome == "failed":
            log.error("%s failed: %s", name, error)
            if error not in self._shown and not error.startswith("its process was killed"):
                self._shown.add(error)  # one that fails again in the same way has told it already
                self.observer.job_failed(name, job, error)
            return
        self._on_console("ended", job, 0)
        log.info("%s %s", name, outcome)
        self.observer.job_ended(name, job, outcome)
        if outcome == "ended":
            self.observer.warning(f"{name} returned None and has outputs: it has ended, and the jobs behind it are not told")

    def _say_empty(self) -> None:
        if self.processes():
            self.empty.clear()
        else:
            self.empty.set()

    # what is to be done

    async def _supervise(self, event: supervision.Event) -> None:
        self._write_down(event)
        await self._perform(self._supervisor.handle(event, time.monotonic()))

    async def _perform(self, instructions: Sequence[supervision.Instruction]) -> None:
        for instruction in instructions:
            self._write_down(instruction)
            if self.stopping:
                return
            if isinstance(instruction, supervision.Launch):
                await self._launch(instruction)
            elif isinstance(instruction, supervision.Wire):
                self._lines.wire(instruction)
            elif isinstance(instruction, supervision.Close):
                self.command(instruction.job, {"do": "closed", "pipe": instruction.pipe})
            elif isinstance(instruction, supervision.Reset):
                self.command(instruction.job, {"do": "reset", "generation": instruction.generation})
            elif isinstance(instruction, supervision.Kill):
                await self._engine.stop(instruction.job, instruction.incarnation, NodeName(instruction.node), grace=0)
            elif isinstance(instruction, supervision.Failover):
                log.warning("%s", instruction)
                self.observer.failover(str(instruction))
            else:
                self._decide(instruction.exit_code, instruction.reason, instruction.error)

    async def _launch(self, order: supervision.Launch) -> None:
        if self._bundles is None:
            return
        job = self._network.jobs[order.job]
        consumers = self._lines.consumers(order.job)
        finished = {pipe for pipe, consumer in consumers.items() if self._supervisor.state(consumer) is JobState.FINISHED}
        snapshots = tuple(self._store.load(order.job))
        kept = self._store.kept(order.job)
        self._lines.placed(order.job, order.incarnation, order.node)
        bundle = self._bundles.bundle(order.job, order.incarnation, order.generation, frozenset(finished), snapshots, kept, order.node)
        if order.incarnation > 1:
            self._on_console("new life", order.job, 0)
        self._lines.wire_later(order.job, bundle)
        self._processes[order.job, order.incarnation] = order.node
        self._say_empty()
        try:
            await self._engine.launch(bundle, NodeName(order.node))
        except EngineError as why:
            log.warning("%s", why)  # the node is gone, which will be an event
        for pipe, producer in self._lines.producers(order.job).items():
            if self._supervisor.state(producer) is JobState.FINISHED:
                self._lines.send_end(producer, pipe, order.job)
        self.jobs[order.job].restarts = order.incarnation - 1
        self.on_launch(order.job)
        if order.incarnation == 1:
            self.observer.job_started(job.name, job.id)
        self.observer.job_placed(job.name, job.id, order.node)

    def command(self, job: int, body: dict[str, Any]) -> None:
        """Tell the newest life of a job something; it hears it when it has started."""
        self._lines.command(job, body)

    def _decide(self, exit_code: int, reason: str, error: str) -> None:
        if self.result is None:
            self.result = (exit_code, reason, error)
            self.over.set()
            if error and exit_code != EXIT_FAILED:
                self.observer.warning(f"{reason}: {error}")
            elif error and error not in self._shown:  # deaths are not told one by one, but the one that is the end
                name = failed_job(reason)
                self.observer.job_failed(name, next((job for job, known in self._names.items() if known == name), 0), error)

    def _write_down(self, what: Any) -> None:
        if self._events_file is not None and not isinstance(what, supervision.Tick):
            told = what if isinstance(what, dict) else {"what": type(what).__name__, **dataclasses.asdict(what)}
            entry = {"s": round(time.monotonic() - self._began, 4), **told}
            self._events_file.write(json.dumps(entry, default=str) + "\n")
            self._events_file.flush()
