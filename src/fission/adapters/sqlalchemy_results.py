"""Documents of values in a database, through SQLAlchemy; `fission.pipelines.stores` uses it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, String, Table, Text, create_engine, delete, event, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from fission.errors import UserError

log = logging.getLogger("fission.pipelines")

META = MetaData()
BIG = BigInteger().with_variant(Integer(), "sqlite")
VALUES = Table(
    "fission_values",
    META,
    Column("document", String(255), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("value", Text, nullable=False),
    Column("worker", String(200), nullable=False),
)
RESULTS = Table(
    "fission_results",
    META,
    Column("job_id", String(100), primary_key=True),
    Column("document", String(255), nullable=False, index=True),
    Column("worker", String(200), nullable=False),
)
MONITORING = Table(
    "fission_monitoring", META, Column("id", BIG, primary_key=True, autoincrement=True), Column("timestamp", Float), Column("data", Text)
)
#: Number of monitoring rows to keep; arbitrary.
KEPT = 10_000


class SqlResults:
    """Values of documents by name, and the ids of the jobs that have delivered theirs.

    Belongs to one process; several processes may share a database.
    """

    def __init__(self, place: str) -> None:
        """Open the database.

        Args:
            place: path of an SQLite file, or a URL in SQLAlchemy's syntax.

        Raises:
            UserError: the database cannot be opened.
        """
        try:
            url = make_url(place) if "://" in place else URL.create("sqlite", database=os.path.abspath(place))
        except ArgumentError:
            raise UserError(
                "the store's place is not the URL of a database: "
                "it must be postgresql://USER:PASSWORD@HOST:PORT/NAME, or the path of an SQLite file"
            ) from None
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        is_sqlite = url.get_backend_name() == "sqlite"
        self._insert: Any = sqlite.insert if is_sqlite else postgresql.insert
        self._engine = create_engine(url, pool_pre_ping=not is_sqlite)
        if is_sqlite:
            event.listen(self._engine, "connect", _set_sqlite)
        try:
            self._make_tables()
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise UserError(f"{url.render_as_string(hide_password=True)} cannot be used as a store: {reason}") from None

    def _make_tables(self) -> None:
        for _ in META.sorted_tables:
            try:
                META.create_all(self._engine)
                return
            except SQLAlchemyError as error:  # several processes start at once: only one can make a table, and then it exists
                log.debug("another attempt to make the tables: %s", error)
        META.create_all(self._engine)

    def values(self, document: str) -> dict[str, Any]:
        """Return all values of a document."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(VALUES.c.name, VALUES.c.value).where(VALUES.c.document == document))
            return {row.name: json.loads(row.value) for row in rows}

    def put(self, document: str, worker: str, job_id: str, values: Mapping[str, Any]) -> bool:
        """Store a job's values atomically; return False if the job has already delivered values.

        Nothing changes in that case.
        """
        with self._engine.begin() as connection:
            new = self._insert(RESULTS).on_conflict_do_nothing().values(job_id=job_id, document=document, worker=worker)
            if connection.execute(new.returning(RESULTS.c.job_id)).first() is None:
                return False
            rows = [{"document": document, "name": name, "value": json.dumps(value), "worker": worker} for name, value in values.items()]
            if rows:
                insert = self._insert(VALUES)
                changes = {"value": insert.excluded.value, "worker": insert.excluded.worker}
                # the same order everywhere, or two processes could deadlock
                ordered = sorted(rows, key=lambda row: row["name"])
                connection.execute(insert.on_conflict_do_update(index_elements=["document", "name"], set_=changes), ordered)
        return True

    def put_monitoring(self, timestamp: float, data: str) -> None:
        """Store a row of monitoring; rows beyond the newest `KEPT` are deleted."""
        with self._engine.begin() as connection:
            connection.execute(MONITORING.insert().values(timestamp=timestamp, data=data))
            newest = connection.execute(select(func.max(MONITORING.c.id))).scalar() or 0
            connection.execute(delete(MONITORING).where(MONITORING.c.id <= newest - KEPT))

    def monitoring(self, limit: int) -> list[Any]:
        """Return the newest rows of monitoring, newest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(MONITORING.c.data).order_by(MONITORING.c.id.desc()).limit(limit))
            return [json.loads(row.data) for row in rows]

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def _set_sqlite(connection: Any, record: object) -> None:
    for pragma in ("busy_timeout=20000", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
