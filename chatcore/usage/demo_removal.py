"""Taking made-up data away again: calls day by day, each with its rollups counted anew, then the people."""

from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from chatcore.db import Database, changed_rows
from chatcore.db.tables import (
    Agent,
    ApiKey,
    BrowserSession,
    Conversation,
    LimitHit,
    OneTimeCode,
    Tenant,
    UsageMetric,
    User,
)
from chatcore.usage import rollup_days, rollups, zones

_CONVERSATIONS: Final = 500  # deleted by one transaction: each takes its messages along
_HITS: Final = 20_000
_call: Final = UsageMetric


def remove(db: Database, tenant_id: str | None = None) -> int:
    """As `demo_data.remove`, which callers use."""
    tenants = db.read(
        lambda session: {row.id: row.timezone for row in session.execute(select(Tenant.id, Tenant.timezone))}
    )
    chosen = [one for one in tenants if tenant_id in (None, one)]
    removed = sum(_remove_calls(db, one, zones.of_tenant(tenants[one])) for one in chosen)
    people = select(User.id).where(*_demo(User, tenant_id))
    _delete(db, Conversation, Conversation.user_id.in_(people))
    _delete(db, Conversation, *_demo(Conversation, tenant_id))
    db.write(lambda session: _delete_people(session, tenant_id))
    return removed


def _demo(table: type[User | Conversation], tenant_id: str | None) -> list[ColumnElement[bool]]:
    return [table.is_demo.is_(True), *([table.tenant_id == tenant_id] if tenant_id else [])]


def _remove_calls(db: Database, tenant_id: str, zone: tzinfo) -> int:
    """One transaction a day, along the index of the tenant's calls."""
    removed, after, month = 0, datetime(1, 1, 2, tzinfo=UTC), None
    while (first := db.read(partial(_first_call, tenant_id=tenant_id, after=after))) is not None:
        if month is not None and zones.month_start(first, zone) != month:
            db.write(partial(_count_month, tenant_id=tenant_id, month=month, zone=zone))
        removed += db.write(partial(_remove_day, tenant_id=tenant_id, moment=first, zone=zone))
        month, after = zones.month_start(first, zone), zones.next_day(first, zone)
    if month is not None:
        db.write(partial(_count_month, tenant_id=tenant_id, month=month, zone=zone))
    return removed


def _first_call(session: Session, tenant_id: str, after: datetime) -> datetime | None:
    statement = select(_call.created_at).where(
        _call.tenant_id == tenant_id, _call.created_at >= after, _call.is_demo.is_(True)
    )
    return session.scalar(statement.order_by(_call.created_at).limit(1))


def _remove_day(session: Session, tenant_id: str, moment: datetime, zone: tzinfo) -> int:
    rollups.hold(session, tenant_id, alone=True)
    day = rollup_days.day(tenant_id, moment, zone)
    chosen = (
        _call.tenant_id == tenant_id, _call.created_at >= day["begin"], _call.created_at < day["end"],
        _call.is_demo.is_(True),
    )  # fmt: skip
    since = session.scalar(select(Tenant.ledger_since).where(Tenant.id == tenant_id))
    if since is not None and since > day["begin"]:  # what is left of its ledger is not all that was counted
        rollups.take_out(session, session.scalars(select(_call.id).where(*chosen)).all())
    gone = changed_rows(session.execute(delete(_call).where(*chosen).execution_options(synchronize_session=False)))
    if since is None or since <= day["begin"]:
        rollup_days.count_day(session, tenant_id, moment, zone)
    return gone


def _count_month(session: Session, tenant_id: str, month: datetime, zone: tzinfo) -> None:
    rollups.hold(session, tenant_id, alone=True)
    rollup_days.count_month(session, tenant_id, month, zone)


def _delete(db: Database, table: Any, *chosen: ColumnElement[bool]) -> None:
    batch = select(table.id).where(*chosen).limit(_CONVERSATIONS)
    statement = delete(table).where(table.id.in_(batch)).execution_options(synchronize_session=False)
    while db.write(lambda session: changed_rows(session.execute(statement))):
        pass


def _delete_people(session: Session, tenant_id: str | None) -> None:
    people = select(User.id).where(*_demo(User, tenant_id))
    statements = (
        update(Agent).where(Agent.owner_id.in_(people)).values(owner_id=None),
        *(delete(table).where(table.user_id.in_(people)) for table in (BrowserSession, ApiKey, OneTimeCode, LimitHit)),
        delete(User).where(*_demo(User, tenant_id)),
    )
    for statement in statements:
        session.execute(statement.execution_options(synchronize_session=False))
