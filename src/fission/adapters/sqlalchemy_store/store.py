"""The Router's store in SQLite (one file, WAL) or PostgreSQL (by URL), through SQLAlchemy.

SQLite syncs with every commit (`synchronous=FULL`), so committed data also survives a power cut.
PostgreSQL follows its server's settings. `opening` opens, checks and locks the database for one
Router.

A database may become unavailable while the Router runs: its server restarts, its disk is full,
another program locks the file. Every call then raises `StoreAway`; the statements since the last
commit are remembered, and `recover` executes them again. Each of them may be executed twice,
because the answer to a commit can get lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, SQLAlchemyError

from fission.adapters.sqlalchemy_store.opening import JOBS, PIPELINES, WORKERS, Database, checksum, is_garbled, reason_of
from fission.errors import UserError
from fission.ports.pipeline_store import StoreAway, StoreLost
from fission.protocol.pipeline_records import ENDED, WAITING, EndRecord, JobRecord, NewPipeline, PipelineRow

#: Names in one statement; SQLite before 3.32 accepts 999.
MANY = 500
#: Errors that a database raises while it is unavailable.
AWAY = (OperationalError, InterfaceError, InternalError)
_END = (
    update(PIPELINES)
    .where(PIPELINES.c.id == bindparam("id_"))
    .values({name: bindparam(f"{name}_") for name in ("state", "ended", "duration", "number", "error")})
)


def _chunks(names: Iterable[str]) -> Iterator[list[str]]:
    every = list(names)
    for begin in range(0, len(every), MANY):
        yield every[begin : begin + MANY]


class SqlPipelines:
    """`fission.pipelines.ports.PipelineStore` in a database."""

    def __init__(self, place: str) -> None:
        """Open the database, and create missing tables.

        Args:
            place: path of an SQLite file, or a URL in SQLAlchemy's syntax.

        Raises:
            UserError: the database cannot be opened, is damaged, or belongs to another Router.
        """
        self._database = Database(place)
        self._connection: Connection | None = None
        self._uncommitted: list[tuple[Any, Any]] = []
        self._away = ""
        try:
            self._connection = self._database.open()
            last = self._db.execute(select(func.max(PIPELINES.c.number))).scalar()
            counted = self._db.execute(select(PIPELINES.c.state, func.count()).group_by(PIPELINES.c.state))
            self._counts = {WAITING: 0, **dict.fromkeys(sorted(ENDED), 0), **{row[0]: int(row[1]) for row in counted}}
            self._db.rollback()
        except BaseException:
            self.close()
            raise
        self._insert: Any = sqlite.insert if self._database.is_sqlite else postgresql.insert
        self._last = int(last or 0)

    @property
    def _db(self) -> Connection:
        if self._connection is None:
            raise UserError("the Router's store is closed")
        return self._connection

    def _read(self, statement: Any) -> Any:
        if self._away:
            raise StoreAway(self._away)
        try:
            return self._db.execute(statement)
        except (SQLAlchemyError, UnicodeDecodeError) as error:
            raise self._trouble(error) from error

    def _write(self, statement: Any, values: Sequence[Mapping[str, Any]] | None = None) -> Any:
        if self._away:
            raise StoreAway(self._away)
        try:
            done = self._db.execute(statement, values) if values is not None else self._db.execute(statement)
        except (SQLAlchemyError, UnicodeDecodeError) as error:
            raise self._trouble(error) from error
        self._uncommitted.append((statement, values))
        return done

    def _trouble(self, error: SQLAlchemyError | UnicodeDecodeError) -> Exception:
        """Return the exception for a database error; the transaction has ended in any case."""
        if isinstance(error, UnicodeDecodeError):
            return StoreLost(self._database.damaged(str(error)))
        if self._database.is_sqlite and is_garbled(error):
            return StoreLost(self._database.damaged(reason_of(error)))
        if isinstance(error, AWAY) or (isinstance(error, DBAPIError) and error.connection_invalidated):
            self._away = reason_of(error)
            return StoreAway(self._away)
        with contextlib.suppress(SQLAlchemyError):  # the database rejects these values: the rest of the transaction is restored
            self._db.rollback()
            self._write_again()
        return ValueError(f"the database rejected it: {reason_of(error)}")

    def _write_again(self) -> None:
        for statement, values in self._uncommitted:
            if values is None:
                self._db.execute(statement)
            else:
                self._db.execute(statement, values)

    def recover(self) -> None:
        if not self._away:
            return
        if self._connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._connection.close()
            self._connection = None
        try:
            self._connection = self._database.open_again()
            self._write_again()
        except SQLAlchemyError as error:
            self._away = reason_of(error)
            raise StoreAway(self._away) from error
        self._away = ""

    def add(self, pipelines: Sequence[NewPipeline]) -> None:
        rows = [
            {
                "id": new.pipeline,
                "body": new.body,
                "accepted": new.accepted,
                "priority": new.priority,
                "checksum": checksum(new.pipeline, new.body),
            }
            for new in pipelines
        ]
        if rows:
            new_ones = self._insert(PIPELINES).on_conflict_do_nothing(index_elements=["id"])
            self._counts[WAITING] += self._write(new_ones.execution_options(preserve_rowcount=True), rows).rowcount

    def starting_with(self, letters: str, limit: int) -> list[str]:
        wanted = select(PIPELINES.c.id).where(PIPELINES.c.id.startswith(letters, autoescape=True)).order_by(PIPELINES.c.order.desc())
        found = (name for name in self._read(wanted).scalars() if name.startswith(letters))  # SQLite's LIKE ignores case
        return [name for _, name in zip(range(limit), found, strict=False)]

    def waiting(self) -> list[tuple[str, int]]:
        wanted = select(PIPELINES.c.id, PIPELINES.c.priority).where(PIPELINES.c.state == "waiting").order_by(PIPELINES.c.order)
        return [(row.id, row.priority) for row in self._read(wanted)]

    def rows(self, pipelines: Iterable[str]) -> dict[str, PipelineRow]:
        found = {}
        for names in _chunks(pipelines):
            for row in self._read(select(PIPELINES).where(PIPELINES.c.id.in_(names))):
                found[row.id] = _pipeline(row)
        return found

    def listed(self, states: Iterable[str] | None, before: int | None, limit: int) -> list[PipelineRow]:
        wanted = select(PIPELINES).order_by(PIPELINES.c.order.desc()).limit(limit)
        if states is not None:
            wanted = wanted.where(PIPELINES.c.state.in_(list(states)))
        if before is not None:
            wanted = wanted.where(PIPELINES.c.order < before)
        return [_pipeline(row) for row in self._read(wanted)]

    def record(self, jobs: Sequence[JobRecord]) -> None:
        if not jobs:
            return
        newest = {(job.pipeline, job.job): job for job in jobs}  # PostgreSQL rejects the same row twice in a statement
        names = [column.name for column in JOBS.columns]
        insert = self._insert(JOBS)
        insert = insert.on_conflict_do_update(
            index_elements=["pipeline", "job"], set_={name: insert.excluded[name] for name in names if name not in ("pipeline", "job")}
        )
        self._write(insert, [{name: _plain(getattr(job, name)) for name in names} for job in newest.values()])

    def jobs(self, pipelines: Iterable[str]) -> dict[str, list[JobRecord]]:
        found: dict[str, list[JobRecord]] = {}
        for names in _chunks(pipelines):
            wanted = select(JOBS).where(JOBS.c.pipeline.in_(names)).order_by(JOBS.c.pipeline, JOBS.c.job)
            for row in self._read(wanted):
                found.setdefault(row.pipeline, []).append(JobRecord(*row))
        return found

    def end(self, ends: Sequence[EndRecord]) -> list[EndRecord]:
        found = []
        open_ones: set[str] = set()
        for names in _chunks(end.pipeline for end in ends):
            wanted = select(PIPELINES.c.id).where(PIPELINES.c.id.in_(names), PIPELINES.c.state == "waiting")
            open_ones.update(self._read(wanted).scalars())
        rows = []
        last = self._last
        for end in ends:
            if end.pipeline not in open_ones:
                continue
            open_ones.discard(end.pipeline)
            last += 1
            found.append(EndRecord(end.pipeline, end.state, end.at, end.duration, last, _plain(end.error), end.results))
            rows.append(
                {
                    "id_": end.pipeline,
                    "state_": end.state,
                    "ended_": end.at,
                    "duration_": end.duration,
                    "number_": last,
                    "error_": _plain(end.error),
                }
            )
        if rows:
            self._write(_END, rows)
        self._last = last
        for end in found:
            self._move(WAITING, end.state)
        return found

    def ended_since(self, number: int, limit: int) -> list[EndRecord]:
        wanted = select(PIPELINES).where(PIPELINES.c.number > number, PIPELINES.c.state.in_(list(ENDED)))
        ends = [_pipeline(row).end for row in self._read(wanted.order_by(PIPELINES.c.number).limit(limit))]
        return [end for end in ends if end is not None]

    def last_end(self) -> int:
        return self._last

    def reopen(self, pipeline: str) -> bool:
        state = self._read(select(PIPELINES.c.state).where(PIPELINES.c.id == pipeline)).scalar()
        over = update(PIPELINES).where(PIPELINES.c.id == pipeline, PIPELINES.c.state.in_(list(ENDED)))
        # the number stays: the largest one must never be reused
        changed = self._write(over.values(state="waiting", ended=None, duration=None, error=None))
        if not changed.rowcount:
            return False
        self._move(state, WAITING)
        self._write(delete(JOBS).where(JOBS.c.pipeline == pipeline, JOBS.c.state != "finished"))
        return True

    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def _move(self, before: str, after: str) -> None:
        """Count a pipeline in another state."""
        self._counts[before] -= 1
        self._counts[after] += 1

    def known_workers(self) -> set[str]:
        return set(self._read(select(WORKERS.c.name)).scalars())

    def remember_workers(self, names: Iterable[str]) -> None:
        rows = [{"name": name} for name in names]
        if rows:
            self._write(self._insert(WORKERS).on_conflict_do_nothing(index_elements=["name"]), rows)

    def commit(self) -> None:
        if self._away:
            raise StoreAway(self._away)
        try:
            self._db.commit()
        except (SQLAlchemyError, UnicodeDecodeError) as error:
            raise self._trouble(error) from error
        self._uncommitted.clear()

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._connection.rollback()
            with contextlib.suppress(SQLAlchemyError):
                self._connection.close()
            self._connection = None
        self._database.close()


def _plain(value: Any) -> Any:
    """Escape what PostgreSQL cannot store: NUL, and lone surrogates, which have no encoding."""
    return value.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _pipeline(row: Any) -> PipelineRow:
    end = None
    if row.state in ENDED:
        end = EndRecord(row.id, row.state, row.ended, row.duration, row.number, row.error or "")
    return PipelineRow(row.id, row.order, row.body, row.accepted, end, row.priority)
