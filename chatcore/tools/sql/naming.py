"""From what the config file says of a database to the source that reads it."""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from chatcore.config import PROJECT_ROOT
from chatcore.config_file import NamedDatabase, resolved
from chatcore.errors import ConfigError
from chatcore.tools.sql.postgres import PostgresSource
from chatcore.tools.sql.sources import Source
from chatcore.tools.sql.sqlite import SqliteSource


def named_source(named: NamedDatabase, environment: Mapping[str, str], our_own: URL) -> Source:
    """The source of a database. `our_own`: where Chatcore keeps everybody's conversations, which no tool reads.

    Raises `ConfigError`, without anything of the URL: it cannot be one.
    """
    url, missing = resolved(named.url, environment)
    if missing:
        raise ConfigError(f"chatcore.databases: {named.name} needs the variable {missing[0]}, which is not set.")
    try:
        made = make_url(str(url))
    except (ArgumentError, ValueError):
        raise ConfigError(f"chatcore.databases: the url of {named.name} is no database URL.") from None
    backend = made.get_backend_name()
    if backend == "sqlite" and made.database:
        made = made.set(database=str(PROJECT_ROOT / made.database))
    elif backend not in ("postgresql", "postgres"):
        raise ConfigError(f"chatcore.databases: {named.name} is neither an SQLite file nor PostgreSQL.")
    if _place(made) == _place(our_own):
        raise ConfigError(
            f"chatcore.databases: {named.name} is Chatcore's own database, which holds what everybody wrote."
        )
    if backend == "sqlite":
        return SqliteSource(named, str(made.database))
    return PostgresSource(named, made.set(drivername="postgresql+psycopg"))


def _place(url: URL) -> tuple[object, ...]:
    if url.get_backend_name() == "sqlite":
        return ("sqlite", Path(url.database or "").resolve())
    return ("postgresql", url.host, url.port or 5432, url.database)
