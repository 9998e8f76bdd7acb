"""Records of pipelines and their jobs.

The Router, its store and the cluster that runs the jobs use them.
"""

from __future__ import annotations

from dataclasses import dataclass

from fission.protocol.messages.pipelines.router_to_client import JobResult

#: States of a pipeline, as stored and shown.
WAITING, RUNNING, FINISHED, FAILED, CANCELLED = "waiting", "running", "finished", "failed", "cancelled"
ENDED = frozenset({FINISHED, FAILED, CANCELLED})
#: Maximum length in characters of the JSON of the results of a pipeline's last jobs. Arbitrary:
#: larger results belong in the store.
RESULT_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class NewPipeline:
    """A pipeline that is being accepted.

    Attributes:
        pipeline: id of the pipeline.
        body: JSON of `Pipeline.serialize`.
        accepted: time of acceptance, in seconds since the epoch.
        priority: priority; pipelines with a larger one run earlier.
    """

    pipeline: str
    body: str
    accepted: float
    priority: int = 0


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The stored outcome of a job that has run to its end.

    Attributes:
        pipeline, job: id of the pipeline, and number of the job in it.
        state: "finished"; "raised": it may be run again; "failed": it is not run again.
        tries: number of runs that reached an end.
        duration: duration of the last run in seconds.
        node: node of the last run.
        error: one line about the last failure; empty if the last run succeeded.
        traceback: traceback of that failure.
        result: JSON of the worker's return value, if no job comes after this one; empty: there is
            none, or it is too large.
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
    """The end of a pipeline.

    Attributes:
        pipeline: id of the pipeline.
        state: one of `ENDED`.
        at: time of the end, in seconds since the epoch.
        duration: seconds since it was accepted.
        number: sequence number that grows with every end; a retried pipeline gets a new one.
        error: JSON of the failure that users see; empty: none.
        results: return values of the last jobs; stored with the jobs.
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
    """A stored pipeline.

    Attributes:
        pipeline: id of the pipeline.
        order: number that grows in the order of acceptance.
        body: JSON of `Pipeline.serialize`.
        accepted: time of acceptance, in seconds since the epoch.
        end: its end; None until it has ended.
        priority: priority; pipelines with a larger one run earlier.
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
        pipeline, job, attempt: id of the pipeline, number of the job in it, and number of the
            attempt.
        worker: name of the job's worker.
        body: JSON of the `JobOrder` for the worker process.
        priority: priority among the tasks that wait for a process; larger ones run earlier.
        tag: tag that the process's Broker must have; empty: any.
        timeout: time limit in seconds; None: no limit.
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
    """The end of a task.

    Attributes:
        pipeline, job, attempt: id of the pipeline, number of the job in it, and number of the
            attempt.
        kind: "finished"; "raised"; "lost": the task's process was lost, for any reason.
        node: host and process.
        duration: duration in seconds.
        error, traceback: error that was raised, and its traceback.
        process: address of the lost process.
        result: JSON of the worker's return value; empty: none is stored.
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
