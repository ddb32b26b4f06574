"""A query of a model, parsed, found to be one harmless SELECT over allowed tables, and written anew.

What is run is never the model's text but what the parser made of it, with each table named in full and a limit of ours.
"""

import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

from chatcore.tools.sql import allowed
from chatcore.tools.sql.growth import growth
from chatcore.tools.values import ToolFailed

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # its warnings quote what was asked

MAX_SQL: Final = 20_000
"""Characters of a query."""
_MAX_NODES: Final = 5_000
_MAX_DEPTH: Final = 60  # of brackets; the parser goes as deep as they do
_MAX_INDEXES: Final = 200  # and as many times as there are of these
_BRACKETS: Final = {"(": 1, "[": 8, "{": 1, ")": -1, "]": -8, "}": -1}  # each array in an array doubles the time
_MAX_GROWTH: Final = 20_000
_PARSING: Final = 2.0  # seconds; a few odd texts take the parser hours
_ROOTS: Final = (exp.Select, exp.Union, exp.Intersect, exp.Except)
_TOO_DEEP: Final = "The query is nested too deeply. Write it more simply."
_ONLY: Final = "Only one SELECT can be run here: no writes, no settings, no second statement."
# Names of virtual tables that are there without being made, and of catalogs.
_RESERVED: Final = ("sqlite_", "pragma_", "json_", "pg_", "information_schema")
# Arguments of a SELECT and of a table that stand for nothing a report needs.
_NEVER: Final = (
    "into", "locks", "hint", "kind", "pivots", "match", "laterals", "sample", "operation_modifiers", "prewhere",
    "connect", "cluster", "distribute", "sort", "settings", "format", "version", "when", "rows_from", "changes",
    "ordinality", "partition", "only",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table or view that may be read, under its exact names. `columns`: name and type."""

    schema: str
    name: str
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Schema:
    """A database as far as it may be seen. `dialect`: the parser's name of it. `default`: the schema of a bare name.
    `others`: names of tables that are there and may not be read, in lower case. `functions`: names of functions that
    take a whole row."""

    dialect: str
    default: str
    tables: Sequence[Table]
    others: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Query:
    """A query as it is to be run. `names`: those that it gives to its own parts, in lower case."""

    sql: str
    names: frozenset[str] = frozenset()


def guarded(sql: str, schema: Schema, rows: int) -> Query:
    """The query as it is to be run, giving at most `rows` rows. Raises `ToolFailed` with what is wrong."""
    tree = _parsed(sql, schema.dialect)
    nodes = list(tree.walk())
    if len(nodes) > _MAX_NODES:
        raise ToolFailed("The query is too large. Ask for less at once.")
    for node in nodes:
        _require_allowed(node, schema.dialect)
        _require_no_call(node, schema)
    names = _own_names(nodes, schema)
    for table in [node for node in nodes if isinstance(node, exp.Table)]:
        _name_in_full(table, schema)
    _limit(tree, rows)
    try:
        if growth(tree) > _MAX_GROWTH:
            raise ToolFailed("The query builds on its own columns too often. Write it in fewer steps.")
        written = tree.sql(dialect=schema.dialect, identify=schema.dialect == "postgres", comments=False)
    except (SqlglotError, RecursionError):
        raise ToolFailed(_TOO_DEEP) from None
    return Query(written, names)


def _parsed(sql: str, dialect: str) -> exp.Expr:
    if "\0" in sql or len(sql) > MAX_SQL:
        raise ToolFailed(f"A query has at most {MAX_SQL:,} characters, and none of them is NUL.")
    if _depth(sql) > _MAX_DEPTH or sql.count("[") > _MAX_INDEXES:
        raise ToolFailed(_TOO_DEEP)
    try:
        with _ended_after(_PARSING):
            trees = [one for one in sqlglot.parse(sql, read=dialect) if not isinstance(one, exp.Semicolon | None)]
            if dialect == "postgres":  # every name is written in quotes below, so it is folded here
                trees = [normalize_identifiers(one, dialect=dialect) for one in trees]
    except (SqlglotError, ValueError) as error:
        raise ToolFailed(f"The query cannot be read as SQL: {_first_line(error)}") from None
    except (RecursionError, _TooSlow):
        raise ToolFailed(_TOO_DEEP) from None
    if len(trees) != 1 or not isinstance(trees[0], _ROOTS):
        raise ToolFailed(_ONLY)
    return trees[0]


class _TooSlow(BaseException):
    """No `Exception`: the parser tries one reading after another, and takes those for a wrong one."""


@contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """Ends Python code of this thread that takes longer, wherever it is."""
    deadline = time.monotonic() + seconds

    def look(*_: object) -> None:
        if time.monotonic() > deadline:
            raise _TooSlow

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)


def _depth(sql: str) -> int:
    deepest = depth = 0
    for sign in sql:
        depth += _BRACKETS.get(sign, 0)
        deepest = max(deepest, depth)
    words = sql.lower().split()
    return deepest + max(words.count("case"), words.count("not")) // 4


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def _require_allowed(node: exp.Expr, dialect: str) -> None:
    kind = type(node)
    if isinstance(node, exp.Anonymous):
        if str(node.this).lower() not in allowed.BY_NAME[dialect] or not isinstance(node.this, str):
            raise ToolFailed(f"The function {str(node.this)[:60]} may not be used here.")
    elif isinstance(node, exp.Func) and kind not in allowed.NODES:
        if kind not in allowed.FUNCTIONS:
            raise ToolFailed(f"The function {node.sql_name()[:60]} may not be used here.")
    elif kind not in allowed.NODES:
        raise ToolFailed(f"{_ONLY} ({node.key} is not allowed.)")
    if isinstance(node, exp.DataType):
        _require_plain(node)
    if isinstance(node, exp.With) and node.args.get("recursive"):
        raise ToolFailed("WITH RECURSIVE may not be used here.")
    if isinstance(node, exp.Select | exp.Table | exp.SetOperation):
        for name in _NEVER:
            if node.args.get(name):
                raise ToolFailed(f"{_ONLY} ({name} is not allowed.)")


def _require_plain(kind: exp.DataType) -> None:
    this = kind.this
    if not isinstance(this, exp.DataType.Type) or this.value not in allowed.TYPES:
        raise ToolFailed(f"The type {kind.sql()[:60]} may not be used here.")


def _require_no_call(node: exp.Expr, schema: Schema) -> None:
    """PostgreSQL takes `row.name` for a call of the function `name` where no column is called so."""
    if isinstance(node, exp.Column) and node.table and node.name.lower() in schema.functions - allowed.NAMES:
        raise ToolFailed(f"Name the column {node.name[:60]} otherwise: a function is called so.")


def _own_names(nodes: Sequence[exp.Expr], schema: Schema) -> frozenset[str]:
    """The names that the query gives to its own parts, in lower case. None of WITH is a table's, or one could stand for
    the other, and none is like those that a database makes tables of its own for."""
    taken = schema.others | {table.name.lower() for table in schema.tables}
    names = {one.alias.lower() for one in nodes if isinstance(one, exp.CTE | exp.Subquery) and one.alias}
    ctes = {one.alias.lower() for one in nodes if isinstance(one, exp.CTE)}
    for name in [*(ctes & taken), *(name for name in names if name.startswith(_RESERVED))]:
        raise ToolFailed(f"Give the part {name[:60]} of the query a name that no table has.")
    return frozenset(names)


def _name_in_full(table: exp.Table, schema: Schema) -> None:
    if not isinstance(table.this, exp.Identifier):
        raise ToolFailed("Functions may not stand in FROM here.")
    if table.catalog:
        raise ToolFailed("Name a table as schema.table, or by its name alone.")
    if not table.db and _is_cte(table):
        return
    found = _find(schema, table)
    if found is None:
        there = ", ".join(_shown(one, schema) for one in schema.tables[:60]) or "none"
        raise ToolFailed(f"There is no table {table.name[:60]} that may be read. There are: {there}.")
    if not table.alias:
        table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
    table.set("this", exp.to_identifier(found.name, quoted=True))
    table.set("db", exp.to_identifier(found.schema, quoted=True))


def _is_cte(table: exp.Table) -> bool:
    """Whether a WITH query that can be seen from there has this name."""
    inner: exp.Expr = table
    while (outer := inner.parent) is not None:
        seen: Sequence[exp.Expr] = ()
        if isinstance(outer, exp.With):
            seen = outer.expressions[: [one is inner for one in outer.expressions].index(True)]
        elif (with_ := outer.args.get("with_")) is not None and with_ is not inner:
            seen = with_.expressions
        if any(one.alias.lower() == table.name.lower() for one in seen):
            return True
        inner = outer
    return False


def _find(schema: Schema, table: exp.Table) -> Table | None:
    fold = str.lower if schema.dialect == "sqlite" else str
    wanted = (fold(table.db or schema.default), fold(table.name))
    return next((one for one in schema.tables if (fold(one.schema), fold(one.name)) == wanted), None)


def _shown(table: Table, schema: Schema) -> str:
    return table.name if table.schema == schema.default else f"{table.schema}.{table.name}"


def _limit(tree: exp.Expr, rows: int) -> None:
    found = tree.args.get("limit")
    if found is not None:
        asked = found.args.get("count" if isinstance(found, exp.Fetch) else "expression")
        if not isinstance(asked, exp.Literal) or not asked.is_int:
            raise ToolFailed("Write LIMIT as a number, or leave it out.")
        if int(asked.this) <= rows:
            return
    tree.set("limit", exp.Limit(expression=exp.Literal.number(rows)))


def described(schema: Schema) -> list[Mapping[str, Any]]:
    """The tables and their columns, for a model."""
    return [
        {"table": _shown(table, schema), "columns": [f"{name} {kind}" for name, kind in table.columns]}
        for table in schema.tables
    ]
