"""What all charts of usage share: colours, units, axes. They follow Streamlit's light and dark theme and stay readable
at 390 px."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from pages.ui import figures

if TYPE_CHECKING:
    from pandas import DataFrame, Series

OTHERS: Final = "Others"
CONFIG: Final = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False, "showAxisDragHandles": False}

# Okabe and Ito's colours, made for every kind of colour vision, without black and with a yellow and a violet that
# stand out from white as well as from black. https://jfly.uni-koeln.de/color/ Behind them four more that differ in
# lightness too, as with fewer colours a company's fifty models would mostly be others.
_PALETTE: Final = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8F6BD6", "#B8AC00"),
    *("#8C5A2B", "#17BECF", "#D6308A", "#7FBF4D"),
)
OTHERS_COLOUR: Final = "#8C8C8C"
ACCENT: Final = "#3d8ab8"
"""For what is no group, on white as on black."""
_MAX_LABEL: Final = 20
# Streamlit writes plotly charts in a grey of too little contrast.
_INK: Final = {"light": "#3b424b", "dark": "#d3d8de"}


@dataclass(frozen=True)
class Unit:
    """What a chart's numbers are. `say`: one of them in words; `axis`: the settings of its axis, from its top value."""

    name: str
    say: Callable[[float], str]
    axis: Callable[[float], dict[str, Any]]


def _dollars(top: float) -> dict[str, Any]:
    """A cost axis with as many digits as its highest value needs."""
    digits = 0 if top >= 8 else 2 if top >= 0.08 else min(2 - math.floor(math.log10(top)), 9) if top > 0 else 2
    return {"tickprefix": "$", "tickformat": f",.{digits}f"}


def _plain(_top: float) -> dict[str, Any]:
    return {"exponentformat": "B", "separatethousands": True}


def _percents(top: float) -> dict[str, Any]:
    return {"tickformat": ".0%" if top >= 0.05 or not top else ".1%"}


USD: Final = Unit("US$", lambda value: figures.usd(round(value * 1e9)), _dollars)
TOKENS: Final = Unit("tokens", figures.compact, _plain)
CALLS: Final = Unit("calls", figures.compact, _plain)
SHARE: Final = Unit("share of calls", figures.percent, _percents)
SECONDS: Final = Unit("seconds", lambda value: figures.duration(value * 1000), lambda _top: {"ticksuffix": " s"})


def count(name: str) -> Unit:
    """A number of things, as `messages` or `refusals`."""
    return Unit(name, figures.compact, _plain)


def colours(weighed: "DataFrame", known: Sequence[str]) -> dict[str, str]:
    """A colour for each group that gets one, the weightiest first; groups that are not in it are drawn as `OTHERS`.

    `weighed`: as `Usage.breakdown` returns it. A group weighs as much as the larger of its shares of tokens and cost.
    `known`: all groups there are, also outside the range and the filters. A group's colour follows from its place
    among them, so that it stays when those change; only with more groups than colours may two that meet differ.
    """
    tokens = weighed["prompt_tokens"] + weighed["completion_tokens"]
    cost = weighed["cost_nano_usd"].fillna(0).astype("float64")
    weight = (tokens / max(tokens.sum(), 1)).combine(cost / max(cost.sum(), 1.0), max)
    ranked = weighed["group"].iloc[weight.argsort(kind="stable")[::-1]].tolist() if len(weighed) else []
    shown = ranked if len(ranked) <= len(_PALETTE) else ranked[: len(_PALETTE) - 1]
    return _assigned(shown, list(dict.fromkeys([*known, *ranked])))


def _assigned(shown: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Each shown group takes the colour of its place, or the first that is free; the weightiest choose first."""
    free, found = list(range(len(_PALETTE))), {}
    for name in shown:
        wanted = known.index(name) % len(_PALETTE)
        slot = wanted if wanted in free else free[0]
        free.remove(slot)
        found[name] = _PALETTE[slot]
    return found


def wide(frame: "DataFrame", value: "Series[Any]", colour: Mapping[str, str], step: str) -> "DataFrame":
    """A row for each label on the time axis, a column for each shown group, in the order of the colours, `OTHERS` last.

    `frame`: `start` and `group`; `value`: the number of each of its rows, NA counting as nothing. Groups with nothing
    but zeros are left out. The hour that comes twice when a summer time ends is one row.
    """
    group = frame["group"].where(frame["group"].isin(list(colour)), OTHERS)
    found = frame.assign(value=value.fillna(0).astype("float64"), group=group, label=labels(frame["start"], step))
    table = found.pivot_table(index="label", columns="group", values="value", aggfunc="sum", fill_value=0.0)
    return table[[name for name in (*colour, OTHERS) if name in table.columns and table[name].any()]]


def labels(starts: "Series[Any]", step: str) -> "Series[str]":
    """Points in time as a time axis wants them: local days, or days and hours."""
    found: Series[str] = starts.dt.strftime("%Y-%m-%d %H:%M" if step == "hour" else "%Y-%m-%d")
    return found


def legend(colour: Mapping[str, str], drawn: Sequence[str], names: Mapping[str, str] | None = None) -> str:
    """HTML for the names and colours of what is drawn. Plotly's own would take most of a chart on a phone."""
    dot = "display:inline-block;width:.7em;height:.7em;border-radius:.15em;margin-right:.4em;background:"
    items = [
        f'<span style="white-space:nowrap"><i style="{dot}{colour.get(one, OTHERS_COLOUR)}"></i>'
        f"{escape((names or {}).get(one, one))}</span>"
        for one in (*colour, OTHERS)
        if one in drawn
    ]
    return f'<div style="display:flex;flex-wrap:wrap;gap:.15em 1.1em;font-size:.85em">{"".join(items)}</div>'


def shortened(name: str) -> str:
    """A name that leaves room for the bars on a phone. Its text is never read as HTML."""
    return escape(name if len(name) <= _MAX_LABEL else f"{name[: _MAX_LABEL - 1]}…", quote=False)


def layout(height: int) -> dict[str, Any]:
    """What every figure has: our ink, nothing that moves when touched, axes that make room for their labels."""
    # Lookups of the theme fail outside of a run, as in tests of the figures alone.
    ink = _INK.get(st.context.theme.type or "")
    font = {"color": ink} if ink else {}
    axis = {"fixedrange": True, "automargin": True, "tickfont": font, "title_font": font}
    return {
        "height": height,
        "font": font,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "dragmode": False,
        "showlegend": False,
        "xaxis": axis,
        "yaxis": {**axis, "rangemode": "tozero"},
    }


def time_axis(moments: Sequence[str], step: str) -> dict[str, Any]:
    """A time axis with at most five labels, that many fit on a phone, and the year where it is not the same."""
    years = len({moment[:4] for moment in moments}) > 1
    day = "%-d %b<br>%Y" if years else "%-d %b"
    shown = {"hour": "%H:%M<br>%-d %b", "month": "%b<br>%Y"}.get(step, day)
    return {
        "type": "date",
        "tickvals": list(moments[:: math.ceil(len(moments) / 5) or 1]),
        "tickformat": shown,
        "tickangle": 0,
        "hoverformat": hover(step),
    }


def hover(step: str) -> str:
    """How a tooltip names a step."""
    return {"hour": "%-d %b, %H:%M", "month": "%B %Y", "week": "week of %-d %b %Y"}.get(step, "%a %-d %b %Y")
