"""The CSV: every row, every column, and nothing that a spreadsheet would run."""

import csv
import io

import pytest
from sqlalchemy import insert, update

from chatcore.db import Database
from chatcore.db.tables import Tenant, UsageMetric, User
from chatcore.usage import Usage
from tests.usage.test_queries import ALL, ANN, BOB_ADMIN, call, put


def exported(db: Database) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(Usage(db).export_csv(BOB_ADMIN, ALL)), newline="")))


@pytest.fixture
def db(any_database: Database) -> Database:
    person = {"id": "user_ann", "tenant_id": "tenant_a", "username": "@ann", "name": "Ann", "role": "member"}
    any_database.write(lambda session: session.execute(insert(Tenant), [{"id": "tenant_a", "name": "A"}]))
    any_database.write(lambda session: session.execute(insert(User), [person]))
    return any_database


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_begins_like_a_formula(db: Database, evil: str) -> None:
    put(db, call(model=evil, error_type=evil))
    (row,) = exported(db)
    assert row["model"] == row["error_type"] == f"'{evil}"
    assert row["username"] == "'@ann"


def test_every_value_comes_back(db: Database) -> None:
    put(db, call(model='quo"ted, and\nbroken', cost_nano_usd=None, latency_ms=1200, outcome="cached"))
    (row,) = exported(db)
    assert row["model"] == 'quo"ted, and\nbroken'
    assert (row["cost_nano_usd"], row["latency_ms"], row["cache_hit"], row["prompt_tokens"]) == ("", "1200", "1", "10")
    assert row["created_at"] == "2026-03-01T00:00:00+00:00"
    assert set(row) == set(UsageMetric.__table__.columns.keys()) - {"unit_prices", "rolled_up"} | {"username"}


def test_a_long_export_has_each_row_once(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatcore.usage.rows._PAGE", 3)
    put(db, *(call() for _ in range(9)))
    assert len({row["id"] for row in exported(db)}) == 9


def test_rows_outlive_their_person_and_their_person_may_move(db: Database) -> None:
    put(db, call())
    db.write(lambda session: session.execute(insert(Tenant), [{"id": "tenant_b", "name": "B"}]))
    db.write(lambda session: session.execute(update(User).values(tenant_id="tenant_b")))
    assert [row["username"] for row in exported(db)] == [""]
    assert Usage(db).calls(ANN, ALL)[0].username == ""
