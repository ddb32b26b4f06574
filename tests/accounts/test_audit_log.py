"""The audit log: append-only also for the database, read by those whom it is about, whole in a file."""

import ast
import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from chatcore.accounts import Principal, audit, audit_words
from chatcore.accounts.audit_log import AN_OPERATOR, COMMAND_LINE, AuditLog, Wanted, empty
from chatcore.accounts.tenants import Tenants
from chatcore.accounts.validation import clean_username
from chatcore.config import PROJECT_ROOT
from chatcore.db import Database
from chatcore.db.tables import AuditEntry, Tenant, User, utcnow
from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound
from tests.accounts.conftest import House
from tests.conftest import add_person

ANY = Wanted()


def note(db: Database, who: Principal, action: str, target: str = "", **details: Any) -> None:
    db.write(lambda session: audit.record(session, who, action, target, **details))


def words(db: Database, who: Principal, wanted: Wanted = ANY) -> list[str]:
    return [one.words for one in AuditLog(db).listed(who, wanted)]


@pytest.fixture
def people(any_database: Database) -> dict[str, Principal]:
    """Ada is an admin, Bob a member, Root an operator of the other tenant, and Eve its admin."""
    db = any_database
    return {
        "ada": add_person(db, "ada", role="admin"),
        "bob": add_person(db, "bob"),
        "root": add_person(db, "root", role="operator", tenant="Other"),
        "eve": add_person(db, "eve", role="admin", tenant="Other"),
    }


# ---- append-only


@pytest.mark.parametrize(
    "change",
    [
        delete(AuditEntry),
        update(AuditEntry).values(action="user.enable"),
        update(AuditEntry).values(user_id="somebody"),
        update(AuditEntry).values(target="somebody"),
        update(AuditEntry).values(tenant_id="another"),
        update(AuditEntry).values(created_at=utcnow()),
        update(AuditEntry).values(details={"role": "member"}),
        update(AuditEntry).values(address="10.0.0.9"),
        update(AuditEntry).values(details={}, action="nothing"),
    ],
)
def test_the_database_refuses_to_change_or_delete_an_entry(
    any_database: Database, people: dict[str, Principal], change: Any
) -> None:
    note(any_database, people["ada"], "user.role", people["bob"].user_id, before="member", after="admin")
    with pytest.raises((IntegrityError, DBAPIError), match="only ever added to"):
        any_database.write(lambda session: session.execute(change) and None)
    (entry,) = AuditLog(any_database).listed(people["ada"])
    assert (entry.action, entry.details) == ("user.role", {"before": "member", "after": "admin"})


@pytest.mark.postgres
def test_postgresql_refuses_to_truncate_it(any_database: Database) -> None:
    if any_database.is_sqlite:
        return
    with pytest.raises(DBAPIError, match="only ever added to"):
        any_database.write(lambda session: session.execute(text("TRUNCATE audit_log")) and None)


def test_of_an_erased_person_details_and_addresses_can_be_emptied(
    any_database: Database, people: dict[str, Principal]
) -> None:
    ada, bob = people["ada"], people["bob"]

    def act(session: Session) -> None:
        audit.note(session, bob.tenant_id, bob.user_id, "sign_in", bob.user_id, "10.0.0.9")
        audit.note(session, bob.tenant_id, ada.user_id, "user.role", bob.user_id, "10.0.0.1", after="admin")
        audit.note(session, bob.tenant_id, bob.user_id, "budget.set", "bud", "10.0.0.9", amount=5)

    any_database.write(act)
    any_database.write(lambda session: empty(session, bob.user_id))
    found = [(one.action, one.actor_id, one.address, one.details) for one in AuditLog(any_database).listed(ada)]
    assert found == [
        ("budget.set", bob.user_id, "", {"amount": 5}),
        ("user.role", ada.user_id, "10.0.0.1", {}),
        ("sign_in", bob.user_id, "", {}),
    ]


# ---- who reads what


def test_an_admin_reads_their_tenant_and_a_member_nothing(any_database: Database, people: dict[str, Principal]) -> None:
    note(any_database, people["ada"], "user.disable", people["bob"].user_id)
    note(any_database, people["eve"], "tenant.rename", after="New")
    assert words(any_database, people["ada"]) == ["Ada shut Bob out"]
    assert words(any_database, people["eve"]) == ["Eve renamed the tenant to New"]
    for work in (AuditLog(any_database).listed, AuditLog(any_database).export_csv):
        with pytest.raises(Forbidden):
            work(people["bob"])  # type: ignore[operator]
        with pytest.raises(Forbidden):
            work(people["ada"], Wanted(everywhere=True))  # type: ignore[operator]


def test_an_operator_reads_all_tenants_by_choice(any_database: Database, people: dict[str, Principal]) -> None:
    note(any_database, people["ada"], "user.disable", people["bob"].user_id)
    note(any_database, people["root"], "flags.change")
    assert words(any_database, people["root"]) == ["Root changed flags, limits or prices"]
    assert len(words(any_database, people["root"], Wanted(everywhere=True))) == 2


def test_an_operator_of_another_tenant_has_no_name_here(any_database: Database, people: dict[str, Principal]) -> None:
    from dataclasses import replace

    root = replace(people["root"], tenant_id=people["ada"].tenant_id)
    note(any_database, root, "tenant.rename", after="New")
    (entry,) = AuditLog(any_database).listed(people["ada"])
    assert entry.actor == AN_OPERATOR


def test_somebody_who_is_gone_has_no_name(any_database: Database, people: dict[str, Principal]) -> None:
    note(any_database, people["bob"], "sign_in", people["bob"].user_id)
    any_database.write(lambda session: session.execute(delete(User).where(User.username == "bob")) and None)
    assert words(any_database, people["ada"]) == ["An erased person signed in"]


def test_they_are_filtered_and_paged_without_a_gap(any_database: Database, people: dict[str, Principal]) -> None:
    ada, bob = people["ada"], people["bob"]
    for number in range(7):
        note(any_database, ada, "user.team", bob.user_id, before=None, after=f"Team {number}")
    note(any_database, bob, "key.create", "key_1")
    log = AuditLog(any_database)
    assert words(any_database, ada, Wanted(actor=bob.user_id)) == ["Bob made an API key"]
    assert words(any_database, ada, Wanted(action="key.")) == ["Bob made an API key"]
    assert len(words(any_database, ada, Wanted(target=bob.user_id))) == 7
    assert words(any_database, ada, Wanted(action="user%")) == []
    now = utcnow()
    assert words(any_database, ada, Wanted(since=now + timedelta(minutes=1))) == []
    assert words(any_database, ada, Wanted(until=now - timedelta(minutes=1))) == []
    for who, everywhere in ((ada, False), (people["root"], True)):
        wanted, seen = Wanted(everywhere=everywhere), []
        page = log.listed(who, wanted, limit=3)
        while page:
            seen += page
            page = log.listed(who, wanted, limit=3, before=page[-1].cursor)
        assert [one.id for one in seen] == [one.id for one in log.listed(who, wanted)]
        assert len(seen) == 8
    for limit in (0, 501):
        with pytest.raises(InvalidInput):
            log.listed(ada, limit=limit)


def test_the_file_has_them_all_and_no_formula(
    any_database: Database, people: dict[str, Principal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatcore.accounts.audit_log._PAGE", 2)
    ada = people["ada"]
    for number in range(5):
        note(any_database, ada, "user.team", people["bob"].user_id, after=f"=1+{number}")
    any_database.write(lambda s: s.execute(update(User).where(User.username == "ada").values(name="=cmd()")) and None)
    rows = list(csv.DictReader(io.StringIO("".join(AuditLog(any_database).export_csv(ada)))))
    assert len(rows) == 6, "the export itself stands in it"
    assert rows[0]["action"] == "audit.export"
    assert rows[1]["actor"] == "'=cmd()"
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


# ---- words


def test_every_sentence_can_be_said() -> None:
    for action in audit_words.ACTIONS:
        said = audit_words.sentence("Ada", action, "Bob", {})
        assert said[0].isupper()
        assert "{" not in said
    assert audit_words.sentence("Ada", "user.role", "Bob", {"after": "admin"}) == "Ada made Bob an admin"
    assert audit_words.sentence("Ada", "user.team", "Bob", {"before": "Red", "after": None}).endswith("team Red")
    assert (
        audit_words.sentence("Ada", "session.revoke_all", "Ada", {}, own=True) == "Ada signed themself out everywhere"
    )
    assert audit_words.sentence("Ada", "new.act", "", {}) == "Ada: new.act"


def test_every_act_that_is_noted_has_a_sentence() -> None:
    """So that whoever adds an act also says how it is told."""
    places = {"record": 2, "note": 3}
    noted = set()
    for path in (PROJECT_ROOT / "chatcore").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            place = 0 if ast.unparse(call.func) == "core.console.note" else places.get(call.func.attr)
            of_ours = ast.unparse(call.func.value) in ("audit", "core.console")
            if of_ours and place is not None and isinstance(given := call.args[place], ast.Constant):
                noted.add(given.value)
    assert len(noted) > 35
    assert noted <= set(audit_words.ACTIONS)


# ---- what is noted


def test_the_command_line_opens_no_session_unseen(any_house: House) -> None:
    root = any_house.person("root", "operator")
    any_house.person("bob")
    any_house.accounts.new_session_token("bob")
    said = words(any_house.db, root, Wanted(action="session."))
    assert said == ["Bob got a browser session", f"{COMMAND_LINE} opened a browser session as Bob"]


def test_a_tenant_is_made_with_its_admin_or_not_at_all(any_house: House) -> None:
    root = any_house.person("root", "operator")
    tenants = Tenants(any_house.db)
    with pytest.raises(Conflict):
        tenants.add(root, "Green", "root", "Gina")
    assert len(tenants.listed(root)) == 1
    link = tenants.add(root, "Green", "gina", "Gina")
    assert any_house.accounts.open_code("invite", link.code).username == clean_username("gina")
    assert words(any_house.db, root, Wanted(action="tenant.add")) == ["Root added a tenant"]


def test_a_tenants_settings_are_checked(any_house: House) -> None:
    root = any_house.person("root", "operator")
    tenants = Tenants(any_house.db)
    for days in ((0, None), (None, 61), (36_501, None), (-5, None)):
        with pytest.raises(InvalidInput):
            tenants.set_retention(root, *days)
    for zone in ("Nowhere/Town", "", "../etc/passwd"):
        with pytest.raises(InvalidInput):
            tenants.set_timezone(root, zone)
    with pytest.raises(NotFound):
        tenants.rename(root, "X", "ten_absent")
    tenants.set_retention(root, 30, 400)
    settings = tenants.settings(root)
    assert (settings.message_days, settings.ledger_days, settings.counted_anew) == (30, 400, False)
    row = any_house.db.read(lambda session: session.scalars(select(Tenant)).one())
    assert (row.message_days, row.timezone) == (30, "UTC")
