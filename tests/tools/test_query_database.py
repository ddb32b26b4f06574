"""`query_database`: what a report needs works on both databases, and what comes back can be shown."""

import asyncio
import json
import re
import sqlite3
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from chatcore.accounts import Principal
from chatcore.config import Settings, load_settings
from chatcore.conversations.parts import parse
from chatcore.db import Database
from chatcore.db.tables import UsageMetric, utcnow
from chatcore.errors import ConfigError
from chatcore.ids import new_id
from chatcore.tools import ToolFailed, ToolResult
from chatcore.tools.query_database import NAME, Databases, DescribeDatabase, QueryDatabase, Threads
from chatcore.tools.sql.guard import guarded
from tests.conftest import add_person
from tests.tools import analyses
from tests.tools.shop import Shop, shop, shop_of

KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="module", params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(request.param, tmp_path_factory.mktemp("shop")) as found:
        yield found


WORKS = [
    ("SELECT COUNT(*) FROM orders", [[1000]]),
    ("select count(*) as n from Orders", [[1000]]),
    ("SELECT name FROM customers ORDER BY name DESC LIMIT 2", [["Cy"], ["Bob"]]),
    ("SELECT c.name, COUNT(*) FROM orders o JOIN customers c ON c.id = o.customer_id GROUP BY 1 ORDER BY 1 LIMIT 1",
     [["Ann", 334]]),
    ("SELECT name FROM customers WHERE city IS NULL", [["Cy"]]),
    ("SELECT COALESCE(city, '?') FROM customers WHERE id = 3", [["?"]]),
    ("SELECT CASE WHEN id > 1 THEN 'big' ELSE 'small' END FROM customers ORDER BY id LIMIT 2", [["small"], ["big"]]),
    ("WITH x AS (SELECT customer_id, SUM(amount) AS s FROM orders GROUP BY 1) SELECT COUNT(*) FROM x", [[3]]),
    ("SELECT id, ROW_NUMBER() OVER (ORDER BY id DESC) FROM customers ORDER BY id LIMIT 1", [[1, 3]]),
    ("SELECT SUM(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM customers ORDER BY id",
     [[1], [3], [5]]),
    ("SELECT LAG(name) OVER (ORDER BY id) FROM customers ORDER BY id", [[None], ["Ann"], ["Bob"]]),
    ("SELECT name FROM customers UNION ALL SELECT city FROM customers WHERE city IS NOT NULL ORDER BY 1 LIMIT 1",
     [["Ann"]]),
    ("SELECT name FROM customers EXCEPT SELECT name FROM customers WHERE id > 1", [["Ann"]]),
    ("SELECT UPPER(name) || '!' FROM customers WHERE id = 1", [["ANN!"]]),
    ("SELECT SUBSTR(name, 1, 1), LENGTH(name), REPLACE(name, 'n', 'm') FROM customers WHERE id = 1", [["A", 3, "Amm"]]),
    ("SELECT name FROM customers WHERE name LIKE 'B%' AND id IN (1, 2) AND id BETWEEN 1 AND 9", [["Bob"]]),
    ("SELECT COUNT(DISTINCT customer_id), MIN(id), MAX(id), ROUND(AVG(id), 1) FROM orders", [[3, 0, 999, 499.5]]),
    ("SELECT name FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND o.id = 4)",
     [["Bob"]]),
    ("SELECT CAST('12' AS INTEGER) + 1", [[13]]),
    ("SELECT total FROM totals WHERE customer_id = 1", [[41708.25]]),
    ('SELECT "Big Column" FROM "Odd Name"', [["x"]]),
    ("SELECT o.* FROM (SELECT id FROM orders WHERE id < 2) o ORDER BY 1", [[0], [1]]),
    ("SELECT 'a;b -- c' AS text", [["a;b -- c"]]),
    ("SELECT '100%' WHERE 'a%b' LIKE 'a%'", [["100%"]]),
    ("SELECT name FROM customers ORDER BY id LIMIT 1 OFFSET 1",
     [["Bob"]]),
    ("SELECT city, COUNT(*) FROM customers GROUP BY city HAVING COUNT(*) > 1", None),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "rows"), WORKS)
def test_what_a_report_needs_works(target: Shop, sql: str, rows: list[list[Any]] | None) -> None:
    if rows is None:
        assert target.run(sql).parts == ()
    else:
        assert [[str(cell) for cell in row] for row in target.rows(sql)] == [
            [str(cell) for cell in row] for row in rows
        ]


SQLITE = [
    ("SELECT STRFTIME('%Y-%m', day), COUNT(*) FROM orders GROUP BY 1 ORDER BY 1 LIMIT 1", "2026-01"),
    ("SELECT DATE('2026-01-31', '+1 day')", "2026-02-01"),
    ("SELECT JSON_EXTRACT(note, '$.gift') FROM orders WHERE note IS NOT NULL LIMIT 1", "1"),
    ("SELECT IFNULL(city, 'x'), TYPEOF(id), IIF(id = 3, 'y', 'n') FROM customers WHERE id = 3", "x"),
    ("SELECT GROUP_CONCAT(name) FROM customers", "Ann,Bob,Cy"),
]
POSTGRES = [
    ("SELECT DATE_TRUNC('month', joined) FROM customers ORDER BY 1 LIMIT 1", "2026-01-01 00:00:00"),
    ("SELECT EXTRACT(YEAR FROM joined) FROM customers LIMIT 1", "2026"),
    ("SELECT TO_CHAR(joined, 'YYYY-MM') FROM customers ORDER BY 1 LIMIT 1", "2026-01"),
    ("SELECT note::jsonb ->> 'gift' FROM orders WHERE note IS NOT NULL LIMIT 1", "true"),
    ("SELECT STRING_AGG(name, ',' ORDER BY id) FROM customers", "Ann,Bob,Cy"),
    ("SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY id) FROM orders", "499.5"),
    ("SELECT COUNT(*) FILTER (WHERE id < 10) FROM orders", "10"),
    ("SELECT (joined + INTERVAL '1 day')::date FROM customers ORDER BY 1 LIMIT 1", "2026-01-06"),
    ("SELECT DISTINCT ON (customer_id) id FROM orders ORDER BY customer_id, id LIMIT 1", "0"),
    ("SELECT name FROM customers WHERE name ~ '^B' FETCH FIRST 1 ROW ONLY", "Bob"),
    ("SELECT AGE(joined, joined) IS NOT NULL FROM customers LIMIT 1", "True"),
]


def test_each_dialect_has_its_own_ways(target: Shop) -> None:
    for sql, first in SQLITE if target.is_sqlite else POSTGRES:
        assert str(target.rows(sql)[0][0]) == first, sql


def test_more_rows_than_allowed_are_cut_and_it_is_said(target: Shop) -> None:
    result = target.run("SELECT id FROM orders ORDER BY id")
    assert len(result.parts[0]["rows"]) == 100
    assert "there are more" in result.text
    assert len(target.run("SELECT id FROM orders ORDER BY id LIMIT 5").parts[0]["rows"]) == 5


def test_a_chart_is_drawn_beside_the_table(target: Shop) -> None:
    chart = {"kind": "bar", "x": "name", "y": ["n"], "title": "Orders"}
    sql = "SELECT c.name, COUNT(*) AS n FROM orders o JOIN customers c ON c.id = o.customer_id GROUP BY 1 ORDER BY 1"
    first, second = target.run(sql, chart=chart).parts
    assert (first["type"], first["x"], first["series"][0]["values"]) == ("chart", ["Ann", "Bob", "Cy"], [334, 333, 333])
    assert all(parse(part) is not None for part in (first, second))


def test_a_charts_columns_are_found_in_any_case_and_odd_values_are_gaps(target: Shop) -> None:
    odd = "CASE id WHEN 1 THEN 9007199254740995 WHEN 2 THEN NULL ELSE 2 END AS n"
    part = target.run(f"SELECT name, {odd} FROM customers ORDER BY id", chart={"kind": "line", "x": "NAME", "y": ["N"]})
    assert part.parts[0]["series"][0]["values"] == [9007199254740996.0, None, 2]
    assert parse(part.parts[0]) is not None


@pytest.mark.parametrize(
    ("chart", "why"),
    [
        ({"x": "nope", "y": ["n"]}, "names the column nope; the query gives name, n."),
        ({"x": "n", "y": ["name"]}, "The column name holds text"),
        ({"kind": "pie", "x": "name", "y": ["n", "n"]}, "A pie has one column"),
        ({"kind": "pie", "x": "name", "y": ["n"]}, "none below zero"),
    ],
)
def test_a_chart_that_cannot_be_says_why_beside_the_rows(target: Shop, chart: dict[str, Any], why: str) -> None:
    result = target.run("SELECT name, -1 AS n FROM customers", chart={"kind": "line", **chart})
    assert result.text.startswith("The chart could not be drawn. ")
    assert why in result.text
    assert [part["type"] for part in result.parts] == ["table"]


def test_all_that_analysts_write_runs(target: Shop) -> None:
    for sql in analyses.BOTH + (analyses.SQLITE if target.is_sqlite else analyses.POSTGRES):
        assert "rows" in target.run(sql).text, sql


def test_no_rows_are_no_table(target: Shop) -> None:
    result = target.run("SELECT id FROM orders WHERE id < 0", chart={"kind": "bar", "x": "id", "y": ["id"]})
    assert (result.parts, result.text.startswith("0 rows")) == ((), True)


def test_long_values_are_cut_and_much_is_not_read(target: Shop) -> None:
    """300 MB come out of the query, and a small part of that into memory."""
    engine = create_engine(target.url)
    long = "hex(zeroblob(1500000))" if target.is_sqlite else "repeat('00', 1500000)"
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS totals_of (id INTEGER, long TEXT, raw " +
                                ("BLOB)" if target.is_sqlite else "BYTEA)")))  # fmt: skip
        connection.execute(text(f"INSERT INTO totals_of VALUES (1, {long}, NULL)"))
        connection.execute(text("UPDATE totals_of SET raw = :raw"), {"raw": b"x" * 1234})
    engine.dispose()
    tracemalloc.start()
    try:
        with shop_of(target, tables=[]) as whole:
            rows = whole.rows("SELECT t.long, t.raw FROM totals_of t CROSS JOIN orders")
            wide = whole.run("SELECT o.id, " + ", ".join(["t.long"] * 9) + " FROM totals_of t CROSS JOIN orders o")
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()
    assert rows[0] == ["0" * 2_000 + "…", "[1234 bytes]"]
    assert len(rows) == 100
    assert 20 < len(wide.parts[0]["rows"]) < 30
    assert "there are more" in wide.text
    assert len(wide.text) < 60_000


def test_the_person_sees_thirty_columns(target: Shop) -> None:
    result = target.run("SELECT " + ", ".join(f"id AS c{n}" for n in range(40)) + " FROM customers")
    assert len(result.parts[0]["columns"]) == 30
    assert "the person sees the first 30 columns" in result.text
    assert '"c39"' in result.text


def test_a_wrong_name_comes_back_with_the_databases_words(target: Shop) -> None:
    with pytest.raises(ToolFailed, match="nosuch"):
        target.run("SELECT nosuch FROM customers")
    with pytest.raises(ToolFailed, match=r"There are: .*customers"):
        target.run("SELECT * FROM nosuch")


def test_odd_values_can_be_shown(target: Shop) -> None:
    odd = "CAST('NaN' AS DOUBLE PRECISION)" if not target.is_sqlite else "9e999"
    rows = target.rows(f"SELECT {odd}, 9007199254740993, NULL, joined FROM customers LIMIT 1")
    table = {"type": "table", "columns": list("abcd"), "rows": rows}
    assert parse(table) is not None
    assert json.dumps(table, allow_nan=False)


def test_the_tables_are_described(target: Shop) -> None:
    tool = DescribeDatabase({"shop": target.source}, target.threads)
    said = asyncio.run(tool.run({"database": "shop"}, None)).text  # type: ignore[arg-type]
    assert "customers" in said
    assert "amount" in said
    assert "secrets" not in said


def test_a_cancelled_call_ends_the_query(target: Shop) -> None:
    """The tool is left after a moment, and nothing of it goes on in the database."""
    tool = QueryDatabase({"shop": target.source}, target.threads)
    slow = "SELECT COUNT(*) FROM orders a, orders b, orders c"
    ended = threading.Event()

    async def left() -> None:
        task = asyncio.ensure_future(tool.run({"database": "shop", "sql": slow}, None))  # type: ignore[arg-type]
        await asyncio.sleep(0.4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # One thread more than there are: it is free when the query's is.
        target.threads._pool.submit(ended.set)

    began = time.monotonic()
    target.threads._pool = ThreadPoolExecutor(1)
    asyncio.run(left())
    assert ended.wait(5)
    assert time.monotonic() - began < 1.7, "two seconds are its limit"


def test_one_that_is_cancelled_before_it_begins_never_does(target: Shop) -> None:
    running = target.source.running()
    running.cancel()
    query = guarded("SELECT COUNT(*) FROM orders a, orders b, orders c", target.source.schema(), 10)
    began = time.monotonic()
    with pytest.raises(ToolFailed, match="took too long"):
        running.rows(query, 10)
    assert time.monotonic() - began < 1


def test_at_the_end_of_the_process_queries_end(target: Shop) -> None:
    threads = Threads()
    tool = QueryDatabase({"shop": target.source}, threads)

    async def closed() -> None:
        sql = "SELECT COUNT(*) FROM orders a, orders b, orders c"
        task = asyncio.ensure_future(tool.run({"database": "shop", "sql": sql}, None))  # type: ignore[arg-type]
        await asyncio.sleep(0.3)
        threads.close()
        with pytest.raises(ToolFailed, match="took too long"):
            await task

    began = time.monotonic()
    asyncio.run(closed())
    assert time.monotonic() - began < 1.7, "two seconds are its limit"


# ---- the databases of an instance


def configured(tmp_path: Path, *databases: dict[str, Any]) -> Settings:
    lines = json.dumps({"chatcore": {"databases": list(databases)}})
    (tmp_path / "config.yaml").write_text(lines)
    return load_settings(
        {"CHATCORE_DATA_DIR": str(tmp_path / "data"), "SHOP": "sqlite:////nowhere/shop.db"}, root=tmp_path
    )


def test_who_may_read_what(any_database: Database, tmp_path: Path) -> None:
    url = {"url": "os.environ/SHOP"}
    settings = configured(
        tmp_path, {"name": "open", **url}, {"name": "admins", **url, "access": {"roles": ["admin"]}},
        {"name": "theirs", **url, "access": {"tenants": ["Other"]}},
    )  # fmt: skip
    databases = Databases(any_database, settings)
    ann, bob = add_person(any_database, "ann"), add_person(any_database, "bob", tenant="Other", role="admin")
    assert list(databases.of(ann)) == ["usage", "open"]
    assert list(databases.of(bob)) == ["usage", "open", "admins", "theirs"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"name": "a", "url": "os.environ/NOPE"}, "NOPE, which is not set"),
        ({"name": "a", "url": "mysql://u:hunter2@h/d"}, "neither an SQLite file nor PostgreSQL"),
        ({"name": "a", "url": "not a url"}, "no database URL"),
        ({"name": "usage", "url": "sqlite:///x.db"}, "`usage` is taken"),
    ],
)
def test_a_database_that_cannot_be_is_named_at_the_start(
    database: Database, tmp_path: Path, wrong: dict[str, str], why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as error:
        Databases(database, configured(tmp_path, wrong))
    assert "hunter2" not in str(error.value)


AWAY = ["sqlite:////nowhere/hunter2.db", "postgresql://hunter2:hunter2@127.0.0.1:1/hunter2", "sqlite:///GARBAGE"]


@pytest.mark.parametrize("url", AWAY)
def test_a_database_that_is_away_is_a_sentence(database: Database, tmp_path: Path, url: str) -> None:
    (tmp_path / "hunter2").write_bytes(b"no database" * 1000)
    given = url.replace("GARBAGE", str(tmp_path / "hunter2"))
    ann = add_person(database, "ann")
    for sql in ("SELECT 1", "SELECT * FROM hunter3"):
        with pytest.raises(ToolFailed, match="cannot be reached") as error:
            asked(database, configured(tmp_path, {"name": "shop", "url": given}), ann, "shop", sql)
        assert not re.search("hunter|nowhere|127|no database", str(error.value))


def test_chatcores_own_database_is_refused(any_database: Database, tmp_path: Path) -> None:
    url = any_database.url.render_as_string(hide_password=False)
    settings = replace(configured(tmp_path, {"name": "all", "url": url}), database_url=any_database.url)
    with pytest.raises(ConfigError, match="Chatcore's own database"):
        Databases(any_database, settings)


def asked(database: Database, settings: Settings, who: Principal, name: str, sql: str) -> ToolResult:
    """As a turn asks."""
    query, _ = Databases(database, settings).tools(who, None, [NAME])
    return asyncio.run(query.run({"database": name, "sql": sql}, None))  # type: ignore[arg-type]


def call_of(who: Principal, model: str, **more: Any) -> UsageMetric:
    given = {
        "id": new_id("use"), "created_at": utcnow(), "tenant_id": who.tenant_id, "user_id": who.user_id,
        "purpose": "chat", "provider": "p", "model": model, "provider_model": model, "outcome": "ok",
        "cost_nano_usd": 1_500_000_000, "trace_id": "t", "tier": "free",
    }  # fmt: skip
    return UsageMetric(**(given | more))


def test_usage_is_ones_own_and_nobody_elses(any_database: Database, settings: Settings) -> None:
    """Not the team's for an admin, and not another tenant's under the same user id."""
    ann, bob = add_person(any_database, "ann", role="admin"), add_person(any_database, "bob")
    eve = add_person(any_database, "eve", tenant="Other")
    rows = [
        call_of(ann, "mine"), call_of(bob, "his"), call_of(eve, "theirs"), call_of(ann, "mine", cost_nano_usd=None),
        call_of(ann, "running", outcome="running"), call_of(ann, "old", created_at=utcnow() - timedelta(days=500)),
    ]  # fmt: skip
    any_database.write(lambda session: session.add_all(rows))
    sql = "SELECT model, SUM(cost_usd), COUNT(*), COUNT(cost_usd), MIN(day) FROM calls GROUP BY model"
    (row,) = asked(any_database, settings, ann, "usage", sql).parts[0]["rows"]
    assert row == ["mine", 1.5, 2, 1, utcnow().strftime("%Y-%m-%d")]
    for sql in (
        "SELECT * FROM usage_metrics",
        "SELECT * FROM users",
        "SELECT * FROM sqlite_master",
        "DELETE FROM calls",
    ):
        with pytest.raises(ToolFailed):
            asked(any_database, settings, ann, "usage", sql)


def test_usage_says_what_it_holds(database: Database, settings: Settings) -> None:
    query, described = Databases(database, settings).tools(add_person(database, "ann"), None, [NAME, "other"])
    assert "The person's own calls to models" in query.spec.description
    assert query.spec.parameters["properties"]["database"] == {"enum": ["usage"]}
    said = asyncio.run(described.run({"database": "usage"}, None)).text  # type: ignore[arg-type]
    assert "cost_usd REAL" in said
    assert "Dialect: sqlite" in said


def test_wal_files_are_read_too(database: Database, tmp_path: Path) -> None:
    """What another program has just written stands beside the file, in its log."""
    path = tmp_path / "wal.db"
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE t (n)")
        writer.execute("INSERT INTO t VALUES (7), (x'ff'), ('caf\u00e9')")
        writer.execute("INSERT INTO t VALUES (CAST(x'ff41' AS TEXT))")
        writer.commit()
        settings = configured(tmp_path, {"name": "w", "url": f"sqlite:///{path}"})
        result = asked(database, settings, add_person(database, "ann"), "w", "SELECT n FROM t")
    assert result.parts[0]["rows"] == [[7], ["[1 bytes]"], ["café"], ["\ufffdA"]]
