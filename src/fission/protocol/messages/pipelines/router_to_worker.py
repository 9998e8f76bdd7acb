"""What a worker process gets to run a job. Dask carries it as text."""

from __future__ import annotations

from typing import Any

from fission.protocol.messages.codec import Message
from fission.protocol.messages.pipelines.wire import PlainCodec


class JobOrder(Message, frozen=True, tag=False, omit_defaults=True):
    """Run an attempt of a job.

    Attributes:
        id: of the job, the same for each attempt.
        worker: name of its worker.
        data: of the job; any JSON.
        timeout: seconds after which its process is killed; None: no limit.
        attempt: number of the attempt.
        last: whether no other job comes after it, so that its result is kept.
    """

    id: str
    worker: str
    data: Any
    timeout: float | int | None
    attempt: int
    last: bool = False


CODEC = PlainCodec("Router to worker process", JobOrder)
