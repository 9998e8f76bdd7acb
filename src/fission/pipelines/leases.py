"""The Router's view of one leased pipeline, and of the Pipeliners and Brokers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from fission.protocol.messages.pipelines.router_to_client import JobResult
from fission.protocol.messages.pipelines.router_to_pipeliner import JobEvent, KnownJob, LeasedPlan
from fission.protocol.messages.pipelines.router_to_worker import JobOrder
from fission.protocol.messages.pipelines.wire import RouterReply, encode, spaced
from fission.protocol.pipeline_records import FINISHED, RESULT_LIMIT, EndRecord, JobRecord, PipelineRow, Task

#: Sends an answer.
SendReply: TypeAlias = Callable[[RouterReply], None]

#: Prefix of the ids of single jobs.
SINGLE = "job-"
#: Holder of pipelines that a third-party Pipeliner has; no Pipeliner can have this name.
OTHERS = "*others"


class AcceptedJob(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job of an accepted pipeline, as `fission.pipelines.Job.as_message` writes it.

    Attributes:
        worker_name: name of its worker.
        data: its own data; None: the pipeline's.
        retries: how often it runs again after it raised.
        timeout: seconds after which its process is killed; None: no limit.
        tag: of the Brokers that may run it; None: any Broker.
    """

    worker_name: str
    data: Any = None
    retries: int = 0
    timeout: float | int | None = None
    tag: str | None = None


class FirstFailure(msgspec.Struct, frozen=True, rename=spaced):
    """The job that failed first in a pipeline, as users see it.

    Attributes:
        job: its number.
        job_id: what the store got as ``job id``.
        worker: name of its worker.
        error: one line.
        traceback: of the exception; may have several lines.
        data: of the job.
    """

    job: int
    job_id: str
    worker: str
    error: str
    traceback: str
    data: Any


@dataclass(slots=True)
class LeasedPipeline:
    """A pipeline that is leased, or can be.

    Attributes:
        pipeline: its id.
        accepted: seconds since the epoch.
        jobs: its jobs, in the order of their numbers.
        after: for each job, numbers of the jobs that it comes after.
        data: the pipeline's data; of a single job, any JSON.
        holder: id of the Pipeliner that has it; empty: none.
        attempts: by running job: number of the attempt, and its start in monotonic seconds.
        records: by job: how it ended last.
        priority: of the pipeline.
        turn: its place among waiting pipelines, as `WaitingQueue.add` returns it; 0: none yet.
        single: whether it is a job that was accepted alone.
        reported_duration: seconds that a third-party broker reported for a single job; None: none.
        attempts_before: attempts up to this number may belong to earlier leases; new ones get
            larger numbers.
    """

    pipeline: str
    accepted: float
    jobs: list[AcceptedJob]
    after: list[list[int]]
    data: Any
    holder: str = ""
    attempts: dict[int, tuple[int, float]] = field(default_factory=dict)
    records: dict[int, JobRecord] = field(default_factory=dict)
    priority: int = 0
    turn: int = 0
    attempts_before: int = 0
    _last: frozenset[int] | None = field(default=None, repr=False, compare=False)
    single: bool = False
    reported_duration: float | None = None

    @property
    def running(self) -> bool:
        """Whether one of its jobs has started."""
        return bool(self.attempts or self.records) or self.holder == OTHERS

    @classmethod
    def of(cls, row: PipelineRow, records: list[JobRecord]) -> LeasedPipeline:
        """Return a pipeline as the store has it."""
        body = json.loads(row.body)
        after: list[list[int]] = [[] for _ in body["jobs"]]
        for earlier, later in body["graph"]:
            if later is not None:
                after[later].append(earlier)
        return cls(
            row.pipeline,
            row.accepted,
            msgspec.convert(body["jobs"], list[AcceptedJob]),
            after,
            body.get("data"),
            records={record.job: record for record in records},
            priority=row.priority,
            single=body.get("single") is True,
        )

    def plan(self) -> LeasedPlan:
        """Return what a Pipeliner gets: nothing of the data."""
        known = {}
        for job in {*self.records, *self.attempts}:
            record = self.records.get(job)
            attempt = self.attempts[job][0] if job in self.attempts else 0
            if record is None:
                known[job] = KnownJob(0, False, False, attempt, "")
            else:
                known[job] = KnownJob(record.tries, record.state == "finished", record.state == "failed", attempt, record.error)
        retries = [job.retries for job in self.jobs]
        return LeasedPlan(id=self.pipeline, after=self.after, retries=retries, known=known, attempts_before=self.attempts_before)

    def task(self, job: int, attempt: int) -> Task:
        """Return what the cluster gets to run an attempt of a job."""
        accepted = self.jobs[job]
        if self._last is None:
            self._last = frozenset(self.last_jobs())  # computed once: a pipeline may have thousands of jobs
        order = JobOrder(
            id=self.job_id(job),
            worker=accepted.worker_name,
            data=self.data_of(job),
            timeout=accepted.timeout,
            attempt=attempt,
            last=job in self._last,
        )
        return Task(self.pipeline, job, attempt, order.worker, encode(order).decode(), self.priority, accepted.tag or "", order.timeout)

    def data_of(self, job: int) -> Any:
        """Return the data of a job."""
        own = self.jobs[job].data
        return self.data if own is None else own

    def last_jobs(self) -> list[int]:
        """Return the numbers of the jobs that no other job comes after."""
        earlier = {number for numbers in self.after for number in numbers}
        return [job for job in range(len(self.jobs)) if job not in earlier]

    def results(self) -> list[JobResult]:
        """Return what the finished last jobs returned, in order, at most `RESULT_LIMIT` characters
        in all.
        """
        found, size = [], 0
        for job in self.last_jobs():
            record = self.records.get(job)
            if record is None or record.state != FINISHED:
                continue
            result: dict[str, Any] = {"omitted": "it was not reported"}
            if record.result:
                size += len(record.result)
                if size <= RESULT_LIMIT:
                    result = json.loads(record.result)
                else:
                    result = {"omitted": f"all results together have more than {RESULT_LIMIT} characters"}
            found.append(JobResult(job_id=self.job_id(job), worker=self.jobs[job].worker_name, **result))
        return found

    def job_id(self, job: int) -> str:
        """Return what a store gets as ``job id``: the same for every attempt of the job."""
        return f"{self.pipeline}-{job}"


@dataclass(slots=True)
class PipelinerSession:
    """A Pipeliner that exchanges messages with the Router.

    Attributes:
        seen: monotonic seconds of its last message.
        number: of its last exchange; a request that is sent again has the same.
        room: how many more pipelines it takes.
        holds: ids of the pipelines that it has.
        parked: sends the answer to its exchange; None: it was sent.
        parked_at: monotonic seconds of the exchange.
        events: for the next answer.
        cancelled: pipelines that it must drop, for the next answer.
        last: its last answer, which is sent again if it got lost.
    """

    seen: float
    number: int = 0
    room: int = 0
    holds: set[str] = field(default_factory=set)
    parked: SendReply | None = None
    parked_at: float = 0.0
    events: list[JobEvent] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    last: RouterReply | None = None


@dataclass(slots=True)
class BrokerView:
    """A Broker that sends pulses.

    Attributes:
        seen: monotonic seconds of its last message.
        workers: names of its workers.
        processes: addresses of its worker processes.
    """

    seen: float
    workers: frozenset[str]
    processes: frozenset[str]


def end_record(pipeline: str, state: str, wall: float, accepted: float, failure: FirstFailure | None) -> EndRecord:
    """Return how a pipeline ended, for the store.

    Args:
        pipeline: its id.
        state: "finished", "failed" or "cancelled".
        wall: now, in seconds since the epoch.
        accepted: in seconds since the epoch.
        failure: the job that failed first; None: none.
    """
    return EndRecord(pipeline, state, wall, max(0.0, wall - accepted), error=json.dumps(msgspec.to_builtins(failure)) if failure else "")


def task_count(active: Iterable[LeasedPipeline]) -> int:
    """Return the number of running jobs."""
    return sum(len(pipeline.attempts) for pipeline in active)
