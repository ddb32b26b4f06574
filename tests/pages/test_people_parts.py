"""People beside a company's sign-in: how they sign in, being found among many, and being signed out everywhere."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from chatcore.config_file import ChatcoreSection
from chatcore.config_oidc import Oidc
from chatcore.db.tables import User
from pages.ui import session

PAGES = Path(__file__).parents[2] / "pages"


def with_company(house: Any, **changes: Any) -> None:
    """From now on an identity provider stands behind the house."""
    values = {
        "name": "Example *ID*",
        "client_id": "chatcore",
        "client_secret": "planted",
        "server_metadata_url": "https://id.example.com/.well-known/openid-configuration",
        "allowed_domains": ["example.com"],
    }
    own: ChatcoreSection = house.settings.own.model_copy(update={"oidc": Oidc(**(values | changes))})
    file = house.settings.file.model_copy(update={"chatcore": own})
    house.settings = replace(house.settings, file=file, public_url="https://chat.example")
    house.accounts._settings = house.settings


def give_identity(house: Any, username: str, *, password: bool) -> None:
    values: dict[str, Any] = {"identity": f"https://id.example.com {username}"}
    if not password:
        values["password_hash"] = None
    house.db.write(lambda s: s.execute(update(User).where(User.username == username).values(**values)))


def page(house: Any, monkeypatch: pytest.MonkeyPatch, username: str = "root") -> AppTest:
    who = house.accounts.system_principal(username)
    monkeypatch.setattr(session, "current_principal", lambda: who)
    at = AppTest.from_file(str(PAGES / "admin.py"), default_timeout=30)
    at.context = {"url": "https://chat.example/admin"}
    at.run()
    assert not at.exception
    return at


def choose(at: AppTest, house: Any, username: str) -> AppTest:
    at.selectbox(key="person").set_value(house.console.find(username).id).run()
    assert not at.exception
    return at


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click().run()
    assert not at.exception
    return at


def labels(at: AppTest) -> list[str]:
    return [button.label for button in at.button]


def test_how_people_sign_in_is_shown_where_there_is_more_than_one_way(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Signs in with" not in page(house, monkeypatch).dataframe[0].value
    with_company(house)
    give_identity(house, "bob", password=False)
    give_identity(house, "admin", password=True)
    rows = page(house, monkeypatch).dataframe[0].value.set_index("Username")["Signs in with"].to_dict()
    assert rows == {"admin": "password, Example *ID*", "bob": "Example *ID*", "root": "password"}


def test_an_admin_signs_somebody_out_everywhere(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.accounts.new_session_token("bob")
    bob = house.accounts.system_principal("bob")
    at = choose(page(house, monkeypatch, "admin"), house, "bob")
    press(at, "Yes, sign out")
    assert at.success[0].value == "Bob is signed out everywhere\\."
    assert house.accounts.sessions(bob) == []


def test_nobody_offers_a_password_where_the_company_keeps_it(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with_company(house)
    give_identity(house, "bob", password=False)
    assert "Reset password" not in labels(choose(page(house, monkeypatch), house, "bob"))
    assert "Reset password" in labels(choose(page(house, monkeypatch), house, "admin"))


def test_without_passwords_nobody_but_an_operator_is_offered_one(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with_company(house, passwords=False)
    assert "Reset password" not in labels(choose(page(house, monkeypatch), house, "admin"))
    assert "Make invite link" not in labels(page(house, monkeypatch))
    captions = [one.value for one in page(house, monkeypatch).caption]
    assert "People join by signing in with Example \\*ID\\*." in captions


def test_without_passwords_people_are_added_by_their_address(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with_company(house, passwords=False, link_by_email=True)
    at = page(house, monkeypatch)
    at.text_input[0].set_value("eve@example.com")
    at.text_input[1].set_value("Eve")
    press(at, "Add")
    assert at.success[0].value.startswith("Eve can sign in with Example")
    assert not at.code
    assert house.console.find("eve@example.com") is not None


def test_among_many_people_one_is_found_by_any_word_of_their_line(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Find people" not in [one.label for one in page(house, monkeypatch).text_input]
    root = house.accounts.system_principal("root")
    for number in range(10):
        house.accounts.invite(root, f"guest{number}", f"Guest {number}")
    bob = house.console.find("bob")
    house.accounts.set_team(root, bob.id, "Search & Ads")
    at = page(house, monkeypatch)
    assert len(at.dataframe[0].value) == 13
    for words, names in (
        ("BOB", ["bob"]), ("search member", ["bob"]), ("invited 7", ["guest7"]), ("nobody", []), ("  ", None),
    ):  # fmt: skip
        at.text_input(key="people-search").set_value(words).run()
        assert not at.exception
        shown = at.dataframe[0].value
        assert names is None or (shown["Username"].tolist() if len(shown) else []) == names
    at.text_input(key="people-search").set_value("bob").run()
    assert at.selectbox(key="person").options == ["Bob (bob)"]
