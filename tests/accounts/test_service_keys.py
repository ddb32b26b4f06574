"""Keys of programs that are nobody's, and what an admin sees and ends of everybody's."""

import pytest

from chatcore.accounts import Accounts
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import AuditEntry
from chatcore.errors import Forbidden, InvalidInput, NotFound, Unauthorized
from tests.conftest import add_person


@pytest.fixture
def accounts(any_database: Database, settings: Settings) -> Accounts:
    return Accounts(any_database, settings)


def test_a_services_key_is_an_account_of_its_own_that_nobody_signs_in_with(accounts: Accounts) -> None:
    admin = add_person(accounts._db, "ann", role="admin")
    info, key = accounts.create_service_key(admin, "Nightly report", ["read", "usage"], 30)
    who, scopes = accounts.caller_for_key(key)
    assert (who.name, who.role, who.tenant_id, scopes) == (
        "Nightly report",
        "member",
        admin.tenant_id,
        {"read", "usage"},
    )
    assert who.user_id != admin.user_id
    assert [one.username for one in accounts.people(admin)] == ["ann"]
    with pytest.raises(NotFound):
        accounts.set_role(admin, who.user_id, "admin")
    assert [(one.owner, one.is_service, one.info.id) for one in accounts.tenant_keys(admin)] == [
        ("Nightly report", True, info.id)
    ]


@pytest.mark.parametrize("scopes", [["admin"], ["read", "admin"], []])
def test_a_service_is_no_admin(accounts: Accounts, scopes: list[str]) -> None:
    admin = add_person(accounts._db, "ann", role="admin")
    with pytest.raises(InvalidInput):
        accounts.create_service_key(admin, "Nightly report", scopes)  # type: ignore[arg-type]
    assert accounts.tenant_keys(admin) == []


def test_only_admins_make_see_and_end_keys_of_others_and_only_in_their_tenant(accounts: Accounts) -> None:
    db = accounts._db
    admin, bob = add_person(db, "ann", role="admin"), add_person(db, "bob")
    eve, root = add_person(db, "eve", tenant="Other", role="admin"), add_person(db, "root", role="operator")
    bobs, key = accounts.create_key(bob, "laptop")
    roots, _ = accounts.create_key(root, "console")
    for act in (
        lambda: accounts.create_service_key(bob, "x", ["read"]),
        lambda: accounts.tenant_keys(bob),
        lambda: accounts.revoke_tenant_key(bob, bobs.id),
    ):
        with pytest.raises(Forbidden):
            act()
    assert accounts.tenant_keys(eve) == []
    for who, key_id in ((eve, bobs.id), (admin, roots.id), (admin, "key_nothing")):
        with pytest.raises(NotFound):
            accounts.revoke_tenant_key(who, key_id)
    accounts.revoke_tenant_key(admin, bobs.id)
    with pytest.raises(Unauthorized):
        accounts.caller_for_key(key)
    accounts.revoke_tenant_key(root, roots.id)
    told = db.read(lambda session: {one.action for one in session.query(AuditEntry)})
    assert {"key.create", "key.revoke"} <= told
