"""Budgets of a tenant: where each one stands, and making, changing and removing them."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import streamlit as st

from chatcore.accounts import Person, Principal
from chatcore.bootstrap import core
from chatcore.errors import InvalidInput
from chatcore.usage.budgets import BudgetState
from pages.ui import figures
from pages.ui.acts import act
from pages.ui.people_parts import label
from pages.ui.text import plain

_SCOPES: Final = {"tenant": "The whole organisation", "team": "A team", "user": "A person"}
_PERIODS: Final = {"month": "Each month", "day": "Each day"}
_TOLD: Final = (
    "What may be spent in a day or a month (UTC). From 80 % on people are warned. A hard budget refuses what could "
    "cost more than is left; a soft one refuses nothing."
)
_NANO: Final = 10**9
_MOST: Final = 1e9  # US$


def draw(principal: Principal) -> None:
    """Every budget of the tenant, and a form for another."""
    st.subheader("Budgets")
    st.caption(_TOLD)
    states = core().budgets.list(principal)
    people = core().accounts.people(principal)
    if not states:
        st.caption("There is no budget yet: nobody's spending is limited.")
    names = {one.id: one.name for one in people}
    for state in sorted(states, key=lambda one: list(_SCOPES).index(one.scope)):
        _row(principal, state, whom(state, names))
    _form(principal, people)


def whom(state: BudgetState, names: Mapping[str, str]) -> str:
    """For whom a budget is: `The whole organisation`, `Team Red`, a person's name."""
    if state.scope == "tenant":
        return _SCOPES["tenant"]
    return f"Team {state.scope_id}" if state.scope == "team" else state.name or names.get(state.scope_id, "Nobody")


def bar(state: BudgetState) -> str:
    """HTML: what is spent, and paler behind it what is reserved now; orange from 80 % on, red when nothing is left."""
    amount = state.amount_nano_usd or 1
    spent = min(100.0, state.share * 100)
    held = min(100.0 - spent, state.reserved_nano_usd / amount * 100)
    look = "empty" if not state.left_nano_usd else "warns" if state.warns else "fine"
    return (
        f'<div class="chatcore-bar {look}" role="progressbar" aria-label="Spent" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{spent:.0f}"><i style="width:{spent:.2f}%"></i><i style="width:{held:.2f}%"></i></div>'
    )


def nano(usd: float) -> int:
    """US$ as typed in nano-USD."""
    return int((Decimal(str(usd)) * _NANO).to_integral_value())


def _row(principal: Principal, state: BudgetState, name: str) -> None:
    period = _PERIODS[state.period].lower()
    badge = ":gray-badge[hard]" if state.hard else ":blue-badge[soft]"
    more = (
        ":red-badge[used up]"
        if not state.left_nano_usd
        else f":orange-badge[{figures.percent(state.share)}]"
        if state.warns
        else ""
    )
    with st.container(key=f"admin-row-{state.id}", horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.markdown(f"**{plain(name)}**, {period} {badge} {more}")
            st.html(bar(state))
            st.caption(plain(_stands(state)))
        with st.container(horizontal=True, width="content"):  # both beside the words, or both below them
            _acts(principal, state, name)


def _acts(principal: Principal, state: BudgetState, name: str) -> None:
    # Once it is changed the popover is another one, which is closed.
    with st.popover("Change", key=f"budget-change-{state.id}-{state.amount_nano_usd}-{state.hard}"):
        _change(principal, state)
    with st.popover("Remove", key=f"budget-remove-{state.id}"):
        st.markdown(f"{plain(name)} may then spend without this limit, and what was counted for it is forgotten.")
        st.button(
            "Yes, remove", key=f"budget-remove-yes-{state.id}", type="primary", on_click=_remove,
            args=(principal, state.id),
        )  # fmt: skip


def _stands(state: BudgetState) -> str:
    held = f" · {figures.usd(state.reserved_nano_usd)} reserved now" if state.reserved_nano_usd else ""
    spent = f"{figures.usd(state.spent_nano_usd)} of {figures.usd(state.amount_nano_usd)} spent"
    return f"{spent}{held} · starts anew on {state.ends_at:%-d %B}"


def _change(principal: Principal, state: BudgetState) -> None:
    keys = f"budget-amount-{state.id}", f"budget-hard-{state.id}"
    with st.form(f"budget-{state.id}", border=False):
        amount = state.amount_nano_usd / _NANO
        st.number_input("US$", 0.0, _MOST, amount, format=_digits(amount), key=keys[0])
        st.toggle("Hard", state.hard, key=keys[1])
        st.form_submit_button("Save", on_click=_set, args=(principal, state.scope, state.scope_id, state.period, *keys))


def _form(principal: Principal, people: list[Person]) -> None:
    count = st.session_state.get("budgets_set", 0)  # fields with new keys are empty
    with st.container(border=True, key="budget_new"):
        st.markdown("**Set a budget**")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            scope = st.selectbox("For", list(_SCOPES), format_func=_SCOPES.__getitem__, key="budget_scope", width=160)
            scope_id = _who(scope, people)
            period = st.selectbox(
                "Period", list(_PERIODS), format_func=_PERIODS.__getitem__, key="budget_period", width=160
            )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            keys = f"budget-amount-{count}", f"budget-hard-{count}"
            st.number_input("US$", 0.0, _MOST, None, format="%0.2f", placeholder="0.00", key=keys[0], width=160)
            st.toggle("Hard", True, key=keys[1], help="Off: it only warns.")
            st.button(
                "Set budget", type="primary", on_click=_set, args=(principal, scope, scope_id, period, *keys)
            )  # fmt: skip


def _who(scope: str, people: list[Person]) -> str | None:
    """The person or team that was chosen, '' for everybody, None as long as nobody is."""
    if scope == "user":
        names = {one.id: label(one) for one in people}
        return st.selectbox(
            "Person", list(names), index=None, format_func=names.__getitem__, key="budget_person",
            placeholder="Choose a person",
        )  # fmt: skip
    if scope == "team":
        teams = sorted({one.team for one in people if one.team})
        hint = "Choose a team" if teams else "Put somebody into a team first"
        return st.selectbox("Team", teams, index=None, key="budget_team", placeholder=hint, disabled=not teams)
    return ""


def _set(principal: Principal, scope: str, scope_id: str | None, period: str, amount: str, hard: str) -> None:
    """A callback. `amount`, `hard`: the keys of their fields."""
    typed, is_hard = st.session_state[amount], st.session_state[hard]

    def work() -> None:
        if typed is None or scope_id is None:
            raise InvalidInput("Choose whom the budget is for, and type an amount.")
        core().budgets.set(principal, scope, scope_id, period, nano(typed), hard=is_hard)

    if act(work, f"The budget of {figures.usd(nano(typed or 0))} a {period} is set."):
        st.session_state["budgets_set"] = st.session_state.get("budgets_set", 0) + 1


def _remove(principal: Principal, budget_id: str) -> None:
    act(lambda: core().budgets.remove(principal, budget_id), "The budget is removed.")


def _digits(usd: float) -> str:
    return "%0.2f" if round(usd, 2) == usd else "%0.6f"
