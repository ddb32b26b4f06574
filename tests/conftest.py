"""Fixtures that many tests share: a migrated database in a temporary folder, and PostgreSQL where there is one."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError

from chatcore.config import Settings, load_settings
from chatcore.db import Database, upgrade

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


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A migrated SQLite file."""
    database = Database(settings.database_url)
    upgrade(database)
    yield database
    database.close()


@pytest.fixture
def postgres_url() -> Iterator[URL]:
    """The URL of a fresh, empty PostgreSQL database, dropped afterwards."""
    admin = create_engine(make_url(POSTGRES_URL), isolation_level="AUTOCOMMIT")
    name = f"chatcore_test_{secrets.token_hex(6)}"
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError:
        admin.dispose()
        skip_or_fail("no PostgreSQL answers at CHATCORE_TEST_POSTGRES_URL")
    yield make_url(POSTGRES_URL).set(database=name)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def any_database(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Database]:
    """A migrated database of each kind in turn."""
    url = settings.database_url if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    database = Database(url)
    upgrade(database)
    yield database
    database.close()
