"""What all charts of usage share: colours, units, axes. They follow Streamlit's light and dark theme and stay readable
at 390 px."""

import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
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
PERCENTILES: Final = {"p50": "#5a9cc5", "p95": "#3d8ab8", "p99": "#2c6e97"}
"""One hue, as no group has it; what tells them apart is their dash."""
DASHES: Final = {"p50": "solid", "p95": "dash", "p99": "dot"}
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


def shown(groups: Sequence[str], values: "Series[Any]") -> list[str]:
    """The groups that a chart tells apart, those of the largest values first; it draws all others as `OTHERS`.

    `groups` and `values`: one of each for a row; NA counts as nothing.
    """
    sizes = [-abs(value) for value in values.fillna(0).astype("float64").tolist()]
    ranked = [name for _, name in sorted(zip(sizes, groups, strict=True), key=lambda one: one[0])]
    return ranked if len(ranked) <= len(_PALETTE) else ranked[: len(_PALETTE) - 1]


def colours(drawn: Sequence[str], known: Sequence[str] = ()) -> dict[str, str]:
    """A colour for each group of `drawn`, no two the same, as many as there are colours; in their order.

    A colour follows from the group's name, so that it is the same in every chart, and stays when other groups come
    and go. Of those that fall on the same colour one, always the same, has it. `known`: all groups there are, also
    outside the range and the filters; where there are colours for all of them, none ever changes within those.
    """
    everybody = {*drawn, *known}
    slots = _slots(everybody if len(everybody) <= len(_PALETTE) else set(drawn[: len(_PALETTE)]))
    return {name: _PALETTE[slots[name]] for name in drawn if name in slots}


def _slots(names: Collection[str]) -> dict[str, int]:
    """A place in the palette for each name: its own where it is the first there, else the next that is nobody's own."""
    wishes = {name: _wishes(name) for name in names}
    found: dict[str, int] = {}
    late = []
    for name in sorted(names, key=wishes.__getitem__):
        own = wishes[name][0]
        if own in found.values():
            late.append(name)
        else:
            found[name] = own
    for name in late:
        taken = set(found.values())
        found[name] = next(slot for slot in wishes[name] if slot not in taken)
    return found


def _wishes(name: str) -> list[int]:
    """All places in the palette, in an order of the name's own."""
    digest = hashlib.sha256(name.encode("utf-8", "replace")).digest()
    return sorted(range(len(_PALETTE)), key=lambda slot: (digest[slot], slot))


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


def legend(
    colour: Mapping[str, str], drawn: Sequence[str], names: Mapping[str, str] | None = None,
    dash: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """HTML for the names and colours of what is drawn. Plotly's own would take most of a chart on a phone.

    `dash`: of lines that are not solid, by name.
    """
    items = [
        f'<span style="white-space:nowrap">{_sign(colour.get(one, OTHERS_COLOUR), (dash or {}).get(one))}'
        f"{escape((names or {}).get(one, one))}</span>"
        for one in (*colour, OTHERS)
        if one in drawn
    ]
    return f'<div style="display:flex;flex-wrap:wrap;gap:.15em 1.1em;font-size:.85em">{"".join(items)}</div>'


def _sign(colour: str, dash: str | None) -> str:
    """What stands for a group: a dot, or a piece of its line."""
    look = f"width:.7em;height:.7em;border-radius:.15em;background:{colour}"
    if dash:
        kind = {"dash": "dashed", "dot": "dotted"}.get(dash, "solid")
        look = f"width:1.8em;vertical-align:middle;border-top:.17em {kind} {colour}"
    return f'<i style="display:inline-block;margin-right:.4em;{look}"></i>'


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
