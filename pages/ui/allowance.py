"""What a person may still spend and ask: their budgets and limits."""

from collections.abc import Sequence
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.usage.budgets import STEPS, WARN_FROM, BudgetLine, BudgetState
from chatcore.usage.limits import LimitState
from pages.ui.figures import compact, percent, usd
from pages.ui.text import plain

_PERIODS: Final = {"day": "today", "month": "this month"}
_ALL: Final = "The whole organisation\u2019s"
_FEW: Final = 0.1  # of a limit: from here on it is told without being asked


def draw(principal: Principal) -> None:
    """All of it, for the account page; nothing where nothing is limited."""
    budgets, limits = core().budgets.mine(principal), core().limits.states(principal)
    if not budgets and not limits:
        return
    st.subheader("What is left")
    for budget in budgets:
        st.progress(min(budget.share, 1.0), text=_of_budget(budget))
    for limit in limits:
        exact = principal.is_admin or limit.rule.scope != "tenant"
        st.progress(_share(limit) if exact else _stepped(_share(limit)), text=_of_limit(limit, exact))


def warning(principal: Principal) -> str:
    """A few words for the chat page where little is left of something, else ''."""
    budgets = [one for one in core().budgets.mine(principal) if one.warns]
    if budgets:
        worst = max(budgets, key=lambda one: one.share)
        return f":orange[{_whose(worst)} budget {_left(worst)} {_PERIODS[worst.period]}]"
    few = [one for one in _requests(core().limits.states(principal)) if one.left <= max(1, one.rule.amount * _FEW)]
    if few:
        least = min(few, key=lambda one: one.left)
        if least.rule.scope == "tenant" and not principal.is_admin:
            return f":orange[{_ALL} requests in this {least.rule.per} are {_used(_share(least))}]"
        return f":orange[{least.left:,} of {least.rule.amount:,} requests left in this {least.rule.per}]"
    return ""


def _requests(limits: Sequence[LimitState]) -> list[LimitState]:
    return [one for one in limits if one.rule.of == "requests"]


def band(share: float) -> str:
    """How much of a shared budget is spent, in words; its amounts are not a member's to know."""
    if share >= 1:
        return "spent"
    return "nearly spent" if share >= WARN_FROM else "over half spent" if share >= 0.5 else "less than half spent"


def _left(budget: BudgetLine) -> str:
    if isinstance(budget, BudgetState):
        return "is used up" if not budget.left_nano_usd else f"has {_money(budget.left_nano_usd)} left"
    return f"is {band(budget.share)}"


def _of_budget(budget: BudgetLine) -> str:
    soft = "" if budget.hard else " (warns only)"
    if not isinstance(budget, BudgetState):
        return f"{_whose(budget)} budget{soft}: {band(budget.share)} {_PERIODS[budget.period]}"
    running = f", {_money(budget.reserved_nano_usd)} reserved for running replies" if budget.reserved_nano_usd else ""
    spent, amount = _money(budget.spent_nano_usd), _money(budget.amount_nano_usd)
    share = percent(budget.share)
    return f"{_whose(budget)} budget{soft}: {spent} of {amount} spent {_PERIODS[budget.period]}, {share}{running}"


def _of_limit(limit: LimitState, exact: bool) -> str:
    """`exact`: with numbers; those of all together would tell a member how much others use."""
    rule = limit.rule
    said = f"{compact(limit.used)} of {compact(rule.amount)} used" if exact else _used(_share(limit))
    return f"{_ALL if rule.scope == 'tenant' else 'Your'} {rule.of} in a {rule.per}: {said}"


def _share(limit: LimitState) -> float:
    return min(limit.used / limit.rule.amount, 1.0) if limit.rule.amount else 1.0


def _stepped(share: float) -> float:
    return next(step for step in STEPS if share >= step)


def _used(share: float) -> str:
    return "used up" if share >= 1 else band(share).replace("spent", "used")


def _whose(budget: BudgetLine) -> str:
    if budget.scope == "user":
        return "Your"
    return f"Team {plain(budget.name)}\u2019s" if budget.scope == "team" else _ALL


def _money(nano: int) -> str:
    return usd(nano).replace("$", "\\$")
