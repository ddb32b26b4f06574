"""PostgreSQL: each query in a read-only transaction of its own, which is rolled back.

This wall is as strong as the role of the URL: docs/tools.md says to give it one that can only read.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from chatcore.config_file import NamedDatabase
from chatcore.tools.sql.cells import LONGEST
from chatcore.tools.sql.guard import Query, Schema, Table
from chatcore.tools.sql.sources import MOST_ROWS, TOO_LONG, UNREACHABLE, Rows, read, require_columns
from chatcore.tools.values import ToolFailed

_SCHEMA_FOR: Final = 60.0  # seconds that what a database holds is not asked again
_CONNECT_WITHIN: Final = 5  # seconds
_BATCH: Final = 50  # rows
_LIMITS: Final[Mapping[str, str]] = {
    "transaction_read_only": "on", "statement_timeout": "{ms}", "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "60000", "search_path": "pg_catalog", "DateStyle": "ISO", "TimeZone": "UTC",
}  # fmt: skip
# What the server says of a query (its syntax, its names, its data); of itself it tells hosts, roles and paths.
_SAYABLE: Final = ("0A", "21", "22", "42", "54")
_CANCELLED: Final = "57014"
# Types that are sent as they are: bool, int8, int2, int4, oid, float4, float8, numeric. All others are made into text,
# and cut, by the server: a value of a gigabyte never leaves it.
_PLAIN: Final = frozenset({16, 20, 21, 23, 26, 700, 701, 1700})
_BYTEA: Final = 17
_TABLES: Final = """
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND has_schema_privilege(n.oid, 'USAGE')
  AND has_column_privilege(c.oid, a.attnum, 'SELECT')
ORDER BY n.nspname, c.relname, a.attnum LIMIT 20000
"""
_OF_A_ROW: Final = """
SELECT DISTINCT proname FROM pg_proc WHERE pronargs >= 1 AND pronargs - pronargdefaults <= 1
  AND (provariadic <> 0 OR format_type(proargtypes[0], NULL) ~ '^"?any|^record')
"""


class PostgresSource:
    """A PostgreSQL database."""

    def __init__(self, named: NamedDatabase, url: URL) -> None:
        self.name, self.description = named.name, named.description
        self.rows, self.timeout = min(named.rows, MOST_ROWS), named.timeout
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
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection that can only read, for so long. Raises `ToolFailed`."""
        try:
            with self._engine.connect() as connection:
                driver: Any = connection.connection.driver_connection
                for name, value in _LIMITS.items():
                    driver.execute(f"SET LOCAL {name} = '{value.format(ms=round(self.timeout * 1000))}'")
                yield driver
                driver.rollback()
        except (SQLAlchemyError, psycopg.Error) as error:
            raise ToolFailed(_said(error)) from None

    def _look(self) -> Schema:
        with self.transaction() as driver:
            found = driver.execute(_TABLES).fetchall()
            functions = frozenset(name for (name,) in driver.execute(_OF_A_ROW))
        columns: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for schema, table, name, kind in found:
            columns.setdefault((schema, table), []).append((name, kind))
        tables = [Table(*key, tuple(its)) for key, its in columns.items() if self._may_be_read(*key)]
        others = frozenset(name.lower() for schema, name in columns if not self._may_be_read(schema, name))
        return Schema("postgres", "public", tables, others, functions)

    def _may_be_read(self, schema: str, name: str) -> bool:
        here = (f"{schema}.{name}", name) if schema == "public" else (f"{schema}.{name}",)
        return not self._allowed or any(one in self._allowed for one in here)


@dataclass
class PostgresRunning:
    """One query of a PostgreSQL source."""

    source: PostgresSource
    _driver: psycopg.Connection[Any] | None = None
    _cancelled: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rows(self, query: Query, most: int) -> Rows:
        """Run it."""
        with self.source.transaction() as driver:
            deadline = time.monotonic() + self.source.timeout
            with self._lock:
                if self._cancelled:
                    raise ToolFailed(TOO_LONG)
                self._driver = driver
            try:
                columns, sql = _cut(driver, query.sql)
                # A cursor on the server takes nothing but a SELECT, and sends a few rows at a time.
                with driver.cursor(name="asked") as cursor:
                    cursor.itersize = _BATCH
                    return read(columns, cursor.execute(sql), most, deadline)
            finally:
                with self._lock:
                    self._driver = None

    def cancel(self) -> None:
        """End it."""
        self._cancelled = True
        threading.Thread(target=self._cancel, daemon=True).start()

    def _cancel(self) -> None:
        """Again and again: between two statements there is nothing to be cancelled."""
        until = time.monotonic() + self.source.timeout
        while time.monotonic() < until:
            with self._lock:
                driver = self._driver
            if driver is None:
                return
            with suppress(psycopg.Error):
                driver.cancel_safe(timeout=2.0)
            time.sleep(0.1)


def _engine(url: URL) -> Engine:
    # No pool: a connection that a query has spoiled is nobody else's.
    arguments = {"connect_timeout": _CONNECT_WITHIN, "options": "-c default_transaction_read_only=on"}
    return create_engine(url, poolclass=NullPool, connect_args=arguments)


def _cut(driver: psycopg.Connection[Any], sql: str) -> tuple[list[str], str]:
    """The names of the columns, and the query with each of its values cut by the server."""
    look = f"SELECT * FROM ({sql}) AS asked LIMIT 0"  # noqa: S608 - the guard wrote it
    # Prepared: the server refuses a second statement.
    cursor = driver.execute(look.encode(), prepare=True)
    found = cursor.description or []
    require_columns([column.name for column in found])
    names = [f"c{number}" for number in range(len(found))]
    cut = ", ".join(_shortened(name, column.type_code) for name, column in zip(names, found, strict=True))
    asked = f"SELECT {cut} FROM ({sql}) AS asked({', '.join(names)})"  # noqa: S608
    return [column.name for column in found], asked


def _shortened(name: str, kind: int) -> str:
    if kind in _PLAIN:
        return name
    return f"'[' || octet_length({name}) || ' bytes]'" if kind == _BYTEA else f"left({name}::text, {LONGEST + 1})"


def _said(error: Exception) -> str:
    """The server's sentence about the query: none about the connection."""
    found: Any = getattr(error, "orig", error)
    state = getattr(found, "sqlstate", None) or ""
    if state == _CANCELLED:
        return TOO_LONG
    if not state.startswith(_SAYABLE):
        return UNREACHABLE if state[:2] in ("", "08", "28", "3D", "53", "57") else "The database refused the query."
    return f"The database refused the query: {found.diag.message_primary}"
