"""Compacting: what was deleted leaves the files, too, and the disk gets its room back."""

import sqlite3
from contextlib import closing
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from chatcore.db.engine import Database
from chatcore.errors import DatabaseError

_PATIENCE: Final = 60.0  # seconds for the writes of others
_NUMBERS: Final = frozenset({
    "usage_metrics", "cost_corrections", "limit_hits", "budget_periods", "reservations", "usage_hourly", "usage_daily",
    "usage_latency",
})  # fmt: skip
"""Large tables without a word of anybody in them."""
_BUSY: Final = "The database could not be compacted: it was busy, or the disk is full."


def compact(database: Database) -> None:
    """Write the database anew without what was deleted. The app may run: on SQLite its writes wait meanwhile, on
    PostgreSQL whatever needs the table that is being written, one after the other; tables of mere numbers are left.

    Deleted text stays in free places of a database until they are used again, and deleted words in the search index of
    SQLite until its parts are merged. Takes about as long as copying the files, and as much room.
    Raises `DatabaseError`.
    """
    database.ping()
    if database.is_sqlite:
        _compact_sqlite(database.url.database or "")
    else:
        _compact_postgres(database)


def _compact_postgres(database: Database) -> None:
    try:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"SET lock_timeout = {int(_PATIENCE * 1000)}"))
            connection.execute(text("VACUUM (ANALYZE)"))
            # Last what the planner knows of the columns: samples of their values, and those from before.
            for table in [*_with_words(connection), "pg_catalog.pg_statistic"]:
                connection.execute(text(f"VACUUM (FULL) {table}"))
            connection.invalidate()  # it would go back to the pool with this patience
    except DBAPIError as error:
        raise DatabaseError(_BUSY) from error


def _with_words(connection: Connection) -> list[str]:
    names = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")).scalars()
    return sorted(set(names) - _NUMBERS)


def _compact_sqlite(path: str) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as connection:
            connection.execute("INSERT INTO message_search (message_search) VALUES ('optimize')")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise DatabaseError(_BUSY) from error
