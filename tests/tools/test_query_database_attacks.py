"""The red team's file for `query_database`: every attack by its name, and none gets through.

An attack has failed when the tool refuses it, or when what comes back holds no secret; and in every case the database
is as it was, and nothing ran longer than it may.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatcore.tools import ToolFailed
from chatcore.tools.sql import guard
from chatcore.tools.sql.guard import Query
from tests.tools.shop import SECRET, Shop, shop

KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


def doubling(step: str, first: str = "name AS s") -> str:
    """Each part of the query is made of the one before it, and is twice as large."""
    parts = [f"a{n + 1} AS (SELECT {step} FROM a{n})" for n in range(28)]
    return f"WITH a0 AS (SELECT {first} FROM customers), {', '.join(parts)} SELECT LENGTH(s) FROM a28"


ATTACKS: dict[str, str] = {
    # writes
    "delete": "DELETE FROM orders",
    "insert": "INSERT INTO orders (id) VALUES (99999)",
    "update": "UPDATE orders SET amount = 0",
    "drop": "DROP TABLE orders",
    "create": "CREATE TABLE mine (id INTEGER)",
    "create as": "CREATE TABLE mine AS SELECT * FROM orders",
    "alter": "ALTER TABLE orders ADD COLUMN x TEXT",
    "truncate": "TRUNCATE orders",
    "merge": "MERGE INTO orders USING customers ON true WHEN MATCHED THEN DELETE",
    "replace": "REPLACE INTO orders (id) VALUES (1)",
    "select into": "SELECT * INTO mine FROM orders",
    "write in a CTE": "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone",
    "update in a CTE": "WITH x AS (UPDATE orders SET amount = 0 RETURNING id) SELECT * FROM x",
    "write in a subquery": "SELECT * FROM (DELETE FROM orders RETURNING *) AS x",
    "for update": "SELECT * FROM orders FOR UPDATE",
    "grant": "GRANT ALL ON orders TO PUBLIC",
    "comment on": "COMMENT ON TABLE orders IS 'x'",
    # more than one statement
    "stacked": "SELECT 1; DELETE FROM orders",
    "stacked behind a comment": "SELECT 1 --\n; DELETE FROM orders",
    "stacked in a block comment": "SELECT 1 /* ; */; DELETE FROM orders /* */",
    "version comment": "SELECT 1 /*! ; DELETE FROM orders */; DELETE FROM orders",
    "commit first": "COMMIT; DELETE FROM orders",
    "rollback first": "ROLLBACK; DROP TABLE orders",
    "quote that ends early": "SELECT 'a\\'; DELETE FROM orders; --'; DELETE FROM orders",
    "dollar quoting": "SELECT $$a$$; DELETE FROM orders",
    "E string": "SELECT E'a\\'; DELETE FROM orders; --'",
    "begin": "BEGIN; DELETE FROM orders; COMMIT",
    # settings and commands
    "pragma": "PRAGMA writable_schema = ON",
    "pragma table info": "PRAGMA table_info('secrets')",
    "pragma as a function": "SELECT * FROM pragma_table_info('secrets')",
    "pragma function list": "SELECT * FROM pragma_database_list",
    "attach": "ATTACH DATABASE '/tmp/stolen.db' AS stolen",
    "detach": "DETACH DATABASE main",
    "vacuum into": "VACUUM INTO '/tmp/stolen.db'",
    "vacuum": "VACUUM",
    "set": "SET transaction_read_only = off",
    "set role": "SET ROLE postgres",
    "reset": "RESET ALL",
    "show": "SHOW data_directory",
    "explain": "EXPLAIN SELECT * FROM orders",
    "explain analyze": "EXPLAIN ANALYZE DELETE FROM orders",
    "copy to a program": "COPY orders TO PROGRAM 'touch /tmp/pwned'",
    "copy from a file": "COPY orders FROM '/etc/passwd'",
    "copy a query": "COPY (SELECT * FROM secrets) TO STDOUT",
    "do block": "DO $$ BEGIN DELETE FROM orders; END $$",
    "call": "CALL something()",
    "prepare": "PREPARE x AS DELETE FROM orders",
    "execute": "EXECUTE x",
    "declare": "DECLARE c CURSOR FOR SELECT * FROM secrets",
    "listen": "LISTEN x",
    "lock": "LOCK TABLE orders",
    "load": "LOAD 'evil'",
    "analyze": "ANALYZE orders",
    "checkpoint": "CHECKPOINT",
    # functions
    "pg_sleep": "SELECT pg_sleep(60)",
    "pg_sleep for each row": "SELECT pg_sleep(1) FROM orders",
    "schema-qualified sleep": "SELECT pg_catalog.pg_sleep(60)",
    "quoted sleep": 'SELECT "pg_sleep"(60)',
    "read a file": "SELECT pg_read_file('/etc/passwd')",
    "read a binary file": "SELECT pg_read_binary_file('/etc/passwd')",
    "list a folder": "SELECT pg_ls_dir('/')",
    "stat a file": "SELECT pg_stat_file('/etc/passwd')",
    "import a large object": "SELECT lo_import('/etc/passwd')",
    "export a large object": "SELECT lo_export(1, '/tmp/pwned')",
    "dblink": "SELECT * FROM dblink('host=127.0.0.1', 'DELETE FROM orders') AS t(a int)",
    "terminate": "SELECT pg_terminate_backend(1)",
    "cancel": "SELECT pg_cancel_backend(1)",
    "reload": "SELECT pg_reload_conf()",
    "set_config": "SELECT set_config('transaction_read_only', 'off', false)",
    "current_setting": "SELECT current_setting('data_directory')",
    "query_to_xml": "SELECT query_to_xml('SELECT * FROM secrets', true, true, '')",
    "query_to_xml that writes": "SELECT query_to_xml('DELETE FROM orders', true, true, '')",
    "table_to_xml": "SELECT table_to_xml('secrets', true, true, '')",
    "database_to_xml": "SELECT database_to_xml(true, true, '')",
    "xmltable": "SELECT * FROM XMLTABLE('/a' PASSING '<a/>' COLUMNS x int)",
    "advisory lock": "SELECT pg_advisory_lock(1)",
    "nextval": "SELECT nextval('orders_id_seq')",
    "notify": "SELECT pg_notify('x', 'y')",
    "version": "SELECT version()",
    "who": "SELECT current_user",
    "which database": "SELECT current_database()",
    "server address": "SELECT inet_server_addr()",
    "has privilege": "SELECT has_table_privilege('secrets', 'select')",
    "row security": "SELECT row_to_json(secrets) FROM secrets",
    "load_extension": "SELECT load_extension('/tmp/evil.so')",
    "readfile": "SELECT readfile('/etc/passwd')",
    "writefile": "SELECT writefile('/tmp/pwned', 'x')",
    "edit": "SELECT edit('x')",
    "fts tokenizer": "SELECT fts3_tokenizer('simple')",
    "sqlite version": "SELECT sqlite_version()",
    "sqlite compile options": "SELECT sqlite_compileoption_get(1)",
    "json_each": "SELECT * FROM json_each('[1]')",
    "odbc escape": "SELECT {fn sleep(60)}",
    # much out of little
    "randomblob": "SELECT randomblob(1000000000)",
    "zeroblob": "SELECT zeroblob(1000000000)",
    "repeat": "SELECT repeat('x', 1000000000)",
    "lpad": "SELECT lpad('x', 1000000000)",
    "printf width": "SELECT printf('%.*c', 1000000000, 'x')",
    "format width": "SELECT format('%1000000000s', 'x')",
    "hex of a blob": "SELECT hex(zeroblob(100000000))",
    "generate_series": "SELECT COUNT(*) FROM generate_series(1, 100000000000)",
    "generate_series in the list": "SELECT generate_series(1, 100000000000)",
    "array fill": "SELECT array_fill(1, ARRAY[100000000])",
    "endless recursion": "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT COUNT(*) FROM t",
    "doubling recursion": "WITH RECURSIVE t(s) AS (SELECT 'a' UNION ALL SELECT s || s FROM t) SELECT MAX(s) FROM t",
    # what may not be read
    "another table": "SELECT * FROM secrets",
    "in capitals": "SELECT * FROM SECRETS",
    "quoted": 'SELECT * FROM "secrets"',
    "in brackets": "SELECT * FROM [secrets]",
    "in backticks": "SELECT * FROM `secrets`",
    "with its schema": "SELECT * FROM public.secrets",
    "with main": "SELECT * FROM main.secrets",
    "with the database": "SELECT * FROM postgres.public.secrets",
    "unicode escapes": 'SELECT * FROM U&"\\0073ecrets"',
    "unicode escapes with their own sign": "SELECT * FROM U&\"!0073ecrets\" UESCAPE '!'",
    "look-alike letters": "SELECT * FROM ｓecrets",
    "in a subquery": "SELECT (SELECT password FROM secrets LIMIT 1)",
    "in EXISTS": "SELECT 1 WHERE EXISTS (SELECT 1 FROM secrets WHERE password LIKE 'h%')",
    "in a join": "SELECT s.password FROM orders o JOIN secrets s ON true",
    "comma join": "SELECT password FROM orders, secrets",
    "in a union": "SELECT name FROM customers UNION SELECT password FROM secrets",
    "in a CTE": "WITH x AS (SELECT password FROM secrets) SELECT * FROM x",
    "a CTE of its name": "WITH secrets AS (SELECT * FROM secrets) SELECT * FROM secrets",
    "a CTE of its name elsewhere": (
        "SELECT b.password FROM (WITH secrets AS (SELECT 1 AS password) SELECT * FROM secrets) a, secrets b"
    ),
    "lateral": "SELECT x.password FROM orders, LATERAL (SELECT password FROM secrets) x",
    "in ORDER BY": "SELECT 1 FROM orders ORDER BY (SELECT password FROM secrets)",
    "in LIMIT": "SELECT 1 FROM orders LIMIT (SELECT COUNT(*) FROM secrets)",
    "in a window": "SELECT SUM(amount) OVER (PARTITION BY (SELECT password FROM secrets)) FROM orders",
    "in a default of a function": "SELECT COALESCE(NULL, (SELECT password FROM secrets))",
    "TABLE command": "TABLE secrets",
    "ONLY": "SELECT * FROM ONLY secrets",
    "the master table": "SELECT sql FROM sqlite_master",
    "the schema table": "SELECT sql FROM sqlite_schema",
    "statistics": "SELECT * FROM sqlite_stat1",
    "dbstat": "SELECT * FROM dbstat",
    "password hashes": "SELECT * FROM pg_shadow",
    "roles": "SELECT * FROM pg_catalog.pg_authid",
    "settings": "SELECT * FROM pg_settings",
    "running queries": "SELECT query FROM pg_stat_activity",
    "files' content": "SELECT * FROM pg_hba_file_rules",
    "information schema": "SELECT * FROM information_schema.tables",
    "cast to regclass": "SELECT 'secrets'::regclass",
    "cast to regproc": "SELECT 'pg_sleep'::regproc",
    "cast to xml": "SELECT CAST('<a/>' AS xml)",
    "tablesample": "SELECT * FROM secrets TABLESAMPLE SYSTEM (100)",
    "pivot": "SELECT * FROM secrets PIVOT (MAX(password) FOR id IN (1))",
    "parameters": "SELECT * FROM customers WHERE name = ?",
    "named parameters": "SELECT * FROM customers WHERE name = :name",
    "numbered parameters": "SELECT * FROM customers WHERE name = $1",
    "user variables": "SELECT @x := 1",
    "a function by a column's dot": "SELECT s.pg_ls_dir FROM (SELECT '/' AS d) s",
    "a row as JSON by a dot": "SELECT c.row_to_json FROM customers c",
    "a row as JSON by a dot, under a name": "SELECT c.row_to_json, 1 AS row_to_json FROM customers c",
    "a row as JSON by a quoted dot": 'SELECT c."row_to_json" FROM customers AS c, orders AS row_to_json',
    "a CTE seen from outside": "SELECT b.x FROM (WITH t AS (SELECT 1 AS x) SELECT * FROM t) a, t b",
    "a CTE seen before it is made": "WITH a AS (SELECT * FROM b), b AS (SELECT 1 AS x) SELECT * FROM a",
    "a CTE like a virtual table": (
        "SELECT b.file FROM (WITH pragma_database_list AS (SELECT 1 AS file) SELECT * FROM pragma_database_list) a, "
        "pragma_database_list b"
    ),
    "a subquery like a virtual table": "SELECT * FROM (SELECT 1 AS file) AS pragma_database_list",
    "a hidden column": "SELECT name FROM pragma_table_info WHERE arg = 'secrets'",
    "in brackets of its own": "SELECT * FROM (secrets)",
    "natural join": "SELECT * FROM orders NATURAL JOIN secrets",
    "VALUES": "VALUES ((SELECT password FROM secrets))",
    "in VALUES": "SELECT * FROM (VALUES ((SELECT password FROM secrets))) AS x",
    "in an array": "SELECT ARRAY[(SELECT password FROM secrets)]",
    "in a filter": "SELECT COUNT(*) FILTER (WHERE EXISTS (SELECT 1 FROM secrets)) FROM orders",
    "in GROUP BY": "SELECT COUNT(*) FROM orders GROUP BY (SELECT password FROM secrets)",
    "in ON": "SELECT 1 FROM orders o JOIN customers c ON EXISTS (SELECT 1 FROM secrets)",
    "in CASE": "SELECT CASE WHEN (SELECT password FROM secrets) LIKE 'h%' THEN 1 END",
    "operator with a schema": "SELECT 1 OPERATOR(pg_catalog.+) 2",
    "raise": "SELECT RAISE(ABORT, 'x')",
    "unnest": "SELECT * FROM UNNEST(ARRAY[1]) AS x",
    "limit that is worked out": "SELECT id FROM orders LIMIT 1000 * 1000",
    "limit below zero": "SELECT id FROM orders LIMIT -1",
    "very many columns": "SELECT " + "id, " * 60 + "id FROM customers",
    # much out of little, by steps
    "doubling in subqueries": (
        "SELECT LENGTH(s) FROM " + "(SELECT s || s AS s FROM " * 20 + "(SELECT name AS s FROM customers) a" + ") a" * 20
    ),
    "doubling in CTEs": doubling("s || s AS s"),
    "doubling numbers": doubling("s + s AS s"),
    "doubling groups": doubling("MAX(s) || MAX(s) AS s"),
    "doubling by two columns": doubling("s || t AS s, t || s AS t", "name AS s, name AS t"),
    "doubling by replacing": doubling("REPLACE(s, 'n', s) || s AS s"),
    # the parser itself
    "arrays in arrays": "SELECT " + "ARRAY[" * 59 + "1" + "]" * 59,
    "thousands of indexes": "SELECT a" + "[1]" * 6_000 + " FROM customers",
    "NUL": "SELECT 1\0; DELETE FROM orders",
    "a megabyte": "SELECT " + "1 + " * 300_000 + "1",
    "deep brackets": "SELECT " + "(" * 5_000 + "1" + ")" * 5_000,
    "deep subqueries": "SELECT * FROM " + "(SELECT * FROM " * 300 + "orders" + ") x" * 300,
    "deep case": "SELECT " + "CASE WHEN 1=1 THEN " * 900 + "1" + " END" * 900,
    "many nots": "SELECT " + "NOT " * 4_000 + "true",
    "many unions": "SELECT 1 " + "UNION SELECT 1 " * 2_000,
    "long and chain": "SELECT 1 FROM orders WHERE " + " AND ".join(["id = id"] * 2_300),
    "unclosed quote": "SELECT 'abc",
    "nothing": "",
    "only a comment": "-- hello",
    "garbage": "\ufeff\u202e$%&/()=",
}
# They end by themselves, or at the limit of time, and say nothing that is secret.
HEAVY: dict[str, str] = {
    "cartesian product": "SELECT COUNT(*) FROM orders a, orders b, orders c, orders d, orders e",
    "heavy sort": "SELECT a.id FROM orders a, orders b, orders c ORDER BY a.note || b.note || c.note",
    "nested replace": "SELECT LENGTH(" + "REPLACE(" * 12 + "'aaaaaaaaaa'" + ", 'a', 'aaaaaaaaaa')" * 12 + ")",
}


# What the two parsers could read differently: whatever runs is what ours made of it.
HARMLESS: dict[str, str] = {
    "nested comments": "SELECT 1 /* /* */ ; DELETE FROM orders -- */",
    "comment in a string": "SELECT '/*' ; -- */ DELETE FROM orders",
    "string in a comment": "SELECT 1 /* ' */ -- '; DELETE FROM orders",
    "a name that is a keyword": 'SELECT 1 AS "; DELETE FROM orders"',
    "a comment as a name": 'SELECT 1 AS "--", 2 AS "/*"',
    "a backslash before a quote": "SELECT '\\', '; DELETE FROM orders; --'",
    "two quotes and a backslash": "SELECT 'it''s \\''; DELETE FROM orders; --'",
    "a name with a quote": 'SELECT 1 AS "a""; DELETE FROM orders; --"',
    "dollar quoting with a name": "SELECT $x$ '; DELETE FROM orders; -- $x$",
    "a full-width semicolon": "SELECT 1； DELETE FROM orders",
    "a line separator in a comment": "SELECT 1 -- \u2028; DELETE FROM orders",
    "a carriage return in a comment": "SELECT 1 -- x\r; DELETE FROM orders",
    "a per cent sign": "SELECT '%s %(x)s %%' || '%'",
    "an alias of a forbidden name": "SELECT secrets.name FROM customers secrets",
    "a slow pattern": "SELECT 1 FROM orders WHERE '" + "a" * 3_000 + "' LIKE '" + "%a" * 400 + "b'",
    "a large number": "SELECT POWER(10.0, 300) * POWER(10.0, 300)",
}


@pytest.fixture(scope="module", params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(request.param, tmp_path_factory.mktemp("shop")) as found:
        yield found


@pytest.mark.parametrize("name", ATTACKS)
def test_the_attack_is_refused(target: Shop, name: str) -> None:
    began = time.monotonic()
    with pytest.raises(ToolFailed) as refused:
        target.run(ATTACKS[name])
    assert SECRET not in str(refused.value)
    assert not [one for one in ("127.0.0.1", "shop.db", "postgres@") if one in str(refused.value)], (
        "no path, no address"
    )
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("name", HEAVY)
def test_what_is_heavy_is_ended(target: Shop, name: str) -> None:
    began = time.monotonic()
    with pytest.raises(ToolFailed, match=r"took too long|refused"):
        target.run(HEAVY[name])
    assert time.monotonic() - began < 8, "two seconds are allowed"


@pytest.mark.parametrize("name", HARMLESS)
def test_what_can_be_read_in_two_ways_does_nothing(target: Shop, name: str) -> None:
    before = target.state()
    with contextlib.suppress(ToolFailed):
        assert SECRET not in str(target.run(HARMLESS[name]))
    assert target.state() == before


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_parsing_has_an_end(monkeypatch: pytest.MonkeyPatch, dialect: str) -> None:
    monkeypatch.setattr(guard, "_PARSING", 0.0)
    with pytest.raises(ToolFailed, match="nested too deeply"):
        guard.guarded("SELECT 1", guard.Schema(dialect, "main", []), 10)
    assert sys.getprofile() is None


def test_after_all_of_them_everything_is_as_it_was(target: Shop) -> None:
    before = target.state()
    for sql in ATTACKS.values():
        with pytest.raises(ToolFailed):
            target.run(sql)
    assert target.state() == before
    assert before[:3] == [1000, 3, 1]
    assert not [name for name in ("/tmp/pwned", "/tmp/stolen.db") if Path(name).exists()]


ON_SQLITE = [
    "DELETE FROM main.orders", "PRAGMA query_only = OFF", "SELECT * FROM secrets", "ATTACH ':memory:' AS x", "VACUUM",
    "WITH x AS (SELECT password FROM secrets) SELECT * FROM x", "SELECT * FROM (SELECT password FROM secrets) x",
    "SELECT randomblob(10)", "SELECT load_extension('x')", "SELECT * FROM sqlite_master", "BEGIN",
    "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT COUNT(*) FROM x",
    "SELECT name FROM pragma_table_info WHERE arg = 'secrets'", "SELECT 1; DELETE FROM orders",
]  # fmt: skip
ON_POSTGRES = [
    "DELETE FROM public.orders", "CREATE TABLE public.mine (id INTEGER)",
    "SELECT 1) AS x; DELETE FROM public.orders; --",
    "WITH x AS (DELETE FROM public.orders RETURNING 1) SELECT * FROM x", "SELECT * FROM public.orders FOR UPDATE",
    "SELECT 1; COMMIT; DELETE FROM public.orders", "SELECT pg_sleep(60)", "SELECT * INTO mine FROM public.orders",
    "SELECT set_config('transaction_read_only', 'off', false)::int", "COPY public.orders TO STDOUT",
]  # fmt: skip


def test_behind_the_parser_the_connection_refuses_too(target: Shop) -> None:
    """The second wall by itself: what would happen if the first one had a hole. On PostgreSQL what may be read is the
    role's business."""
    before = target.state()
    for sql in ON_SQLITE if target.is_sqlite else ON_POSTGRES:
        with pytest.raises(ToolFailed):
            target.source.running().rows(Query(sql, frozenset({"x", "pragma_table_info"})), 10)
    assert target.state() == before
