"""Compacting: what was deleted leaves the files, too, and the disk gets its room back."""

import sqlite3
from contextlib import closing

from sqlalchemy import text

from chatcore.db.engine import Database
from chatcore.errors import DatabaseError

_PATIENCE = 60.0  # seconds for the writes of others


def compact(database: Database) -> None:
    """Write the database anew without what was deleted. The app may run; its writes wait meanwhile on SQLite.

    Deleted text stays in free places of a database until they are used again, and deleted words in the search index of
    SQLite until its parts are merged. Takes about as long as copying the file, and as much room.
    """
    database.ping()
    if database.is_sqlite:
        _compact_sqlite(database.url.database or "")
        return
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE)"))


def _compact_sqlite(path: str) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as connection:
            connection.execute("INSERT INTO message_search (message_search) VALUES ('optimize')")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise DatabaseError("The database could not be compacted: it was busy, or the disk is full.") from error
