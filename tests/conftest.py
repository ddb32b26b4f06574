"""Fixtures that many tests share: a migrated database in a temporary folder, and PostgreSQL where there is one."""

import atexit
import functools
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from chatcore import agents
from chatcore.accounts import Principal
from chatcore.accounts.principal import Role
from chatcore.config import Settings, load_settings
from chatcore.db import Database, upgrade
from chatcore.db.tables import Tenant, User
from chatcore.ids import new_id

# A busy machine is no failed test. In CI hypothesis loads a profile of its own, which also tries the same each time.
hypothesis.settings.register_profile("unhurried", deadline=None)
if not os.environ.get("CI"):
    hypothesis.settings.load_profile("unhurried")

POSTGRES_URL = os.environ.get("CHATCORE_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")


def skip_or_fail(reason: str) -> None:
    """A missing service skips on a person's machine and fails in CI, where everything must be tried."""
    if os.environ.get("CHATCORE_TEST_REQUIRE_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings as of a first start with nothing configured, all state below `tmp_path`."""
    return load_settings({"CHATCORE_DATA_DIR": str(tmp_path / "data")}, root=tmp_path)


@functools.cache
def _migrated_file() -> Path:
    """A migrated SQLite file: copying it takes a hundredth of the time that the migrations do."""
    path = Path(tempfile.mkdtemp(prefix="chatcore-tests-")) / "migrated.db"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    database = Database(URL.create("sqlite", database=str(path)))
    upgrade(database)
    database.close()
    return path


@functools.cache
def _migrated_postgres() -> str:
    """The name of a migrated PostgreSQL database, for copies."""
    stack = ExitStack()
    atexit.register(stack.close)
    url = stack.enter_context(fresh_postgres())
    database = Database(url)
    upgrade(database)
    database.close()
    assert url.database
    return url.database


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A migrated SQLite file."""
    shutil.copyfile(_migrated_file(), str(settings.database_url.database))
    database = Database(settings.database_url)
    upgrade(database)
    yield database
    database.close()


@contextmanager
def fresh_postgres(template: str = "template1") -> Iterator[URL]:
    """The URL of a fresh PostgreSQL database, empty or a copy of another, dropped afterwards."""
    admin = create_engine(make_url(POSTGRES_URL), isolation_level="AUTOCOMMIT")
    name = f"chatcore_test_{secrets.token_hex(6)}"
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    except OperationalError:
        admin.dispose()
        skip_or_fail("no PostgreSQL answers at CHATCORE_TEST_POSTGRES_URL")
    yield make_url(POSTGRES_URL).set(database=name)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def postgres_url() -> Iterator[URL]:
    """A fresh PostgreSQL database for one test."""
    with fresh_postgres() as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def module_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A migrated database of each kind, for all tests of a module: each brings its own people."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = URL.create("sqlite", database=str(tmp_path_factory.mktemp("data") / "chatcore.db"))
        else:
            url = stack.enter_context(fresh_postgres())
        database = Database(url)
        upgrade(database)
        yield database
        database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def any_database(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Database]:
    """A migrated database of each kind in turn."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = settings.database_url
            shutil.copyfile(_migrated_file(), str(url.database))
        else:
            url = stack.enter_context(fresh_postgres(_migrated_postgres()))
        database = Database(url)
        upgrade(database)
        yield database
        database.close()


def add_person(database: Database, username: str, *, tenant: str = "Default", role: Role = "member") -> Principal:
    """A person written straight into the database, and their tenant with its agents where it is new."""

    def work(session: Session) -> Principal:
        row = session.scalar(select(Tenant).where(Tenant.name == tenant))
        if row is None:
            row = Tenant(id=new_id("tenant"), name=tenant)
            session.add(row)
            session.flush()
            agents.seed(session, row.id)
        user = User(
            id=new_id("user"), tenant_id=row.id, username=username, name=username.title(), role=role, settings={}
        )
        session.add(user)
        session.flush()
        return Principal(user.id, row.id, username, user.name, role)

    return database.write(work)
