"""The SQL of budgets: which apply to a person, their counters, and what is held of them.

A period's counters are made when they are first needed, with what the ledger holds by then: see `make_period`.
Rows are locked in the order of the budgets' ids, as PostgreSQL breaks a circle of waiting only after a second.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, get_args

from sqlalchemy import (
    BigInteger,
    Select,
    String,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from chatcore.db import changed_rows
from chatcore.db.tables import Budget, BudgetPeriod, Reservation, UsageMetric, User, UtcDateTime

Scope = Literal["user", "team", "tenant"]
Period = Literal["day", "month"]

RESERVED_FOR: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Counted:
    """A budget in a period, in nano-USD. `spent`: None before it has counters; `held`: by the holder asked for."""

    id: str
    tenant_id: str
    scope: Scope
    scope_id: str
    period: Period
    amount: int
    hard: bool
    starts_at: datetime
    spent: int | None
    reserved: int
    held: int | None = None
    name: str | None = None


@dataclass(frozen=True)
class Held:
    """What somebody holds of a budget, in nano-USD, in the period that began at `starts_at`."""

    budget_id: str
    starts_at: datetime
    amount: int


def start_of(period: Period, at: datetime) -> datetime:
    """When the day or month of `at` began, in UTC."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day if period == "day" else day.replace(day=1)


def end_of(period: Period, starts_at: datetime) -> datetime:
    """When the next one begins."""
    return start_of(period, starts_at + timedelta(days=1 if period == "day" else 31))


_b: Final = Budget.__table__.c
_p: Final = BudgetPeriod.__table__.c
_r: Final = Reservation.__table__.c
_u: Final = UsageMetric.__table__.c


def _at(name: str) -> Any:
    return bindparam(name, type_=UtcDateTime())


_OF_TENANT: Final = _b.tenant_id == bindparam("tenant")
_TEAM: Final = select(User.team).where(User.id == bindparam("user")).scalar_subquery()
_APPLIES: Final = or_(
    # Each with all the columns of the index, or a tenant's whole list would be read.
    and_(_OF_TENANT, _b.scope == "user", _b.scope_id == bindparam("user")),
    and_(_OF_TENANT, _b.scope == "team", _b.scope_id == _TEAM),
    and_(_OF_TENANT, _b.scope == "tenant", _b.scope_id == ""),
)
_START: Final = case((_b.period == "day", _at("day")), else_=_at("month"))
_COLUMNS: Final = (
    _b.id, _b.tenant_id, _b.scope, _b.scope_id, _b.period, _b.amount_nano_usd, _b.hard,
    _START.label("starts_at"), _p.spent_nano_usd, func.coalesce(_p.reserved_nano_usd, 0),
)  # fmt: skip
_COUNTERS: Final = and_(_p.budget_id == _b.id, _p.starts_at == _START)
_OF_PERSON: Final = (
    select(*_COLUMNS, _r.amount_nano_usd)
    .outerjoin(BudgetPeriod.__table__, _COUNTERS)
    .outerjoin(Reservation.__table__, and_(_r.holder == bindparam("of"), _r.budget_id == _b.id))
    .where(_APPLIES)
    .order_by(_b.id)
)
_LISTED: Final = (
    select(*_COLUMNS, null(), User.name)
    .outerjoin(BudgetPeriod.__table__, _COUNTERS)
    .outerjoin(User, and_(_b.scope == "user", User.id == _b.scope_id, User.tenant_id == _b.tenant_id))
    .where(_OF_TENANT)
    .order_by(_b.scope, _b.scope_id, _b.period)
)
_LEFT: Final = (
    select(_b.amount_nano_usd - _p.spent_nano_usd - _p.reserved_nano_usd)
    .join(BudgetPeriod.__table__, _p.budget_id == _b.id)
    .where(_p.budget_id == bindparam("budget"), _p.starts_at == _at("starts"))
)
_HELD: Final = (
    select(_r.budget_id, _r.starts_at, _r.amount_nano_usd)
    .where(_r.holder == bindparam("of"))
    .order_by(_r.budget_id)
    .with_for_update()
)
_THIS_PERIOD: Final = (_p.budget_id == bindparam("budget"), _p.starts_at == _at("starts"))
_RESERVE: Final = (
    update(BudgetPeriod.__table__)  # type: ignore[arg-type]
    .where(*_THIS_PERIOD, _p.spent_nano_usd + _p.reserved_nano_usd + bindparam("more") <= bindparam("amount"))
    .values(reserved_nano_usd=_p.reserved_nano_usd + bindparam("more"))
)
_NOW_SPENT: Final = _p.spent_nano_usd + bindparam("nano", type_=BigInteger())
_SPEND: Final = (
    update(BudgetPeriod.__table__)  # type: ignore[arg-type]
    .where(*_THIS_PERIOD)
    .values(
        # Below 0 only where a person's call is corrected after they changed the team.
        spent_nano_usd=case((_NOW_SPENT < 0, 0), else_=_NOW_SPENT),
        reserved_nano_usd=_p.reserved_nano_usd - bindparam("taken"),
    )
)
_TAKE: Final = (
    update(Reservation.__table__)  # type: ignore[arg-type]
    .where(_r.holder == bindparam("of"), _r.budget_id == bindparam("budget"))
    .values(amount_nano_usd=_r.amount_nano_usd - bindparam("taken"))
)
_GIVE_BACK: Final = delete(Reservation.__table__).returning(_r.budget_id, _r.starts_at, _r.amount_nano_usd)  # type: ignore[arg-type]
_RELEASE: Final = _GIVE_BACK.where(_r.holder == bindparam("of"))
_RELEASE_ONE: Final = _RELEASE.where(_r.budget_id == bindparam("budget"))
_EXPIRED: Final = _GIVE_BACK.where(_r.expires_at < _at("now"))


def _spent(scope: Scope, *columns: Any) -> Select[Any]:
    """What the ledger holds of a scope in a period, without what people paid themselves and what was made up."""
    statement = select(*columns, func.coalesce(func.sum(_u.cost_nano_usd), 0)).where(
        _u.tenant_id == bindparam("tenant"),
        _u.created_at >= _at("starts"),
        _u.created_at < _at("ends"),
        _u.key_source != "person",
        _u.is_demo.is_(False),
    )
    if scope == "user":
        return statement.where(_u.user_id == bindparam("scope_id"))
    if scope == "team":
        members = select(User.id).where(User.tenant_id == bindparam("tenant"), User.team == bindparam("scope_id"))
        return statement.where(_u.user_id.in_(members))
    return statement


def _made(scope: Scope, insert: Any) -> Any:
    names = ["budget_id", "starts_at", "tenant_id", "reserved_nano_usd", "spent_nano_usd"]
    own = (bindparam("budget", type_=String()), _at("starts"), bindparam("tenant", type_=String()), literal(0))
    made = insert(BudgetPeriod.__table__).from_select(names, _spent(scope, *own))
    return made.on_conflict_do_nothing().execution_options(preserve_rowcount=True)


def _kept(insert: Any) -> Any:
    kept = insert(Reservation.__table__)
    changes = {
        "amount_nano_usd": _r.amount_nano_usd + kept.excluded.amount_nano_usd,
        "expires_at": kept.excluded.expires_at,
    }
    return kept.on_conflict_do_update(index_elements=["holder", "budget_id"], set_=changes)


_SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
_INSERTS: Final = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_SUM: Final = {scope: _spent(scope) for scope in _SCOPES}
_MAKE: Final = {(name, scope): _made(scope, insert) for name, insert in _INSERTS.items() for scope in _SCOPES}
_KEEP: Final = {name: _kept(insert) for name, insert in _INSERTS.items()}


def of_person(session: Session, tenant_id: str, user_id: str, at: datetime, holder: str | None = None) -> list[Counted]:
    """The budgets that apply to the person, in the periods of `at`, in the order in which to lock them."""
    parameters = {"tenant": tenant_id, "user": user_id, "of": holder}
    return [Counted(*row) for row in session.execute(_OF_PERSON, parameters | _periods(at))]


def of_tenant(session: Session, tenant_id: str, at: datetime) -> list[Counted]:
    """All of a tenant's budgets in the periods of `at`, with the name of whom one is for."""
    return [Counted(*row) for row in session.execute(_LISTED, {"tenant": tenant_id} | _periods(at))]


def make_period(session: Session, budget: Counted) -> bool:
    """Make a period's counters with what the ledger holds. False where they were there.

    Who has just written a ledger row and makes the counters has it counted thereby. Who finds them made by another has
    not, committed or not: two who make them wait for each other, and rows are written before budgets are looked up.
    """
    statement = _MAKE[session.get_bind().dialect.name, budget.scope]
    return changed_rows(session.execute(statement, _of(budget))) == 1


def counted(session: Session, budget: Counted) -> int:
    """What was spent, in nano-USD: the counter, or where there is none yet the ledger's sum. Only reads."""
    return budget.spent if budget.spent is not None else int(session.scalar(_SUM[budget.scope], _of(budget)) or 0)


def reserve(session: Session, budget: Counted, more: int) -> bool:
    """Reserve so much more, if what is spent and reserved then is no more than the budget."""
    parameters = {"budget": budget.id, "starts": budget.starts_at, "more": more, "amount": budget.amount}
    return changed_rows(session.execute(_RESERVE, parameters)) == 1


def left(session: Session, budget: Counted) -> int | None:
    """What is neither spent nor reserved now, at least 0. None: the budget was removed meanwhile."""
    found = session.scalar(_LEFT, {"budget": budget.id, "starts": budget.starts_at})
    return None if found is None else max(0, found)


def held(session: Session, holder: str | None, budgets: Iterable[Counted]) -> dict[str, Held]:
    """What the holder of the budgets holds, by budget. Nobody else changes it until the transaction ends."""
    if all(budget.held is None for budget in budgets):
        return {}
    return {row.budget_id: Held(*row) for row in session.execute(_HELD, {"of": holder})}


def keep(session: Session, holder: str, more: Sequence[tuple[Counted, int]], now: datetime) -> None:
    """Write down what was reserved for the holder, and that it holds for another hour."""
    common = {"holder": holder, "expires_at": now + RESERVED_FOR}
    rows = [
        common
        | {"budget_id": one.id, "starts_at": one.starts_at, "tenant_id": one.tenant_id, "amount_nano_usd": amount}
        for one, amount in more
    ]
    if rows:
        session.execute(_KEEP[session.get_bind().dialect.name], rows)


def count(session: Session, spent: Sequence[tuple[Counted, int, int]], holder: str | None) -> None:
    """Count (budget, nano-USD spent, of these taken off what `holder` holds)."""
    rows = [
        {"budget": budget.id, "starts": budget.starts_at, "nano": nano, "taken": taken} for budget, nano, taken in spent
    ]
    if rows:
        session.execute(_SPEND, rows)
    if taken := [{"of": holder, "budget": row["budget"], "taken": row["taken"]} for row in rows if row["taken"]]:
        session.execute(_TAKE, taken)


def release(session: Session, holder: str, budget_id: str | None = None) -> None:
    """Give back all that the holder holds, or what they hold of one budget."""
    statement = _RELEASE if budget_id is None else _RELEASE_ONE
    parameters = {"of": holder} | ({"budget": budget_id} if budget_id else {})
    give_back(session, (Held(*row) for row in session.execute(statement, parameters)))


def release_expired(session: Session, now: datetime) -> int:
    """Give back what nobody renewed in time. Returns how many reservations that were."""
    expired = [Held(*row) for row in session.execute(_EXPIRED, {"now": now})]
    give_back(session, expired)
    return len(expired)


def wait_for_ledger(session: Session) -> None:
    """Until this transaction ends nobody writes a ledger row: who has not committed yet knows no new budget."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE usage_metrics IN SHARE ROW EXCLUSIVE MODE"))


def give_back(session: Session, given: Iterable[Held]) -> None:
    """Reserve so much less. The reservations themselves are gone, or were never written."""
    ordered = sorted(given, key=lambda one: (one.budget_id, one.starts_at))
    rows = [{"budget": one.budget_id, "starts": one.starts_at, "nano": 0, "taken": one.amount} for one in ordered]
    if rows:
        session.execute(_SPEND, rows)


def _periods(at: datetime) -> dict[str, datetime]:
    return {"day": start_of("day", at), "month": start_of("month", at)}


def _of(budget: Counted) -> dict[str, Any]:
    return {
        "budget": budget.id, "tenant": budget.tenant_id, "scope_id": budget.scope_id,
        "starts": budget.starts_at, "ends": end_of(budget.period, budget.starts_at),
    }  # fmt: skip
