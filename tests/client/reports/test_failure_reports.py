"""Failures: each is shown once, the one that ended the network last."""

from __future__ import annotations

import pytest

from fission.client.reports.failure_reports import HOLD_S, MOST_HOLD_S, FailureReports, grouped
from fission.client.reports.summary import JobSummary, Summary
from fission.errors import JobFailed
from fission.ports import Observer
from fission.protocol.supervision import Failover


class Recorder(Observer):
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def job_failed(self, job: str, job_id: int, report: str) -> None:
        self.lines.append(("failed", report))

    def network_failed(self, job: str, job_id: int, report: str) -> None:
        self.lines.append(("the end", report))


def test_the_failure_that_ends_the_network_is_shown_once_and_last() -> None:
    reports, recorder = FailureReports(), Recorder()
    reports.failed("Src 1", 1, "no microphone", 0.0)
    reports.failed("Mid 2", 2, "other", 0.1)
    reports.failed("Src 1", 1, "no microphone", 0.2)
    reports.tick(0.2, recorder)
    assert recorder.lines == []
    reports.end("Src 1", 1, "no microphone", recorder)
    assert recorder.lines == [("failed", "other"), ("the end", "no microphone")]


def test_a_failure_that_the_network_survives_is_shown_once_soon() -> None:
    reports, recorder = FailureReports(), Recorder()
    for number in range(5):
        reports.failed("Src 1", 1, "no microphone", number / 10)
    assert reports.due == MOST_HOLD_S
    reports.ready(1, 0.5)
    assert reports.due == 0.5 + HOLD_S
    reports.tick(0.4 + HOLD_S, recorder)
    assert recorder.lines == []
    reports.tick(0.5 + HOLD_S, recorder)
    reports.failed("Src 1", 1, "no microphone", 9.0)
    reports.end("", 0, "", recorder)
    assert recorder.lines == [("failed", "no microphone")]
    assert reports.due is None


def failover(number: int, job: str = "Src 1") -> Failover:
    return Failover(what=f"{job} died", why="no microphone", moves=(f"{job} again on client",), seconds=number / 10, replayed=number)


def test_the_summary_has_one_line_for_repeated_failovers_and_json_has_all() -> None:
    failovers = [failover(1), failover(3), failover(2, "Mid 2"), failover(2)]
    assert grouped(failovers) == [
        "Src 1 died: no microphone; Src 1 again on client; 0.30 s, 6 blocks replayed; 3 times, the slowest is given",
        "Mid 2 died: no microphone; Mid 2 again on client; 0.20 s, 2 blocks replayed",
    ]
    jobs = {1: JobSummary("Src 1", "failed", 3, {"compute_blocks": 1})}
    summary = Summary("net", 1, "Src 1 failed", 1.0, jobs, [JobFailed("Src 1", "no microphone")], failovers)
    assert len(summary.to_json()["failovers"]) == 4
    assert len([line for line in summary.lines() if "died" in line]) == 2
    assert "1 compute block, 3 restarts" in summary.lines()[1]


def test_work_before_a_resume_does_not_count_for_rates() -> None:
    jobs = {1: JobSummary("Src 1", "finished", 0, {"compute_blocks": 1000}, before=900)}
    summary = Summary("net", 0, "finished", 10.0, jobs)
    assert "10/s" in summary.lines()[1]
    assert summary.to_json()["jobs"]["1"]["blocks_per_s"] == 10.0


@pytest.mark.parametrize(("waited", "text", "rate"), [(0.0, ", 5/s", 5.0), (10.0, ", 10/s", 10.0), (16.0, "", 25.0), (20.0, "", 0.0)])
def test_the_wait_for_nodes_does_not_count_for_rates(waited: float, text: str, rate: float) -> None:
    jobs = {1: JobSummary("Src 1", "stopped", 0, {"compute_blocks": 100}, waited=waited)}
    summary = Summary("net", 0, "time is over", 20.0, jobs)
    assert summary.lines()[1].endswith(f"100 compute blocks{text}")
    assert summary.to_json()["jobs"]["1"]["blocks_per_s"] == rate
