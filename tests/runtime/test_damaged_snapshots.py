"""A new incarnation continues with the right snapshot or not at all: it never silently starts from the initial state."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from fission.errors import SnapshotError
from fission.protocol.checkpointing import AS_MADE, Checkpointing, CheckpointSpec
from fission.runtime.checkpointer import Checkpointer


class Job:
    _fission_name = "Sum 3"
    MAX_QUEUE = 0
    restored: Any = None

    def snapshot(self) -> Any:
        return self.restored

    def restore(self, state: Any) -> None:
        self.restored = state


def checkpointer_of(job: Job, every: int, states: dict[tuple[int, int], bytes], damaged: dict[tuple[int, int], str]) -> Checkpointer:
    decisions = Checkpointing(CheckpointSpec(job._fission_name, every, 100, bool(job.MAX_QUEUE), states, damaged))
    return Checkpointer(job, decisions, lambda *number: states[number])


def begin(
    stored: dict[tuple[int, int], Any], damaged: list[tuple[int, int]], generation: int, first: int, max_queue: int = 0
) -> tuple[int, Any]:
    job = Job()
    job.MAX_QUEUE = max_queue
    states = {number: AS_MADE if state is None else pickle.dumps(state) for number, state in sorted(stored.items())}
    texts = {number: f"/run/.checkpoints/3/{number[0]}.{number[1]} is damaged: its checksum is wrong" for number in damaged}
    checkpointer = checkpointer_of(job, 10, states, texts)
    block = checkpointer.begin(generation, first)
    checkpointer.check()
    return block, job.restored


@pytest.mark.parametrize(
    ("stored", "damaged", "generation", "first", "expected"),
    [
        ({(0, 10): "ten", (0, 20): "twenty"}, [], 0, 11, (11, "ten")),
        ({(0, 10): "ten"}, [(0, 20)], 0, 11, (11, "ten")),
        ({(0, 0): None}, [(0, 10)], 0, 1, (1, None)),
        ({(0, 40): "forty"}, [(0, 30)], 1, 1, (1, "forty")),
        ({(0, 40): "forty", (1, 5): "five"}, [(0, 50)], 1, 6, (6, "five")),
        ({}, [], 0, 1, (1, None)),
        ({}, [], 0, 7, (7, None)),
    ],
    ids=["whole", "newer damaged", "as made", "older generation", "other generation", "first incarnation", "blocks before were not for it"],
)
def test_the_one_that_fits_is_used(stored: Any, damaged: Any, generation: int, first: int, expected: Any) -> None:
    assert begin(stored, damaged, generation, first) == expected


@pytest.mark.parametrize(
    ("stored", "damaged", "generation", "first", "names"),
    [
        ({}, [(0, 10)], 0, 11, "0.10"),
        ({}, [(0, 0)], 0, 1, "0.0"),
        ({(0, 20): "twenty"}, [(0, 10)], 0, 11, "0.10"),
        ({(0, 0): None, (0, 10): "ten"}, [(0, 20)], 0, 21, "0.20"),
        ({(0, 30): "thirty"}, [(0, 40)], 1, 1, "0.40"),
        ({(0, 10): "ten"}, [(0, 12)], 0, 15, "0.12"),
        ({(0, 10): "ten"}, [], 0, 15, "begin with block 15, and its newest snapshot is after block 10"),
    ],
    ids=["only one", "as made", "the stable one", "the newest one", "of the generation before", "of the end", "missing"],
)
def test_a_damaged_snapshot_is_not_replaced_by_another(stored: Any, damaged: Any, generation: int, first: int, names: str) -> None:
    with pytest.raises(SnapshotError, match=f"Sum 3: .* is lost: .*{names}.*without --resume"):
        begin(stored, damaged, generation, first)


def test_blocks_that_were_dropped_need_no_snapshot() -> None:
    assert begin({(0, 10): "ten"}, [], 0, 15, max_queue=3) == (15, "ten")


@pytest.mark.parametrize("generation", [0, 1])
def test_blocks_without_partners_need_no_snapshot_unless_one_follows(generation: int) -> None:
    """One input has ended after block 10, another has released more: a new incarnation ends with the state after block 10."""
    job = Job()
    states = {(0, 4): pickle.dumps("four"), (generation, 10): pickle.dumps("ten")}
    checkpointer = checkpointer_of(job, 10, states, {})
    assert checkpointer.begin(generation, 15) == 15
    assert job.restored == "ten"
    with pytest.raises(SnapshotError, match="begin with block 15, and its newest snapshot is after block 10"):
        checkpointer.check()
    assert checkpointer.begin(generation, 11) == 11
    checkpointer.check()


def test_a_job_that_is_further_than_all_snapshots_of_earlier_incarnations_keeps_its_state() -> None:
    job = Job()
    checkpointer = checkpointer_of(job, 1, {(0, 10): pickle.dumps("ten")}, {})
    assert checkpointer.begin(0, 11) == 11
    job.restored = "eleven"
    checkpointer.after(11)
    assert checkpointer.begin(0, 15) == 15
    assert job.restored == "eleven"
