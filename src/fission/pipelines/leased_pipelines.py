"""The Router's view of the pipelines that somebody works on, and of who works on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fission.protocol.pipeline_records import FINISHED, RESULT_LIMIT, JobRecord, PipelineRow, Task

Answer: TypeAlias = Callable[[Mapping[str, Any]], None]

#: With this begin the ids of jobs that were handed in alone.
SINGLE = "job-"
#: Holder of pipelines that a Pipeliner has which is not FISSION's; no Pipeliner can have this name.
OTHERS = "*others"


@dataclass(slots=True)
class LeasedPipelines:
    """A pipeline that was leased.

    Attributes:
        pipeline: its id.
        accepted: seconds since the epoch.
        jobs: as `Job.serialize` gives them.
        after: numbers of the jobs that each comes after.
        data: the pipeline's.
        holder: id of the Pipeliner that has it; empty: none.
        attempts: by job that runs: the attempt, and since when (monotonic seconds).
        records: how jobs ended.
        priority: of the pipeline.
        turn: its place among those that wait, as `WaitingQueue.add` has it; 0: none yet.
        single: whether it is a job that was handed in alone; *data* may be any JSON then.
        told_duration: of a single job, in seconds, as another broker has reported it; None: it has not.
        attempts_before: attempts up to this number may have been made of its jobs; new ones have larger numbers.
    """

    pipeline: str
    accepted: float
    jobs: list[dict[str, Any]]
    after: list[list[int]]
    data: dict[str, Any] | None
    holder: str = ""
    attempts: dict[int, tuple[int, float]] = field(default_factory=dict)
    records: dict[int, JobRecord] = field(default_factory=dict)
    priority: int = 0
    turn: int = 0
    attempts_before: int = 0
    _last: frozenset[int] | None = field(default=None, repr=False, compare=False)
    single: bool = False
    told_duration: Any = None

    @property
    def running(self) -> bool:
        """Whether one of its jobs has begun."""
        return bool(self.attempts or self.records) or self.holder == OTHERS

    @classmethod
    def of(cls, row: PipelineRow, records: list[JobRecord]) -> LeasedPipelines:
        """A pipeline as it is kept."""
        body = json.loads(row.body)
        after: list[list[int]] = [[] for _ in body["jobs"]]
        for before, behind in body["graph"]:
            if behind is not None:
                after[behind].append(before)
        return cls(
            row.pipeline,
            row.accepted,
            body["jobs"],
            after,
            body.get("data"),
            records={one.job: one for one in records},
            priority=row.priority,
            single=body.get("single") is True,
        )

    def plan(self) -> dict[str, Any]:
        """What a Pipeliner gets: nothing of the data."""
        known = {}
        for job in {*self.records, *self.attempts}:
            record = self.records.get(job)
            known[str(job)] = [
                record.tries if record else 0,
                bool(record and record.state == "finished"),
                bool(record and record.state == "failed"),
                self.attempts[job][0] if job in self.attempts else 0,
                record.error if record else "",
            ]
        retries = [job.get("retries", 0) for job in self.jobs]
        return {"id": self.pipeline, "after": self.after, "retries": retries, "known": known, "attempts before": self.attempts_before}

    def task(self, job: int, attempt: int) -> Task:
        """What the cluster gets."""
        written = self.jobs[job]
        body = {
            "id": self.job_id(job),
            "worker": written["worker_name"],
            "data": self.data_of(job),
            "timeout": written.get("timeout"),
            "attempt": attempt,
        }
        if self._last is None:
            self._last = frozenset(self.last_jobs())  # once: a pipeline may have thousands of jobs
        if job in self._last:
            body["last"] = True
        return Task(
            self.pipeline,
            job,
            attempt,
            written["worker_name"],
            json.dumps(body, separators=(",", ":")),
            self.priority,
            written.get("tag") or "",
        )

    def data_of(self, job: int) -> Any:
        """What a job gets as its data."""
        own = self.jobs[job].get("data")
        return self.data if own is None else own

    def last_jobs(self) -> list[int]:
        """Numbers of the jobs that no other one comes after."""
        before = {number for numbers in self.after for number in numbers}
        return [job for job in range(len(self.jobs)) if job not in before]

    def results(self) -> list[dict[str, Any]]:
        """What the last jobs that have finished returned, in order, at most `RESULT_LIMIT` characters in all.

        Each is a dict with ``job id``, ``worker``, and ``value`` or ``omitted`` (why it is not there).
        """
        found, size = [], 0
        for job in self.last_jobs():
            record = self.records.get(job)
            if record is None or record.state != FINISHED:
                continue
            told: dict[str, Any] = {"omitted": "it was not reported"}
            if record.result:
                size += len(record.result)
                told = (
                    json.loads(record.result)
                    if size <= RESULT_LIMIT
                    else {"omitted": f"all results have more than {RESULT_LIMIT} characters"}
                )
            found.append({"job id": self.job_id(job), "worker": self.jobs[job]["worker_name"], **told})
        return found

    def job_id(self, job: int) -> str:
        """What a store gets as ``job id``: the same for every run of the job."""
        return f"{self.pipeline}-{job}"


@dataclass(slots=True)
class PipelinerSession:
    """A Pipeliner that asks for work.

    Attributes:
        seen: monotonic seconds of its last word.
        number: of its last exchange; a request that comes again has the same.
        room: how many more pipelines it takes.
        holds: ids of those that it has.
        parked: how to answer its exchange; None: it has its answer.
        parked_at: monotonic seconds.
        events: what it is to be told.
        cancelled: pipelines that it is to drop.
        last: its last answer, in case it did not come through.
    """

    seen: float
    number: int = 0
    room: int = 0
    holds: set[str] = field(default_factory=set)
    parked: Answer | None = None
    parked_at: float = 0.0
    events: list[list[Any]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    last: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class BrokerView:
    """A Broker that pulses.

    Attributes:
        seen: monotonic seconds of its last word.
        workers: names of what its processes can run.
        processes: addresses of its processes.
    """

    seen: float
    workers: frozenset[str]
    processes: frozenset[str]
