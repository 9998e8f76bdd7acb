"""Sends spans and log records to a collector of OpenTelemetry, by OTLP over HTTP.

The libraries are imported when a `TelemetryExporter` is made. Threads of theirs send; the
caller only puts something into a bounded queue, and what finds no room or is not taken by the
collector is lost and counted.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from fission.errors import UserError
from fission.protocol.spans import Span, TelemetrySettings, Value

#: Name of the service, unless the environment names it.
SERVICE = "fission"
#: What must be installed.
PACKAGES = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
#: Seconds in which what waits may be sent at the end; arbitrary, within the 2 s of Ctrl-C.
END_S = 0.5

#: Returns the trace, the span and the attributes of a log record.
Correlation = Callable[[logging.LogRecord], tuple[str, str, Mapping[str, Value]]]


class TelemetryExporter:
    """The connection to a collector. Its methods may be called from any thread, and do not wait.

    Attributes:
        handed: number of spans and of log records that were to be sent.
        sent: number of those that the collector has taken.
    """

    def __init__(self, settings: TelemetrySettings, version: str) -> None:
        """Import the libraries, which takes some tenths of a second, and start their threads.

        Args:
            settings: what is sent.
            version: of FISSION.

        Raises:
            UserError: the libraries are not installed, or refuse the environment's variables.
        """
        self.handed = {"spans": 0, "log records": 0}
        self.sent = {"spans": 0, "log records": 0}
        self._settings, self._version = settings, version
        self._lock = threading.Lock()
        self._providers: list[Any] = []
        self._exporters: list[_Counting] = []
        try:
            import opentelemetry.exporter.otlp.proto.http  # noqa: F401 - is it there?
            import opentelemetry.sdk.resources as resources
        except ImportError as why:
            raise UserError(
                f"nothing is sent to {settings.endpoint}: {why.name} is not installed; install it: python3 -m pip install {PACKAGES}"
            ) from None
        quiet = logging.getLogger("opentelemetry")  # a collector that is away is reported once, by `close`
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        named = "OTEL_SERVICE_NAME" in os.environ or "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        facts = {} if named else {"service.name": SERVICE}
        try:
            resource = resources.Resource.create({**facts, "service.version": version})
            if settings.traces:
                self._open_traces(resource)
            if settings.logs:
                self._open_logs(resource)
        except ValueError as why:
            raise UserError(f"nothing is sent to {settings.endpoint}: a variable of OpenTelemetry is malformed: {why}") from None

    def _open_traces(self, resource: Any) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._ids = _ChosenIds()
        exporter = _Counting(OTLPSpanExporter(), self.sent, "spans")
        provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)  # type: ignore[arg-type]
        provider.add_span_processor(BatchSpanProcessor(exporter))  # type: ignore[arg-type]
        self._tracer = provider.get_tracer("fission", self._version)
        self._providers.append(provider)
        self._exporters.append(exporter)

    def _open_logs(self, resource: Any) -> None:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

        exporter = _Counting(OTLPLogExporter(), self.sent, "log records")
        provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))  # type: ignore[arg-type]
        self._logger = provider.get_logger("fission", self._version)
        self._providers.append(provider)
        self._exporters.append(exporter)

    def send(self, span: Span) -> None:
        """Send a finished span, if spans are sent."""
        if not self._settings.traces:
            return
        from opentelemetry.trace import Status, StatusCode

        with self._lock:
            self._ids.trace, self._ids.span = int(span.trace, 16), int(span.id, 16)
            parent = _context(span.trace, span.parent) if span.parent else None
            made = self._tracer.start_span(span.name, context=parent, attributes=span.attributes, start_time=_ns(span.start))
            self.handed["spans"] += made.is_recording()  # a sampler may leave it out
        for event in span.events:
            made.add_event(event.name, event.attributes, timestamp=_ns(event.at))
        if span.error:
            made.set_status(Status(StatusCode.ERROR, span.error))
        made.end(end_time=_ns(span.end))

    def handler(self, correlation: Correlation, level: str | int) -> logging.Handler | None:
        """Return what sends log records; None: they are not sent.

        Args:
            correlation: says what a record belongs to.
            level: least severe level that is sent.
        """
        return _LogHandler(self, correlation, level) if self._settings.logs else None

    def log(self, record: logging.LogRecord, trace: str, span: str, attributes: Mapping[str, Value]) -> None:
        """Send a log record."""
        from opentelemetry._logs import LogRecord, SeverityNumber

        self.handed["log records"] += 1
        self._logger.emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                observed_timestamp=time.time_ns(),
                context=_context(trace, span),
                severity_text=record.levelname,
                severity_number=SeverityNumber(_severity(record.levelno)),
                body=record.getMessage(),
                attributes={**attributes, "logger": record.name},
            )
        )

    def close(self, seconds: float = END_S) -> str:
        """Send what waits, and end. Blocks for a bounded time.

        Args:
            seconds: time for it; afterwards everything that was not sent is lost.

        Returns:
            One line for the user about what is lost; empty: nothing.
        """

        def end() -> None:
            for provider in self._providers:
                provider.shutdown()

        ending = threading.Thread(target=end, name="telemetry-end", daemon=True)
        ending.start()
        ending.join(seconds)
        for exporter in self._exporters:
            exporter.shutdown()  # ends what still tries
        lost = [(count - self.sent[kind], kind) for kind, count in self.handed.items() if count > self.sent[kind]]
        if not lost:
            return ""
        texts = [f"{count} {kind.removesuffix('s') if count == 1 else kind}" for count, kind in lost]
        return f"not sent to {self._settings.endpoint}, which was not reachable, too slow, or has refused them: {' and '.join(texts)}"


class _Counting:
    """An exporter that counts what the collector has taken."""

    def __init__(self, exporter: Any, sent: dict[str, int], kind: str) -> None:
        self._exporter, self._sent, self._kind = exporter, sent, kind

    def export(self, batch: Any) -> Any:
        found = self._exporter.export(batch)
        if found.name == "SUCCESS":
            self._sent[self._kind] += len(batch)
        return found

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class _ChosenIds:
    """Gives the next span the ids that were chosen for it; an IdGenerator of the library."""

    trace = span = 0

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span

    def is_trace_id_random(self) -> bool:
        return False


class _LogHandler(logging.Handler):
    """Sends the log records of a logger."""

    def __init__(self, exporter: TelemetryExporter, correlation: Correlation, level: str | int) -> None:
        super().__init__(level)
        self._exporter, self._correlation = exporter, correlation

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._exporter.log(record, *self._correlation(record))
        except Exception:  # as other handlers do: a record that cannot be logged must not end the run
            self.handleError(record)


def _context(trace: str, span: str) -> Any:
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    found = SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(found))


def _ns(seconds: float) -> int:
    whole = int(seconds)  # a float of so many nanoseconds would be wrong by a hundred of them
    return whole * 10**9 + round((seconds - whole) * 1e9)


def _severity(level: int) -> int:
    """Return the number that OpenTelemetry has for a level of Python's logging: 5 DEBUG, 9 INFO, 13 WARN, 17 ERROR, 21 FATAL."""
    return min(21, max(1, 4 * (level // 10) + 1))
