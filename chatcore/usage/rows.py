"""The ledger's rows themselves: the newest behind a number, and all of them as CSV."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import UsageMetric, User
from chatcore.usage.scope import Filter, conditions

Cursor = tuple[datetime, str]
Rows = Sequence[Row[Any]]
Read = Callable[[Callable[[Session], Rows]], Rows]

_PAGE: Final = 5_000
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
CSV_COLUMNS: Final = (
    *("id", "created_at", "tenant_id", "user_id", "username", "conversation_id", "message_id", "turn_id", "attempt"),
    *("purpose", "provider", "model", "provider_model", "agent_id", "outcome", "error_type", "prompt_tokens"),
    *("cached_tokens", "cache_write_tokens", "completion_tokens", "reasoning_tokens", "usage_source", "price_source"),
    *("key_source", "cost_nano_usd"),
    *("saved_nano_usd", "ttft_ms", "latency_ms", "cache_hit", "tier", "trace_id", "is_demo", "settled_at"),
)


@dataclass(frozen=True)
class Call:
    """One call to a model, as the ledger has it. `username` is empty where the person is gone."""

    id: str
    created_at: datetime
    user_id: str
    username: str
    model: str
    provider: str
    purpose: str
    agent_id: str | None
    conversation_id: str | None
    attempt: int
    outcome: str
    error_type: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    usage_source: str
    cost_nano_usd: int | None
    ttft_ms: int | None
    latency_ms: int | None
    trace_id: str
    is_demo: bool

    @property
    def cursor(self) -> Cursor:
        """Hand it to `calls(before=…)` for the rows that follow this one."""
        return self.created_at, self.id


def calls(session: Session, principal: Principal, chosen: Filter, limit: int, before: Cursor | None) -> list[Call]:
    """At most `limit` rows, newest first, those older than `before` where it is given."""
    names = [one.name for one in fields(Call)]
    return [Call(*row) for row in session.execute(_newest(principal, chosen, names, limit, before))]


def csv_lines(read: Read, principal: Principal, chosen: Filter) -> Iterator[str]:
    """CSV text in pieces: a heading, then every row, newest first. No session stays open between two pieces."""
    yield _csv([CSV_COLUMNS])
    before: Cursor | None = None
    while True:
        statement = _newest(principal, chosen, CSV_COLUMNS, _PAGE, before)
        rows = read(partial(_all, statement))
        if rows:
            yield _csv([_cell(value) for value in row] for row in rows)
        if len(rows) < _PAGE:
            return
        before = (rows[-1].created_at, rows[-1].id)


def _all(statement: Select[Any], session: Session) -> Rows:
    return session.execute(statement).all()


def _newest(
    principal: Principal, chosen: Filter, names: list[str] | tuple[str, ...], limit: int, before: Cursor | None
) -> Select[Any]:
    row = UsageMetric
    username = func.coalesce(User.username, "").label("username")
    wanted: list[ColumnElement[Any]] = [username if name == "username" else getattr(row, name) for name in names]
    statement = select(*wanted).outerjoin(User, and_(User.id == row.user_id, User.tenant_id == row.tenant_id))
    statement = statement.where(*conditions(principal, chosen))
    if before is not None:
        at, row_id = before
        statement = statement.where(row.created_at <= at, or_(row.created_at < at, row.id < row_id))
    return statement.order_by(row.created_at.desc(), row.id.desc()).limit(limit)


def _csv(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula begins with an apostrophe instead."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value
