"""The numbers of the blocks in a sink's file, whatever was left out and whenever its process dies."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from fission.runtime import rows


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_job_without_a_file_has_no_notes(folder: Path) -> None:
    job = SimpleNamespace()
    rows.start(job)
    rows.note(job, 1, 7)
    assert rows.first_number(job, 3) == 1
    assert list(folder.iterdir()) == []


def test_numbers_that_go_on_by_one_need_no_notes(folder: Path) -> None:
    job = SimpleNamespace(blocks_written=0)
    rows.start(job)
    noted = (folder / rows.NOTES_FILE).read_bytes()
    rows.note(job, 0, 1)
    job.blocks_written = 9
    rows.start(job)  # the next life
    assert rows.first_number(job, 0) == 10
    rows.note(job, 0, 10)
    assert (folder / rows.NOTES_FILE).read_bytes() == noted


def test_what_was_left_out_has_no_row() -> None:
    job = SimpleNamespace(blocks_written=4)
    rows.note(job, 0, 8)  # 5, 6 and 7 are left out
    assert rows.first_number(job, 0) == 8  # also if the process dies here
    job.blocks_written = 6
    assert rows.first_number(job, 0) == 10


def test_rows_of_an_earlier_run_are_no_blocks_of_this_one() -> None:
    job = SimpleNamespace(blocks_written=100)
    rows.start(job)
    assert rows.first_number(job, 0) == 1
    job.blocks_written = 103
    rows.start(job)  # the next life
    assert rows.first_number(job, 0) == 4


def test_generations_number_from_one() -> None:
    job = SimpleNamespace(blocks_written=5)
    assert rows.first_number(job, 2) == 1
    rows.note(job, 2, 1)
    job.blocks_written = 8
    assert rows.first_number(job, 2) == 4
    assert rows.first_number(job, 1) == rows.first_number(job, 0) == rows.BEYOND
    rows.note(job, 1, rows.BEYOND)  # such a generation has no blocks to be noted
    assert rows.first_number(job, 2) == 4


def test_random_numbers_and_deaths(folder: Path) -> None:
    """A life dies between any two of its steps: the next one goes on behind the last block in the file."""
    rng = random.Random(3)
    for _ in range(30):
        (folder / rows.NOTES_FILE).unlink(missing_ok=True)
        written: list[tuple[int, int]] = []
        job = SimpleNamespace(blocks_written=0)
        generation, number = 0, 0
        for _ in range(200):
            step = rng.random()
            if step < 0.05:
                generation, number = generation + 1, 0
            number += rng.choice([1, 1, 1, 2, 9])
            rows.note(job, generation, number)
            if rng.random() < 0.3:  # dies
                assert rows.first_number(job, generation) == number
                continue
            written.append((generation, number))
            job.blocks_written = len(written)
            assert rows.first_number(job, generation) == number + 1


def test_notes_do_not_grow_for_ever(folder: Path) -> None:
    job = SimpleNamespace(blocks_written=0)
    for number in range(1, 5001, 2):
        rows.note(job, 0, number)
        job.blocks_written += 1
    assert (folder / rows.NOTES_FILE).stat().st_size < 100_000
    assert rows.first_number(job, 0) == 5000
