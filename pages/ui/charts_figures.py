"""The figures on the usage page: stacked bars, lines and shares over groups, and the pace of a month."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import plotly.graph_objects as go

from pages.ui import charts, figures
from pages.ui.charts import OTHERS, OTHERS_COLOUR, Unit

if TYPE_CHECKING:
    from pandas import DataFrame

_HEIGHT: Final = 260
_FEW: Final = 62  # points whose places a line still marks, so that one alone is seen too
_STAYS: Final = {"marker": {"opacity": 1}}  # what is not selected is no less there


def stacked(
    table: "DataFrame", colour: Mapping[str, str], unit: Unit, step: str, names: Mapping[str, str] | None = None
) -> go.Figure:
    """Bars over time, a part for each group, which its `legendgroup` names. `table`: as `charts.wide` makes it."""
    moments, sums = table.index.tolist(), table.sum(axis="columns")
    several = len(table.columns) > 1
    whole = [f" of {unit.say(value)}" if several else "" for value in sums.tolist()]
    figure = go.Figure()
    for group in table.columns:
        values = table[group].tolist()
        label = charts.shortened((names or {}).get(group, group))
        figure.add_bar(
            x=moments,
            y=[value or None for value in values],
            name=label,
            legendgroup=group,
            marker={"color": colour.get(group, OTHERS_COLOUR), "line_width": 0},
            unselected=_STAYS,
            customdata=[f"{unit.say(value)}{rest}" if value else "" for value, rest in zip(values, whole, strict=True)],
            hovertemplate=f"<b>{label}</b><br>%{{x}}<br>%{{customdata}}<extra></extra>",
        )
    figure.update_layout(charts.layout(_HEIGHT), barmode="stack", bargap=0.18, hovermode="closest")
    figure.update_xaxes(charts.time_axis(moments, step))
    _scale(figure, unit, max(sums.max(), 0.0) if len(table) else 0.0)
    return figure


def lines(
    table: "DataFrame", colour: Mapping[str, str], unit: Unit, step: str, names: Mapping[str, str] | None = None,
    by_tens: bool = False, dash: Mapping[str, str] | None = None, apart: bool = False,
) -> go.Figure:  # fmt: skip
    """A line for each column of `table`, whose index is labels on the time axis; NA breaks a line. `by_tens`: on an
    axis where each mark is ten times the one below, for numbers that far apart. `dash`: of lines that are not solid.
    `apart`: the pointer finds one line's point instead of all lines' at its time."""
    moments = table.index.tolist()
    figure = go.Figure()
    for group in table.columns:
        values = [None if value != value else value for value in table[group].astype("float64").tolist()]
        label = charts.shortened((names or {}).get(group, group))
        figure.add_scatter(
            x=moments,
            y=values,
            name=label,
            legendgroup=group,
            mode="lines+markers",  # only what is marked can be selected
            line={"color": colour.get(group, OTHERS_COLOUR), "width": 2, "dash": (dash or {}).get(group, "solid")},
            marker={"size": 5 if len(moments) <= _FEW else 2},
            unselected=_STAYS,
            customdata=["" if value is None else unit.say(value) for value in values],
            hovertemplate=f"<b>{label}</b><br>%{{x}}<br>%{{customdata}}<extra></extra>" if apart else "%{customdata}",
        )
    top = table.max().max() if table.size else 0.0
    figure.update_layout(charts.layout(_HEIGHT), hovermode="closest" if apart else "x unified")
    figure.update_xaxes(charts.time_axis(moments, step))
    _scale(figure, unit, float(top) if top == top else 0.0)
    if by_tens:
        figure.update_yaxes(type="log", dtick=1, rangemode="normal")
    return figure


def shares(
    values: Mapping[str, float], colour: Mapping[str, str], unit: Unit, names: Mapping[str, str] | None = None
) -> go.Figure:
    """One horizontal bar for each group with its number and its share of all, the largest on top, `OTHERS` last.

    A bar's `legendgroup` names its group.
    """
    found: dict[str, float] = {}
    for group, value in values.items():
        shown = group if group in colour else OTHERS
        found[shown] = found.get(shown, 0.0) + value
    ranked = sorted(((group, value) for group, value in found.items() if value), key=lambda one: -one[1])
    ranked.sort(key=lambda one: one[0] == OTHERS)
    whole = sum(found.values()) or 1.0
    figure = go.Figure()
    labels = _distinct([charts.shortened((names or {}).get(group, group)) for group, _ in ranked])
    for label, (group, value) in zip(labels, ranked, strict=True):
        figure.add_bar(
            x=[value], y=[label], text=[f" {unit.say(value)} · {figures.percent(value / whole)}"], legendgroup=group,
            orientation="h", textposition="outside", cliponaxis=False, hoverinfo="none", unselected=_STAYS,
            marker={"color": colour.get(group, OTHERS_COLOUR), "line_width": 0},
        )  # fmt: skip
    figure.update_layout(
        charts.layout(64 + 34 * max(len(ranked), 1)), bargap=0.35, barmode="overlay", hovermode="closest"
    )
    # The longest bar leaves room for its own text to the right.
    figure.update_xaxes(visible=False, range=[0, max([value for _, value in ranked], default=1.0) * 1.75])
    figure.update_yaxes(autorange="reversed", showgrid=False, ticklabelstandoff=6)
    return figure


def pace(
    days: Sequence[str], spent: Sequence[float], last_day: str, band: tuple[float, ...] | None,
    lines: Mapping[str, float],
) -> go.Figure:  # fmt: skip
    """What a month has cost so far, day by day, and what it may cost until its end. All in US$.

    `days`: the days so far, `spent`: what was spent up to the end of each. `band`: the low, expected and high cost of
    the whole month, None where it cannot be told yet. `lines`: budgets by name, drawn across.
    """
    figure, ahead = go.Figure(), [days[-1], last_day]
    drawn = [(list(days), list(spent), "solid")]
    if band is not None:
        low, expected, high = band
        drawn.append((ahead, [spent[-1], expected], "dot"))
        for bound, fill in ((low, None), (high, "tonexty")):
            figure.add_scatter(
                x=ahead, y=[spent[-1], bound], mode="lines", line_width=0, fill=fill, fillcolor="rgba(61,138,184,0.2)",
                hoverinfo="skip",
            )  # fmt: skip
    for x, y, dash in drawn:
        figure.add_scatter(
            x=x, y=y, mode="lines+markers", marker_size=4, unselected=_STAYS,
            line={"color": charts.ACCENT, "width": 2, "dash": dash},
            customdata=[charts.USD.say(value) for value in y], hovertemplate="%{x}<br>%{customdata}<extra></extra>",
        )  # fmt: skip
    for name, amount in lines.items():
        figure.add_hline(
            amount, line={"color": "#D55E00", "width": 1.5, "dash": "dash"}, annotation_text=charts.shortened(name),
            annotation_position="top left",
        )  # fmt: skip
    figure.update_layout(charts.layout(_HEIGHT), hovermode="closest")
    moments = [*days, *([last_day] if last_day > days[-1] else [])]
    figure.update_xaxes(charts.time_axis(moments, "day"), tickvals=[days[0], days[-1], last_day])
    top = max([spent[-1], *(band or ()), *lines.values()])
    figure.update_yaxes(charts.USD.axis(top), nticks=6, range=[0, top * 1.12 or 1])
    return figure


def _scale(figure: go.Figure, unit: Unit, top: float) -> None:
    """The axis of the numbers. Where all are 0 it shows no others."""
    figure.update_yaxes(unit.axis(top), nticks=6)
    if not top:
        figure.update_yaxes(range=[0, 1], tickvals=[0])


def _distinct(names: list[str]) -> list[str]:
    """Names that the axis keeps apart: two that look the same differ by a space that is not seen."""
    seen: dict[str, int] = {}
    found: list[Any] = []
    for name in names:
        count = seen[name] = seen.get(name, 0) + 1
        found.append(name + "\u200b" * (count - 1))
    return found
