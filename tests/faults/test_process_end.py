"""The end of a job's process: it is gone within a second whatever the user's code left running, and what the job opened is closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fission.core.base import collecting
from fission.core.pipes import PicklePipe
from fission.errors import JobFailed
from fission.testing.small_network import run_network
from tests.faults import exceptions as odd
from tests.faults import lingering
from tests.faults.on_engine import run_on_engine

#: Seconds that an end may take here. The promise is one second, but a busy machine may be late; without the bound it would be a day.
ENDS_S = 4.0
ENDS = ("raise", "finish", "exit", "stop")
OUTCOMES = {"raise": "failed", "finish": "finished", "exit": "failed", "stop": "stopped"}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with collecting():
        yield


@pytest.mark.parametrize("what", lingering.LINGERING)
def test_nothing_of_the_users_holds_the_process(what: str, tmp_path: Path) -> None:
    for end, one in zip(ENDS, run_on_engine([lingering.Lingers(what, end) for end in ENDS], tmp_path), strict=True):
        assert one.report.outcome == OUTCOMES[end], (end, one)
        assert one.took_s < ENDS_S, (end, one)
        assert ("ValueError: on purpose" in one.report.error) == (end == "raise"), (end, one)
        reported = any("ended with the job, before they were over" in line for line in one.lines["stderr"])
        assert reported == (end == "finish"), (end, one)


def test_files_that_the_job_has_opened_are_closed(tmp_path: Path) -> None:
    for end, one in zip(ENDS, run_on_engine([lingering.Opens(end) for end in ENDS], tmp_path), strict=True):
        assert lingering.written(one.folder) == lingering.WRITTEN, (end, one)
        assert one.report.outcome == OUTCOMES[end], (end, one)


def test_it_is_closed_beside_a_thread_that_does_not_end(tmp_path: Path) -> None:
    for end, one in zip(ENDS, run_on_engine([lingering.OpensAndLingers(end) for end in ENDS], tmp_path), strict=True):
        assert lingering.written(one.folder) == lingering.WRITTEN, (end, one)


def calls(folder: Path) -> int:
    path = folder / "teardown.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_teardown_is_called_once_at_every_orderly_end(tmp_path: Path) -> None:
    ended = run_on_engine([lingering.TearsDown(end) for end in ENDS], tmp_path)
    assert [calls(one.folder) for one in ended] == [0, 1, 0, 1]
    assert [one.report.outcome for one in ended] == [OUTCOMES[end] for end in ENDS]


def test_exceptions_of_teardown_are_reported(tmp_path: Path) -> None:
    ended = run_on_engine([lingering.TearsDown(end, "raise") for end in ("finish", "stop")], tmp_path)
    for one in ended:
        assert one.report.outcome == "failed", one
        assert 'raise LookupError("in teardown")' in one.report.error, one
        assert calls(one.folder) == 1


def test_no_teardown_without_setup(tmp_path: Path) -> None:
    (one,) = run_on_engine([lingering.TearsDown("finish", "no setup")], tmp_path)
    assert "in setup" in one.report.error
    assert calls(one.folder) == 0


@pytest.mark.slow
@pytest.mark.soak
def test_teardown_has_a_bounded_time(tmp_path: Path) -> None:
    finished, stopped = run_on_engine([lingering.TearsDown("finish", "hang"), lingering.TearsDown("stop", "hang")], tmp_path)
    assert finished.report.error == "teardown did not return within 10 s"
    assert 9.0 < finished.took_s < 10 + ENDS_S
    assert stopped.code == -9  # it had the grace
    assert stopped.took_s < 1 + ENDS_S


def test_a_network_in_one_process_tears_down_too(tmp_path: Path) -> None:
    jobs = [
        odd.Gives(odd.Plain, "", outputs=[PicklePipe(1)]),
        odd.RaisesInHead("teardown", "Base", inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
        odd.Sink(inputs=[PicklePipe(2)]),
    ]
    with pytest.raises(JobFailed, match="Base") as failed:
        run_network(jobs, folder=tmp_path)
    assert failed.value.job == "RaisesInHead 2"
    with pytest.raises(JobFailed, match="Base"):
        run_network(jobs, folder=tmp_path, blocks=3)
