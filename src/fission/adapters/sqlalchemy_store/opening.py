"""Opening the Router's database: its tables, its integrity, and the lock for a single Router.

The lock is on a file beside the database (the system releases it when its holder dies), or an
advisory lock of the server (released with the connection). The table ``fission_routers`` counts the
Routers that have opened the database: a Router that was cut off from its server can tell whether
another one has worked in the meantime.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import zlib
from pathlib import Path
from typing import IO, Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, SQLAlchemyError

from fission.errors import UserError
from fission.ports.pipeline_store import StoreAway, StoreLost
from fission.posix.lock_files import open_lock

META = MetaData()
BIG = BigInteger().with_variant(Integer(), "sqlite")  # SQLite auto-increments only a plain INTEGER
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
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("checksum", BIG),
    Index("fission_pipelines_state", "state", "order"),
    Index("fission_pipelines_number", "number"),
    CheckConstraint("state in ('waiting', 'finished', 'failed', 'cancelled')", name="fission_pipelines_states"),
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
    Column("result", Text, nullable=False, server_default=""),
    CheckConstraint("state in ('finished', 'raised', 'failed')", name="fission_jobs_states"),
)
WORKERS = Table("fission_workers", META, Column("name", String(200), primary_key=True))
ROUTERS = Table(
    "fission_routers", META, Column("id", Integer, primary_key=True, autoincrement=False), Column("starts", BIG, nullable=False)
)
#: Columns that are missing in databases of earlier versions.
ADDED = (PIPELINES.c.priority, PIPELINES.c.checksum, JOBS.c.result)
#: Key of the server's lock for the single Router; arbitrary.
LOCK = 0x66697373
#: Seconds for the server to notice that the last Router's connection is gone; arbitrary.
LOCK_WAIT_S = 5.0
#: Milliseconds to wait for a locked SQLite file: at the start, and while the Router runs and others wait for it.
BUSY_MS, BUSY_RUNNING_MS = 5000, 500
#: Minimum size of an SQLite database in bytes.
SMALLEST = 512
#: Settings that reveal a silent loss of the server within about ten seconds.
SERVER = {
    "connect_timeout": "3",
    "keepalives_idle": "4",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


def checksum(pipeline: str, body: str) -> int:
    """Return the checksum that is stored with a pipeline's body and reveals a flipped bit."""
    return zlib.crc32(f"{pipeline} {body}".encode())


def reason_of(error: SQLAlchemyError) -> str:
    """Return the database's own error message, one line."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def is_garbled(error: SQLAlchemyError) -> bool:
    """Return whether SQLite met data that it cannot have written."""
    return (type(error) is DatabaseError) or "decode" in reason_of(error)


class Database:
    """The database of the pipelines, and the right to be its only Router."""

    def __init__(self, place: str) -> None:
        """Prepare; `open` connects.

        Args:
            place: path of an SQLite file, or a URL.

        Raises:
            UserError: the place is invalid.
        """
        self._url = _url(place)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._path = Path(self._url.database or "") if self.is_sqlite and self._url.database not in (None, "", ":memory:") else None
        self._shown = str(self._path) if self._path is not None else self._url.render_as_string(hide_password=True)
        self._lock_file: IO[str] | None = None
        self._engine: Engine | None = None
        self._starts = 0
        self._inode = 0
        self._emptied = False

    def open(self) -> Connection:
        """Claim the database for this Router, make missing tables and return a connection.

        Raises:
            UserError: the database cannot be used, is damaged, or belongs to another Router.
        """
        if self._path is not None:
            self._lock_beside(self._path)
        connection = None
        try:
            connection = self._connect(BUSY_MS)
            if self.is_sqlite:
                self._check_whole(connection)
            _make_tables(connection)
            if not self.is_sqlite and not _lock_server(connection, LOCK_WAIT_S):
                raise UserError(f"{self._shown} belongs to another Router that is running: there can be only one; stop it")
            if self.is_sqlite:
                self._check_bodies(connection)
            self._starts = _count_start(connection)
            if self.is_sqlite:
                connection.execute(text(f"PRAGMA busy_timeout={BUSY_RUNNING_MS}"))
        except (SQLAlchemyError, UserError, UnicodeDecodeError) as error:
            if connection is not None:
                with contextlib.suppress(SQLAlchemyError):
                    connection.close()
            if isinstance(error, UserError):
                raise
            if isinstance(error, UnicodeDecodeError):
                raise UserError(self.damaged(str(error))) from None
            reason = reason_of(error)
            if self._path is not None and is_garbled(error):
                raise UserError(self.damaged(reason)) from None
            raise UserError(f"{self._shown}, where the Router keeps its pipelines, cannot be used: {reason}") from None
        if self._path is not None:
            self._inode = self._path.stat().st_ino
        return connection

    def open_again(self) -> Connection:
        """Return a new connection after the last one has broken.

        Raises:
            SQLAlchemyError: the database is still unavailable.
            StoreAway: the server has not yet noticed that the last connection is gone.
            StoreLost: the database has been replaced, or another Router has used it.
        """
        if self._path is not None:
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._inode:
                    return self._connect(BUSY_RUNNING_MS)
            raise StoreLost(f"{self._shown}, where the Router keeps its pipelines, was removed or replaced while the Router ran")
        connection = self._connect(BUSY_RUNNING_MS)
        try:
            if not _lock_server(connection, 0.0):
                raise StoreAway("it is still locked by a connection that is gone, or by another Router")
            starts = connection.execute(select(ROUTERS.c.starts)).scalar()
            connection.commit()
            if starts != self._starts:
                raise StoreLost(f"another Router has used {self._shown} while it could not be reached from here: there can be only one")
        except BaseException:
            with contextlib.suppress(SQLAlchemyError):
                connection.close()
            raise
        return connection

    def damaged(self, reason: str) -> str:
        """Return the message for a damaged file."""
        return (
            f"{self._shown}, where the Router keeps its pipelines, is damaged: {reason}; restore a copy, save what can be read with "
            f"`sqlite3 {self._shown} .recover`, or move it away together with {self._shown}-wal and {self._shown}-shm to begin with an "
            "empty one (pipelines that had not finished must then be submitted again)"
        )

    def close(self) -> None:
        """Close the database and release its lock. Idempotent."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def _connect(self, busy_ms: int) -> Connection:
        if self._engine is not None:
            self._engine.dispose()
        arguments = {} if self.is_sqlite else {name: value for name, value in SERVER.items() if name not in self._url.query}
        self._engine = create_engine(self._url, connect_args=arguments)
        if self.is_sqlite:
            event.listen(self._engine, "connect", lambda connection, record: _set_sqlite(connection, busy_ms))
        return self._engine.connect()

    def _lock_beside(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            used, there = Path(f"{path}.lock").exists(), path.exists()
            self._emptied = used and there and path.stat().st_size < SMALLEST  # SQLite treats an empty file as a new database
            self._lock_file = open(open_lock(Path(f"{path}.lock")), "w")  # noqa: SIM115 - held as long as the store is open
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{path} belongs to another Router that is running: there can be only one; stop it, or name another file"
            ) from None
        except OSError as error:
            raise UserError(f"{path}, where the Router keeps its pipelines, cannot be used: {error.strerror}; name another file") from None

    def _check_whole(self, connection: Connection) -> None:
        """Check the whole file.

        SQLite notices damage only where it reads, and a Router reads old data much later.

        Raises:
            UserError: the file is damaged.
        """
        if self._emptied:
            raise UserError(self.damaged(f"it is empty, but a Router has used it before, as {self._shown}.lock shows"))
        faults = list(connection.execute(text("PRAGMA integrity_check(1)")).scalars())
        connection.rollback()
        if faults != ["ok"]:
            raise UserError(self.damaged(" ".join(str(faults[0] if faults else "it cannot be checked").split())))

    def _check_bodies(self, connection: Connection) -> None:
        wanted = select(PIPELINES.c.id, PIPELINES.c.body, PIPELINES.c.checksum)
        try:
            for row in connection.execute(wanted, execution_options={"yield_per": 500}):
                if row.checksum not in (None, checksum(row.id, row.body)):
                    raise UserError(self.damaged(f"its record of pipeline {row.id} differs from what was accepted"))
        except SQLAlchemyError as error:
            if is_garbled(error):
                raise UserError(self.damaged(reason_of(error))) from None
            raise
        connection.rollback()


def _make_tables(connection: Connection) -> None:
    META.create_all(connection)
    for column in ADDED:
        if column.name not in {there["name"] for there in inspect(connection).get_columns(column.table.name)}:
            kind = column.type.compile(connection.dialect)
            default = "''" if isinstance(column.type, Text) else "0"
            rest = "" if column.nullable else f" DEFAULT {default} NOT NULL"
            connection.execute(text(f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} {kind}{rest}"))
    connection.commit()


def _count_start(connection: Connection) -> int:
    starts = int(connection.execute(select(ROUTERS.c.starts)).scalar() or 0) + 1
    change = insert(ROUTERS).values(id=1, starts=1) if starts == 1 else update(ROUTERS).values(starts=starts)
    connection.execute(change)
    connection.commit()
    return starts


def _lock_server(connection: Connection, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while True:
        got = bool(connection.execute(text("select pg_try_advisory_lock(:key)"), {"key": LOCK}).scalar())
        connection.commit()
        if got or time.monotonic() >= deadline:
            return got
        time.sleep(0.1)


def _url(place: str) -> URL:
    if "://" not in place:
        return URL.create("sqlite", database=os.path.abspath(place) if place not in ("", ":memory:") else place)
    try:
        url = make_url(place)
    except ArgumentError:
        raise UserError(
            "the place where the Router keeps its pipelines is not the URL of a database: "
            "it must be postgresql://USER:PASSWORD@HOST:PORT/NAME, or the path of an SQLite file"
        ) from None
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        shown = url.render_as_string(hide_password=True)
        raise UserError(f"the Router keeps its pipelines in SQLite or PostgreSQL, not in {url.get_backend_name()}: {shown}")
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _set_sqlite(connection: Any, busy_ms: int) -> None:
    for pragma in (f"busy_timeout={busy_ms}", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
