"""Records of pipelines and their jobs, for the Router, its store and the cluster that runs the jobs."""

from __future__ import annotations

from dataclasses import dataclass

from fission.protocol.messages.pipelines.router_to_client import JobResult

#: States of a pipeline, as they are kept and shown.
WAITING, RUNNING, FINISHED, FAILED, CANCELLED = "waiting", "running", "finished", "failed", "cancelled"
ENDED = frozenset({FINISHED, FAILED, CANCELLED})
#: Characters of the JSON of what the last jobs of a pipeline returned, at most; arbitrary: what is larger belongs into the store.
RESULT_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class NewPipeline:
    """A pipeline that is accepted now.

    Attributes:
        pipeline: its id.
        body: JSON of `Pipeline.serialize`.
        accepted: seconds since the epoch.
        priority: those with a larger one run earlier.
    """

    pipeline: str
    body: str
    accepted: float
    priority: int = 0


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What is kept of a job that was run to an end.

    Attributes:
        pipeline, job: which; the job by its number.
        state: "finished"; "raised": it may be run again; "failed": for good.
        tries: how often it was run to an end.
        duration: seconds of its last run.
        node: where that was.
        error: one line of the last bad end; empty if it was good.
        traceback: of it.
        result: JSON of what its worker returned, if no job comes after it; empty: nothing, or it is too large.
    """

    pipeline: str
    job: int
    state: str
    tries: int
    duration: float = 0.0
    node: str = ""
    error: str = ""
    traceback: str = ""
    result: str = ""


@dataclass(frozen=True, slots=True)
class EndRecord:
    """How a pipeline ended.

    Attributes:
        pipeline: which.
        state: one of `ENDED`.
        at: seconds since the epoch.
        duration: seconds since it was accepted.
        number: grows with every end; a retried pipeline gets another one.
        error: JSON of the failure that users see; empty: none.
        results: what the last jobs returned; stored with the jobs.
    """

    pipeline: str
    state: str
    at: float
    duration: float
    number: int = 0
    error: str = ""
    results: tuple[JobResult, ...] = ()


@dataclass(frozen=True, slots=True)
class PipelineRow:
    """A pipeline as it is kept.

    Attributes:
        pipeline: its id.
        order: grows in the order of acceptance.
        body: JSON of `Pipeline.serialize`.
        accepted: seconds since the epoch.
        end: None while it is not over.
        priority: those with a larger one run earlier.
    """

    pipeline: str
    order: int
    body: str
    accepted: float
    end: EndRecord | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """A job that must run now.

    Attributes:
        pipeline, job, attempt: which.
        worker: name of its worker.
        body: JSON of the `JobOrder` for the worker process.
        priority: among the tasks that wait for a process, those with a larger one run earlier.
        tag: that the process's Broker must have; empty: any.
        timeout: seconds that it may take; None: no limit.
    """

    pipeline: str
    job: int
    attempt: int
    worker: str
    body: str
    priority: int = 0
    tag: str = ""
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task ended.

    Attributes:
        pipeline, job, attempt: which.
        kind: "finished"; "raised"; "lost": with its process, whatever the reason.
        node: host and process.
        duration: seconds.
        error, traceback: of what was raised.
        process: address of the process that was lost.
        result: JSON of what its worker returned; empty: nothing is stored of it.
    """

    pipeline: str
    job: int
    attempt: int
    kind: str
    node: str = ""
    duration: float = 0.0
    error: str = ""
    traceback: str = ""
    process: str = ""
    result: str = ""
