"""What the Router answers a PipelineManager and the commands of ``fission pipelines``, and what it
broadcasts to them. The request decides which class answers it; any request can be answered with
`RequestRefused`. Members that a class does not have are ignored.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fission.protocol.messages.codec import Message
from fission.protocol.messages.pipelines.wire import AnswerCodec, ArrayPart, Id, ObjectPart, RouterReply, UserJson, Whole, spaced


class RequestRefused(RouterReply, frozen=True, tag="error"):
    """The Router does not do what the request asks for.

    Attributes:
        kind: "refused": the request cannot be fulfilled; "malformed": the message is wrong.
        error: what is wrong and what to do.
    """

    kind: Literal["refused", "malformed"]
    error: str


class PipelineAccepted(RouterReply, frozen=True, tag="pipeline accepted"):
    """The pipeline is in the Router's database.

    Attributes:
        pipeline_id: its id.
    """

    pipeline_id: str


class PipelinesAccepted(RouterReply, frozen=True, tag="pipelines accepted"):
    """All pipelines are in the Router's database.

    Attributes:
        number: how many.
    """

    number: Whole


class PipelineSummary(ObjectPart, frozen=True):
    """A pipeline in a list.

    Attributes:
        id: its id.
        order: grows with each accepted pipeline.
        state: "waiting", "running", "finished", "failed" or "cancelled".
        accepted: seconds since the epoch.
        priority: pipelines with a larger one run first.
        data: the pipeline's data.
        ended: seconds since the epoch; None: it has not ended.
        duration: seconds from acceptance to the end; None: it has not ended.
        error: of the job that failed first; None: none.
        accepted_utc: *accepted* as text.
        ended_utc: *ended* as text.
        waits_for: one sentence for each worker or tag that a job needs and no Broker has.
    """

    id: str
    order: Whole
    state: str
    accepted: float
    priority: Whole
    data: Any
    ended: float | None
    duration: float | None
    error: UserJson | None
    accepted_utc: str
    ended_utc: str | None
    waits_for: list[str]


class PipelineList(RouterReply, frozen=True, tag="ok"):
    """The newest pipelines.

    Attributes:
        pipelines: newest first; as many as fit into a message.
    """

    pipelines: list[PipelineSummary]


class PipelineJobShown(ObjectPart, frozen=True):
    """A job of a pipeline that is shown.

    Attributes:
        job: its number.
        job_id: what its store gets.
        worker: name of its worker.
        state: "waiting", "running", "finished", "failed", "skipped" or "cancelled".
        tries: how often it ended, well or not.
        duration: seconds of its last run; None: it has not ended.
        node: where it ran last.
        after: numbers of the jobs that it comes after.
        error: one line of what it raised last.
        traceback: of what it raised last.
        tag: that its Broker must have; empty: any.
    """

    job: Whole
    job_id: str
    worker: str
    state: str
    tries: Whole
    duration: float | None
    node: str
    after: list[Whole]
    error: str
    traceback: str
    tag: str


class JobResult(ObjectPart, frozen=True, omit_defaults=True):
    """What a last job of a pipeline returned: either *value* or *omitted*.

    Attributes:
        job_id: of the job.
        worker: name of its worker.
        value: what the worker returned.
        omitted: why there is no value.
    """

    job_id: str
    worker: str
    value: Any = msgspec.UNSET
    omitted: str | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if (self.value is msgspec.UNSET) == (self.omitted is msgspec.UNSET):
            raise ValueError("a result must have either 'value' or 'omitted'")


class PipelineShown(RouterReply, frozen=True, tag="ok", omit_defaults=True):
    """One pipeline with its jobs.

    Attributes:
        id: its id.
        order: grows with each accepted pipeline.
        state: "waiting", "running", "finished", "failed" or "cancelled".
        accepted: seconds since the epoch.
        priority: pipelines with a larger one run first.
        data: the pipeline's data.
        ended: seconds since the epoch; None: it has not ended.
        duration: seconds from acceptance to the end; None: it has not ended.
        error: of the job that failed first; None: none.
        accepted_utc: *accepted* as text.
        ended_utc: *ended* as text.
        waits_for: one sentence for each worker or tag that a job needs and no Broker has.
        jobs: all jobs, by number.
        results: what the last jobs returned; unset: the pipeline has not ended.
    """

    id: str
    order: Whole
    state: str
    accepted: float
    priority: Whole
    data: Any
    ended: float | None
    duration: float | None
    error: UserJson | None
    accepted_utc: str
    ended_utc: str | None
    waits_for: list[str]
    jobs: list[PipelineJobShown]
    results: list[JobResult] | msgspec.UnsetType = msgspec.UNSET


class PipelineChanged(RouterReply, frozen=True, tag="ok"):
    """The pipeline was cancelled, or runs again.

    Attributes:
        pipeline_id: its whole id.
    """

    pipeline_id: str


class FailedRetried(RouterReply, frozen=True, tag="ok"):
    """Failed pipelines that run again.

    Attributes:
        pipeline_ids: newest first; empty: there are no more.
        before: to be sent with the next `RetryFailedPipelines`.
    """

    pipeline_ids: list[str]
    before: Whole


class PipelineEnd(ArrayPart, frozen=True):
    """The end of a pipeline.

    Attributes:
        pipeline_id: which.
        state: "finished", "failed" or "cancelled".
        duration: seconds since it was accepted.
        number: grows with each end.
        error: of the job that failed first; None: none.
    """

    pipeline_id: Id
    state: str
    duration: float
    number: Whole
    error: UserJson | None


class EndDetails(ObjectPart, frozen=True):
    """More about the end of a pipeline.

    Attributes:
        ended_utc: when.
        results: what its last jobs returned.
    """

    ended_utc: str
    results: list[JobResult]


class PipelineEnds(RouterReply, frozen=True, tag="ok", omit_defaults=True):
    """Ends of pipelines since the asked number.

    Attributes:
        number: of the newest end.
        ends: in order; as many as fit into a message.
        more: about each end, by the pipeline's id.
    """

    number: Whole
    ends: list[PipelineEnd]
    more: dict[str, EndDetails] = msgspec.field(default_factory=dict)


class EndsBroadcast(Message, frozen=True, tag=False, rename=spaced, omit_defaults=True, forbid_unknown_fields=False):
    """Broadcast with the topic ``ended``: pipelines have ended.

    Attributes:
        before: number of the end before the first of these; a listener that does not know it asks
            with `GetEnds`.
        ends: in order.
        more: about each end, by the pipeline's id.
    """

    before: Whole
    ends: list[PipelineEnd]
    more: dict[str, EndDetails] = msgspec.field(default_factory=dict)


class RouterStatus(RouterReply, frozen=True, tag="ok"):
    """What the Router knows.

    Attributes:
        router: the Router's id, another one after each start.
        scheduler_port: of its Dask scheduler.
        brokers: number of Brokers.
        processes: number of worker processes.
        pipeliners: number of Pipeliners.
        waiting: number of pipelines that no Pipeliner has.
        leased: number of pipelines that a Pipeliner has.
        running: number of jobs that were handed to the Brokers.
        held: number of pipelines of each Pipeliner.
        tags: processes by tag.
        missing_tags: jobs by the tag that they wait for and no Broker has.
        workers: processes by worker.
    """

    router: str
    scheduler_port: Whole
    brokers: Whole
    processes: Whole
    pipeliners: Whole
    waiting: Whole
    leased: Whole
    running: Whole
    held: list[Whole]
    tags: dict[str, Whole]
    missing_tags: dict[str, Whole]
    workers: dict[str, Whole]


class BrokerShown(ObjectPart, frozen=True):
    """A Broker that is alive.

    Attributes:
        broker: its id.
        processes: number of its worker processes that have connected.
        busy: number of them that have a job.
        workers: names of its workers.
        addresses: hosts of its worker processes.
    """

    broker: str
    processes: Whole
    busy: Whole
    workers: list[str]
    addresses: list[str]


class CountedMoment(ArrayPart, frozen=True):
    """What the Router had counted since its start, at a moment of the last minutes.

    Attributes:
        age: seconds that have passed since this moment.
        finished: jobs that had finished.
        failed: tries of jobs that had raised.
        ended: pipelines that had ended.
    """

    age: float
    finished: Whole
    failed: Whole
    ended: Whole


class PipelineCounts(RouterReply, frozen=True, tag="ok"):
    """How many pipelines and jobs there are, and were.

    Attributes:
        router: the Router's id, another one after each start: then what it counts begins at 0.
        since: when it was started, in seconds since the epoch.
        pipelines: number of pipelines by state: "waiting", "running", "finished", "failed",
            "cancelled".
        ended: pipelines that have ended since the Router's start, by state.
        jobs: tries of jobs since then, by outcome: "finished"; "retried": raised, the job has
            another try; "failed": raised for good; "lost": the process was lost, the job runs again.
        recent: the last minutes, oldest first; the last one is now.
        brokers: that are alive.
    """

    router: str
    since: float
    pipelines: dict[str, Whole]
    ended: dict[str, Whole]
    jobs: dict[str, Whole]
    recent: list[CountedMoment]
    brokers: list[BrokerShown]


CODEC = AnswerCodec(
    "Router to client",
    RequestRefused,
    PipelineAccepted,
    PipelinesAccepted,
    PipelineList,
    PipelineShown,
    PipelineChanged,
    FailedRetried,
    PipelineEnds,
    RouterStatus,
    PipelineCounts,
    EndsBroadcast,
)
