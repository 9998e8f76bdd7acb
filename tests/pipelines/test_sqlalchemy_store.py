"""The Router's store: the contract of `fission.pipelines.ports.PipelineStore`, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.dialects import sqlite

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


# -- numbers of pipelines by state --------------------------------------------------------------------------------------


def counted(store: SqlPipelines) -> dict[str, int]:
    """Return the numbers as the database has them."""
    found = dict.fromkeys(("waiting", "finished", "failed", "cancelled"), 0)
    for row in store.listed(None, None, 10_000):
        found[row.end.state if row.end else "waiting"] += 1
    return found


def test_each_change_is_counted_without_a_look_at_the_database(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqlPipelines(place)
    assert store.counts() == {"waiting": 0, "finished": 0, "failed": 0, "cancelled": 0}
    store.add([NewPipeline(name, "{}", 1.0) for name in "abcde"])
    store.add([NewPipeline(name, "{}", 1.0) for name in "dexx"])  # two are known, and one comes twice
    store.end([end("a"), end("b", "failed"), end("b"), end("c", "cancelled"), end("nothing")])
    store.end([end("a", "failed")])
    assert store.reopen("b")
    assert not store.reopen("b")
    assert not store.reopen("nothing")
    wanted = {"waiting": 4, "finished": 1, "failed": 0, "cancelled": 1}
    assert store.counts() == counted(store) == wanted
    store.commit()
    store.add([NewPipeline("lost", "{}", 1.0)])
    store.close()
    store = SqlPipelines(place)
    assert store.counts() == counted(store) == wanted, "what was not committed is not there"
    monkeypatch.setattr(store, "_read", lambda statement: pytest.fail("it reads the database"))
    assert store.counts() == wanted
    store.close()


class CountsWhatIsSent(SqlPipelines):
    """A broken one: pipelines that were accepted before are counted again."""

    def add(self, pipelines: Sequence[NewPipeline]) -> None:
        before = self._counts["waiting"]
        super().add(pipelines)
        self._counts["waiting"] = before + len(pipelines)


def test_a_store_that_counts_wrong_is_caught(tmp_path: Path) -> None:
    store = CountsWhatIsSent(str(tmp_path / "state.sqlite"))
    store.add([NewPipeline("a", "{}", 1.0)])
    store.add([NewPipeline("a", "{}", 1.0)])
    assert store.counts() != counted(store)
    store.close()


@pytest.mark.parametrize("states", [None, ["failed"], ["waiting"]])
def test_a_page_of_the_list_is_read_by_an_index(tmp_path: Path, states: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sorted, and nothing is read that is not shown: as fast with 100,000 pipelines."""
    store = SqlPipelines(str(tmp_path / "state.sqlite"))
    asked: list[str] = []
    read = store._read

    def explained(statement: Any) -> Any:
        text = str(statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
        asked.extend(row.detail for row in read(sqlalchemy.text(f"EXPLAIN QUERY PLAN {text}")))
        return read(statement)

    monkeypatch.setattr(store, "_read", explained)
    store.listed(states, 1000, 50)
    store.close()
    assert len(asked) == 1, asked
    assert asked[0].startswith("SEARCH fission_pipelines USING"), asked
