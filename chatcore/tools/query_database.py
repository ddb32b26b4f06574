"""The tools `query_database` and `describe_database`: SELECTs over databases that an admin has named."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from chatcore.accounts import Principal
from chatcore.agents import Agent
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.errors import ConfigError
from chatcore.tools.access import may_use
from chatcore.tools.sql import guard, own_usage, results
from chatcore.tools.sql.naming import named_source
from chatcore.tools.sql.sources import Rows, Source
from chatcore.tools.values import Tool, ToolCall, ToolChoice, ToolFailed, ToolResult, ToolSpec

T = TypeVar("T")

NAME: Final = "query_database"
_MOST_SCHEMA: Final = 30_000  # characters
_GRACE: Final = 5.0  # seconds beyond the database's own limit
_AT_ONCE: Final = 8  # queries of this process; each has a thread and a connection
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
        self._sources = {
            name: named_source(one, settings.environment, settings.database_url) for name, one in self._named.items()
        }
        self._threads = Threads()

    async def start(self) -> None:
        """Nothing: a database is connected to when it is asked."""

    async def close(self) -> None:
        """End the queries that run."""
        self._threads.close()

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
        return [QueryDatabase(sources, self._threads), DescribeDatabase(sources, self._threads)]

    def of(self, who: Principal) -> dict[str, Source]:
        """The databases that this person may read, by name."""
        found: dict[str, Source] = {own_usage.NAME: own_usage.own_usage(self._db, who)}
        mine = [name for name, one in self._named.items() if may_use(self._db, who, one.access)]
        return found | {name: self._sources[name] for name in mine}


class Threads:
    """Where work waits for databases. What is left is ended in the database, and nobody waits for its thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="asked-database")
        self._cancels: set[Callable[[], None]] = set()

    async def run(self, work: Callable[[], T], cancel: Callable[[], None], seconds: float) -> T:
        """What `work` returns. Cancelled, or after so many seconds, `cancel` is called. Raises `ToolFailed`."""
        future = self._pool.submit(work)
        self._cancels.add(cancel)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(asyncio.wrap_future(future))
        except TimeoutError:
            raise ToolFailed("The database did not answer in time, so the query was ended.") from None
        finally:
            self._cancels.discard(cancel)
            if not future.done() and not future.cancel():
                cancel()

    def close(self) -> None:
        """End what runs; waits for nothing."""
        for cancel in list(self._cancels):
            cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)


class QueryDatabase:
    """Runs one SELECT."""

    def __init__(self, sources: Mapping[str, Source], threads: Threads) -> None:
        self._sources = sources
        self._threads = threads
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

        rows = await self._threads.run(work, running.cancel, source.timeout + _GRACE)
        text, parts = results.text(rows), [results.table(rows)] if rows.rows else []
        if rows.rows and (wanted := arguments.get("chart")):
            try:
                parts.insert(0, results.chart(wanted, rows))
            except ToolFailed as error:
                text = f"The chart could not be drawn. {error}\n{text}"
        return ToolResult(text, tuple(parts))


class DescribeDatabase:
    """Tells the tables and columns of a database."""

    def __init__(self, sources: Mapping[str, Source], threads: Threads) -> None:
        self._sources = sources
        self._threads = threads
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
        schema = await self._threads.run(source.schema, lambda: None, source.timeout + _GRACE)
        lines = [json.dumps(table, ensure_ascii=False) for table in guard.described(schema)]
        said = "\n".join([f"Dialect: {schema.dialect}. Tables:", *lines])
        return ToolResult(said if len(said) <= _MOST_SCHEMA else f"{said[:_MOST_SCHEMA]}\n[cut off: too many tables]")
