"""Ledger rows whose price was not known when they were written, and pricing them anew.

What a row cost is normally the price as it was at the call, and stays. Pricing anew is an admin's decision, and what
stood there before is kept in `cost_corrections`.

- Priced are settled rows whose cost is unknown; on request every settled row. A price that is not known now replaces
  nothing that was known then.
- Running rows are left alone, so are hits of the cache (they called nobody), calls of dead processes of which no
  tokens are known, and made-up data: `demo-data --remove` must leave no history of it behind.
- A row whose cost comes out as it was is not changed and gets no history, so a second run does nothing.
- The rollups follow, in the same transaction.
- Budgets follow: each difference counts in the day and month of its call, except where a person paid with their own
  key.

A run goes through the ledger in batches of 1,000 rows, each one transaction, beside the running app. One that was
broken off is simply started again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, func, insert, not_, select, text, update
from sqlalchemy.orm import Session

from chatcore.db import Database
from chatcore.db.tables import CostCorrection, UsageMetric
from chatcore.ids import new_id
from chatcore.usage import budget_locks, budget_rows, budgets, rollups

BATCH: Final = 1_000
"""Rows of one transaction."""


@dataclass(frozen=True)
class PastCall:
    """A settled ledger row, as far as its price goes. Tokens as in `Settlement`; `unit_prices`: as they were."""

    id: str
    created_at: datetime
    tenant_id: str
    user_id: str
    model: str
    provider_model: str
    key_source: str
    prompt_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    price_source: str
    unit_prices: dict[str, Any]
    cost_nano_usd: int | None


@dataclass(frozen=True)
class Price:
    """What a call costs now, in nano-USD, by which prices: USD a token as decimal strings, by kind."""

    nano_usd: int
    source: str
    unit: dict[str, str] = field(default_factory=dict)


PriceOf = Callable[[PastCall], Price | None]
"""What a call costs by today's prices, None where they do not say."""
Change = tuple[PastCall, Price]


@dataclass(frozen=True)
class Unpriced:
    """A model with calls whose cost is unknown: how many, their tokens in and out, and since when."""

    model: str
    provider: str
    calls: int
    tokens: int
    since: datetime


@dataclass(frozen=True)
class Repriced:
    """What a run did: rows looked at, rows changed, rows whose cost stays unknown, and by how much the sum changed."""

    seen: int = 0
    changed: int = 0
    unknown: int = 0
    difference_nano_usd: int = 0

    def __add__(self, other: "Repriced") -> "Repriced":
        return Repriced(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


_row: Final = UsageMetric.__table__.c
_COLUMNS: Final = tuple(_row[one.name] for one in fields(PastCall))
_SETTLED: Final = and_(
    _row.outcome.not_in(("running", "cached")),
    not_(and_(_row.outcome == "interrupted", _row.usage_source == "none")),
    _row.is_demo.is_(False),
)
_UNKNOWN: Final = and_(_SETTLED, _row.cost_nano_usd.is_(None))
_CHANGE: Final = (
    update(UsageMetric.__table__)  # type: ignore[arg-type]
    .where(_row.id == bindparam("of"))
    .values(
        cost_nano_usd=bindparam("nano"),
        price_source=bindparam("source"),
        unit_prices=bindparam("unit", type_=_row.unit_prices.type),
    )
)
_NOTE: Final = insert(CostCorrection.__table__)  # type: ignore[arg-type]


def unpriced(session: Session, *where: ColumnElement[bool]) -> list[Unpriced]:
    """The models with calls whose cost is unknown among the rows that `where` lets through, most tokens first."""
    tokens = func.sum(_row.prompt_tokens + _row.completion_tokens)
    columns = (_row.model, func.max(_row.provider), func.count(), tokens, func.min(_row.created_at))
    statement = select(*columns).where(_UNKNOWN, *where).group_by(_row.model).order_by(tokens.desc(), _row.model)
    return [
        Unpriced(model, provider, calls, int(used), since)
        for model, provider, calls, used, since in session.execute(statement)
    ]


class Repricing:
    """Prices the rows of every tenant anew, for the command line."""

    def __init__(self, db: Database, price_of: PriceOf) -> None:
        self._db = db
        self._price_of = price_of

    def recompute(
        self,
        *,
        model: str | None = None,
        since: datetime | None = None,
        everything: bool = False,
        dry_run: bool = False,
    ) -> Repriced:
        """Price rows whose cost is unknown; `everything`: the others too. `dry_run`: only say what would be done.

        `model`: only this one's rows; `since`: only those of calls made from then on. Raises `DatabaseError`; what was
        done until then stands.
        """
        where = [_SETTLED if everything else _UNKNOWN]
        where += [_row.model == model] if model is not None else []
        where += [_row.created_at >= since] if since is not None else []
        done, after = Repriced(), ""
        while calls := self._next(where, after):
            after = calls[-1].id
            changes = self._changes(calls)
            # Only the rows that change are taken into a write: a look at millions must not keep anybody waiting.
            batch = _sum(changes) if dry_run or not changes else self._write(changes)
            unknown = sum(call.cost_nano_usd is None for call in calls)
            found = sum(call.cost_nano_usd is None for call, _ in changes)
            done += batch + Repriced(seen=len(calls), unknown=unknown - found)
        return done

    def _next(self, where: Sequence[ColumnElement[bool]], after: str) -> list[PastCall]:
        statement = select(*_COLUMNS).where(*where, _row.id > after).order_by(_row.id).limit(BATCH)
        return self._db.read(lambda session: [PastCall(*row) for row in session.execute(statement)])

    def _changes(self, calls: Iterable[PastCall]) -> list[Change]:
        """The calls whose cost comes out otherwise than it stands there."""
        prices = [(call, self._price_of(call)) for call in calls]
        return [(call, new) for call, new in prices if new is not None and new.nano_usd != call.cost_nano_usd]

    def _write(self, changes: Sequence[Change]) -> Repriced:
        """One transaction. A row that was settled anew since we looked at it is left to the next run."""
        looked_at = {change[0].id: change for change in changes}
        statement = select(*_COLUMNS).where(_row.id.in_(looked_at)).order_by(_row.id).with_for_update()

        def work(session: Session) -> Repriced:
            _keep_new_budgets_waiting(session)
            calls = [PastCall(*row) for row in session.execute(statement)]
            same = [looked_at[call.id] for call in calls if looked_at[call.id][0] == call]
            _change(session, same)
            return _sum(same)

        return self._db.write(work)


def _change(session: Session, changes: Sequence[Change]) -> None:
    """Write the new costs, what stood there before, and count the differences in the budgets.

    The counters of all the budgets are there before the first row changes, as making them counts the rows.
    """
    if not changes:
        return
    differences = _by_person_and_day(changes)
    _lock_periods(session, differences)
    _spend(session, dict.fromkeys(differences, 0))
    rollups.take_out(session, [call.id for call, _ in changes])
    session.execute(
        _CHANGE,
        [{"of": call.id, "nano": new.nano_usd, "source": new.source, "unit": dict(new.unit)} for call, new in changes],
    )
    session.execute(
        _NOTE,
        [
            {
                "id": new_id("cor"), "tenant_id": call.tenant_id, "usage_id": call.id,
                "before_nano_usd": call.cost_nano_usd, "after_nano_usd": new.nano_usd,
                "before_source": call.price_source, "before_prices": call.unit_prices,
            }
            for call, new in changes
        ],
    )  # fmt: skip
    _spend(session, differences)
    rollups.note(session, *(call.id for call, _ in changes))


_PersonAndDay = tuple[str, str, datetime]


def _by_person_and_day(changes: Iterable[Change]) -> dict[_PersonAndDay, int]:
    """The differences that count in budgets, summed: all calls of a day are of the same periods."""
    found: dict[_PersonAndDay, int] = {}
    for call, new in changes:
        if call.key_source != "person":
            key = call.tenant_id, call.user_id, budget_rows.start_of("day", call.created_at)
            found[key] = found.get(key, 0) + _difference(call, new)
    return found


def _lock_periods(session: Session, differences: Iterable[_PersonAndDay]) -> None:
    keys = list(differences)
    if keys:
        days = [day for _, _, day in keys]
        budget_locks.lock(session, {(tenant_id, user_id) for tenant_id, user_id, _ in keys}, min(days), max(days))


def _keep_new_budgets_waiting(session: Session) -> None:
    """Until this transaction ends: one that came in between would count the rows that have changed by then."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE usage_metrics IN ROW EXCLUSIVE MODE"))


def _spend(session: Session, differences: dict[_PersonAndDay, int]) -> None:
    for (tenant_id, user_id, day), nano in sorted(differences.items()):
        budgets.spend(session, tenant_id=tenant_id, user_id=user_id, holder=None, at=day, nano=nano)


def _sum(changes: Sequence[Change]) -> Repriced:
    return Repriced(changed=len(changes), difference_nano_usd=sum(_difference(*one) for one in changes))


def _difference(call: PastCall, new: Price) -> int:
    return new.nano_usd - (call.cost_nano_usd or 0)
