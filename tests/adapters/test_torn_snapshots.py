"""The power fails while a snapshot is written over an older one: what was confirmed is found again, and nothing else.

A device may have any part of what was not synced: of a file's content and of the names of files. `Device` builds what a power cut at
an operation can leave; three broken stores show that the tests catch what they are for.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fission import durable
from fission.adapters import file_checkpoints
from fission.adapters.file_checkpoints import FileCheckpoints
from fission.durable import Label, Number, snapshot_files
from fission.ports import JobId
from tests.disk_faults import FailNth

JOB = JobId(3)
SECTOR_BYTES = 512


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no device: `Device` stands for it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr("fission.durable.files._fdatasync", lambda descriptor: None)


def state(number: Number) -> bytes:
    """The state of a snapshot; of different lengths, none of which has a page of its own."""
    return b"%d.%d " % number * (number[1] % 40)


@dataclass
class Device:
    """A hook for `durable.interpose` that knows what is synced in a job's folder.

    Attributes:
        folder: the folder.
        cut: called with each folder that a power cut may leave while a file is overwritten.
        cuts: bytes after which the overwritten file may be cut; None for all that differ.
    """

    folder: Path
    cut: Callable[[Path], None]
    rng: random.Random
    every_byte: bool
    cuts: int = 0
    before: dict[Path, bytes] = field(default_factory=dict)
    names: list[dict[int, str]] = field(default_factory=list)  # that the folder may have, by inode; the newest is the current one

    def __call__(self, operation: str, path: Path) -> None:
        if self.folder not in (path, path.parent):
            return
        if path == self.folder and operation == "fsync":
            self.names = []
        elif operation == "rename" and self.folder.exists():
            self.names.append({file.stat().st_ino: file.name for file in self.folder.iterdir()})
        elif operation == "write" and path.name.startswith("spare-"):
            self.before[path] = path.read_bytes()
        elif operation == "fsync" and path in self.before:
            self._cut(path, self.before.pop(path), path.read_bytes())

    def _cut(self, path: Path, before: bytes, after: bytes) -> None:
        mixtures = sorted(set(self._mixtures(before, after)))
        for content in mixtures if self.every_byte else self.rng.sample(mixtures, 3):
            for names in (None, *(self.names[:1] if self.every_byte else self.rng.sample(self.names, min(2, len(self.names))))):
                left = self.folder.parent / "left" / str(JOB)
                shutil.rmtree(left.parent, ignore_errors=True)
                left.mkdir(parents=True)
                for file in self.folder.iterdir():
                    name = file.name if names is None else names.get(file.stat().st_ino, file.name)
                    (left / name).write_bytes(content if file == path else file.read_bytes())
                self.cut(left.parent)
                self.cuts += 1

    def _mixtures(self, before: bytes, after: bytes) -> Iterator[bytes]:
        for place in range(len(after) + 1):
            yield after[:place] + before[place:]
            yield before[:place] + after[place:]
        for _ in range(20):
            sectors = range(0, len(after), SECTOR_BYTES)
            yield b"".join(self.rng.choice((before, after))[place : place + SECTOR_BYTES] for place in sectors)


class Confirmed:
    """The snapshots that a store has confirmed, and what must be found after a power cut."""

    def __init__(self) -> None:
        self.numbers: set[Number] = set()
        self.stable: Number = (0, 0)
        self.cuts = 4

    def check(self, folder: Path) -> None:
        """Assert that a new store finds them, before and after it has begun to write."""
        self.cuts += 1
        store = FileCheckpoints(folder)
        self._check(store, "at first")
        if self.cuts % 5:
            return
        read = Path(store.folder(JOB))
        self._check(store, "with their names")
        for generation, block in store.numbers(JOB):
            assert durable.read_snapshot(read / f"{generation}.{block}", (generation, block)) == state((generation, block))
        number = (9, 1)
        store.put(JOB, *number, state(number))
        store.prune(JOB, *number)
        assert FileCheckpoints(folder).load(JOB)[-1] == (*number, state(number))

    def _check(self, store: FileCheckpoints, when: str) -> None:
        found = store.load(JOB)
        wrong = [one for one in found if one[2] != state(one[:2])]
        assert not wrong, f"{when}: a state that was never stored"
        missing = {number for number in self.numbers if number >= self.stable} - {found[:2] for found in found}
        assert not missing, f"{when}: confirmed snapshots are missing"
        assert store.damaged(JOB) == {}, f"{when}: a snapshot that was never confirmed counts as damaged"


def run_snapshots(folder: Path, *, every_byte: bool, seed: int = 0, steps: int = 9) -> int:
    """Store snapshots, one of which becomes stable now and then, with power cuts at each overwrite; return their number."""
    rng, confirmed, store = random.Random(seed), Confirmed(), FileCheckpoints(folder)
    device = Device(folder / str(JOB), confirmed.check, rng, every_byte)
    block = 0
    for _ in range(steps):
        block += rng.randint(1, 30)
        number = (block // 100, block)
        with durable.interpose(device):
            store.put(JOB, *number, state(number))
        confirmed.numbers.add(number)
        if rng.random() < 0.8:
            confirmed.stable = rng.choice(sorted(each for each in confirmed.numbers if each >= confirmed.stable))
            with durable.interpose(device):
                store.prune(JOB, *confirmed.stable)
    return device.cuts


def test_an_overwrite_that_is_torn_at_any_byte_is_never_a_snapshot(tmp_path: Path) -> None:
    assert run_snapshots(tmp_path, every_byte=True, steps=7) > 500


@pytest.mark.parametrize("seed", range(4))
def test_confirmed_snapshots_survive_random_power_cuts(tmp_path: Path, seed: int) -> None:
    assert run_snapshots(tmp_path, every_byte=False, seed=seed, steps=25) > 20


def test_a_store_without_checksums_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoChecksums:
        crc32 = staticmethod(lambda data, value=0: 0)

    monkeypatch.setattr(snapshot_files, "zlib", NoChecksums)
    with pytest.raises(AssertionError, match="never stored"):
        run_snapshots(tmp_path, every_byte=True)


def test_a_checksum_without_the_header_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OfTheState:
        @staticmethod
        def crc32(data: bytes, value: int = 0) -> int:
            return 0 if bytes(data[:4]) == b"FSNs" else zlib.crc32(data, value)

    monkeypatch.setattr(snapshot_files, "zlib", OfTheState)
    with pytest.raises(AssertionError, match="never stored"):
        run_snapshots(tmp_path, every_byte=True)


def test_a_store_that_uses_a_file_again_at_once_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class AtOnce(file_checkpoints._JobFiles):
        def stable(self, number: Number) -> list[Number]:
            self._recorded = max(self._recorded, number)
            return super().stable(number)

    monkeypatch.setattr(file_checkpoints, "_JobFiles", AtOnce)
    with pytest.raises(AssertionError, match="counts as damaged"):
        run_snapshots(tmp_path, every_byte=True)


def test_a_store_that_trusts_names_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_name(path: Path) -> tuple[Label | None, int]:
        label, size = snapshot_files.read_label(path)
        number = file_checkpoints._number(path.name)
        return (label if label is None or number is None else replace(label, number=number)), size

    monkeypatch.setattr(durable, "read_label", by_name)
    with pytest.raises(AssertionError, match=r"missing|damaged|never stored"):
        run_snapshots(tmp_path, every_byte=True)


# -- the store itself


def in_use(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_ino for file in (folder / str(JOB)).iterdir()}


def test_files_are_used_again_and_their_number_stays_small(tmp_path: Path) -> None:
    store, inodes = FileCheckpoints(tmp_path), set()
    for block in range(1, 100):
        store.put(JOB, 0, block, b"x" * (block % 7))
        store.prune(JOB, 0, block)
        inodes |= set(in_use(tmp_path).values())
        assert store.load(JOB) == [(0, block, b"x" * (block % 7))]
    assert len(inodes) <= 4


def test_no_file_is_made_where_several_are_written_and_become_stable_together(tmp_path: Path) -> None:
    """As where windows are full: four are under way, and the outputs of several are released at once."""
    store, inodes = FileCheckpoints(tmp_path), []
    for block in range(0, 400, 4):
        for each in range(block, block + 4):
            store.put(JOB, 0, each, b"x")
        store.prune(JOB, 0, max(0, block - 5))
        inodes.append(set(in_use(tmp_path).values()))
    assert inodes[10] == inodes[-1]
    assert len(inodes[-1]) <= file_checkpoints.SPARES


def test_states_that_grow_get_new_files_and_those_of_old_ones_are_given_back(tmp_path: Path) -> None:
    store = FileCheckpoints(tmp_path)
    for block in range(1, 60):
        content = bytes(1000 + 3000 * block)
        store.put(JOB, 0, block, content)
        store.prune(JOB, 0, block)
        assert store.load(JOB) == [(0, block, content)]
    assert len(in_use(tmp_path)) <= 1 + file_checkpoints.SPARES


def test_large_files_are_deleted(tmp_path: Path) -> None:
    store, content = FileCheckpoints(tmp_path), bytes(file_checkpoints.REUSED_BYTES)
    for block in (1, 2):
        store.put(JOB, 0, block, content)
    store.prune(JOB, 0, 2)
    assert list(in_use(tmp_path)) == ["0.2"]
    assert FileCheckpoints(tmp_path).load(JOB) == [(0, 2, content)]


@pytest.mark.parametrize("operation", ["open", "write", "fsync", "rename"])
def test_a_file_that_could_not_be_overwritten_is_never_used_again(tmp_path: Path, operation: str) -> None:
    """After a sync that has failed, the kernel may report success though the device lacks the data."""
    store = FileCheckpoints(tmp_path)
    for block in range(1, 5):
        store.put(JOB, 0, block, b"%d" % block)
        store.prune(JOB, 0, block)
    before = in_use(tmp_path)
    failed: list[Path] = []

    def fail(name: str, path: Path) -> None:
        if name == operation and (name == "rename" or path.name.startswith("spare-")):
            failed.append(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    with durable.interpose(fail), pytest.raises(OSError, match="Input/output error"):
        store.put(JOB, 0, 5, b"5")
    assert len(failed) == 1
    assert len(set(before.values()) - set(in_use(tmp_path).values())) == 1
    for found in (store, FileCheckpoints(tmp_path)):
        assert found.load(JOB) == [(0, 4, b"4")]
    for block in range(5, 20):
        store.put(JOB, 0, block, b"%d" % block)
        store.prune(JOB, 0, block)
        assert store.load(JOB) == [(0, block, b"%d" % block)]


@pytest.mark.parametrize("nth", range(1, 25))
def test_any_operation_that_fails_leaves_what_was_confirmed(tmp_path: Path, nth: int) -> None:
    store, confirmed = FileCheckpoints(tmp_path), Confirmed()
    fault = FailNth(nth, errno.ENOSPC, half=True)
    with durable.interpose(fault):
        for block in range(1, 9):
            number = (0, block)
            try:
                store.put(JOB, *number, state(number))
            except OSError:
                continue
            confirmed.numbers.add(number)
            confirmed.stable = number
            try:
                store.prune(JOB, *number)
            except OSError:
                continue
    assert fault.failed
    confirmed.check(tmp_path)


def test_files_of_the_format_before_are_read_and_replaced(tmp_path: Path) -> None:
    (tmp_path / str(JOB)).mkdir()
    for block in (5, 6):
        durable.write_record(tmp_path / str(JOB) / f"0.{block}", b"old %d" % block)
    (tmp_path / str(JOB) / "0.7").write_bytes(b"")
    store = FileCheckpoints(tmp_path)
    assert store.load(JOB) == [(0, 5, b"old 5"), (0, 6, b"old 6")]
    assert list(store.damaged(JOB)) == [(0, 7)]
    assert b"".join(store.pieces(JOB, 0, 5)) == b"old 5"
    read = Path(store.folder(JOB))
    assert durable.read_snapshot(read / "0.6", (0, 6)) == b"old 6"
    store.put(JOB, 0, 8, b"new")
    assert FileCheckpoints(tmp_path).load(JOB) == [(0, 5, b"old 5"), (0, 6, b"old 6"), (0, 8, b"new")]
    store.prune(JOB, 0, 8)
    assert sorted(in_use(tmp_path)) == ["0.8"]


def test_a_snapshot_under_the_name_of_another_one_is_refused(tmp_path: Path) -> None:
    store = FileCheckpoints(tmp_path)
    store.put(JOB, 0, 5, b"five")
    os.replace(tmp_path / str(JOB) / "0.5", tmp_path / str(JOB) / "0.6")
    assert "after block 5 of generation 0" in store.damaged(JOB)[0, 6]
    assert store.load(JOB) == []


@pytest.mark.parametrize("name", ["spare-1.0.3", "0.2"])
def test_what_cannot_be_read_for_now_is_not_deleted(tmp_path: Path, name: str) -> None:
    """After a power cut, a confirmed snapshot may have the name of an older one; too many open files are no damage."""
    store = FileCheckpoints(tmp_path)
    for block in (3, 4):
        store.put(JOB, 0, block, b"%d" % block)
        store.prune(JOB, 0, block)
    for block in (5, 7):  # 5 says that those before 4 are not needed
        store.put(JOB, 0, block, b"%d" % block)
    os.replace(tmp_path / str(JOB) / "0.7", tmp_path / str(JOB) / name)

    def fail(operation: str, path: Path) -> None:
        if path.name == name and operation == "open":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    with durable.interpose(fail):
        later = FileCheckpoints(tmp_path)
        later.put(JOB, 0, 6, b"6")
    assert FileCheckpoints(tmp_path).load(JOB) == [(0, block, b"%d" % block) for block in (4, 5, 6, 7)]


def test_the_file_of_a_number_that_is_written_again_may_be_pruned_at_any_operation(tmp_path: Path) -> None:
    """A job that began at an older snapshot repeats a number; its first file, whose size is known, was larger."""
    for nth in range(1, 9):
        store = FileCheckpoints(tmp_path / str(nth))
        store.put(JOB, 0, 1, b"1")
        store.put(JOB, 0, 2, bytes(9 * durable.PAGE_BYTES))
        store.put(JOB, 0, 4, b"4")
        operations = 0

        def prune(operation: str, path: Path, store: FileCheckpoints = store, nth: int = nth) -> None:
            nonlocal operations
            operations += 1
            if operations == nth:
                store.prune(JOB, 0, 4)

        with durable.interpose(prune):
            store.put(JOB, 0, 2, b"smaller")
        for block in range(5, 12):
            store.put(JOB, 0, block, content := bytes(8 * durable.PAGE_BYTES))
            store.prune(JOB, 0, block)
            for found in (store, FileCheckpoints(tmp_path / str(nth))):
                assert found.load(JOB) == [(0, block, content)]


@pytest.mark.parametrize("left", [0, 1, durable.PAGE_BYTES, 3 * durable.PAGE_BYTES])
def test_a_file_that_another_program_has_cut_is_used_again(tmp_path: Path, left: int) -> None:
    store = FileCheckpoints(tmp_path)
    content = bytes(3 * durable.PAGE_BYTES)
    for block in range(1, 5):
        store.put(JOB, 0, block, content)
        store.prune(JOB, 0, block)
    for path in (tmp_path / str(JOB)).glob("spare-*"):
        os.truncate(path, left)
    for block in range(5, 9):
        store.put(JOB, 0, block, content)
        store.prune(JOB, 0, block)
        for found in (store, FileCheckpoints(tmp_path)):
            assert found.load(JOB) == [(0, block, content)]
