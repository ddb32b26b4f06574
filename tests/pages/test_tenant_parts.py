"""The admin page: what holds for a tenant, the list of tenants, feedback, and erasing a person."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from streamlit.testing.v1 import AppTest

from chatcore.conversations import store
from chatcore.db.tables import AuditEntry, Conversation, Rating, Tenant, UsageMetric, User, utcnow
from chatcore.errors import Forbidden
from tests.pages.test_admin import page, press


def tenant(house: Any, name: str = "Default") -> Tenant:
    found: Tenant = house.db.read(lambda session: session.scalars(select(Tenant).where(Tenant.name == name)).one())
    return found


def words(at: AppTest) -> str:
    return "\n".join(str(one.value) for kind in (at.markdown, at.caption, at.info, at.error) for one in kind)


def chat(house: Any, username: str, days: float) -> str:
    """A conversation of a person's that is so many days old: its id."""
    who = house.accounts.system_principal(username)

    def work(session: Any) -> str:
        made = store.create(session, who, "old words", model="gpt", agent_id=None, settings={})
        aged = update(Conversation).where(Conversation.id == made.id)
        session.execute(aged.values(last_message_at=utcnow() - timedelta(days=days)))
        return made.id

    made: str = house.db.write(work)
    return made


def test_an_admin_renames_the_tenant(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(house, monkeypatch, "admin", url="Tenant")
    assert at.button(key="tenant-rename").disabled
    at.text_input(key="tenant-name").input("Research").run()
    at.button(key="tenant-rename").click().run()
    assert tenant(house, "Research")
    at.text_input(key="tenant-name").input("Other").run()
    at.button(key="tenant-rename").click().run()
    assert "There is a tenant called Other already" in words(at)


def test_an_admin_sets_the_time_zone(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(house, monkeypatch, "admin", url="Tenant")
    assert "counted anew" not in words(at)
    at.selectbox(key="tenant-zone").select("Asia/Kathmandu").run()
    at.button(key="tenant-zone-save").click().run()
    assert tenant(house).timezone == "Asia/Kathmandu"
    assert "Past days are being counted anew" in words(at)
    assert tenant(house, "Other").timezone == "UTC"


def test_a_time_that_messages_are_kept_says_first_what_would_go(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chat(house, "bob", 400)
    at = page(house, monkeypatch, "admin", url="Tenant")
    at.toggle(key="message_days-on").set_value(True).run()
    assert "**1 conversation** with all that is in it" in words(at)
    assert "It cannot be brought back." in words(at)
    assert tenant(house).message_days is None, "it was only asked"
    at.number_input(key="message_days").set_value(500).run()
    assert "Nothing is older than that now." in words(at)
    at.button(key="retention-save").click().run()
    assert (tenant(house).message_days, tenant(house).ledger_days) == (500, None)
    assert not [one for one in at.button if one.key == "retention-save"]
    at.toggle(key="message_days-on").set_value(False).run()
    at.button(key="retention-save").click().run()
    assert tenant(house).message_days is None


def test_calls_are_kept_for_two_months_at_least(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(house, monkeypatch, "admin", url="Tenant")
    at.toggle(key="ledger_days-on").set_value(True).run()
    assert at.number_input(key="ledger_days").min == 62
    at.button(key="retention-save").click().run()
    assert tenant(house).ledger_days == 400


def test_an_operator_sees_all_tenants_and_renames_one(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(house, monkeypatch, "root", url="Tenants")
    shown = at.dataframe[0].value
    assert shown["Tenant"].tolist() == ["Default", "Other"]
    assert shown["People"].tolist() == [3, 1]
    at.selectbox(key="tenants-which").select(tenant(house, "Other").id).run()
    at.text_input(key=f"tenants-name-{tenant(house, 'Other').id}").input("Blue").run()
    at.button(key="tenants-rename").click().run()
    assert at.dataframe[0].value["Tenant"].tolist() == ["Default", "Blue"]


def test_a_new_tenant_comes_with_a_link_for_its_first_admin(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(house, monkeypatch, "root", url="Tenants")
    for key, value in (("tenant-new-0", "Green"), ("tenant-new-user-0", "gina"), ("tenant-new-person-0", "Gina")):
        at.text_input(key=key).input(value)
    press(at, "Add tenant")
    assert "?invite=" in at.code[0].value
    row = house.db.read(lambda session: session.scalars(select(User).where(User.username == "gina")).one())
    assert (row.tenant_id, row.role) == (tenant(house, "Green").id, "admin")
    at.run()
    assert not at.code, "it is shown once"


def test_a_tenant_without_a_name_is_a_sentence_and_nothing_is_made(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(house, monkeypatch, "root", url="Tenants")
    at.text_input(key="tenant-new-0").input("Green")
    press(at, "Add tenant")
    assert at.error
    assert house.db.read(lambda session: session.scalar(select(func.count()).select_from(Tenant))) == 2


@pytest.mark.parametrize("username", ["bob", "admin"])
def test_what_is_for_others_is_refused_below_the_page_too(house: Any, username: str) -> None:
    who, other = house.accounts.system_principal(username), tenant(house, "Other").id
    for work in (
        lambda: house.tenants.listed(who),
        lambda: house.tenants.add(who, "X", "x", "X"),
        lambda: house.tenants.rename(who, "X", other),
    ):
        with pytest.raises(Forbidden):
            work()
    if not who.is_admin:
        for member_work in (
            lambda: house.tenants.settings(who),
            lambda: house.tenants.set_timezone(who, "UTC"),
            lambda: house.tenants.set_retention(who, 1, None),
            lambda: house.tenants.rename(who, "X"),
        ):
            with pytest.raises(Forbidden):
                member_work()


def test_what_an_admin_sets_stands_in_the_audit_log(house: Any) -> None:
    admin = house.accounts.system_principal("admin")
    house.tenants.set_timezone(admin, "Europe/Berlin")
    house.tenants.set_timezone(admin, "Europe/Berlin")
    house.tenants.set_retention(admin, 90, None)
    house.tenants.rename(admin, "Research")
    entries = select(AuditEntry.action).where(AuditEntry.user_id == admin.user_id).order_by(AuditEntry.id)
    actions = house.db.read(lambda session: session.scalars(entries).all())
    assert actions == ["tenant.timezone", "tenant.retention", "tenant.rename"], "what changes nothing is not noted"


def test_a_person_is_erased_once_their_username_was_typed(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chat(house, "bob", 1)
    bob = house.accounts.system_principal("bob").user_id
    call = {"tenant_id": tenant(house).id, "user_id": bob, "purpose": "chat", "provider": "o", "model": "gpt"}
    house.db.write(lambda session: session.add(UsageMetric(id="u", outcome="ok", trace_id="t", **call)))
    at = page(house, monkeypatch, "admin")
    at.selectbox(key="person").select(bob).run()
    assert at.button(key=f"erase-yes-{bob}").disabled
    at.text_input(key=f"erase-name-{bob}").input("bobby").run()
    assert at.button(key=f"erase-yes-{bob}").disabled
    at.text_input(key=f"erase-name-{bob}").input(" Bob ").run()
    at.button(key=f"erase-yes-{bob}").click().run()
    assert not at.exception
    assert at.dataframe[0].value["Username"].tolist() == ["admin", "root"]
    assert house.db.read(lambda session: session.scalar(select(func.count()).select_from(Conversation))) == 0
    assert house.db.read(lambda session: session.scalar(select(UsageMetric.user_id))) != bob


def rate(house: Any, model: str, stars: int, comment: str = "", agent: str | None = None) -> None:
    row = {"tenant_id": tenant(house).id, "user_id": house.accounts.system_principal("bob").user_id}
    key = f"{model}{stars}{comment}"
    rating = Rating(id=key, message_id=key, conversation_id="c", model=model, stars=stars, comment=comment,
                    agent_id=agent, **row)  # fmt: skip
    house.db.write(lambda session: session.add(rating))


def test_feedback_without_a_rating_says_what_to_do(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No reply has been rated yet" in words(page(house, monkeypatch, "admin", url="Feedback"))


def test_feedback_is_filtered_and_of_the_own_tenant(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rate(house, "gpt", 5, "splendid")
    rate(house, "claude", 1, "poor", agent="agent_gone")
    at = page(house, monkeypatch, "admin", url="Feedback")
    assert [one.value for one in at.metric] == ["3.0 ★", "2", "50%"]
    assert [one.value for one in at.text] == ["poor", "splendid"]
    at.multiselect(key="feedback-models").select("gpt").run()
    assert [one.value for one in at.text] == ["splendid"]
    at.multiselect(key="feedback-models").unselect("gpt").run()
    at.multiselect(key="feedback-agents").select("agent_gone").run()
    assert at.dataframe[0].value["model"].tolist() == ["claude"]
    assert "No reply has been rated yet" in words(page(house, monkeypatch, "stranger", url="Feedback"))


def test_more_comments_come_when_asked_for(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(25):
        rate(house, "gpt", 3, f"comment {number}")
    at = page(house, monkeypatch, "admin", url="Feedback")
    assert len(at.text) == 20
    press(at, "Show more")
    assert len(at.text) == 25
