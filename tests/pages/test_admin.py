"""The page of people: for admins, of their own tenant. The router: what is drawn for whom."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from chatcore import bootstrap
from chatcore.accounts import Accounts, Console, passwords
from chatcore.config import Settings
from chatcore.conversations import Conversations
from chatcore.db import Database
from pages.ui import session

PAGES = Path(__file__).parents[2] / "pages"
PASSWORD = "correct horse"


@pytest.fixture
def house(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(passwords, "_ROUNDS", 4)
    accounts, console = Accounts(database, settings), Console(database)
    accounts.ensure_ready()
    console.add_tenant("Other")
    for username, role, tenant in (
        ("root", "operator", None), ("admin", "admin", None), ("bob", "member", None), ("stranger", "admin", "Other"),
    ):  # fmt: skip
        console.add_user(username, PASSWORD, name=username.title(), role=role, tenant=tenant, tier="free")
    house = SimpleNamespace(
        settings=settings, db=database, accounts=accounts, console=console, conversations=Conversations(database)
    )
    bootstrap.use(house)  # type: ignore[arg-type]
    yield house
    bootstrap.use(None)


def page(house: Any, monkeypatch: pytest.MonkeyPatch, username: str, file: str = "admin.py") -> AppTest:
    who = house.accounts.system_principal(username)
    monkeypatch.setattr(session, "current_principal", lambda: who)
    at = AppTest.from_file(str(PAGES / file), default_timeout=10)
    at.context = {"url": "https://chat.example/admin"}
    at.run()
    assert not at.exception
    return at


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click().run()
    assert not at.exception
    return at


def test_a_member_sees_a_sentence_and_nobody(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(house, monkeypatch, "bob")
    assert at.info[0].value.startswith("This page is for admins.")
    assert not at.dataframe
    assert not at.button


def test_an_admin_sees_their_own_tenant(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert page(house, monkeypatch, "admin").dataframe[0].value["Username"].tolist() == ["admin", "bob", "root"]
    assert page(house, monkeypatch, "stranger").dataframe[0].value["Username"].tolist() == ["stranger"]


def test_alone_there_is_nobody_to_change(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.label for one in page(house, monkeypatch, "stranger").selectbox] == ["Role"]


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
    house.settings = SimpleNamespace(public_url="https://public.example/chat")
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
    press(at, "Save role")
    assert at.success[0].value == "Bob is now admin\\."
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
        expected = ["", "history", "prompts", "shared", "usage", "account", "admin", *extra]
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
