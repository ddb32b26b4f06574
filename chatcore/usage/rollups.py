"""Keeping the rollups while calls are settled and changed, in the transaction that changes them.

At any moment the rollups and the ledger rows with `NOT rolled_up` are the whole truth together. A row enters the
rollups exactly when its `rolled_up` becomes true, and leaves them when it becomes false. So whoever settles a row
says `note`, and whoever is about to change a settled one `take_out`, then `note`. What that adds and subtracts is
written once, right before the commit: after all budgets, and in the order of the keys, or transactions on PostgreSQL
would wait for each other in circles.

What was noted or taken out inside a savepoint that was rolled back is found as it was, and nothing is counted of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from sqlalchemy import Row, Select, bindparam, case, event, func, select, text, update
from sqlalchemy.orm import Session

from chatcore.db.tables import Tenant, UsageMetric
from chatcore.usage import latency, measures
from chatcore.usage.rollup_sums import Sums

_AT_ONCE: Final = 1_000  # rows of one statement
_INFO: Final = "chatcore.rollups"
_row: Final = UsageMetric.__table__.c
_IDS: Final = _row.id.in_(bindparam("ids", expanding=True))
_FACTS: Final[Select[Any]] = select(
    _row.id,
    _row.tenant_id,
    _row.created_at,
    _row.model,
    _row.provider,
    _row.tier,
    func.coalesce(_row.agent_id, "").label("agent_id"),
    _row.purpose,
    _row.user_id,
    case((_row.outcome.in_(measures.FAILED), measures.ERROR_TYPE)).label("error_type"),
    *(case((condition, time)).label(metric) for metric, (time, condition) in latency.METRICS.items()),
    *(expression.label(f"m_{name}") for name, expression in measures.OF_A_CALL.items()),
).where(_IDS)
# Not by UPDATE ... RETURNING: SQLite 3.40 then takes every `IS NOT NULL` in an expression for true.
_COUNTED: Final = _FACTS.where(_row.rolled_up.is_(True)).order_by(_row.id).with_for_update()
_MISSING: Final = _FACTS.where(_row.rolled_up.is_(False), _row.outcome != "running").order_by(_row.id).with_for_update()
_MARK: Final = update(UsageMetric.__table__).where(_IDS).values(rolled_up=bindparam("counted"))  # type: ignore[arg-type]
_STILL_COUNTED: Final = select(_row.id).where(_IDS, _row.rolled_up.is_(True))
_TENANTS: Final = select(Tenant.id, Tenant.timezone, Tenant.days_zone, Tenant.ledger_since).where(
    Tenant.id.in_(bindparam("tenants", expanding=True))
)
_UNSETTLE: Final = (
    update(Tenant.__table__)  # type: ignore[arg-type]
    .where(Tenant.id == bindparam("tenant"), Tenant.days_zone != Tenant.timezone, Tenant.days_zone != "")
    .values(days_zone="")
)
_LOCK: Final = {
    alone: text(f"SELECT pg_advisory_xact_lock{'' if alone else '_shared'}(hashtextextended('rollups ' || :tenant, 0))")
    for alone in (True, False)
}


@dataclass
class _Pending:
    """What a transaction will have to add and to subtract."""

    noted: set[str] = field(default_factory=set)
    taken_out: dict[str, Row[Any]] = field(default_factory=dict)


def note(session: Session, *row_ids: str) -> None:
    """These ledger rows were settled, or changed, in this transaction: count them in the rollups before its commit."""
    _pending(session).noted.update(row_ids)


def take_out(session: Session, row_ids: Iterable[str]) -> None:
    """These ledger rows are about to be changed or deleted: no longer count them as they are now.

    Call `note` for those that stay. Rows that the rollups do not count are left alone.
    """
    for ids in _some(row_ids):
        counted = {row.id: row for row in session.execute(_COUNTED, {"ids": ids})}
        if counted:
            _pending(session).taken_out.update(counted)
            session.execute(_MARK, {"ids": list(counted), "counted": False})


def fold(session: Session, row_ids: Iterable[str]) -> int:
    """Count those of the rows that are settled and not counted yet, now. Returns how many were."""
    return _apply(session, _Pending(set(row_ids)))


def write(session: Session) -> None:
    """Add and subtract what was noted and taken out so far, rather than before the commit."""
    pending = session.info.pop(_INFO, None)
    if pending is not None:
        session.flush()
        _apply(session, pending)


def hold(session: Session, tenant_id: str, *, alone: bool) -> None:
    """Keep the tenant's rollups from being rebuilt until the transaction ends; `alone`: from being changed at all.

    SQLite has one writer at a time and needs none of this.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_LOCK[alone], {"tenant": tenant_id})


def unsettle(session: Session, tenant_id: str) -> None:
    """Say that the tenant's days are mixed, where some are about to be written in another zone than the others.

    From then on they have to be counted anew, also when the tenant's time zone is changed back.
    """
    session.execute(_UNSETTLE, {"tenant": tenant_id})


def _pending(session: Session) -> _Pending:
    if _INFO not in session.info:
        session.info[_INFO] = _Pending()
        if not event.contains(session, "before_commit", _before_commit):
            event.listen(session, "before_commit", _before_commit)
    found: _Pending = session.info[_INFO]
    return found


def _before_commit(session: Session) -> None:
    if not session.in_nested_transaction():
        write(session)


def _apply(session: Session, pending: _Pending) -> int:
    out = dict(pending.taken_out)
    for ids in _some(out):
        for row_id in session.scalars(_STILL_COUNTED, {"ids": ids}):  # its savepoint was rolled back
            del out[row_id]
    new = [row for ids in _some(pending.noted) for row in session.execute(_MISSING, {"ids": ids})]
    if out or new:
        tenants = sorted({row.tenant_id for row in (*new, *out.values())})
        for tenant_id in tenants:
            hold(session, tenant_id, alone=False)
        found = session.execute(_TENANTS, {"tenants": tenants}).all()
        for one in found:
            if one.timezone != one.days_zone:
                unsettle(session, one.id)
        sums = Sums({row.id: (row.timezone, row.ledger_since) for row in found})
        for rows, sign in ((out.values(), -1), (new, 1)):
            for row in rows:
                sums.add(row, sign)
        sums.write(session)
        for ids in _some(row.id for row in new):
            session.execute(_MARK, {"ids": ids, "counted": True})
    return len(new)


def _some(ids: Iterable[str]) -> Iterator[list[str]]:
    left = iter(ids)
    while some := list(islice(left, _AT_ONCE)):
        yield some
