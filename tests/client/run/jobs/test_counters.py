"""The counts of all incarnations of a job, added up."""

from __future__ import annotations

from fission.client.run.jobs.counters import Counters, RestartedPipe
from fission.protocol.messages.job_to_client import InputTotals, JobCounts, OutputTotals

JOBS = {1: "Job 1", 3: "Job 3"}


def counted(done: dict[int, int], *, sent: dict[int, int] | None = None, received: int = 0, dropped: int = 0, queue: int = 0) -> JobCounts:
    return JobCounts(
        compute_blocks=done,
        inputs={1: InputTotals(received=received, lost=1)},
        outputs={2: OutputTotals(sent=sent or {}, dropped=dropped, queue=queue, blocked_s=0.25)},
        malformed=1,
    )


def test_a_job_that_has_reported_nothing() -> None:
    assert Counters(JOBS).total(1, 3) == {}


def test_block_numbers_continue_and_events_add_up() -> None:
    counters = Counters(JOBS)
    counters.report(1, 1, counted({0: 40}, sent={0: 41}, received=50, dropped=2, queue=7), final=True)
    counters.report(1, 2, counted({0: 90}, sent={0: 90}, received=60, dropped=3, queue=1), final=True)
    counters.replayed(1, 2, 5)
    counters.replayed(1, 2, 6)
    assert counters.total(1, 2) == {
        "compute_blocks": 90,
        "inputs": {"1": {"received": 110, "duplicates": 0, "lost": 2, "dropped": 0, "dummies": 0, "unmatched": 0}},
        "outputs": {"2": {"sent": 90, "lost": 0, "dropped": 5, "queue": 1, "blocked_s": 0.5, "replayed": 11}},
        "malformed": 2,
        "not_shared": 0,
        "lives_untold": 0,
    }


def test_each_generation_has_its_own_numbers() -> None:
    counters = Counters(JOBS)
    counters.report(1, 1, counted({0: 30, 1: 5}, sent={0: 30, 1: 5}), final=True)
    counters.report(1, 2, counted({1: 20, 2: 4}, sent={1: 20, 2: 4}), final=True)
    total = counters.total(1, 2)
    assert (total["compute_blocks"], total["outputs"]["2"]["sent"]) == (54, 54)


def test_an_incarnation_that_was_killed_counts_with_its_last_report() -> None:
    counters = Counters(JOBS)
    counters.report(1, 1, counted({0: 10}, received=10), final=False)
    counters.report(1, 1, counted({0: 20}, received=20), final=False)
    counters.report(1, 1, None, final=True)  # it could not report
    counters.report(1, 2, counted({0: 15}, received=7), final=True)
    total = counters.total(1, 3)  # the third has reported nothing
    assert (total["compute_blocks"], total["inputs"]["1"]["received"], total["lives_untold"]) == (20, 27, 2)


def test_a_late_report_does_not_undo_the_last_counts() -> None:
    counters = Counters(JOBS)
    counters.report(1, 1, counted({0: 20}), final=True)
    counters.report(1, 1, counted({0: 10}), final=False)
    assert counters.total(1, 1)["compute_blocks"] == 20


def test_blocks_of_a_generation_that_is_over_and_in_no_compute_block_are_left_behind() -> None:
    counters = Counters(JOBS)
    counters.report(1, 1, counted({0: 40}, sent={0: 40}), final=False)
    counters.report(1, 2, counted({1: 9}, sent={1: 9}), final=False)
    counters.report(3, 1, counted({0: 18}), final=False)
    assert counters.left_behind(1, 2, 3, 2) == 4
    counters.report(3, 1, counted({0: 18, 1: 1}), final=True)  # the newest generation is not over: what is missing there is under way
    assert counters.left_behind(1, 2, 3, 2) == 4
    assert counters.left_behind(1, 2, 3, 1) == 22
    assert counters.left_behind(1, 2, 4, 1) == 40  # a consumer that has reported nothing had none of them


def test_nothing_is_left_behind_in_the_only_generation() -> None:
    counters = Counters(JOBS)
    counters.report(1, 1, counted({0: 40}, sent={0: 40}), final=True)
    counters.report(3, 1, counted({0: 18}), final=True)
    assert counters.left_behind(1, 2, 3, 2) == 0


def test_blocks_left_behind_are_in_the_summary() -> None:
    counters = Counters(JOBS, [RestartedPipe(1, 2, 3, 2)], resumed=True)
    counters.report(1, 1, counted({0: 40}, sent={0: 40}), final=False)
    counters.report(1, 2, counted({1: 9}, sent={1: 9}), final=False)
    counters.report(3, 1, counted({0: 18}), final=False)
    summaries = counters.summaries(lambda job: 2)
    assert summaries[1].counts["outputs"]["2"]["lost"] == 4
    assert (summaries[1].before, summaries[3].before) == (40, 18)
