"""Migrations: one process applies them under a lock while the others wait.

Alembic takes a third of a second to import, so a database that is up to date is recognised by one SELECT without it.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from chatcore.db.engine import Database
from chatcore.errors import DatabaseError, InvalidInput

if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS: Final = Path(__file__).with_name("migrations")
_LOCK_KEY: Final = 0x63686174  # "chat": the advisory lock's number on PostgreSQL


def upgrade(database: Database) -> None:
    """Bring the schema to this code's revision.

    Raises `DatabaseError` when the database does not answer or was written by a newer Chatcore.
    """
    database.ping()
    if current(database) == head():
        return
    with _exclusive(database) as connection:
        _refuse_newer(_revision(connection))
        _alembic(connection, "upgrade", "head")


def downgrade(database: Database, revision: str) -> None:
    """Take the schema back to `revision` (`base` for nothing at all, `-1` for one step). Raises `InvalidInput` for one
    that there is not.
    """
    if revision != "base" and revision not in revisions() and not re.fullmatch(r"-[1-9]\d?", revision):
        raise InvalidInput(f"There is no revision {revision}. There are: base, {', '.join(revisions())}.")
    database.ping()
    with _exclusive(database) as connection:
        _alembic(connection, "downgrade", revision)


def check(database: Database) -> None:
    """Raises `DatabaseError` when the schema is not exactly this code's."""
    database.ping()
    found = current(database)
    _refuse_newer(found)
    if found != head():
        raise DatabaseError(
            f"The database is at revision {found or 'none'} and this Chatcore needs {head()}: run `db upgrade`."
        )


def current(database: Database) -> str | None:
    """The revision the database is at, None before the first migration."""
    with database.engine.connect() as connection:
        return _revision(connection)


def head() -> str:
    """The newest revision this code knows: revisions are numbered `0001_name`, so the last by name."""
    return revisions()[-1]


def revisions() -> list[str]:
    """The revisions this code knows, the oldest first."""
    return sorted(path.stem for path in (_SCRIPTS / "versions").glob("[0-9]*.py"))


def triggers(revision: str) -> set[str]:
    """The SQL of all triggers that an SQLite database of this revision has. There are no views."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        _alembic(connection, "upgrade", revision)
        found = set(connection.scalars(text("SELECT sql FROM sqlite_master WHERE type IN ('trigger', 'view')")))
    engine.dispose()
    return found


def _refuse_newer(found: str | None) -> None:
    if found is not None and found not in revisions():
        raise DatabaseError(f"The database is at revision {found}, made by a newer Chatcore: start that one instead.")


def _revision(connection: Connection) -> str | None:
    try:
        with connection.begin_nested():
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except (OperationalError, ProgrammingError):
        return None


@contextmanager
def _exclusive(database: Database) -> Iterator[Connection]:
    """A connection in a transaction that no other process can migrate beside."""
    options = {"chatcore_write": True}
    with database.engine.connect().execution_options(**options) as connection:
        for attempt in range(60):
            try:
                transaction = connection.begin()
                break
            except DBAPIError:
                if attempt == 59:
                    raise
                time.sleep(0.5)
        with transaction:
            if not database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
            yield connection


def _alembic(connection: Connection, verb: str, revision: str) -> None:
    from alembic import command

    run = command.upgrade if verb == "upgrade" else command.downgrade
    run(_config(connection), revision)


def _config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    return config
