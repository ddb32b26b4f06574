"""What admins may do, and what nobody may do to another tenant."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from chatcore.accounts import Principal, codes, passwords
from chatcore.db.tables import ApiKey, AuditEntry, OneTimeCode, utcnow
from chatcore.errors import ChatcoreError, Conflict, Forbidden, InvalidInput, NotFound, Unauthorized

from .conftest import PASSWORD, House

SignIn = Callable[[str], Principal]


def test_a_member_may_do_nothing_of_it(house: House) -> None:
    root, ada = house.person("root", "operator"), house.person("ada")
    for act in (
        lambda: house.accounts.people(ada),
        lambda: house.accounts.invite(ada, "eve", "Eve"),
        lambda: house.accounts.reset_link(ada, root.user_id),
        lambda: house.accounts.set_role(ada, ada.user_id, "admin"),
        lambda: house.accounts.set_disabled(ada, root.user_id, True),
    ):
        with pytest.raises(Forbidden):
            act()


def test_another_tenants_people_are_as_good_as_absent(any_house: House) -> None:
    any_house.person("root", "operator")
    any_house.console.add_tenant("Other")
    admin, stranger = any_house.person("admin", "admin"), any_house.person("stranger", tenant="Other")
    assert {p.username for p in any_house.accounts.people(admin)} == {"root", "admin"}
    for user_id in (stranger.user_id, "usr_absent"):
        for act in (
            lambda user_id=user_id: any_house.accounts.reset_link(admin, user_id),
            lambda user_id=user_id: any_house.accounts.set_role(admin, user_id, "admin"),
            lambda user_id=user_id: any_house.accounts.set_disabled(admin, user_id, True),
        ):
            with pytest.raises(NotFound, match=r"^There is no such person\.$"):
                act()
    assert any_house.console.find("stranger").status == "active"


def test_an_admin_makes_no_operator_and_touches_none(house: House) -> None:
    root, admin, ada = house.person("root", "operator"), house.person("admin", "admin"), house.person("ada")
    for act in (
        lambda: house.accounts.invite(admin, "eve", "Eve", "operator"),
        lambda: house.accounts.set_role(admin, ada.user_id, "operator"),
        lambda: house.accounts.set_role(admin, root.user_id, "member"),
        lambda: house.accounts.set_disabled(admin, root.user_id, True),
        lambda: house.accounts.reset_link(admin, root.user_id),
    ):
        with pytest.raises(Forbidden):
            act()


def test_nobody_changes_their_own_role_or_disables_themself(house: House) -> None:
    root = house.person("root", "operator")
    house.person("root2", "operator")
    with pytest.raises(Conflict):
        house.accounts.set_role(root, root.user_id, "member")
    with pytest.raises(Conflict):
        house.accounts.set_disabled(root, root.user_id, True)


def test_the_last_operator_and_the_last_admin_of_a_tenant_stay(house: House) -> None:
    house.person("root", "operator")
    house.console.add_tenant("Other")
    house.person("boss", "admin", "Other")
    for username in ("root", "boss"):
        with pytest.raises(Conflict, match="last"):
            house.console.set_disabled(username, True)
        with pytest.raises(Conflict, match="last"):
            house.console.set_role(username, "member")
    house.accounts.invite(house.console.operator("Other"), "new", "New", "admin")
    with pytest.raises(Conflict, match="last"):
        house.console.set_disabled("boss", True)
    assert house.console.find("boss").status == "active", "someone invited cannot take over yet"


def test_two_admins_who_remove_each_other_at_once_do_not_both_succeed(any_house: House) -> None:
    any_house.person("root", "operator")
    one, two = any_house.person("one", "admin"), any_house.person("two", "admin")

    def act(pair: tuple[Principal, Principal]) -> bool:
        try:
            any_house.accounts.set_role(pair[0], pair[1].user_id, "member")
        except Forbidden:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(act, [(one, two), (two, one)])) == [False, True]


def test_a_role_that_was_taken_away_counts_at_once(house: House) -> None:
    house.person("root", "operator")
    admin, ada = house.person("admin", "admin"), house.person("ada")
    house.console.set_role("admin", "member")
    with pytest.raises(Forbidden):
        house.accounts.set_disabled(admin, ada.user_id, True)


def test_an_invite_works_once_and_signs_its_person_in(house: House) -> None:
    link = house.accounts.invite(house.person("root", "operator"), "Bob", "Bob")
    assert house.console.find("bob").status == "invited"
    assert link.code in link.query
    assert link.code not in repr(link)
    assert house.accounts.open_code("invite", link.code).username == "bob"
    house.accounts.accept_invite(link.code, "Bob B.", PASSWORD)
    person = house.console.find("bob")
    assert (person.status, person.name, person.role) == ("active", "Bob B.", "member")
    for act in (
        lambda: house.accounts.open_code("invite", link.code),
        lambda: house.accounts.accept_invite(link.code, "Eve", "another one"),
    ):
        with pytest.raises(Unauthorized):
            act()
    assert passwords.matches(PASSWORD, house.accounts.credentials("bob")[1])


def test_a_link_is_of_one_kind_and_not_for_the_disabled(house: House) -> None:
    root, ada = house.person("root", "operator"), house.person("ada")
    link = house.accounts.reset_link(root, ada.user_id)
    assert link.kind == "reset"
    with pytest.raises(Unauthorized):
        house.accounts.accept_invite(link.code, "Ada", PASSWORD)
    house.accounts.set_disabled(root, ada.user_id, True)
    with pytest.raises(Unauthorized):
        house.accounts.reset_password(link.code, "another one")
    with pytest.raises(Conflict):
        house.accounts.reset_link(root, ada.user_id)


def test_a_newer_link_ends_the_older(house: House) -> None:
    root, ada = house.person("root", "operator"), house.person("ada")
    older, newer = (house.accounts.reset_link(root, ada.user_id) for _ in range(2))
    with pytest.raises(Unauthorized):
        house.accounts.open_code("reset", older.code)
    assert house.accounts.open_code("reset", newer.code).user_id == ada.user_id


def test_links_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    root, ada = house.person("root", "operator"), house.person("ada")
    reset = house.accounts.reset_link(root, ada.user_id)
    invite = house.accounts.invite(root, "bob", "Bob")
    monkeypatch.setattr(codes, "utcnow", lambda: utcnow() + timedelta(hours=25))
    with pytest.raises(Unauthorized):
        house.accounts.reset_password(reset.code, "another one")
    assert house.accounts.open_code("invite", invite.code)
    monkeypatch.setattr(codes, "utcnow", lambda: utcnow() + timedelta(days=8))
    with pytest.raises(Unauthorized):
        house.accounts.accept_invite(invite.code, "Bob", PASSWORD)


def test_a_reset_signs_out_everywhere_and_unlocks(house: House, signed_in: SignIn) -> None:
    root = house.person("root", "operator")
    house.person("ada")
    here = signed_in("ada")
    assert here.session_id
    for _ in range(5):
        house.accounts.credentials("ada")
    link = house.accounts.reset_link(root, here.user_id)
    house.accounts.reset_password(link.code, "another password")
    assert house.accounts.principal(here.session_id) is None
    assert passwords.matches("another password", house.accounts.credentials("ada")[1])


def test_a_bad_password_uses_no_link_up(house: House) -> None:
    link = house.accounts.invite(house.person("root", "operator"), "bob", "Bob")
    with pytest.raises(InvalidInput):
        house.accounts.accept_invite(link.code, "Bob", "short")
    assert house.accounts.open_code("invite", link.code)


@pytest.mark.parametrize("username", ["", "a b", "ä", "a" * 65, "a\nb", "a/b", "<b>"])
def test_usernames_that_cannot_be(house: House, username: str) -> None:
    with pytest.raises(InvalidInput):
        house.accounts.invite(house.person("root", "operator"), username, "Name")


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\x00b", "a\nb", "a\u202eb", "a\ud800b"])
def test_names_that_cannot_be(house: House, name: str) -> None:
    root = house.person("root", "operator")
    with pytest.raises(InvalidInput):
        house.accounts.invite(root, "bob", name)
    with pytest.raises(InvalidInput):
        house.accounts.rename(root, name)


def test_a_taken_username_is_said_and_leaves_no_link(any_house: House) -> None:
    root = any_house.person("root", "operator")
    with pytest.raises(Conflict, match="root is taken"):
        any_house.accounts.invite(root, " ROOT ", "Root")
    assert not any_house.db.read(lambda s: s.scalars(select(OneTimeCode).where(OneTimeCode.kind == "invite")).all())


def test_preferences_are_ones_own(house: House) -> None:
    ada, bob = house.person("ada"), house.person("bob")
    house.accounts.set_preferences(ada, model="gpt", theme="dark")
    house.accounts.set_preferences(ada, theme=None)
    assert house.accounts.preferences(ada) == {"model": "gpt"}
    assert house.accounts.preferences(bob) == {}


def test_an_api_key_is_its_owners_alone(any_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_house.accounts, "_later", any_house.db.write)
    ada, bob = any_house.person("ada"), any_house.person("bob")
    info, key = any_house.accounts.create_key(ada, "laptop")
    assert key.startswith("ck_")
    assert key.startswith(info.prefix)
    assert len(info.prefix) < 12
    assert any_house.accounts.principal_for_key(key) == ada
    assert any_house.accounts.keys(bob) == []
    with pytest.raises(NotFound):
        any_house.accounts.revoke_key(bob, info.id)
    assert any_house.accounts.keys(ada)[0].last_used_at is not None
    any_house.accounts.revoke_key(ada, info.id)
    for bad in (key, "ck_", "", key + "x", "\ud800"):
        with pytest.raises(Unauthorized):
            any_house.accounts.principal_for_key(bad)


def test_a_key_has_the_scopes_that_were_chosen_and_ends_on_its_day(any_house: House) -> None:
    ada = any_house.person("ada")
    info, key = any_house.accounts.create_key(ada, "report", ("usage", "read"), 30)
    assert info.scopes == ("read", "usage")
    assert info.expires_at is not None
    assert timedelta(days=29) < info.expires_at - utcnow() < timedelta(days=31)
    assert any_house.accounts.caller_for_key(key) == (ada, {"read", "usage"})
    assert replace(any_house.accounts.keys(ada)[0], last_used_at=None) == info  # its use is noted a moment later
    ended = update(ApiKey).where(ApiKey.id == info.id).values(expires_at=utcnow())
    any_house.db.write(lambda session: session.execute(ended))
    assert not any_house.accounts.keys(ada)[0].lives
    with pytest.raises(Unauthorized):
        any_house.accounts.caller_for_key(key)


@pytest.mark.parametrize(
    ("scopes", "days"), [((), None), (("all",), None), (("read", "x"), None), (("read",), 0), (("read",), 9_999)]
)
def test_a_key_that_makes_no_sense_is_not_made(house: House, scopes: Any, days: int | None) -> None:
    with pytest.raises(InvalidInput):
        house.accounts.create_key(house.person("ada"), "report", scopes, days)


def test_a_disabled_persons_key_is_refused(house: House) -> None:
    house.person("root", "operator")
    _, key = house.accounts.create_key(house.person("ada"), "laptop")
    house.console.set_disabled("ada", True)
    with pytest.raises(Unauthorized):
        house.accounts.principal_for_key(key)


def test_the_console_lists_and_revokes_keys_of_the_disabled_and_they_stay_revoked(any_house: House) -> None:
    any_house.person("root", "operator")
    any_house.console.add_tenant("Other")
    ada, bob = any_house.person("ada"), any_house.person("bob", tenant="Other")
    info, key = any_house.accounts.create_key(ada, "laptop")
    other, others_key = any_house.accounts.create_key(bob, "ci")
    any_house.console.set_disabled("ada", True)
    found = any_house.console.keys(None)
    assert [(name, one.id) for name, one in found] == [("ada", info.id), ("bob", other.id)]
    assert [one.id for _, one in any_house.console.keys("ADA")] == [info.id]
    assert any_house.console.revoke_key(info.id) == "ada"
    any_house.console.set_disabled("ada", False)
    with pytest.raises(Unauthorized):
        any_house.accounts.principal_for_key(key)
    assert any_house.accounts.principal_for_key(others_key) == bob
    for gone in (info.id, "key_absent"):
        with pytest.raises(NotFound):
            any_house.console.revoke_key(gone)
    with pytest.raises(NotFound):
        any_house.console.keys("nobody")
    entries = any_house.db.read(lambda s: s.scalars(select(AuditEntry).where(AuditEntry.action == "key.revoke")).all())
    assert [(one.tenant_id, one.user_id, one.target) for one in entries] == [(ada.tenant_id, None, info.id)]


def test_every_act_is_audited_with_who_and_from_where_and_no_secret(house: House, signed_in: SignIn) -> None:
    house.person("root", "operator")
    root = signed_in("root")
    link = house.accounts.invite(root, "bob", "Bob")
    house.accounts.accept_invite(link.code, "Bob", PASSWORD, "10.0.0.9")
    bob = house.accounts.system_principal("bob")
    house.accounts.set_role(root, bob.user_id, "admin")
    house.accounts.set_disabled(root, bob.user_id, True)
    house.accounts.set_disabled(root, bob.user_id, False)
    again = house.accounts.reset_link(root, bob.user_id)
    house.accounts.rename(root, "Root")
    _, key = house.accounts.create_key(root, "laptop")
    house.accounts.change_password(root, PASSWORD, "another password")
    house.accounts.sign_out_everywhere(root, keep_current=False)
    rows = house.db.read(lambda s: s.scalars(select(AuditEntry).order_by(AuditEntry.id)).all())
    acts = [row.action for row in rows if row.user_id == root.user_id]
    assert acts == [
        "sign_in", "session.start", "user.invite", "user.role", "user.disable", "user.enable", "user.reset_link",
        "user.rename", "key.create", "password.change", "session.revoke_all",
    ]  # fmt: skip
    assert {row.address for row in rows if row.user_id == root.user_id} == {"10.0.0.1"}
    assert [row.address for row in rows if row.action == "user.join"] == ["10.0.0.9"]
    everything = " ".join(f"{row.action} {row.target} {row.details}" for row in rows)
    for secret in (PASSWORD, "another password", link.code, again.code, key):
        assert secret not in everything


def test_what_failed_is_not_audited(house: House) -> None:
    root = house.person("root", "operator")
    before = house.db.read(lambda s: len(s.scalars(select(AuditEntry)).all()))
    for act in (
        lambda: house.accounts.set_role(root, root.user_id, "member"),
        lambda: house.accounts.invite(root, "root", "Root"),
        lambda: house.accounts.revoke_session(root, "bs_absent"),
    ):
        with pytest.raises(ChatcoreError):
            act()
    assert house.db.read(lambda s: len(s.scalars(select(AuditEntry)).all())) == before


def test_a_team_is_set_changed_taken_away_and_audited(any_house: House) -> None:
    root, ada = any_house.person("root", "operator"), any_house.person("ada")
    for team in ("  Red ", "Blue", "Blue", "  "):
        any_house.accounts.set_team(root, ada.user_id, team)
    any_house.console.set_team("ada", "Green")
    any_house.console.set_team("ada", None)
    assert any_house.console.find("ada").team is None
    entries = select(AuditEntry.user_id, AuditEntry.target, AuditEntry.details).where(AuditEntry.action == "user.team")
    found = any_house.db.read(lambda session: session.execute(entries.order_by(AuditEntry.id)).all())
    changes = [(None, "Red"), ("Red", "Blue"), ("Blue", None), (None, "Green"), ("Green", None)]
    assert [(row.details["before"], row.details["after"]) for row in found] == changes
    assert [row.user_id for row in found] == [root.user_id] * 3 + [None] * 2
    assert {row.target for row in found} == {ada.user_id}


def test_a_team_is_for_admins_of_ones_own_tenant(any_house: House) -> None:
    root = any_house.person("root", "operator")
    any_house.console.add_tenant("Other")
    admin, ada = any_house.person("admin", "admin"), any_house.person("ada")
    stranger = any_house.person("stranger", tenant="Other")
    with pytest.raises(Forbidden):
        any_house.accounts.set_team(ada, ada.user_id, "Red")
    with pytest.raises(NotFound):
        any_house.accounts.set_team(admin, stranger.user_id, "Red")
    with pytest.raises(Forbidden):
        any_house.accounts.set_team(admin, root.user_id, "Red")
    for name in ("x" * 101, "a\nb"):
        with pytest.raises(InvalidInput):
            any_house.accounts.set_team(admin, ada.user_id, name)
    assert {person.team for person in any_house.console.everyone()} == {None}


def test_a_tier_is_set_and_audited(any_house: House) -> None:
    root, admin, ada = any_house.person("root", "operator"), any_house.person("admin", "admin"), any_house.person("ada")
    any_house.accounts.set_tier(admin, ada.user_id, "pro")
    any_house.accounts.set_tier(root, ada.user_id, "pro")
    any_house.accounts.set_tier(root, root.user_id, "x-1")
    assert (any_house.console.find("ada").tier, any_house.console.find("root").tier) == ("pro", "x-1")
    entries = select(AuditEntry.user_id, AuditEntry.target, AuditEntry.details).where(AuditEntry.action == "user.tier")
    found = any_house.db.read(lambda session: session.execute(entries.order_by(AuditEntry.id)).all())
    assert [(row.user_id, row.target, row.details) for row in found] == [
        (admin.user_id, ada.user_id, {"before": "free", "after": "pro"}),
        (root.user_id, root.user_id, {"before": "free", "after": "x-1"}),
    ], "a tier that stays is no change"


def test_a_tier_is_for_admins_of_ones_own_tenant(any_house: House) -> None:
    root = any_house.person("root", "operator")
    any_house.console.add_tenant("Other")
    admin, ada = any_house.person("admin", "admin"), any_house.person("ada")
    stranger = any_house.person("stranger", tenant="Other")
    for who, user_id, refusal in (
        (ada, ada.user_id, Forbidden),
        (admin, root.user_id, Forbidden),
        (admin, stranger.user_id, NotFound),
        (root, stranger.user_id, NotFound),
    ):
        with pytest.raises(refusal):
            any_house.accounts.set_tier(who, user_id, "pro")
    for tier in ("", "Gold Plus", "x" * 33):
        with pytest.raises(InvalidInput):
            any_house.accounts.set_tier(admin, ada.user_id, tier)
    assert {one.tier for one in any_house.console.everyone()} == {"free"}


def test_only_an_operator_sees_all_tenants_and_their_people(house: House) -> None:
    root = house.person("root", "operator")
    house.console.add_tenant("Other")
    admin, ada = house.person("admin", "admin"), house.person("ada")
    house.person("stranger", tenant="Other")
    assert {one.username for one in house.accounts.everyone(root)} == {"root", "admin", "ada", "stranger"}
    assert [(one.name, one.people) for one in house.accounts.tenants(root)] == [("Default", 3), ("Other", 1)]
    for who in (admin, ada):
        for act in (house.accounts.everyone, house.accounts.tenants):
            with pytest.raises(Forbidden):
                act(who)
