"""Tokens: how many go in and out, of which kind, and how many a call takes."""

from typing import TYPE_CHECKING, Final, cast

import streamlit as st

from chatcore.usage import GroupBy, Totals
from pages.ui import charts, charts_figures, figures, filters, usage_drill, usage_export
from pages.ui import usage_parts as parts
from pages.ui.usage_data import View, summed

if TYPE_CHECKING:
    from pandas import DataFrame

_KINDS: Final = {"Prompt, new": charts.ACCENT, "Prompt, cached": "#9CCBE6", "Answer": "#E69F00", "Reasoning": "#CC79A7"}


def draw(view: View) -> None:
    _cards(view.totals(), view.previous(), view)
    parts.notes(view.totals())
    by = cast(GroupBy, view.choice.by)
    filters.draw_by(view.known)
    series, groups, colour = view.series(by), view.breakdown(by), view.colours(by, "tokens")
    tokens = series["prompt_tokens"] + series["completion_tokens"]
    kinds = summed(series)
    with st.grid(2, min_column_width=400):
        parts.bars(view, f"Tokens per {view.step} by {filters.BYS[by]}", by, series, tokens, colour, charts.TOKENS)
        _kinds(view, kinds)
    shown = _table(view, by, groups)
    files = {f"Tokens per {view.step}": usage_export.named(series, view.names(by)), "Table": shown}
    usage_export.draw(view, files)


def _cards(now: Totals, before: Totals, view: View) -> None:
    def card(label: str, mine: float, old: float, note: str | None = None) -> parts.Card:
        return parts.Card(label, figures.compact(mine), parts.change(mine, old), "off", note)

    each = [one.average_tokens or 0.0 for one in (now, before)]
    cached = f"Of these the provider had {figures.percent(parts.share(now.cached_tokens, now.prompt_tokens))} cached."
    found = [
        card("Prompt", now.prompt_tokens, before.prompt_tokens, "Cached ones too."),
        card("Prompt, cached", now.cached_tokens, before.cached_tokens, cached),
        card("Completion", now.completion_tokens, before.completion_tokens, "Reasoning too."),
        card("Reasoning", now.reasoning_tokens, before.reasoning_tokens, "Thought, not said; paid all the same."),
        card("Tokens per call", each[0], each[1], "In and out, over the calls that have ended."),
    ]
    parts.cards(found, view)


def _kinds(view: View, frame: "DataFrame") -> None:
    """Bars of the four kinds of tokens, whose colours are no model's."""
    import pandas as pd

    values = {
        "Prompt, new": (frame["prompt_tokens"] - frame["cached_tokens"]).clip(lower=0),
        "Prompt, cached": frame["cached_tokens"],
        "Answer": (frame["completion_tokens"] - frame["reasoning_tokens"]).clip(lower=0),
        "Reasoning": frame["reasoning_tokens"],
    }
    long = pd.concat([frame[["start"]].assign(group=name, value=value) for name, value in values.items()])
    table = charts.wide(long, long["value"], _KINDS, view.step)
    figure = charts_figures.stacked(table, _KINDS, charts.TOKENS, view.step)
    pick = usage_drill.by_step(view, frame, "none", {})
    legend = charts.legend(_KINDS, list(table.columns))
    parts.drawing(f"Tokens per {view.step} by kind", "tokens", figure, pick=pick, legend=legend)


def _table(view: View, by: GroupBy, groups: "DataFrame") -> "DataFrame":
    number = parts.number
    settled = groups["settled"].where(groups["settled"] > 0)
    sums = ("Prompt", "Cached", "Completion", "Reasoning")
    columns = {
        "Calls": (groups["calls"], number(format="localized", width=80)),
        **{name: (groups[f"{name.lower()}_tokens"], number()) for name in sums},
        "Tokens / call": (groups["average_tokens"].round(), number(format="localized", help="In and out.")),
        "In / call": ((groups["prompt_tokens"] / settled).round(), number(format="localized")),
        "Out / call": ((groups["completion_tokens"] / settled).round(), number(format="localized")),
        "Estimated": (
            groups["estimated"],
            number(format="localized", help="Calls whose tokens we counted, as the provider did not say.", width=80),
        ),
    }
    if not view.totals().estimated:
        del columns["Estimated"]
    return parts.groups(view, by, groups, columns, "usage-tokens-table", dict.fromkeys(sums, parts.compact))
