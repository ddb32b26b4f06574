"""Models on the admin page: what each costs the tenant, and for operators who may use it."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from chatcore.accounts import Principal
from chatcore.config_file import Access
from chatcore.errors import InvalidInput, ModelUnavailable
from chatcore.gateway import Prices, Task
from chatcore.gateway.prices import Tokens, cost_nano_usd
from pages.ui import model_parts
from tests.pages.test_admin import page, press

LISTED = {"input_cost_per_token": "0.00000015", "output_cost_per_token": "0.0000006"}


@pytest.fixture
def root(house: Any) -> Principal:
    who: Principal = house.accounts.system_principal("root")
    return who


@pytest.fixture
def admin(house: Any) -> Principal:
    who: Principal = house.accounts.system_principal("admin")
    return who


def models(house: Any, monkeypatch: pytest.MonkeyPatch, username: str = "admin", chosen: str | None = None) -> AppTest:
    at = page(house, monkeypatch, username, url="Models")
    if chosen:
        at.selectbox(key="model_chosen").set_value(chosen).run()
        assert not at.exception
    return at


def table(at: AppTest) -> list[list[Any]]:
    found: list[list[Any]] = at.dataframe[0].value.astype(object).fillna("").values.tolist()
    return found


def field(at: AppTest, label: str) -> Any:
    return next(one for one in at.text_input if one.label == label)


def box(at: AppTest, label: str) -> Any:
    return next(one for one in at.multiselect if one.label == label)


def said(at: AppTest) -> list[str]:
    return [one.value.replace("\\", "") for one in [*at.toast, *at.error]]


def save(at: AppTest, **prices: str) -> AppTest:
    for label, price in prices.items():
        field(at, label.replace("_", " ")).set_value(price)
    return press(at, "Save price")


def price_of(house: Any, who: Principal, model: str) -> Prices:
    caller = house.db.read(lambda session: house.gateway.caller(session, who))
    found: Prices = house.gateway.planner.route(caller, model).lines[0].steps[0].model.prices
    return found


# ---- the table


def test_every_model_has_its_price_and_where_it_is_from_and_the_unpriced_are_marked(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = models(house, monkeypatch)
    assert table(at) == [
        ["GPT *X*", "config file", "1", "2"], ["Claude X", "config file", "1", "2"], ["Mist", "none", "", ""],
    ]  # fmt: skip
    assert at.dataframe[0].value.columns.tolist() == ["Model", "Price from", "Input", "Output"]
    assert [one.value for one in at.markdown if "no price" in one.value] == [
        ":orange-badge[:material/warning: no price] Mist"
    ]
    assert not at.text_input, "nothing is to be changed until a model is chosen"


def test_with_every_model_priced_nothing_is_marked(
    house: Any, monkeypatch: pytest.MonkeyPatch, admin: Principal
) -> None:
    house.flags.set_prices(admin, "mist", LISTED)
    at = models(house, monkeypatch)
    assert table(at)[2] == ["Mist", "your organisation", "0.15", "0.6"]
    assert not [one for one in at.markdown if "no price" in one.value]


def test_another_tenants_prices_are_not_there(house: Any, monkeypatch: pytest.MonkeyPatch, admin: Principal) -> None:
    house.flags.set_prices(admin, "mist", LISTED)
    house.flags.set_prices(admin, "gone", LISTED)
    assert table(models(house, monkeypatch, "stranger"))[2:] == [["Mist", "none", "", ""]]


def test_a_model_of_other_tenants_is_not_shown_to_an_admin(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    house.flags.set_access(root, "gpt", Access(tenants=["Other"]))
    house.flags.set_access(root, "claude", Access(tenants=[root.tenant_id], tiers=["pro"]))
    assert [row[0] for row in table(models(house, monkeypatch))] == ["Claude X", "Mist"]
    assert [row[0] for row in table(models(house, monkeypatch, "stranger"))] == ["GPT *X*", "Mist"]
    assert [[row[0], row[4]] for row in table(models(house, monkeypatch, "root"))] == [
        ["GPT *X*", "Other"], ["Claude X", "pro · Default"], ["Mist", "everybody"],
    ]  # fmt: skip


# ---- prices


def test_a_price_is_changed_marked_used_and_taken_back(
    house: Any, monkeypatch: pytest.MonkeyPatch, admin: Principal
) -> None:
    at = models(house, monkeypatch, chosen="gpt")
    assert [(one.label, one.value) for one in at.text_input] == [
        ("Input", "1"), ("Output", "2"), ("Cached input", ""), ("Cache write", ""), ("Reasoning", ""),
    ]  # fmt: skip
    assert "Take back" not in [one.label for one in at.button]
    save(at, Input=" 0.15 ", Output="0.60", Cached_input="0.075")
    assert said(at) == ["The price of GPT *X* is saved."]
    assert house.flags.now.prices == {
        admin.tenant_id: {
            "gpt": {
                "input_cost_per_token": "0.00000015",
                "output_cost_per_token": "0.00000060",
                "cache_read_input_token_cost": "0.000000075",
            }
        }
    }
    used = price_of(house, admin, "gpt")
    assert used.source == "tenant"
    assert cost_nano_usd(Tokens(prompt=1000, cached=400, completion=10), used) == 90_000 + 30_000 + 6_000
    assert table(at)[0] == ["GPT *X*", "your organisation", "0.15", "0.6"]
    assert [one.value for one in at.text_input][:3] == ["0.15", "0.6", "0.075"]
    press(at, "Take back")
    assert said(at) == ["The price of GPT *X* is as configured."]
    assert house.flags.now.prices == {}
    assert table(at)[0] == ["GPT *X*", "config file", "1", "2"]
    assert [one.value for one in at.text_input][:3] == ["1", "2", ""]
    assert price_of(house, admin, "gpt").source == "config"


def test_the_price_of_a_model_that_had_none_is_set(
    house: Any, monkeypatch: pytest.MonkeyPatch, admin: Principal
) -> None:
    at = models(house, monkeypatch, chosen="mist")
    assert [one.value for one in at.text_input] == [""] * 5
    save(at, Input="0", Output="0")
    assert table(at)[2] == ["Mist", "your organisation", "0", "0"]
    assert cost_nano_usd(Tokens(prompt=5, completion=5), price_of(house, admin, "mist")) == 0


@pytest.mark.parametrize("wrong", ["0,15", "-1", "1e3", "NaN", "$1", "1 000", "1.", "1234567890", "٣"])
def test_what_is_no_price_is_refused_and_stays_as_it_was_typed(
    house: Any, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    at = save(models(house, monkeypatch, chosen="gpt"), Input=wrong)
    assert said(at) == ["Type a price as a number of US$ for a million tokens, such as 0.15."]
    assert house.flags.now.prices == {}
    assert field(at, "Input").value == wrong


def test_half_a_price_is_asked_for_whole(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = save(models(house, monkeypatch, chosen="gpt"), Output=" ")
    assert said(at) == ["Type a price for the input and one for the output; 0 is free."]
    assert house.flags.now.prices == {}


def test_two_admins_do_not_undo_each_other(house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal) -> None:
    one = models(house, monkeypatch, "admin", "gpt")
    house.flags.set_prices(root, "claude", LISTED)
    save(one, Input="3")
    assert set(house.flags.now.prices[root.tenant_id]) == {"gpt", "claude"}


def test_what_another_admin_set_is_what_the_fields_show(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    at = models(house, monkeypatch, "admin", "gpt")
    house.flags.set_prices(root, "gpt", LISTED)
    at.run()
    assert [field(at, "Input").value, field(at, "Output").value] == ["0.15", "0.6"]


def test_who_is_no_admin_any_more_changes_no_price(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = models(house, monkeypatch, chosen="gpt")
    house.console.set_role("admin", "member")
    save(at, Input="3")
    assert house.flags.now.prices == {}
    assert len(at.error) == 1


def test_a_price_of_a_model_that_is_gone_can_be_taken_back(
    house: Any, monkeypatch: pytest.MonkeyPatch, admin: Principal
) -> None:
    house.flags.set_prices(admin, "old", LISTED)
    at = models(house, monkeypatch, chosen="old")
    assert table(at)[3] == ["old (no longer in the configuration)", "your organisation", "0.15", "0.6"]
    press(at, "Take back")
    assert len(table(at)) == 3
    assert not at.text_input


@pytest.mark.parametrize(
    ("token", "million"),
    [("0.00000015", "0.15"), ("3e-6", "3"), ("0", "0"), ("0.000000", "0"), ("0.00001", "10"), ("1", "1000000"),
     ("0.0000000000001", "0.0000001")],
)  # fmt: skip
def test_prices_are_shown_for_a_million_tokens(token: str, million: str) -> None:
    assert model_parts.per_million(token) == million


@given(st.decimals(0, 999_999_999, places=12, allow_nan=False))
def test_a_price_is_kept_exactly_as_it_is_typed(price: Decimal) -> None:
    kept = model_parts.per_token(format(price, "f"))
    assert Decimal(kept) * 10**6 == price
    assert Decimal(model_parts.per_million(kept)) == price
    assert model_parts.per_token(model_parts.per_million(kept)).rstrip("0") == kept.rstrip("0")


@pytest.mark.parametrize("typed", ["", " 1", "1\n", "0x1", "0.1234567890123"])
def test_what_is_no_number_is_no_price(typed: str) -> None:
    with pytest.raises(InvalidInput):
        model_parts.per_token(typed)


@pytest.mark.parametrize(
    ("prices", "priced"),
    [
        (Prices(), False),
        (Prices("config", {"prompt": "1"}), False),
        (Prices("tenant", {"completion": "1"}), False),
        (Prices("litellm", {"prompt": "1", "completion": "0"}), True),
    ],
)
def test_half_a_price_is_none(prices: Prices, priced: bool) -> None:
    assert model_parts.is_priced(prices) is priced


# ---- who may use it


def test_an_admin_says_nothing_about_who_may_use_a_model(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = models(house, monkeypatch, chosen="gpt")
    assert not at.multiselect
    assert "Who may use it" not in at.dataframe[0].value.columns


def test_an_operator_says_who_may_use_a_model_and_takes_it_back(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    other = next(one.id for one in house.accounts.tenants(root) if one.name == "Other")
    at = models(house, monkeypatch, "root", "claude")
    assert [(one.label, one.options, one.value) for one in at.multiselect] == [
        ("Roles", ["operator", "admin", "member"], []),
        ("Tiers", ["free", "pro"], []),
        ("Tenants", ["Default", "Other"], []),
    ]
    box(at, "Roles").set_value(["admin", "operator"])
    box(at, "Tenants").set_value([other])
    press(at, "Save")
    assert said(at) == ["Who may use Claude X is saved."]
    assert house.flags.now.access == {"claude": Access(roles=["admin", "operator"], tenants=[other])}
    assert table(at)[1][4] == "admin or operator · Other"
    assert box(at, "Tenants").value == [other]
    stranger, bob = (house.accounts.system_principal(name) for name in ("stranger", "bob"))
    assert "claude" in {one.name for one in house.gateway.choices(stranger)}
    assert "claude" not in {one.name for one in house.gateway.choices(bob)}
    caller = house.db.read(lambda session: house.gateway.caller(session, bob))
    with pytest.raises(ModelUnavailable):
        house.gateway.planner.pick(caller, "claude", Task())
    press(at, "Take back")
    assert said(at) == ["Who may use Claude X is as configured."]
    assert house.flags.now.access == {}
    assert [one.value for one in at.multiselect] == [[], [], []]


def test_an_empty_choice_lets_everybody_whatever_was_said_before(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    house.flags.set_access(root, "gpt", Access(tiers=["pro", "gold"], tenants=["Other", "ten_gone"]))
    at = models(house, monkeypatch, "root", "gpt")
    assert box(at, "Tiers").value == ["pro", "gold"], "also a tier that nobody is in"
    other = next(one.id for one in house.accounts.tenants(root) if one.name == "Other")
    assert box(at, "Tenants").value == [other, "ten_gone"], "a name is its tenant"
    box(at, "Tiers").set_value([])
    box(at, "Tenants").set_value([])
    press(at, "Save")
    assert house.flags.now.access == {"gpt": Access()}


def test_what_is_said_of_a_model_that_is_gone_can_be_taken_back(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    house.flags.set_access(root, "old", Access(roles=["admin"]))
    assert len(table(models(house, monkeypatch, "admin"))) == 3
    at = models(house, monkeypatch, "root", "old")
    press(at, "Take back")
    assert house.flags.now.access == {}
    assert len(table(at)) == 3


def test_prices_and_access_of_one_model_are_changed_apart(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    at = models(house, monkeypatch, "root", "gpt")
    save(at, Input="3")
    box(at, "Roles").set_value(["operator"])
    press(at, "Save")
    house.flags.set_access(root, "gpt", None)
    assert house.flags.now.prices[root.tenant_id]["gpt"]["input_cost_per_token"] == "0.000003"
