"""The Router's store: the contract of `fission.pipelines.ports.PipelineStore`, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fission.adapters.sqlalchemy_store import SqlPipelines
from fission.errors import UserError
from fission.protocol.pipeline_records import EndRecord, JobRecord, NewPipeline
from tests.pipelines.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres) -> str:
    return postgres.database() if request.param == "postgresql" else str(tmp_path / "deep" / "state.sqlite")


@pytest.fixture
def store(place: str) -> Iterator[SqlPipelines]:
    found = SqlPipelines(place)
    yield found
    found.close()


def end(pipeline: str, state: str = "finished", error: str = "") -> EndRecord:
    return EndRecord(pipeline, state, 20.0, 2.5, error=error)


def ids(store: SqlPipelines) -> list[str]:
    return [name for name, _ in store.waiting()]


def test_pipelines_are_kept_in_order_and_once(store: SqlPipelines) -> None:
    store.add([NewPipeline("b", "{}", 1.0), NewPipeline("a", "{}", 2.0)])
    store.add([NewPipeline("a", "other", 3.0), NewPipeline("c", "{}", 4.0)])
    store.add([])
    assert ids(store) == ["b", "a", "c"]
    assert store.rows(["a", "nothing"])["a"].body == "{}"
    assert [row.pipeline for row in store.listed(None, None, 2)] == ["c", "a"]
    before = store.listed(None, None, 2)[-1].order
    assert [row.pipeline for row in store.listed(["waiting"], before, 2)] == ["b"]


def test_only_committed_changes_outlive_the_store(place: str) -> None:
    first = SqlPipelines(place)
    first.add([NewPipeline("a", "{}", 1.0)])
    first.record([JobRecord("a", 0, "finished", 1)])
    first.commit()
    first.add([NewPipeline("b", "{}", 1.0)])
    first.close()
    first.close()
    second = SqlPipelines(place)
    assert ids(second) == ["a"]
    assert second.jobs(["a"]) == {"a": [JobRecord("a", 0, "finished", 1)]}
    second.close()


def test_jobs_are_replaced_by_newer_ones(store: SqlPipelines) -> None:
    store.record([JobRecord("a", 1, "raised", 1, 0.5, "n", "e", "t"), JobRecord("a", 0, "finished", 1)])
    store.record(
        [JobRecord("a", 1, "raised", 2), JobRecord("a", 1, "finished", 3, 0.25, "m"), JobRecord("b", 0, "failed", 1, error="\0 \ud800")]
    )
    store.record([])
    assert store.jobs(["a", "c"]) == {"a": [JobRecord("a", 0, "finished", 1), JobRecord("a", 1, "finished", 3, 0.25, "m")]}
    assert store.jobs(["b"])["b"][0].error == "\\0 \\ud800"


def test_an_end_is_counted_once(store: SqlPipelines) -> None:
    assert store.last_end() == 0
    store.add([NewPipeline(name, "{}", 1.0) for name in "abc"])
    assert [(one.pipeline, one.number) for one in store.end([end("b"), end("a", "failed", "{}"), end("b"), end("nothing")])] == [
        ("b", 1),
        ("a", 2),
    ]
    assert store.end([end("a")]) == []
    assert ids(store) == ["c"]
    assert [(one.pipeline, one.state, one.number, one.error) for one in store.ended_since(0, 10)] == [
        ("b", "finished", 1, ""),
        ("a", "failed", 2, "{}"),
    ]
    assert [one.pipeline for one in store.ended_since(1, 10)] == ["a"]
    assert [one.pipeline for one in store.ended_since(0, 1)] == ["b"]
    assert [row.pipeline for row in store.listed(["failed"], None, 9)] == ["a"]
    assert store.last_end() == 2


def test_a_retried_pipeline_keeps_its_finished_jobs_and_ends_with_a_new_number(place: str) -> None:
    store = SqlPipelines(place)
    store.add([NewPipeline("a", "{}", 1.0)])
    assert not store.reopen("a")
    store.record([JobRecord("a", 0, "finished", 1), JobRecord("a", 1, "failed", 1)])
    store.end([end("a", "failed")])
    assert store.reopen("a")
    assert not store.reopen("a")
    assert ids(store) == ["a"]
    assert store.jobs(["a"]) == {"a": [JobRecord("a", 0, "finished", 1)]}
    assert store.ended_since(0, 10) == []
    store.commit()
    store.close()
    store = SqlPipelines(place)
    assert store.end([end("a")])[0].number == 2, "a number never comes back"
    store.close()


def test_workers_are_remembered(store: SqlPipelines) -> None:
    store.remember_workers(["A", "B"])
    store.remember_workers(["B", "C"])
    store.remember_workers([])
    assert store.known_workers() == {"A", "B", "C"}


def test_many_names_at_once(store: SqlPipelines) -> None:
    names = [f"p{number}" for number in range(3000)]
    store.add([NewPipeline(name, "{}", 1.0) for name in names])
    store.record([JobRecord(name, 0, "finished", 1) for name in names])
    assert len(store.rows(names)) == len(store.jobs(names)) == 3000
    assert len(store.end([end(name) for name in names])) == 3000
    assert store.waiting() == []


@pytest.mark.slow
def test_a_second_router_is_refused(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fission.adapters.sqlalchemy_store.opening.LOCK_WAIT_S", 0.3)
    first = SqlPipelines(place)
    with pytest.raises(UserError, match="belongs to another Router that is running: there can be only one"):
        SqlPipelines(place)
    first.close()
    SqlPipelines(place).close()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("/proc/none/state.sqlite", "where the Router keeps its pipelines, cannot be used: .*; name another file"),
        ("postgresql://stranger@127.0.0.1:1/none", "cannot be used: connection failed"),
        ("mysql://host/name", "keeps its pipelines in SQLite or PostgreSQL, not in mysql"),
        ("://", "is not the URL of a database"),
    ],
)
def test_a_place_that_cannot_be_used(place: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SqlPipelines(place)


def test_a_file_that_is_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database" * 200)
    with pytest.raises(UserError, match="file is not a database"):
        SqlPipelines(str(tmp_path / "notes.txt"))
