"""Demo data: marked, plausible, replaced as a whole and removed without a trace."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db import Database
from chatcore.db.tables import (
    Base,
    BrowserSession,
    Conversation,
    LimitHit,
    Tenant,
    UsageDaily,
    UsageHourly,
    UsageMetric,
    User,
    utcnow,
)  # fmt: skip
from chatcore.errors import InvalidInput, NotFound
from chatcore.usage import Filter, Usage, demo_data, demo_removal
from chatcore.usage.demo_draws import OUTCOMES
from chatcore.usage.demo_team import MODELS, models, people
from chatcore.usage.rollup_jobs import RollupJobs
from tests.usage.test_queries import call, put

PEOPLE = people(0, len(MODELS))
NOW = datetime(2026, 6, 18, 15, 20, tzinfo=UTC)
ADMIN = Principal("user_ann", "tenant_a", "ann", "Ann", "admin")


@pytest.fixture
def db(any_database: Database) -> Database:
    tenants = [{"id": one, "name": one} for one in ("tenant_a", "tenant_b")]
    person = {"id": "user_ann", "tenant_id": "tenant_a", "username": "ann", "name": "Ann", "role": "admin"}
    any_database.write(lambda session: session.execute(insert(Tenant), tenants))
    any_database.write(lambda session: session.execute(insert(User), [person]))
    put(any_database, call(created_at=NOW))
    RollupJobs(any_database).catch_up()
    return any_database


def everything(db: Database) -> dict[str, list[Any]]:
    """Every row of every table."""
    tables = Base.metadata.sorted_tables
    return db.read(lambda session: {t.name: sorted(map(repr, session.execute(select(t)))) for t in tables})


def count(db: Database, *where: Any) -> int:
    return db.read(lambda session: session.scalar(select(func.count()).select_from(UsageMetric).where(*where))) or 0


def test_made_and_removed_without_a_trace(db: Database) -> None:
    before = everything(db)
    made = demo_data.make(db, "tenant_a", days=30, rows=2500, now=NOW)
    assert (made.people, made.calls, made.days) == (len(PEOPLE), 2500, 30)
    assert count(db, UsageMetric.is_demo.is_(True)) == 2500
    assert demo_data.remove(db) == 2500
    assert everything(db) == before


def test_made_twice_is_made_once(db: Database) -> None:
    for _ in range(2):
        demo_data.make(db, "tenant_a", days=10, rows=200, now=NOW)
    assert count(db, UsageMetric.is_demo.is_(True)) == 200
    users = db.read(lambda session: session.scalars(select(User).where(User.is_demo.is_(True))).all())
    assert len(users) == len(PEOPLE)
    assert all(user.password_hash is None and user.role == "member" for user in users)


def test_tenants_have_their_own(db: Database) -> None:
    for tenant in ("tenant_a", "tenant_b"):
        demo_data.make(db, tenant, days=5, rows=100, now=NOW)
    assert demo_data.remove(db, "tenant_a") == 100
    assert count(db, UsageMetric.tenant_id == "tenant_b") == 100
    assert count(db, UsageMetric.tenant_id == "tenant_a") == 1


def test_what_signing_in_as_a_demo_person_left_behind_goes_too_but_not_its_real_calls(db: Database) -> None:
    demo_data.make(db, "tenant_a", days=2, rows=10, now=NOW)
    user_id = db.read(lambda session: session.scalars(select(User.id).where(User.is_demo.is_(True)).limit(1)).one())
    owner = {"tenant_id": "tenant_a", "user_id": user_id}
    signed_in = owner | {"id": "ses_1", "token_sha256": "x", "expires_at": utcnow()}
    db.write(lambda session: session.execute(insert(BrowserSession), [signed_in]))
    db.write(lambda session: session.execute(insert(Conversation), [owner | {"id": "conv_1", "title": "Hello"}]))
    db.write(lambda session: session.execute(insert(UsageMetric), [call() | {"user_id": user_id}]))
    demo_data.remove(db)
    left = everything(db)
    assert left["browser_sessions"] == left["conversations"] == []
    assert len(left["users"]) == 1
    assert len(left["usage_metrics"]) == 2


def test_the_rows_are_believable(db: Database) -> None:
    demo_data.make(db, "tenant_a", days=28, rows=6000, now=NOW)
    rows = db.read(lambda session: session.scalars(select(UsageMetric).where(UsageMetric.is_demo.is_(True))).all())
    assert {row.model for row in rows} == {model.name for model in MODELS}
    assert all(NOW - timedelta(days=28) < row.created_at <= NOW for row in rows)
    assert all(row.cached_tokens <= row.prompt_tokens and row.reasoning_tokens <= row.completion_tokens for row in rows)
    assert all((row.ttft_ms or 0) <= (row.latency_ms or 0) for row in rows)
    assert 0.88 < sum(row.outcome == "ok" for row in rows) / len(rows) < 0.94
    assert {row.outcome for row in rows} == set(OUTCOMES)
    assert {row.tier for row in rows} == {"free", "pro", "team"}
    assert all(
        (row.outcome == "cached") == row.cache_hit == (row.saved_nano_usd > 0) for row in rows if row.unit_prices
    )
    weekend = sum(row.created_at.weekday() >= 5 for row in rows) / len(rows)
    night = sum(row.created_at.hour < 6 for row in rows) / len(rows)
    assert 0.01 < weekend < 0.12
    assert night < 0.05
    by_id = [row.created_at for row in sorted(rows, key=lambda row: row.id)]
    assert by_id == sorted(by_id)


def test_every_cost_follows_from_the_prices_beside_it(db: Database) -> None:
    demo_data.make(db, "tenant_a", days=7, rows=1500, now=NOW)
    for row in db.read(lambda session: session.scalars(select(UsageMetric).where(UsageMetric.is_demo.is_(True))).all()):
        if row.cache_hit:
            assert (row.cost_nano_usd, row.prompt_tokens, row.unit_prices) == (0, 0, {})
            continue
        if not row.unit_prices:
            assert (row.cost_nano_usd, row.price_source) == (None, "none")
            continue
        price = {kind: Decimal(value) * 10**9 for kind, value in row.unit_prices.items()}
        fresh = row.prompt_tokens - row.cached_tokens
        cost = (
            fresh * price["prompt"] + row.cached_tokens * price["cached"] + row.completion_tokens * price["completion"]
        )
        assert row.cost_nano_usd == cost
    totals = Usage(db).totals(ADMIN, Filter(NOW - timedelta(days=8), NOW + timedelta(days=1)))
    assert totals.unpriced > 0
    assert totals.estimated > 0


def test_numbers_that_make_no_sense_are_refused(db: Database) -> None:
    with pytest.raises(InvalidInput):
        demo_data.make(db, "tenant_a", days=0)
    with pytest.raises(InvalidInput):
        demo_data.make(db, "tenant_a", rows=-1)
    with pytest.raises(NotFound):
        demo_data.make(db, "tenant_none")


def test_no_rows_at_all_still_makes_people(db: Database) -> None:
    assert demo_data.make(db, "tenant_a", days=1, rows=0, now=NOW).calls == 0


def test_the_rollups_are_made_with_the_calls_and_go_with_them(db: Database) -> None:
    before = everything(db)
    demo_data.make(db, "tenant_a", days=40, rows=900, now=NOW)
    assert RollupJobs(db).check() == []
    assert count(db, UsageMetric.rolled_up.is_(False)) == 0
    held = db.read(lambda session: session.scalar(select(func.sum(UsageHourly.demo))))
    assert held == 900
    demo_data.remove(db, "tenant_a")
    assert RollupJobs(db).check() == []
    assert everything(db) == before


def test_the_days_of_the_rollups_are_the_tenants(db: Database) -> None:
    kathmandu = {"timezone": "Asia/Kathmandu", "days_zone": "Asia/Kathmandu"}
    db.write(lambda session: session.execute(update(Tenant).where(Tenant.id == "tenant_b").values(kathmandu)))
    demo_data.make(db, "tenant_b", days=5, rows=300, now=NOW)
    starts = select(UsageDaily.start).where(UsageDaily.tenant_id == "tenant_b")
    assert {(one.hour, one.minute) for one in db.read(lambda session: session.scalars(starts).all())} == {(18, 15)}
    assert RollupJobs(db).check("tenant_b") == []


def test_what_is_left_of_the_ledger_goes_and_what_was_counted_before_stays(db: Database) -> None:
    demo_data.make(db, "tenant_b", days=4, rows=400, now=NOW)
    since = NOW.replace(hour=0, minute=0) - timedelta(days=2)  # as retention has it: where a day begins
    gone = count(db, UsageMetric.tenant_id == "tenant_b", UsageMetric.created_at < since)

    def purge(session: Session) -> None:
        old = UsageMetric.tenant_id == "tenant_b", UsageMetric.created_at < since
        session.execute(delete(UsageMetric).where(*old))
        session.execute(update(Tenant).where(Tenant.id == "tenant_b").values(ledger_since=since))

    db.write(purge)
    assert demo_data.remove(db, "tenant_b") == 400 - gone
    held = select(func.sum(UsageDaily.calls)).where(UsageDaily.tenant_id == "tenant_b", UsageDaily.kind == "user")
    for level in ("day", "month"):
        found = db.read(lambda session, of=level: session.scalar(held.where(UsageDaily.level == of)))
        assert found == gone


def test_many_calls_are_a_companys(db: Database) -> None:
    many = models(10_000_000)
    assert (len(many), len({one.name for one in many}), len({one.provider for one in many})) == (50, 50, 12)
    company = people(10_000_000, len(many))
    assert len({one.name for one in company}) == 2000
    assert len({one.team for one in company}) == 12
    made = demo_data.make(db, "tenant_a", days=3, rows=3000, now=NOW, people=40, models=20)
    assert made.people == 40
    used = db.read(lambda session: session.scalar(select(func.count(UsageMetric.model.distinct()))))
    assert used > 15


def test_refusals_are_made_up_too(db: Database) -> None:
    demo_data.make(db, "tenant_a", days=3, rows=3000, now=NOW)
    assert db.read(lambda session: session.scalar(select(func.sum(LimitHit.hits)))) > 5
    demo_data.remove(db)
    assert db.read(lambda session: session.scalar(select(func.count()).select_from(LimitHit))) == 0


def test_progress_is_told_to_the_last_call(db: Database) -> None:
    told: list[tuple[int, int]] = []
    demo_data.make(db, "tenant_a", days=2, rows=50, now=NOW, on_progress=lambda *one: told.append(one))
    assert told[-1] == (50, 50)


def sums(db: Database, tenant_id: str = "tenant_a") -> set[int]:
    """How many calls the rollups of days and of months hold, by model and by person."""
    of = UsageDaily.level, UsageDaily.kind
    where = UsageDaily.tenant_id == tenant_id, UsageDaily.kind.in_(["model", "user", "agent"])
    found = db.read(
        lambda session: session.execute(select(*of, func.sum(UsageDaily.calls)).where(*where).group_by(*of))
    )
    return {int(row[2]) for row in found}


class Killed(BaseException):
    """The process is."""


def test_a_tenant_with_retention_keeps_its_history(db: Database) -> None:
    """Its old days are in no ledger any more, and demo data is made for none of them."""
    put(db, *(call(created_at=NOW - timedelta(days=days)) for days in range(1, 40)))
    RollupJobs(db).catch_up()
    since = NOW.replace(hour=0, minute=0) - timedelta(days=20)
    gone = UsageMetric.tenant_id == "tenant_a", UsageMetric.created_at < since
    db.write(lambda session: session.execute(delete(UsageMetric).where(*gone)))
    db.write(lambda session: session.execute(update(Tenant).values(ledger_since=since)))
    made = demo_data.make(db, "tenant_a", days=60, now=NOW)
    assert (made.days, made.calls) == (21, 21 * 140)
    assert sums(db) == {40 + made.calls}
    assert RollupJobs(db).check("tenant_a") == []
    demo_data.remove(db, "tenant_a")
    assert sums(db) == {40}


def test_a_tenant_that_keeps_nothing_as_yet_gets_no_demo_data(db: Database) -> None:
    db.write(lambda session: session.execute(update(Tenant).values(ledger_since=NOW)))
    with pytest.raises(InvalidInput, match="no whole day"):
        demo_data.make(db, "tenant_a", days=5, now=NOW)


@pytest.mark.parametrize("after", [1, 3])
def test_made_until_it_was_killed_the_numbers_are_those_of_what_is_there(
    db: Database, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(demo_data, "_A_TRANSACTION", 50)

    def killed(done: int, of: int) -> None:
        if done > of * after / 4:
            raise Killed

    with pytest.raises(Killed):
        demo_data.make(db, "tenant_a", days=60, rows=1000, now=NOW, on_progress=killed)
    there = count(db, UsageMetric.tenant_id == "tenant_a")
    assert 1 < there < 1001
    assert sums(db) == {there}
    assert RollupJobs(db).check("tenant_a") == []


def test_removed_until_it_was_killed_the_numbers_are_those_of_what_is_there(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo_data.make(db, "tenant_a", days=60, rows=600, now=NOW)
    days, remove_day = 0, demo_removal._remove_day

    def killed(*given: Any, **named: Any) -> Any:
        nonlocal days
        days += 1
        if days > 35:
            raise Killed
        return remove_day(*given, **named)

    monkeypatch.setattr(demo_removal, "_remove_day", killed)
    with pytest.raises(Killed):
        demo_data.remove(db, "tenant_a")
    there = count(db, UsageMetric.tenant_id == "tenant_a")
    assert 1 < there < 601
    assert sums(db) == {there}
    monkeypatch.undo()
    demo_data.remove(db, "tenant_a")
    assert sums(db) == {1}


def test_a_time_zone_that_changes_while_it_is_made_gets_its_days(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_data, "_A_TRANSACTION", 50)
    moved = False

    def move(done: int, of: int) -> None:
        nonlocal moved
        if not moved and done > of / 2:
            moved = True
            db.write(lambda session: session.execute(update(Tenant).values(timezone="Asia/Kathmandu")))
            RollupJobs(db).keep_up()

    demo_data.make(db, "tenant_a", days=20, rows=500, now=NOW, on_progress=move)
    assert moved
    assert sums(db) == {501}
    assert RollupJobs(db).check("tenant_a") == []
