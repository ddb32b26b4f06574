"""Cache: how often an earlier reply serves, what that saves, and how much sooner it is there."""

from typing import TYPE_CHECKING, Final

import streamlit as st

from chatcore.usage import Totals
from pages.ui import charts, figures, usage_export
from pages.ui import usage_parts as parts
from pages.ui.usage_data import View, summed

if TYPE_CHECKING:
    from pandas import DataFrame

_RATE: Final = {"Hit rate": "#009E73"}
_TIMES: Final = {
    f"From {what}, {name}": colour
    for what, colour in (("the cache", "#009E73"), ("a model", charts.ACCENT))
    for name in ("p50", "p95")
}
_DASHES: Final = {line: charts.DASHES[line[-3:]] for line in _TIMES}


def draw(view: View) -> None:
    _cards(view.totals(), view.previous(), view)
    parts.notes(view.totals())
    if not view.totals().cached:
        st.info("No earlier reply served in this range. Only questions asked again, word for word, can be served so.",
                icon=":material/cached:")  # fmt: skip
        return
    models, colour = view.series("model"), view.colours("model", "saved_nano_usd")
    series = summed(models)
    over_time = view.percentiles("none", over_time=True)
    rate = series["cached"] / series["settled"].where(series["settled"] > 0)
    with st.grid(2, min_column_width=400):
        parts.curves(view, "Hit rate", series, {"Hit rate": rate}, _RATE, charts.SHARE, {"Hit rate": ("cached",)})
        if view.totals().saved_nano_usd:
            saved = models["saved_nano_usd"] / 1e9
            parts.bars(view, f"Saved per {view.step} by model", "model", models, saved, colour, charts.USD)
    _times(view)
    shown = _table(view)
    files = {
        f"Hits per {view.step}": usage_export.named(series, {}),
        f"Times per {view.step}": over_time,
        "Table": shown,
    }
    usage_export.draw(view, files)


def _cards(now: Totals, before: Totals, view: View) -> None:
    rates = [one.share("cached") for one in (now, before)]
    times = view.percentiles("none").set_index("metric")["p50"]
    hit, miss = (
        float(times[name]) if name in times and times[name] == times[name] else None for name in ("hit", "latency")
    )
    old = view.percentiles_before().set_index("metric")["p50"]
    hit_before = float(old["hit"]) if "hit" in old and old["hit"] == old["hit"] else None
    found = [
        parts.Card("Hit rate", figures.percent(rates[0]), parts.points(rates[0], rates[1], before.settled), "normal",
                   f"{now.cached:,} of {now.settled:,} calls."),
        parts.Card("Hits", figures.compact(now.cached), parts.change(now.cached, before.cached), "normal"),
        parts.Card("Saved", figures.usd(now.saved_nano_usd), parts.change(now.saved_nano_usd, before.saved_nano_usd),
                   "normal", "What the replies had cost when they were made."),
        parts.Card("Share saved", figures.percent(now.share_saved),
                   parts.points(now.share_saved, before.share_saved, before.settled), "normal",
                   "Of what all calls would have cost without the cache."),
        parts.Card("A hit takes", figures.duration(hit), parts.change(hit, hit_before), "inverse",
                   f"The median; a call to a model takes {figures.duration(miss)}."),
    ]  # fmt: skip
    parts.cards(found, view)


def _times(view: View) -> None:
    """Hits beside misses over time."""
    frame = view.percentiles("none", over_time=True)
    by_metric = {name: rows.set_index("start") for name, rows in frame.groupby("metric")}
    if "hit" not in by_metric:
        return
    starts = summed(view.series("model"))[["start"]]
    columns = {
        f"From {'the cache' if metric == 'hit' else 'a model'}, {name}":
            by_metric[metric][name].reindex(starts["start"]).astype("float64") / 1000
        for metric in ("hit", "latency") if metric in by_metric
        for name in ("p50", "p95")
    }  # fmt: skip
    parts.curves(
        view,
        "Time to the whole reply, hits beside misses",
        starts,
        columns,
        _TIMES,
        charts.SECONDS,
        by_tens=True,
        dash=_DASHES,
    )


def _table(view: View) -> "DataFrame":
    frame = view.breakdown("model")
    number, calls = parts.number, frame["settled"].where(frame["settled"] > 0)
    columns = {
        "Calls": (frame["calls"], number(format="localized", width=80)),
        "Hits": (frame["cached"], number(format="localized")),
        "Hit rate": parts.parts_of(frame["cached"] / calls, 1.0),
        "Saved": (frame["saved_nano_usd"], number()),
        "Cost": (frame["cost_nano_usd"], number()),
    }
    return parts.groups(
        view, "model", frame, columns, "usage-cache-table", dict.fromkeys(("Saved", "Cost"), parts.dollars)
    )
