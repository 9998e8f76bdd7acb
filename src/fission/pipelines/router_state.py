"""Which Pipeliner runs which pipeline, and how it ends: the Router's decisions between store,
Pipeliners and cluster.

A pipeline is leased to one Pipeliner, which renews the lease with each exchange. When it is silent
for `SILENCE_S` the lease is void, and the pipeline goes to another Pipeliner, with all that is
recorded and all that runs. How a job ended is written to the store before anyone is notified.
`BrokerRegistry` judges the Brokers and their processes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from fission.errors import RemoteProtocolError
from fission.pipelines.broker_registry import PULSE_S, SILENCE_S, UNKNOWN_S, BrokerRegistry
from fission.pipelines.leases import OTHERS, SINGLE, FirstFailure, LeasedPipeline, PipelinerSession, SendReply, end_record
from fission.pipelines.ports import Cluster, PipelineStore
from fission.pipelines.router_counters import RouterCounters
from fission.protocol.messages.pipelines.broker_to_router import BrokerPulse, ReportProcessEnded
from fission.protocol.messages.pipelines.pipeliner_to_router import EndPipeline, PipelinerExchange, RunJob
from fission.protocol.messages.pipelines.router_to_pipeliner import ExchangeAnswer, Farewell, JobEvent, UnknownPipeliner
from fission.protocol.messages.pipelines.wire import ERROR_LENGTH
from fission.protocol.pipeline_records import CANCELLED, FAILED, FINISHED, EndRecord, JobRecord, Task, TaskEnd
from fission.protocol.waiting_queue import WaitingQueue

#: Maximum number of pipelines in one answer. Arbitrary.
LEASES = 500
#: Maximum number of waiting pipelines that are searched for one that a third-party Pipeliner can take. Arbitrary.
HANDED_OUT = 100


class RouterState:
    """See the module.

    For one thread; ``now`` is in monotonic seconds, ``wall`` in seconds since the epoch.

    Attributes:
        waiting: pipelines that no Pipeliner has.
        single: single jobs that the Router's own Pipeliner does not have yet.
        own: id of the Router's own Pipeliner; empty: none.
        others: whether a third-party broker was seen, whose workers cannot be known.
        single_durations: seconds by id of ended single jobs, until they are broadcast.
        active: by id: pipelines that are leased, or were.
        fresh: by id: pipelines whose body is in memory, and that were not leased yet.
        sessions: Pipeliners by id.
        registry: of the Brokers.
        ended: ends in the store that are not broadcast yet.
        counters: what has ended since the start.
    """

    def __init__(self, store: PipelineStore, cluster: Cluster, logger: logging.Logger) -> None:
        """Continue with the pipelines in the store.

        Args:
            store: has the pipelines.
            cluster: runs the jobs.
            logger: the Router's.
        """
        self._store = store
        self._cluster = cluster
        self._log = logger
        self.waiting = WaitingQueue()
        self.single = WaitingQueue()
        self.own = ""
        self.single_durations: dict[str, float] = {}
        self.others = False
        for name, priority in store.waiting():
            self.queue_of(name).add(name, priority)
        self._last_attempt = 0  # the largest number of any attempt
        self.active: dict[str, LeasedPipeline] = {}
        self.fresh: dict[str, LeasedPipeline] = {}
        self.sessions: dict[str, PipelinerSession] = {}
        self.registry = BrokerRegistry(store, cluster, logger)
        self._ticked = 0.0
        self._records: list[JobRecord] = []
        self._ends: list[EndRecord] = []
        self.ended: list[EndRecord] = []
        self.counters = RouterCounters()

    def queue_of(self, pipeline: str) -> WaitingQueue:
        """Return the queue in which a pipeline of this id waits."""
        return self.single if pipeline.startswith(SINGLE) else self.waiting

    # Pipeliners

    def exchange(self, message: PipelinerExchange, answer: SendReply, now: float, wall: float) -> None:
        """Take a Pipeliner's decisions; `flush` answers when there is news, at the latest after
        `PULSE_S`.

        Raises:
            RemoteProtocolError: the number of the exchange is wrong; nothing has changed.
        """
        name, number = message.pipeliner, message.number
        session = self.sessions.get(name)
        if session is None:
            if number != 1:
                answer(UnknownPipeliner())
                return
            session = self.sessions[name] = PipelinerSession(now)
            if name != self.own:
                self._log.info("Pipeliner %s has connected", name)
        session.seen = now
        if number == session.number:  # its request or our answer got lost
            if session.parked is None and session.last is not None:
                answer(session.last)
            else:
                session.parked = answer
            return
        if number != session.number + 1:
            raise RemoteProtocolError(f"the exchange must have number {session.number + 1}, but has {number}")
        session.number, session.room, session.parked, session.parked_at = number, message.room, answer, now
        self._cluster.run([task for job in message.run if (task := self._task(name, job, now))])
        for end in message.ended:
            self._end(name, end, wall)
        if message.leave:
            self._void(name, "has left")
            answer(Farewell(number))

    def _task(self, holder: str, run: RunJob, now: float) -> Task | None:
        active, job = self.active.get(run.pipeline_id), run.job
        if active is None or active.holder != holder or not 0 <= job < len(active.jobs) or run.attempt <= active.attempts_before:
            return None  # cancelled, or leased again since
        record = active.records.get(job)
        if (record is not None and record.state != "raised") or job in active.attempts:
            return None
        active.attempts[job] = (run.attempt, now)
        self._last_attempt = max(self._last_attempt, run.attempt)
        return active.task(job, run.attempt)

    def _end(self, holder: str, end: EndPipeline, wall: float) -> None:
        active, job = self.active.get(end.pipeline_id), end.job
        if active is None or active.holder != holder or end.state not in (FINISHED, FAILED):
            return
        failure = None
        if end.state == FAILED and 0 <= job < len(active.jobs):
            record = active.records.get(job)
            traceback = record.traceback if record else ""
            failure = FirstFailure(job, active.job_id(job), active.jobs[job].worker_name, end.error, traceback, active.data_of(job))
        self._close(active, end.state, wall, failure)

    def finish(self, pipeline: str, wall: float) -> bool:
        """Finish a pipeline that a third-party Pipeliner has, or that waits and has not started;
        return False for all others.
        """
        active = self.active.get(pipeline)
        if active is None and pipeline in self.waiting:
            active = self.hand_out(lambda active: not active.running, [pipeline])
        if active is None or active.holder != OTHERS:
            return False
        self._close(active, FINISHED, wall)
        return True

    def _close(self, active: LeasedPipeline, state: str, wall: float, failure: FirstFailure | None = None) -> None:
        del self.active[active.pipeline]
        if active.holder in self.sessions:
            self.sessions[active.holder].holds.discard(active.pipeline)
        if active.single and (last := active.records.get(0)) is not None:
            reported = active.reported_duration
            self.single_durations[active.pipeline] = last.duration if reported is None else reported
        ended = end_record(active.pipeline, state, wall, active.accepted, failure)
        self._ends.append(replace(ended, results=tuple(active.results())))

    def cancel(self, pipeline: str, accepted: float, wall: float) -> list[str]:
        """End a pipeline; return the ids of its running jobs.

        Args:
            pipeline: id of a pipeline that has not ended.
            accepted: when it was accepted, in seconds since the epoch.
            wall: now, in seconds since the epoch.
        """
        self.queue_of(pipeline).remove(pipeline)
        self.fresh.pop(pipeline, None)
        active = self.active.get(pipeline)
        if active is None:
            self._ends.append(end_record(pipeline, CANCELLED, wall, accepted, None))
            return []
        if active.holder in self.sessions:
            self.sessions[active.holder].cancelled.append(pipeline)
        self._cluster.forget((pipeline, job, attempt) for job, (attempt, _) in active.attempts.items())
        running = [active.job_id(job) for job in active.attempts]
        self._close(active, CANCELLED, wall)
        return running

    def _void(self, name: str, what: str) -> None:
        session = self.sessions.pop(name)
        self._log.info("Pipeliner %s %s; %d pipelines are reassigned", name, what, len(session.holds))
        for pipeline in session.holds:
            active = self.active[pipeline]
            active.holder = ""
            self.queue_of(pipeline).add(pipeline, active.priority, active.turn)

    # leases

    def hand_out(self, fits: Callable[[LeasedPipeline], bool], wanted: Sequence[str] | None = None) -> LeasedPipeline | None:
        """Lease the first waiting pipeline that fits to a third-party Pipeliner, which is never
        judged silent.

        Args:
            fits: says whether a pipeline may be handed out.
            wanted: ids to choose from; None: those that come next.
        """
        candidates = self.waiting.first(HANDED_OUT) if wanted is None else wanted
        self._load(candidates)
        for pipeline in candidates:
            active = self.active.get(pipeline) or self.fresh.get(pipeline)
            if active is not None and fits(active):
                (leased,) = self._leased([pipeline], OTHERS)
                return leased
        return None

    def _lease(self, name: str, session: PipelinerSession, share: int) -> list[LeasedPipeline]:
        room = min(session.room, LEASES)
        wanted = self.single.first(room) if name == self.own else self.waiting.first(min(room, share))
        if not wanted:
            return []
        self._load(wanted)
        leased = self._leased(wanted, name)
        session.holds.update(active.pipeline for active in leased)
        return leased

    def _load(self, wanted: Sequence[str]) -> None:
        missing = [pipeline for pipeline in wanted if pipeline not in self.active and pipeline not in self.fresh]
        if missing:
            rows, recorded = self._store.rows(missing), self._store.jobs(missing)
            for row in rows.values():
                if row.end is None:
                    self.fresh[row.pipeline] = again = LeasedPipeline.of(row, recorded.get(row.pipeline, []))
                    again.attempts_before = self._last_attempt  # earlier attempts of its jobs may still report their ends

    def _leased(self, wanted: Sequence[str], name: str) -> list[LeasedPipeline]:
        leased = []
        for pipeline in wanted:
            queue = self.queue_of(pipeline)
            turn = queue.add(pipeline)  # returns the turn that it has
            queue.remove(pipeline)
            active = self.active.get(pipeline)
            if active is not None:
                active.attempts_before = self._last_attempt
            else:
                active = self.fresh.pop(pipeline, None)
            if active is None:
                continue  # it has ended
            active.holder, active.turn = name, turn
            self.active[pipeline] = active
            leased.append(active)
        return leased

    # ends of jobs

    def task_ends(self, ends: Iterable[TaskEnd], now: float) -> None:
        """Take ends of tasks from the cluster; `flush` notifies the Pipeliners."""
        for end in ends:
            active = self.active.get(end.pipeline)
            if active is None or ((record := active.records.get(end.job)) is not None and record.state in (FINISHED, FAILED)):
                continue
            attempt = active.attempts.get(end.job, (0, 0.0))[0]
            if end.kind == "finished":
                self._finished(active, end, attempt)
            elif end.attempt != attempt:
                continue
            elif end.kind == "raised":
                self._raised(active, end)
            elif not self.registry.hold(end, now):
                self._lost(active, end)

    def _finished(self, active: LeasedPipeline, end: TaskEnd, attempt: int) -> None:
        if attempt and attempt != end.attempt:
            self._cluster.forget([(end.pipeline, end.job, attempt)])
        active.attempts.pop(end.job, None)
        before = active.records.get(end.job)
        tries = (before.tries if before else 0) + 1
        self._record(active, JobRecord(end.pipeline, end.job, FINISHED, tries, end.duration, end.node, result=end.result))
        self._notify(active, JobEvent(end.pipeline, end.job, end.attempt, "finished", end.error, False))

    def _raised(self, active: LeasedPipeline, end: TaskEnd, *, hopeless: bool = False) -> None:
        active.attempts.pop(end.job, None)
        before = active.records.get(end.job)
        tries = (before.tries if before else 0) + 1
        state = FAILED if hopeless or tries > active.jobs[end.job].retries else "raised"
        self._record(active, JobRecord(end.pipeline, end.job, state, tries, end.duration, end.node, end.error, end.traceback))
        self._notify(active, JobEvent(end.pipeline, end.job, end.attempt, "raised", end.error, hopeless))
        worker, known = active.jobs[end.job].worker_name, {"pipeline": active.pipeline}
        self._log.warning("job %s (%s) on %s: %s", active.job_id(end.job), worker, end.node or "?", end.error, extra=known)

    def _lost(self, active: LeasedPipeline, end: TaskEnd) -> None:
        active.attempts.pop(end.job, None)
        self.counters.job("lost")
        self._notify(active, JobEvent(end.pipeline, end.job, end.attempt, "lost", end.error, False))

    def _released(self, ends: Iterable[TaskEnd]) -> None:
        """Run lost tasks again that were held back."""
        for end in ends:
            active = self.active.get(end.pipeline)
            if active is not None and active.attempts.get(end.job, (0,))[0] == end.attempt:
                self._lost(active, end)

    def _record(self, active: LeasedPipeline, record: JobRecord) -> None:
        active.records[record.job] = record
        self._records.append(record)
        self.counters.job(record.state)

    def _notify(self, active: LeasedPipeline, event: JobEvent) -> None:
        if active.holder in self.sessions:
            self.sessions[active.holder].events.append(event)

    # Brokers

    def pulse(self, message: BrokerPulse, now: float) -> None:
        """Take a pulse of a Broker.

        Raises:
            RemoteProtocolError: it has too many names of workers.
        """
        self._released(self.registry.pulse(message, now))

    def process_ended(self, message: ReportProcessEnded, now: float) -> bool:
        """Take a Broker's report that a process died or must die; return whether its job was
        running in this attempt.
        """
        if message.dead:
            self.registry.explained(message.process, now)
        pipeline, _, number = message.job.rpartition("-")
        active = self.active.get(pipeline)
        right = (
            active is not None
            and number.isascii()
            and number.isdecimal()
            and len(number) < 10
            and active.attempts.get(int(number), (0,))[0] == message.attempt
        )
        if active is not None and right:
            error = message.error[:ERROR_LENGTH]
            self._raised(active, TaskEnd(pipeline, int(number), message.attempt, "raised", message.node, error=error))
        self._released(self.registry.release(message.process))
        return right

    # time, and the end of a round

    def tick(self, now: float) -> None:
        """Judge who was silent for too long, and fail jobs whose worker no Broker has.

        Call it a few times a second.
        """
        frozen = now - self._ticked if self._ticked else 0.0
        self._ticked = now
        self.counters.tick(now)
        if frozen > PULSE_S:  # this process was frozen: it could receive nothing
            for session in self.sessions.values():
                session.seen += frozen
                session.parked_at += frozen
            self.registry.forgive(frozen)
        for name, session in list(self.sessions.items()):
            if session.parked is None and now - session.seen > SILENCE_S:
                self._void(name, f"is lost: silent for {SILENCE_S:g} s")
            elif session.parked is not None and now - session.parked_at > SILENCE_S + PULSE_S:
                self._void(name, "is lost: it does not read its answers")
        self._released(self.registry.tick(now))
        if self.registry.complete(now) and not self.others:
            self._fail_unknown(now)

    def _fail_unknown(self, now: float) -> None:
        workers = self.registry.workers
        for active in list(self.active.values()):
            for job, (attempt, since) in list(active.attempts.items()):
                worker = active.jobs[job].worker_name
                if worker not in workers and now - since > UNKNOWN_S:
                    self._cluster.forget([(active.pipeline, job, attempt)])
                    error = f"no Broker has a worker {worker!r}; there are {', '.join(sorted(workers)) or 'none'}"
                    self._raised(active, TaskEnd(active.pipeline, job, attempt, "raised", error=error), hopeless=True)

    def flush(self, now: float, *, store_only: bool = False) -> None:
        """Write all that happened to the store, then answer the Pipeliners.

        Args:
            now: monotonic seconds.
            store_only: whether to answer no Pipeliner.

        Raises:
            StoreAway: the database is unavailable; call `flush` again when it is available.
            StoreLost: the Router must end.
        """
        if self._records:
            self._store.record(self._records)
            self._records = []
        if self._ends:
            ended, self._ends = self._store.end(self._ends), []
            self.ended += ended
            self.counters.pipelines(ended)
        self._store.commit()
        if not store_only:
            self._answer_parked(now)

    def _answer_parked(self, now: float) -> None:
        share = -(-len(self.waiting) // max(1, len(self.sessions) - (self.own in self.sessions)))
        processes = self._cluster.processes()
        for name, session in self.sessions.items():
            if session.parked is None:
                continue
            leased = self._lease(name, session, share)
            if not (leased or session.events or session.cancelled or now - session.parked_at >= PULSE_S):
                continue
            plans = [active.plan() for active in leased]
            session.last = ExchangeAnswer(session.number, plans, session.events, session.cancelled, processes)
            session.events, session.cancelled = [], []
            session.seen, answer, session.parked = now, session.parked, None
            answer(session.last)
