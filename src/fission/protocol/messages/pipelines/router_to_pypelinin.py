"""What the Router answers a program that speaks pypelinin's wire protocol. Its broadcasts are lines
of text, not messages.
"""

from __future__ import annotations

from typing import Any

from fission.protocol.messages.pipelines.wire import AnswerCodec, RouterReply


class JobAccepted(RouterReply, frozen=True, tag="job accepted"):
    """The job is in the Router's database.

    Attributes:
        job_id: its id.
    """

    job_id: str


class JobGiven(RouterReply, frozen=True, tag=False):
    """A job for the broker that asked.

    Attributes:
        worker: name of its worker.
        data: what the job gets.
        job_id: its id.
    """

    worker: str
    data: Any
    job_id: str


class NoJob(RouterReply, frozen=True, tag=False):
    """There is no job for the broker that asked.

    Attributes:
        worker: None.
    """

    worker: None = None


class PipelineGiven(RouterReply, frozen=True, tag=False):
    """A pipeline for the Pipeliner that asked.

    Attributes:
        pipeline: in pypelinin's form.
        pipeline_id: its id.
    """

    pipeline: list[Any]
    pipeline_id: str


class NoPipeline(RouterReply, frozen=True, tag=False):
    """There is no pipeline for the Pipeliner that asked.

    Attributes:
        pipeline: None.
    """

    pipeline: None = None


class GoodJob(RouterReply, frozen=True, tag="good job!"):
    """The report was taken."""


class UnknownJob(RouterReply, frozen=True, tag="unknown job id"):
    """No job with this id can be reported now."""


class UnknownPipeline(RouterReply, frozen=True, tag="unknown pipeline id"):
    """No pipeline with this id can be reported now."""


class InvalidSyntax(RouterReply, frozen=True, tag="syntax error"):
    """The request is malformed.

    Attributes:
        error: what is wrong.
    """

    error: str


CODEC = AnswerCodec(
    "Router to pypelinin", JobAccepted, JobGiven, NoJob, PipelineGiven, NoPipeline, GoodJob, UnknownJob, UnknownPipeline, InvalidSyntax
)
