"""Charts of usage: plotly figures that follow Streamlit's light and dark theme and stay readable at 390 px."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final, Literal

import plotly.graph_objects as go
import streamlit as st

from pages.ui import figures

if TYPE_CHECKING:
    from pandas import DataFrame

Measure = Literal["tokens", "cost"]
_MEASURES: Final[tuple[Measure, ...]] = ("tokens", "cost")

OTHERS: Final = "Others"
CONFIG: Final = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False, "showAxisDragHandles": False}

# Okabe and Ito's colours, made for every kind of colour vision, without black and with a yellow and a violet that
# stand out from white as well as from black. https://jfly.uni-koeln.de/color/
_PALETTE: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8F6BD6", "#B8AC00")
_OTHERS_COLOUR: Final = "#8C8C8C"
_MAX_LABEL: Final = 20
# Streamlit writes plotly charts in a grey of too little contrast.
_INK: Final = {"light": "#3b424b", "dark": "#d3d8de"}


def colours(by_model: "DataFrame", known: Sequence[str]) -> dict[str, str]:
    """A colour for each model that gets one, the weightiest first; models that are not in it are drawn as `OTHERS`.

    `by_model`: as `Usage.by_model` returns it. A model weighs as much as the larger of its shares of tokens and cost.
    `known`: all models there are, also outside the range and the filters. A model's colour follows from its place
    among them, so that it stays when those change; only with more models than colours may two that meet differ.
    """
    tokens = by_model["prompt_tokens"] + by_model["completion_tokens"]
    cost = by_model["cost_nano_usd"].fillna(0).astype("float64")
    weight = (tokens / max(tokens.sum(), 1)).combine(cost / max(cost.sum(), 1.0), max)
    ranked = by_model["model"].iloc[weight.argsort(kind="stable")[::-1]].tolist() if len(by_model) else []
    shown = ranked if len(ranked) <= len(_PALETTE) else ranked[: len(_PALETTE) - 1]
    return _assigned(shown, list(dict.fromkeys([*known, *ranked])))


def _assigned(shown: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Each shown model takes the colour of its place, or the next one that is free."""
    free, found = list(range(len(_PALETTE))), {}
    for name in sorted(shown, key=known.index):
        wanted = known.index(name) % len(_PALETTE)
        slot = wanted if wanted in free else free[0]
        free.remove(slot)
        found[name] = _PALETTE[slot]
    return {name: found[name] for name in shown}


def per_day(by_day: "DataFrame", measure: Measure, colour: Mapping[str, str], by_hour: bool) -> go.Figure:
    """Stacked bars, one for each day or hour. `by_day`: as `Usage.tokens_by_day` returns it."""
    wide = _wide(by_day, measure, colour)
    moments = [f"{moment:%Y-%m-%d %H:%M}" for moment in wide.index]
    figure = go.Figure()
    for name in wide.columns:
        values = [value or None for value in wide[name].tolist()]
        label = [
            figures.usd(round(value * 1e9)) if measure == "cost" else figures.compact(value)
            for value in wide[name].tolist()
        ]
        marker = {"color": colour.get(name, _OTHERS_COLOUR), "line_width": 0}
        template = "%{customdata}"
        figure.add_bar(
            x=moments, y=values, name=shortened(name), marker=marker, customdata=label, hovertemplate=template
        )
    top = max(wide.sum(axis="columns").max(), 0.0) if len(wide) else 0.0
    figure.update_layout(_layout(260), barmode="stack", bargap=0.18, hovermode="x unified", showlegend=False)
    figure.update_xaxes(type="date", hoverformat="%-d %b, %H:%M" if by_hour else "%-d %b")
    figure.update_xaxes(tickvals=_few(moments), tickformat="%H:%M<br>%-d %b" if by_hour else "%-d %b", tickangle=0)
    figure.update_yaxes(_dollars(top) if measure == "cost" else {"exponentformat": "B"}, nticks=6)
    return figure


def cost_share(by_model: "DataFrame", colour: Mapping[str, str]) -> go.Figure:
    """One horizontal bar for each model with its cost and its share of all known cost, the dearest on top."""
    priced = by_model[by_model["cost_nano_usd"].notna()]
    cost: dict[str, int] = {}
    for name, value in zip(priced["model"], priced["cost_nano_usd"], strict=True):
        name = name if name in colour else OTHERS
        cost[name] = cost.get(name, 0) + int(value)
    ranked = sorted(cost.items(), key=lambda item: (item[0] == OTHERS, -item[1]))
    whole = max(sum(cost.values()), 1)
    figure = go.Figure(
        go.Bar(
            x=[value / 1e9 for _, value in ranked],
            y=[shortened(name) for name, _ in ranked],
            text=[f" {figures.usd(value)} · {figures.percent(value / whole)}" for _, value in ranked],
            orientation="h", textposition="outside", cliponaxis=False, hoverinfo="skip",
            marker={"color": [colour.get(name, _OTHERS_COLOUR) for name, _ in ranked], "line_width": 0},
        )
    )  # fmt: skip
    figure.update_layout(_layout(64 + 34 * max(len(ranked), 1)), bargap=0.35, showlegend=False)
    # The dearest bar leaves room for its own text to the right.
    figure.update_xaxes(visible=False, range=[0, max([value / 1e9 for _, value in ranked], default=1.0) * 1.75])
    figure.update_yaxes(autorange="reversed", showgrid=False, ticklabelstandoff=6)
    return figure


def legend(by_day: "DataFrame", colour: Mapping[str, str]) -> str:
    """HTML for the names and colours of all charts. Plotly's own legend would take most of a chart on a phone."""
    dot = "display:inline-block;width:.7em;height:.7em;border-radius:.15em;margin-right:.4em;background:"
    drawn = {name for measure in _MEASURES for name in _wide(by_day, measure, colour).columns}
    names = [(name, colour.get(name, _OTHERS_COLOUR)) for name in (*colour, OTHERS) if name in drawn]
    items = [
        f'<span style="white-space:nowrap"><i style="{dot}{code}"></i>{escape(name)}</span>' for name, code in names
    ]
    return f'<div style="display:flex;flex-wrap:wrap;gap:.15em 1.1em;font-size:.85em">{"".join(items)}</div>'


def shortened(name: str) -> str:
    """A name that leaves room for the bars on a phone. Its text is never read as HTML."""
    return escape(name if len(name) <= _MAX_LABEL else f"{name[: _MAX_LABEL - 1]}…", quote=False)


def _wide(by_day: "DataFrame", measure: Measure, colour: Mapping[str, str]) -> "DataFrame":
    """A row for each moment, a column for each shown group, in the order of the colours, `OTHERS` last."""
    if measure == "tokens":
        value = (by_day["prompt_tokens"] + by_day["completion_tokens"]).astype("float64")
    else:
        value = by_day["cost_nano_usd"].fillna(0).astype("float64") / 1e9
    group = by_day["group"].where(by_day["group"].isin(list(colour)), OTHERS)
    wide = by_day.assign(value=value, group=group).pivot_table(
        index="day", columns="group", values="value", aggfunc="sum", fill_value=0.0
    )
    return wide[[name for name in (*colour, OTHERS) if name in wide.columns and wide[name].any()]]


def _layout(height: int) -> dict[str, Any]:
    ink = _INK.get(st.context.theme.type or "")
    font = {"color": ink} if ink else {}
    return {
        "height": height,
        "font": font,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "dragmode": False,
        "xaxis": {"fixedrange": True, "automargin": True, "tickfont": font, "title_font": font},
        "yaxis": {"fixedrange": True, "automargin": True, "rangemode": "tozero", "tickfont": font, "title_font": font},
    }


def _dollars(top: float) -> dict[str, Any]:
    """A cost axis with as many digits as its highest value needs."""
    digits = 0 if top >= 8 else 2 if top >= 0.08 else min(2 - math.floor(math.log10(top)), 9) if top > 0 else 2
    return {"tickprefix": "$", "tickformat": f",.{digits}f"}


def _few(moments: Sequence[str]) -> Sequence[str]:
    """At most five of the moments, evenly apart, for a label under each: that many fit on a phone."""
    return moments[:: math.ceil(len(moments) / 5) or 1]
