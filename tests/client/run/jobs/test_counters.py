"""The counts of all incarnations of a job, added up."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from fission.client.run.jobs.counters import Counters, RestartedPipe
from fission.protocol.messages.client_to_viewer import CheckpointCounts, JobTotals
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


# -- what viewers get: it never decreases -------------------------------------------------------------------------------


def history_of(seed: int, kind: type[Counters], *, resumed: bool) -> list[dict[str, Any]]:
    """Return what viewers get of a job that is killed again and again, and continues from its last checkpoint.

    Args:
        seed: of what happens.
        kind: of the counters.
        resumed: whether an earlier client began the run.
    """
    rng = random.Random(seed)
    counters = kind(JOBS, resumed=resumed)
    done, generation, incarnation = (500 if resumed else 0), 0, 1
    received = done
    before: dict[int, int] = {}  # last block of each older generation
    found = []
    for _ in range(60):
        happens = rng.random()
        if happens < 0.2:
            incarnation += 1
            done = max(0, done - rng.randrange(20))
            received = 0
        elif happens < 0.25:
            incarnation += 1
            before[generation] = done
            done, generation, received = 0, generation + 1, 0
        else:
            done += rng.randrange(10)
            received += rng.randrange(10)
        numbers = {**before, generation: done}
        late = rng.random() < 0.1 and incarnation > 1
        counters.report(1, incarnation, counted(numbers, sent=numbers, received=received, queue=rng.randrange(5)), final=False)
        if late:
            counters.report(1, incarnation - 1, None, final=True)
        found.append(flat(msgspec.to_builtins(counters.since_begin(1, "running", CheckpointCounts()))))
    return found


def flat(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {key: item for member, part in value.items() for key, item in flat(part, f"{name}.{member}").items()}
    return {name: value}


def falls(history: list[dict[str, Any]]) -> list[str]:
    """Return the names of counts that decrease."""
    return [
        name
        for earlier, later in pairwise(history)
        for name, value in later.items()
        if isinstance(value, int | float) and not name.endswith("queue") and value < earlier.get(name, 0)
    ]


@pytest.mark.parametrize("resumed", [False, True])
def test_what_viewers_get_never_decreases_when_a_job_restarts(resumed: bool) -> None:
    for seed in range(50):
        history = history_of(seed, Counters, resumed=resumed)
        assert falls(history) == [], seed
        assert history[-1][".compute_blocks"] > 0


class NewestOnly(Counters):
    """A broken one: gives what the newest incarnation has counted."""

    def since_begin(self, job: int, state: str, checkpoints: CheckpointCounts) -> JobTotals:
        newest = max(self._reported[job])
        self._reported[job] = {newest: self._reported[job][newest]}
        return super().since_begin(job, state, checkpoints)


def test_counts_of_the_newest_incarnation_alone_are_caught() -> None:
    assert any(falls(history_of(seed, NewestOnly, resumed=False)) for seed in range(5))


def test_a_client_that_resumes_begins_at_zero() -> None:
    """A counter that continued at an older checkpoint would look like a reset to the new value, which is none."""
    counters = Counters(JOBS, resumed=True)
    counters.report(1, 3, counted({0: 500}, sent={0: 500}, received=500), final=False)
    first = counters.since_begin(1, "running", CheckpointCounts())
    assert (first.compute_blocks, first.outputs[2].sent, first.inputs[1].received, first.malformed) == (0, 0, 0, 0)
    counters.report(1, 3, counted({0: 510}, sent={0: 511}, received=512, queue=3), final=False)
    later = counters.since_begin(1, "running", CheckpointCounts())
    assert (later.compute_blocks, later.outputs[2].sent, later.inputs[1].received, later.outputs[2].queue) == (10, 11, 12, 3)
