"""The admin page: who sees which part of it, and its people. The router: what is drawn for whom."""

import contextlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from chatcore.errors import DatabaseError, Unauthorized
from pages.ui import session

PAGES = Path(__file__).parents[2] / "pages"
PARTS = ["People", "Limits & budgets", "Models", "Keys", "Tools", "Alerts", "Tenant", "Feedback", "Audit"]


def page(
    house: Any, monkeypatch: pytest.MonkeyPatch, username: str, *, url: str | None = None, state: str | None = None
) -> AppTest:
    """The admin page as this person sees it. `url`, `state`: the part that the address, or the tab's state, names."""
    who = house.accounts.system_principal(username)
    monkeypatch.setattr(session, "current_principal", lambda: who)
    at = AppTest.from_file(str(PAGES / "admin.py"), default_timeout=30)
    at.context = {"url": "https://chat.example/admin"}
    if url:
        at.query_params["tab"] = url
    if state:
        at.session_state["tab"] = state
    at.run()
    assert not at.exception
    return at


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click().run()
    assert not at.exception
    return at


def typed(at: AppTest, key: str, text: str) -> AppTest:
    """Type what is not on offer into a box that takes it: `AppTest` knows the offered ones only."""
    at.selectbox(key=key).options.append(text)
    at.selectbox(key=key).set_value(text).run()
    at.selectbox(key=key).options.append(text)
    return at


def labels(at: AppTest) -> list[str]:
    return [tab.label for tab in at.tabs]


def test_a_member_sees_a_sentence_and_nobody(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(house, monkeypatch, "bob")
    assert at.info[0].value.startswith("This page is for admins.")
    assert not at.dataframe
    assert not at.button
    assert not at.tabs


def test_an_admin_sees_their_own_tenant(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert page(house, monkeypatch, "admin").dataframe[0].value["Username"].tolist() == ["admin", "bob", "root"]
    assert page(house, monkeypatch, "stranger").dataframe[0].value["Username"].tolist() == ["stranger"]


@pytest.mark.parametrize("tab", ["Gateway", "Flags", "Tenants", "Nonsense"])
def test_an_admin_has_no_operators_part_also_not_by_address_or_state(
    house: Any, monkeypatch: pytest.MonkeyPatch, tab: str
) -> None:
    assert labels(page(house, monkeypatch, "admin")) == PARTS
    for given in ({"url": tab}, {"state": tab}):
        at = page(house, monkeypatch, "admin", **given)
        assert at.dataframe[0].value["Username"].tolist() == ["admin", "bob", "root"], "the first part is open"
        assert not at.toggle
        assert "Deployments" not in [one.value for one in at.subheader]


def test_an_operator_has_all_parts_and_only_the_open_one_is_drawn(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(house, monkeypatch, "root")
    assert labels(at) == [*PARTS, "Gateway", "Flags", "Tenants"]
    assert [one.value for one in at.subheader] == ["Manage a person", "Invite someone"]
    at = page(house, monkeypatch, "root", url="Keys")
    assert [one.value for one in at.subheader] == ["The organisation's provider keys", "API keys"]


def test_what_goes_wrong_in_a_part_is_one_sentence_in_it(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.budgets = SimpleNamespace(list=_fails)
    at = page(house, monkeypatch, "admin", url="Limits & budgets")
    assert [one.value for one in at.error] == ["The database does not answer."]
    assert len(at.tabs) == len(PARTS)


def _fails(*_: object) -> None:
    raise DatabaseError("The database does not answer.")


def test_an_admin_changes_their_own_place_but_not_their_role(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    me = house.console.find("admin")
    at = page(house, monkeypatch, "admin")
    at.selectbox(key="person").set_value(me.id).run()
    assert at.selectbox(key=f"role-{me.id}").disabled
    assert [button.label for button in at.button] == ["Save", "Make invite link"]
    typed(at, f"team-{me.id}", "Red")
    press(at, "Save")
    assert house.console.find("admin").team == "Red"


def test_tier_and_team_are_set_shown_and_taken_away(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = house.console.find("bob")
    at = page(house, monkeypatch, "admin")
    at.selectbox(key="person").set_value(bob.id).run()
    assert at.selectbox(key=f"tier-{bob.id}").options == ["free", "pro"]
    assert at.button(key="person-save").disabled
    at.selectbox(key=f"tier-{bob.id}").set_value("pro")
    typed(at, f"team-{bob.id}", " Blue *team* ")
    press(at, "Save")
    assert at.success[0].value == "Bob is changed\\."
    row = next(row for row in at.dataframe[0].value.to_dict("records") if row["Username"] == "bob")
    assert (row["Access"], row["Tier"], row["Team"]) == ("member", "pro", "Blue *team*")
    at.selectbox(key=f"team-{bob.id}").set_value("").run()
    press(at, "Save")
    found = house.console.find("bob")
    assert (found.tier, found.team) == ("pro", None)


def test_a_team_that_cannot_be_is_refused_with_a_sentence(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = house.console.find("bob")
    at = page(house, monkeypatch, "admin")
    at.selectbox(key="person").set_value(bob.id).run()
    typed(at, f"team-{bob.id}", "x" * 101)
    press(at, "Save")
    assert [one.value for one in at.error] == ["A team's name has 1 to 100 characters."]


def test_an_invite_link_is_shown_once_and_its_person_stands_in_the_table(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = page(house, monkeypatch, "admin")
    at.text_input[0].set_value("Eve")
    at.text_input[1].set_value("Eve *x* <script>")
    press(at, "Make invite link")
    link = at.code[0].value
    assert link.startswith("https://chat.example/?invite=")
    assert house.accounts.open_code("invite", link.partition("=")[2]).username == "eve"
    assert "\\*x\\* \\<script\\>" in at.success[0].value
    assert "eve" in at.dataframe[0].value["Username"].tolist()
    at.run()
    assert not at.code


def test_a_link_uses_the_public_address_where_one_is_set(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.settings = replace(house.settings, public_url="https://public.example/chat")
    monkeypatch.setattr(session, "base_path", lambda: "/chat")
    at = page(house, monkeypatch, "admin")
    at.selectbox(key="person").set_value(house.console.find("bob").id).run()
    press(at, "Reset password")
    assert at.code[0].value.startswith("https://public.example/chat/?reset=")


def test_an_admin_offers_no_operator_and_changes_none(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(house, monkeypatch, "admin")
    assert at.selectbox[-1].options == ["member", "admin"]
    at.selectbox(key="person").set_value(house.console.find("root").id).run()
    assert any(one.value == "Only an operator can change an operator." for one in at.caption)
    assert [button.label for button in at.button] == ["Make invite link"]


def test_role_and_status_are_changed(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = house.console.find("bob")
    at = page(house, monkeypatch, "root")
    at.selectbox(key="person").set_value(bob.id).run()
    at.selectbox(key=f"role-{bob.id}").set_value("admin").run()
    press(at, "Save")
    assert at.success[0].value == "Bob is changed\\."
    assert house.console.find("bob").role == "admin"
    press(at, "Yes, disable")
    assert house.console.find("bob").status == "disabled"
    press(at, "Enable")
    assert house.console.find("bob").status == "active"


def test_what_went_wrong_is_one_sentence(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(house, monkeypatch, "admin")
    at.text_input[0].set_value("bob")
    at.text_input[1].set_value("Bob")
    press(at, "Make invite link")
    assert [one.value for one in at.error] == ["The username bob is taken; choose another."]
    assert not at.code


def test_after_an_invite_the_form_is_empty_and_after_a_refusal_it_is_not(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = page(house, monkeypatch, "admin")
    for username, left in (("bob", ["bob", "Eve"]), ("eve", ["", ""])):
        at.text_input[0].set_value(username)
        at.text_input[1].set_value("Eve")
        press(at, "Make invite link")
        assert [field.value for field in at.text_input] == left


def test_nobody_is_chosen_until_somebody_is(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(house, monkeypatch, "root")
    assert at.selectbox(key="person").value is None
    assert [button.label for button in at.button] == ["Make invite link"]


def test_what_the_router_found_serves_its_own_run_alone(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    who = house.accounts.system_principal("admin")
    monkeypatch.setattr(session, "current_principal", lambda: None)
    with contextlib.suppress(RuntimeError), session.handed_on(who):
        assert session.require_principal() is who
        assert session.require_principal() is who, "also a second time in the same run"
        raise RuntimeError
    assert session._found.get() is None


def test_a_page_without_the_router_ends_when_nobody_is_signed_in(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "current_principal", lambda: None)
    at = AppTest.from_file(str(PAGES / "admin.py"), default_timeout=10).run()
    assert not at.exception
    assert at.info[0].value == "You are signed out. Reload the page to sign in."
    assert not at.title


@pytest.mark.parametrize(
    ("path", "extra"),
    [("/nowhere", ["nowhere"]), ("/usage", []), ("/", []), ("/a/b", []), ("/<b>", []), ("/" + "x" * 101, [])],
)
def test_a_path_that_is_no_page_has_one_that_says_so(
    house: Any, monkeypatch: pytest.MonkeyPatch, path: str, extra: list[str]
) -> None:
    who = house.accounts.system_principal("bob")
    navigation = st.navigation

    def last(pages: list[Any], position: Any) -> Any:
        navigation(pages, position=position)
        own = ["", "history", "agents", "knowledge", "workshops", "prompts", "shared", "usage", "account", "admin"]
        expected = [*own, *extra]
        assert [page.url_path for page in pages] == expected
        pages[-1]._can_be_called = True
        return pages[-1] if extra else SimpleNamespace(title="", url_path="usage", run=lambda: None)

    monkeypatch.setattr(session, "current_principal", lambda: who)
    monkeypatch.setattr(session, "path", lambda: path)
    monkeypatch.setattr(st, "navigation", last)
    at = AppTest.from_file(str(PAGES / "router.py"), default_timeout=10).run()
    assert not at.exception
    assert [one.value for one in at.info] == (["There is no such page."] if extra else [])


def test_signed_out_the_router_draws_the_sign_in_form_and_nothing_else(house: Any) -> None:
    at = AppTest.from_file(str(PAGES / "router.py"), default_timeout=10)
    at.run()
    assert not at.exception
    assert [one.label for one in at.text_input] == ["Username", "Password"]
    assert not at.sidebar.children
    assert not at.dataframe


def test_a_session_that_ended_elsewhere_is_noticed_and_forgotten(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "session_id", lambda: "bs_ended")
    at = AppTest.from_file(str(PAGES / "router.py"), default_timeout=10)
    at.session_state["draft"] = "of the person before"
    at.run()
    assert not at.exception
    assert [one.label for one in at.text_input] == ["Username", "Password"]
    assert "draft" not in at.session_state


def test_an_admin_makes_a_services_key_and_ends_a_persons(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    info, bobs = house.accounts.create_key(house.accounts.system_principal("bob"), "laptop")
    at = page(house, monkeypatch, "admin", url="Keys")
    at.text_input(key="api_key_name").set_value("Nightly report")
    at.button_group(key="api_key_scopes").set_value(["usage"])
    at.button(key="api_key_make").click().run()
    assert not at.exception
    who, scopes = house.accounts.caller_for_key(at.code[0].value)
    assert (who.name, who.role, scopes) == ("Nightly report", "member", {"usage"})
    assert [one.value for one in at.text if "report" in one.value or "laptop" in one.value] == [
        "Nightly report (service)", "Bob: laptop",
    ]  # fmt: skip
    at.button(key=f"api-key-revoke-yes-{info.id}").click().run()
    with pytest.raises(Unauthorized):
        house.accounts.caller_for_key(bobs)
    at = page(house, monkeypatch, "stranger", url="Keys")
    assert "Nobody has one yet." in [one.value for one in at.caption]
