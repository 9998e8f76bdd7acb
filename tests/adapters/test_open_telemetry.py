"""What reaches a collector, and what a collector that is away, slow or refusing costs: nothing but what it did not take."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from fission.adapters import open_telemetry
from fission.adapters.open_telemetry import TelemetryExporter
from fission.errors import UserError
from fission.protocol.spans import Span, SpanEvent, TelemetrySettings, span_id, trace_id
from tests.adapters.collector import Collector
from tests.ports import free_ports

TRACE, ROOT = trace_id("t"), span_id("r")
#: Seconds that a collector is given to answer, and those in which what must not wait for it is done on a machine that is busy. Arbitrary.
PATIENCE_S, AT_ONCE_S = 120, 40.0


def span(name: str = "work", number: int = 1, parent: str = ROOT) -> Span:
    attributes = {"text": "<b>", "count": 3, "share": 0.5, "yes": True, "many": ("a", "b")}
    return Span(
        name=name,
        trace=TRACE,
        id=span_id(str(number)),
        parent=parent,
        start=1_700_000_000.25,
        end=1_700_000_001.5,
        attributes=attributes,
        events=(SpanEvent("moment", 1_700_000_001.0, {"where": "here"}),),
        error="it broke",
    )


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.address)
        yield found


def exporter(endpoint: str, kind: type[TelemetryExporter] = TelemetryExporter) -> TelemetryExporter:
    return kind(TelemetrySettings(True, True, endpoint), "1.2.3")


def logged(found: TelemetryExporter, *texts: str) -> None:
    handler = found.handler(lambda record: (TRACE, ROOT, {"fission.run": "7"}), "INFO")
    assert handler is not None
    logger = logging.Logger("fission.test")
    logger.addHandler(handler)
    for text in texts:
        logger.warning("%s", text)
        logger.debug("left out")


def test_spans_and_logs_arrive_whole(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment=tests")
    found = exporter(collector.address)
    found.send(span())
    found.send(span("root", 2, parent=""))
    logged(found, "one", "two")
    assert found.close(10) == ""
    child, root = collector.spans
    assert (child.name, child.trace, child.id, child.parent) == ("work", TRACE, span_id("1"), ROOT)
    assert (child.start, child.end) == (1_700_000_000_250_000_000, 1_700_000_001_500_000_000)
    assert child.attributes == {"text": "<b>", "count": 3, "share": 0.5, "yes": True, "many": ["a", "b"]}
    assert child.events == [("moment", 1_700_000_001_000_000_000, {"where": "here"})]
    assert child.error == "it broke"
    assert (root.trace, root.id, root.parent) == (TRACE, span_id("2"), "")
    assert [(one.name, one.trace, one.id, one.severity) for one in collector.logs] == [
        (text, TRACE, ROOT, "WARNING") for text in ("one", "two")
    ]
    assert collector.logs[0].attributes == {"fission.run": "7", "logger": "fission.test"}
    for one in (child, collector.logs[0]):
        assert {name: one.resource[name] for name in ("service.name", "service.version", "deployment")} == {
            "service.name": "fission",
            "service.version": "1.2.3",
            "deployment": "tests",
        }
    assert found.handed == found.sent == {"spans": 2, "log records": 2}


def test_the_environment_names_the_service(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    found = exporter(collector.address)
    found.send(span())
    found.close(10)
    assert collector.spans[0].resource["service.name"] == "mine"


def lost(endpoint: str, monkeypatch: pytest.MonkeyPatch, kind: type[TelemetryExporter] = TelemetryExporter) -> tuple[str, float]:
    """Send 2500 spans and 100 log records; return what is said in the end, and the seconds that all of it took."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(PATIENCE_S))
    found = exporter(endpoint, kind)
    began = time.monotonic()
    for number in range(2500):
        found.send(span(number=number))
    logged(found, *map(str, range(100)))
    text = found.close(0.3)
    return text, time.monotonic() - began


ALL_LOST = ": 2500 spans and 100 log records"


def test_a_collector_that_is_away_costs_nothing_but_what_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    text, seconds = lost(endpoint, monkeypatch)
    assert text == f"not sent to {endpoint}, which was not reachable, too slow, or has refused them{ALL_LOST}"
    assert seconds < AT_ONCE_S


def test_a_collector_that_never_answers_costs_the_same(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    collector.held.clear()
    text, seconds = lost(collector.address, monkeypatch)
    assert text.endswith(ALL_LOST)
    assert seconds < AT_ONCE_S


def test_a_collector_that_refuses_costs_the_same(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    collector.status = 400
    text, seconds = lost(collector.address, monkeypatch)
    assert text.endswith(ALL_LOST)
    assert seconds < AT_ONCE_S


class Uncounted(TelemetryExporter):
    """A broken one: it does not count what it was to send."""

    def send(self, span: Span) -> None:
        super().send(span)
        self.handed["spans"] = 0


def test_one_that_does_not_count_is_caught(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    collector.status = 400
    assert not lost(collector.address, monkeypatch, Uncounted)[0].endswith(ALL_LOST)


def test_what_waits_is_bounded(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100")
    collector.held.clear()
    found = exporter(collector.address)
    for number in range(1000):
        found.send(span(number=number))
    collector.held.set()
    text = found.close(10)
    assert found.sent["spans"] == len(collector.spans) <= 300
    assert text.endswith(f": {1000 - len(collector.spans)} spans")


def test_missing_libraries_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(UserError) as refusal:
        exporter("http://h:4318")
    assert str(refusal.value) == (
        "nothing is sent to http://h:4318: opentelemetry.exporter.otlp.proto.http is not installed; "
        f"install it: python3 -m pip install {open_telemetry.PACKAGES}"
    )


def test_a_malformed_variable_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-5")
    with pytest.raises(UserError, match="a variable of OpenTelemetry is malformed"):
        exporter("http://127.0.0.1:1")


def test_nothing_is_imported_before_it_is_wanted() -> None:
    modules = "fission.adapters.open_telemetry, fission.client.run.run_telemetry, fission.pipelines.pipeline_telemetry"
    program = f"import sys, {modules}; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
