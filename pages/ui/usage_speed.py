"""Speed: how long people wait for the first word and for the whole reply, and how fast the words come."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import streamlit as st

from chatcore.usage import Totals
from pages.ui import charts, figures, usage_export
from pages.ui import usage_parts as parts
from pages.ui.usage_data import View, summed

if TYPE_CHECKING:
    from pandas import DataFrame, Series

PERCENTILES: Final = ("p50", "p95", "p99")
BYS: Final = ("all", "provider", "model")
_METRICS: Final = {"ttft": "Time to first word", "latency": "Time to the whole reply"}
_MOST: Final = 8  # lines of one chart
By = Literal["model", "provider"]


def draw(view: View) -> None:
    _cards(view)
    parts.notes(view.totals())
    # Its key is its name in the address; what the other tabs split by has more choices.
    chosen = st.segmented_control("By", BYS, key="speed", default="all", required=True, bind="query-params")
    by: By = "provider" if chosen == "provider" else "model"
    steps = summed(view.series(by))[["start"]]
    over_time = view.percentiles("none" if chosen == "all" else by, over_time=True)
    colour = _largest(view, by)
    with st.grid(2, min_column_width=400):
        for metric, title in _METRICS.items():
            mine = over_time[over_time["metric"] == metric]
            if chosen == "all":
                _all(view, title, steps, mine)
            else:
                _each(view, f"{title}, p95 by {by}", by, steps, mine, colour)
    _words(view, by, steps, colour)
    left = len(view.breakdown(by)) - len(colour)
    if left:
        those = f"{left:,} {by}s with fewer calls are" if left > 1 else f"One {by} with fewer calls is"
        st.caption(f"{those} left out of the charts by {by}. The table has all.")
    shown = _table(view, by)
    usage_export.draw(view, {f"Percentiles per {view.step}": over_time, "Table": shown})


def _largest(view: View, by: By) -> dict[str, str]:
    """The colours of those with most calls."""
    frame = view.breakdown(by).sort_values(["calls", "group"], ascending=[False, True])
    return charts.colours(frame["group"].tolist()[:_MOST], list(view.known[by]))


def _all(view: View, title: str, steps: "DataFrame", frame: "DataFrame") -> None:
    """The percentiles of all calls together."""
    table = frame.set_index("start").reindex(steps["start"])
    if table["p50"].notna().any():
        columns = {name: table[name] / 1000 for name in PERCENTILES}
        parts.curves(view, title, steps, columns, charts.PERCENTILES, charts.SECONDS, dash=charts.DASHES)


def _each(
    view: View, title: str, by: By, steps: "DataFrame", frame: "DataFrame", colour: Mapping[str, str]
) -> None:  # fmt: skip
    """The 95th percentile, a line for each of the models or providers that have a colour."""
    table = frame.pivot(index="start", columns="group", values="p95").reindex(steps["start"]) / 1000
    columns = {one: table[one] for one in colour if one in table.columns}
    if columns:
        parts.curves(view, title, steps, columns, colour, charts.SECONDS, by=by)


def _cards(view: View) -> None:
    now, before = view.percentiles("none"), view.percentiles_before()
    sums, old = view.totals(), view.previous()

    def card(label: str, metric: str, column: str) -> parts.Card:
        mine, then = _one(now, metric, column), _one(before, metric, column)
        return parts.Card(label, figures.duration(mine), parts.change(mine, then), "inverse")

    found = [
        card("First word, p50", "ttft", "p50"),
        card("First word, p95", "ttft", "p95"),
        card("Whole reply, p50", "latency", "p50"),
        card("Whole reply, p95", "latency", "p95"),
        parts.Card(
            "Tokens / s", _rate(sums), parts.change(sums.tokens_per_second, old.tokens_per_second), "normal",
            "Said after the first word, in all calls together.",
        ),
    ]  # fmt: skip
    parts.cards(found, view)


def _one(frame: "DataFrame", metric: str, column: str) -> float | None:
    values = frame.loc[frame["metric"] == metric, column]
    return None if values.empty or values.isna().all() else float(values.iloc[0])


def _rate(sums: Totals) -> str:
    speed = sums.tokens_per_second
    return "–" if speed is None else f"{speed:,.0f}"


def _words(view: View, by: By, steps: "DataFrame", colour: Mapping[str, str]) -> None:
    """Tokens per second over time, a line for each of the models or providers that have a colour."""
    frame = view.series(by)
    speed = frame.assign(speed=per_second(frame)).pivot(index="start", columns="group", values="speed")
    table = speed.reindex(steps["start"])
    columns = {one: table[one] for one in colour if one in table.columns and table[one].notna().any()}
    if columns:
        unit = charts.count("tokens per second")
        parts.curves(view, f"Tokens per second by {by}", steps, columns, colour, unit, by=by)


def per_second(frame: "DataFrame") -> "Series[Any]":
    """Tokens said after the first word per second of saying them; NA where nothing was said."""
    generating = frame["generating_ms"].where(frame["generating_ms"] > 0)
    return frame["generated_tokens"] / generating * 1000


def _table(view: View, by: By) -> "DataFrame":
    frame = view.percentiles(by)
    table = view.breakdown(by)[["group", "calls", "tokens_per_second"]]
    for metric, short in (("ttft", "First"), ("latency", "Whole")):
        mine = frame[frame["metric"] == metric].set_index("group")[list(PERCENTILES)]
        table = table.join(mine.rename(columns={name: f"{short} {name}" for name in PERCENTILES}), on="group")
    number = parts.number
    times = [f"{short} {name}" for short in ("First", "Whole") for name in PERCENTILES]
    columns = {
        "Calls": (table["calls"], number(format="localized", width=80)),
        "Tokens / s": (table["tokens_per_second"], number(format="%.1f")),
        **{name: (table[name].astype("float64"), number()) for name in times},
    }
    return parts.groups(view, by, table, columns, "usage-speed-table", dict.fromkeys(times, parts.times))
