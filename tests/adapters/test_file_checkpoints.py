"""Snapshots as files."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fission import durable
from fission.adapters.file_checkpoints import FileCheckpoints
from tests.disk_faults import FailNth


@pytest.fixture
def store(tmp_path: Path) -> FileCheckpoints:
    return FileCheckpoints(tmp_path / "not/there/yet")


def test_an_empty_store_creates_no_files(store: FileCheckpoints, tmp_path: Path) -> None:
    assert store.load(1) == []
    store.prune(1, 0, 5)
    assert list(tmp_path.iterdir()) == []


def test_snapshots_are_listed_in_the_order_of_their_numbers(store: FileCheckpoints) -> None:
    for generation, block in ((0, 100), (0, 9), (1, 2), (0, 20), (10, 0), (2, 0)):
        store.put(3, generation, block, b"%d.%d" % (generation, block))
    assert [entry[:2] for entry in store.load(3)] == [(0, 9), (0, 20), (0, 100), (1, 2), (2, 0), (10, 0)]
    assert all(state == b"%d.%d" % (generation, block) for generation, block, state in store.load(3))


def test_jobs_do_not_see_each_other(store: FileCheckpoints) -> None:
    store.put(1, 0, 5, b"one")
    store.put(11, 0, 5, b"eleven")
    store.prune(1, 9, 9)
    assert (store.load(1), store.load(11)) == ([], [(0, 5, b"eleven")])


def test_prune_keeps_the_given_snapshot_and_later_ones(store: FileCheckpoints) -> None:
    for generation, block in ((0, 5), (0, 50), (1, 0), (1, 7), (1, 8)):
        store.put(1, generation, block, b"")
    store.prune(1, 1, 7)
    assert [entry[:2] for entry in store.load(1)] == [(1, 7), (1, 8)]
    store.prune(1, 1, 7)
    assert [entry[:2] for entry in store.load(1)] == [(1, 7), (1, 8)]


def test_the_same_number_again_replaces_it(store: FileCheckpoints) -> None:
    store.put(1, 0, 5, b"long" * 1000)
    store.put(1, 0, 5, b"short")
    assert store.load(1) == [(0, 5, b"short")]


def test_another_store_in_the_same_folder_finds_it(tmp_path: Path) -> None:
    FileCheckpoints(tmp_path).put(1, 0, 5, b"kept")
    assert FileCheckpoints(tmp_path).load(1) == [(0, 5, b"kept")]


@pytest.mark.parametrize("nth", range(1, 5))
def test_a_failure_while_it_is_written_leaves_the_old_content(store: FileCheckpoints, nth: int) -> None:
    store.put(1, 0, 5, b"whole")
    with durable.interpose(FailNth(nth, errno.ENOSPC)), pytest.raises(OSError, match="No space left"):
        store.put(1, 0, 6, b"half")
    assert store.load(1) == [(0, 5, b"whole")]
    store.put(1, 0, 6, b"all of it")
    assert store.load(1) == [(0, 5, b"whole"), (0, 6, b"all of it")]


def test_values_that_are_kept_stand_beside_the_snapshots(store: FileCheckpoints, tmp_path: Path) -> None:
    assert store.kept(1) == {}
    store.put(1, 0, 5, b"snapshot")
    for pipe, group in ((7, b"old"), (7, b"new"), (70, b"")):
        store.keep(1, pipe, group)
    store.keep(2, 7, b"of another job")
    store.prune(1, 9, 9)
    assert FileCheckpoints(tmp_path / "not/there/yet").kept(1) == {7: b"new", 70: b""}
    assert store.load(1) == []


@pytest.mark.parametrize("nth", range(1, 5))
def test_a_failure_while_a_value_is_written_leaves_the_old_one(store: FileCheckpoints, nth: int) -> None:
    store.keep(1, 7, b"whole")
    with durable.interpose(FailNth(nth, errno.ENOSPC)), pytest.raises(OSError, match="No space left"):
        store.keep(1, 7, b"half")
    assert (store.kept(1), store.load(1)) == ({7: b"whole"}, [])


def damaged_versions(content: bytes) -> Iterator[bytes]:
    """Cut at every byte, with every bit flipped, and replaced by other content; in the middle of a long one, at every 50th byte."""
    places = [place for place in range(len(content)) if place < 120 or len(content) - place < 10 or not place % 50]
    yield from (content[:length] for length in places)
    for place in places:
        for bit in range(8):
            yield content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
    yield from (content + b"x", content * 2, b"garbage", b"\0" * len(content))


def test_a_damaged_snapshot_is_ignored_and_named(store: FileCheckpoints, tmp_path: Path) -> None:
    store.put(1, 0, 5, b"five")
    store.put(1, 0, 6, b"a state")
    path = tmp_path / "not/there/yet/1/0.6"
    for content in damaged_versions(path.read_bytes()):
        path.write_bytes(content)
        assert store.load(1) == [(0, 5, b"five")], content
        assert list(store.damaged(1)) == [(0, 6)]
        assert str(path) in store.damaged(1)[0, 6]
    path.unlink()
    path.mkdir()
    assert store.load(1) == [(0, 5, b"five")]
    assert "Is a directory" in store.damaged(1)[0, 6]


def test_a_damaged_value_is_refused(store: FileCheckpoints, tmp_path: Path) -> None:
    store.keep(1, 7, b"word")
    path = tmp_path / "not/there/yet/1/kept-7"
    for content in damaged_versions(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(durable.DamagedFileError, match="kept-7 is damaged"):
            store.kept(1)


def test_stray_files_are_ignored(store: FileCheckpoints, tmp_path: Path) -> None:
    store.put(1, 0, 5, b"five")
    store.keep(1, 7, b"word")
    for name in ("note.txt", "0.6~", "0.6.bak", "1", "kept-", "kept-x", ".new-00", "new", "01.5", "٣.5", "0.-1"):
        (tmp_path / "not/there/yet/1" / name).write_bytes(b"stray")
    (tmp_path / "not/there/yet/1/folder").mkdir()
    assert (store.load(1), store.kept(1), store.damaged(1)) == ([(0, 5, b"five")], {7: b"word"}, {})
    store.prune(1, 1, 0)
    assert store.load(1) == []
    assert (tmp_path / "not/there/yet/1/note.txt").exists()


def test_pieces_are_the_state(store: FileCheckpoints) -> None:
    state = bytes(range(256)) * 12345
    store.put(1, 0, 5, state)
    pieces = list(store.pieces(1, 0, 5))
    assert len(pieces) > 1
    assert b"".join(pieces) == state


Numbers = st.tuples(st.integers(1, 2), st.integers(0, 3), st.integers(0, 12))


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(["put", "put", "prune"]), Numbers, st.binary(max_size=20)), max_size=25))
def test_it_is_a_dictionary(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, tuple[int, int, int], bytes]]) -> None:
    store, model = FileCheckpoints(tmp_path_factory.mktemp("store")), {}
    for what, (job, generation, block), state in steps:
        if what == "put":
            store.put(job, generation, block, state)
            model[job, generation, block] = state
        else:
            store.prune(job, generation, block)
            model = {key: kept for key, kept in model.items() if key[0] != job or key[1:] >= (generation, block)}
        for each in (1, 2):
            assert store.load(each) == [(*key[1:], state) for key, state in sorted(model.items()) if key[0] == each]
