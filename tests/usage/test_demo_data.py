"""Demo data: marked, plausible, replaced as a whole and removed without a trace."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from chatcore.accounts.principal import Principal
from chatcore.db import Database
from chatcore.db.tables import Base, BrowserSession, Conversation, Tenant, UsageMetric, User, utcnow
from chatcore.errors import InvalidInput, NotFound
from chatcore.usage import Filter, Usage, demo_data
from chatcore.usage.demo_draws import MODELS, PEOPLE
from tests.usage.test_queries import call, put

NOW = datetime(2026, 6, 18, 15, 20, tzinfo=UTC)
ADMIN = Principal("user_ann", "tenant_a", "ann", "Ann", "admin")


@pytest.fixture
def db(any_database: Database) -> Database:
    tenants = [{"id": one, "name": one} for one in ("tenant_a", "tenant_b")]
    person = {"id": "user_ann", "tenant_id": "tenant_a", "username": "ann", "name": "Ann", "role": "admin"}
    any_database.write(lambda session: session.execute(insert(Tenant), tenants))
    any_database.write(lambda session: session.execute(insert(User), [person]))
    put(any_database, call(created_at=NOW))
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
    assert 0.92 < sum(row.outcome == "ok" for row in rows) / len(rows) < 0.97
    assert {row.outcome for row in rows} == {"ok", "stopped", "error", "rate_limited", "timeout", "truncated"}
    weekend = sum(row.created_at.weekday() >= 5 for row in rows) / len(rows)
    night = sum(row.created_at.hour < 6 for row in rows) / len(rows)
    assert 0.01 < weekend < 0.12
    assert night < 0.05
    by_id = [row.created_at for row in sorted(rows, key=lambda row: row.id)]
    assert by_id == sorted(by_id)


def test_every_cost_follows_from_the_prices_beside_it(db: Database) -> None:
    demo_data.make(db, "tenant_a", days=7, rows=1500, now=NOW)
    for row in db.read(lambda session: session.scalars(select(UsageMetric).where(UsageMetric.is_demo.is_(True))).all()):
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
