"""The databases that can be asked: what a connection to each cannot do, whatever is sent over it.

Three walls stand behind one another: the query is made by `guard`, the connection can only read, and what it reads is
limited in time and rows. The second one of PostgreSQL is as strong as its role: docs/tools.md says to give it one.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote

from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from chatcore.config_file import NamedDatabase, resolved
from chatcore.errors import ConfigError
from chatcore.tools.sql.allowed import BY_NAME
from chatcore.tools.sql.guard import Query, Schema, Table
from chatcore.tools.values import ToolFailed

_SCHEMA_FOR: Final = 60.0  # seconds that what a database holds is not asked again
_CONNECT_WITHIN: Final = 5  # seconds
_BATCH: Final = 200
_LONGEST: Final = 10_000_000  # bytes of a value in SQLite
_STEPS: Final = 10_000  # of SQLite's machine between two looks at the clock
_SYSTEM: Final = frozenset({"information_schema", "pg_catalog", "pg_toast"})
_UNREACHABLE: Final = "The database cannot be reached. Try again later, or tell an admin."
_TOO_LONG: Final = "The query took too long, so it was ended. Ask for less at once."
# What SQLite calls functions of its own that our allow list does not name: operators, and what the parser renames.
_INNER: Final = frozenset({
    "like", "glob", "count", "sum", "avg", "min", "max", "abs", "round", "coalesce", "lower", "upper", "length",
    "replace", "substring", "group_concat", "string_agg", "row_number", "rank", "dense_rank", "percent_rank",
    "cume_dist", "ntile", "lag", "lead", "first_value", "last_value", "nth_value", "nullif", "trim", "typeof",
    "json_extract", "->", "->>", "ceil", "ceiling", "floor", "exp", "ln", "log", "pow", "power", "sqrt", "sign", "mod",
    "unicode", "concat", "concat_ws", "current_date", "current_time", "current_timestamp", "char", "median",
})  # fmt: skip


@dataclass
class Rows:
    """What a query gave. `more`: there were more than were read."""

    columns: list[str]
    rows: list[Sequence[Any]]
    more: bool = False


class Running(Protocol):
    """A query that runs in a thread, and can be ended from another."""

    def rows(self, query: Query, most: int) -> Rows:
        """Run it. Raises `ToolFailed`."""

    def cancel(self) -> None:
        """End it in the database. Returns at once, and does nothing where it has ended."""


class Source(Protocol):
    """A database that can be asked."""

    name: str
    description: str
    rows: int
    timeout: float

    def schema(self) -> Schema:
        """What may be read. Raises `ToolFailed`. May wait for the database."""

    def running(self) -> Running:
        """A place for one query."""


class SqliteSource:
    """An SQLite file, or what `connect` gives: opened for reading, asked before each step whether it is allowed."""

    def __init__(
        self, named: NamedDatabase, path: str = "", connect: Callable[[], sqlite3.Connection] | None = None
    ) -> None:
        self.name, self.description = named.name, named.description
        self.rows, self.timeout = named.rows, named.timeout
        self._allowed = frozenset(table.lower().removeprefix("main.") for table in named.tables)
        self._connect = connect or (lambda: _opened(path))

    def schema(self) -> Schema:
        """What may be read."""
        with closing(self._connection()) as connection:
            return self.schema_of(connection)

    def schema_of(self, connection: sqlite3.Connection) -> Schema:
        """What may be read of an open one."""
        names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
        tables, others = [], set()
        for (name,) in names:
            if name.lower().startswith("sqlite_") or (self._allowed and name.lower() not in self._allowed):
                others.add(name.lower())
                continue
            columns = connection.execute(f"PRAGMA table_info({_quoted(name)})").fetchall()
            tables.append(Table("main", name, tuple((column[1], column[2]) for column in columns)))
        return Schema("sqlite", "main", tables, frozenset(others))

    def running(self) -> "SqliteRunning":
        """A place for one query."""
        return SqliteRunning(self)

    def connection(self) -> sqlite3.Connection:
        """A new connection. Raises `ToolFailed`."""
        return self._connection()

    def _connection(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.Error:
            raise ToolFailed(_UNREACHABLE) from None


@dataclass
class SqliteRunning:
    """One query of an SQLite source."""

    source: SqliteSource
    _connection: sqlite3.Connection | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rows(self, query: Query, most: int) -> Rows:
        """Run it."""
        deadline = time.monotonic() + self.source.timeout
        with closing(self.source.connection()) as connection:
            _shut_in(connection, self.source.schema_of(connection), query.names, deadline)
            with self._lock:
                self._connection = connection
            try:
                cursor = connection.execute(query.sql)
                return _read([column[0] for column in cursor.description or ()], cursor.fetchmany, most)
            except sqlite3.OperationalError as error:
                if time.monotonic() >= deadline or str(error) == "interrupted":
                    raise ToolFailed(_TOO_LONG) from None
                raise ToolFailed(f"The database refused the query: {error}") from None
            except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
                raise ToolFailed(f"The database refused the query: {error}") from None
            finally:
                with self._lock:
                    self._connection = None

    def cancel(self) -> None:
        """End it."""
        with self._lock:
            if self._connection is not None:
                self._connection.interrupt()


class PostgresSource:
    """A PostgreSQL database: each query in a read-only transaction of its own, which is rolled back."""

    def __init__(self, named: NamedDatabase, url: URL) -> None:
        self.name, self.description = named.name, named.description
        self.rows, self.timeout = named.rows, named.timeout
        self._allowed = frozenset(named.tables)
        self._engine = _engine(url)
        self._known: Schema | None = None
        self._known_at = 0.0
        self._lock = threading.Lock()

    def schema(self) -> Schema:
        """What may be read."""
        with self._lock:
            if self._known is None or time.monotonic() - self._known_at > _SCHEMA_FOR:
                self._known, self._known_at = self._look(), time.monotonic()
            return self._known

    def running(self) -> "PostgresRunning":
        """A place for one query."""
        return PostgresRunning(self)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A connection that can only read, for so long. Raises `ToolFailed`."""
        try:
            with self._engine.connect() as connection:
                connection.execute(text("SET TRANSACTION READ ONLY"))
                for name, value in _LIMITS.items():
                    connection.execute(text(f"SET LOCAL {name} = '{value.format(ms=round(self.timeout * 1000))}'"))
                yield connection
                connection.rollback()
        except SQLAlchemyError as error:
            raise ToolFailed(_said_by_postgres(error)) from None

    def _look(self) -> Schema:
        with self.transaction() as connection:
            found = inspect(connection)
            tables, others = [], set()
            for schema in found.get_schema_names():
                if schema in _SYSTEM or schema.startswith("pg_"):
                    continue
                for name in [*found.get_table_names(schema), *found.get_view_names(schema)]:
                    if not self._may_be_read(schema, name):
                        others.add(name.lower())
                        continue
                    columns = tuple((one["name"], str(one["type"])) for one in found.get_columns(name, schema))
                    tables.append(Table(schema, name, columns))
        return Schema("postgres", "public", tables, frozenset(others))

    def _may_be_read(self, schema: str, name: str) -> bool:
        here = (f"{schema}.{name}", name) if schema == "public" else (f"{schema}.{name}",)
        return not self._allowed or any(one in self._allowed for one in here)


@dataclass
class PostgresRunning:
    """One query of a PostgreSQL source."""

    source: PostgresSource
    _driver: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rows(self, query: Query, most: int) -> Rows:
        """Run it."""
        with self.source.transaction() as connection:
            with self._lock:
                self._driver = connection.connection.driver_connection
            try:
                streamed = connection.execution_options(stream_results=True, max_row_buffer=_BATCH)
                with streamed.exec_driver_sql(query.sql.replace("%", "%%")) as result:
                    return _read(list(result.keys()), result.fetchmany, most)
            finally:
                with self._lock:
                    self._driver = None

    def cancel(self) -> None:
        """End it."""
        with self._lock:
            driver = self._driver
        if driver is not None:
            threading.Thread(target=driver.cancel_safe, kwargs={"timeout": 5.0}, daemon=True).start()


_LIMITS: Final[Mapping[str, str]] = {
    "statement_timeout": "{ms}",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "60000",
    "search_path": "pg_catalog",
}


def named_source(named: NamedDatabase, environment: Mapping[str, str]) -> Source:
    """The source of a database that the config file names. Raises `ConfigError`: it cannot be one."""
    url, missing = resolved(named.url, environment)
    if missing:
        raise ConfigError(f"chatcore.databases: {named.name} needs the variable {missing[0]}, which is not set.")
    try:
        made = make_url(str(url))
    except (ArgumentError, ValueError):
        raise ConfigError(f"chatcore.databases: the url of {named.name} is no database URL.") from None
    backend = made.get_backend_name()
    if backend == "sqlite" and made.database:
        return SqliteSource(named, made.database)
    if backend in ("postgresql", "postgres"):
        return PostgresSource(named, made.set(drivername="postgresql+psycopg"))
    raise ConfigError(f"chatcore.databases: {named.name} is neither an SQLite file nor PostgreSQL.")


def _engine(url: URL) -> Engine:
    # No pool: a connection that a query has spoiled is nobody else's.
    arguments = {"connect_timeout": _CONNECT_WITHIN, "options": "-c default_transaction_read_only=on"}
    return create_engine(url, poolclass=NullPool, connect_args=arguments)


def _opened(path: str) -> sqlite3.Connection:
    address = f"file:{quote(path)}?mode=ro"
    return sqlite3.connect(address, uri=True, check_same_thread=False, timeout=2.0)


def _shut_in(connection: sqlite3.Connection, schema: Schema, names: frozenset[str], deadline: float) -> None:
    """From here on the connection reads the allowed tables, until the deadline, and does nothing else. `names`: that a
    query gives to its own parts."""
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    readable = {table.name.lower() for table in schema.tables} | (names - schema.others)
    functions = _INNER | BY_NAME["sqlite"]

    def allows(action: int, first: str | None, second: str | None, _: str | None, through: str | None) -> int:
        if action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in functions:
            return sqlite3.SQLITE_OK
        # A view that may be read reads what it is made of.
        if action == sqlite3.SQLITE_READ and ((first or "").lower() in readable or (through or "").lower() in readable):
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    connection.set_authorizer(allows)
    connection.set_progress_handler(lambda: int(time.monotonic() >= deadline), _STEPS)


def _read(columns: list[str], fetch: Callable[[int], Sequence[Sequence[Any]]], most: int) -> Rows:
    found: list[Sequence[Any]] = []
    while len(found) <= most and (batch := fetch(min(_BATCH, most + 1 - len(found)))):
        found += batch
    return Rows(columns, found[:most], more=len(found) > most)


def _said_by_postgres(error: SQLAlchemyError) -> str:
    """The server's sentence about the query: none about the connection, which names hosts and roles."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    if not state or state[:2] in ("08", "28", "57", "53", "3D"):
        return _TOO_LONG if state == "57014" else _UNREACHABLE
    said = getattr(getattr(error.orig, "diag", None), "message_primary", None)  # type: ignore[attr-defined]
    return f"The database refused the query: {said}" if said else "The database refused the query."


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
