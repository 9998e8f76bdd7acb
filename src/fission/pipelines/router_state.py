"""Who works on which pipeline, what runs, and what becomes of it: the Router's decisions between store, Pipeliners and cluster.

Rules. A pipeline is leased to one Pipeliner, which renews by asking again; when it is silent for `SILENCE_S` the lease is void and the
pipeline goes to another one, with what is recorded and what runs now. How a job ended is written down before anybody is told.
A Broker says of each process that died which job killed it; until then, or until the Broker itself is judged dead, the jobs of that
process are held back, because a job that kills its process must not run for ever.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fission.errors import RemoteProtocolError
from fission.pipelines.leased_pipelines import OTHERS, SINGLE, Answer, BrokerView, LeasedPipelines, PipelinerSession
from fission.pipelines.messages import ERROR_LENGTH, checked_text, checked_worker, rows, take, take_id, take_text
from fission.pipelines.ports import Cluster, PipelineStore
from fission.protocol.pipeline_records import CANCELLED, FAILED, FINISHED, EndRecord, JobRecord, TaskEnd
from fission.protocol.waiting_queue import WaitingQueue

#: Seconds between two words of the living; arbitrary.
PULSE_S = 1.0
#: Seconds of silence after which a Pipeliner or a Broker is judged dead: five pulses.
SILENCE_S = 5 * PULSE_S
#: Seconds that a Broker gets to say why a process died; it looks every few milliseconds.
REPORT_S = 2.0
#: Seconds between the first Broker's arrival and the failure of a job whose worker no Broker has; arbitrary, others may still start.
UNKNOWN_S = 5.0
#: Pipelines in one answer at most; arbitrary.
LEASES = 500
#: Waiting pipelines that are looked at for one that somebody else can take, at most; arbitrary.
HANDED_OUT = 100
#: Names of workers that are remembered at most; arbitrary.
WORKERS = 10_000


class RouterState:
    """See the head of this file. One thread's; `now` is in monotonic seconds."""

    def __init__(self, store: PipelineStore, cluster: Cluster, logger: logging.Logger) -> None:
        self._store = store
        self._cluster = cluster
        self._log = logger
        self.waiting = WaitingQueue()
        self.single = WaitingQueue()  # jobs that were handed in alone: for the Router's own Pipeliner
        self.own = ""  # its name
        self.single_durations: dict[str, Any] = {}  # of single jobs that are over, until they are told
        self.others = False  # whether a broker was seen that is not FISSION's: nobody knows which workers it has
        for name, priority in store.waiting():
            self.queue_of(name).add(name, priority)
        self._last_attempt = 0  # the largest number that an attempt of any job had
        self.active: dict[str, LeasedPipelines] = {}
        self.fresh: dict[str, LeasedPipelines] = {}  # accepted in this life: nothing is recorded of them
        self.helpers: dict[str, PipelinerSession] = {}
        self.brokers: dict[str, BrokerView] = {}
        self.workers = store.known_workers()
        self._known_since: float | None = None
        self._ticked = 0.0
        self._held: dict[str, list[TaskEnd]] = {}  # by process: jobs that were lost with it
        self._held_since: dict[str, float] = {}
        self._told: dict[str, float] = {}  # processes whose Broker has said why they died
        self._records: list[JobRecord] = []
        self._ends: list[EndRecord] = []
        self.ended: list[EndRecord] = []  # committed with the next flush, then told to all

    def queue_of(self, pipeline: str) -> WaitingQueue:
        """Where a pipeline of this id waits."""
        return self.single if pipeline.startswith(SINGLE) else self.waiting

    # Pipeliners

    def exchange(self, message: Mapping[str, Any], answer: Answer, now: float, wall: float) -> None:
        """A Pipeliner brings what it decided and asks for more; answered by `flush`, at the latest after `PULSE_S`.

        Raises:
            RemoteProtocolError: the message is malformed; nothing has changed.
        """
        name, number = take_id(message, "pipeliner"), take(message, "number", int)
        run, over = rows(message, "run", str, int, int), rows(message, "ended", str, str, int, str)
        room = take(message, "room", int, 0)
        helper = self.helpers.get(name)
        if helper is None:
            if number != 1:
                answer({"answer": "unknown pipeliner"})
                return
            helper = self.helpers[name] = PipelinerSession(now)
            if name != self.own:
                self._log.info("Pipeliner %s has come", name)
        helper.seen = now
        if number == helper.number:  # its request or our answer got lost
            if helper.parked is None:
                answer(helper.last)
            else:
                helper.parked = answer
            return
        if number != helper.number + 1:
            raise RemoteProtocolError(f"the exchange must have number {helper.number + 1}, has {number}")
        helper.number, helper.room, helper.parked, helper.parked_at = number, room, answer, now
        tasks = [task for pipeline, job, attempt in run if (task := self._order(name, pipeline, job, attempt, now))]
        self._cluster.run(tasks)
        for pipeline, state, job, error in over:
            self._end(name, pipeline, state, job, error, wall)
        if message.get("leave") is True:
            self._void(name, "it has ended")
            answer({"answer": "ok", "number": number})

    def _order(self, helper: str, pipeline: str, job: int, attempt: int, now: float) -> Any:
        active = self.active.get(pipeline)
        if active is None or active.holder != helper or not 0 <= job < len(active.jobs) or attempt <= active.attempts_before:
            return None  # cancelled, or leased again since
        record = active.records.get(job)
        if (record is not None and record.state != "raised") or job in active.attempts:
            return None
        active.attempts[job] = (attempt, now)
        self._last_attempt = max(self._last_attempt, attempt)
        return active.task(job, attempt)

    def _end(self, helper: str, pipeline: str, state: str, job: int, error: str, wall: float) -> None:
        active = self.active.get(pipeline)
        if active is None or active.holder != helper or state not in (FINISHED, FAILED):
            return
        told: dict[str, Any] = {}
        if state == FAILED and 0 <= job < len(active.jobs):
            record = active.records.get(job)
            told = {"job": job, "job id": active.job_id(job), "worker": active.jobs[job]["worker_name"], "error": error}
            own = active.jobs[job].get("data")
            told |= {"traceback": record.traceback if record else "", "data": active.data if own is None else own}
        self._close(active, state, wall, told)

    def finish(self, pipeline: str, wall: float) -> bool:
        """End a pipeline well that somebody else has, or that waits and has not begun; False: it is neither."""
        active = self.active.get(pipeline)
        if active is None and pipeline in self.waiting:
            active = self.hand_out(lambda active: not active.running, [pipeline])
        if active is None or active.holder != OTHERS:
            return False
        self._close(active, FINISHED, wall, {})
        return True

    def _close(self, active: LeasedPipelines, state: str, wall: float, told: Mapping[str, Any]) -> None:
        del self.active[active.pipeline]
        if active.holder in self.helpers:
            self.helpers[active.holder].holds.discard(active.pipeline)
        if active.single and (last := active.records.get(0)) is not None:
            self.single_durations[active.pipeline] = last.duration if active.told_duration is None else active.told_duration
        ended = end_record(active.pipeline, state, wall, active.accepted, told)
        self._ends.append(replace(ended, results=tuple(active.results())))

    def cancel(self, pipeline: str, accepted: float, wall: float) -> list[str]:
        """Ends a pipeline that is not over; returns the ids of its jobs that run."""
        self.queue_of(pipeline).remove(pipeline)
        self.fresh.pop(pipeline, None)
        active = self.active.get(pipeline)
        if active is None:
            self._ends.append(end_record(pipeline, CANCELLED, wall, accepted, {}))
            return []
        if active.holder in self.helpers:
            self.helpers[active.holder].cancelled.append(pipeline)
        self._cluster.forget((pipeline, job, attempt) for job, (attempt, _) in active.attempts.items())
        running = [active.job_id(job) for job in active.attempts]
        self._close(active, CANCELLED, wall, {})
        return running

    def _void(self, name: str, why: str) -> None:
        helper = self.helpers.pop(name)
        self._log.info("Pipeliner %s is gone: %s; %d pipelines go to others", name, why, len(helper.holds))
        for pipeline in helper.holds:
            active = self.active[pipeline]
            active.holder = ""
            self.queue_of(pipeline).add(pipeline, active.priority, active.turn)

    def hand_out(self, fits: Callable[[LeasedPipelines], bool], wanted: Sequence[str] | None = None) -> LeasedPipelines | None:
        """The first waiting pipeline that *fits*: it belongs to somebody who is never judged silent now.

        Args:
            fits: says whether it may be given away.
            wanted: ids to look at; None: those that come next.
        """
        looked_at = self.waiting.first(HANDED_OUT) if wanted is None else wanted
        self._load(looked_at)
        for pipeline in looked_at:
            active = self.active.get(pipeline) or self.fresh.get(pipeline)
            if active is not None and fits(active):
                (leased,) = self._leased([pipeline], OTHERS)
                return leased
        return None

    def _lease(self, name: str, helper: PipelinerSession, share: int) -> list[LeasedPipelines]:
        wanted = self.single.first(min(helper.room, LEASES)) if name == self.own else self.waiting.first(min(helper.room, share, LEASES))
        if not wanted:
            return []
        self._load(wanted)
        leased = self._leased(wanted, name)
        helper.holds.update(active.pipeline for active in leased)
        return leased

    def _load(self, wanted: Sequence[str]) -> None:
        missing = [one for one in wanted if one not in self.active and one not in self.fresh]
        if missing:
            kept, recorded = self._store.rows(missing), self._store.jobs(missing)
            for row in kept.values():
                if row.end is None:
                    self.fresh[row.pipeline] = again = LeasedPipelines.of(row, recorded.get(row.pipeline, []))
                    again.attempts_before = self._last_attempt  # its jobs may have been run before, and their ends come late

    def _leased(self, wanted: Sequence[str], name: str) -> list[LeasedPipelines]:
        leased = []
        for pipeline in wanted:
            queue = self.queue_of(pipeline)
            turn = queue.add(pipeline)  # the one that it has
            queue.remove(pipeline)
            active = self.active.get(pipeline)
            if active is not None:
                active.attempts_before = self._last_attempt
            else:
                active = self.fresh.pop(pipeline, None)
            if active is None:
                continue  # it is over
            active.holder, active.turn = name, turn
            self.active[pipeline] = active
            leased.append(active)
        return leased

    # what has run

    def task_ends(self, ends: Iterable[TaskEnd], now: float) -> None:
        """What the cluster says; those who wait for it are told by `flush`."""
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
            elif end.process in self._told:
                self._lost(active, end)
            else:
                self._held.setdefault(end.process, []).append(end)
                self._held_since.setdefault(end.process, now)

    def _finished(self, active: LeasedPipelines, end: TaskEnd, attempt: int) -> None:
        if attempt and attempt != end.attempt:
            self._cluster.forget([(end.pipeline, end.job, attempt)])
        active.attempts.pop(end.job, None)
        before = active.records.get(end.job)
        self._record(
            active,
            JobRecord(end.pipeline, end.job, FINISHED, (before.tries if before else 0) + 1, end.duration, end.node, result=end.result),
        )
        self._tell(active, end, "finished")

    def _raised(self, active: LeasedPipelines, end: TaskEnd, *, hopeless: bool = False) -> None:
        active.attempts.pop(end.job, None)
        before = active.records.get(end.job)
        tries = (before.tries if before else 0) + 1
        state = FAILED if hopeless or tries > active.jobs[end.job].get("retries", 0) else "raised"
        record = JobRecord(end.pipeline, end.job, state, tries, end.duration, end.node, end.error, end.traceback)
        self._record(active, record)
        self._tell(active, end, "raised", hopeless=hopeless)
        self._log.warning("job %s (%s) on %s: %s", active.job_id(end.job), active.jobs[end.job]["worker_name"], end.node or "?", end.error)

    def _lost(self, active: LeasedPipelines, end: TaskEnd) -> None:
        active.attempts.pop(end.job, None)
        self._tell(active, end, "lost")

    def _record(self, active: LeasedPipelines, record: JobRecord) -> None:
        active.records[record.job] = record
        self._records.append(record)

    def _tell(self, active: LeasedPipelines, end: TaskEnd, kind: str, *, hopeless: bool = False) -> None:
        if active.holder in self.helpers:
            self.helpers[active.holder].events.append([end.pipeline, end.job, end.attempt, kind, end.error, hopeless])

    # Brokers

    def pulse(self, message: Mapping[str, Any], now: float) -> None:
        """A Broker lives.

        Raises:
            RemoteProtocolError: the message is malformed.
        """
        name = take_id(message, "broker")
        workers = frozenset(map(checked_worker, take(message, "workers", list)))
        processes = frozenset(checked_text(address, "process") for address in take(message, "processes", list, []))
        fresh = workers - self.workers
        if len(self.workers) + len(fresh) > WORKERS:
            raise RemoteProtocolError(f"at most {WORKERS} names of workers are remembered, {len(fresh)} more are too many")
        if fresh:
            self._store.remember_workers(sorted(fresh))
            self.workers |= fresh
        if name not in self.brokers:
            self._log.info("Broker %s has come: %s", name, ", ".join(sorted(workers)))
        self.brokers[name] = BrokerView(now, workers, processes)
        if self._known_since is None:
            self._known_since = now
        if message.get("leave") is True:
            self._broker_gone(name, "it has ended", now)

    def process_ended(self, message: Mapping[str, Any], now: float) -> bool:
        """A Broker says that one of its processes has died, or must die, and with which job; False: the job is not running (any more).

        Raises:
            RemoteProtocolError: the message is malformed.
        """
        process, job, attempt = take_text(message, "process"), take_text(message, "job", ""), take(message, "attempt", int, 0)
        error, node = take(message, "error", str, "")[:ERROR_LENGTH], take_text(message, "node", "")
        if message.get("dead") is True:
            self._told[process] = now
        pipeline, _, number = job.rpartition("-")
        active = self.active.get(pipeline)
        right = (
            active is not None
            and number.isascii()
            and number.isdecimal()
            and len(number) < 10
            and active.attempts.get(int(number), (0,))[0] == attempt
        )
        if active is not None and right:
            self._raised(active, TaskEnd(pipeline, int(number), attempt, "raised", node, error=error))
        self._release(process)
        return right

    def _release(self, process: str) -> None:
        """Those that were held back because of this process may run again."""
        self._held_since.pop(process, None)
        for end in self._held.pop(process, []):
            active = self.active.get(end.pipeline)
            if active is not None and active.attempts.get(end.job, (0,))[0] == end.attempt:
                self._lost(active, end)

    def _broker_gone(self, name: str, why: str, now: float) -> None:
        broker = self.brokers.pop(name)
        self._log.info("Broker %s is gone: %s", name, why)
        processes = broker.processes | self._cluster.processes_of(name)  # it may have died before it could tell of the newest
        self._cluster.lost(processes)
        for process in processes:
            self._told[process] = now  # nobody will say why they died
            self._release(process)

    # time, and the end of a round

    def tick(self, now: float) -> None:
        """Judge who was silent for too long, and what waits for a worker that nobody has. To be called a few times a second."""
        stood_still = now - self._ticked if self._ticked else 0.0
        self._ticked = now
        if stood_still > PULSE_S:  # it was us: nobody could be heard
            for helper in self.helpers.values():
                helper.seen += stood_still
                helper.parked_at += stood_still
            for broker in self.brokers.values():
                broker.seen += stood_still
        for name, helper in list(self.helpers.items()):
            if helper.parked is None and now - helper.seen > SILENCE_S:
                self._void(name, f"no word for {SILENCE_S:g} s")
            elif helper.parked is not None and now - helper.parked_at > SILENCE_S + PULSE_S:
                self._void(name, "it takes no answer")
        for name, broker in list(self.brokers.items()):
            if now - broker.seen > SILENCE_S:
                self._broker_gone(name, f"no word for {SILENCE_S:g} s", now)
        for process, since in list(self._held_since.items()):
            if now - since > REPORT_S:
                self._release(process)
        for process, since in list(self._told.items()):
            if now - since > SILENCE_S:
                del self._told[process]
        if self._known_since is not None and now - self._known_since > UNKNOWN_S:
            self._fail_unknown(now)

    def _fail_unknown(self, now: float) -> None:
        if self.others:
            return
        for active in list(self.active.values()):
            for job, (attempt, since) in list(active.attempts.items()):
                worker = active.jobs[job]["worker_name"]
                if worker not in self.workers and now - since > UNKNOWN_S:
                    self._cluster.forget([(active.pipeline, job, attempt)])
                    error = f"no Broker has a worker {worker!r}; there are {', '.join(sorted(self.workers)) or 'none'}"
                    self._raised(active, TaskEnd(active.pipeline, job, attempt, "raised", error=error), hopeless=True)

    def flush(self, now: float, *, store_only: bool = False) -> None:
        """Write down all that happened, then tell those who wait.

        Raises:
            Exception: whatever the store raises; the Router cannot go on then.
        """
        if self._records:
            self._store.record(self._records)
            self._records = []
        if self._ends:
            self.ended += self._store.end(self._ends)
            self._ends = []
        self._store.commit()
        if not store_only:
            self._answer_parked(now)

    def _answer_parked(self, now: float) -> None:
        share = -(-len(self.waiting) // max(1, len(self.helpers) - (self.own in self.helpers)))
        processes = self._cluster.processes()
        for name, helper in self.helpers.items():
            if helper.parked is None:
                continue
            leased = self._lease(name, helper, share)
            if not (leased or helper.events or helper.cancelled or now - helper.parked_at >= PULSE_S):
                continue
            helper.last = {
                "answer": "ok",
                "number": helper.number,
                "pipelines": [active.plan() for active in leased],
                "events": helper.events,
                "cancelled": helper.cancelled,
                "processes": processes,
            }
            helper.events, helper.cancelled = [], []
            helper.seen, answer, helper.parked = now, helper.parked, None
            answer(helper.last)


def end_record(pipeline: str, state: str, wall: float, accepted: float, told: Mapping[str, Any]) -> EndRecord:
    """How a pipeline ended, to be kept."""
    return EndRecord(pipeline, state, wall, max(0.0, wall - accepted), error=json.dumps(told) if told else "")


def task_count(active: Sequence[LeasedPipelines]) -> int:
    """How many jobs run."""
    return sum(len(one.attempts) for one in active)
