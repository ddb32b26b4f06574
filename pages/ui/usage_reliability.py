"""Reliability: how many calls fail, how and where, what we refused ourselves, and which deployments are paused."""

from typing import TYPE_CHECKING, Final

import streamlit as st

from chatcore.bootstrap import core
from chatcore.usage import Totals
from pages.ui import charts, charts_figures, figures, gateway_parts, usage_drill, usage_export
from pages.ui import usage_parts as parts
from pages.ui.text import plain
from pages.ui.usage_data import View

if TYPE_CHECKING:
    from pandas import DataFrame

WAYS: Final = {
    "Errors": "error",
    "Timeouts": "timeout",
    "Rate limits": "rate_limited",
    "Cut off": "truncated",
    "Interrupted": "interrupted",
}
COLOURS: Final = dict(zip(WAYS, ("#C9412F", "#E69F00", "#8F6BD6", "#CC79A7", "#8C8C8C"), strict=True))
_BESIDE: Final = {"Stopped by people": "stopped", "Tried again": "again"}


def draw(view: View) -> None:
    _cards(view.totals(), view.previous(), view)
    parts.notes(view.totals())
    series = view.series("none")
    with st.grid(2, min_column_width=400):
        _failures(view, series)
        _again(view, series)
        _errors(view)
        refusals = _refusals(view, series[["start"]])
    shown = _table(view)
    _breakers(view)
    usage_export.draw(view, {f"Outcomes per {view.step}": series, "Table": shown, "Refusals": refusals})


def _cards(now: Totals, before: Totals, view: View) -> None:
    def card(label: str, mine: int, old: int, note: str) -> parts.Card:
        shares = parts.share(mine, now.settled), parts.share(old, before.settled)
        delta = parts.points(*shares, before.settled)
        return parts.Card(label, figures.percent(shares[0]), delta, "inverse", f"{mine:,} of {now.settled:,}{note}")

    found = [
        card("Failed calls", now.failed, before.failed, " calls that have ended, in any of the ways to fail."),
        card("Errors", now.error, before.error, " calls."),
        card("Timeouts", now.timeout, before.timeout, " calls."),
        card("Rate limits", now.rate_limited, before.rate_limited, " calls that the provider refused for a while."),
        card("Tried again", now.again, before.again, " calls were retries or fallbacks."),
    ]
    parts.cards(found, view)


def _failures(view: View, series: "DataFrame") -> None:
    """The share of calls that failed, in the ways they did."""
    import pandas as pd

    settled = series["settled"].where(series["settled"] > 0)
    each = [series[["start"]].assign(group=name, value=series[outcome] / settled) for name, outcome in WAYS.items()]
    long = pd.concat(each, ignore_index=True)
    table = charts.wide(long, long["value"], COLOURS, view.step)
    figure = charts_figures.stacked(table, COLOURS, charts.SHARE, view.step)
    pick = usage_drill.by_step(view, series, "none", {}, {name: (outcome,) for name, outcome in WAYS.items()})
    legend = charts.legend(COLOURS, list(table.columns))
    parts.drawing(f"Failed calls per {view.step}", "share of calls", figure, pick=pick, legend=legend)


def _again(view: View, series: "DataFrame") -> None:
    """What is no failure of its own: people who stopped a reply, and calls made for one that had failed."""
    settled = series["settled"].where(series["settled"] > 0)
    columns = {name: series[column] / settled for name, column in _BESIDE.items()}
    colour = {"Stopped by people": "#B8AC00", "Tried again": charts.ACCENT}
    outcomes = {"Stopped by people": ("stopped",)}
    parts.curves(view, "Stopped, and tried again", series, columns, colour, charts.SHARE, outcomes)


def _errors(view: View) -> None:
    """Failed calls by what went wrong."""
    frame = view.breakdown("error")
    with st.container(border=True, height="stretch"):
        st.markdown("**Failed calls by kind of error** :gray[(calls)]")
        if not len(frame):
            st.caption("No call failed.")
            return
        number = parts.number
        frame = frame.sort_values(["calls", "group"], ascending=[False, True], ignore_index=True)
        columns = {"Calls": (frame["calls"], number(format="localized")), "Share": parts.parts_of(frame["calls"])}
        parts.groups(view, "error", frame, columns, "usage-errors-table")


def _refusals(view: View, steps: "DataFrame") -> "DataFrame":
    """What our limits, budgets and breakers refused: nobody was called, and nothing cost anything."""
    import pandas as pd

    frame = view.refusals()
    with st.container(border=True, height="stretch"):
        st.markdown("**Refused by us, by tier** :gray[(requests)]")
        if not len(frame) or not frame["hits"].any():
            st.caption("No request was refused by a limit, a budget or a breaker.")
            return frame
        tiers = sorted(frame["tier"].unique())
        # Steps without a refusal stand on the axis too.
        named = pd.concat([frame.rename(columns={"tier": "group"}), steps.assign(group=tiers[0], hits=0)])
        colour = dict(zip(tiers, ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"), strict=False))
        table = charts.wide(named, named["hits"], colour, view.step)
        figure = charts_figures.stacked(table, colour, charts.count("requests"), view.step)
        st.html(charts.legend(colour, list(table.columns)))
        st.plotly_chart(figure, config=charts.CONFIG, key="usage-refusals", alt="Requests refused, by tier")
        kinds = frame.groupby("kind")["hits"].sum().sort_values(ascending=False)
        told = ", ".join(f"{plain(str(kind))} {count:,}" for kind, count in kinds.items() if count)
        st.caption(f"At most {int(frame['peak_per_minute'].max()):,} a minute. By cause: {told}.")
    return frame


def _table(view: View) -> "DataFrame":
    st.markdown("**Providers**")
    frame = view.breakdown("provider")
    settled, number = frame["settled"].where(frame["settled"] > 0), parts.number
    heads = {"Failed": "failed", **WAYS, "Stopped": "stopped", "Again": "again"}
    columns = {
        "Calls": (frame["calls"], number(format="localized", width=80)),
        **{
            name: (frame[column] / settled * 100, number(format="%.1f%%", help="Share of the calls that have ended."))
            for name, column in heads.items()
        },
    }
    return parts.groups(view, "provider", frame, columns, "usage-reliability-table")


def _breakers(view: View) -> None:
    """For operators: deployments that are not called as ever. All of them, and what to do, are on the admin page."""
    if not view.principal.is_operator:
        return
    health = core().gateway.health()
    left = [one for one in health if one.state != "closed" or one.failures]
    st.markdown("**Deployments**", help="Each has a breaker, which pauses it after failures in a row.")
    if not left:
        st.caption(f"All {len(health)} deployments work." if health else "There is none that can be called.")
    for one in left[:20]:
        name = plain(one.deployment) + ("" if one.key == "shared" else ", an own key")
        row = f"{name} {gateway_parts.badge(one)} {one.failures} failures in a row"
        st.markdown(row, help=gateway_parts.breaker(one))
    if left:
        st.caption("Pause one, or have it called again, on the admin page under Gateway.")
