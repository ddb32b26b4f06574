"""Taking made-up data away again: calls day by day, each with its rollups counted anew, then the people.

A day and its month are counted in the transaction that removes its calls, so that nothing is left of them in any sum
when a run is killed.
"""

from datetime import UTC, datetime
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
    tenants = db.read(lambda session: session.scalars(select(Tenant.id)).all())
    removed = sum(_remove_calls(db, one) for one in tenants if tenant_id in (None, one))
    people = select(User.id).where(*_demo(User, tenant_id))
    _delete(db, Conversation, Conversation.user_id.in_(people))
    _delete(db, Conversation, *_demo(Conversation, tenant_id))
    db.write(lambda session: _delete_people(session, tenant_id))
    return removed


def _demo(table: type[User | Conversation], tenant_id: str | None) -> list[ColumnElement[bool]]:
    return [table.is_demo.is_(True), *([table.tenant_id == tenant_id] if tenant_id else [])]


def _remove_calls(db: Database, tenant_id: str) -> int:
    """One transaction a day, along the index of the tenant's calls."""
    removed, after = 0, datetime(1, 1, 2, tzinfo=UTC)
    while (first := db.read(partial(_first_call, tenant_id=tenant_id, after=after))) is not None:
        gone, after = db.write(partial(_remove_day, tenant_id=tenant_id, moment=first))
        removed += gone
    return removed


def _first_call(session: Session, tenant_id: str, after: datetime) -> datetime | None:
    statement = select(_call.created_at).where(
        _call.tenant_id == tenant_id, _call.created_at >= after, _call.is_demo.is_(True)
    )
    return session.scalar(statement.order_by(_call.created_at).limit(1))


def _remove_day(session: Session, tenant_id: str, moment: datetime) -> tuple[int, datetime]:
    """Remove the day's demo calls. Returns how many went, and the first moment of the next day."""
    rollups.hold(session, tenant_id, alone=True)
    tenant = session.get_one(Tenant, tenant_id)
    zone, since = zones.of_tenant(tenant.timezone), tenant.ledger_since
    day = rollup_days.day(tenant_id, moment, zone)
    chosen = (
        _call.tenant_id == tenant_id, _call.created_at >= day["begin"], _call.created_at < day["end"],
        _call.is_demo.is_(True),
    )  # fmt: skip
    if since is not None and since > day["begin"]:  # what is left of its ledger is not all that was counted
        rollups.take_out(session, session.scalars(select(_call.id).where(*chosen, _call.created_at < since)).all())
        rollups.write(session)
    gone = changed_rows(session.execute(delete(_call).where(*chosen).execution_options(synchronize_session=False)))
    rollup_days.count_day(session, tenant_id, moment, zone, since)
    rollup_days.count_longer(session, tenant_id, [moment], zone)
    return gone, day["end"]


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
