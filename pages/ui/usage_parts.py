"""Parts that the tabs of the usage page share: cards, doubts, drawings with their legends, and tables of groups."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import streamlit as st

from chatcore.usage import Totals
from pages.ui import charts, charts_figures, figures, usage_drill
from pages.ui.usage_data import View

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from pandas import DataFrame, Series

Colour = Literal["normal", "inverse", "off"]
_ROWS: Final = 100  # of a table
number: Final = st.column_config.NumberColumn


@dataclass(frozen=True)
class Card:
    """A number with its change. `colour`: `inverse` where a rise is bad, `normal` where it is good, else `off`.
    `note`: shown when pointed at; `says`: always."""

    label: str
    value: str
    delta: str | float | None = None
    colour: Colour = "off"
    note: str | None = None
    says: str | None = None


def cards(found: Sequence[Card], view: View) -> None:
    """The cards in a row, and what their changes are against."""
    with st.container(key="usage_cards"), st.grid(len(found) if len(found) < 6 else 3, min_column_width=140):
        for one in found:
            same = one.delta == 0
            st.metric(
                one.label, one.value, "no change" if same else one.delta, "off" if same else one.colour, border=True,
                help=one.note, height="stretch", delta_arrow="off" if same else "auto", delta_description=one.says,
            )  # fmt: skip
    if any(one.delta is not None for one in found):
        length, before = view.chosen.length.days, view.before
        told = f"{length} days before" if length > 1 else "24 hours before"
        if view.choice.range in ("month", "last-month"):
            told = f"month before, {usage_drill.days(view, before.start, before.end)}"
        st.caption(f"Changes are against the {told}.")


def change(now: float | None, before: float | None) -> str | float | None:
    """`+12%` as a metric's delta, 0 for no change, None where there is nothing to compare with.

    More than ten times as much is told as that: the range before was hardly in use.
    """
    if not before or now is None:
        return None
    if now > before * 10:
        return "over 10×"
    ratio = round((now - before) / before * 100)
    return f"{ratio:+,}%" if ratio else 0


def points(now: float, before: float, comparable: int) -> str | float | None:
    """`+1.2 points` between two shares; None where `comparable`, the calls of the range before, is 0."""
    if not comparable:
        return None
    shift = round((now - before) * 100, 1)
    return f"{shift:+.1f} points" if shift else 0


def share(part: float, whole: float) -> float:
    """0 to 1; 0 of nothing."""
    return part / whole if whole else 0.0


def notes(sums: Totals) -> None:
    """What the numbers lack, and what stands in them with a doubt."""
    texts = (
        (sums.unpriced, "orange", "without a known price"),
        (sums.estimated, "gray", "with estimated tokens"),
        (sums.running, "blue", "still running"),
        (sums.demo, "violet", "of demo data"),
    )
    badges = [
        f":{colour}-badge[{count:,} {'call' if count == 1 else 'calls'} {text}]"
        for count, colour, text in texts
        if count
    ]
    if badges:
        st.markdown(" ".join(badges))


def card_cost(now: Totals, before: Totals) -> Card:
    """What it cost and each call of it, with the calls that it lacks."""
    each, delta = now.average_cost_nano_usd, change(now.cost_nano_usd, before.cost_nano_usd)
    if now.unpriced and now.settled - now.unpriced <= now.cached:  # only what the cache served, for nothing
        return Card("Cost", figures.usd(None), note=f"No call to a model has a known price, of {now.unpriced:,}.")
    note = f"Without {now.unpriced:,} calls that have no known price. " if now.unpriced else ""
    note += "" if each is None else f"{figures.usd(round(each))} a call.".replace("$", "\\$")
    return Card("Cost", figures.usd(now.cost_nano_usd), delta, "inverse", note or None)


def card_calls(now: Totals, before: Totals) -> Card:
    return Card("Calls", figures.compact(now.calls), change(now.calls, before.calls), "off", f"{now.calls:,} calls.")


def drawing(
    title: str, unit: str, figure: "go.Figure", *, pick: usage_drill.Pick | None = None, legend: str = ""
) -> None:
    """A card with a drawing. `unit`: what its numbers are, beside the title. `pick`: the calls behind a part of it."""
    with st.container(border=True, height="stretch"):
        st.markdown(f"**{title}** :gray[({unit})]")
        if legend:
            st.html(legend)
        key = f"usage-chart-{title}"
        if pick is None:
            st.plotly_chart(figure, config=charts.CONFIG, key=key, alt=title)
        else:
            usage_drill.chart(figure, key, title, pick)


def bars(
    view: View, title: str, by: str, frame: "DataFrame", value: "Series[Any]", colour: Mapping[str, str],
    unit: charts.Unit, *, with_legend: bool = True,
) -> None:  # fmt: skip
    """A card with stacked bars over time, a part of them for each group, whose calls can be looked at."""
    names = view.names(by)
    table = charts.wide(frame, value, colour, view.step)
    if not len(table.columns):
        with st.container(border=True, height="stretch"):
            st.markdown(f"**{title}** :gray[({unit.name})]")
            st.caption("Nothing in this range.")
        return
    figure = charts_figures.stacked(table, colour, unit, view.step, names)
    shown = list(table.columns)
    legend = charts.legend(colour, shown, names) if with_legend and by != "none" else ""
    drawing(title, unit.name, figure, pick=usage_drill.by_step(view, frame, by, colour), legend=legend)


def parts_of_a_whole(
    view: View, title: str, by: str, frame: "DataFrame", value: "Series[Any]", colour: Mapping[str, str],
    unit: charts.Unit,
) -> None:  # fmt: skip
    """A card with a bar for each group of a breakdown, whose calls can be looked at."""
    values = dict(zip(frame["group"], value.fillna(0).astype("float64"), strict=True))
    figure = charts_figures.shares(values, colour, unit, view.names(by))
    drawing(title, unit.name, figure, pick=usage_drill.by_group(view, by, list(values), colour))


def curves(
    view: View, title: str, frame: "DataFrame", columns: Mapping[str, "Series[Any]"], colour: Mapping[str, str],
    unit: charts.Unit, outcomes: usage_drill.Outcomes | None = None, by: str = "none", by_tens: bool = False,
    dash: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """A card with lines over time. `frame`: one row for each step; `columns`: by name, a number for each of its rows.
    A selected point shows the calls of its step; only of the `outcomes` of its line, or of the group that it is.
    `dash`: by name, of lines that are not solid."""
    import pandas as pd

    table = pd.DataFrame({name: values.astype("float64").to_numpy() for name, values in columns.items()})
    table.index = pd.Index(charts.labels(frame["start"], view.step).tolist())
    names, apart = view.names(by), outcomes is not None or by != "none"
    figure = charts_figures.lines(table, colour, unit, view.step, names, by_tens=by_tens, dash=dash, apart=apart)
    pick = usage_drill.by_step(view, frame.assign(group=""), by, colour, outcomes)
    drawing(title, unit.name, figure, pick=pick, legend=charts.legend(colour, list(columns), names, dash))


def groups(
    view: View, by: str, frame: "DataFrame", columns: Mapping[str, tuple["Series[Any]", Any]], key: str,
    says: Mapping[str, Callable[[Any], str]] | None = None,
) -> "DataFrame":  # fmt: skip
    """A table of groups whose rows show the calls behind them; returns it for a file, money in US$ there.

    `frame`: with `group`; `columns`: by heading, its values and how Streamlit shows them; `says`: by heading, how a
    number is written (it is still sorted as a number).
    """
    import pandas as pd

    names = view.names(by)
    told = [names.get(one, one) for one in frame["group"]]
    title = heading(by)
    shown = pd.DataFrame({title: told, **{name: values.to_numpy() for name, (values, _) in columns.items()}})
    config = {title: st.column_config.TextColumn(pinned=True), **{name: how for name, (_, how) in columns.items()}}
    picks = [usage_drill.group(view, by, one, name) for one, name in zip(frame["group"], told, strict=True)]
    some: Any = shown.head(_ROWS)
    if says:
        some = some.style.format(dict(says))
    usage_drill.table(some, key, f"Calls by {title.lower()}", picks, column_config=config)
    if len(shown) > _ROWS:
        st.caption(f"The first {_ROWS} of {len(shown):,}. The file has all of them.")
    return _for_file(shown, says or {})


def _for_file(shown: "DataFrame", says: Mapping[str, Callable[[Any], str]]) -> "DataFrame":
    """The table with its units: dollars as such, and what else is written in words named by what it is."""
    money = [name for name, say in says.items() if say is dollars]
    found = shown.assign(**{name: shown[name].astype("Float64") / 1e9 for name in money})
    units = dict.fromkeys(money, "US$") | {name: "ms" for name, say in says.items() if say is times}
    return found.rename(columns={name: f"{name} ({unit})" for name, unit in units.items()})


def parts_of(values: "Series[Any]", whole: float | None = None) -> tuple["Series[Any]", Any]:
    """A column with bars of how much each value is of the whole, their sum where it is not given."""
    shares = values.astype("Float64") / (whole or max(float(values.fillna(0).sum()), 1.0)) * 100
    return shares, st.column_config.ProgressColumn(format="%.1f%%", min_value=0, max_value=100, width=120)


def heading(by: str) -> str:
    """The heading of a column of groups."""
    return {"user": "Person", "error": "Error", "none": "All"}.get(by, by.capitalize())


def dollars(value: Any) -> str:
    """Nano-USD in a table; a dash where it is unknown."""
    import pandas as pd

    return "–" if pd.isna(value) else figures.usd(round(float(value)))


def compact(value: Any) -> str:
    """A large number in a table, as the cards and charts write it."""
    return figures.compact(float(value))


def times(value: Any) -> str:
    """Milliseconds in a table; a dash where there are none."""
    import pandas as pd

    return "–" if pd.isna(value) else figures.duration(float(value))


def empty(is_admin: bool, filtered: bool) -> None:
    """What to do where there is no call."""
    with st.container(border=True, horizontal_alignment="center"):
        st.markdown("#### :material/bar_chart: No calls in this range", text_alignment="center")
        hint = "Ask something in a chat, and what it took stands here."
        if filtered:
            hint = "Choose a longer range or fewer filters."
        elif is_admin:
            hint += " To look around first, `python -m chatcore demo-data` makes 90 made-up days that can be removed."
        st.caption(hint, text_alignment="center")
