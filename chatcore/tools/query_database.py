"""The tools `query_database` and `describe_database`: SELECTs over databases that an admin has named."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from chatcore.accounts import Principal
from chatcore.agents import Agent
from chatcore.config import Settings
from chatcore.config_file import NamedDatabase
from chatcore.db import Database
from chatcore.errors import ConfigError
from chatcore.tools.access import may_use
from chatcore.tools.sql import guard, own_usage, results
from chatcore.tools.sql.sources import Rows, Source, named_source
from chatcore.tools.values import Tool, ToolCall, ToolChoice, ToolFailed, ToolResult, ToolSpec

T = TypeVar("T")
log = logging.getLogger(__name__)

NAME: Final = "query_database"
_MOST_SCHEMA: Final = 30_000  # characters
_GRACE: Final = 5.0  # seconds beyond the database's own limit
_CHART: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Draw the rows too.",
    "properties": {
        "kind": {"enum": ["line", "bar", "pie", "scatter"]},
        "x": {"type": "string", "description": "The column of the points or slices."},
        "y": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 12},
        "title": {"type": "string"},
    },
    "required": ["kind", "x", "y"],
    "additionalProperties": False,
}


class Databases:
    """The databases of this instance, as a source of tools."""

    def __init__(self, db: Database, settings: Settings) -> None:
        """Raises `ConfigError` for a database that cannot be one."""
        self._db = db
        self._named = {one.name: one for one in settings.own.databases}
        if own_usage.NAME in self._named or len(self._named) < len(settings.own.databases):
            raise ConfigError("chatcore.databases: each needs a name of its own, and `usage` is taken.")
        self._sources = {name: named_source(one, settings.environment) for name, one in self._named.items()}

    def choices(self, who: Principal) -> Sequence[ToolChoice]:
        """One choice; everybody has at least their own usage."""
        names = ", ".join(self.of(who))
        about = f"Reads databases with SELECTs and shows tables and charts: {names}."
        return [ToolChoice(NAME, "Query a database", about, ":material/database:")]

    def tools(self, who: Principal, agent: Agent | None, names: Sequence[str]) -> Sequence[Tool]:
        """Both tools."""
        if NAME not in names:
            return []
        sources = self.of(who)
        return [QueryDatabase(sources), DescribeDatabase(sources)]

    def of(self, who: Principal) -> dict[str, Source]:
        """The databases that this person may read, by name."""
        found: dict[str, Source] = {own_usage.NAME: own_usage.own_usage(self._db, who)}
        return found | {name: self._sources[name] for name, one in self._named.items() if self._may(who, one)}

    def _may(self, who: Principal, named: NamedDatabase) -> bool:
        return may_use(self._db, who, named.access)


class QueryDatabase:
    """Runs one SELECT."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        listed = "\n".join(f"- {one.name}: {one.description or 'no description'}" for one in sources.values())
        self.spec = ToolSpec(
            NAME,
            "Run one SQL SELECT on a database and get its rows. Only reading is possible: no second statement, "
            "no WITH RECURSIVE and no function in FROM. Look at the tables with describe_database first. The person "
            f"sees the rows as a table, so do not repeat them all. Databases:\n{listed}",
            {
                "type": "object",
                "properties": {
                    "database": {"enum": list(sources)},
                    "sql": {"type": "string", "description": "One SELECT in the database's dialect."},
                    "chart": _CHART,
                },
                "required": ["database", "sql"],
                "additionalProperties": False,
            },
            timeout=max(one.timeout for one in sources.values()) + 2 * _GRACE,
        )

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """See `tools.Tool`."""
        source = self._sources[arguments["database"]]
        running = source.running()

        def work() -> Rows:
            query = guard.guarded(arguments["sql"], source.schema(), source.rows + 1)
            return running.rows(query, source.rows)

        rows = await _in_thread(work, running.cancel, source.timeout + _GRACE)
        found = results.cells(rows)
        parts = [results.table("", rows.columns, found)]
        if wanted := arguments.get("chart"):
            parts.insert(0, results.chart(wanted, rows.columns, found))
        return ToolResult(results.text(rows.columns, found, more=rows.more), tuple(part for part in parts if part))


class DescribeDatabase:
    """Tells the tables and columns of a database."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        self.spec = ToolSpec(
            "describe_database",
            "List the tables of a database that query_database can read, with their columns and types.",
            {
                "type": "object",
                "properties": {"database": {"enum": list(sources)}},
                "required": ["database"],
                "additionalProperties": False,
            },
        )

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """See `tools.Tool`."""
        source = self._sources[arguments["database"]]
        schema = await _in_thread(source.schema, lambda: None, source.timeout + _GRACE)
        lines = [json.dumps(table, ensure_ascii=False) for table in guard.described(schema)]
        said = "\n".join([f"Dialect: {schema.dialect}. Tables:", *lines])
        return ToolResult(said if len(said) <= _MOST_SCHEMA else f"{said[:_MOST_SCHEMA]}\n[cut off: too many tables]")


async def _in_thread(work: Callable[[], T], cancel: Callable[[], None], seconds: float) -> T:
    """Work that blocks. Cancelled or too slow, it is ended in the database, and nobody waits for its thread."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.shield(task)
    except TimeoutError:
        raise ToolFailed("The database did not answer in time, so the query was ended.") from None
    finally:
        if not task.done():
            cancel()
            task.add_done_callback(_ended)


def _ended(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.info("a query that nobody waits for has ended", extra={"raised": type(error).__name__})
