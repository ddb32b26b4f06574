"""The sign-in form and the forms behind one-time links, driven without a browser."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from chatcore import bootstrap
from chatcore.accounts import Accounts, Console, passwords
from chatcore.config import Settings
from chatcore.db import Database
from pages.ui import session
from tests.pages.test_people_parts import with_company

PAGE = Path(__file__).parents[2] / "pages" / "login.py"
PASSWORD = "correct horse"
WRONG = "The username or the password is not right."


@pytest.fixture
def house(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(passwords, "_ROUNDS", 4)
    accounts = Accounts(database, settings)
    code = accounts.ensure_ready()
    house = SimpleNamespace(settings=settings, db=database, accounts=accounts, console=Console(database), code=code)
    bootstrap.use(house)  # type: ignore[arg-type]
    yield house
    bootstrap.use(None)


@pytest.fixture
def gone_to(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where the page sent the browser."""
    urls: list[str] = []
    monkeypatch.setattr(session, "go_to", urls.append)
    monkeypatch.setattr(session, "address", lambda: "10.0.0.1")
    return urls


def person(house: Any, username: str = "ada", role: str = "operator") -> Any:
    return house.console.add_user(username, PASSWORD, name="Ada", role=role, tenant=None, tier="free")


def page(**query: str) -> AppTest:
    at = AppTest.from_file(str(PAGE), default_timeout=20)
    at.context = {"url": "https://chat.example/usage"}
    for name, value in query.items():
        at.query_params[name] = value
    return at.run()


def fill(at: AppTest, *values: str) -> AppTest:
    assert len(at.text_input) == len(values), [one.label for one in at.text_input]
    for field, value in zip(at.text_input, values, strict=True):
        field.set_value(value)
    at = at.button[0].click().run()
    assert not at.exception
    return at


def test_signed_out_there_is_a_form_and_nothing_else(house: Any, gone_to: list[str]) -> None:
    at = page()
    assert not at.exception
    assert [one.label for one in at.text_input] == ["Username", "Password"]
    assert not at.error
    assert not gone_to


def test_the_right_password_gets_a_ticket_and_the_page_that_was_asked_for(house: Any, gone_to: list[str]) -> None:
    person(house)
    at = page(model="gpt", range="30d")
    fill(at, " ADA ", f" {PASSWORD} ")
    assert len(gone_to) == 1
    assert gone_to[0].startswith("/session/enter?ticket=")
    assert gone_to[0].endswith("&next=%2Fusage%3Fmodel%3Dgpt%26range%3D30d")
    assert PASSWORD not in str(at.session_state.to_dict())


def test_an_unknown_name_and_a_wrong_password_get_the_same_words(house: Any, gone_to: list[str]) -> None:
    person(house)
    heard = [fill(page(), *typed).error[0].value for typed in (("ada", "wrong horse"), ("nobody", "wrong horse"))]
    assert heard == [WRONG, WRONG]
    assert not gone_to


@pytest.mark.parametrize("typed", [("", "something"), ("ada", ""), ("ada", "x" * 80), ("<b>ada</b>", "\U0001f600")])
def test_nothing_typed_or_too_much_is_a_failure_like_any_other(
    house: Any, gone_to: list[str], typed: tuple[str, str]
) -> None:
    person(house)
    fill(page(), *typed)
    assert not gone_to


@pytest.mark.parametrize("username", ["ada", "nobody"])
def test_after_five_failures_the_right_password_waits_too(house: Any, gone_to: list[str], username: str) -> None:
    person(house)
    for _ in range(5):
        assert fill(page(), username, "wrong horse").error[0].value == WRONG
    at = fill(page(), username, PASSWORD)
    assert at.error[0].value.startswith("Too many attempts. Try again in ")
    assert not gone_to


def test_someone_disabled_hears_nothing_that_others_do_not(house: Any, gone_to: list[str]) -> None:
    person(house)
    person(house, "bob", "member")
    house.console.set_disabled("bob", True)
    assert fill(page(), "bob", PASSWORD).error[0].value == WRONG
    assert not gone_to


def test_the_setup_link_makes_the_first_account(house: Any, gone_to: list[str]) -> None:
    at = page(setup=house.code)
    fill(at, "ada", "Ada Lovelace", PASSWORD, PASSWORD)
    assert gone_to[0].startswith("/session/enter?ticket=")
    assert house.accounts.system_principal("ada").role == "operator"
    again = page(setup=house.code)
    assert again.error[0].value == "This link has been used or has expired. Ask for a new one."
    assert [one.label for one in again.text_input] == ["Username", "Password"], "and the sign-in form is there"


def test_everything_that_is_wrong_is_said_at_once(house: Any, gone_to: list[str]) -> None:
    at = fill(page(setup=house.code), "a b", "", "short", "shore")
    said = at.error[0].value.split("\n\n")
    assert [one.split(" has ")[0] for one in said] == [
        "A username", "A name", "A password", "The two passwords differ.",
    ]  # fmt: skip
    assert house.accounts.open_code("setup", house.code), "and nothing is used up"


@pytest.mark.parametrize("base", ["", "/base"])
def test_a_dead_link_opened_by_somebody_signed_in_leads_on_to_the_chat(
    house: Any, gone_to: list[str], monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    person(house)
    ada = house.accounts.system_principal("ada")
    monkeypatch.setattr(session, "current_principal", lambda: ada)
    monkeypatch.setattr(session, "base_path", lambda: base)
    at = AppTest.from_file(str(PAGE.with_name("router.py")), default_timeout=20)
    at.query_params["invite"] = "used"
    at.run()
    assert not at.exception
    assert at.error[0].value == "This link has been used or has expired. Ask for a new one."
    [button] = at.button
    button.click().run()
    assert not at.exception
    assert gone_to == [f"{base}/"]


def test_who_was_signed_out_elsewhere_is_told(house: Any, gone_to: list[str]) -> None:
    assert not page().info
    at = AppTest.from_file(str(PAGE), default_timeout=20)
    at.session_state["signed_out"] = True
    assert at.run().info[0].value == "You were signed out."


def test_two_passwords_that_differ_use_nothing_up(house: Any, gone_to: list[str]) -> None:
    at = fill(page(setup=house.code), "ada", "Ada", PASSWORD, "another one")
    assert at.error[0].value == "The two passwords differ."
    assert not gone_to
    assert house.accounts.open_code("setup", house.code)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("a b", "Ada", PASSWORD, PASSWORD), "A username has"),
        (("ada", "", PASSWORD, PASSWORD), "A name has"),
        (("ada", "Ada", "short", "short"), "A password has at least 8"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(
    house: Any, gone_to: list[str], values: tuple[str, ...], words: str
) -> None:
    at = fill(page(setup=house.code), *values)
    assert at.error[0].value.startswith(words)
    assert not gone_to


def test_an_invite_shows_whom_it_is_for_and_lets_them_in(house: Any, gone_to: list[str]) -> None:
    person(house)
    link = house.accounts.invite(house.accounts.system_principal("ada"), "bob", "Bob *bold* <script>")
    at = page(invite=link.code)
    assert any("**bob**" in one.value for one in at.markdown)
    assert at.text_input[0].value == "Bob *bold* <script>"
    fill(at, "Bob", PASSWORD, PASSWORD)
    assert gone_to
    assert house.accounts.system_principal("bob").name == "Bob"


def test_a_reset_link_sets_the_password(house: Any, gone_to: list[str]) -> None:
    person(house)
    bob = person(house, "bob", "member")
    link = house.accounts.reset_link(house.accounts.system_principal("ada"), bob.id)
    fill(page(reset=link.code), "another password", "another password")
    assert gone_to
    assert passwords.matches("another password", house.accounts.credentials("bob")[1])


# ---- beside a company's account


def labels(at: AppTest) -> list[str]:
    return [button.label for button in at.button]


def test_a_companys_button_stands_above_the_form(house: Any, gone_to: list[str]) -> None:
    with_company(house)
    at = page()
    assert labels(at)[0] == "Sign in with Example \\*ID\\*"
    assert [one.label for one in at.text_input] == ["Username", "Password"]
    assert not at.error


def test_without_passwords_there_is_the_button_alone(house: Any, gone_to: list[str]) -> None:
    with_company(house, passwords=False)
    assert not page().text_input
    assert len(page().button) == 1


def test_without_passwords_an_operator_still_comes_in_and_nobody_else(house: Any, gone_to: list[str]) -> None:
    with_company(house, passwords=False)
    person(house)
    person(house, "bob", "admin")
    for username in ("bob", "ada"):
        at = page(password="1")
        for field, value in zip(at.text_input, (username, PASSWORD), strict=True):
            field.set_value(value)
        at.button[-1].click().run()
        assert bool(gone_to) == (username == "ada")
    assert gone_to[0].endswith("&next=%2Fusage"), "and the way in does not stay in the address"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("cancelled", "You cancelled signing in with Example"),
        ("domain", "E-mail addresses of this domain may not"),
        ("<script>alert(1)</script>", "Signing in did not work. Try again."),
    ],
)
def test_why_a_companys_sign_in_failed_is_said(house: Any, gone_to: list[str], reason: str, words: str) -> None:
    with_company(house)
    at = page(sign_in=reason)
    assert at.error[0].value.startswith(words)
    assert "script" not in at.error[0].value


def test_without_a_provider_a_reason_in_the_address_says_nothing(house: Any, gone_to: list[str]) -> None:
    assert not page(sign_in="domain").error
