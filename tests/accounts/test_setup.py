"""The first start and the first account."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select

from chatcore.accounts import Accounts, Console
from chatcore.accounts.codes import sha256
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import AuditEntry, OneTimeCode, Tenant, User
from chatcore.errors import ConfigError, Unauthorized

from .conftest import PASSWORD


def test_a_first_start_makes_the_tenant_and_a_code_that_is_not_stored(
    any_database: Database, settings: Settings
) -> None:
    seeded: list[str] = []
    accounts = Accounts(any_database, settings, lambda _session, tenant_id: seeded.append(tenant_id))
    code = accounts.ensure_ready()
    assert code is not None
    tenants = any_database.read(lambda s: s.scalars(select(Tenant)).all())
    assert [t.name for t in tenants] == ["Default"]
    assert seeded == [tenants[0].id]
    stored = any_database.read(lambda s: s.scalars(select(OneTimeCode.code_sha256)).all())
    assert list(stored) == [sha256(code)]


def test_each_start_voids_the_older_code(database: Database, settings: Settings) -> None:
    accounts = Accounts(database, settings)
    first, second = accounts.ensure_ready(), accounts.ensure_ready()
    assert first is not None
    assert second is not None
    with pytest.raises(Unauthorized):
        accounts.open_code("setup", first)
    assert accounts.open_code("setup", second).user_id is None


def test_two_processes_that_start_at_once_make_one_tenant_and_one_account(
    any_database: Database, settings: Settings
) -> None:
    configured = replace(settings, admin_username="Root", admin_password=PASSWORD)
    other = Database(any_database.url)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: Accounts((any_database, other)[i % 2], configured).ensure_ready(), range(8)))
    other.close()
    assert results == [None] * 8
    users = any_database.read(lambda s: s.scalars(select(User)).all())
    assert [(u.username, u.role) for u in users] == [("root", "operator")]
    assert len(any_database.read(lambda s: s.scalars(select(Tenant)).all())) == 1


def test_a_configured_account_that_exists_is_left_alone(database: Database, settings: Settings) -> None:
    Accounts(database, replace(settings, admin_username="root", admin_password=PASSWORD)).ensure_ready()
    before = database.read(lambda s: s.scalars(select(User.password_hash)).all())
    Accounts(database, replace(settings, admin_username="root", admin_password="another one")).ensure_ready()
    assert database.read(lambda s: s.scalars(select(User.password_hash)).all()) == before


def test_a_configured_password_that_cannot_be_used_stops_the_start(database: Database, settings: Settings) -> None:
    with pytest.raises(ConfigError, match="CHATCORE_ADMIN_PASSWORD"):
        Accounts(database, replace(settings, admin_username="root", admin_password="short")).ensure_ready()


def test_of_many_who_use_the_setup_code_at_once_one_becomes_operator(
    any_database: Database, settings: Settings
) -> None:
    accounts = Accounts(any_database, settings)
    code = accounts.ensure_ready()
    assert code is not None

    def attempt(i: int) -> bool:
        try:
            accounts.setup_first_account(code, f"person{i}", "Person", PASSWORD)
        except Unauthorized:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(attempt, range(6))) == 1
    assert len(any_database.read(lambda s: s.scalars(select(User)).all())) == 1
    assert accounts.ensure_ready() is None


def test_a_setup_code_is_void_once_anybody_has_an_account(database: Database, settings: Settings) -> None:
    accounts = Accounts(database, settings)
    code = accounts.ensure_ready()
    assert code is not None
    Console(database).add_user("ada", PASSWORD, name="Ada", role=None, tenant=None, tier="free")
    with pytest.raises(Unauthorized):
        accounts.setup_first_account(code, "eve", "Eve", PASSWORD)


def test_the_first_person_from_the_command_line_is_operator_and_the_next_is_not(
    database: Database, settings: Settings
) -> None:
    Accounts(database, settings).ensure_ready()
    console = Console(database)
    first = console.add_user("ada", PASSWORD, name="Ada", role=None, tenant=None, tier="free")
    second = console.add_user("bob", PASSWORD, name="Bob", role=None, tenant=None, tier="free")
    assert (first.role, second.role) == ("operator", "member")


def test_demo_people_do_not_close_the_setup(database: Database, settings: Settings) -> None:
    accounts = Accounts(database, settings)
    accounts.ensure_ready()
    tenant_id = database.read(lambda s: s.scalars(select(Tenant.id)).one())
    database.write(
        lambda s: s.add(
            User(id="usr_demo", tenant_id=tenant_id, username="demo", name="Demo", role="member", is_demo=True)
        )
    )
    assert accounts.ensure_ready() is not None


def test_the_start_is_audited(database: Database, settings: Settings) -> None:
    accounts = Accounts(database, settings)
    code = accounts.ensure_ready()
    assert code is not None
    accounts.setup_first_account(code, "ada", "Ada", PASSWORD, "10.0.0.7")
    actions = database.read(lambda s: s.execute(select(AuditEntry.action, AuditEntry.address)).all())
    assert [tuple(a) for a in actions] == [("tenant.create", ""), ("user.first", ""), ("sign_in", "10.0.0.7")]
