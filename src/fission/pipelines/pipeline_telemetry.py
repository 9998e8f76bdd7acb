"""What a Router sends to OpenTelemetry: pipelines and their jobs as spans, and its log.

Spans follow from what is stored, at the moment when it is: a job's at its end, its pipeline's at
the pipeline's. Their ids follow from the pipeline's, so that a Router that starts again continues
the same traces.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import fission
from fission.adapters.open_telemetry import TelemetryExporter
from fission.adapters.telemetry_settings import telemetry_settings
from fission.errors import UserError
from fission.pipelines.errors import StoreAway
from fission.pipelines.ports import PipelineStore
from fission.protocol.pipeline_records import EndRecord, JobRecord
from fission.protocol.spans import Span, Value, job_span, pipeline_span, pipeline_trace, span_id, trace_id

#: Pipelines whose jobs' names are remembered; arbitrary: more than are usually under way.
MOST_KNOWN = 1000


class TracedStore:
    """A `PipelineStore` that sends a span for each job and pipeline whose end it has stored."""

    def __init__(self, store: PipelineStore, send: Callable[[Span], None], wall: Callable[[], float] = time.time) -> None:
        """Begin.

        Args:
            store: what stores.
            send: takes spans.
            wall: returns the seconds since the epoch.
        """
        self._store, self._send, self._wall = store, send, wall
        self._workers: dict[str, list[str]] = {}  # by pipeline: the worker of each job

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def record(self, jobs: Sequence[JobRecord]) -> None:
        self._store.record(jobs)
        self._learn({job.pipeline for job in jobs} - self._workers.keys())
        now = self._wall()
        for job in jobs:
            workers = self._workers.get(job.pipeline, [])
            self._send(job_span(job, now, workers[job.job] if job.job < len(workers) else ""))

    def end(self, ends: Sequence[EndRecord]) -> list[EndRecord]:
        stored = self._store.end(ends)
        for end in stored:
            self._workers.pop(end.pipeline, None)
            self._send(pipeline_span(end))
        return stored

    def _learn(self, pipelines: set[str]) -> None:
        with contextlib.suppress(StoreAway):  # then the worker's name is missing
            for pipeline, row in self._store.rows(pipelines).items():
                self._workers[pipeline] = [str(job.get("worker_name", "")) for job in json.loads(row.body)["jobs"]]
        while len(self._workers) > MOST_KNOWN:
            self._workers.pop(next(iter(self._workers)))


def correlation(router: str) -> Callable[[logging.LogRecord], tuple[str, str, Mapping[str, Value]]]:
    """Return what a record of the Router's log belongs to: a pipeline, or the Router.

    Args:
        router: identity of the Router.
    """
    own = trace_id("router", router), span_id("router", router)

    def of(record: logging.LogRecord) -> tuple[str, str, Mapping[str, Value]]:
        pipeline = getattr(record, "pipeline", None)
        if pipeline is None:
            return *own, {"fission.router": router}
        return *pipeline_trace(pipeline), {"fission.router": router, "fission.pipeline": pipeline}

    return of


@contextlib.contextmanager
def traced(store: PipelineStore, logger: logging.Logger, router: str) -> Iterator[PipelineStore]:
    """Yield the store, or one that sends spans, as the environment asks for it; the log is sent too.

    Args:
        store: of the Router.
        logger: of the Router; gets warnings of what cannot be sent.
        router: identity of the Router.
    """
    settings = telemetry_settings(os.environ)
    for problem in settings.problems:
        logger.warning("%s", problem)
    if not (settings.traces or settings.logs):
        yield store
        return
    try:
        exporter = TelemetryExporter(settings, fission.__version__)
    except UserError as why:
        logger.warning("%s", why)
        yield store
        return
    handler = exporter.handler(correlation(router), logging.DEBUG)
    if handler is not None:
        logger.addHandler(handler)
    try:
        yield TracedStore(store, exporter.send) if settings.traces else store
    finally:
        if handler is not None:
            logger.removeHandler(handler)
        if lost := exporter.close():
            logger.warning("%s", lost)
