"""Pipelines and their jobs as spans: what the Router has stored, in one trace, also if it is killed and starts again."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from fission.adapters.sqlalchemy_store import SqlPipelines
from fission.pipelines import Job, Pipeline
from fission.pipelines.errors import StoreAway
from fission.pipelines.pipeline_telemetry import MOST_KNOWN, TracedStore, correlation
from fission.protocol.pipeline_records import EndRecord, JobRecord, NewPipeline
from fission.protocol.spans import Span, pipeline_trace
from tests.adapters.collector import Collector
from tests.pipelines.daemons import Cluster
from tests.waiting import DEADLINE_S, eventually

BODY = json.dumps({"jobs": [{"worker_name": "A"}, {"worker_name": "B"}], "graph": [[0, 1], [1, None]], "data": None})


def opened(path: Path, spans: list[Span], kind: type[TracedStore] = TracedStore) -> tuple[SqlPipelines, TracedStore]:
    store = SqlPipelines(str(path))
    return store, kind(store, spans.append, lambda: 100.0)


def test_a_job_and_its_pipeline_are_in_one_trace_also_after_a_new_start(tmp_path: Path) -> None:
    spans: list[Span] = []
    store, traced = opened(tmp_path / "state.sqlite", spans)
    traced.add([NewPipeline("p", BODY, 90.0)])
    traced.record([JobRecord("p", 0, "finished", 1, duration=2.0, node="board")])
    traced.commit()
    store.close()
    store, traced = opened(tmp_path / "state.sqlite", spans)
    traced.record([JobRecord("p", 1, "failed", 3, duration=1.0, error="ValueError: x")])
    ends = traced.end([EndRecord("p", "failed", 110.0, 20.0, error="B failed")])
    assert traced.end([EndRecord("p", "failed", 110.0, 20.0, error="B failed")]) == []
    traced.commit()
    store.close()
    assert [end.pipeline for end in ends] == ["p"]
    first, second, pipeline = spans
    assert {span.trace for span in spans} == {pipeline_trace("p")[0]}
    assert (first.parent, second.parent, pipeline.parent) == (pipeline.id, pipeline.id, "")
    assert [span.attributes["fission.worker"] for span in (first, second)] == ["A", "B"], "the second one is read from the database"
    assert (first.start, first.end, first.error) == (98.0, 100.0, "")
    assert (pipeline.start, pipeline.end, pipeline.error) == (90.0, 110.0, "B failed")


class Away:
    """In place of a database that is unavailable."""

    def record(self, jobs: Sequence[JobRecord]) -> None:
        raise StoreAway("no disk")

    def end(self, ends: Sequence[EndRecord]) -> list[EndRecord]:
        raise StoreAway("no disk")


def sent_without_a_database(kind: type[TracedStore]) -> list[Span]:
    spans: list[Span] = []
    traced = kind(Away(), spans.append)  # type: ignore[arg-type]
    with pytest.raises(StoreAway):
        traced.record([JobRecord("p", 0, "finished", 1)])
    with pytest.raises(StoreAway):
        traced.end([EndRecord("p", "finished", 1.0, 1.0)])
    return spans


def test_what_is_not_stored_is_not_sent() -> None:
    """The Router stores it again later."""
    assert sent_without_a_database(TracedStore) == []


class Hasty(TracedStore):
    """A broken one: it sends what may not be stored."""

    def record(self, jobs: Sequence[JobRecord]) -> None:
        for _ in jobs:
            self._send(Span(name="job", trace="1", id="1", parent="", start=0, end=0, attributes={}))
        super().record(jobs)


def test_one_that_sends_too_early_is_caught() -> None:
    assert sent_without_a_database(Hasty) != []


def test_few_pipelines_are_remembered(tmp_path: Path) -> None:
    store, traced = opened(tmp_path / "state.sqlite", [])
    names = [f"p{number}" for number in range(MOST_KNOWN + 10)]
    traced.add([NewPipeline(name, BODY, 90.0) for name in names])
    traced.record([JobRecord(name, 0, "finished", 1) for name in names])
    assert len(traced._workers) == MOST_KNOWN
    store.close()


def test_records_of_the_log_belong_to_their_pipeline_or_to_the_router() -> None:
    of = correlation("r1")
    record = logging.LogRecord("Router", logging.INFO, "", 0, "text", (), None)
    trace, span, facts = of(record)
    assert facts == {"fission.router": "r1"}
    record.pipeline = "p"
    assert of(record) == (*pipeline_trace("p"), {"fission.router": "r1", "fission.pipeline": "p"})
    assert (trace, span) != pipeline_trace("p")


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(150)
def test_a_router_that_is_killed_continues_the_same_trace(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "50")
        router, _, _ = cluster.all()
        gate = tmp_path / "gate"
        with cluster.manager() as manager:
            pipeline = Pipeline({Job("A"): Job("Wait"), Job("Wait"): Job("Bad")}, data={"file": str(gate)})
            manager.start(pipeline)
            eventually(lambda: collector.spans, DEADLINE_S, "the span of the first job")
            eventually(lambda: cluster.runs("begin", "Wait"), DEADLINE_S, cluster.logs)
            router.kill()
            gate.touch()
            cluster.start("Router")
            assert manager.wait(30), cluster.logs()
        trace, root = pipeline_trace(str(pipeline.id))
        ended = eventually(lambda: [span for span in collector.spans if span.name == "pipeline"], DEADLINE_S, "the span of the pipeline")
        assert [(one.id, one.trace, one.parent, one.attributes["fission.state"]) for one in ended] == [(root, trace, "", "failed")]
        jobs = [span for span in collector.spans if span.name == "job"]
        assert [span.attributes["fission.worker"] for span in jobs] == ["A", "Wait", "Bad"]
        assert {(span.trace, span.parent) for span in jobs} == {(trace, root)}
        assert [bool(span.error) for span in jobs] == [False, False, True]
        assert "cannot do" in jobs[2].error
        records = eventually(lambda: [log for log in collector.logs if "cannot do" in log.name], DEADLINE_S, "the log of the failure")
        assert {(log.trace, log.id, log.attributes["fission.pipeline"]) for log in records} == {(trace, root, str(pipeline.id))}
