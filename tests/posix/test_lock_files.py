"""Who may not write a lock's file cannot hold the lock: another user could stop a Router, a Broker or a page."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fission.adapters.sqlalchemy_store import SqlPipelines
from fission.dashboard.recording_lock import one_at_a_time
from fission.pipelines.stores import FileStore
from fission.posix.lock_files import open_lock


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o600), (0o002, 0o660), (0o000, 0o660), (0o077, 0o600)])
def test_who_reads_it_can_write_it(tmp_path: Path, umask: Callable[[int], int], mask: int, expected: int) -> None:
    umask(mask)
    os.close(open_lock(tmp_path / "new"))
    assert mode(tmp_path / "new") == expected


@pytest.mark.parametrize(("there", "expected"), [(0o644, 0o600), (0o666, 0o660), (0o640, 0o600), (0o660, 0o660)])
def test_the_file_of_an_earlier_version_is_closed_to_others(tmp_path: Path, there: int, expected: int) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "old").chmod(there)
    os.close(open_lock(tmp_path / "old"))
    assert mode(tmp_path / "old") == expected


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        open_lock(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def use_router(folder: Path) -> None:
    SqlPipelines(str(folder / "router.sqlite")).close()


def use_store(folder: Path) -> None:
    info = {"worker": "A", "worker_requires": [], "worker_result": {"n": 1}, "data": {"document": "d"}, "job id": "p-0"}
    FileStore(folder / "docs").save(info)


def use_page(folder: Path) -> None:
    (folder / "recordings").mkdir()
    with one_at_a_time(folder / "recordings"):
        pass


@pytest.mark.parametrize("use", [use_router, use_store, use_page])
def test_locks_are_such_files(tmp_path: Path, umask: Callable[[int], int], use: Callable[[Path], None]) -> None:
    use(tmp_path)
    locks = [path for path in tmp_path.rglob("*") if "lock" in path.name]
    assert [mode(path) for path in locks] == [0o600]
