"""A run with a failover, as a collector of OpenTelemetry sees it; and one whose collector is away."""

from __future__ import annotations

import re
import time

import pytest

from fission.adapters.open_telemetry import END_S
from tests.adapters.collector import Collector
from tests.e2e.support import STOP_S, finish, network, stop
from tests.ports import free_ports
from tests.waiting import CommandLine, Running

LISTED = """
Endless(outputs=[PicklePipe(1)]),
Show(inputs=[PicklePipe(1)]),
"""
#: The line of a failover: what was lost, how long it took, and how many blocks were replayed.
FAILOVER = re.compile(r"(node \w+ is lost): .*; (\d+\.\d\d) s, (\d+) blocks? replayed")


def with_a_failover(fission: CommandLine) -> tuple[Running, re.Match[str]]:
    """Return a network whose second node was killed, and the line of the failover."""
    fission.project(network("", LISTED))
    client = fission.start("net", "simulate", "--nodes", "2", "--kill", "2@1")
    found = FAILOVER.search(client.wait_for(FAILOVER, stream="stderr"))
    assert found is not None
    return client, found


def test_a_failover_is_a_span_of_its_run_and_the_log_has_their_ids(fission: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        began = time.time()
        client, line = with_a_failover(fission)
        finished = stop(client, fission.root)
        assert "not sent to" not in finished.stderr
        failover, run = collector.spans
        assert (run.name, run.parent, run.error) == ("run", "", "")
        assert (failover.name, failover.parent, failover.trace) == ("failover", run.id, run.trace)
        assert began * 1e9 <= run.start <= failover.start <= failover.end <= run.end <= time.time() * 1e9
        assert (failover.end - failover.start) / 1e9 == pytest.approx(float(line[2]), abs=0.006)
        facts = failover.attributes
        assert (facts["fission.network"], facts["fission.what"], facts["fission.node"]) == ("net", line[1], "2")
        assert facts["fission.replayed_blocks"] == int(line[3])
        (job,) = facts["fission.jobs"]
        assert [name for name, _, _ in failover.events] == ["job placed", "job runs again"]
        assert {event["fission.job"] for _, _, event in failover.events} == {job}
        assert failover.events[-1][1] == pytest.approx(failover.end, abs=1000)
        assert {log.trace for log in collector.logs} == {run.trace}
        (record,) = (log for log in collector.logs if log.id == failover.id)
        assert FAILOVER.search(record.name)
        assert record.severity == "WARNING"
        assert {log.id for log in collector.logs if log is not record} == {run.id}
        for log in collector.logs:
            assert log.attributes["fission.run"] == run.attributes["fission.run"]


@pytest.mark.slow
@pytest.mark.soak
def test_a_collector_that_is_away_neither_slows_nor_stops_a_run(fission: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it in the usual time (and END_S, on a busy machine), and what is lost is one line."""
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    fission.project(network("", LISTED))
    client = fission.start("net", "simulate")
    client.wait_for("got 50")
    finished = stop(client, fission.root, within_s=STOP_S + 2 * END_S)
    (line,) = (line for line in finished.stderr.splitlines() if endpoint in line)
    assert re.search(r"not sent to http\S+, which was not reachable, too slow, or has refused them: 1 span and \d+ log records", line)


@pytest.mark.slow
@pytest.mark.soak
def test_a_protocol_that_is_not_spoken_is_one_line_and_the_network_runs(fission: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    fission.project(network("", "Count(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    client = fission.start("net", "simulate")
    finished = finish(client, fission.root, 0)
    (line,) = (line for line in finished.stderr.splitlines() if "OTEL" in line)
    assert "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, but is 'grpc'; nothing is sent by it" in line
