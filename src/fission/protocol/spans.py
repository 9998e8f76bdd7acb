"""What OpenTelemetry gets: which spans failovers and pipelines become. No I/O.

A span is a piece of work with a beginning and an end; the spans of one *trace* form a tree. A run
of a network is one trace, also if `run --resume` continues it, and so is a pipeline, also if the
Router starts again: their ids follow from names that stay the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from fission.protocol.pipeline_records import FINISHED, EndRecord, JobRecord
from fission.protocol.supervision_messages import Failover

#: Hexadecimal digits of a trace's and of a span's id, as the W3C's Trace Context has them.
TRACE_DIGITS, SPAN_DIGITS = 32, 16

Value: TypeAlias = "str | int | float | bool | tuple[str, ...]"


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """A moment within a span.

    Attributes:
        name: what has happened.
        at: when, in seconds since the epoch.
        attributes: facts about it.
    """

    name: str
    at: float
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A finished piece of work.

    Attributes:
        name: what it is; of few values.
        trace: id of its trace, hexadecimal.
        id: its id, hexadecimal.
        parent: id of the span that it belongs to; empty: it is the root.
        start: when it began, in seconds since the epoch.
        end: when it ended.
        attributes: facts about it.
        events: moments within it.
        error: why it failed; empty: it did not.
    """

    name: str
    trace: str
    id: str
    parent: str
    start: float
    end: float
    attributes: Mapping[str, Value]
    events: tuple[SpanEvent, ...] = ()
    error: str = ""


def trace_id(*words: str) -> str:
    """Return the id of the trace of what has these names."""
    return _digest(words)[:TRACE_DIGITS]


def span_id(*words: str) -> str:
    """Return the id of the span of what has these names."""
    return _digest(words)[:SPAN_DIGITS]


def _digest(words: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()


# a run of a network


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """One client's part of a run of a network.

    Attributes:
        network: its name.
        run: name of the run.
        trace: id of the run's trace.
        span: id of this client's span.
        began: when the client began, in seconds since the epoch.
    """

    network: str
    run: str
    trace: str
    span: str
    began: float

    @staticmethod
    def of(network: str, run: str, place: str, began: float, *, lasts: bool) -> RunIdentity:
        """Return the identity of what a client does.

        Args:
            network: name of the network.
            run: name of the run.
            place: machine and folder of the run.
            began: when the client began, in seconds since the epoch.
            lasts: whether the run's folder is that of no other run, so that another client can
                continue it.
        """
        trace = trace_id("network", network, place, "" if lasts else repr(began))
        return RunIdentity(network=network, run=run, trace=trace, span=span_id(trace, repr(began)), began=began)

    @property
    def attributes(self) -> dict[str, Value]:
        """What each span and log record of the run has."""
        return {"fission.network": self.network, "fission.run": self.run}


def run_span(run: RunIdentity, end: float, reason: str, exit_code: int) -> Span:
    """Return the span of a client, which its failovers belong to.

    Args:
        run: what it did.
        end: when it ended, in seconds since the epoch.
        reason: how it ended.
        exit_code: of the client.
    """
    attributes = {**run.attributes, "fission.reason": reason, "fission.exit_code": exit_code}
    error = reason if exit_code == 1 else ""  # a network that was interrupted has not failed
    return Span(
        name="run", trace=run.trace, id=run.span, parent="", start=run.began, end=max(end, run.began), attributes=attributes, error=error
    )


def failover_id(run: RunIdentity, failover: Failover) -> str:
    """Return the id of the span of a failover."""
    return span_id(run.span, "failover", repr(failover.since), failover.what)


def failover_span(run: RunIdentity, failover: Failover, names: Mapping[int, str], offset_s: float) -> Span:
    """Return the span of a failover: from the notice of the loss until all jobs run again.

    Args:
        run: the run that it happened in.
        failover: what happened.
        names: names of the jobs.
        offset_s: seconds since the epoch at the time 0 of the failover's clock.
    """
    start = failover.since + offset_s
    events = [
        SpanEvent(step.what, step.at + offset_s, {"fission.job": names.get(step.job, str(step.job)), "fission.node": step.node})
        for step in failover.steps
    ]
    attributes: dict[str, Value] = {
        **run.attributes,
        "fission.what": failover.what,
        "fission.why": failover.why,
        "fission.node": failover.node,
        "fission.jobs": tuple(names.get(job, str(job)) for job in failover.jobs),
        "fission.moves": failover.moves,
        "fission.replayed_blocks": failover.replayed,
    }
    return Span(
        name="failover",
        trace=run.trace,
        id=failover_id(run, failover),
        parent=run.span,
        start=start,
        end=start + failover.seconds,
        attributes=attributes,
        events=tuple(events),
    )


# a pipeline


def pipeline_trace(pipeline: str) -> tuple[str, str]:
    """Return the ids of the trace and of the span of a pipeline.

    Args:
        pipeline: its id.
    """
    return trace_id("pipeline", pipeline), span_id("pipeline", pipeline)


def pipeline_span(end: EndRecord) -> Span:
    """Return the span of a pipeline: from its acceptance to its end."""
    trace, own = pipeline_trace(end.pipeline)
    attributes: dict[str, Value] = {"fission.pipeline": end.pipeline, "fission.state": end.state}
    error = "" if end.state == FINISHED else end.error or end.state
    start = end.at - end.duration
    return Span(name="pipeline", trace=trace, id=own, parent="", start=start, end=end.at, attributes=attributes, error=error)


def job_span(record: JobRecord, at: float, worker: str) -> Span:
    """Return the span of one try of a pipeline's job.

    Args:
        record: how it ended.
        at: when it ended, in seconds since the epoch.
        worker: name of the job's worker; empty: unknown.
    """
    trace, parent = pipeline_trace(record.pipeline)
    attributes: dict[str, Value] = {
        "fission.pipeline": record.pipeline,
        "fission.job": record.job,
        "fission.worker": worker,
        "fission.state": record.state,
        "fission.try": record.tries,
        "fission.node": record.node,
    }
    events = (SpanEvent("exception", at, {"exception.message": record.error, "exception.stacktrace": record.traceback}),)
    return Span(
        name="job",
        trace=trace,
        id=span_id(parent, str(record.job), str(record.tries), repr(at)),
        parent=parent,
        start=at - record.duration,
        end=at,
        attributes=attributes,
        events=events if record.error else (),
        error=record.error,
    )


# what is sent


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """What is sent.

    Attributes:
        traces: whether spans are.
        logs: whether log records are.
        endpoint: where to, for messages.
        problems: what is wrong with the variables, one line each; what they concern is not sent.
    """

    traces: bool = False
    logs: bool = False
    endpoint: str = ""
    problems: tuple[str, ...] = ()
