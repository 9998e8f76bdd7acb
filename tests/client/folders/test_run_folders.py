"""Each run has its own folder; earlier results are moved, kept, or removed by KEEP_RUNS, never overwritten."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from fission import durable
from fission.client.folders import run_folders
from fission.client.folders.run_folders import EVENTS
from fission.errors import UserError
from tests.disk_faults import FailNth


def fill(folder: Path) -> None:
    (folder / "1").mkdir()
    (folder / "1" / "out.csv").write_text(folder.name)
    durable.write_whole(folder / EVENTS, durable.seal({"what": "Run"}) + durable.seal({"what": "Launch", "job": 1}))


def fill_without_start(folder: Path) -> None:
    durable.write_whole(folder / EVENTS, durable.seal({"what": "Run"}))


def make(network: Path, *, start: bool = True, keep: int | None = None, date: str | None = None) -> Path:
    folder = run_folders.new_run(network, lambda text: None, date)
    run_folders.make_run(folder, fill if start else fill_without_start)
    run_folders.remove_old(network, keep, folder)
    return folder


def numbers(network: Path) -> list[int]:
    return [int(path.name.rpartition("-")[2]) for path in run_folders.runs(network)]


def test_local_is_a_link_to_the_newest_and_earlier_ones_stay(tmp_path: Path) -> None:
    for count in range(1, 13):
        newest = make(tmp_path)
        assert (tmp_path / "local").resolve() == newest
        assert run_folders.current(tmp_path).resolve() == newest
        assert len(numbers(tmp_path)) == count
    assert numbers(tmp_path) == list(range(12, 0, -1))
    assert all((run / "1" / "out.csv").read_text() == run.name for run in run_folders.runs(tmp_path))


def test_the_oldest_are_removed(tmp_path: Path) -> None:
    for _ in range(5):
        make(tmp_path, keep=3)
    assert numbers(tmp_path) == [5, 4, 3]
    make(tmp_path, keep=1)
    assert numbers(tmp_path) == [6]


def test_runs_that_start_nothing_remove_no_results(tmp_path: Path) -> None:
    make(tmp_path, keep=3)
    make(tmp_path, keep=3)
    for _ in range(20):
        make(tmp_path, keep=3, start=False)
    assert numbers(tmp_path) == [22, 2, 1]
    assert run_folders.to_resume(tmp_path).name.endswith("-2")


def test_a_folder_of_an_older_version_becomes_a_run(tmp_path: Path) -> None:
    (tmp_path / "local" / "4").mkdir(parents=True)
    (tmp_path / "local" / "4" / "out.csv").write_text("404 rows")
    assert run_folders.to_resume(tmp_path) == tmp_path / "local"
    warnings: list[str] = []
    folder = run_folders.new_run(tmp_path, warnings.append)
    assert str(tmp_path / "runs") in warnings[0]
    run_folders.make_run(folder, fill)
    assert numbers(tmp_path) == [2, 1]
    assert (run_folders.runs(tmp_path)[1] / "4" / "out.csv").read_text() == "404 rows"


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_a_file_in_the_way_is_named(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "local").touch()
    else:
        (tmp_path / "local").symlink_to("/tmp" if kind == "link" else "elsewhere")
    with pytest.raises(UserError, match=r"local must be a link to the newest run, or not exist; it is a (link to|file)"):
        run_folders.new_run(tmp_path, lambda text: None)


def test_a_link_to_a_run_that_was_removed_does_not_hinder_a_new_one(tmp_path: Path) -> None:
    shutil.rmtree(make(tmp_path))
    make(tmp_path)
    assert (tmp_path / "local" / "1").is_dir()


def test_other_names_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes", "2026-01-01", "2026-01-01-x", "2026-01-01-٣"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "2026-01-01-7").touch()
    make(tmp_path, keep=1)
    make(tmp_path, keep=1)
    assert numbers(tmp_path) == [2]
    assert len(list((tmp_path / "runs").iterdir())) == 6


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE])
def test_a_failure_leaves_the_old_content(tmp_path: Path, error: int) -> None:
    before = make(tmp_path)
    nth, failed = 0, True
    while failed:
        nth += 1
        fault = FailNth(nth, error)
        folder = run_folders.new_run(tmp_path, lambda text: None)
        with durable.interpose(fault):
            try:
                run_folders.make_run(folder, fill)
            except UserError:
                assert run_folders.runs(tmp_path)[-1] == before
                assert (before / "1" / "out.csv").exists()
                assert not folder.exists()
                assert not [path for path in tmp_path.iterdir() if path.name.startswith(durable.UNFINISHED)]
        failed = fault.failed > 0
    assert nth > 5
    assert os.readlink(tmp_path / "local") == f"runs/{folder.name}"


def test_the_newest_snapshot_is_not_chosen_by_the_clock(tmp_path: Path) -> None:
    for date in ("2026-11-29", "1970-01-01", "2030-01-01", "2000-01-01"):
        newest = make(tmp_path, keep=2, date=date)
    assert [path.name for path in run_folders.runs(tmp_path)] == ["2000-01-01-4", "2030-01-01-3"]
    assert run_folders.to_resume(tmp_path) == newest
