"""Budgets: no more is held than there is, and what was spent is what the ledger says, whatever happens in between."""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, insert, select, text, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.db import Database
from chatcore.db.tables import AuditEntry, Budget, BudgetPeriod, Reservation, UsageMetric, User, utcnow
from chatcore.errors import BudgetExceeded, Forbidden, InvalidInput, NotFound
from chatcore.ids import new_id
from chatcore.usage import Filter, Usage, budget_rows, budgets, ledger
from chatcore.usage.budgets import Budgets, BudgetState, SharedBudget
from tests.chat import until
from tests.conftest import add_person

CENT = 10_000_000
NOON = datetime(2031, 3, 14, 12, tzinfo=UTC)


@dataclass
class House:
    """A tenant of its own with an admin, ada and bob in the team Red, and cleo in none."""

    db: Database
    admin: Principal
    ada: Principal
    bob: Principal
    cleo: Principal

    @property
    def tenant(self) -> str:
        return self.admin.tenant_id

    def budget(self, scope: str, scope_id: str, period: str, amount: int, *, hard: bool = True) -> str:
        """A budget without any counters yet."""
        values = {"tenant_id": self.tenant, "scope": scope, "scope_id": scope_id, "period": period, "hard": hard}
        budget_id = new_id("bud")
        self.db.write(lambda s: s.execute(insert(Budget).values(id=budget_id, amount_nano_usd=amount, **values)))
        return budget_id

    def hold(self, who: Principal, holder: str, nano: int | None, now: datetime = NOON) -> None:
        person = {"tenant_id": who.tenant_id, "user_id": who.user_id}
        self.db.write(lambda s: budgets.hold(s, **person, holder=holder, nano=nano, now=now))

    def cost(self, who: Principal, nano: int | None, at: datetime = NOON, **call: Any) -> str:
        """A settled call: its ledger row."""

        def work(session: Session) -> str:
            row_id = opened(session, who, at, **call)
            ledger.settle_call(session, row_id, ledger.Settlement("ok", cost_nano_usd=nano))
            return row_id

        return self.db.write(work)

    def release(self, holder: str) -> None:
        self.db.write(lambda session: budgets.release(session, holder))

    def counters(self, budget_id: str) -> dict[datetime, tuple[int, int]]:
        """Spent and reserved by start of the period."""
        rows = select(BudgetPeriod).where(BudgetPeriod.budget_id == budget_id)
        found = self.db.read(lambda session: list(session.scalars(rows)))
        return {row.starts_at: (row.spent_nano_usd, row.reserved_nano_usd) for row in found}

    def counter(self, budget_id: str) -> tuple[int, int]:
        """Spent and reserved of the only period."""
        (only,) = self.counters(budget_id).values()
        return only

    def held(self) -> dict[str, int]:
        """What is held in the tenant, by holder and summed over budgets."""
        held = select(Reservation.holder, func.sum(Reservation.amount_nano_usd)).group_by(Reservation.holder)
        rows = self.db.read(lambda s: s.execute(held.where(Reservation.tenant_id == self.tenant)).all())
        return {row[0]: int(row[1]) for row in rows}

    def remaining(self, who: Principal, now: datetime = NOON) -> int | None:
        return self.db.read(lambda s: budgets.remaining(s, who.tenant_id, who.user_id, now))


def opened(session: Session, who: Principal, at: datetime, **call: Any) -> str:
    """The row of a call that began at `at`."""
    row_id = ledger.open_call(
        session, ledger.NewCall(who.tenant_id, who.user_id, "demo", "demo/quick", "quick", new_id("trace"), **call)
    )
    session.execute(update(UsageMetric).where(UsageMetric.id == row_id).values(created_at=at))
    return row_id


def build(db: Database) -> House:
    mark = secrets.token_hex(6)
    tenant = f"Tenant {mark}"
    admin = add_person(db, f"admin-{mark}", tenant=tenant, role="admin")
    ada, bob, cleo = (add_person(db, f"{name}-{mark}", tenant=tenant) for name in ("ada", "bob", "cleo"))
    red = update(User).where(User.id.in_([ada.user_id, bob.user_id])).values(team="Red")
    db.write(lambda session: session.execute(red))
    return House(db, admin, ada, bob, cleo)


@pytest.fixture
def house(module_database: Database) -> House:
    return build(module_database)


@pytest.fixture
def other(module_database: Database) -> House:
    """Another tenant in the same database."""
    return build(module_database)


# ---- holding and spending


def test_what_is_held_is_spent_in_part_and_the_rest_returns(house: House) -> None:
    budget = house.budget("user", house.ada.user_id, "day", 10 * CENT)
    house.hold(house.ada, "turn_1", 6 * CENT)
    assert house.counter(budget) == (0, 6 * CENT)
    assert house.remaining(house.ada) == 4 * CENT
    house.cost(house.ada, 2 * CENT, turn_id="turn_1")
    assert house.counter(budget) == (2 * CENT, 4 * CENT)
    house.hold(house.ada, "turn_1", 6 * CENT)
    assert house.counter(budget) == (2 * CENT, 6 * CENT), "raised to what a further attempt may cost"
    house.hold(house.ada, "turn_1", CENT)
    assert house.counter(budget) == (2 * CENT, 6 * CENT), "never lowered"
    house.release("turn_1")
    assert house.counter(budget) == (2 * CENT, 0)
    assert house.held() == {}
    assert house.remaining(house.ada) == 8 * CENT


def test_a_refusal_says_which_budget_and_what_to_do(house: House) -> None:
    budget = house.budget("team", "Red", "month", 10 * CENT)
    house.hold(house.ada, "turn_1", 7 * CENT)
    with pytest.raises(BudgetExceeded) as caught:
        house.hold(house.bob, "turn_2", 4 * CENT)
    assert str(caught.value) == (
        "The month's budget of the team Red has less left than this may cost, which is up to $0.04. "
        "Choose a cheaper model, ask an admin for more, or try again on 1 April (UTC)."
    )
    assert house.counter(budget) == (0, 7 * CENT)
    house.hold(house.bob, "turn_2", 3 * CENT)
    assert house.remaining(house.ada) == 0


def test_a_refused_raise_leaves_what_was_held_and_the_transaction_goes_on(house: House) -> None:
    own = house.budget("user", house.ada.user_id, "day", 100 * CENT)
    tenant = house.budget("tenant", "", "day", 10 * CENT)
    house.hold(house.ada, "turn_1", 6 * CENT)

    def work(session: Session) -> str:
        person = {"tenant_id": house.tenant, "user_id": house.ada.user_id}
        with pytest.raises(BudgetExceeded, match=r"has less left than this may cost, which is up to \$0\.11\."):
            budgets.hold(session, **person, holder="turn_1", nano=11 * CENT, now=NOON)
        return opened(session, house.ada, NOON)

    row_id = house.db.write(work)
    assert house.db.read(lambda session: session.get(UsageMetric, row_id)) is not None
    assert house.counter(own) == house.counter(tenant) == (0, 6 * CENT)
    assert house.held() == {"turn_1": 12 * CENT}


def test_every_budget_that_applies_is_held_of_and_no_other(house: House) -> None:
    applying = [
        house.budget("user", house.ada.user_id, "day", 9 * CENT),
        house.budget("team", "Red", "month", 8 * CENT),
        house.budget("tenant", "", "day", 7 * CENT),
    ]
    others = [house.budget("user", house.bob.user_id, "day", CENT), house.budget("team", "Blue", "day", CENT)]
    house.hold(house.ada, "turn_1", 5 * CENT)
    assert [house.counter(budget) for budget in applying] == [(0, 5 * CENT)] * 3
    assert [house.counters(budget) for budget in others] == [{}, {}]
    assert house.remaining(house.ada) == 2 * CENT
    assert house.remaining(house.bob) == CENT
    house.cost(house.cleo, CENT)
    assert [house.counter(budget)[0] for budget in applying] == [0, 0, CENT]


def test_without_a_hard_budget_nothing_is_asked(house: House) -> None:
    def applies(who: Principal) -> bool:
        return house.db.read(lambda session: budgets.applies(session, who.tenant_id, who.user_id))

    house.budget("user", house.ada.user_id, "day", 0)
    house.budget("tenant", "", "month", 0, hard=False)
    house.hold(house.bob, "turn_1", 100 * CENT)
    house.hold(house.bob, "turn_1", None)
    assert house.held() == {}
    assert house.remaining(house.bob) is None
    assert (applies(house.ada), applies(house.bob)) == (True, False)


def test_a_soft_budget_counts_warns_and_never_refuses(house: House) -> None:
    budget = house.budget("user", house.ada.user_id, "day", 10 * CENT, hard=False)
    today = utcnow()
    for cost, warns in ((7 * CENT, False), (CENT, True), (90 * CENT, True)):
        house.hold(house.ada, "turn_1", cost, today)
        house.cost(house.ada, cost, today, turn_id="turn_1")
        (state,) = Budgets(house.db).mine(house.ada)
        assert state.warns is warns
    assert house.counter(budget) == (98 * CENT, 0)
    assert (state.left_nano_usd, state.share) == (0, 9.8)


def test_an_unknown_price_is_refused_under_a_hard_budget_only(house: House) -> None:
    house.hold(house.ada, "turn_1", None)
    house.budget("user", house.ada.user_id, "day", 10 * CENT, hard=False)
    house.hold(house.ada, "turn_1", None)
    house.budget("tenant", "", "month", 10 * CENT)
    with pytest.raises(BudgetExceeded, match=r"has no known price.* The month's budget that everybody here shares is"):
        house.hold(house.ada, "turn_1", None)


def test_what_costs_nothing_is_let_through_when_all_is_spent(house: House) -> None:
    house.budget("user", house.ada.user_id, "day", CENT)
    house.cost(house.ada, 3 * CENT)
    with pytest.raises(BudgetExceeded, match=r"has \$0\.00 left, and this may cost up to \$0\.000000001\."):
        house.hold(house.ada, "turn_1", 1)
    house.hold(house.ada, "turn_1", 0)
    assert house.remaining(house.ada) == 0


def test_a_call_that_cost_more_than_was_held_is_counted_whole(house: House) -> None:
    budget = house.budget("user", house.ada.user_id, "day", 10 * CENT)
    house.hold(house.ada, "turn_1", 2 * CENT)
    house.cost(house.ada, 5 * CENT, turn_id="turn_1")
    assert house.counter(budget) == (5 * CENT, 0)


def test_a_call_without_a_turn_holds_by_its_own_row(house: House) -> None:
    budget = house.budget("user", house.ada.user_id, "day", 10 * CENT)
    row_id = house.db.write(lambda session: opened(session, house.ada, NOON, purpose="title"))
    house.hold(house.ada, row_id, 2 * CENT)
    settlement = ledger.Settlement("ok", cost_nano_usd=CENT)
    house.db.write(lambda session: ledger.settle_call(session, row_id, settlement))
    assert house.counter(budget) == (CENT, CENT)
    house.release(row_id)
    assert house.counter(budget) == (CENT, 0)


# ---- the ledger


def test_an_interrupted_row_that_is_corrected_counts_once(house: House) -> None:
    budget = house.budget("tenant", "", "day", 100 * CENT)
    row_id = house.db.write(lambda session: opened(session, house.ada, NOON))
    for outcome, cost, settled in (
        ("interrupted", 5, True),
        ("interrupted", 9, True),
        ("ok", 3, True),
        ("ok", 8, False),
    ):
        settlement = ledger.Settlement(outcome, cost_nano_usd=cost * CENT)  # type: ignore[arg-type]
        done = house.db.write(lambda session, settlement=settlement: ledger.settle_call(session, row_id, settlement))
        assert done is settled
        assert house.counter(budget)[0] == {True: cost, False: 3}[settled] * CENT
    unknown = house.db.write(lambda session: ledger.settle_call(session, "use_absent", ledger.Settlement("ok")))
    assert unknown is False


def test_a_cost_that_becomes_unknown_is_taken_back(house: House) -> None:
    budget = house.budget("tenant", "", "day", 100 * CENT)
    row_id = house.db.write(lambda session: opened(session, house.ada, NOON))
    for outcome, cost in (("interrupted", 5 * CENT), ("ok", None)):
        settlement = ledger.Settlement(outcome, cost_nano_usd=cost)  # type: ignore[arg-type]
        house.db.write(lambda session, settlement=settlement: ledger.settle_call(session, row_id, settlement))
    assert house.counter(budget) == (0, 0)


def test_what_a_person_paid_themselves_and_demo_data_do_not_count(house: House) -> None:
    house.cost(house.ada, 7 * CENT, key_source="person")
    demo = house.cost(house.ada, 5 * CENT)
    house.db.write(lambda s: s.execute(update(UsageMetric).where(UsageMetric.id == demo).values(is_demo=True)))
    house.cost(house.ada, 2 * CENT, key_source="tenant")
    budget = house.budget("tenant", "", "day", 100 * CENT)
    assert house.remaining(house.ada) == 98 * CENT
    house.cost(house.ada, CENT, key_source="person")
    assert house.counters(budget) == {}, "nothing asked for the counters yet"
    house.cost(house.ada, CENT)
    house.cost(house.ada, CENT, key_source="person")
    assert house.counter(budget)[0] == 3 * CENT


def test_a_settlement_keeps_the_provider_unless_another_one_answered(house: House) -> None:
    for named, stored in ((None, "demo"), ("openai", "openai")):
        row_id = house.db.write(lambda session: opened(session, house.ada, NOON))
        settlement = ledger.Settlement("ok", cache_write_tokens=4, provider=named)
        house.db.write(lambda session, of=row_id, settlement=settlement: ledger.settle_call(session, of, settlement))
        row = house.db.read(lambda session, of=row_id: session.get_one(UsageMetric, of))
        assert (row.provider, row.cache_write_tokens, row.key_source) == (stored, 4, "shared")


def test_settling_asks_for_budgets_once_and_not_at_all_where_there_is_no_cost(house: House) -> None:
    asked: list[str] = []

    def settle(cost: int) -> int:
        row_id = house.db.write(lambda session: opened(session, house.ada, NOON))
        asked.clear()
        settlement = ledger.Settlement("ok", cost_nano_usd=cost)
        house.db.write(lambda session: ledger.settle_call(session, row_id, settlement))
        return len([one for one in asked if "budgets" in one])

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        asked.append(statement)

    event.listen(house.db.engine, "before_cursor_execute", note)
    try:
        assert (settle(0), settle(CENT)) == (0, 1)
    finally:
        event.remove(house.db.engine, "before_cursor_execute", note)


def test_budgets_are_looked_up_by_their_index(database: Database) -> None:
    asked: list[tuple[str, Any]] = []
    event.listen(database.engine, "before_cursor_execute", lambda _c, _k, sql, values, *_: asked.append((sql, values)))
    database.read(lambda session: budgets.applies(session, "ten_1", "usr_1"))
    database.read(lambda session: budget_rows.of_person(session, "ten_1", "usr_1", NOON))
    for sql, values in [one for one in asked if one[0].startswith("SELECT")]:
        with database.engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()
        assert any("USING INDEX" in str(step) for step in plan)
        assert not [step for step in plan if "SCAN budgets" in str(step)], plan


# ---- periods


@pytest.mark.parametrize(
    ("period", "at", "start", "end"),
    [
        ("day", "2031-01-31T23:59:59.999999+00:00", "2031-01-31", "2031-02-01"),
        ("day", "2031-02-01T00:30:00+01:00", "2031-01-31", "2031-02-01"),
        ("month", "2031-01-31T23:59:59.999999+00:00", "2031-01-01", "2031-02-01"),
        ("month", "2031-01-31T20:00:00-05:00", "2031-02-01", "2031-03-01"),
        ("month", "2032-02-29T12:00:00+00:00", "2032-02-01", "2032-03-01"),
        ("month", "2031-12-31T12:00:00+00:00", "2031-12-01", "2032-01-01"),
    ],
)
def test_days_and_months_are_those_of_utc(period: budget_rows.Period, at: str, start: str, end: str) -> None:
    begins = budget_rows.start_of(period, datetime.fromisoformat(at))
    assert begins == datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert budget_rows.end_of(period, begins) == datetime.fromisoformat(end).replace(tzinfo=UTC)


def test_a_call_counts_in_its_own_day_and_month_however_late_it_is_settled(house: House) -> None:
    day, month = (house.budget("user", house.ada.user_id, period, 10 * CENT) for period in ("day", "month"))
    last, first = datetime(2031, 1, 31, 23, 59, 59, 999_999, UTC), datetime(2031, 2, 1, tzinfo=UTC)
    house.hold(house.ada, "turn_1", 9 * CENT, last)
    with pytest.raises(BudgetExceeded, match=r"again on 1 February \(UTC\)"):
        house.hold(house.ada, "turn_2", 9 * CENT, last)
    house.hold(house.ada, "turn_2", 9 * CENT, first)
    house.cost(house.ada, 8 * CENT, first, turn_id="turn_2")
    house.cost(house.ada, 4 * CENT, last, turn_id="turn_1")
    january, february = datetime(2031, 1, 1, tzinfo=UTC), first
    assert house.counters(day) == {last.replace(**_MIDNIGHT): (4 * CENT, 5 * CENT), first: (8 * CENT, CENT)}
    assert house.counters(month) == {january: (4 * CENT, 5 * CENT), february: (8 * CENT, CENT)}


_MIDNIGHT: dict[str, Any] = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}


def test_a_turn_that_outlasts_the_day_holds_of_the_next_and_no_longer_of_the_first(house: House) -> None:
    day, month = (house.budget("user", house.ada.user_id, period, 10 * CENT) for period in ("day", "month"))
    house.hold(house.ada, "turn_1", 4 * CENT, NOON)
    house.hold(house.ada, "turn_1", 5 * CENT, NOON + timedelta(days=1))
    assert list(house.counters(day).values()) == [(0, 0), (0, 5 * CENT)]
    assert house.counter(month) == (0, 5 * CENT)
    house.cost(house.ada, CENT, NOON, turn_id="turn_1")
    assert list(house.counters(day).values()) == [(CENT, 0), (0, 5 * CENT)], "held of another day: not taken off"
    assert house.counter(month) == (CENT, 4 * CENT)
    house.release("turn_1")
    assert list(house.counters(day).values()) == [(CENT, 0), (0, 0)]


def test_a_budget_made_in_mid_period_counts_what_was_spent_before(house: House) -> None:
    now = utcnow()
    for who, nano, at in (
        (house.ada, 3 * CENT, now),
        (house.ada, None, now),
        (house.bob, 2 * CENT, now),
        (house.cleo, CENT, now),
        (house.ada, 50 * CENT, budget_rows.start_of("month", now) - timedelta(microseconds=1)),
    ):
        house.cost(who, nano, at)
    for scope, scope_id in (("user", house.ada.user_id), ("team", "Red"), ("tenant", "")):
        Budgets(house.db).set(house.admin, scope, scope_id, "month", 100 * CENT)
    states = {state.scope: state for state in Budgets(house.db).list(house.admin)}
    spent = {scope: state.spent_nano_usd for scope, state in states.items()}
    assert spent == {"user": 3 * CENT, "team": 5 * CENT, "tenant": 6 * CENT}
    house.cost(house.ada, CENT, now)
    assert house.counter(states["user"].id) == (4 * CENT, 0)


def test_the_settle_that_makes_the_counters_is_counted_once(house: House) -> None:
    house.cost(house.ada, 3 * CENT)
    budget = house.budget("user", house.ada.user_id, "day", 100 * CENT)
    house.cost(house.ada, 2 * CENT)
    assert house.counter(budget) == (5 * CENT, 0)
    house.cost(house.ada, CENT)
    assert house.counter(budget) == (6 * CENT, 0)


# ---- what is not given back


def test_a_killed_process_reservation_returns_after_an_hour_and_a_renewed_one_stays(house: House) -> None:
    budget = house.budget("tenant", "", "month", 10 * CENT)
    house.hold(house.ada, f"{house.tenant}_killed", 4 * CENT)
    house.hold(house.bob, f"{house.tenant}_alive", 5 * CENT)
    house.hold(house.bob, f"{house.tenant}_alive", 5 * CENT, NOON + timedelta(minutes=30))
    house.db.write(lambda session: budgets.sweep(session, NOON + timedelta(minutes=59)))
    assert house.counter(budget) == (0, 9 * CENT)
    assert house.db.write(lambda session: budgets.sweep(session, NOON + timedelta(minutes=61))) >= 1
    assert house.held() == {f"{house.tenant}_alive": 5 * CENT}
    assert house.counter(budget) == (0, 5 * CENT)
    house.cost(house.ada, CENT, turn_id=f"{house.tenant}_killed")
    house.release(f"{house.tenant}_killed")
    assert house.counter(budget) == (CENT, 5 * CENT)


def test_a_removed_budget_takes_what_is_held_of_it_along(house: House) -> None:
    gone, stays = house.budget("tenant", "", "day", 10 * CENT), house.budget("tenant", "", "month", 10 * CENT)
    house.hold(house.ada, "turn_1", 4 * CENT)
    Budgets(house.db).remove(house.admin, gone)
    assert house.held() == {"turn_1": 4 * CENT}
    house.cost(house.ada, CENT, turn_id="turn_1")
    house.release("turn_1")
    assert house.counters(gone) == {}
    assert house.counter(stays) == (CENT, 0)


def test_who_changes_the_team_takes_nothing_along_and_a_correction_makes_no_debt(house: House) -> None:
    red, blue = (house.budget("team", team, "day", 10 * CENT) for team in ("Red", "Blue"))
    row_id = house.db.write(lambda session: opened(session, house.ada, NOON, turn_id="turn_1"))
    house.hold(house.ada, "turn_1", 5 * CENT)
    interrupted, ok = (ledger.Settlement(o, cost_nano_usd=c * CENT) for o, c in (("interrupted", 4), ("ok", 1)))  # type: ignore[arg-type]
    house.db.write(lambda session: ledger.settle_call(session, row_id, interrupted))
    house.db.write(lambda s: s.execute(update(User).where(User.id == house.ada.user_id).values(team="Blue")))
    house.db.write(lambda s: s.execute(insert(BudgetPeriod).values(
        budget_id=blue, starts_at=budget_rows.start_of("day", NOON), tenant_id=house.tenant
    )))  # fmt: skip
    house.db.write(lambda session: ledger.settle_call(session, row_id, ok))
    house.release("turn_1")
    assert (house.counter(red), house.counter(blue)) == ((4 * CENT, 0), (0, 0))


# ---- at once


def at_once(house: House, work: Callable[[Database, int], Any], number: int) -> list[Any]:
    """Run the work so often, on threads of their own, in two replicas."""
    replica = Database(house.db.url)
    try:
        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(lambda i: work((house.db, replica)[i % 2], i), range(number)))
    finally:
        replica.close()


def test_of_two_hundred_at_once_exactly_the_fifty_that_can_be_paid_get_through(house: House) -> None:
    tenant = house.budget("tenant", "", "day", 50 * CENT)
    others = [("team", "Red"), ("user", house.ada.user_id), ("user", house.bob.user_id)]
    everybody = [tenant, *(house.budget(*whose, "month", 500 * CENT) for whose in others)]
    most: list[int] = []

    def turn(db: Database, i: int) -> str:
        who, holder = (house.ada, house.bob)[i // 2 % 2], f"{house.tenant}_{i}"
        person = {"tenant_id": who.tenant_id, "user_id": who.user_id}
        try:
            db.write(lambda s: budgets.hold(s, **person, holder=holder, nano=CENT, now=NOON))
        except BudgetExceeded as error:
            return str(error)
        most.append(sum(house.counter(tenant)))
        settlement = ledger.Settlement("ok", cost_nano_usd=CENT)
        row_id = db.write(lambda s: opened(s, who, NOON, turn_id=holder))
        db.write(lambda s: ledger.settle_call(s, row_id, settlement))
        db.write(lambda s: budgets.release(s, holder))
        return ""

    said = at_once(house, turn, 200)
    assert said.count("") == 50
    refused = "The day's budget that everybody here shares has less left than this may cost, which is up to $0.01. "
    assert {one.startswith(refused) for one in said if one} == {True}
    assert max(most) <= 50 * CENT
    assert house.counter(tenant) == (50 * CENT, 0)
    assert sum(house.counter(budget)[0] for budget in everybody[2:]) == house.counter(everybody[1])[0] == 50 * CENT
    assert house.held() == {}


def test_counters_that_many_settles_make_at_once_hold_each_call_once(house: House) -> None:
    days = [NOON + timedelta(days=day) for day in range(6)]
    pending = [
        [house.db.write(lambda s, at=at: opened(s, house.ada, at)) for _ in range(8)] for at in days
    ]  # fmt: skip
    budget = house.budget("user", house.ada.user_id, "day", 100 * CENT)
    settlement = ledger.Settlement("ok", cost_nano_usd=CENT)
    for rows in pending:
        at_once(house, lambda db, i, rows=rows: db.write(lambda s: ledger.settle_call(s, rows[i], settlement)), 8)
    assert list(house.counters(budget).values()) == [(8 * CENT, 0)] * 6


def test_a_budget_made_while_calls_are_settled_misses_none_and_counts_none_twice(house: House) -> None:
    now = utcnow()
    rows = [house.db.write(lambda s: opened(s, house.ada, now)) for _ in range(80)]
    settlement = ledger.Settlement("ok", cost_nano_usd=CENT)
    made = {20: ("tenant", ""), 40: ("team", "Red"), 60: ("user", house.ada.user_id)}

    def work(db: Database, i: int) -> None:
        if i in made:
            Budgets(db).set(house.admin, *made[i], "month", 100 * CENT)
        db.write(lambda s: ledger.settle_call(s, rows[i], settlement))

    at_once(house, work, len(rows))
    states = Budgets(house.db).list(house.admin)
    assert [(state.scope, state.spent_nano_usd) for state in states] == [
        ("team", 80 * CENT), ("tenant", 80 * CENT), ("user", 80 * CENT),
    ]  # fmt: skip


def test_a_row_that_recovery_and_its_own_process_settle_at_once_counts_as_it_stands(house: House) -> None:
    budget = house.budget("tenant", "", "day", 100 * CENT)
    house.cost(house.ada, CENT)
    row_id = house.db.write(lambda session: opened(session, house.ada, NOON))
    assumed, true = ledger.Settlement("interrupted", cost_nano_usd=5 * CENT), ledger.Settlement("ok", cost_nano_usd=3)
    waiting = text("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    with Session(house.db.engine) as recovery:
        recovery.connection(execution_options={"chatcore_write": True})
        ledger.settle_call(recovery, row_id, assumed)
        late = house.db.submit(lambda session: ledger.settle_call(session, row_id, true))
        if not house.db.is_sqlite:
            until(lambda: house.db.read(lambda session: session.scalar(waiting)))
        recovery.commit()
    assert late.result()
    assert house.counter(budget) == (CENT + 3, 0), "the process knows best"


# ---- conservation


MOMENTS = [datetime(2031, 1, 31, 12, tzinfo=UTC), datetime(2031, 1, 31, 23, 59, 59, 999_999, UTC)]
MOMENTS += [datetime(2031, 2, 1, tzinfo=UTC), datetime(2031, 2, 1, 0, 45, tzinfo=UTC)]
HOLDERS, MOMENT, NANO = st.integers(0, 3), st.sampled_from(MOMENTS), st.integers(0, 60)
ACTS = st.one_of(
    st.tuples(st.just("hold"), HOLDERS, NANO, MOMENT),
    st.tuples(st.just("call"), HOLDERS, NANO, MOMENT, st.sampled_from(["ok", "interrupted"])),
    st.tuples(st.just("correct"), st.integers(0, 20), st.one_of(st.none(), NANO)),
    st.tuples(st.just("release"), HOLDERS),
    st.tuples(st.just("sweep"), MOMENT),
    st.tuples(
        st.just("budget"), st.integers(0, 3), st.sampled_from(["day", "month"]), st.integers(0, 150), st.booleans()
    ),
)


class Model:
    """Everything in one transaction; the ledger is summed anew in Python after each act."""

    def __init__(self, session: Session, house: House) -> None:
        self.session, self.house = session, house
        self.people = (house.ada, house.bob, house.cleo, house.ada)
        self.interrupted: list[str] = []

    def holder(self, number: int) -> str:
        return f"{self.house.tenant}_{number}"

    def hold(self, number: int, nano: int, now: datetime) -> None:
        who, before = self.people[number], self.reserved(number)
        person = {"tenant_id": who.tenant_id, "user_id": who.user_id}
        budgets_hold = {"holder": self.holder(number), "nano": nano, "now": now}
        try:
            budgets.hold(self.session, **person, **budgets_hold)  # type: ignore[arg-type]
        except BudgetExceeded:
            assert self.reserved(number) == before
            return
        after = self.reserved(number)
        for budget in budget_rows.of_person(self.session, who.tenant_id, who.user_id, now):
            if not budget.hard or not nano:
                continue
            start, amount = after[budget.id]
            assert (start, amount >= nano) == (budget.starts_at, True)
            if after[budget.id] != before.get(budget.id):
                assert (budget.spent or 0) + budget.reserved <= budget.amount

    def reserved(self, number: int) -> dict[str, tuple[datetime, int]]:
        rows = self.session.execute(
            select(Reservation.budget_id, Reservation.starts_at, Reservation.amount_nano_usd)
            .where(Reservation.holder == self.holder(number))
        )  # fmt: skip
        return {row[0]: (row[1], row[2]) for row in rows}

    def call(self, number: int, nano: int, at: datetime, outcome: Any) -> None:
        row_id = opened(self.session, self.people[number], at, turn_id=self.holder(number))
        ledger.settle_call(self.session, row_id, ledger.Settlement(outcome, cost_nano_usd=nano))
        if outcome == "interrupted":
            self.interrupted.append(row_id)

    def correct(self, pick: int, nano: int | None) -> None:
        if self.interrupted:
            row_id = self.interrupted[pick % len(self.interrupted)]
            ledger.settle_call(self.session, row_id, ledger.Settlement("interrupted", cost_nano_usd=nano))

    def release(self, number: int) -> None:
        budgets.release(self.session, self.holder(number))
        assert self.reserved(number) == {}

    def sweep(self, now: datetime) -> None:
        budgets.sweep(self.session, now)

    def budget(self, whose: int, period: str, amount: int, hard: bool) -> None:
        scopes = [("user", self.house.ada.user_id), ("user", self.house.bob.user_id), ("team", "Red"), ("tenant", "")]
        key = dict(zip(("scope", "scope_id"), scopes[whose], strict=True)) | {"period": period}
        if self.session.scalar(select(Budget.id).filter_by(tenant_id=self.house.tenant, **key)) is None:
            values = {"id": new_id("bud"), "tenant_id": self.house.tenant, "amount_nano_usd": amount, "hard": hard}
            self.session.execute(insert(Budget).values(**key, **values))

    def check(self) -> None:
        calls = self.session.execute(
            select(UsageMetric.user_id, UsageMetric.created_at, UsageMetric.cost_nano_usd)
            .where(UsageMetric.tenant_id == self.house.tenant)
        ).all()  # fmt: skip
        red = {self.house.ada.user_id, self.house.bob.user_id}
        counters = select(Budget, BudgetPeriod).join(BudgetPeriod).where(Budget.tenant_id == self.house.tenant)
        options = {"populate_existing": True}
        for budget, period in self.session.execute(counters.execution_options(**options)):
            of = {"user": {budget.scope_id}, "team": red, "tenant": {who.user_id for who in self.people}}[budget.scope]
            spent = sum(
                cost or 0
                for user_id, at, cost in calls
                if user_id in of and budget_rows.start_of(budget.period, at) == period.starts_at
            )
            held = self.session.scalars(
                select(Reservation.amount_nano_usd)
                .where(Reservation.budget_id == budget.id, Reservation.starts_at == period.starts_at)
            ).all()  # fmt: skip
            assert (period.spent_nano_usd, period.reserved_nano_usd) == (spent, sum(held))
            assert min(held, default=0) >= 0


@settings(max_examples=60)
@given(acts=st.lists(ACTS, min_size=1, max_size=25))
def test_counters_are_the_ledgers_sums_and_the_reservations_sums_whatever_happens(
    module_database: Database, acts: list[tuple[Any, ...]]
) -> None:
    house = build(module_database)

    def work(session: Session) -> None:
        model = Model(session, house)
        for name, *arguments in acts:
            getattr(model, name)(*arguments)
            model.check()
        for number in range(4):
            model.release(number)
        model.check()
        left = select(func.count()).select_from(Reservation).where(Reservation.tenant_id == house.tenant)
        assert session.scalar(left) == 0

    module_database.write(work)


# ---- the facade


def test_an_admin_sets_changes_lists_and_removes_and_it_is_audited(house: House) -> None:
    admin, facade = house.admin, Budgets(house.db)
    facade.set(admin, "user", house.ada.user_id, "day", 5 * CENT)
    facade.set(admin, "team", "Red", "month", 9 * CENT, hard=False)
    facade.set(admin, "tenant", "ignored", "month", 99 * CENT)
    facade.set(admin, "user", house.ada.user_id, "day", 6 * CENT, hard=False)
    house.cost(house.ada, 2 * CENT, utcnow())
    listed = facade.list(admin)

    def brief(state: BudgetState) -> tuple[Any, ...]:
        return state.scope, state.scope_id, state.name, state.period, state.amount_nano_usd, state.hard

    assert [brief(state) for state in listed] == [
        ("team", "Red", "Red", "month", 9 * CENT, False),
        ("tenant", "", "", "month", 99 * CENT, True),
        ("user", house.ada.user_id, house.ada.name, "day", 6 * CENT, False),
    ]
    assert {state.spent_nano_usd for state in listed} == {2 * CENT}
    assert {state.starts_at < utcnow() < state.ends_at for state in listed} == {True}
    facade.remove(admin, listed[0].id)
    assert [state.scope for state in facade.list(admin)] == ["tenant", "user"]
    entries = select(AuditEntry).where(AuditEntry.tenant_id == house.tenant).order_by(AuditEntry.id)
    audited = house.db.read(lambda session: list(session.scalars(entries)))
    assert [entry.action for entry in audited] == ["budget.set"] * 4 + ["budget.remove"]
    assert {entry.user_id for entry in audited} == {admin.user_id}
    assert audited[3].details["amount_nano_usd"] == 6 * CENT


def test_people_see_what_applies_to_them(house: House) -> None:
    facade = Budgets(house.db)
    for scope, scope_id in (("user", house.ada.user_id), ("team", "Red"), ("tenant", ""), ("user", house.cleo.user_id)):
        facade.set(house.admin, scope, scope_id, "day", 5 * CENT)
    names = {who: [(state.scope, state.name) for state in facade.mine(who)] for who in (house.ada, house.cleo)}
    assert names[house.ada] == [("user", house.ada.name), ("team", "Red"), ("tenant", "")]
    assert names[house.cleo] == [("tenant", ""), ("user", house.cleo.name)]


def test_a_member_is_told_their_own_amounts_and_only_how_near_its_end_a_shared_budget_is(house: House) -> None:
    facade = Budgets(house.db)
    house.budget("user", house.ada.user_id, "month", 10 * CENT)
    house.budget("team", "Red", "month", 40 * CENT)
    house.budget("tenant", "", "month", 50 * CENT, hard=False)
    house.cost(house.ada, 7 * CENT, utcnow())
    house.cost(house.bob, 33 * CENT, utcnow())
    own, *shared = facade.mine(house.ada)
    assert isinstance(own, BudgetState)
    assert (own.spent_nano_usd, own.amount_nano_usd) == (7 * CENT, 10 * CENT)
    assert [(type(one), one.scope, one.name, one.share, one.warns, one.hard) for one in shared] == [
        (SharedBudget, "team", "Red", 1.0, True, True),
        (SharedBudget, "tenant", "", 0.8, True, False),
    ]
    assert not [name for one in shared for name in vars(one) if "nano" in name]
    assert {type(one) for one in facade.mine(house.admin)} == {BudgetState}


@pytest.mark.parametrize(
    ("spent", "share"), [(0, 0.0), (49, 0.0), (50, 0.5), (79, 0.5), (80, 0.8), (99, 0.8), (100, 1.0), (180, 1.0)]
)
def test_a_shared_budget_is_told_in_four_steps(house: House, spent: int, share: float) -> None:
    house.budget("tenant", "", "month", 100 * CENT)
    house.cost(house.bob, spent * CENT, utcnow())
    assert [one.share for one in Budgets(house.db).mine(house.ada)] == [share]


@settings(max_examples=20)
@given(one=st.integers(1, 40), other=st.integers(1, 40), scope=st.sampled_from(["team", "tenant"]))
def test_nothing_a_member_asks_tells_what_others_spent(
    module_database: Database, one: int, other: int, scope: str
) -> None:
    """Two houses that differ only in what bob spent, in both less than half of the budget, are the same to ada."""
    told = []
    for cents in (one, other):
        house = build(module_database)
        house.budget("user", house.ada.user_id, "month", 100 * CENT)
        house.budget(scope, "Red" if scope == "team" else "", "month", 100 * CENT)
        house.cost(house.ada, 3 * CENT, utcnow())
        house.cost(house.bob, cents * CENT, utcnow())
        usage, now = Usage(house.db), utcnow()
        lines = [*usage.budget_lines(house.ada), *Budgets(house.db).mine(house.ada)]
        shown = sorted((line.scope, line.share, line.warns, getattr(line, "spent_nano_usd", None)) for line in lines)
        with pytest.raises(BudgetExceeded) as refused:
            house.hold(house.ada, "turn_1", 97 * CENT, now)
        month = Filter(now - timedelta(days=27), now + timedelta(hours=1))
        told.append((shown, str(refused.value), usage.totals(house.ada, month), usage.forecast(house.ada).spent))
    assert told[0] == told[1]
    assert told[0][2].cost_nano_usd == 3 * CENT


def test_a_member_sets_nothing_and_sees_no_list(house: House) -> None:
    facade, budget = Budgets(house.db), house.budget("tenant", "", "day", CENT)
    for act in (
        lambda: facade.set(house.ada, "user", house.ada.user_id, "day", CENT),
        lambda: facade.remove(house.ada, budget),
        lambda: facade.list(house.ada),
    ):
        with pytest.raises(Forbidden):
            act()


def test_an_admin_who_is_none_any_more_sets_nothing(house: House) -> None:
    house.db.write(lambda s: s.execute(update(User).where(User.id == house.admin.user_id).values(role="member")))
    with pytest.raises(Forbidden):
        Budgets(house.db).set(house.admin, "tenant", "", "day", CENT)


def test_another_tenant_is_neither_seen_nor_touched(house: House, other: House) -> None:
    facade = Budgets(house.db)
    budget, theirs = house.budget("tenant", "", "day", 10 * CENT), other.budget("tenant", "", "day", 10 * CENT)
    house.hold(house.ada, house.tenant, 4 * CENT)
    house.cost(house.ada, 2 * CENT, turn_id=house.tenant)
    assert other.counters(theirs) == {}
    assert (other.remaining(other.ada), house.remaining(house.ada)) == (10 * CENT, 6 * CENT)
    assert [state.id for state in facade.list(other.admin)] == [theirs]
    assert [state.id for state in facade.mine(other.ada)] == [theirs]
    with pytest.raises(NotFound, match=r"^There is no such budget\.$"):
        facade.remove(other.admin, budget)
    with pytest.raises(NotFound, match=r"^There is no such person\.$"):
        facade.set(other.admin, "user", house.ada.user_id, "day", CENT)
    assert house.counter(budget) == (2 * CENT, 2 * CENT)


@pytest.mark.parametrize(
    ("scope", "scope_id", "period", "amount", "refusal"),
    [
        ("galaxy", "", "day", 1, InvalidInput),
        ("tenant", "", "year", 1, InvalidInput),
        ("tenant", "", "day", -1, InvalidInput),
        ("tenant", "", "day", 10**18 + 1, InvalidInput),
        ("tenant", "", "day", True, InvalidInput),
        ("tenant", "", "day", 1.5, InvalidInput),
        ("team", "Blue", "day", 1, NotFound),
        ("team", "", "day", 1, NotFound),
        ("user", "usr_absent", "day", 1, NotFound),
    ],
)
def test_budgets_that_cannot_be(
    house: House, scope: str, scope_id: str, period: str, amount: int, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        Budgets(house.db).set(house.admin, scope, scope_id, period, amount)
    assert Budgets(house.db).list(house.admin) == []
