"""What a Pipeliner says to the Router, at the Router's api address."""

from __future__ import annotations

import msgspec

from fission.protocol.messages.pipelines.wire import ArrayPart, Id, RequestCodec, RouterRequest, Whole


class RunJob(ArrayPart, frozen=True):
    """A job that must run now.

    Attributes:
        pipeline_id: which pipeline.
        job: number of the job.
        attempt: number of the attempt.
    """

    pipeline_id: str
    job: Whole
    attempt: Whole


class EndPipeline(ArrayPart, frozen=True):
    """A pipeline whose jobs have all ended.

    Attributes:
        pipeline_id: which.
        state: "finished" or "failed".
        job: number of the job that failed first; -1: none.
        error: what that job raised.
    """

    pipeline_id: str
    state: str
    job: Whole
    error: str


class PipelinerExchange(RouterRequest, frozen=True, tag="exchange", forbid_unknown_fields=True):
    """Hand over decisions and ask for more; the same request is sent again until it is answered.

    Attributes:
        pipeliner: id of the Pipeliner.
        number: of this exchange: one more than that of the last answered one.
        room: how many more pipelines it takes.
        run: jobs to run.
        ended: pipelines that have ended.
        leave: whether the Pipeliner ends.
    """

    pipeliner: Id
    number: Whole
    room: Whole = 0
    run: list[RunJob] = msgspec.field(default_factory=list)
    ended: list[EndPipeline] = msgspec.field(default_factory=list)
    leave: bool = False


CODEC = RequestCodec(
    "Pipeliner to Router",
    PipelinerExchange,
)
