"""`query_database`: what a report needs works on both databases, and what comes back can be shown."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatcore.config import Settings, load_settings
from chatcore.conversations.parts import parse
from chatcore.db import Database
from chatcore.db.tables import UsageMetric, utcnow
from chatcore.errors import ConfigError
from chatcore.ids import new_id
from chatcore.tools import ToolFailed
from chatcore.tools.query_database import Databases, DescribeDatabase, QueryDatabase
from tests.conftest import add_person
from tests.tools.shop import Shop, shop

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
    ("SELECT DATE_TRUNC('month', joined) FROM customers ORDER BY 1 LIMIT 1", "2026-01-01T00:00:00"),
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


@pytest.mark.parametrize(("chart", "why"), [({"x": "nope", "y": ["n"]}, "names the column nope"),
                                            ({"x": "n", "y": ["name"]}, "holds text")])  # fmt: skip
def test_a_chart_that_cannot_be_says_why(target: Shop, chart: dict[str, Any], why: str) -> None:
    with pytest.raises(ToolFailed, match=why):
        target.run("SELECT name, 1 AS n FROM customers", chart={"kind": "line", **chart})


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
    tool = DescribeDatabase({"shop": target.source})
    said = asyncio.run(tool.run({"database": "shop"}, None)).text  # type: ignore[arg-type]
    assert "customers" in said
    assert "amount" in said
    assert "secrets" not in said


def test_a_cancelled_call_ends_the_query(target: Shop) -> None:
    """The tool is left after a moment, and nothing of it goes on in the database."""
    tool = QueryDatabase({"shop": target.source})
    slow = "SELECT COUNT(*) FROM orders a, orders b, orders c"
    call = tool.run({"database": "shop", "sql": slow}, None)  # type: ignore[arg-type]

    async def left() -> float:
        began = time.monotonic()
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0.4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().shutdown_default_executor()  # waits for the query's thread
        return time.monotonic() - began

    assert asyncio.run(left()) < 1.7, "two seconds are its limit"


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


def test_a_database_that_is_away_is_a_sentence(any_database: Database, tmp_path: Path) -> None:
    ann = add_person(any_database, "ann")
    tool = QueryDatabase(
        Databases(any_database, configured(tmp_path, {"name": "shop", "url": "os.environ/SHOP"})).of(ann)
    )
    with pytest.raises(ToolFailed, match="cannot be reached") as error:
        asyncio.run(tool.run({"database": "shop", "sql": "SELECT 1"}, None))  # type: ignore[arg-type]
    assert "nowhere" not in str(error.value)


def test_usage_is_ones_own_and_nobody_elses(any_database: Database, settings: Settings) -> None:
    ann, bob = add_person(any_database, "ann", role="admin"), add_person(any_database, "bob")

    def work(session: Any) -> None:
        for who, model in ((ann, "mine"), (bob, "his")):
            session.add(
                UsageMetric(
                    id=new_id("use"), created_at=utcnow(), tenant_id=who.tenant_id, user_id=who.user_id,
                    purpose="chat", provider="p", model=model, provider_model=model, outcome="ok",
                    cost_nano_usd=1_500_000_000, trace_id="t", tier="free",
                )
            )  # fmt: skip

    any_database.write(work)
    tool = QueryDatabase(Databases(any_database, settings).of(ann))
    sql = "SELECT model, SUM(cost_usd) FROM calls GROUP BY 1"
    result = asyncio.run(tool.run({"database": "usage", "sql": sql}, None))  # type: ignore[arg-type]
    assert result.parts[0]["rows"] == [["mine", 1.5]]
