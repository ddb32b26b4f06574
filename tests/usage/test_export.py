"""Files: every row, every column, and nothing that a spreadsheet would run."""

import csv
import io
from datetime import timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow.parquet as pq
import pytest
from sqlalchemy import insert, update

from chatcore.db import Database
from chatcore.db.tables import Tenant, UsageMetric, User
from chatcore.usage import Usage, frame_csv, frame_parquet
from tests.usage.test_queries import ALL, ANN, BOB_ADMIN, CY_OPERATOR, START, call, put


def exported(db: Database) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(Usage(db).export_csv(BOB_ADMIN, ALL)), newline="")))


@pytest.fixture
def db(any_database: Database) -> Database:
    person = {"id": "user_ann", "tenant_id": "tenant_a", "username": "@ann", "name": "Ann", "role": "member"}
    any_database.write(lambda session: session.execute(insert(Tenant), [{"id": "tenant_a", "name": "A"}]))
    any_database.write(lambda session: session.execute(insert(User), [person]))
    return any_database


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", " =1"])
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


def test_parquet_has_the_rows_of_the_csv(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatcore.usage.rows._PAGE", 3)
    monkeypatch.setattr("chatcore.usage.export._GROUP_ROWS", 5)
    made = [call(created_at=START + timedelta(minutes=number), cost_nano_usd=number or None) for number in range(14)]
    put(db, *made, call(user_id="user_bob", outcome="running"))
    pieces = list(Usage(db).export_parquet(BOB_ADMIN, ALL))
    assert len(pieces) == 3
    file = pq.ParquetFile(io.BytesIO(b"".join(pieces)))
    assert file.num_row_groups == 3
    rows, lines = file.read().to_pylist(), exported(db)
    assert [row["id"] for row in rows] == [line["id"] for line in lines]
    assert [row["created_at"].isoformat() for row in rows] == [line["created_at"] for line in lines]
    assert [row["cost_nano_usd"] for row in rows] == [int(line["cost_nano_usd"] or 0) or None for line in lines]
    assert set(rows[0]) == set(lines[0])


def test_a_file_holds_only_what_is_ones_own(db: Database) -> None:
    put(db, call(), call(user_id="user_bob"), call(user_id="user_cy"))
    usage = Usage(db)
    for who, number in ((ANN, 1), (BOB_ADMIN, 2), (CY_OPERATOR, 1)):
        assert pq.read_table(io.BytesIO(b"".join(usage.export_parquet(who, ALL)))).num_rows == number


def test_an_empty_range_is_a_file_without_rows(db: Database) -> None:
    assert pq.read_table(io.BytesIO(b"".join(Usage(db).export_parquet(ANN, ALL)))).num_rows == 0


def test_what_is_shown_becomes_a_file(db: Database) -> None:
    put(db, call(model="=evil()", cost_nano_usd=None), call(model="m2"))
    shown = Usage(db).series(BOB_ADMIN, ALL, "model", "day", ZoneInfo("Asia/Tokyo"))
    lines = list(csv.DictReader(io.StringIO(frame_csv(shown), newline="")))
    assert {line["group"] for line in lines} == {"'=evil()", "m2"}
    assert [line["cost_nano_usd"] for line in lines[:2]] == ["", "7"]
    assert lines[0]["start"] == "2026-03-01T00:00:00+00:00"
    back = pd.read_parquet(io.BytesIO(frame_parquet(shown)))
    assert back["cost_nano_usd"].sum() == 7
    assert list(back.columns) == list(shown.columns)
    assert frame_csv(pd.DataFrame({"=x": ["+1"]})) == '"\'=x"\r\n"\'+1"\r\n'
