"""A worker process reports that a job has raised; Dask carries it as an exception's text."""

from __future__ import annotations

from fission.protocol.messages.codec import Message
from fission.protocol.messages.pipelines.wire import PlainCodec


class JobFailure(Message, frozen=True, tag=False):
    """A job has raised.

    Attributes:
        error: one line.
        traceback: of the error.
    """

    error: str
    traceback: str


CODEC = PlainCodec("worker process to Router", JobFailure)
