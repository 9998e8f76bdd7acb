"""The Router's store in SQLite or PostgreSQL."""

from fission.adapters.sqlalchemy_store.store import SqlPipelines

__all__ = ["SqlPipelines"]
