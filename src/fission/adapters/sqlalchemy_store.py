"""What the Router keeps, in SQLite (one file, WAL) or PostgreSQL (by URL), through SQLAlchemy.

SQLite writes into its log without waiting for the disk (`synchronous=NORMAL`): what is committed outlives the process in every case, and
the machine but for what the last moments before a power cut wrote. PostgreSQL does as its server is set.

One Router at a time: a lock on a file beside the database (released by the system when its holder dies), or an advisory lock of the
server (released with the connection).
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from fission.errors import UserError
from fission.protocol.pipeline_records import ENDED, EndRecord, JobRecord, PipelineRow

META = MetaData()
BIG = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only a plain INTEGER
PIPELINES = Table(
    "fission_pipelines",
    META,
    Column("order", BIG, primary_key=True, autoincrement=True),
    Column("id", String(64), unique=True, nullable=False),
    Column("body", Text, nullable=False),
    Column("accepted", Float, nullable=False),
    Column("state", String(16), nullable=False, server_default="waiting"),
    Column("ended", Float),
    Column("duration", Float),
    Column("number", BIG),
    Column("error", Text),
    Index("fission_pipelines_state", "state", "order"),
    Index("fission_pipelines_number", "number"),
)
JOBS = Table(
    "fission_jobs",
    META,
    Column("pipeline", String(64), primary_key=True),
    Column("job", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("duration", Float, nullable=False),
    Column("node", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("traceback", Text, nullable=False),
)
WORKERS = Table("fission_workers", META, Column("name", String(200), primary_key=True))
#: Names in one statement; SQLite before 3.32 takes 999.
MANY = 500
#: The server's lock of the one Router; arbitrary.
LOCK = 0x66697373
#: Seconds in which the server notices that the last Router's connection is gone; arbitrary.
LOCK_WAIT_S = 5.0
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
        """Opens it, and makes the tables that are not there.

        Args:
            place: path of an SQLite file, or a URL as SQLAlchemy takes it.

        Raises:
            UserError: it cannot be opened, or another Router has it.
        """
        self._lock_file: IO[str] | None = None
        self._connection: Connection | None = None
        url = _url(place)
        self._insert: Any = sqlite.insert if url.get_backend_name() == "sqlite" else postgresql.insert
        self._shown = url.render_as_string(hide_password=True)
        try:
            if url.get_backend_name() == "sqlite":
                self._lock_beside(url.database or "")
            self._engine = create_engine(url)
            if url.get_backend_name() == "sqlite":
                event.listen(self._engine, "connect", _set_sqlite)
            self._open_connection(url)
        except BaseException:
            self.close()
            raise
        last = self._db.execute(select(func.max(PIPELINES.c.number))).scalar()
        self._last = int(last or 0)
        self._db.rollback()

    def _lock_beside(self, database: str) -> None:
        if not database or database == ":memory:":
            return
        path = Path(database)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock_file = open(f"{path}.lock", "w")  # noqa: SIM115 - held as long as the store is open
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{path} belongs to another Router that is running: there can be only one; stop it, or name another file"
            ) from None
        except OSError as error:
            raise UserError(f"{path}, where the Router keeps its pipelines, cannot be used: {error.strerror}; name another file") from None

    def _open_connection(self, url: URL) -> None:
        try:
            self._connection = self._engine.connect()
            META.create_all(self._connection)
            self._connection.commit()
            if url.get_backend_name() == "postgresql" and not self._lock_server():
                raise UserError(f"{self._shown} belongs to another Router that is running: there can be only one; stop it")
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise UserError(f"{self._shown}, where the Router keeps its pipelines, cannot be used: {reason}") from None

    def _lock_server(self) -> bool:
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            got = bool(self._db.execute(text("select pg_try_advisory_lock(:key)"), {"key": LOCK}).scalar())
            self._db.commit()
            if got or time.monotonic() > deadline:
                return got
            time.sleep(0.1)

    @property
    def _db(self) -> Connection:
        if self._connection is None:
            raise UserError("the Router's store is closed")
        return self._connection

    def add(self, pipelines: Sequence[tuple[str, str, float]]) -> None:
        rows = [{"id": name, "body": body, "accepted": accepted} for name, body, accepted in pipelines]
        if rows:
            self._db.execute(self._insert(PIPELINES).on_conflict_do_nothing(index_elements=["id"]), rows)

    def waiting(self) -> list[str]:
        wanted = select(PIPELINES.c.id).where(PIPELINES.c.state == "waiting").order_by(PIPELINES.c.order)
        return list(self._db.execute(wanted).scalars())

    def rows(self, pipelines: Iterable[str]) -> dict[str, PipelineRow]:
        found = {}
        for names in _chunks(pipelines):
            for row in self._db.execute(select(PIPELINES).where(PIPELINES.c.id.in_(names))):
                found[row.id] = _pipeline(row)
        return found

    def listed(self, states: Iterable[str] | None, before: int | None, limit: int) -> list[PipelineRow]:
        wanted = select(PIPELINES).order_by(PIPELINES.c.order.desc()).limit(limit)
        if states is not None:
            wanted = wanted.where(PIPELINES.c.state.in_(list(states)))
        if before is not None:
            wanted = wanted.where(PIPELINES.c.order < before)
        return [_pipeline(row) for row in self._db.execute(wanted)]

    def record(self, jobs: Sequence[JobRecord]) -> None:
        if not jobs:
            return
        newest = {(job.pipeline, job.job): job for job in jobs}  # PostgreSQL refuses one row twice in a statement
        names = [column.name for column in JOBS.columns]
        insert = self._insert(JOBS)
        insert = insert.on_conflict_do_update(
            index_elements=["pipeline", "job"], set_={name: insert.excluded[name] for name in names if name not in ("pipeline", "job")}
        )
        self._db.execute(insert, [{name: _plain(getattr(job, name)) for name in names} for job in newest.values()])

    def jobs(self, pipelines: Iterable[str]) -> dict[str, list[JobRecord]]:
        found: dict[str, list[JobRecord]] = {}
        for names in _chunks(pipelines):
            wanted = select(JOBS).where(JOBS.c.pipeline.in_(names)).order_by(JOBS.c.pipeline, JOBS.c.job)
            for row in self._db.execute(wanted):
                found.setdefault(row.pipeline, []).append(JobRecord(*row))
        return found

    def end(self, ends: Sequence[EndRecord]) -> list[EndRecord]:
        found = []
        open_ones: set[str] = set()
        for names in _chunks(end.pipeline for end in ends):
            wanted = select(PIPELINES.c.id).where(PIPELINES.c.id.in_(names), PIPELINES.c.state == "waiting")
            open_ones.update(self._db.execute(wanted).scalars())
        rows = []
        for end in ends:
            if end.pipeline not in open_ones:
                continue
            open_ones.discard(end.pipeline)
            self._last += 1
            found.append(EndRecord(end.pipeline, end.state, end.at, end.duration, self._last, _plain(end.error)))
            rows.append(
                {
                    "id_": end.pipeline,
                    "state_": end.state,
                    "ended_": end.at,
                    "duration_": end.duration,
                    "number_": self._last,
                    "error_": _plain(end.error),
                }
            )
        if rows:
            self._db.execute(_END, rows)
        return found

    def ended_since(self, number: int, limit: int) -> list[EndRecord]:
        wanted = select(PIPELINES).where(PIPELINES.c.number > number, PIPELINES.c.state.in_(list(ENDED)))
        ends = [_pipeline(row).end for row in self._db.execute(wanted.order_by(PIPELINES.c.number).limit(limit))]
        return [end for end in ends if end is not None]

    def last_end(self) -> int:
        return self._last

    def reopen(self, pipeline: str) -> bool:
        over = update(PIPELINES).where(PIPELINES.c.id == pipeline, PIPELINES.c.state.in_(list(ENDED)))
        # its number stays: the largest one must never come back
        changed = self._db.execute(over.values(state="waiting", ended=None, duration=None, error=None))
        if not changed.rowcount:
            return False
        self._db.execute(delete(JOBS).where(JOBS.c.pipeline == pipeline, JOBS.c.state != "finished"))
        return True

    def known_workers(self) -> set[str]:
        return set(self._db.execute(select(WORKERS.c.name)).scalars())

    def remember_workers(self, names: Iterable[str]) -> None:
        rows = [{"name": name} for name in names]
        if rows:
            self._db.execute(self._insert(WORKERS).on_conflict_do_nothing(index_elements=["name"]), rows)

    def commit(self) -> None:
        self._db.commit()

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._connection.rollback()
            with contextlib.suppress(SQLAlchemyError):
                self._connection.close()
            self._connection = None
            self._engine.dispose()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None


def _url(place: str) -> URL:
    if "://" not in place:
        return URL.create("sqlite", database=place)
    try:
        url = make_url(place)
    except ArgumentError:
        raise UserError(
            f"{place!r} is no URL of a database: postgresql://USER:PASSWORD@HOST:PORT/NAME, or the path of an SQLite file"
        ) from None
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise UserError(f"the Router keeps its pipelines in SQLite or PostgreSQL, not in {url.get_backend_name()}: {place!r}")
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _set_sqlite(connection: Any, record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")


def _plain(value: Any) -> Any:
    """PostgreSQL keeps no text with a NUL in it; halves of surrogate pairs fit no encoding."""
    return value.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _pipeline(row: Any) -> PipelineRow:
    end = None
    if row.state in ENDED:
        end = EndRecord(row.id, row.state, row.ended, row.duration, row.number, row.error or "")
    return PipelineRow(row.id, row.order, row.body, row.accepted, end)
