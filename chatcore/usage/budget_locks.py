"""One order of locking for transactions that count in the budgets of several people.

Who counts for one person locks their counters in the order of the budgets' ids. Who does that for one person after
another goes in circles with the others: the tenant's counter is then held while the next person's is waited for. So
such a transaction locks them all first, in the same order. SQLite has one writer at a time and needs none of this.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, case, exists, func, or_, select
from sqlalchemy.orm import Session

from chatcore.db.tables import Budget, BudgetPeriod, Reservation, UsageMetric, User, UtcDateTime, utcnow
from chatcore.usage.budget_rows import start_of

Payer = tuple[str, str]
"""Whose budgets count: the ids of tenant and person."""

_AT_ONCE: Final = 1_000  # budgets locked by one statement

_b: Final = Budget.__table__.c
_p: Final = BudgetPeriod.__table__.c
_r: Final = Reservation.__table__.c
_u: Final = UsageMetric.__table__.c


def _many(name: str) -> Any:
    return bindparam(name, expanding=True)


def _at(name: str) -> Any:
    return bindparam(name, type_=UtcDateTime())


_OF_TENANTS: Final = _b.tenant_id.in_(_many("tenants"))
_TEAMS: Final = select(User.team).where(User.id.in_(_many("users")), User.team.is_not(None))
_APPLIES: Final = or_(
    and_(_OF_TENANTS, _b.scope == "user", _b.scope_id.in_(_many("users"))),
    and_(_OF_TENANTS, _b.scope == "team", _b.scope_id.in_(_TEAMS)),
    and_(_OF_TENANTS, _b.scope == "tenant", _b.scope_id == ""),
)
_SINCE: Final = case((_b.period == "day", _at("day")), else_=_at("month"))
_COUNTED: Final = (
    select(_p.budget_id, _p.starts_at)
    .join(Budget.__table__, _b.id == _p.budget_id)
    .where(_APPLIES, _p.starts_at >= _SINCE, _p.starts_at <= _at("until"))
)
# Of budgets, too, that no longer apply: who changed the team gives back what was held of the old one's.
_HELD: Final = select(_r.budget_id, _r.starts_at).where(_r.holder.in_(_many("holders")))
_BOTH: Final = _COUNTED.union(_HELD)
_KEYS: Final = _BOTH.order_by(_BOTH.selected_columns.budget_id)
# A statement of its own: joined to the one above, PostgreSQL reads all counters there ever were.
_LOCK: Final = (
    select(_p.budget_id)
    .where(_p.budget_id.in_(_many("budgets")), _p.starts_at.in_(_many("starts")))
    .order_by(_p.budget_id, _p.starts_at)
    .with_for_update()
)
_ANY: Final = select(exists().where(_OF_TENANTS))
_FIRST: Final = select(func.min(_u.created_at)).where(_u.turn_id.in_(_many("holders")))


def are_needed(session: Session, payers: Collection[Payer]) -> bool:
    """Whether there is anything to lock: on PostgreSQL, where one of the payers' tenants has a budget."""
    if not payers or session.get_bind().dialect.name != "postgresql":
        return False
    return bool(session.scalar(_ANY, {"tenants": _tenants(payers)}))


def lock(session: Session, payers: Collection[Payer], since: datetime, until: datetime) -> None:
    """Lock the counters of all budgets that apply to the payers, in the periods of `since` to `until`, until the
    transaction ends. Counters that are not made yet are not there to lock."""
    if are_needed(session, payers):
        _lock(session, payers, since, until, ())


def lock_for_ends(session: Session, payers: Collection[Payer], holders: Collection[str]) -> None:
    """Lock what the ends of turns change, and what begins right after them. Call it before all else that locks.

    `holders`: the turns, and calls without one of which only the reservations are given back.
    """
    if are_needed(session, payers):
        now = utcnow()
        first = session.scalar(_FIRST, {"holders": sorted(holders)})
        _lock(session, payers, min(first or now, now), now, holders)


def _lock(
    session: Session, payers: Collection[Payer], since: datetime, until: datetime, holders: Collection[str]
) -> None:
    whose = {"tenants": _tenants(payers), "users": sorted({user_id for _, user_id in payers})}
    periods = {"day": start_of("day", since), "month": start_of("month", since), "until": until}
    found = session.execute(_KEYS, whose | periods | {"holders": sorted(holders)}).all()
    starts = sorted({row.starts_at for row in found})
    budget_ids = list(dict.fromkeys(row.budget_id for row in found))
    for first in range(0, len(budget_ids), _AT_ONCE):
        session.execute(_LOCK, {"budgets": budget_ids[first : first + _AT_ONCE], "starts": starts})


def _tenants(payers: Collection[Payer]) -> list[str]:
    return sorted({tenant_id for tenant_id, _ in payers})
