"""A shop's database of each kind, and what a model does with it."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.engine import URL

from chatcore.config_file import NamedDatabase
from chatcore.tools import ToolResult
from chatcore.tools.query_database import QueryDatabase, Threads
from chatcore.tools.sql.naming import named_source
from chatcore.tools.sql.sources import Source
from tests.conftest import fresh_postgres

TABLES = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, city TEXT, joined TIMESTAMP);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, amount NUMERIC(10, 2), day DATE, note TEXT);
CREATE TABLE secrets (id INTEGER PRIMARY KEY, password TEXT);
CREATE TABLE "Odd Name" (id INTEGER, "Big Column" TEXT);
CREATE VIEW totals AS SELECT customer_id, SUM(amount) AS total FROM orders GROUP BY customer_id;
INSERT INTO secrets VALUES (1, 'hunter2');
INSERT INTO customers VALUES (1, 'Ann', 'Oslo', '2026-01-05 10:00:00'), (2, 'Bob', 'Rome', '2026-02-06 11:30:00'),
                             (3, 'Cy', NULL, '2026-03-07 12:00:00');
INSERT INTO "Odd Name" VALUES (1, 'x')
"""
ORDERS = "INSERT INTO orders VALUES (:id, :customer, :amount, :day, :note)"
READABLE = ["customers", "orders", "totals", "Odd Name"]
SECRET = "hunter2"


def fill(url: URL) -> None:
    """Make the tables, with a thousand orders."""
    engine = create_engine(url)
    rows = [
        {"id": n, "customer": 1 + n % 3, "amount": n / 4, "day": f"2026-{1 + n % 12:02}-{1 + n % 28:02}",
         "note": '{"gift": true}' if n % 2 else None}
        for n in range(1000)
    ]  # fmt: skip
    with engine.begin() as connection:
        for statement in TABLES.split(";"):
            connection.execute(text(statement))
        connection.execute(text(ORDERS), rows)
    engine.dispose()


@dataclass
class Shop:
    """`url`: with every right, to see what was done."""

    url: URL
    source: Source
    threads: Threads

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    def run(self, sql: str, **more: Any) -> ToolResult:
        """As a model runs it. Raises `ToolFailed`."""
        tool = QueryDatabase({"shop": self.source}, self.threads)
        return asyncio.run(tool.run({"database": "shop", "sql": sql, **more}, None))  # type: ignore[arg-type]

    def rows(self, sql: str) -> list[list[Any]]:
        """The rows of the table part that the query makes."""
        table = next(part for part in self.run(sql).parts if part["type"] == "table")
        return list(table["rows"])

    def state(self) -> list[Any]:
        """All there is."""
        engine = create_engine(self.url)
        with engine.connect() as connection:
            counts = [
                connection.scalar(text(f"SELECT COUNT(*) FROM {name}")) for name in ("orders", "customers", "secrets")
            ]
            catalog = "sqlite_master" if self.is_sqlite else "information_schema.tables"
            found = [*counts, connection.scalar(text(f"SELECT COUNT(*) FROM {catalog}"))]
        engine.dispose()
        return found


@contextmanager
def shop(kind: str, folder: Path, **named: Any) -> Iterator[Shop]:
    """A shop of this kind of database. `named`: more of the setting."""
    with ExitStack() as stack:
        url = (
            stack.enter_context(fresh_postgres()) if kind == "postgres" else make_url(f"sqlite:///{folder / 'shop.db'}")
        )
        fill(url)
        yield stack.enter_context(_opened(url, **named))


@contextmanager
def shop_of(other: Shop, **named: Any) -> Iterator[Shop]:
    """The same shop under another setting."""
    with _opened(other.url, **named) as found:
        yield found


@contextmanager
def _opened(url: URL, **named: Any) -> Iterator[Shop]:
    given = {"tables": READABLE, "timeout": 2.0, "rows": 100} | named
    setting = NamedDatabase(name="shop", url="os.environ/SHOP", **given)
    environment = {"SHOP": url.render_as_string(hide_password=False)}
    threads = Threads()
    try:
        yield Shop(url, named_source(setting, environment, make_url("sqlite:////nowhere/chatcore.db")), threads)
    finally:
        threads.close()
