"""One's own account, driven without a browser."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from chatcore import bootstrap
from chatcore.accounts import Accounts, Console, passwords
from chatcore.accounts.preferences import Preferences
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.errors import Unauthorized
from chatcore.flags import FlagStore, LimitRule
from chatcore.gateway import Catalog
from chatcore.gateway.keyring import Keyring
from chatcore.shared import Shared
from chatcore.usage.budgets import Budgets
from chatcore.usage.limits import Limits, LimitState
from pages.ui import allowance, session

PAGE = Path(__file__).parents[2] / "pages" / "account.py"
PASSWORD = "correct horse"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


@pytest.fixture
def house(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(passwords, "_ROUNDS", 4)
    accounts, console = Accounts(database, settings), Console(database)
    accounts.ensure_ready()
    for username in ("ada", "bob"):
        console.add_user(username, PASSWORD, name=username.title(), role=None, tenant=None, tier="free")
    house = SimpleNamespace(settings=settings, db=database, accounts=accounts, console=console, gone_to=[])
    house.preferences = Preferences(database)
    house.keyring, house.gateway = Keyring(database, settings), SimpleNamespace(catalog=Catalog(settings))
    house.flags = FlagStore(database, settings)
    house.budgets, house.limits = Budgets(database), Limits(database, house.flags, Shared(None))
    house.look_from = lambda found: monkeypatch.setattr(session, "session_id", lambda: found)
    monkeypatch.setattr(session, "go_to", house.gone_to.append)
    bootstrap.use(house)  # type: ignore[arg-type]
    yield house
    bootstrap.use(None)


def enter(house: Any, username: str, user_agent: str = FIREFOX) -> str:
    ticket = house.accounts.ticket(username, "10.0.0.1")
    token, _ = asyncio.run(house.accounts.exchange_ticket(ticket, user_agent, "10.0.0.1"))
    found = asyncio.run(house.accounts.session_for_token(token))
    assert found
    return str(found)


def page(house: Any, session_id: str) -> AppTest:
    house.look_from(session_id)
    at = AppTest.from_file(str(PAGE), default_timeout=10).run()
    assert not at.exception
    return at


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click().run()
    assert not at.exception
    return at


def test_it_shows_who_one_is_and_where_one_is_signed_in(house: Any) -> None:
    here = enter(house, "ada")
    enter(house, "bob")
    at = page(house, here)
    assert at.title[0].value == "Account"
    assert at.text_input[0].value == "Ada"
    assert [one.value for one in at.text] == ["Firefox on Linux"]
    assert not [button for button in at.button if button.label == "Sign out"], "none for the present browser"


def test_a_new_name_is_saved_and_a_bad_one_refused(house: Any) -> None:
    here = enter(house, "ada")
    at = page(house, here)
    at.text_input[0].set_value("Ada <b>Lovelace</b>")
    press(at, "Save name")
    assert at.success[0].value == "Your name is saved."
    assert house.accounts.principal(here).name == "Ada <b>Lovelace</b>"
    at.text_input[0].set_value("a\u202eb")
    press(at, "Save name")
    assert at.error[0].value == "A name has no control characters or line breaks."


def change(at: AppTest, old: str, new: str, again: str) -> AppTest:
    labels = ("Current password", "New password", "New password again")
    for label, value in zip(labels, (old, new, again), strict=True):
        next(field for field in at.text_input if field.label == label).set_value(value)
    return press(at, "Change password")


def test_changing_the_password_signs_the_others_out(house: Any) -> None:
    here, there = enter(house, "ada"), enter(house, "ada")
    at = change(page(house, here), PASSWORD, "another password", "another password")
    assert at.success[0].value == "Your password is changed. Other browsers are signed out."
    assert house.accounts.principal(here) is not None
    assert house.accounts.principal(there) is None


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("wrong horse", "another password", "another password"), "The current password is not right."),
        ((PASSWORD, "another password", "anothr password"), "The two new passwords differ."),
        ((PASSWORD, "short", "short"), "A password has at least 8 characters, not counting spaces around it."),
    ],
)
def test_a_password_that_cannot_be_changed_says_why(house: Any, typed: tuple[str, str, str], words: str) -> None:
    here, there = enter(house, "ada"), enter(house, "ada")
    assert [one.value for one in change(page(house, here), *typed).error] == [words]
    assert house.accounts.principal(there) is not None


def test_one_browser_is_signed_out(house: Any) -> None:
    here, there = enter(house, "ada"), enter(house, "ada", "curl/8")
    at = page(house, here)
    assert [one.value for one in at.text] == ["Firefox on Linux", "Another program"]
    press(at, "Sign out")
    assert [one.value for one in at.text] == ["Firefox on Linux"]
    assert house.accounts.principal(there) is None


def test_sign_out_everywhere_means_here_too(house: Any) -> None:
    here, there, bob = enter(house, "ada"), enter(house, "ada"), enter(house, "bob")
    press(page(house, here), "Sign out everywhere")
    assert house.gone_to == ["/session/leave"]
    assert [house.accounts.principal(one) is None for one in (here, there, bob)] == [True, True, False]


def test_custom_instructions_are_saved_and_stand_there_again(house: Any) -> None:
    here = enter(house, "ada")
    at = page(house, here)
    at.text_area[0].set_value("Answer in one\nsentence.\x00")
    press(at, "Save instructions")
    assert at.success[0].value == "Your instructions are saved."
    assert page(house, here).text_area[0].value == "Answer in one\nsentence."
    assert page(house, enter(house, "bob")).text_area[0].value == "", "nobody else's"


def test_titles_can_be_switched_off_where_a_model_makes_them(house: Any) -> None:
    here = enter(house, "ada")
    assert not page(house, here).toggle, "nothing to switch without a model"
    own = house.settings.own.model_copy(update={"title_model": "cheap"})
    house.settings = SimpleNamespace(own=own)
    at = page(house, here)
    assert at.toggle[0].value is True
    at.toggle[0].set_value(False).run()
    assert at.success[0].value == "Your new chats keep their first words as title."
    assert house.preferences.get(house.accounts.principal(here)).better_titles is False
    assert page(house, here).toggle[0].value is False


def test_what_is_left_of_budgets_and_limits_is_shown(house: Any) -> None:
    found = enter(house, "ada")
    ada = house.accounts.principal(found)
    assert "What is left" in [one.value for one in page(house, found).subheader]  # of the tier's requests
    house.flags.set(ada, limits=[])
    assert "What is left" not in [one.value for one in page(house, found).subheader]
    house.budgets.set(house.accounts.principal(found), "tenant", "", "month", 2_000_000_000)
    at = page(house, found)
    assert "What is left" in [one.value for one in at.subheader]
    assert any("$0 of" in one.proto.text for one in at.get("progress")), [one.proto.text for one in at.get("progress")]


def test_a_member_reads_no_amount_of_a_budget_that_all_share(house: Any) -> None:
    admin = house.accounts.principal(enter(house, "ada"))
    house.flags.set(admin, limits=[])
    house.budgets.set(admin, "tenant", "", "month", 2_000_000_000)
    shown = [one.proto.text for one in page(house, enter(house, "bob")).get("progress")]
    assert shown == ["The whole organisation’s budget: less than half spent this month"]


def test_a_member_reads_no_number_of_a_limit_that_all_share() -> None:
    def state(scope: Any, used: int) -> LimitState:
        return LimitState(LimitRule(scope, "t", "requests", "day", 100), used, 100 - used, 0)

    told = [allowance._of_limit(state("tenant", used), exact=False) for used in (12, 49, 50, 80, 100)]
    assert [one.removeprefix("The whole organisation’s requests in a day: ") for one in told] == [
        "less than half used", "less than half used", "over half used", "nearly used", "used up",
    ]  # fmt: skip
    assert allowance._of_limit(state("tier", 12), exact=True) == "Your requests in a day: 12 of 100 used"
    assert allowance._of_limit(state("tenant", 12), exact=True).endswith("12 of 100 used")


def codes(at: AppTest) -> list[str]:
    return [one.value for one in at.code]


def test_a_new_api_key_is_shown_once_and_works(house: Any) -> None:
    found = enter(house, "bob")
    at = page(house, found)
    at.text_input(key="api_key_name").set_value("nightly report")
    at.button_group(key="api_key_scopes").set_value(["read"])
    at.button(key="api_key_make").click().run()
    key = codes(at)[0]
    who, scopes = house.accounts.caller_for_key(key)
    assert (who.username, scopes) == ("bob", {"read"})
    assert any("nightly report" in one.value for one in at.text)
    assert any("read · made" in one.value and key not in one.value for one in at.caption)
    at.run()
    assert not at.exception
    assert codes(at) == []


def test_an_api_key_is_revoked_when_asked_twice(house: Any) -> None:
    found = enter(house, "bob")
    info, key = house.accounts.create_key(house.accounts.principal(found), "old")
    at = page(house, found)
    at.button(key=f"api-key-revoke-yes-{info.id}").click().run()
    assert not at.exception
    assert [one.value for one in at.success] == ["The key “old” is revoked."]
    with pytest.raises(Unauthorized):
        house.accounts.caller_for_key(key)
    assert not any(one.value == "old" for one in at.text)


def test_a_key_for_nothing_or_without_a_name_is_not_made(house: Any) -> None:
    at = page(house, enter(house, "bob"))
    at.button_group(key="api_key_scopes").set_value([])
    at.text_input(key="api_key_name").set_value("x")
    at.button(key="api_key_make").click().run()
    assert "what the key may be used for" in at.error[0].value
    at.text_input(key="api_key_name").set_value("")
    at.button(key="api_key_make").click().run()
    assert at.error
    assert codes(at) == []


def test_only_an_admin_is_offered_a_key_that_acts_as_one(house: Any) -> None:
    offered = [page(house, enter(house, name)).button_group(key="api_key_scopes").options for name in ("ada", "bob")]
    assert [len(one) for one in offered] == [4, 3]
