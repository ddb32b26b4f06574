"""Speed: how long people wait for the first word and for the whole reply, and how fast the words come."""

from typing import TYPE_CHECKING, Any, Final, Literal, cast

import streamlit as st

from chatcore.usage import Totals
from pages.ui import charts, figures, usage_export
from pages.ui import usage_parts as parts
from pages.ui.usage_data import View, summed

if TYPE_CHECKING:
    from pandas import DataFrame, Series

PERCENTILES: Final = {"p50": "#009E73", "p95": "#E69F00", "p99": "#D55E00"}
_METRICS: Final = {"ttft": "Time to first word", "latency": "Time to the whole reply"}
_BYS: Final = ("model", "provider")


def draw(view: View) -> None:
    _cards(view)
    parts.notes(view.totals())
    over_time, steps = view.percentiles("none", over_time=True), summed(view.series("model"))[["start"]]
    with st.grid(2, min_column_width=400):
        for metric, title in _METRICS.items():
            frame = over_time[over_time["metric"] == metric].set_index("start").reindex(steps["start"])
            if frame["p50"].notna().any():
                columns = {name: frame[name] / 1000 for name in PERCENTILES}
                parts.curves(view, title, steps, columns, PERCENTILES, charts.SECONDS)
    _words(view)
    shown = _table(view)
    usage_export.draw(view, {f"Percentiles per {view.step}": over_time, "Table": shown})


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


def _words(view: View) -> None:
    """Tokens per second over time, a line for each of the models that have a colour."""
    frame, colour = view.series("model"), view.colours()
    speed = per_second(frame)
    table = frame.assign(speed=speed)[["start", "group", "speed"]].pivot(index="start", columns="group", values="speed")
    columns = {one: table[one] for one in colour if one in table.columns and table[one].notna().any()}
    if columns:
        steps = table.reset_index()[["start"]]
        parts.curves(view, "Tokens per second by model", steps, columns, colour, charts.count("tokens per second"),
                     by="model")  # fmt: skip


def per_second(frame: "DataFrame") -> "Series[Any]":
    """Tokens said after the first word per second of saying them; NA where nothing was said."""
    generating = frame["generating_ms"].where(frame["generating_ms"] > 0)
    return frame["generated_tokens"] / generating * 1000


def _table(view: View) -> "DataFrame":
    by = cast(
        Literal["model", "provider"],
        st.segmented_control("By", _BYS, key="usage_speed_by", default="model", required=True),
    )
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
