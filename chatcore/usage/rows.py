"""The ledger's rows themselves: the calls behind a number, the newest first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import UsageMetric, User
from chatcore.usage import cells
from chatcore.usage.measures import ERROR_TYPE, FAILED
from chatcore.usage.scope import Filter, TooManyCalls, conditions
from chatcore.usage.steps import spans

Cursor = tuple[datetime, str]
Rows = Sequence[Row[Any]]
Read = Callable[[Callable[[Session], Rows]], Rows]

_PAGE: Final = 5_000
_FIRST: Final = timedelta(days=1)  # that are looked at for a page, counted from the end


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
    tier: str

    @property
    def cursor(self) -> Cursor:
        """Hand it to `calls(before=…)` for the rows that follow this one."""
        return self.created_at, self.id


NAMES: Final = tuple(one.name for one in fields(Call))


def calls(
    session: Session,
    principal: Principal,
    chosen: Filter,
    limit: int,
    before: Cursor | None,
    outcomes: Sequence[str] = (),
    error_types: Sequence[str] = (),
) -> list[Call]:
    """At most `limit` rows, newest first, those older than `before` where it is given."""
    more: list[ColumnElement[bool]] = [UsageMetric.outcome.in_(outcomes)] if outcomes else []
    if error_types:
        more += [UsageMetric.outcome.in_(FAILED), ERROR_TYPE.in_(error_types)]
    found: list[Call] = []
    for part in _backwards(chosen, before):
        statement = _newest(principal, part, NAMES, limit - len(found), before).where(*more)
        found += [Call(*row) for row in session.execute(statement)]
        if len(found) >= limit or (not found and part.end == chosen.end and _none(session, principal, chosen)):
            break
    return found


def _backwards(chosen: Filter, before: Cursor | None) -> Iterator[Filter]:
    """The range in parts, the last first, each twice as long as the one after it: few rows are read for a page."""
    end, length = chosen.end, _FIRST
    if before is not None:
        end = min(end, before[0] + timedelta(microseconds=1))
    while end > chosen.start:
        start = chosen.start if end - chosen.start <= length else end - length
        yield replace(chosen, start=start, end=end)
        end, length = start, 2 * length


def _none(session: Session, principal: Principal, chosen: Filter) -> bool:
    """Whether a rollup knows that there is no such call; False where none can tell."""
    try:
        return cells.read(session, principal, chosen, "none", spans(chosen.start, chosen.end, None, UTC)).empty
    except TooManyCalls:
        return False


def pages(read: Read, principal: Principal, chosen: Filter, names: Sequence[str]) -> Iterator[Rows]:
    """All rows in lists of some thousand, newest first. No session stays open between two of them."""
    before: Cursor | None = None
    while True:
        rows = read(partial(_all, _newest(principal, chosen, names, _PAGE, before)))
        if rows:
            yield rows
        if len(rows) < _PAGE:
            return
        before = (rows[-1].created_at, rows[-1].id)


def columns(names: Sequence[str]) -> list[ColumnElement[Any]]:
    """Ledger columns by name, and `username`, for a SELECT that joins `PERSON`."""
    username = func.coalesce(User.username, "").label("username")
    return [username if name == "username" else getattr(UsageMetric, name) for name in names]


PERSON: Final = and_(User.id == UsageMetric.user_id, User.tenant_id == UsageMetric.tenant_id)


def _all(statement: Select[Any], session: Session) -> Rows:
    return session.execute(statement).all()


def _newest(
    principal: Principal, chosen: Filter, names: Sequence[str], limit: int, before: Cursor | None
) -> Select[Any]:
    row = UsageMetric
    statement = select(*columns(names)).outerjoin(User, PERSON).where(*conditions(principal, chosen))
    if before is not None:
        at, row_id = before
        statement = statement.where(row.created_at <= at, or_(row.created_at < at, row.id < row_id))
    return statement.order_by(row.created_at.desc(), row.id.desc()).limit(limit)
