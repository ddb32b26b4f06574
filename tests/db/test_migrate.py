"""Migrations: up, down and up again gives the tables of the code; one process migrates while the others wait."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, inspect, select, text
from sqlalchemy.engine import URL

from chatcore.config import PROJECT_ROOT, Settings
from chatcore.db import Database, upgrade
from chatcore.db.migrate import check, current, downgrade, head
from chatcore.db.tables import Base, Tenant
from chatcore.errors import DatabaseError


@pytest.fixture
def url(module_database: Database, settings: Settings) -> URL:
    """An empty database of each kind in turn."""
    if module_database.is_sqlite:
        return settings.database_url
    with module_database.engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    return module_database.url


@pytest.fixture
def db(url: URL) -> Iterator[Database]:
    db = Database(url)
    yield db
    db.close()


def is_ours(name: str | None, kind: str, _: object) -> bool:
    """The full-text index is of each database's own kind, and no table of the code's."""
    return kind != "table" or not str(name).startswith(("message_search", "knowledge_search"))


def tables(db: Database) -> set[str]:
    with db.engine.connect() as connection:
        return {name for name in inspect(connection).get_table_names() if is_ours(name, "table", None)}


def differences(db: Database) -> list[object]:
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours})
        return list(compare_metadata(context, Base.metadata))


def test_the_migrations_make_the_tables_of_the_code(db: Database) -> None:
    upgrade(db)
    assert current(db) == head()
    assert tables(db) == {*Base.metadata.tables, "alembic_version"}
    assert differences(db) == []


def test_down_to_nothing_and_up_again(db: Database) -> None:
    upgrade(db)
    downgrade(db, "base")
    assert tables(db) == {"alembic_version"}
    assert current(db) is None
    upgrade(db)
    assert differences(db) == []
    check(db)


def test_each_step_down_can_be_taken_alone(db: Database) -> None:
    upgrade(db)
    while current(db) is not None:
        downgrade(db, "-1")
    upgrade(db)
    assert differences(db) == []


def test_a_second_upgrade_changes_nothing(db: Database) -> None:
    upgrade(db)
    db.write(lambda session: session.add(Tenant(id="tenant_1", name="Kept")))
    upgrade(db)
    assert db.read(lambda session: session.scalar(select(Tenant.name))) == "Kept"


def test_a_newer_schema_is_refused_and_left_alone(db: Database) -> None:
    upgrade(db)
    db.write(lambda session: session.execute(text("UPDATE alembic_version SET version_num = '9999_later'")))
    for refuses in (upgrade, check):
        with pytest.raises(DatabaseError, match=r"9999_later, made by a newer Chatcore.*\."):
            refuses(db)
    assert current(db) == "9999_later"


def test_check_says_what_to_run(db: Database) -> None:
    with pytest.raises(DatabaseError, match=r"at revision none and this Chatcore needs .*: run `db upgrade`"):
        check(db)
    assert tables(db) == set(), "looking makes nothing"


def test_a_migration_that_fails_leaves_nothing_half_made(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic.operations import Operations

    made = []
    original = Operations.create_table

    def failing(self: Operations, name: str, *columns: object, **options: object) -> object:
        made.append(name)
        if len(made) == 5:
            raise RuntimeError("the disk is full")
        return original(self, name, *columns, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("alembic.op.create_table", lambda *args, **options: failing(_operations(), *args, **options))
        with pytest.raises(RuntimeError, match="the disk is full"):
            upgrade(db)
    assert tables(db) == set()
    upgrade(db)
    check(db)


def _operations() -> "object":
    from alembic import op

    return op._proxy  # type: ignore[attr-defined]


def test_several_starts_at_once_migrate_once(url: URL, db: Database) -> None:
    others = [Database(url) for _ in range(4)]
    together = threading.Barrier(len(others), timeout=20)

    def start(one: Database) -> None:
        one.ping()
        together.wait()
        upgrade(one)
        one.write(lambda session: session.add(Tenant(id=f"tenant_{id(one)}", name=str(id(one)))))

    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(start, others))
    for one in others:
        one.close()
    assert db.read(lambda session: session.scalar(select(func.count()).select_from(Tenant))) == len(others)
    assert db.read(lambda session: list(session.scalars(text("SELECT version_num FROM alembic_version")))) == [head()]
    assert differences(db) == []


def test_two_processes_at_once_migrate_one_file_once(settings: Settings, tmp_path: Path) -> None:
    url, db = settings.database_url, Database(settings.database_url)
    settings.data_dir.mkdir(exist_ok=True)
    code = "import sys; from chatcore.config import database_url; from chatcore.db import Database, upgrade\n"
    code += "db = Database(database_url(sys.argv[1])); sys.stdin.readline(); upgrade(db); db.close()"
    command = [sys.executable, "-c", code, url.render_as_string(hide_password=False)]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    starts = [
        subprocess.Popen(command, cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environ)
        for _ in range(2)
    ]
    for one in starts:
        assert one.stdin
        one.stdin.write(b"go\n")
        one.stdin.flush()
    said = [one.communicate(timeout=30)[1].decode() for one in starts]
    assert [one.returncode for one in starts] == [0, 0], said
    check(db)
    assert differences(db) == []
    db.close()


def test_an_upgrade_waits_for_the_one_that_holds_the_file(settings: Settings) -> None:
    db, other = Database(settings.database_url), Database(settings.database_url)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    holding, let_go = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        holding.set()
        assert let_go.wait(10)

    try:
        theirs = other.submit(hold)
        assert holding.wait(10)
        with ThreadPoolExecutor(1) as pool:
            ours = pool.submit(upgrade, db)
            assert not ours.done()
            let_go.set()
            ours.result(20)
        theirs.result(10)
        check(db)
    finally:
        let_go.set()
        db.close()
        other.close()


def test_an_empty_file_becomes_a_database(settings: Settings) -> None:
    path = Path(settings.database_url.database or "")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    db = Database(settings.database_url)
    upgrade(db)
    check(db)
    db.close()


def test_a_database_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    db = Database(URL.create("sqlite", database=str(tmp_path / "no" / "such" / "folder.db")))
    for asks in (upgrade, check):
        with pytest.raises(DatabaseError, match="Check CHATCORE_DATABASE_URL"):
            asks(db)
    db.close()


def test_only_what_belongs_to_nobody_yet_is_without_a_tenant() -> None:
    without = {name for name, table in Base.metadata.tables.items() if "tenant_id" not in table.columns}
    assert without == {"tenants", "login_attempts", "one_time_codes", "settings", "leases", "latency_buckets"}
