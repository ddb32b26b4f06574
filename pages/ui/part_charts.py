"""Charts that models make, as plotly figures in the app's colours, and in words for who cannot see them."""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

import plotly.graph_objects as go
import streamlit as st

from chatcore.conversations.parts import ChartPart, Series
from pages.ui.charts import CONFIG, shortened

__all__ = ["CONFIG", "describe", "figure", "legend"]

_HEIGHT: Final = 300
_MOST_TICKS: Final = 12
_MOST_LYING: Final = 20
_LONG_NAME: Final = 8
_MARKED: Final = 60  # points up to which a line shows each of them
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?Z?)?")
_KINDS: Final = {"line": "Line chart", "bar": "Bar chart", "pie": "Pie chart", "scatter": "Scatter chart"}


def figure(chart: ChartPart) -> go.Figure:
    """The figure, without its title. No text of the chart is read as HTML; its colours are the theme's own."""
    drawn = go.Figure()
    if chart.chart == "pie":
        _add_pie(drawn, chart)
    else:
        for place, series in enumerate(chart.series):
            _add_series(drawn, chart, series, place)
    drawn.update_layout(_layout(chart))
    return drawn


def legend(chart: ChartPart) -> str:
    """HTML for the names and colours, "" for a single series. Plotly's own would take most of a chart on a phone."""
    names = [str(name) for name in chart.x] if chart.chart == "pie" else [series.name for series in chart.series]
    if len(names) == 1:
        return ""
    dot = "display:inline-block;width:.7em;height:.7em;border-radius:.15em;margin-right:.4em;background:"
    items = [
        f'<span style="white-space:nowrap"><i style="{dot}{_colour(place)}"></i>{shortened(name)}</span>'
        for place, name in enumerate(names)
    ]
    return f'<div style="display:flex;flex-wrap:wrap;gap:.15em 1.1em;font-size:.85em">{"".join(items)}</div>'


def describe(chart: ChartPart) -> str:
    """One paragraph: what the chart is of, and each series' first, last, lowest and highest value."""
    title = f"{_KINDS[chart.chart]}: {chart.title}." if chart.title else f"{_KINDS[chart.chart]}."
    if chart.chart == "pie":
        slices = zip(chart.x, chart.series[0].values, strict=True)
        return f"{title} " + ", ".join(f"{name}: {_number(value)}" for name, value in slices) + "."
    return " ".join([title, *(_described(series, chart.x) for series in chart.series)])


def _described(series: Series, x: Sequence[str | float]) -> str:
    known = [(value, name) for value, name in zip(series.values, x, strict=True) if value is not None]
    if not known:
        return f"{series.name}: no values."
    (low, low_at), (high, high_at) = min(known, key=lambda one: one[0]), max(known, key=lambda one: one[0])
    ends = f"from {_number(known[0][0])} at {known[0][1]} to {_number(known[-1][0])} at {known[-1][1]}"
    return f"{series.name}: {ends}, lowest {_number(low)} at {low_at}, highest {_number(high)} at {high_at}."


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:,.6g}"


def _colour(place: int) -> str:
    """The theme's colour for a series or slice. They come round again after the last."""
    found: list[str] | None = None
    for option in (f"theme.{st.context.theme.type or 'light'}", "theme"):
        found = found or st.get_option(f"{option}.chartCategoricalColors")
    return found[place % len(found)] if found else "#2563a8"


def _add_pie(drawn: go.Figure, chart: ChartPart) -> None:
    labels = [shortened(str(name)) for name in chart.x]
    # Two slices of one name would be drawn as one: the longer label keeps them apart.
    labels = [label if labels.count(label) == 1 else f"{label} ({place})" for place, label in enumerate(labels, 1)]
    colours = [_colour(place) for place in range(len(labels))]
    drawn.add_pie(
        labels=labels, values=chart.series[0].values, sort=False, direction="clockwise", hole=0.45,
        marker={"colors": colours},
        textinfo="percent", textposition="inside", hovertemplate="%{label}: %{value:,} (%{percent})<extra></extra>",
    )  # fmt: skip


def _add_series(drawn: go.Figure, chart: ChartPart, series: Series, place: int) -> None:
    """Named places stand at 0, 1, 2, …, so that two of the same name stay two."""
    x: Sequence[Any] = list(range(len(chart.x))) if _is_named(chart) else chart.x
    lying, colour = _is_lying(chart), _colour(place)
    values: dict[str, Any] = {
        "x": series.values if lying else x,
        "y": x if lying else series.values,
        "marker": {"color": colour},
        "customdata": [escape(str(name), quote=False) for name in chart.x],
        "hovertemplate": f"%{{customdata}}: %{{{'x' if lying else 'y'}:,}}<extra>{_hover_name(series.name)}</extra>",
    }
    if chart.chart == "bar":
        drawn.add_bar(**values, orientation="h" if lying else "v")
    else:
        lines = "lines+markers" if len(chart.x) <= _MARKED else "lines"
        mode = "markers" if chart.chart == "scatter" else lines
        drawn.add_scatter(**values, mode=mode, line={"color": colour, "dash": "solid" if place < 10 else "dot"})


def _hover_name(name: str) -> str:
    """A name inside a hover template, whose `%{…}` would be read."""
    return escape(name, quote=False).replace("%", "&#37;")


def _is_named(chart: ChartPart) -> bool:
    return not _is_dated(chart) and any(isinstance(name, str) for name in chart.x)


def _is_dated(chart: ChartPart) -> bool:
    return all(isinstance(name, str) and _DAY.fullmatch(name) for name in chart.x)


def _is_lying(chart: ChartPart) -> bool:
    """Bars with long names lie, so that each name has its line."""
    if chart.chart != "bar" or not _is_named(chart) or len(chart.x) > _MOST_LYING:
        return False
    return max(len(str(name)) for name in chart.x) > _LONG_NAME


def _layout(chart: ChartPart) -> dict[str, Any]:
    mode = st.context.theme.type
    ink = st.get_option(f"theme.{mode}.textColor") if mode else None  # Streamlit's own grey has too little contrast
    font = {"color": ink} if ink else {}
    places, values = _axis(chart.x_label, font), _axis(chart.y_label, font)
    if chart.chart == "bar":
        values["rangemode"] = "tozero"
    if _is_named(chart):
        every = 1 if _is_lying(chart) else math.ceil(len(chart.x) / _MOST_TICKS)
        ticks = list(range(0, len(chart.x), every))
        places |= {"tickvals": ticks, "ticktext": [shortened(str(chart.x[place])) for place in ticks]}
        places["autotickangles"] = [0, -45, -90]  # to the left, where there is room for the last one too
    elif _is_dated(chart):
        places["type"] = "date"
    layout: dict[str, Any] = {
        "height": _HEIGHT, "font": font, "margin": {"l": 8, "r": 8, "t": 8, "b": 8}, "dragmode": False,
        "showlegend": False, "xaxis": places, "yaxis": values,
    }  # fmt: skip
    if _is_lying(chart):
        turned = {name: value for name, value in places.items() if name != "autotickangles"}
        layout["height"] = 80 + len(chart.x) * max(34, 16 * len(chart.series))
        layout |= {"xaxis": values, "yaxis": turned | {"autorange": "reversed", "showgrid": False}}
    return layout


def _axis(title: str, font: Mapping[str, str]) -> dict[str, Any]:
    named = {"title": {"text": escape(title, quote=False), "font": font}} if title else {}
    return {"fixedrange": True, "automargin": True, "tickfont": font, **named}
