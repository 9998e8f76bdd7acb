"""A collector of OpenTelemetry for tests: it takes OTLP over HTTP, and decodes the protobuf messages."""

from __future__ import annotations

import gzip
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Received:
    """A span or a log record, with the attributes of its sender.

    Attributes:
        name: of the span; of a log record its text.
        trace: id of the trace, hexadecimal.
        id: of the span; of a log record the one that it belongs to.
        parent: id of the parent; empty: none.
        start: nanoseconds since the epoch; of a log record its time.
        end: nanoseconds since the epoch.
        attributes: its facts.
        resource: facts about the sender.
        events: (name, nanoseconds, attributes) of each.
        error: description of its failure; empty: it has not failed.
        severity: of a log record.
    """

    name: str
    trace: str
    id: str
    parent: str = ""
    start: int = 0
    end: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)
    resource: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, int, dict[str, Any]]] = field(default_factory=list)
    error: str = ""
    severity: str = ""


class Collector:
    """A server in a thread; a context manager.

    Attributes:
        spans: what has arrived, as the next.
        logs: log records.
        requests: number of requests.
        held: while it is clear, requests are not answered.
        status: of its answers.
    """

    def __init__(self, status: int = 200) -> None:
        self.spans: list[Received] = []
        self.logs: list[Received] = []
        self.requests = 0
        self.status = status
        self.held = threading.Event()
        self.held.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.requests += 1
                collector.held.wait()
                if collector.status == 200:
                    collector.take(self.path, body)
                self.send_response(collector.status)
                self.end_headers()

            def log_message(self, *rest: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.held.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in group.scope_spans:
                    self.spans += [_span(one, _facts(group.resource.attributes)) for one in scope.spans]
        elif path == "/v1/logs":
            for group in ExportLogsServiceRequest.FromString(body).resource_logs:
                for scope in group.scope_logs:
                    self.logs += [_log(one, _facts(group.resource.attributes)) for one in scope.log_records]


def _span(one: Any, resource: dict[str, Any]) -> Received:
    return Received(
        name=one.name,
        trace=one.trace_id.hex(),
        id=one.span_id.hex(),
        parent=one.parent_span_id.hex(),
        start=one.start_time_unix_nano,
        end=one.end_time_unix_nano,
        attributes=_facts(one.attributes),
        resource=resource,
        events=[(event.name, event.time_unix_nano, _facts(event.attributes)) for event in one.events],
        error=one.status.message if one.status.code == 2 else "",
    )


def _log(one: Any, resource: dict[str, Any]) -> Received:
    return Received(
        name=one.body.string_value,
        trace=one.trace_id.hex(),
        id=one.span_id.hex(),
        start=one.time_unix_nano,
        attributes=_facts(one.attributes),
        resource=resource,
        severity=one.severity_text,
    )


def _facts(attributes: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)
