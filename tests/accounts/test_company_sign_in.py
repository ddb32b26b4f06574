"""From claims to a person: the first sign-in and the later ones, who is linked, who stays out, and what is audited."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import func, select, update

from chatcore.accounts import Principal, own
from chatcore.accounts.audit_words import sentence
from chatcore.accounts.passwords import matches
from chatcore.accounts.tenants import Tenants
from chatcore.bootstrap import open_core
from chatcore.config import load_settings
from chatcore.db.tables import AuditEntry, OneTimeCode, ProviderKey, User, utcnow
from chatcore.errors import Conflict, Forbidden, NotFound, SignInRefused, Unauthorized
from tests.accounts.conftest import PASSWORD, House

OIDC: dict[str, Any] = {
    "client_id": "chatcore",
    "client_secret": "planted-client-secret",
    "server_metadata_url": "https://id.example.com/.well-known/openid-configuration",
    "allowed_domains": ["example.com"],
    "name": "Example ID",
}
BY_GROUPS = {"role_claim": "groups", "roles": {"admin": ["admins"], "operator": ["ops"]}, "team_claim": "team"}
numbers = count()


class Company:
    """A house behind which an identity provider stands."""

    def __init__(self, house: House, tmp_path: Path) -> None:
        self.house = house
        self._path = tmp_path
        self.configure()

    def configure(self, **changes: Any) -> None:
        (self._path / "config.yaml").write_text(yaml.safe_dump({"chatcore": {"oidc": OIDC | changes}}))
        environ = {"CHATCORE_DATA_DIR": str(self._path / "data"), "CHATCORE_PUBLIC_URL": "https://chat.example.com"}
        self.house.accounts._settings = load_settings(environ, root=self._path)

    def say(self, name: str = "ada", **changes: Any) -> dict[str, Any]:
        """What the provider says: each time with a nonce of its own."""
        said = {
            "iss": "https://id.example.com",
            "sub": f"sub-{name}",
            "aud": "chatcore",
            "iat": utcnow().timestamp(),
            "nonce": f"n{next(numbers)}",
            "email": f"{name}@example.com",
            "email_verified": True,
            "name": name.title(),
        }
        return said | changes

    def enter(self, said: dict[str, Any]) -> Principal:
        """Sign in; who is behind the cookie then."""
        accounts = self.house.accounts
        token, _ = asyncio.run(accounts.enter_by_company(said, "Test browser", "10.0.0.1"))
        session_id = asyncio.run(accounts.session_for_token(token))
        assert session_id is not None
        who = accounts.principal(session_id)
        assert who is not None
        return who

    def sign_in(self, name: str = "ada", **changes: Any) -> Principal:
        return self.enter(self.say(name, **changes))

    def refusal(self, name: str = "ada", **changes: Any) -> str:
        with pytest.raises(SignInRefused) as caught:
            self.sign_in(name, **changes)
        return caught.value.reason

    def user(self, username: str) -> User | None:
        return self.house.db.read(lambda session: session.scalar(select(User).where(User.username == username)))

    def acts(self, user_id: str) -> list[str]:
        wanted = select(AuditEntry.action).where(AuditEntry.target == user_id).order_by(AuditEntry.id)
        return self.house.db.read(lambda session: list(session.scalars(wanted)))

    def people(self) -> int:
        return self.house.db.read(lambda s: s.scalar(select(func.count()).select_from(User)) or 0)


@pytest.fixture
def company(house: House, tmp_path: Path) -> Company:
    return Company(house, tmp_path)


@pytest.fixture
def any_company(any_house: House, tmp_path: Path) -> Company:
    return Company(any_house, tmp_path)


def test_the_first_sign_in_makes_the_account_and_the_next_finds_it(any_company: Company) -> None:
    first = any_company.sign_in()
    again = any_company.sign_in(email="ADA@Example.com")
    assert (first.user_id, first.username, first.name, first.role) == (
        again.user_id, "ada@example.com", "Ada", "member",
    )  # fmt: skip
    assert first.session_id != again.session_id
    assert any_company.people() == 1
    assert any_company.acts(first.user_id) == ["user.provision", "sign_in.company", "sign_in.company"]


def test_without_a_provider_nobody_comes_in_by_one(house: House) -> None:
    with pytest.raises(Unauthorized, match="not set up"):
        asyncio.run(house.accounts.enter_by_company({}, "", ""))


def test_an_answer_of_the_provider_signs_in_once(any_company: Company) -> None:
    said = any_company.say()
    any_company.enter(said)
    with pytest.raises(SignInRefused) as caught:
        any_company.enter(said)
    assert caught.value.reason == "stale"


def test_used_answers_are_forgotten_when_they_are_too_old_anyway(company: Company) -> None:
    company.sign_in()
    past = update(OneTimeCode).where(OneTimeCode.kind == "company").values(expires_at=utcnow().replace(year=2020))
    company.house.db.write(lambda session: session.execute(past))
    company.sign_in()
    kept = select(func.count()).select_from(OneTimeCode).where(OneTimeCode.kind == "company")
    assert company.house.db.read(lambda session: session.scalar(kept)) == 1


def test_two_first_sign_ins_at_once_make_one_account(any_company: Company) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: any_company.sign_in().user_id, range(4)))
    assert len(set(found)) == 1
    assert any_company.people() == 1


def test_whoever_changes_their_address_stays_who_they_are(company: Company) -> None:
    before = company.sign_in()
    after = company.sign_in(email="lovelace@example.com")
    assert after.user_id == before.user_id
    assert after.username == "ada@example.com"


def test_an_address_given_to_somebody_else_does_not_give_the_account_away(company: Company) -> None:
    company.configure(link_by_email=True)
    company.sign_in()
    assert company.refusal(sub="another person") == "taken"


def test_the_same_subject_of_another_issuer_is_another_person(company: Company) -> None:
    company.sign_in()
    assert company.refusal(iss="https://id.evil.com") == "taken"


def test_another_domain_stays_out_and_leaves_nothing_behind(company: Company) -> None:
    assert company.refusal(email="ada@evil.com") == "domain"
    assert company.people() == 0


def test_a_domain_that_is_no_longer_allowed_shuts_out_who_was_in(company: Company) -> None:
    company.sign_in()
    company.configure(allowed_domains=["example.org"])
    assert company.refusal() == "domain"


def test_without_provisioning_only_known_people_come_in(company: Company) -> None:
    known = company.sign_in()
    company.configure(provision=False)
    assert company.sign_in().user_id == known.user_id
    assert company.refusal("bob") == "unknown"
    assert company.people() == 1


def test_disabled_people_stay_out(any_company: Company) -> None:
    admin = any_company.house.person("root", "operator")
    ada = any_company.sign_in()
    any_company.house.accounts.set_disabled(admin, ada.user_id, True)
    assert any_company.refusal() == "disabled"
    any_company.house.accounts.set_disabled(admin, ada.user_id, False)
    assert any_company.sign_in().user_id == ada.user_id


def test_an_address_that_cannot_be_a_username_is_refused(company: Company) -> None:
    assert company.refusal(email="o'hara@example.com") == "username"
    assert company.refusal(email=f"{'a' * 60}@example.com") == "username"


# ---- accounts that were there before


def test_an_account_of_that_name_is_not_taken_over(company: Company) -> None:
    company.house.person("ada@example.com", "operator")
    assert company.refusal() == "taken"


def test_where_it_is_allowed_the_account_with_that_address_is_linked(any_company: Company) -> None:
    any_company.configure(link_by_email=True)
    before = any_company.house.person("ada@example.com", "admin")
    who = any_company.sign_in()
    assert (who.user_id, who.role) == (before.user_id, "admin")
    assert any_company.acts(who.user_id)[-2:] == ["user.link", "sign_in.company"]


def test_who_made_an_account_that_is_linked_has_no_way_into_it_any_more(any_company: Company) -> None:
    """An account with somebody's address may have been made by another, for whom it waited."""
    any_company.configure(link_by_email=True, **BY_GROUPS)
    accounts, admin = any_company.house.accounts, any_company.house.person("root", "operator")
    maker = any_company.house.person("ada@example.com", "admin")
    token = accounts.new_session_token("ada@example.com")
    session_id = asyncio.run(accounts.session_for_token(token))
    assert session_id is not None
    stale = accounts.principal(session_id)
    assert stale is not None
    key = accounts.create_key(maker, "kept")[1]
    link, ticket = accounts.reset_link(admin, maker.user_id), accounts.ticket("ada@example.com")
    provider_key(any_company.house, maker)

    who = any_company.sign_in(groups=["ops"])
    assert (who.user_id, who.role) == (maker.user_id, "operator")
    assert not matches(PASSWORD, accounts.credentials("ada@example.com")[1])
    assert not accounts.has_password(who)
    assert accounts.principal(session_id) is None
    assert [one for one in accounts.keys(who) if one.revoked_at is None] == []
    for attempt in (
        lambda: accounts.principal_for_key(key),
        lambda: accounts.reset_password(link.code, "another password"),
        lambda: asyncio.run(accounts.exchange_ticket(ticket, "", "")),
        lambda: accounts.ticket("ada@example.com"),
        lambda: accounts.create_key(stale, "another"),
        lambda: accounts.change_password(stale, PASSWORD, "another password"),
    ):
        with pytest.raises(Unauthorized):
            attempt()
    assert any_company.house.db.read(lambda s: s.scalar(select(func.count()).select_from(ProviderKey))) == 0
    noted = select(AuditEntry.details).where(AuditEntry.action == "user.link")
    assert any_company.house.db.read(lambda session: session.scalar(noted)) == {
        "password": True, "sessions": 1, "api_keys": 1, "provider_keys": 1,
    }  # fmt: skip
    assert any_company.sign_in(groups=["ops"]).user_id == who.user_id
    assert accounts.principal(who.session_id or "") is not None, "only the first sign-in shuts others out"


def test_a_password_is_not_changed_by_who_knew_the_one_before(any_company: Company) -> None:
    """The old one is checked before the transaction, and may be gone when that begins."""
    accounts, db = any_company.house.accounts, any_company.house.db
    bob = any_company.house.person("bob")
    gone = update(User).where(User.id == bob.user_id).values(password_hash=None)
    stored = accounts.credentials("bob")[1]
    db.write(lambda session: session.execute(gone) and None)
    assert not db.read(lambda session: own.still_has_password(session, bob, stored))


def provider_key(house: House, who: Principal) -> None:
    values = {"id": "pkey_1", "tenant_id": who.tenant_id, "owner_id": who.user_id, "provider": "openai"}
    house.db.write(lambda session: session.add(ProviderKey(**values, secret="sealed", last4="1234")))


def test_someone_invited_is_linked_and_their_invite_ends(company: Company) -> None:
    company.configure(link_by_email=True, provision=False)
    admin = company.house.person("root", "operator")
    link = company.house.accounts.invite(admin, "ada@example.com", "Ada", "admin")
    assert company.sign_in().role == "admin"
    with pytest.raises(Unauthorized):
        company.house.accounts.open_code("invite", link.code)


def test_an_account_of_another_tenant_is_never_linked(company: Company) -> None:
    company.configure(link_by_email=True)
    company.house.console.add_tenant("Other")
    company.house.person("ada@example.com", "admin", "Other")
    assert company.refusal() == "taken"


def test_a_disabled_account_is_not_linked(company: Company) -> None:
    company.configure(link_by_email=True)
    admin, ada = company.house.person("root", "operator"), company.house.person("ada@example.com")
    company.house.accounts.set_disabled(admin, ada.user_id, True)
    assert company.refusal() == "disabled"
    user = company.user("ada@example.com")
    assert user is not None
    assert user.identity is None


# ---- role, team, tenant


def test_role_and_team_come_from_the_claims_at_each_sign_in(any_company: Company) -> None:
    any_company.configure(**BY_GROUPS)
    any_company.house.person("root", "operator")
    first = any_company.sign_in(groups=["admins"], team="Search")
    assert first.role == "admin"
    second = any_company.sign_in(groups=["ops"], team=["Ads"])
    assert (second.user_id, second.role) == (first.user_id, "operator")
    user = any_company.user("ada@example.com")
    assert user is not None
    assert user.team == "Ads"
    assert any_company.sign_in(groups=None).role == "member"
    acts = any_company.acts(first.user_id)
    assert [act for act in acts if act != "sign_in.company"] == [
        "user.provision", "user.team", "user.role", "user.role",
    ]  # fmt: skip


def test_a_role_stays_where_there_are_too_many_groups_to_send(company: Company) -> None:
    company.configure(**BY_GROUPS)
    company.house.person("root", "operator")
    assert company.sign_in(groups=["admins"]).role == "admin"
    assert company.sign_in(_claim_names={"groups": "src1"}).role == "admin"
    assert company.sign_in().role == "member"
    assert company.sign_in("new", _claim_names={"groups": "src1"}).role == "member"


def test_the_audit_log_says_that_it_was_the_companys_sign_in(company: Company) -> None:
    company.configure(**BY_GROUPS, link_by_email=True)
    company.house.person("root", "operator")
    company.house.person("ada@example.com")
    who = company.sign_in(groups=["admins"], team="Search")
    wanted = select(AuditEntry.action, AuditEntry.details).where(AuditEntry.user_id == who.user_id)
    rows = company.house.db.read(lambda session: list(session.execute(wanted.order_by(AuditEntry.id))))
    assert [sentence("Ada", row.action, "Ada", row.details, own=True) for row in rows] == [
        "Ada was linked to their account at the company",
        "The company's sign-in put Ada into the team Search",
        "The company's sign-in made Ada an admin",
        "Ada signed in with the company's account",
        "Ada got a browser session",
    ]


def test_a_role_that_an_admin_gave_stays_where_no_claim_says_otherwise(company: Company) -> None:
    admin = company.house.person("root", "operator")
    ada = company.sign_in()
    company.house.accounts.set_role(admin, ada.user_id, "admin")
    company.house.accounts.set_team(admin, ada.user_id, "Search")
    assert company.sign_in().role == "admin"
    user = company.user("ada@example.com")
    assert user is not None
    assert user.team == "Search"


def test_the_last_operator_keeps_the_instance_whatever_the_claims_say(any_company: Company) -> None:
    any_company.configure(**BY_GROUPS)
    assert any_company.sign_in(groups=["ops"]).role == "operator"
    assert any_company.sign_in(groups=[]).role == "operator"
    any_company.sign_in("bob", groups=["ops"])
    assert any_company.sign_in(groups=[]).role == "member"


def test_the_last_admin_of_a_tenant_keeps_it(company: Company) -> None:
    company.house.console.add_tenant("Research")
    company.house.person("root", "operator")
    company.configure(**BY_GROUPS, tenant="Research")
    assert company.sign_in(groups=["admins"]).role == "admin"
    assert company.sign_in(groups=[]).role == "admin"


def test_people_come_into_the_tenant_that_is_named(company: Company) -> None:
    company.house.console.add_tenant("Research")
    company.configure(tenant="Research")
    who = company.sign_in()
    root = company.house.person("root", "operator")
    names = {one.id: one.name for one in company.house.accounts.tenants(root)}
    assert names[who.tenant_id] == "Research"


def test_only_an_operator_gives_or_takes_the_name_by_which_people_are_let_in(any_company: Company) -> None:
    any_company.house.console.add_tenant("Research")
    any_company.house.console.add_tenant("Elsewhere")
    root = any_company.house.person("root", "operator")
    admin = any_company.house.person("rita", "admin", "Research")
    stranger = any_company.house.person("eve", "admin", "Elsewhere")
    any_company.configure(tenant="Research")
    tenants = Tenants(any_company.house.db, company_tenant="Research")
    with pytest.raises(Forbidden, match=r"Research.*operator"):
        tenants.rename(admin, "Labs")
    tenants.rename(root, "Old research", admin.tenant_id)
    assert any_company.refusal() == "tenant"
    for who in (stranger, replace(stranger, role="operator")):  # what counts is the role that is stored
        with pytest.raises(Forbidden):
            tenants.rename(who, "Research")
    tenants.rename(stranger, "Anything else")
    tenants.rename(root, "Research", admin.tenant_id)
    tenants.rename(admin, "Research")
    assert any_company.sign_in().tenant_id == admin.tenant_id


def test_the_app_knows_which_name_that_is(company: Company) -> None:
    company.house.console.add_tenant("Research")
    admin = company.house.person("rita", "admin", "Research")
    company.configure(tenant="Research")
    core = open_core(replace(company.house.accounts._settings, database_url=company.house.db.url))
    try:
        with pytest.raises(Forbidden, match="Research"):
            core.tenants.rename(admin, "Labs")
    finally:
        core.close()


def test_a_claim_gives_no_power_in_another_tenant(company: Company) -> None:
    company.house.console.add_tenant("Other")
    company.house.person("root", "operator")
    company.configure(**BY_GROUPS, tenant="Other")
    before = company.sign_in()
    company.configure(**BY_GROUPS)
    after = company.sign_in(groups=["ops"], team="Search")
    assert (after.user_id, after.tenant_id, after.role) == (before.user_id, before.tenant_id, "member")


def test_a_tenant_that_is_not_there_lets_nobody_in(company: Company) -> None:
    company.configure(tenant="Nowhere")
    assert company.refusal() == "tenant"


# ---- beside passwords


def test_someone_of_the_company_is_active_and_has_no_password_to_try(company: Company) -> None:
    admin, ada = company.house.person("root", "operator"), company.sign_in()
    [person] = [one for one in company.house.accounts.people(admin) if one.id == ada.user_id]
    assert (person.status, person.has_password, person.has_company) == ("active", False, True)
    assert not company.house.accounts.has_password(ada)
    assert company.house.accounts.has_password(admin)
    name, stored = company.house.accounts.credentials("ada@example.com")
    assert name == ""
    assert not matches("", stored)
    with pytest.raises(Unauthorized):
        company.house.accounts.ticket("ada@example.com")


def test_nobody_makes_a_password_link_for_who_has_none(company: Company) -> None:
    admin, ada = company.house.person("root", "operator"), company.sign_in()
    with pytest.raises(Conflict, match="company's account"):
        company.house.accounts.reset_link(admin, ada.user_id)


def test_the_last_operator_may_be_one_of_the_company(company: Company) -> None:
    company.configure(**BY_GROUPS)
    ada, bob = company.sign_in(groups=["ops"]), company.sign_in("bob", groups=["ops"])
    company.house.accounts.set_disabled(ada, bob.user_id, True)
    company.house.accounts.set_disabled(ada, bob.user_id, False)
    with pytest.raises(Conflict):
        company.house.accounts.set_disabled(ada, ada.user_id, True)


def test_without_passwords_only_an_operators_still_lets_in(company: Company) -> None:
    company.house.person("root", "operator")
    company.house.person("bob", "admin")
    company.configure(passwords=False)
    accounts = company.house.accounts
    assert matches(PASSWORD, accounts.credentials("root")[1])
    assert accounts.ticket("root")
    assert not matches(PASSWORD, accounts.credentials("bob")[1])
    with pytest.raises(Unauthorized):
        accounts.ticket("bob")


# ---- an admin ends somebody's sessions


def test_an_admin_signs_a_person_out_everywhere(company: Company, signed_in: Callable[[str], Principal]) -> None:
    admin = company.house.person("boss", "admin")
    first, second = company.sign_in(), company.sign_in()
    assert company.house.accounts.sign_out_person(admin, first.user_id) == 2
    for session_id in (first.session_id, second.session_id):
        assert company.house.accounts.principal(session_id or "") is None
    assert company.acts(first.user_id)[-1] == "session.revoke_all"
    assert company.house.accounts.sign_out_person(admin, first.user_id) == 0


def test_signing_oneself_out_everywhere_leaves_this_browser(
    company: Company, signed_in: Callable[[str], Principal]
) -> None:
    company.house.person("boss", "admin")
    here, there = signed_in("boss"), signed_in("boss")
    assert company.house.accounts.sign_out_person(here, here.user_id) == 1
    assert company.house.accounts.principal(here.session_id or "") is not None
    assert company.house.accounts.principal(there.session_id or "") is None


def test_who_may_not_handle_a_person_does_not_sign_them_out(company: Company) -> None:
    admin, ada = company.house.person("boss", "admin"), company.house.person("ada")
    company.house.person("root", "operator")
    company.house.console.add_tenant("Other")
    stranger = company.house.person("eve", "admin", "Other")
    root = company.house.accounts.system_principal("root")
    with pytest.raises(Forbidden):
        company.house.accounts.sign_out_person(ada, admin.user_id)
    with pytest.raises(Forbidden):
        company.house.accounts.sign_out_person(admin, root.user_id)
    with pytest.raises(NotFound):
        company.house.accounts.sign_out_person(stranger, ada.user_id)
    with pytest.raises(Forbidden):
        company.house.accounts.sign_out_person(replace(ada, role="admin"), admin.user_id)


def test_erased_people_are_in_no_list_and_come_in_no_more(company: Company) -> None:
    admin, ada = company.house.person("root", "operator"), company.sign_in()
    gone = update(User).where(User.id == ada.user_id).values(erased_at=utcnow())
    company.house.db.write(lambda session: session.execute(gone))
    assert [one.username for one in company.house.accounts.people(admin)] == ["root"]
    assert company.refusal() == "disabled"
    with pytest.raises(NotFound):
        company.house.accounts.set_role(admin, ada.user_id, "admin")
