"""What all lives of a job have counted, added up."""

from __future__ import annotations

from fission.client.run.tally import Tally
from fission.protocol.messages.job_to_client import InputTotals, JobCounts, OutputTotals


def counted(done: dict[int, int], *, sent: dict[int, int] | None = None, received: int = 0, dropped: int = 0, queue: int = 0) -> JobCounts:
    return JobCounts(
        compute_blocks=done,
        inputs={1: InputTotals(received=received, lost=1)},
        outputs={2: OutputTotals(sent=sent or {}, dropped=dropped, queue=queue, blocked_s=0.25)},
        malformed=1,
    )


def test_a_job_that_has_told_nothing() -> None:
    assert Tally().total(1, 3) == {}


def test_numbers_go_on_and_events_add_up() -> None:
    tally = Tally()
    tally.report(1, 1, counted({0: 40}, sent={0: 41}, received=50, dropped=2, queue=7), final=True)
    tally.report(1, 2, counted({0: 90}, sent={0: 90}, received=60, dropped=3, queue=1), final=True)
    tally.replayed(1, 2, 5)
    tally.replayed(1, 2, 6)
    assert tally.total(1, 2) == {
        "compute_blocks": 90,
        "inputs": {"1": {"received": 110, "duplicates": 0, "lost": 2, "dropped": 0, "dummies": 0, "unmatched": 0}},
        "outputs": {"2": {"sent": 90, "lost": 0, "dropped": 5, "queue": 1, "blocked_s": 0.5, "replayed": 11}},
        "malformed": 2,
        "not_shared": 0,
        "lives_untold": 0,
    }


def test_each_generation_has_its_own_numbers() -> None:
    tally = Tally()
    tally.report(1, 1, counted({0: 30, 1: 5}, sent={0: 30, 1: 5}), final=True)
    tally.report(1, 2, counted({1: 20, 2: 4}, sent={1: 20, 2: 4}), final=True)
    total = tally.total(1, 2)
    assert (total["compute_blocks"], total["outputs"]["2"]["sent"]) == (54, 54)


def test_a_life_that_was_killed_counts_with_what_it_told_last() -> None:
    tally = Tally()
    tally.report(1, 1, counted({0: 10}, received=10), final=False)
    tally.report(1, 1, counted({0: 20}, received=20), final=False)
    tally.report(1, 1, None, final=True)  # it could not report
    tally.report(1, 2, counted({0: 15}, received=7), final=True)
    total = tally.total(1, 3)  # the third has not told anything
    assert (total["compute_blocks"], total["inputs"]["1"]["received"], total["lives_untold"]) == (20, 27, 2)


def test_a_late_word_does_not_undo_the_last_counts() -> None:
    tally = Tally()
    tally.report(1, 1, counted({0: 20}), final=True)
    tally.report(1, 1, counted({0: 10}), final=False)
    assert tally.total(1, 1)["compute_blocks"] == 20


def test_blocks_of_a_generation_that_is_over_and_in_no_compute_block_are_left_behind() -> None:
    tally = Tally()
    tally.report(1, 1, counted({0: 40}, sent={0: 40}), final=False)
    tally.report(1, 2, counted({1: 9}, sent={1: 9}), final=False)
    tally.report(3, 1, counted({0: 18}), final=False)
    assert tally.left_behind(1, 2, 3, 2) == 4
    tally.report(3, 1, counted({0: 18, 1: 1}), final=True)  # the newest generation is not over: what is missing there is under way
    assert tally.left_behind(1, 2, 3, 2) == 4
    assert tally.left_behind(1, 2, 3, 1) == 22
    assert tally.left_behind(1, 2, 4, 1) == 40  # a consumer that has told nothing had none of them


def test_nothing_is_left_behind_in_the_only_generation() -> None:
    tally = Tally()
    tally.report(1, 1, counted({0: 40}, sent={0: 40}), final=True)
    tally.report(3, 1, counted({0: 18}), final=True)
    assert tally.left_behind(1, 2, 3, 2) == 0
