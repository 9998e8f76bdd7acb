"""Requests of pypelinin's wire protocol: from brokers, Pipeliners and clients that are not
FISSION's, at the Router's api address. Members that a class does not have are ignored. A malformed
request is answered with ``syntax error``, as pypelinin's own Router does; an id that cannot exist
is an unknown one.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from fission.protocol.messages.pipelines.wire import RequestCodec, RouterRequest, check_worker


class PypelininRequest(RouterRequest, frozen=True):
    """A request whose malformed forms are answered with ``syntax error``."""


class AddJob(PypelininRequest, frozen=True, tag="add job"):
    """Accept a single job.

    Attributes:
        worker: name of its worker.
        data: any JSON.
        retries: how often it is run again after it raised.
        timeout: seconds after which it has failed; None: no limit.
        priority: jobs with a larger one run first.
    """

    worker: str
    data: Any = None
    retries: int = 0
    timeout: int | float | None = None
    priority: int = 0

    def check(self) -> None:
        check_worker(self.worker)


class GetJob(PypelininRequest, frozen=True, tag="get job"):
    """Take a job.

    Attributes:
        workers: names of the workers that the broker has; unset: any.
    """

    workers: list[str] | msgspec.UnsetType = msgspec.UNSET

    def check(self) -> None:
        for worker in () if self.workers is msgspec.UNSET else self.workers:
            check_worker(worker)


class ReportJobFinished(PypelininRequest, frozen=True, tag="job finished"):
    """Report that a job has finished.

    Attributes:
        job_id: which job.
        duration: seconds that it took.
    """

    job_id: Any
    duration: int | float

    def check(self) -> None:
        check_duration(self.duration)


class ReportJobFailed(PypelininRequest, frozen=True, tag="job failed"):
    """Report that a job has failed.

    Attributes:
        job_id: which job.
        duration: seconds that it took.
        message: why, for people.
    """

    job_id: Any
    duration: int | float = 0
    message: Any = "it failed"

    def check(self) -> None:
        check_duration(self.duration)


class GetPipeline(PypelininRequest, frozen=True, tag="get pipeline"):
    """Take a pipeline whose jobs have not started."""


class ReportPipelineFinished(PypelininRequest, frozen=True, tag="pipeline finished"):
    """Report that a pipeline has ended.

    Attributes:
        pipeline_id: which pipeline.
        duration: seconds that it took; unset: since it was accepted.
    """

    pipeline_id: Any
    duration: int | float | msgspec.UnsetType = msgspec.UNSET

    def check(self) -> None:
        if self.duration is not msgspec.UNSET:
            check_duration(self.duration)


def check_duration(value: float) -> None:
    """Check a duration in seconds.

    Raises:
        ValueError: it is negative, infinite or larger than 1e12.
    """
    if not (0 <= value <= 1e12 and math.isfinite(value)):
        raise ValueError("'duration' must be a number of seconds from 0 to 1e12")


CODEC = RequestCodec(
    "pypelinin to Router",
    AddJob,
    GetJob,
    ReportJobFinished,
    ReportJobFailed,
    GetPipeline,
    ReportPipelineFinished,
)
