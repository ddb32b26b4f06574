"""Budgets and limits on the admin page: empty, set, changed, taken away, refused."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from chatcore.accounts import Principal
from chatcore.db.tables import BudgetPeriod, LimitHit, utcnow
from chatcore.errors import DatabaseError, InvalidInput
from chatcore.flags import DEFAULT_LIMITS, FlagStore, LimitOf, LimitPer, LimitRule
from chatcore.usage.budgets import BudgetState
from chatcore.usage.limits import Refusals
from pages.ui import budget_parts, limit_parts
from tests.pages.test_admin import page, press

TAB = "Limits & budgets"
USD = 10**9


@pytest.fixture
def root(house: Any) -> Principal:
    who: Principal = house.accounts.system_principal("root")
    return who


def open_tab(house: Any, monkeypatch: pytest.MonkeyPatch, username: str = "root") -> AppTest:
    return page(house, monkeypatch, username, url=TAB)


def captions(at: AppTest) -> list[str]:
    return [one.value.replace("\\", "") for one in at.caption]


def toasts(at: AppTest) -> list[str]:
    return [one.value.replace("\\", "") for one in at.toast]


def state(**values: Any) -> BudgetState:
    now = utcnow()
    known = {
        "id": "bud_1", "scope": "tenant", "scope_id": "", "name": "", "period": "month", "hard": True,
        "amount_nano_usd": 100, "spent_nano_usd": 0, "reserved_nano_usd": 0, "starts_at": now, "ends_at": now,
    }  # fmt: skip
    return BudgetState(**{**known, **values})


# ---- budgets


def test_without_a_budget_the_page_says_so(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_tab(house, monkeypatch, "admin")
    assert "There is no budget yet: nobody's spending is limited." in captions(at)


def test_a_budget_without_an_amount_or_a_person_is_asked_for(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = press(open_tab(house, monkeypatch, "admin"), "Set budget")
    asked = ["Choose whom the budget is for, and type an amount\\."]
    assert [one.value.replace("\\,", ",") for one in at.error] == asked
    at.number_input(key="budget-amount-0").set_value(3.0)
    at.selectbox(key="budget_scope").set_value("user").run()
    press(at, "Set budget")
    assert [one.value.replace("\\,", ",") for one in at.error] == asked
    assert at.number_input(key="budget-amount-0").value == 3, "what was typed stays"


def test_a_budget_for_everybody_is_set_and_listed(house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal) -> None:
    at = open_tab(house, monkeypatch, "admin")
    at.number_input(key="budget-amount-0").set_value(12.5).run()
    press(at, "Set budget")
    [found] = house.budgets.list(root)
    kept = (found.scope, found.scope_id, found.period, found.amount_nano_usd, found.hard)
    assert kept == ("tenant", "", "month", 12_500_000_000, True)
    assert toasts(at) == ["The budget of $12.50 a month is set."]
    assert any(one.startswith("$0 of $12.50 spent · starts anew on 1 ") for one in captions(at))
    assert at.number_input(key="budget-amount-1").value is None, "ready for another"


def test_a_budget_for_a_person_and_one_for_a_team(house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal) -> None:
    bob = house.console.find("bob")
    house.console.set_team("bob", "Red")
    at = open_tab(house, monkeypatch)
    at.selectbox(key="budget_scope").set_value("user").run()
    at.number_input(key="budget-amount-0").set_value(1.0).run()
    at.selectbox(key="budget_person").set_value(bob.id)
    at.selectbox(key="budget_period").set_value("day")
    at.toggle(key="budget-hard-0").set_value(False).run()
    press(at, "Set budget")
    at.selectbox(key="budget_scope").set_value("team").run()
    assert at.selectbox(key="budget_team").options == ["Red"]
    at.selectbox(key="budget_team").set_value("Red")
    at.number_input(key="budget-amount-1").set_value(2.0).run()
    press(at, "Set budget")
    found = {(one.scope, one.scope_id, one.period, one.amount_nano_usd, one.hard) for one in house.budgets.list(root)}
    assert found == {("user", bob.id, "day", USD, False), ("team", "Red", "day", 2 * USD, True)}
    assert [text for text in (one.value for one in at.markdown) if text.startswith("**Bob**")]
    assert [text for text in (one.value for one in at.markdown) if text.startswith("**Team Red**")]


def test_without_teams_none_can_be_chosen(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_tab(house, monkeypatch, "admin")
    at.selectbox(key="budget_scope").set_value("team").run()
    assert at.selectbox(key="budget_team").disabled


def test_a_budget_is_changed_and_removed(house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal) -> None:
    house.budgets.set(root, "tenant", "", "month", 5 * USD)
    [found] = house.budgets.list(root)
    at = open_tab(house, monkeypatch, "admin")
    assert at.number_input(key=f"budget-amount-{found.id}").value == 5
    at.number_input(key=f"budget-amount-{found.id}").set_value(7.25)
    at.toggle(key=f"budget-hard-{found.id}").set_value(False)
    press(at, "Save")
    [changed] = house.budgets.list(root)
    assert (changed.id, changed.amount_nano_usd, changed.hard) == (found.id, 7_250_000_000, False)
    assert any("may then spend without this limit" in one.value for one in at.markdown), "it asks first"
    at.button(key=f"budget-remove-yes-{found.id}").click().run()
    assert toasts(at) == ["The budget is removed."]
    assert house.budgets.list(root) == []


def test_a_budget_that_somebody_else_removed_is_refused_with_a_sentence(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    house.budgets.set(root, "tenant", "", "month", 5 * USD)
    [found] = house.budgets.list(root)
    at = open_tab(house, monkeypatch, "admin")
    house.budgets.remove(root, found.id)
    at.button(key=f"budget-remove-yes-{found.id}").click().run()
    assert not at.exception
    assert [one.value for one in at.error] == ["There is no such budget\\."]
    assert not at.toast


def test_what_is_spent_and_reserved_stands_in_the_row(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    house.budgets.set(root, "tenant", "", "month", 10 * USD)
    values = {"spent_nano_usd": 8_500_000_000, "reserved_nano_usd": 250_000_000}
    house.db.write(lambda session: session.execute(update(BudgetPeriod).values(**values)))
    at = open_tab(house, monkeypatch, "admin")
    assert any(one.startswith("$8.50 of $10.00 spent · $0.25 reserved now · ") for one in captions(at))
    assert [one.value for one in at.markdown if ":orange-badge[85%]" in one.value]
    assert 'aria-valuenow="85"' in "".join(one.value for one in at.html)


def test_another_tenants_budgets_are_not_there(house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal) -> None:
    house.budgets.set(root, "tenant", "", "month", 10 * USD)
    assert "There is no budget yet: nobody's spending is limited." in captions(open_tab(house, monkeypatch, "stranger"))


@pytest.mark.parametrize(
    ("spent", "reserved", "look", "widths"),
    [
        (0, 0, "fine", ("0.00", "0.00")),
        (79, 0, "fine", ("79.00", "0.00")),
        (80, 5, "warns", ("80.00", "5.00")),
        (90, 10, "empty", ("90.00", "10.00")),
        (100, 0, "empty", ("100.00", "0.00")),
        (150, 20, "empty", ("100.00", "0.00")),
    ],
)
def test_the_bar_is_orange_from_80_percent_and_red_when_nothing_is_left(
    spent: int, reserved: int, look: str, widths: tuple[str, str]
) -> None:
    html = budget_parts.bar(state(spent_nano_usd=spent, reserved_nano_usd=reserved))
    assert f'class="chatcore-bar {look}"' in html
    assert [part.partition("%")[0] for part in html.split("width:")[1:]] == list(widths)


def test_a_budget_of_nothing_is_used_up_from_the_start() -> None:
    assert "empty" in budget_parts.bar(state(amount_nano_usd=0))


@pytest.mark.parametrize(
    ("typed", "kept"),
    [(0.1, 100_000_000), (0.3, 300_000_000), (1e9, 10**18), (0.000001, 1000), (19.99, 19_990_000_000)],
)
def test_money_is_kept_as_it_is_typed(typed: float, kept: int) -> None:
    assert budget_parts.nano(typed) == kept


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (state(), "The whole organisation"),
        (state(scope="team", scope_id="Red"), "Team Red"),
        (state(scope="user", scope_id="usr_1", name="Ann"), "Ann"),
        (state(scope="user", scope_id="usr_1"), "Ann in the list"),
        (state(scope="user", scope_id="usr_2"), "Nobody"),
    ],
)
def test_for_whom_a_budget_is(budget: BudgetState, words: str) -> None:
    assert budget_parts.whom(budget, {"usr_1": "Ann in the list"}) == words


# ---- limits


def rule(scope: str, name: str, of: str, per: str, amount: int) -> LimitRule:
    return LimitRule(scope, name, of, per, amount)  # type: ignore[arg-type]


def test_an_admin_sees_no_limits_of_the_instance(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_tab(house, monkeypatch, "admin")
    assert [one.value for one in at.subheader] == ["Budgets", "Refused in the last 24 hours"]
    assert not at.data_editor


def test_the_table_of_tiers_is_edited_and_saved(house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal) -> None:
    own = rule("model", "gpt", "tokens", "hour", 9)
    house.flags.set(root, limits=[*DEFAULT_LIMITS, own])
    at = open_tab(house, monkeypatch)
    shown = at.data_editor[0].value
    assert shown["Tier"].tolist() == ["free", "pro"]
    assert shown["requests a day"].tolist() == [100, 1000]
    assert next(one for one in at.button if one.label == "Save limits").disabled, "nothing is changed yet"
    at.session_state["limit-tiers-0"] = {
        "edited_rows": {0: {"requests a minute": 5, "requests a day": None}},
        "added_rows": [{"Tier": "team", "tokens a day": 0}],
        "deleted_rows": [1],
    }
    at.run()
    press(at, "Save limits")
    kept = {rule("tier", "free", "requests", "minute", 5), rule("tier", "team", "tokens", "day", 0), own}
    assert set(house.flags.now.limits) == kept
    assert toasts(at) == ["The limits are saved."]
    assert at.data_editor[0].value["Tier"].tolist() == ["free", "pro", "team"], "pro is a tier, and has no limit now"


def test_a_tier_that_stands_twice_is_refused_and_nothing_is_saved(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_tab(house, monkeypatch)
    at.session_state["limit-tiers-0"] = {
        "edited_rows": {}, "added_rows": [{"Tier": "pro", "tokens a day": 1}], "deleted_rows": [],
    }  # fmt: skip
    at.run()
    press(at, "Save limits")
    assert [one.value.replace("\\", "") for one in at.error] == [
        "The tier pro stands in the table twice; remove one of them."
    ]
    assert house.flags.now.limits == DEFAULT_LIMITS
    assert len(at.data_editor[0].value) == 2
    assert not next(one for one in at.button if one.label == "Save limits").disabled, "what was typed is still there"


def test_a_limit_for_one_person_is_added_replaced_and_removed(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = house.console.find("bob")
    at = open_tab(house, monkeypatch)
    press(at, "Add limit")
    assert [one.value.replace("\\", "") for one in at.error] == ["Choose whom the limit is for, and type an amount."]
    assert house.flags.now.limits == DEFAULT_LIMITS
    for count, amount in enumerate((7, 1200)):
        at.selectbox(key=f"limit-user-{count}").set_value(bob.id)
        at.number_input(key=f"limit-amount-{count}").set_value(amount)
        at.selectbox(key="limit_kind").set_value("tokens an hour").run()
        press(at, "Add limit")
        assert house.flags.now.limits == (*DEFAULT_LIMITS, rule("user", bob.id, "tokens", "hour", amount))
    texts = [one.value.replace("\\", "") for one in at.markdown]
    assert "**Bob (bob)** 1,200 tokens an hour :gray-badge[person]" in texts
    at.button(key=f"limit-remove-yes-user-{bob.id}-tokens-hour").click().run()
    assert house.flags.now.limits == DEFAULT_LIMITS


@pytest.mark.parametrize(("scope", "names"), [("tenant", ["Default", "Other"]), ("model", ["gpt", "claude", "mist"])])
def test_a_limit_can_be_for_any_tenant_and_model(
    house: Any, monkeypatch: pytest.MonkeyPatch, scope: str, names: list[str]
) -> None:
    at = open_tab(house, monkeypatch)
    at.selectbox(key="limit_scope").set_value(scope).run()
    assert at.selectbox(key=f"limit-{scope}-0").options == names


def test_a_limit_for_a_person_may_be_for_somebody_of_another_tenant(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Stranger (stranger)" in open_tab(house, monkeypatch).selectbox(key="limit-user-0").options


def test_a_limit_for_somebody_who_is_gone_is_listed_without_a_name(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    house.flags.set(root, limits=[rule("user", "usr_gone", "requests", "day", 1)])
    texts = [one.value for one in open_tab(house, monkeypatch).markdown]
    assert "**Somebody who is gone** 1 requests a day :gray-badge[person]" in texts


def test_a_limit_that_is_stored_twice_is_listed_once(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    house.flags.set(root, limits=[rule("model", "gpt", "requests", "day", amount) for amount in (1, 2)])
    at = open_tab(house, monkeypatch)
    assert len([one for one in at.button if (one.key or "").startswith("limit-remove-yes-")]) == 1
    at.button(key="limit-remove-yes-model-gpt-requests-day").click().run()
    assert house.flags.now.limits == ()


def test_what_is_typed_into_the_table_stays_when_another_limit_is_added(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_tab(house, monkeypatch)
    typed = {"edited_rows": {0: {"requests a minute": 5}}, "added_rows": [], "deleted_rows": []}
    at.session_state["limit-tiers-0"] = typed
    at.selectbox(key="limit-user-0").set_value(house.console.find("bob").id)
    at.number_input(key="limit-amount-0").set_value(3).run()
    press(at, "Add limit")
    assert len(house.flags.now.limits) == 3
    press(at, "Save limits")
    assert rule("tier", "free", "requests", "minute", 5) in house.flags.now.limits
    assert len(house.flags.now.limits) == 4


def test_what_another_operator_has_just_saved_stays(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    mine, theirs = rule("model", "gpt", "requests", "day", 3), rule("tenant", "ten_1", "tokens", "day", 9)
    another = rule("tier", "free", "tokens", "hour", 7)
    house.flags.set(root, limits=[*DEFAULT_LIMITS, mine])
    at = open_tab(house, monkeypatch)
    typed = {"edited_rows": {1: {"requests a minute": 5}}, "added_rows": [], "deleted_rows": []}
    at.session_state["limit-tiers-0"] = typed
    at.run()
    elsewhere = FlagStore(house.db, house.settings)  # another process: this one does not look again by itself here
    elsewhere.change(root, lambda now: {"limits": [*now.limits, theirs, another]})
    press(at, "Save limits")
    own = rule("tier", "pro", "requests", "minute", 5)
    assert set(house.flags.now.limits) == {*DEFAULT_LIMITS, mine, theirs, another, own}
    elsewhere.change(root, lambda now: {"limits": [one for one in now.limits if one != another]})
    at.button(key="limit-remove-yes-model-gpt-requests-day").click().run()
    assert set(house.flags.now.limits) == {*DEFAULT_LIMITS, theirs, own}


RULES = st.lists(
    st.builds(
        rule, st.sampled_from(["tier", "model"]), st.sampled_from("ab"), st.just("tokens"),
        st.sampled_from(["hour", "day"]), st.integers(0, 3),
    ),
    max_size=5, unique_by=lambda one: (one.scope, one.name, one.per),
)  # fmt: skip


@given(RULES, RULES, RULES)
def test_only_what_somebody_changed_is_changed(
    now: list[LimitRule], before: list[LimitRule], after: list[LimitRule]
) -> None:
    def by_key(rules: list[LimitRule]) -> dict[tuple[str, str, str], int]:
        return {(one.scope, one.name, one.per): one.amount for one in rules}

    found = by_key(limit_parts.merged(now, before, after))
    there, seen, wanted = by_key(now), by_key(before), by_key(after)
    for key in {*there, *seen, *wanted}:
        changed = seen.get(key) != wanted.get(key)
        assert found.get(key) == (wanted if changed else there).get(key)


def test_all_limits_are_taken_back(house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal) -> None:
    at = open_tab(house, monkeypatch)
    assert "Yes, take all changes back" not in [one.label for one in at.button]
    house.flags.set(root, limits=[rule("user", "usr_gone", "requests", "day", 1)])
    at = open_tab(house, monkeypatch)
    assert "free: 100 requests a day; pro: 1,000 requests a day; nothing else." in [one.value for one in at.markdown]
    press(at, "Yes, take all changes back")
    assert house.flags.now.limits == DEFAULT_LIMITS


def test_the_page_says_when_limits_are_off(house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal) -> None:
    assert not [one for one in captions(open_tab(house, monkeypatch)) if "switched off" in one]
    house.flags.set(root, rate_limits=False)
    assert [one for one in captions(open_tab(house, monkeypatch)) if "switched off" in one]


def test_limits_that_cannot_be_saved_stay_as_they_were(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    house.flags.set(root, limits=[])
    at = open_tab(house, monkeypatch)

    def fails(*_: object, **__: object) -> None:
        raise DatabaseError("The database does not answer.")

    house.flags = SimpleNamespace(now=house.flags.now, configured=house.flags.configured, set=fails)
    press(at, "Yes, take all changes back")
    assert [one.value for one in at.error] == ["The database does not answer\\."]
    assert house.flags.now.limits == ()


_RULES = st.builds(
    LimitRule,
    st.just("tier"),
    st.sampled_from(["free", "pro", "x-1"]),
    st.sampled_from(LimitOf.__args__),  # type: ignore[attr-defined]
    st.sampled_from(LimitPer.__args__),  # type: ignore[attr-defined]
    st.integers(0, 10**12),
)


@given(st.lists(_RULES, unique_by=lambda one: (one.name, one.of, one.per)))
def test_the_table_says_what_the_rules_say(rules: list[LimitRule]) -> None:
    assert set(limit_parts.tier_rules(limit_parts.tier_table(rules, ["free", "pro", "x-1"]))) == set(rules)


def test_of_two_rules_for_the_same_the_smaller_stands_in_the_table() -> None:
    rules = [rule("tier", "free", "requests", "day", amount) for amount in (9, 3, 5)]
    frame = limit_parts.tier_table([*rules, rule("user", "free", "requests", "day", 1)], ["free"])
    assert limit_parts.tier_rules(frame) == [rule("tier", "free", "requests", "day", 3)]


def test_an_empty_row_is_no_tier_and_one_with_a_bad_name_is_refused() -> None:
    assert limit_parts.tier_rules(pd.DataFrame([{"Tier": None}, {"Tier": " a ", "tokens a day": float("nan")}])) == []
    for name in (None, "", "Gold Plus"):
        with pytest.raises(InvalidInput, match="A tier has 1 to 32 characters"):
            limit_parts.tier_rules(pd.DataFrame([{"Tier": name, "tokens a day": 3.0}]))


# ---- refusals


def test_nothing_was_refused(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Nothing was refused." in captions(open_tab(house, monkeypatch, "admin"))


def test_refusals_are_summed_by_tier_and_reason(house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal) -> None:
    now = utcnow().replace(second=0, microsecond=0)
    whose = {"tenant_id": root.tenant_id, "user_id": root.user_id, "tier": "free", "model": "gpt"}
    stranger = house.accounts.system_principal("stranger")

    def work(session: Any) -> None:
        session.add(LimitHit(**whose, minute=now - timedelta(minutes=90), kind="requests", hits=2))
        session.add(LimitHit(**whose, minute=now - timedelta(hours=3), kind="requests", hits=3))
        session.add(LimitHit(**whose, minute=now - timedelta(hours=2), kind="budget", hits=1))
        session.add(LimitHit(**whose, minute=now - timedelta(hours=25), kind="tokens", hits=9))
        others = whose | {"tenant_id": stranger.tenant_id, "user_id": stranger.user_id}
        session.add(LimitHit(**others, minute=now, kind="requests", hits=50))

    house.db.write(work)
    at = open_tab(house, monkeypatch, "admin")
    assert at.dataframe[-1].value.values.tolist() == [
        ["free", "Too many requests", 5, "1 hour ago"],
        ["free", "No room in a budget", 1, "2 hours ago"],
    ]


def test_the_most_frequent_refusal_comes_first() -> None:
    now = utcnow()
    rows = [
        Refusals(now - timedelta(minutes=2), "pro", "tokens", 1),
        Refusals(now - timedelta(minutes=1), "free", "budget", 4),
        Refusals(now, "pro", "tokens", 2),
    ]
    found = limit_parts.summed(rows)
    assert [(one.tier, one.kind, one.hits) for one in found] == [("free", "budget", 4), ("pro", "tokens", 3)]
    assert found[1].last == now
    assert limit_parts.summed(reversed(rows)) == found
