"""Databases that are unavailable for a while, full, locked, damaged or of an earlier version; on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random

import psycopg
import pytest

from fission.adapters.sqlalchemy_store import SqlPipelines
from fission.errors import UserError
from fission.pipelines.errors import StoreAway, StoreLost
from fission.protocol.pipeline_records import EndRecord, JobRecord, NewPipeline
from tests.pipelines.postgres import Postgres

Cut = Callable[[str], None]


KILL = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"


def cut_postgresql(place: str) -> None:
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute(KILL)


@contextlib.contextmanager
def away(place: str, store: SqlPipelines):  # type: ignore[no-untyped-def]
    """The database cannot be written as long as this lasts."""
    if place.startswith("postgresql"):
        cut_postgresql(place)
        yield
        return
    with contextlib.closing(sqlite3.connect(place, isolation_level=None)) as other:
        store._db.rollback()
        other.execute("begin immediate")
        yield


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres) -> str:
    return postgres.database() if request.param == "postgresql" else str(tmp_path / "state.sqlite")


def outlives(place: str, kind: type[SqlPipelines]) -> None:
    """What was written and not committed when the database went away is there in the end."""
    store = kind(place)
    store.add([NewPipeline(name, "{}", 1.0) for name in "abc"])
    store.commit()
    store.add([NewPipeline("d", "{}", 1.0, 7)])
    store.record([JobRecord("a", 0, "finished", 1)])
    (ended,) = store.end([EndRecord("a", "failed", 2.0, 1.0)])
    assert store.reopen("a")
    with away(place, store):
        if place.startswith("postgresql"):
            with pytest.raises(StoreAway):
                store.remember_workers(["A"])
        else:
            store._away = "as if it had failed"
        for call in (store.waiting, store.commit, lambda: store.rows(["a"]), lambda: store.end([]) or store.known_workers()):
            with pytest.raises(StoreAway):
                call()
        if not place.startswith("postgresql"):
            with pytest.raises(StoreAway, match="locked"):
                store.recover()
    store.recover()
    store.recover()
    store.remember_workers(["B"])
    store.commit()
    store.close()
    again = SqlPipelines(place)
    try:
        assert again.waiting() == [("a", 0), ("b", 0), ("c", 0), ("d", 7)]
        assert again.jobs(["a"]) == {"a": [JobRecord("a", 0, "finished", 1)]}
        assert again.known_workers() == {"B"}
        assert again.last_end() == ended.number
    finally:
        again.close()


def test_uncommitted_changes_are_written_again(place: str) -> None:
    outlives(place, SqlPipelines)


def test_a_store_that_forgets_it_is_caught(place: str) -> None:
    stores: list[SqlPipelines] = []

    class Forgets(SqlPipelines):
        def _write_again(self) -> None:
            stores.append(self)

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        outlives(place, Forgets)
    for store in stores:
        store.close()


def test_another_router_that_worked_meanwhile_is_noticed(postgres: Postgres) -> None:
    place = postgres.database()
    first = SqlPipelines(place)
    cut_postgresql(place)
    with pytest.raises(StoreAway):
        first.waiting()
    second = SqlPipelines(place)
    with pytest.raises(StoreAway, match="another Router"):
        first.recover()
    second.close()
    with pytest.raises(StoreLost, match="another Router has used"):
        first.recover()
    first.close()


def test_a_file_that_is_replaced_while_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    store = SqlPipelines(str(path))
    store._away = "as if it had failed"
    path.rename(tmp_path / "moved")
    with pytest.raises(StoreLost, match="was removed or replaced while the Router ran"):
        store.recover()
    store.close()


def test_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    store = SqlPipelines(str(tmp_path / "state.sqlite"))
    store._db.exec_driver_sql("pragma max_page_count=20")
    store._db.commit()
    kept = 0

    def fill() -> None:
        nonlocal kept
        while True:
            store.add([NewPipeline(f"p{kept}", "x" * 3000, 1.0)])
            store.commit()
            kept += 1

    with pytest.raises(StoreAway, match="full"):
        fill()
    store.recover()  # the limit belongs to the connection: there is room again
    store.add([NewPipeline(f"p{kept}", "x" * 3000, 1.0)])
    store.commit()
    assert len(store.waiting()) == kept + 1
    store.close()


def test_values_that_a_database_refuses_break_nothing_else(postgres: Postgres) -> None:
    store = SqlPipelines(postgres.database())
    store.add([NewPipeline("a", "{}", 1.0)])
    with pytest.raises(ValueError, match="the database rejected it"):
        store.add([NewPipeline("x" * 65, "{}", 1.0)])
    store.commit()
    assert store.waiting() == [("a", 0)]
    store.close()


def test_sqlite_syncs_each_commit(tmp_path: Path) -> None:
    store = SqlPipelines(str(tmp_path / "state.sqlite"))
    assert store._db.exec_driver_sql("pragma synchronous").scalar() == 2
    store.close()


# damage


def kept_in(store: SqlPipelines) -> object:
    waiting = [name for name, _ in store.waiting()]
    bodies = {name: row.body for name, row in store.rows(waiting).items()}
    jobs = {name: [(job.job, job.state) for job in records] for name, records in store.jobs(waiting).items()}
    ends = [(end.pipeline, end.state, end.number) for end in store.ended_since(0, 100)]
    return waiting, bodies, jobs, ends, store.known_workers()


@pytest.fixture
def sound(tmp_path: Path) -> tuple[Path, object]:
    path = tmp_path / "sound.sqlite"
    store = SqlPipelines(str(path))
    store.add([NewPipeline(f"p{number}", f'{{"jobs": [{number}], "text": "{"abcdef" * 60}"}}', 1.0) for number in range(40)])
    store.record([JobRecord(f"p{number}", job, "finished", 1) for number in range(0, 40, 2) for job in range(3)])
    store.end([EndRecord(f"p{number}", "finished", 2.0, 1.0) for number in range(0, 40, 4)])
    store.remember_workers(["A", "B"])
    store.commit()
    kept = kept_in(store)
    store.close()
    assert not Path(f"{path}-wal").exists()
    return path, kept


def refused_or_whole(path: Path, kept: object) -> bool:
    """Whether it was refused; what is not refused must be all that there was."""
    try:
        store = SqlPipelines(str(path))
    except UserError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert f"{path}, where the Router keeps its pipelines, is damaged: " in said
        assert "restore a copy" in said
        return True
    try:
        assert kept_in(store) == kept
    finally:
        store.close()
    return False


def damaged(sound: Path, number: int, change: Callable[[bytearray], bytes]) -> Path:
    path = sound.parent / f"damaged-{number}.sqlite"
    path.write_bytes(change(bytearray(sound.read_bytes())))
    Path(f"{path}.lock").touch()  # a Router has used it
    return path


def test_a_database_that_was_cut_is_refused(sound: tuple[Path, object]) -> None:
    path, kept = sound
    size = path.stat().st_size
    cuts = [0, 1, 99, 100, 512, *range(4096, size, 4096), *Random(1).sample(range(size), 5), size - 1]
    for number, at in enumerate(cuts):
        refused = refused_or_whole(damaged(path, number, lambda data, at=at: bytes(data[:at])), kept)  # type: ignore[misc]
        assert refused or at > size - 4096, f"cut at {at}"


def test_a_database_with_a_garbled_place_is_refused_or_whole(sound: tuple[Path, object]) -> None:
    path, kept = sound
    rng = Random(2)

    def flipped(data: bytearray) -> bytes:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(data)

    def overwritten(data: bytearray) -> bytes:
        at = rng.randrange(len(data))
        data[at : at + 200] = rng.randbytes(200)
        return bytes(data)

    refused = sum(refused_or_whole(damaged(path, number, rng.choice([flipped, overwritten])), kept) for number in range(50))
    assert refused > 15, "the damage must meet something"


def test_without_the_checksum_a_flipped_bit_is_noticed_here(sound: tuple[Path, object], monkeypatch: pytest.MonkeyPatch) -> None:
    path, kept = sound
    at = path.read_bytes().index(b'{"jobs": [1], "text": "abc') + 25

    def flipped(data: bytearray) -> bytes:
        data[at] ^= 1
        return bytes(data)

    assert refused_or_whole(damaged(path, 1, flipped), kept)
    monkeypatch.setattr("fission.adapters.sqlalchemy_store.opening.Database._check_bodies", lambda self, connection: None)
    with pytest.raises(AssertionError):
        refused_or_whole(damaged(path, 2, flipped), kept)


def test_a_database_of_an_earlier_version(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.execute(
            'create table fission_pipelines ("order" integer primary key, id varchar(64) not null unique, body text not null, '
            "accepted float not null, state varchar(16) default 'waiting' not null, ended float, duration float, number integer, "
            "error text)"
        )
        old.execute("insert into fission_pipelines (id, body, accepted) values ('a', '{}', 1.0)")
        old.commit()
    for kept in ([("a", 0)], [("a", 0), ("b", 5)]):
        store = SqlPipelines(str(path))
        assert store.waiting() == kept
        store.add([NewPipeline("b", "{}", 1.0, 5)])
        store.commit()
        assert store.waiting() == [("a", 0), ("b", 5)]
        store.close()
