"""Provider keys of persons and tenants: encrypted at rest, opened for their owner only, encrypted anew on demand."""

import io
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from chatcore.__main__ import main
from chatcore.accounts import Accounts, Principal
from chatcore.accounts.people import command_line
from chatcore.config import Settings, load_settings
from chatcore.db import Database
from chatcore.db.tables import AuditEntry, ProviderKey, User, utcnow
from chatcore.errors import ChatcoreError, Forbidden, InvalidInput, NotFound, Unauthorized
from chatcore.gateway.keyring import Keyring, OwnKey
from tests.conftest import add_person

SECRET = "sk-planted-7f3d9a1c5b8e2460-wxyz"
OTHER = "sk-another-0011223344556677-abcd"


@pytest.fixture
def ring(any_database: Database, settings: Settings) -> Keyring:
    return Keyring(any_database, settings)


@pytest.fixture
def ada(any_database: Database) -> Principal:
    return add_person(any_database, "ada", role="admin")


@pytest.fixture
def bob(any_database: Database, ada: Principal) -> Principal:
    return add_person(any_database, "bob")


@pytest.fixture
def eve(any_database: Database) -> Principal:
    return add_person(any_database, "eve", tenant="Elsewhere", role="admin")


def held(db: Database, ring: Keyring, who: Principal) -> Mapping[str, OwnKey]:
    return db.read(lambda session: ring.of(session, who.tenant_id, who.user_id))


def secrets_of(db: Database, ring: Keyring, who: Principal) -> dict[str, tuple[str, str]]:
    return {provider: (key.secret, key.source) for provider, key in held(db, ring, who).items()}


def rows(db: Database) -> list[ProviderKey]:
    return db.read(lambda session: list(session.scalars(select(ProviderKey).order_by(ProviderKey.id))))


def change(db: Database, key_id: str, **values: Any) -> None:
    db.write(lambda session: session.execute(update(ProviderKey).where(ProviderKey.id == key_id).values(**values)))


def audited(db: Database) -> list[tuple[str, str, dict[str, Any]]]:
    statement = select(AuditEntry.action, AuditEntry.target, AuditEntry.details).order_by(AuditEntry.id)
    return [
        (row.action, row.target, row.details)
        for row in db.read(lambda session: session.execute(statement).all())
        if row.action.startswith("provider_key")
    ]


# ---- whose key it is


def test_a_key_is_its_persons_alone(
    any_database: Database, ring: Keyring, ada: Principal, bob: Principal, eve: Principal
) -> None:
    info = ring.save(bob, "openai", SECRET)
    assert (info.provider, info.last4, info.source) == ("openai", "wxyz", "person")
    assert held(any_database, ring, bob) == {"openai": OwnKey(info.id, "openai", SECRET, "person")}
    assert held(any_database, ring, ada) == {}
    assert held(any_database, ring, eve) == {}
    assert [ring.list(one) for one in (bob, ada, eve)] == [[info], [], []]


def test_the_tenants_key_is_for_all_of_it_and_a_persons_own_stands_before_it(
    any_database: Database, ring: Keyring, ada: Principal, bob: Principal, eve: Principal
) -> None:
    ring.save(ada, "openai", SECRET, for_tenant=True)
    ring.save(ada, "groq", OTHER, for_tenant=True)
    ring.save(bob, "openai", OTHER)
    assert secrets_of(any_database, ring, ada) == {"openai": (SECRET, "tenant"), "groq": (OTHER, "tenant")}
    assert secrets_of(any_database, ring, bob) == {"openai": (OTHER, "person"), "groq": (OTHER, "tenant")}
    assert secrets_of(any_database, ring, eve) == {}


def test_a_member_only_sees_that_the_tenant_has_a_key(ring: Keyring, ada: Principal, bob: Principal) -> None:
    info = ring.save(ada, "openai", SECRET, for_tenant=True)
    own = ring.save(bob, "groq", OTHER)
    assert ring.list(ada) == [info]
    assert ring.list(bob) == [own, replace(info, provider="", last4="")]


def test_only_admins_touch_the_tenants_key(
    any_database: Database, ring: Keyring, ada: Principal, bob: Principal, eve: Principal
) -> None:
    ring.save(ada, "openai", SECRET, for_tenant=True)
    for refused in (
        lambda: ring.save(bob, "openai", OTHER, for_tenant=True),
        lambda: ring.remove(bob, "openai", for_tenant=True),
    ):
        with pytest.raises(Forbidden):
            refused()
    with pytest.raises(NotFound):
        ring.remove(eve, "openai", for_tenant=True)
    assert secrets_of(any_database, ring, ada) == {"openai": (SECRET, "tenant")}


def test_what_counts_is_the_role_at_the_moment(any_database: Database, ring: Keyring, ada: Principal) -> None:
    def demote(session: Session) -> None:
        session.execute(update(User).where(User.id == ada.user_id).values(role="member"))

    any_database.write(demote)
    with pytest.raises(Forbidden, match=r"Your role has changed\."):
        ring.save(ada, "openai", SECRET, for_tenant=True)
    assert ring.save(ada, "openai", SECRET).source == "person"


def test_a_disabled_person_saves_and_removes_nothing(any_database: Database, ring: Keyring, bob: Principal) -> None:
    ring.save(bob, "openai", SECRET)

    def disable(session: Session) -> None:
        session.execute(update(User).where(User.id == bob.user_id).values(disabled_at=utcnow()))

    any_database.write(disable)
    with pytest.raises(Unauthorized):
        ring.save(bob, "openai", OTHER)
    with pytest.raises(Unauthorized):
        ring.remove(bob, "openai")
    assert secrets_of(any_database, ring, bob) == {"openai": (SECRET, "person")}


def test_the_command_line_has_no_own_keys_that_would_be_the_tenants(
    any_database: Database, ring: Keyring, ada: Principal
) -> None:
    nobody = command_line(ada.tenant_id)
    with pytest.raises(Forbidden):
        ring.save(nobody, "openai", SECRET)
    ring.save(nobody, "openai", SECRET, for_tenant=True)
    with pytest.raises(Forbidden):
        ring.remove(nobody, "openai")
    assert secrets_of(any_database, ring, ada) == {"openai": (SECRET, "tenant")}


# ---- saving and removing


def test_a_key_is_replaced_by_one_with_an_id_of_its_own(
    any_database: Database, ring: Keyring, ada: Principal, bob: Principal
) -> None:
    tenants = ring.save(ada, "openai", SECRET, for_tenant=True)
    first = ring.save(bob, "openai", SECRET)
    second = ring.save(bob, "openai", OTHER)
    assert first.id != second.id
    assert [row.id for row in rows(any_database)] == [tenants.id, second.id]
    assert secrets_of(any_database, ring, bob) == {"openai": (OTHER, "person")}
    assert secrets_of(any_database, ring, ada) == {"openai": (SECRET, "tenant")}


def test_a_removed_key_leaves_the_tenants_and_goes_once(
    any_database: Database, ring: Keyring, ada: Principal, bob: Principal
) -> None:
    ring.save(ada, "openai", SECRET, for_tenant=True)
    ring.save(bob, "openai", OTHER)
    ring.remove(bob, "openai")
    assert secrets_of(any_database, ring, bob) == {"openai": (SECRET, "tenant")}
    with pytest.raises(NotFound, match=r"There is no such key, or it was removed already\."):
        ring.remove(bob, "openai")
    ring.remove(ada, "openai", for_tenant=True)
    assert rows(any_database) == []


@pytest.mark.parametrize(
    "secret",
    ["", "1234567", "x" * 501, "sk-with a-space", " sk-leading", "sk-trailing\n", "sk-ünicode-key", "sk-nul\x00-key"],
)
def test_what_has_not_the_form_of_a_key_is_refused_unsaid(database: Database, settings: Settings, secret: str) -> None:
    ring, ada = Keyring(database, settings), add_person(database, "ada")
    with pytest.raises(InvalidInput) as refused:
        ring.save(ada, "openai", secret)
    assert not secret.strip() or secret.strip() not in str(refused.value)
    assert rows(database) == []


@pytest.mark.parametrize(
    "provider",
    ["", "open ai", "openai\x00", "a/b", "x" * 65, "openai\n", "openai@", "openai@ada:word@host", "openai@host/v1"],
)
def test_what_has_not_the_form_of_a_provider_is_refused(database: Database, settings: Settings, provider: str) -> None:
    ring, ada = Keyring(database, settings), add_person(database, "ada")
    with pytest.raises(InvalidInput):
        ring.save(ada, provider, SECRET)
    assert rows(database) == []


def test_a_server_of_ones_own_has_keys_of_its_own(database: Database, settings: Settings) -> None:
    ring, ada = Keyring(database, settings), add_person(database, "ada")
    ring.save(ada, "openai", SECRET)
    for server in ("127.0.0.1:8000", "llm_box", "[::1]:8000"):
        ring.save(ada, f"openai@{server}", OTHER)
        assert held(database, ring, ada)[f"openai@{server}"].secret == OTHER
    assert held(database, ring, ada)["openai"].secret == SECRET


@pytest.mark.parametrize(("secret", "last4"), [("12345678", ""), ("x" * 7 + "abcd", ""), ("x" * 8 + "abcd", "abcd")])
def test_the_last_four_of_a_short_key_are_kept_to_itself(
    database: Database, settings: Settings, secret: str, last4: str
) -> None:
    ring, ada = Keyring(database, settings), add_person(database, "ada")
    assert ring.save(ada, "openai", secret).last4 == last4
    assert [one.last4 for one in ring.list(ada)] == [last4]
    assert rows(database)[0].last4 == last4


# ---- nothing in plain text


def test_the_key_is_nowhere_in_the_database(any_database: Database, ring: Keyring, ada: Principal) -> None:
    ring.save(ada, "openai", SECRET)
    ring.save(ada, "openai", OTHER, for_tenant=True)
    kept = "\n".join(str(vars(row)) for row in rows(any_database)) + str(audited(any_database))
    assert "wxyz" in kept
    assert SECRET not in kept
    assert SECRET[:-4] not in kept


def test_the_key_is_nowhere_in_the_bytes_of_the_files(database: Database, settings: Settings) -> None:
    ring, ada = Keyring(database, settings), add_person(database, "ada")
    info = ring.save(ada, "openai", SECRET)
    ring.save(ada, "groq", OTHER)
    ring.remove(ada, "groq")
    files = list(Path(database.url.database or "").parent.glob("chatcore.db*"))
    everything = b"".join(file.read_bytes() for file in files)
    assert info.id.encode() in everything, "the row is in what was looked through"
    for planted in (SECRET, OTHER):
        assert planted.encode() not in everything
        assert planted[3:-4].encode() not in everything


def test_the_key_is_in_no_repr_and_no_log(
    any_database: Database, ring: Keyring, ada: Principal, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    info = ring.save(ada, "openai", SECRET)
    key = held(any_database, ring, ada)["openai"]
    change(any_database, info.id, secret="garbage")
    assert held(any_database, ring, ada) == {}
    for words in (repr(key), str(key), repr(info), repr(ring.everybodys()), caplog.text):
        assert words
        assert SECRET not in words
    assert key.secret == SECRET


def test_the_audit_log_tells_who_did_what(any_database: Database, ring: Keyring, ada: Principal) -> None:
    info = ring.save(ada, "openai", SECRET)
    ring.remove(ada, "openai")
    shared = ring.save(ada, "groq", OTHER, for_tenant=True)
    own = {"provider": "openai", "last4": "wxyz", "source": "person"}
    assert audited(any_database) == [
        ("provider_key.save", info.id, own),
        ("provider_key.remove", info.id, own),
        ("provider_key.save", shared.id, {"provider": "groq", "last4": "abcd", "source": "tenant"}),
    ]


def test_for_choosing_it_is_enough_to_know_for_which_providers_there_are_keys(
    any_database: Database, ring: Keyring, ada: Principal, bob: Principal, eve: Principal
) -> None:
    def slots(who: Principal) -> frozenset[str]:
        return any_database.read(lambda session: ring.slots(session, who.tenant_id, who.user_id))

    assert slots(bob) == frozenset()
    info = ring.save(bob, "openai", SECRET)
    ring.save(ada, "openai", OTHER, for_tenant=True)
    ring.save(ada, "groq@10.0.0.1:80", OTHER, for_tenant=True)
    ring.save(eve, "mistral", OTHER)
    assert slots(bob) == slots(ada) == {"openai", "groq@10.0.0.1:80"}
    assert slots(eve) == {"mistral"}
    change(any_database, info.id, secret="does not open")
    assert "openai" in slots(bob), "nothing is opened"


# ---- what does not open


def test_a_row_that_was_copied_to_another_does_not_open(
    any_database: Database, ring: Keyring, ada: Principal, bob: Principal, eve: Principal
) -> None:
    stolen = ring.save(bob, "openai", SECRET)
    sealed = rows(any_database)[0].secret
    for thief, provider, for_tenant in ((ada, "openai", False), (ada, "groq", True), (eve, "openai", False)):
        own = ring.save(thief, provider, OTHER, for_tenant=for_tenant)
        assert held(any_database, ring, thief)[provider].secret == OTHER
        change(any_database, own.id, secret=sealed)
        assert provider not in held(any_database, ring, thief)
    assert held(any_database, ring, bob)["openai"].id == stolen.id


@pytest.mark.parametrize(
    "moved", [{"owner_id": ""}, {"owner_id": "eve"}, {"tenant_id": "eve"}, {"provider": "groq"}], ids=str
)
def test_a_row_that_was_moved_does_not_open(
    any_database: Database, ring: Keyring, bob: Principal, eve: Principal, moved: dict[str, str]
) -> None:
    info = ring.save(bob, "openai", SECRET)
    ids = {"owner_id": eve.user_id, "tenant_id": eve.tenant_id}
    change(any_database, info.id, **{name: ids[name] if value == "eve" else value for name, value in moved.items()})
    statement = select(ProviderKey.tenant_id, ProviderKey.owner_id)
    tenant_id, owner_id = any_database.read(lambda session: session.execute(statement).one())
    assert any_database.read(lambda session: ring.of(session, tenant_id, owner_id)) == {}
    assert [one.opens for one in ring.everybodys()] == [False]


@pytest.mark.parametrize(
    "damage",
    [lambda s: s[:-1], lambda s: s[:40] + ("B" if s[40] == "A" else "A") + s[41:], lambda s: "", lambda s: "é" * 9],
)
def test_a_row_that_was_changed_is_left_out_and_logged_by_its_id(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture, damage: Callable[[str], str]
) -> None:
    ring, ada = Keyring(database, settings), add_person(database, "ada", role="admin")
    shared = ring.save(ada, "openai", OTHER, for_tenant=True)
    info = ring.save(ada, "openai", SECRET)
    ring.save(ada, "groq", SECRET)
    sealed = next(row.secret for row in rows(database) if row.id == info.id)
    assert damage(sealed) != sealed
    change(database, info.id, secret=damage(sealed))
    found = held(database, ring, ada)
    assert (found["openai"].id, found["groq"].secret) == (shared.id, SECRET), "the others are there as before"
    assert [vars(record)["provider_key_id"] for record in caplog.records] == [info.id]


def test_with_another_secret_key_nothing_opens_and_saving_anew_helps(
    any_database: Database, ring: Keyring, settings: Settings, ada: Principal
) -> None:
    ring.save(ada, "openai", SECRET)
    changed = Keyring(any_database, replace(settings, secret_key="another secret"))
    assert held(any_database, changed, ada) == {}
    assert [one.last4 for one in changed.list(ada)] == ["wxyz"], "it is listed, so that it can be removed"
    changed.save(ada, "openai", OTHER)
    assert held(any_database, changed, ada)["openai"].secret == OTHER


def test_no_key_costs_one_statement_that_finds_its_rows_by_the_index(database: Database, settings: Settings) -> None:
    ring, ada = Keyring(database, settings), add_person(database, "ada")
    said: list[tuple[str, Any]] = []
    event.listen(database.engine, "before_cursor_execute", lambda *arguments: said.append(arguments[2:4]))
    assert held(database, ring, ada) == {}
    asked = [(statement, values) for statement, values in said if statement.startswith("SELECT")]
    assert len(asked) == 1
    with database.engine.connect() as connection:
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[0][0]}", asked[0][1]).all())
    assert "SEARCH provider_keys USING INDEX" in plan
    assert "tenant_id=? AND owner_id=?" in plan


# ---- a new secret key


@pytest.fixture
def renewed(any_database: Database, settings: Settings) -> Keyring:
    return Keyring(any_database, replace(settings, secret_key="the new secret"))


def test_keys_are_encrypted_anew_once(
    any_database: Database, ring: Keyring, renewed: Keyring, settings: Settings, ada: Principal, eve: Principal
) -> None:
    ring.save(ada, "openai", SECRET)
    ring.save(ada, "groq", OTHER, for_tenant=True)
    ring.save(eve, "openai", OTHER)
    ids = [row.id for row in rows(any_database)]
    assert renewed.rotate(settings.secret_key) == 3
    assert secrets_of(any_database, renewed, ada) == {"openai": (SECRET, "person"), "groq": (OTHER, "tenant")}
    assert secrets_of(any_database, renewed, eve) == {"openai": (OTHER, "person")}
    assert held(any_database, ring, ada) == {}, "the old secret opens nothing any more"
    assert [row.id for row in rows(any_database)] == ids
    assert renewed.rotate(settings.secret_key) == 0
    assert [action for action, _, _ in audited(any_database)].count("provider_key.rotate") == 3


def test_half_of_it_done_is_fine(
    any_database: Database, ring: Keyring, renewed: Keyring, settings: Settings, ada: Principal, bob: Principal
) -> None:
    ring.save(ada, "openai", SECRET)
    renewed.save(bob, "openai", OTHER)
    damaged = ring.save(bob, "groq", OTHER)
    change(any_database, damaged.id, secret="garbage")
    assert renewed.rotate(settings.secret_key) == 1
    assert secrets_of(any_database, renewed, ada) == {"openai": (SECRET, "person")}
    assert secrets_of(any_database, renewed, bob) == {"openai": (OTHER, "person")}
    assert [(one.username, one.info.provider, one.opens) for one in renewed.everybodys()] == [
        ("ada", "openai", True),
        ("bob", "groq", False),
        ("bob", "openai", True),
    ]


def test_a_wrong_old_secret_changes_nothing(
    any_database: Database, ring: Keyring, renewed: Keyring, ada: Principal
) -> None:
    ring.save(ada, "openai", SECRET)
    before = [row.secret for row in rows(any_database)]
    assert renewed.rotate("not the old secret") == 0
    with pytest.raises(InvalidInput):
        renewed.rotate("")
    assert [row.secret for row in rows(any_database)] == before


def test_more_keys_than_a_page(
    any_database: Database, ring: Keyring, renewed: Keyring, settings: Settings, ada: Principal
) -> None:
    from chatcore.gateway import keyring

    ring.save(ada, "p0", SECRET)
    row = rows(any_database)[0]
    count = keyring._PAGE * 2  # full pages, and nothing after the last

    def work(session: Session) -> None:
        for number in range(1, count):
            sealed = keyring._sealed(ring._fernet, ada.tenant_id, ada.user_id, f"p{number}", SECRET)
            values = {"id": f"pkey_{number:04}", "tenant_id": ada.tenant_id, "owner_id": ada.user_id}
            session.add(ProviderKey(**values, provider=f"p{number}", secret=sealed, last4=row.last4))

    any_database.write(work)
    assert renewed.rotate(settings.secret_key) == count
    assert {key.secret for key in held(any_database, renewed, ada).values()} == {SECRET}
    assert len(held(any_database, renewed, ada)) == count


def test_a_key_replaced_meanwhile_is_not_written_over(
    any_database: Database, ring: Keyring, renewed: Keyring, ada: Principal, bob: Principal
) -> None:
    ring.save(ada, "openai", SECRET)
    ring.save(bob, "openai", SECRET)
    read = renewed._page("")
    renewals = [(row, renewed._renewed(row, ring._fernet) or "") for row in read]
    renewed.save(ada, "openai", OTHER)
    assert renewed._exchange(renewals) == 1
    assert secrets_of(any_database, renewed, ada) == {"openai": (OTHER, "person")}
    assert secrets_of(any_database, renewed, bob) == {"openai": (SECRET, "person")}
    assert renewed._exchange(renewals) == 0, "what another rotation did is not done again"


# ---- the command line


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("CHATCORE_DATABASE_URL", "CHATCORE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHATCORE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CHATCORE_SECRET_KEY", "the old secret")
    return load_settings()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, stdin: str = "") -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    return main(["provider-keys", *arguments])


def test_the_command_line_lists_and_rotates(
    shell: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "list") == 0  # makes the database
    db = Database(shell.database_url)
    Accounts(db, shell).ensure_ready()
    ring, ada = Keyring(db, shell), add_person(db, "ada", role="admin")
    ring.save(ada, "openai", SECRET)
    ring.save(ada, "groq", "12345678", for_tenant=True)
    capsys.readouterr()

    assert run(monkeypatch, "list") == 0
    out = capsys.readouterr().out
    assert [line.split()[:4] for line in out.splitlines()] == [
        ["TENANT", "USER", "PROVIDER", "KEY"],
        ["Default", "(the", "tenant's)", "groq"],
        ["Default", "ada", "openai", "…wxyz"],
    ]
    assert "does not open" not in out
    assert SECRET not in out

    monkeypatch.setenv("CHATCORE_SECRET_KEY", "the new secret")
    run(monkeypatch, "list")
    assert capsys.readouterr().out.count("does not open") == 2
    for encrypted in (2, 0):
        assert run(monkeypatch, "rotate", stdin="the old secret\n") == 0
        assert capsys.readouterr().out.startswith(f"Encrypted {encrypted} with the present secret key.")
    assert secrets_of(db, Keyring(db, load_settings()), ada)["openai"] == (SECRET, "person")
    db.close()


def test_the_command_line_refuses_an_empty_secret(
    shell: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "rotate") == 2
    assert capsys.readouterr().err.strip() == (
        "The old secret key is empty; give it on the first line of standard input."
    )


def test_every_refusal_is_one_of_ours(ring: Keyring, bob: Principal) -> None:
    with pytest.raises(ChatcoreError):
        ring.remove(bob, "nothing' OR 1=1 --")
