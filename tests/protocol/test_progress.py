"""Which jobs make no progress, and when one is stalled; a client that was away itself; broken variants."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fission.protocol.progress import CONFIRM_S, LATE_S, Progress

TIMEOUT_S = 5.0


def watched() -> Progress:
    """Job 1 has a limit, job 2 none; both run since 0."""
    progress = Progress({1: TIMEOUT_S, 2: None})
    for job in (1, 2):
        progress.started(job, 0.0)
        progress.ready(job, 0.0)
    return progress


def judged(progress: Progress, until: float) -> list[tuple[float, int]]:
    """Everything that is judged when the shell looks whenever it is due, to the end."""
    found: list[tuple[float, int]] = []
    while (due := progress.due) is not None and due <= until:
        found += [(due, job) for job in progress.stalled(due)]
        assert progress.due is None or progress.due > due, "the shell would look for ever"
    return found


def test_a_job_whose_counts_do_not_change_is_stalled_once() -> None:
    progress = watched()
    for second in range(1, 20):
        progress.heard(1, "same", "RUN", float(second))
    # its first report was new
    assert judged(progress, 60.0) == [(1.0 + TIMEOUT_S + CONFIRM_S, 1)]


@pytest.mark.parametrize("doing", ["INPUT", "ROOM", "END"])
def test_a_job_that_waits_is_not_stalled(doing: str) -> None:
    progress = watched()
    for second in range(1, 100):
        progress.heard(1, "same", doing, float(second))
        assert judged(progress, float(second)) == []
        stand = progress.stand(1, float(second))
        assert stand is not None
        assert stand.seconds == 0.0


def test_a_job_that_counts_is_not_stalled_however_slowly_it_does() -> None:
    progress = watched()
    for number in range(1, 20):
        assert judged(progress, number * TIMEOUT_S) == []
        progress.heard(1, number, "RUN", number * TIMEOUT_S)


def test_reports_sent_while_the_client_was_away_are_received_before_it_judges() -> None:
    progress = watched()
    assert progress.stalled(1000.0) == []
    progress.heard(1, 1, "RUN", 1000.1)
    assert judged(progress, 1000.1 + TIMEOUT_S) == []
    assert judged(progress, 1000.2 + TIMEOUT_S + CONFIRM_S) == [(pytest.approx(1000.1 + TIMEOUT_S + CONFIRM_S), 1)]


def test_a_setup_that_never_returns_is_stalled_and_reported() -> None:
    progress = Progress({1: TIMEOUT_S})
    progress.started(1, 0.0)
    stand = progress.stand(1, 4.0)
    assert stand is not None
    assert (stand.seconds, stand.where, stand.silent) == (4.0, "in setup", True)
    assert judged(progress, 60.0) == [(TIMEOUT_S + CONFIRM_S, 1)]


def test_a_new_incarnation_begins_anew_and_an_ended_process_is_not_stalled() -> None:
    progress = watched()
    progress.started(1, 4.0)
    progress.ready(1, 5.0)
    assert judged(progress, 9.9) == []
    progress.ended(1)
    assert progress.stand(1, 9.9) is None
    assert judged(progress, 99.0) == []
    progress.heard(1, 1, "RUN", 99.0)  # its last report may come late
    assert progress.stand(1, 99.0) is None


def test_a_job_whose_next_report_is_late_is_silent() -> None:
    for next_s in (1.0, 5.0):
        progress = watched()
        progress.heard(2, 1, "RUN", 1.0, next_s)
        stands = [progress.stand(2, 1.0 + next_s + LATE_S * share) for share in (0.9, 1.0)]
        assert [stand.silent for stand in stands if stand is not None] == [False, True]


def test_a_job_that_reports_rarely_is_not_stalled_between_two_reports() -> None:
    progress = watched()
    for number in range(10):
        progress.heard(2, number, "RUN", 5.0 * number, 5.0)
        stand = progress.stand(2, 5.0 * number + 4.9)
        assert stand is not None
        assert (stand.reported_s, stand.silent) == (0.0, False)
    progress.heard(2, 9, "RUN", 50.0)  # now it hangs
    hanging, frozen = progress.stand(2, 50.5), progress.stand(2, 60.0)
    assert hanging is not None
    assert frozen is not None
    assert (hanging.reported_s, hanging.silent) == (5.0, False)
    assert (frozen.reported_s, frozen.silent) == (15.0, True)


class TakesWaitingForStanding(Progress):
    def heard(self, job, mark, doing, now, next_s=1.0):  # type: ignore[no-untyped-def]
        super().heard(job, mark, "RUN", now, next_s)


class JudgesAtOnce(Progress):
    def stalled(self, now):  # type: ignore[no-untyped-def]
        super().stalled(now - CONFIRM_S)
        return super().stalled(now + CONFIRM_S)


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (TakesWaitingForStanding, lambda: test_a_job_that_waits_is_not_stalled("INPUT")),
        (JudgesAtOnce, test_reports_sent_while_the_client_was_away_are_received_before_it_judges),
    ],
)
def test_a_broken_machine_is_caught(broken: type[Progress], caught_by: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "Progress", broken)
    with pytest.raises(AssertionError):
        caught_by()
