"""The built-in database `usage`: a person's own calls, copied into memory for one query."""

import sqlite3
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.config_file import NamedDatabase
from chatcore.db import Database
from chatcore.db.tables import Agent, UsageMetric, utcnow
from chatcore.tools.sql.guard import Schema, Table
from chatcore.tools.sql.sqlite import SqliteSource

NAME: Final = "usage"
_DAYS: Final = 400
_MOST: Final = 50_000
_COLUMNS: Final = {
    "created_at": "TEXT", "day": "TEXT", "purpose": "TEXT", "provider": "TEXT", "model": "TEXT", "agent": "TEXT",
    "outcome": "TEXT", "prompt_tokens": "INTEGER", "cached_tokens": "INTEGER", "completion_tokens": "INTEGER",
    "reasoning_tokens": "INTEGER", "cost_usd": "REAL", "saved_usd": "REAL", "ttft_ms": "INTEGER",
    "latency_ms": "INTEGER",
}  # fmt: skip
_ABOUT: Final = (
    "The person's own calls to models, one row each in the table `calls`, the newest 50,000 of the last 400 days. "
    "created_at and day are UTC (SQLite text), cost_usd is NULL where it is not known, outcome is ok, stopped, "
    "interrupted, error, timeout, rate_limited, truncated or cached."
)


def own_usage(db: Database, who: Principal) -> SqliteSource:
    """The source for one person."""
    named = NamedDatabase(name=NAME, url="memory", description=_ABOUT, tables=["calls"])
    schema = Schema("sqlite", "main", [Table("main", "calls", tuple(_COLUMNS.items()))])
    return SqliteSource(named, connect=lambda: _filled(db, who), schema=schema)


def _filled(db: Database, who: Principal) -> sqlite3.Connection:
    rows = db.read(lambda session: _rows(session, who))
    made = sqlite3.connect(":memory:", check_same_thread=False)
    columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
    made.execute(f"CREATE TABLE calls ({columns})")
    marks = ", ".join("?" * len(_COLUMNS))
    made.executemany(f"INSERT INTO calls VALUES ({marks})", rows)  # noqa: S608 - our own names and marks
    made.commit()
    return made


def _rows(session: Session, who: Principal) -> list[tuple[Any, ...]]:
    row = UsageMetric
    found = session.execute(
        select(
            row.created_at, row.purpose, row.provider, row.model, Agent.name, row.outcome, row.prompt_tokens,
            row.cached_tokens, row.completion_tokens, row.reasoning_tokens, row.cost_nano_usd, row.saved_nano_usd,
            row.ttft_ms, row.latency_ms,
        )
        .outerjoin(Agent, (Agent.id == row.agent_id) & (Agent.tenant_id == row.tenant_id))
        .where(
            row.tenant_id == who.tenant_id, row.user_id == who.user_id, row.outcome != "running",
            row.created_at > utcnow() - timedelta(days=_DAYS),
        )
        .order_by(row.created_at.desc())
        .limit(_MOST)
    )  # fmt: skip
    return [
        (
            one[0].strftime("%Y-%m-%d %H:%M:%S"), one[0].strftime("%Y-%m-%d"), *one[1:10],
            None if one[10] is None else one[10] / 1e9, (one[11] or 0) / 1e9, *one[12:],
        )
        for one in found
    ]  # fmt: skip
