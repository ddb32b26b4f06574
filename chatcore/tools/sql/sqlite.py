"""SQLite: opened for reading, asked before each step whether it is allowed, and looked after by the clock."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from chatcore.config_file import NamedDatabase
from chatcore.tools.sql.allowed import BY_NAME
from chatcore.tools.sql.guard import Query, Schema, Table
from chatcore.tools.sql.sources import MOST_ROWS, TOO_LONG, UNREACHABLE, Rows, read, require_columns
from chatcore.tools.values import ToolFailed

_LONGEST: Final = 4_000_000  # bytes of a value
_DECODED: Final = 10_000  # bytes of a text that are looked at
_STEPS: Final = 10_000  # of SQLite's machine between two looks at the clock
# What SQLite calls functions of its own that our allow list does not name: operators, and what the parser renames.
_INNER: Final = frozenset({
    "like", "glob", "count", "sum", "avg", "min", "max", "abs", "round", "coalesce", "lower", "upper", "length",
    "replace", "substring", "group_concat", "string_agg", "row_number", "rank", "dense_rank", "percent_rank",
    "cume_dist", "ntile", "lag", "lead", "first_value", "last_value", "nth_value", "nullif", "trim", "typeof",
    "json_extract", "->", "->>", "ceil", "ceiling", "floor", "exp", "ln", "log", "pow", "power", "sqrt", "sign", "mod",
    "unicode", "concat", "concat_ws", "current_date", "current_time", "current_timestamp", "char", "median",
})  # fmt: skip
_FUNCTIONS: Final = _INNER | BY_NAME["sqlite"]


class SqliteSource:
    """An SQLite file, or what `connect` gives. `schema`: what is in that, where it is known."""

    def __init__(
        self,
        named: NamedDatabase,
        path: str = "",
        connect: Callable[[], sqlite3.Connection] | None = None,
        schema: Schema | None = None,
    ) -> None:
        self.name, self.description = named.name, named.description
        self.rows, self.timeout = min(named.rows, MOST_ROWS), named.timeout
        self._allowed = frozenset(table.lower().removeprefix("main.") for table in named.tables)
        self._connect = connect or (lambda: _opened(path))
        self._schema = schema

    def schema(self) -> Schema:
        """What may be read."""
        if self._schema is not None:
            return self._schema
        with closing(self.connection()) as connection:
            return self.schema_of(connection)

    def schema_of(self, connection: sqlite3.Connection) -> Schema:
        """What may be read of an open one. Raises `ToolFailed`: it is no database."""
        if self._schema is not None:
            return self._schema
        try:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
            tables, others = [], {name.lower() for (name,) in connection.execute("PRAGMA module_list")}
            for (name,) in names:
                if name.lower().startswith("sqlite_") or (self._allowed and name.lower() not in self._allowed):
                    others.add(name.lower())
                    continue
                columns = connection.execute(f"PRAGMA table_info({_quoted(name)})").fetchall()
                tables.append(Table("main", name, tuple((column[1], column[2]) for column in columns)))
        except sqlite3.Error:
            raise ToolFailed(UNREACHABLE) from None
        return Schema("sqlite", "main", tables, frozenset(others))

    def running(self) -> "SqliteRunning":
        """A place for one query."""
        return SqliteRunning(self)

    def connection(self) -> sqlite3.Connection:
        """A new connection. Raises `ToolFailed`."""
        try:
            return self._connect()
        except sqlite3.Error:
            raise ToolFailed(UNREACHABLE) from None


@dataclass
class SqliteRunning:
    """One query of an SQLite source."""

    source: SqliteSource
    _ended: threading.Event = field(default_factory=threading.Event)

    def rows(self, query: Query, most: int) -> Rows:
        """Run it."""
        with closing(self.source.connection()) as connection:
            deadline = time.monotonic() + self.source.timeout
            _shut_in(connection, self.source.schema_of(connection), query.names)
            connection.set_progress_handler(lambda: self._ended.is_set() or time.monotonic() >= deadline, _STEPS)
            try:
                cursor = connection.execute(query.sql)
                columns = [column[0] for column in cursor.description or ()]
                require_columns(columns)
                return read(columns, cursor, most, deadline)
            except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
                if str(error) == "interrupted":
                    raise ToolFailed(TOO_LONG) from None
                raise ToolFailed(f"The database refused the query: {error}") from None

    def cancel(self) -> None:
        """End it."""
        self._ended.set()


def _opened(path: str) -> sqlite3.Connection:
    address = f"file:{quote(path)}?mode=ro"
    return sqlite3.connect(address, uri=True, check_same_thread=False, timeout=2.0)


def _shut_in(connection: sqlite3.Connection, schema: Schema, names: frozenset[str]) -> None:
    """From here on the connection reads the allowed tables, and does nothing else. `names`: that a query gives to its
    own parts, under which SQLite asks for their columns."""
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.text_factory = lambda data: data[:_DECODED].decode(errors="replace")
    tables = {table.name.lower() for table in schema.tables}
    readable = tables | (names - schema.others)

    def allows(action: int, first: str | None, second: str | None, _: str | None, through: str | None) -> int:
        if action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS:
            return sqlite3.SQLITE_OK
        # A view that may be read reads what it is made of.
        if action == sqlite3.SQLITE_READ and ((first or "").lower() in readable or (through or "").lower() in tables):
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    connection.set_authorizer(allows)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
