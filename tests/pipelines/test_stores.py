"""FileStore and SQLStore: a document's values, saved by several processes and more than once; on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import errno
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, create_engine, event

from fission.adapters import sqlalchemy_results
from fission.durable import interpose
from fission.errors import UserError
from fission.pipelines.stores import FileStore, SQLStore
from tests.disk_faults import FailNth
from tests.pipelines.postgres import Postgres

KINDS = ["file", "sqlite", "postgresql"]


@pytest.fixture(params=KINDS)
def made_of(request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres) -> tuple[str, str]:
    if request.param == "postgresql":
        return "sql", postgres.database()
    return ("file", str(tmp_path / "documents")) if request.param == "file" else ("sql", str(tmp_path / "results.sqlite"))


def make(kind: str, place: str) -> Any:
    return FileStore(place) if kind == "file" else SQLStore(place)


@pytest.fixture
def store(made_of: tuple[str, str]) -> Iterator[Any]:
    found = make(*made_of)
    yield found
    close(found)


def close(store: Any) -> None:
    if isinstance(store, SQLStore):
        store.close()


def info(worker: str, requires: list[str], job: str, **more: Any) -> dict[str, Any]:
    return {"worker": worker, "worker_requires": requires, "data": {"document": "d/1", "url": "u"}, "job id": job, **more}


def test_values_come_from_the_document_and_else_from_the_data(store: Any) -> None:
    assert store.retrieve(info("A", ["url"], "p-0")) == {"url": "u"}
    store.save(info("A", ["url"], "p-0", worker_result={"text": "ä\0", "length": 2, "url": "other"}))
    assert store.retrieve(info("B", ["text", "url"], "p-1")) == {"text": "ä\0", "url": "other"}
    assert store.values("d/1") == {"text": "ä\0", "length": 2, "url": "other"}
    assert store.values("nothing") == {}


def test_a_job_that_was_run_twice_adds_its_values_once(store: Any) -> None:
    store.save(info("A", [], "p-0", worker_result={"n": 1}))
    store.save(info("B", [], "p-1", worker_result={"n": 2}))
    store.save(info("A", [], "p-0", worker_result={"n": 3}))
    assert store.values("d/1") == {"n": 2}


def test_tables_that_another_process_makes_at_the_same_moment(tmp_path: Path) -> None:
    """Each one right between the look whether it is there and its making."""
    other = create_engine(f"sqlite:///{tmp_path / 'results.sqlite'}")
    made: list[str] = []

    def make_it_first(table: Table, connection: Any, **keywords: Any) -> None:
        if table.name not in made:
            made.append(table.name)
            table.create(other)

    tables = list(sqlalchemy_results.META.sorted_tables)
    for table in tables:
        event.listen(table, "before_create", make_it_first)
    try:
        store = make("sql", str(tmp_path / "results.sqlite"))
        assert sorted(made) == sorted(table.name for table in tables)
        store.save(info("A", [], "p-0", worker_result={"n": 1}))
        assert store.values("d/1") == {"n": 1}
        close(store)
    finally:
        for table in tables:
            event.remove(table, "before_create", make_it_first)
        other.dispose()


def save_some(kind: str, place: str, first: int) -> None:
    store = make(kind, place)
    for number in range(first, first + 20):
        store.save(info("A", [], f"p-{number}", worker_result={f"n{number}": number}))
    close(store)


@pytest.mark.slow
def test_processes_that_save_into_one_document_lose_nothing(made_of: tuple[str, str]) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=save_some, args=(*made_of, first)) for first in (0, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(40)
        assert process.exitcode == 0
    store = make(*made_of)
    assert store.values("d/1") == {f"n{number}": number for number in range(40)}
    close(store)


def test_mistakes_are_reported(store: Any) -> None:
    with pytest.raises(KeyError, match="A requires 'text'; the document 'd/1' has nothing"):
        store.retrieve(info("A", ["text"], "p-0"))
    with pytest.raises(TypeError, match=r"A\.process must return a dict"):
        store.save(info("A", [], "p-0", worker_result=3))
    with pytest.raises(KeyError, match="must name its document, but are None"):
        store.retrieve({**info("A", [], "p-0"), "data": None})
    with pytest.raises(TypeError):
        store.save(info("A", [], "p-0", worker_result={"x": object()}))
    assert store.values("d/1") == {}


def test_monitoring_is_kept(store: Any, made_of: tuple[str, str]) -> None:
    store.save_monitoring({"timestamp": 1.5, "host": {}})
    store.save_monitoring({"timestamp": 2.5, "host": {}})
    if isinstance(store, SQLStore):
        assert [row["timestamp"] for row in store.monitoring()] == [2.5, 1.5]
    else:
        assert len((Path(made_of[1]) / "monitoring.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("postgresql://stranger@127.0.0.1:1/none", "cannot be used as a store: connection failed"),
        ("://", "is not the URL of a database"),
        ("/proc/none/file.sqlite", "cannot be used as a store: unable to open database file"),
    ],
)
def test_a_store_that_cannot_be_opened(place: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SQLStore(place)


def test_a_folder_is_the_intended_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a job makes the current folder afterwards."""
    monkeypatch.chdir(tmp_path)
    files, table = FileStore("docs"), SQLStore("results.sqlite")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for store in (files, table):
        store.save(info("A", [], "p-0", worker_result={"n": 1}))
        assert store.values("d/1") == {"n": 1}
    table.close()
    assert (tmp_path / "docs" / "d%2F1.json").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_document_is_whole_and_synced_or_as_before(tmp_path: Path) -> None:
    """Each operation on the disk fails once, in turn: `save` raises, and the document has all of the last result or all of this one."""
    number = 0
    while True:
        number += 1
        store = FileStore(tmp_path / f"docs{number}")
        store.save(info("A", [], "p-0", worker_result={"old": "x" * 5000}))
        fault = FailNth(number, errno.ENOSPC, half=True)
        with interpose(fault):
            try:
                store.save(info("B", [], "p-1", worker_result={"new": "y" * 5000}))
                saved = True
            except OSError:
                saved = False
        values = store.values("d/1")
        assert values.keys() in ({"old"}, {"old", "new"})
        assert not saved or "new" in values
        if not fault.failed:
            break
        store.save(info("B", [], "p-1", worker_result={"new": "y" * 5000}))
        assert store.values("d/1").keys() == {"old", "new"}
    assert number > 3
    kinds = [kind for kind, _ in fault.seen]
    assert "rename" in kinds
    assert kinds.index("fsync") < kinds.index("rename"), "or the Router may know of a document that a power cut has emptied"


def synced(folder: Path) -> list[tuple[str, str]]:
    return [("open", str(folder)), ("fsync", str(folder))]


def test_what_a_failed_save_has_left_is_synced_before_it_counts(tmp_path: Path) -> None:
    """The file was renamed, but the disk did not confirm that; the same holds for a new folder."""
    folder = tmp_path / "new/docs"
    made = FailNth(0, 0, times=0)
    with interpose(made):
        store = FileStore(folder)
    assert made.seen == [("mkdir", str(folder.parent)), *synced(tmp_path), ("mkdir", str(folder)), *synced(folder.parent)]
    saved = FailNth(0, 0, times=0)
    with interpose(saved):
        store.save(info("A", [], "p-0", worker_result={"a": 1}))
    assert saved.seen[-1] == ("fsync", str(folder))
    with interpose(FailNth(len(saved.seen), errno.EIO)), pytest.raises(OSError, match="Input/output error"):
        store.save(info("B", [], "p-1", worker_result={"b": 2}))
    assert store.values("d/1") == {"a": 1, "b": 2}
    again = FailNth(0, 0, times=0)
    with interpose(again):
        store.save(info("B", [], "p-1", worker_result={"b": 2}))
    assert again.seen == synced(folder)


@pytest.mark.parametrize("text", ["", "{", '{"values": {}', "[]", '{"values": 3, "jobs": []}'])
def test_a_damaged_document_is_named(tmp_path: Path, text: str) -> None:
    store = FileStore(tmp_path)
    (tmp_path / "d%2F1.json").write_text(text)
    for call in (lambda: store.values("d/1"), lambda: store.save(info("A", [], "p-0", worker_result={"n": 1}))):
        with pytest.raises(OSError, match=r"d%2F1.json is"):
            call()
    assert (tmp_path / "d%2F1.json").read_text() == text
