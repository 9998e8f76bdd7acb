"""Which spans failovers and pipelines become."""

from __future__ import annotations

import pytest

from fission.protocol.outages import Outage, Outages
from fission.protocol.pipeline_records import EndRecord, JobRecord
from fission.protocol.spans import (
    SPAN_DIGITS,
    TRACE_DIGITS,
    RunIdentity,
    SpanEvent,
    failover_id,
    failover_span,
    job_span,
    pipeline_span,
    run_span,
)
from fission.protocol.supervision_messages import Failover, FailoverStep

NAMES = {1: "Source 1", 2: "Mixer 2"}


def run(began: float = 1000.0, *, lasts: bool = True, place: str = "host:/net/runs/1") -> RunIdentity:
    return RunIdentity.of("net", "1", place, began, lasts=lasts)


def lost(outages: Outages) -> Failover:
    """Return the failover of a node with both jobs, which is lost at 5.0 and runs again at 5.75."""
    outages.begin(Outage("node b is lost", "silent", 5.0, {1: "b", 2: "b"}))
    outages.moved(1, "a", 5.0)
    outages.expect_replays(2, 2, 1)
    outages.runs(1, "a", 5.5)
    outages.moved(2, "c", 5.25)
    outages.runs(2, "c", 5.75)
    outages.replayed(2, 2, 7)
    (failover,) = outages.report(5.75, (), lambda job, incarnation: False, over=False)
    assert isinstance(failover, Failover)
    return failover


def test_a_failover_is_a_span_from_the_notice_to_the_last_job_that_runs_again() -> None:
    failover = lost(Outages(lambda job: NAMES[job]))
    span = failover_span(run(), failover, NAMES, offset_s=100.0)
    assert (span.name, span.start, span.end, span.error) == ("failover", 105.0, 105.75, "")
    assert (span.trace, span.parent, span.id) == (run().trace, run().span, failover_id(run(), failover))
    assert span.attributes == {
        "fission.network": "net",
        "fission.run": "1",
        "fission.what": "node b is lost",
        "fission.why": "silent",
        "fission.node": "b",
        "fission.jobs": ("Source 1", "Mixer 2"),
        "fission.moves": ("Source 1 -> a", "Mixer 2 -> c"),
        "fission.replayed_blocks": 7,
    }
    assert span.events == (
        SpanEvent("job placed", 105.0, {"fission.job": "Source 1", "fission.node": "a"}),
        SpanEvent("job runs again", 105.5, {"fission.job": "Source 1", "fission.node": "a"}),
        SpanEvent("job placed", 105.25, {"fission.job": "Mixer 2", "fission.node": "c"}),
        SpanEvent("job runs again", 105.75, {"fission.job": "Mixer 2", "fission.node": "c"}),
    )


class EarlyEnd(Outages):
    """A broken one: it takes the first job that runs again for the end."""

    def runs(self, job: int, node: str, now: float) -> None:
        super().runs(job, node, now)
        for one in self._outages:
            one.ready_at = one.ready_at or now


def test_a_span_that_ends_with_the_first_job_is_caught() -> None:
    assert failover_span(run(), lost(EarlyEnd(lambda job: NAMES[job])), NAMES, offset_s=100.0).end != 105.75


def test_the_steps_of_a_failover_are_bounded() -> None:
    outages = Outages(lambda job: NAMES[job])
    outages.begin(Outage("Mixer 2 died", "again", 5.0, {2: "b"}))
    for number in range(10_000):
        outages.moved(2, "b", 5.0 + number)
    outages.runs(2, "b", 20_000.0)
    (failover,) = outages.report(20_000.0, (), lambda job, incarnation: False, over=False)
    assert isinstance(failover, Failover)
    assert len(failover.steps) == 200
    assert failover.steps[-1] == FailoverStep(what="job runs again", at=20_000.0, job=2, node="b")


def test_a_run_is_one_trace_also_if_it_is_resumed_and_a_simulation_is_always_another() -> None:
    first, second = run(1000.0), run(2000.0)
    assert first.trace == second.trace
    assert first.span != second.span, "each client has a span of its own"
    assert run(1000.0, lasts=False).trace != run(2000.0, lasts=False).trace
    assert run().trace != run(place="other:/net/runs/1").trace
    for one in (first, second):
        assert (len(one.trace), len(one.span)) == (TRACE_DIGITS, SPAN_DIGITS)
        assert int(one.trace, 16) * int(one.span, 16)


@pytest.mark.parametrize(("exit_code", "error"), [(0, ""), (1, "Mixer 2 failed"), (130, "")])
def test_a_run_that_failed_is_an_error_and_one_that_was_stopped_is_not(exit_code: int, error: str) -> None:
    span = run_span(run(), 1010.0, "Mixer 2 failed", exit_code)
    assert (span.start, span.end, span.parent, span.error) == (1000.0, 1010.0, "", error)
    assert (span.trace, span.id) == (run().trace, run().span)


def test_a_pipeline_is_a_span_with_its_jobs_below() -> None:
    end = EndRecord("p1", "failed", at=110.0, duration=10.0, number=1, error="job 1 failed")
    record = JobRecord("p1", 1, "failed", 2, duration=1.5, node="board", error="ValueError: x", traceback="Traceback ...")
    pipeline, job = pipeline_span(end), job_span(record, 109.0, "Download")
    assert (pipeline.start, pipeline.end, pipeline.parent, pipeline.error) == (100.0, 110.0, "", "job 1 failed")
    assert (job.start, job.end, job.error) == (107.5, 109.0, "ValueError: x")
    assert (job.trace, job.parent) == (pipeline.trace, pipeline.id)
    assert job.attributes["fission.worker"] == "Download"
    assert job.attributes["fission.try"] == 2
    assert job.events[0].attributes == {"exception.message": "ValueError: x", "exception.stacktrace": "Traceback ..."}
    good = job_span(JobRecord("p1", 1, "finished", 3), 111.0, "")
    assert (good.trace, good.parent, good.error, good.events) == (job.trace, job.parent, "", ())
    assert good.id != job.id, "each try has a span of its own"
    assert pipeline_span(EndRecord("p1", "finished", 1.0, 1.0)).error == ""
    assert pipeline_span(EndRecord("p2", "cancelled", 1.0, 1.0)).error == "cancelled"
