"""Spend: who and what costs, where the month is heading, and what the cache saved."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import streamlit as st

from chatcore.db.tables import utcnow
from chatcore.usage import Filter, Forecast, GroupBy, zones
from chatcore.usage.budgets import BudgetState
from pages.ui import allowance, charts, charts_figures, figures, filters, usage_drill, usage_export
from pages.ui import usage_parts as parts
from pages.ui.text import plain
from pages.ui.usage_data import View

if TYPE_CHECKING:
    from pandas import DataFrame


def draw(view: View) -> None:
    by = cast(GroupBy, view.choice.by)
    forecast = view.forecast()
    _cards(view, forecast)
    parts.notes(view.totals())
    filters.draw_by(view.known)
    series, groups, colour = view.series(by), view.breakdown(by), view.colours(by, "cost_nano_usd")
    cost = series["cost_nano_usd"].astype("Float64") / 1e9
    if view.totals().cost_nano_usd:
        parts.bars(view, f"Cost per {view.step} by {filters.BYS[by]}", by, series, cost, colour, charts.USD)
        with st.grid(2, min_column_width=400):
            whole = groups["cost_nano_usd"].astype("Float64") / 1e9
            parts.parts_of_a_whole(view, "Share of the cost", by, groups, whole, colour, charts.USD)
            _month(view, forecast)
    _budgets(view)
    shown = _table(view, by, groups)
    usage_export.draw(view, {f"Cost per {view.step}": usage_export.named(series, view.names(by)), "Table": shown})


def _cards(view: View, forecast: Forecast) -> None:
    now, before = view.totals(), view.previous()
    saved = parts.change(now.saved_nano_usd, before.saved_nano_usd)
    cards = [
        parts.card_cost(now, before),
        parts.card_calls(now, before),
        parts.Card("Cache saved", figures.usd(now.saved_nano_usd), saved, "normal", _saved(view)),
        parts.Card(
            f"{forecast.month:%B} so far{_all(view)}", figures.usd(forecast.spent),
            note="Of the present month, whatever the range and the filters say.",
        ),
        _expected(view, forecast),
    ]  # fmt: skip
    parts.cards(cards, view)


def _all(view: View) -> str:
    """Said of numbers that do not follow the filters, where there are some."""
    return ", all calls" if view.choice.only else ""


def _expected(view: View, forecast: Forecast) -> parts.Card:
    label = f"Month's end{_all(view)}"
    if forecast.expected is None:
        return parts.Card(label, "–", note="After three days with calls a forecast stands here.")
    delta = parts.change(forecast.expected, view.last_month().cost_nano_usd)
    band = f"Between {_usd(forecast.low)} and {_usd(forecast.high)} in 4 of 5 cases."
    note = f"{band} The change is against the whole month before."
    return parts.Card(
        label, figures.usd(forecast.expected), delta, "inverse", note, _of_budget(view, forecast.expected)
    )


def _of_budget(view: View, expected: int) -> str | None:
    """How much of the least monthly budget the month will take; None without one, or where made-up calls cost too."""
    amounts = [one.amount_nano_usd for one in _monthly(view) if one.amount_nano_usd]
    if not amounts or _has_demo(view):
        return None
    return f"{figures.percent(expected / min(amounts))} of the {_usd(min(amounts))} budget expected"


def _monthly(view: View) -> list[BudgetState]:
    """The budgets that the month's cost counts against: the tenant's for an admin, one's own for a member."""
    scope = "tenant" if view.principal.is_admin else "user"
    lines = [one for one in view.budget_lines() if isinstance(one, BudgetState)]
    return [one for one in lines if one.period == "month" and one.scope == scope]


def _has_demo(view: View) -> bool:
    return bool(view.month_so_far()["demo"].sum())


def _saved(view: View) -> str:
    sums = view.totals()
    calls = f"{sums.cached:,} {'call' if sums.cached == 1 else 'calls'} from the cache"
    return f"{calls}, {figures.percent(sums.share_saved)} of what all calls would have cost."


def _month(view: View, forecast: Forecast) -> None:
    """The month so far, where it is heading, and the budgets it must keep to."""
    days, budgets = view.month_so_far(), view.budget_lines()
    if not len(days) or not (forecast.spent or budgets):
        return
    spent = (days["cost_nano_usd"].fillna(0).astype("float64") / 1e9).cumsum().tolist()
    last = zones.next_month(utcnow(), view.zone).astimezone(view.zone)
    labels = charts.labels(days["start"], "day").tolist()
    bounds = (forecast.low, forecast.expected, forecast.high)
    band = None if None in bounds else tuple(one / 1e9 for one in bounds if one is not None)
    lines = {
        f"{'Budget' if one.hard else 'Soft budget'} {figures.usd(one.amount_nano_usd)}": one.amount_nano_usd / 1e9
        for one in _monthly(view)
    }
    end = (last - timedelta(days=1)).strftime("%Y-%m-%d")
    figure = charts_figures.pace(labels, spent, end, band, lines)
    with st.container(border=True, height="stretch"):
        st.markdown(f"**{forecast.month:%B} so far and expected** :gray[(US$, all calls)]")
        usage_drill.chart(figure, "usage-pace", "Cost of this month, and its forecast", _of_month(view, days))
        st.caption(_told(forecast) + (_apart(view) if lines else ""))


def _of_month(view: View, days: "DataFrame") -> usage_drill.Pick:
    """A day's calls, whatever the filters say, as the month's cost is of all."""
    starts = list(days["start"])
    month = Filter(starts[0], zones.next_day(starts[-1], view.zone))
    return usage_drill.by_step(replace(view, chosen=month, step="day"), days, "none", {})


def _apart(view: View) -> str:
    """Why budgets and costs may differ."""
    demo = " Demo data does not count against budgets." if _has_demo(view) else ""
    return demo + ("" if view.zone.key == "UTC" else " Budgets count by days and months of UTC.")


def _told(forecast: Forecast) -> str:
    if forecast.expected is None:
        return f"So far {_usd(forecast.spent)}. After three days with calls a forecast stands here."
    return (
        f"So far {_usd(forecast.spent)}, at the month's end about {_usd(forecast.expected)} "
        f"({_usd(forecast.low)} to {_usd(forecast.high)} in 4 of 5 cases)."
    )


def _budgets(view: View) -> None:
    lines = view.budget_lines()
    if not lines:
        return
    with st.container(border=True):
        st.markdown("**Budgets** :gray[(US$)]")
        for one in lines[:8]:
            name = plain(one.name) if one.name else "The whole organisation"
            if isinstance(one, BudgetState):
                over = ":red-badge[spent]" if one.share >= 1 else ":orange-badge[nearly spent]" if one.warns else ""
                told = f"{_usd(one.spent_nano_usd)} of {_usd(one.amount_nano_usd)} {over}"
            else:
                told = allowance.band(one.share)
            st.progress(min(one.share, 1.0), f"{name}, this {one.period}: {told}")
        more = f"And {len(lines) - 8} more, under Admin." if len(lines) > 8 else ""
        if more or _apart(view):
            st.caption(more + _apart(view))


def _usd(nano: int | None) -> str:
    return figures.usd(nano).replace("$", "\\$")


def _table(view: View, by: GroupBy, groups: "DataFrame") -> "DataFrame":
    number, sums = parts.number, view.totals()
    columns = {
        "Cost": (groups["cost_nano_usd"], number(help="Of the calls with a known price.")),
        "Share": parts.parts_of(groups["cost_nano_usd"]),
        "Calls": (groups["calls"], number(format="localized", width=80)),
        "Cost / call": (groups["average_cost_nano_usd"], number(help="Of the calls with a known price.")),
        "Tokens in": (groups["prompt_tokens"], number(width=80)),
        "Tokens out": (groups["completion_tokens"], number(width=80)),
        "Saved": (groups["saved_nano_usd"], number(help="By the cache.")),
        "Unpriced": (
            groups["unpriced"],
            number(format="localized", help="Calls without a known price. The cost does not contain them.", width=80),
        ),
    }
    there = {"Saved": sums.cached, "Unpriced": sums.unpriced}
    columns = {name: column for name, column in columns.items() if there.get(name, 1)}
    money = columns.keys() & {"Cost", "Cost / call", "Saved"}
    says: dict[str, Callable[[Any], str]] = dict.fromkeys(money, parts.dollars)
    says |= dict.fromkeys(("Tokens in", "Tokens out"), parts.compact)
    return parts.groups(view, by, groups, columns, "usage-spend-table", says)
