"""What the Router answers a Pipeliner."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from fission.protocol.messages.pipelines.wire import AnswerCodec, ArrayPart, Id, ObjectPart, RouterReply, Whole

#: Number of a job: its place in the pipeline's list of jobs.
JobNumber: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=10**9)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class KnownJob(ArrayPart, frozen=True):
    """What the Router has recorded of a job.

    Attributes:
        tries: how often it ended, well or not.
        finished: whether it is finished.
        failed: whether it has failed for good.
        attempt: number of the attempt that runs; 0: none.
        error: what it raised last.
    """

    tries: Whole
    finished: bool
    failed: bool
    attempt: Whole
    error: str


class LeasedPlan(ObjectPart, frozen=True):
    """A pipeline that is leased to the Pipeliner; without its data.

    Attributes:
        id: of the pipeline.
        after: for each job, numbers of the jobs that it comes after.
        retries: for each job, how often it may raise and run again.
        known: what is recorded, by number of the job.
        attempts_before: attempts up to this number belong to earlier leases.
    """

    id: Id
    after: list[list[Count]]
    retries: list[Count]
    known: dict[JobNumber, KnownJob]
    attempts_before: Whole = 0

    def __post_init__(self) -> None:
        if len(self.after) != len(self.retries):
            raise ValueError("'after' and 'retries' must have one entry for each job")


class JobEvent(ArrayPart, frozen=True):
    """What happened to a job.

    Attributes:
        pipeline_id: which pipeline.
        job: number of the job.
        attempt: number of the attempt.
        kind: "finished"; "raised"; "lost": its process was lost through no fault of the job.
        error: what it raised.
        hopeless: whether a retry would raise the same.
    """

    pipeline_id: Id
    job: Whole
    attempt: Whole
    kind: Literal["finished", "raised", "lost"]
    error: str
    hopeless: bool


class ExchangeAnswer(RouterReply, frozen=True, tag="ok"):
    """The answer to an `PipelinerExchange`.

    Attributes:
        number: of the exchange.
        pipelines: newly leased ones.
        events: in the order in which they happened.
        cancelled: ids of pipelines that the Pipeliner must drop.
        processes: number of worker processes of all Brokers.
    """

    number: Whole
    pipelines: list[LeasedPlan]
    events: list[JobEvent]
    cancelled: list[Id]
    processes: Whole


class UnknownPipeliner(RouterReply, frozen=True, tag="unknown pipeliner"):
    """The Router does not, or no longer, know this Pipeliner: it must start over with a new id."""


class Farewell(RouterReply, frozen=True, tag="ok"):
    """The answer to an `PipelinerExchange` with ``leave``.

    Attributes:
        number: of the exchange.
    """

    number: Whole


#: What can answer an `PipelinerExchange`.
ExchangeReply: TypeAlias = ExchangeAnswer | UnknownPipeliner
CODEC = AnswerCodec(
    "Router to Pipeliner",
    ExchangeAnswer,
    UnknownPipeliner,
    Farewell,
)
