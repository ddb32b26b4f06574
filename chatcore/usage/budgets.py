"""Budgets: what a person, a team and the tenant may spend in a day and a month (UTC), counted from the ledger.

Before a call what it may cost at most is held of every hard budget that applies, in one conditional UPDATE for each,
so any number at once cannot hold more than there is. What the call did cost is then counted as spent and taken off
what is held; at the turn's end the rest is given back, and what a killed process held returns after an hour.

- A hard budget refuses a call whose price is unknown. A soft one refuses nothing and warns from 80 % on, as a hard one
  does.
- A call that costs nothing is let through, however little is left.
- A call counts in the day and the month of its `created_at`, however late it is settled.
- A call counts for the team its person is in when it is settled. Who changes the team takes nothing along.
- A budget made in mid-period counts what the ledger holds of the period already.
- What a person paid with a key of their own is not counted, nor is made-up data.
- A member learns no amount of a budget that is not theirs alone, as that would tell what others spent.

The functions work inside the caller's transaction. One holder's are called one after the other, as a turn's attempts
are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, get_args

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal, audit, require_acting_admin
from chatcore.db import Database
from chatcore.db.tables import Budget, BudgetPeriod, User, utcnow
from chatcore.errors import Forbidden, InvalidInput, NotFound
from chatcore.ids import new_id
from chatcore.usage import budget_rows as rows
from chatcore.usage import budget_words as words
from chatcore.usage.budget_rows import Counted, Period, Scope

WARN_FROM: Final = 0.8
_MOST_NANO: Final = 10**18  # a thousand million USD; sums of the like still fit 64 bits


def applies(session: Session, tenant_id: str, user_id: str) -> bool:
    """Whether there is any hard budget for this person."""
    return any(budget.hard for budget in rows.of_person(session, tenant_id, user_id, utcnow()))


def hold(
    session: Session, *, tenant_id: str, user_id: str, holder: str, nano: int | None, now: datetime | None = None
) -> None:
    """Raise what `holder` holds of each hard budget that applies to at least `nano` nano-USD, for another hour.

    `nano`: None where the price is unknown. `now`: the time of the call, if it is not this moment. Raises
    `BudgetExceeded`; then as much is held as before, and the transaction can go on.
    """
    now = now or utcnow()
    budgets = [budget for budget in rows.of_person(session, tenant_id, user_id, now, holder) if budget.hard]
    if not budgets:
        return
    if nano is None:
        raise words.unpriced(budgets[0])
    held = rows.held(session, holder, budgets)
    kept = {one.id: held[one.id].amount for one in budgets if one.id in held and _is_of(held[one.id], one)}
    more = _reserve(session, [(budget, nano - kept.get(budget.id, 0)) for budget in budgets], nano)
    for budget_id in sorted(held.keys() - kept.keys()):
        rows.release(session, holder, budget_id)  # of a day that has ended, or a budget that is for others now
    rows.keep(session, holder, [*more, *((one, 0) for one in budgets if kept.get(one.id, -1) >= nano)], now)


def spend(session: Session, *, tenant_id: str, user_id: str, holder: str | None, at: datetime, nano: int) -> None:
    """Count a call of `at` that cost `nano` nano-USD, and take as much off what `holder` holds.

    `nano`: for a row that was counted before, the difference, which may be negative. Call it right after each row of
    the ledger that is written, in the same transaction; not after several, as the first may find them all.
    """
    budgets = rows.of_person(session, tenant_id, user_id, at, holder)
    if not budgets:
        return
    held = rows.held(session, holder, budgets)
    spent = []
    for budget in budgets:
        mine = held.get(budget.id)
        taken = min(mine.amount, max(nano, 0)) if mine and _is_of(mine, budget) else 0
        made = budget.spent is None and rows.make_period(session, budget)
        spent.append((budget, 0 if made else nano, taken))
    rows.count(session, spent, holder)


def release(session: Session, holder: str) -> None:
    """Give back all that the holder still holds."""
    rows.release(session, holder)


def sweep(session: Session, now: datetime | None = None) -> int:
    """Give back what was not renewed for an hour: its process was killed. Returns how many reservations that were."""
    return rows.release_expired(session, now or utcnow())


def remaining(session: Session, tenant_id: str, user_id: str, now: datetime | None = None) -> int | None:
    """The least that is left of the person's hard budgets, in nano-USD, never below 0; None without any."""
    budgets = [budget for budget in rows.of_person(session, tenant_id, user_id, now or utcnow()) if budget.hard]
    return min((_state(session, budget).left_nano_usd for budget in budgets), default=None)


@dataclass(frozen=True)
class BudgetState:
    """A budget and where it stands in its present period. Money is nano-USD.

    `scope_id`: the person's id, the team's name, '' for the tenant. `name`: the person's or the team's name, '' for
    the tenant.
    """

    id: str
    scope: Scope
    scope_id: str
    name: str
    period: Period
    amount_nano_usd: int
    hard: bool
    spent_nano_usd: int
    reserved_nano_usd: int
    starts_at: datetime
    ends_at: datetime

    @property
    def left_nano_usd(self) -> int:
        """What is neither spent nor reserved, never below 0."""
        return max(0, self.amount_nano_usd - self.spent_nano_usd - self.reserved_nano_usd)

    @property
    def share(self) -> float:
        """How much of it is spent: 1.0 is all. A budget of nothing is spent from the start."""
        return self.spent_nano_usd / self.amount_nano_usd if self.amount_nano_usd else 1.0

    @property
    def warns(self) -> bool:
        """Whether it is spent to 80 % or more."""
        return self.share >= WARN_FROM


@dataclass(frozen=True)
class SharedBudget:
    """What a member sees of a budget they share: how near its end it is, and no amounts.

    `share`: 0.0, 0.5 where half or more is spent, 0.8, or 1.0 where all is. `name`: the team's, '' for the tenant.
    """

    id: str
    scope: Scope
    name: str
    period: Period
    hard: bool
    share: float
    starts_at: datetime
    ends_at: datetime

    @property
    def warns(self) -> bool:
        """Whether it is spent to 80 % or more."""
        return self.share >= WARN_FROM


BudgetLine = BudgetState | SharedBudget
STEPS: Final = (1.0, WARN_FROM, 0.5, 0.0)
"""What a member is told of a share that is not theirs alone: the highest of these that it reaches."""


class Budgets:
    """What admins set, and what people see of it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def set(
        self, principal: Principal, scope: str, scope_id: str, period: str, amount_nano_usd: int, *, hard: bool = True
    ) -> None:
        """Make a budget of the principal's tenant, or change the one there is. Admins only.

        `scope`: `user`, `team` or `tenant`; `scope_id`: the person's id, the team's name, ''; `period`: `day` or
        `month`. Raises `Forbidden`, `InvalidInput`, and `NotFound` for a person or team that the tenant has not.
        """
        key = _key(scope, scope_id, period)
        if type(amount_nano_usd) is not int or not 0 <= amount_nano_usd <= _MOST_NANO:
            raise InvalidInput("A budget is an amount of money, 0 or more and at most 1,000,000,000 USD.")
        self._db.write(lambda session: _set(session, principal, key, amount_nano_usd, hard))

    def remove(self, principal: Principal, budget_id: str) -> None:
        """Take a budget away, with its counters and all that is held of it. Raises `Forbidden`, `NotFound`."""
        self._db.write(lambda session: _remove(session, principal, budget_id))

    def mine(self, principal: Principal) -> Sequence[BudgetLine]:
        """The budgets that apply to the principal, the oldest first; a member sees no amounts of shared ones."""

        def work(session: Session) -> Sequence[BudgetLine]:
            budgets = rows.of_person(session, principal.tenant_id, principal.user_id, utcnow())
            states = [_state(session, budget, principal.name) for budget in budgets]
            return states if principal.is_admin else [_without_amounts(state) for state in states]

        return self._db.read(work)

    def list(self, principal: Principal) -> Sequence[BudgetState]:
        """All of the principal's tenant, by scope, by whom they are for, and by period. Raises `Forbidden`."""
        if not principal.is_admin:
            raise Forbidden("Only an admin sees all budgets.")

        def work(session: Session) -> Sequence[BudgetState]:
            return [_state(session, budget) for budget in rows.of_tenant(session, principal.tenant_id, utcnow())]

        return self._db.read(work)


def _reserve(session: Session, lacking: Sequence[tuple[Counted, int]], nano: int) -> list[tuple[Counted, int]]:
    """Reserve what is lacking of each and return what was reserved, or raise `BudgetExceeded` and reserve nothing."""
    reserved: list[tuple[Counted, int]] = []
    for budget, more in lacking:
        if more <= 0:
            continue
        if budget.spent is None:
            rows.make_period(session, budget)
        if rows.reserve(session, budget, more):
            reserved.append((budget, more))
        elif (left := rows.left(session, budget)) is not None:
            # By hand, as a savepoint would cost every turn two more round trips to the database.
            rows.give_back(session, [rows.Held(one.id, one.starts_at, amount) for one, amount in reserved])
            raise words.exceeded(budget, left + nano - more, nano)
    return reserved


def _is_of(held: rows.Held, budget: Counted) -> bool:
    return held.starts_at == budget.starts_at


def _set(session: Session, principal: Principal, key: dict[str, Any], amount: int, hard: bool) -> None:
    require_acting_admin(session, principal)
    _require_there(session, principal.tenant_id, key)
    values = {"amount_nano_usd": amount, "hard": hard}
    found = session.scalar(select(Budget.id).filter_by(tenant_id=principal.tenant_id, **key))
    budget_id = found or new_id("bud")
    if found:
        session.execute(update(Budget).where(Budget.id == found).values(**values, updated_at=utcnow()))
    else:
        rows.wait_for_ledger(session)
        session.execute(insert(Budget).values(id=budget_id, tenant_id=principal.tenant_id, **key, **values))
        for budget in rows.of_tenant(session, principal.tenant_id, utcnow()):
            if budget.id == budget_id:
                rows.make_period(session, budget)
    audit.record(session, principal, "budget.set", budget_id, **key, **values)


def _remove(session: Session, principal: Principal, budget_id: str) -> None:
    require_acting_admin(session, principal)
    row = session.get(Budget, budget_id)
    if row is None or row.tenant_id != principal.tenant_id:
        raise NotFound("There is no such budget.")
    # First, as everybody else locks these first.
    session.execute(delete(BudgetPeriod).where(BudgetPeriod.budget_id == budget_id))
    session.execute(delete(Budget).where(Budget.id == budget_id))
    details = {"scope": row.scope, "scope_id": row.scope_id, "period": row.period}
    audit.record(session, principal, "budget.remove", budget_id, **details)


def _key(scope: str, scope_id: str, period: str) -> dict[str, Any]:
    if scope not in get_args(Scope):
        raise InvalidInput(f"A budget is for one of {', '.join(get_args(Scope))}.")
    if period not in get_args(Period):
        raise InvalidInput(f"A budget is for one of {', '.join(get_args(Period))}.")
    return {"scope": scope, "scope_id": "" if scope == "tenant" else scope_id, "period": period}


def _require_there(session: Session, tenant_id: str, key: dict[str, Any]) -> None:
    where = {"user": User.id == key["scope_id"], "team": User.team == key["scope_id"]}.get(key["scope"])
    if where is None:
        return
    if not session.scalar(select(exists().where(where, User.tenant_id == tenant_id, User.is_demo.is_(False)))):
        raise NotFound("There is no such person." if key["scope"] == "user" else "Nobody is in a team of this name.")


def _state(session: Session, budget: Counted, person: str = "") -> BudgetState:
    name = (budget.name or person) if budget.scope == "user" else budget.scope_id
    return BudgetState(
        id=budget.id,
        scope=budget.scope,
        scope_id=budget.scope_id,
        name=name,
        period=budget.period,
        amount_nano_usd=budget.amount,
        hard=budget.hard,
        spent_nano_usd=rows.counted(session, budget),
        reserved_nano_usd=budget.reserved,
        starts_at=budget.starts_at,
        ends_at=rows.end_of(budget.period, budget.starts_at),
    )


def _without_amounts(state: BudgetState) -> BudgetLine:
    if state.scope == "user":
        return state
    share = next(step for step in STEPS if state.share >= step)
    return SharedBudget(
        state.id, state.scope, state.name, state.period, state.hard, share, state.starts_at, state.ends_at
    )
