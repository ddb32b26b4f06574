"""Charts: a colour per model that holds in every chart, small ones joined, and amounts that read well."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.ui import charts, charts_figures, figures

DAY = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = [f"m{number}" for number in range(16)]
COLOURS = 12


def tables(models: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`models` models, m0 the biggest, on one day: as `Usage.breakdown` and `Usage.series` return them."""
    names, sizes = [f"m{number}" for number in range(models)], [1000 - number for number in range(models)]
    values = {"prompt_tokens": sizes, "completion_tokens": sizes, "cost_nano_usd": pd.array(sizes, "Int64") * 10**6}
    weighed = pd.DataFrame({"group": pd.Series(names, dtype="str")} | values)
    return weighed, weighed.assign(start=pd.Series([DAY] * models, dtype="datetime64[us, UTC]"))


def bars(by_day: pd.DataFrame, colour: dict[str, str], step: str = "day") -> charts_figures.go.Figure:
    table = charts.wide(by_day, by_day["cost_nano_usd"].astype("Float64") / 1e9, colour, step)
    return charts_figures.stacked(table, colour, charts.USD, step)


def shown(weighed: pd.DataFrame) -> dict[str, str]:
    return charts.colours(charts.shown(weighed["group"].tolist(), weighed["cost_nano_usd"]), NAMES[: len(weighed)])


def test_twelve_models_have_twelve_colours() -> None:
    colours = shown(tables(COLOURS)[0])
    assert list(colours) == [f"m{number}" for number in range(COLOURS)]
    assert len(set(colours.values())) == COLOURS


def test_a_models_colour_does_not_hang_on_what_else_is_shown() -> None:
    whole = charts.colours(NAMES[:8], NAMES[:8])
    for drawn in ([3], [5, 2], [7, 6, 0, 1]):
        assert charts.colours([f"m{number}" for number in drawn], NAMES[:8]) == {
            f"m{number}": whole[f"m{number}"] for number in drawn
        }


@given(st.lists(st.text(min_size=1), min_size=1, max_size=11, unique=True), st.text(min_size=1))
def test_a_new_model_leaves_nearly_all_colours_as_they_are(names: list[str], new: str) -> None:
    """It may take a colour that another had only for want of its own."""
    before, after = charts.colours(names, names), charts.colours([*names, new], [*names, new])
    own = {name for name in names if charts._PALETTE.index(before[name]) == charts._wishes(name)[0]}
    moved = {name for name in own if name != new and after[name] != before[name]}
    assert len(moved) <= 1
    assert all(charts._wishes(name)[0] == charts._wishes(new)[0] for name in moved)


@given(st.lists(st.text(min_size=1), max_size=40, unique=True), st.integers(0, 40))
def test_no_two_groups_of_a_chart_share_a_colour(known: list[str], number: int) -> None:
    drawn = known[:number]
    colours = charts.colours(drawn, known)
    assert len(colours) == min(len(drawn), COLOURS)
    assert len(set(colours.values())) == len(colours)


def test_with_more_models_than_colours_no_two_shown_ones_share_one() -> None:
    colours = charts.colours(["m0", "m12", "m1", "m13", "m15", "m3"], NAMES)
    assert len(set(colours.values())) == len(colours) == 6


def test_a_chart_shows_what_is_largest_in_its_own_measure() -> None:
    by_model, _ = tables(16)
    cost = by_model["cost_nano_usd"].copy()
    cost[15] = 10**12
    assert charts.shown(NAMES, cost)[0] == "m15"
    assert "m15" not in charts.shown(NAMES, by_model["prompt_tokens"])
    assert len(charts.shown(NAMES, cost)) == COLOURS - 1
    cost[3] = pd.NA
    assert "m3" not in charts.shown(NAMES, cost)


@pytest.mark.parametrize("days", [1, 5, 6, 7, 30, 90, 366])
def test_few_days_have_a_label_and_they_fit_on_a_phone(days: int) -> None:
    _, by_day = tables(1)
    whole = pd.concat([by_day.assign(start=by_day["start"] + timedelta(days=number)) for number in range(days)])
    figure = bars(whole, {"m0": "#000000"})
    assert 1 <= len(figure.layout.xaxis.tickvals) <= 5
    assert figure.layout.xaxis.tickvals[0] == "2026-03-01"
    assert figure.layout.xaxis.tickangle == 0


def test_labels_name_the_year_where_there_are_two() -> None:
    assert "%Y" not in charts.time_axis(["2026-03-01", "2026-03-02"], "day")["tickformat"]
    assert "%Y" in charts.time_axis(["2025-12-31", "2026-01-01"], "day")["tickformat"]


def test_more_models_than_colours_are_joined_in_every_chart() -> None:
    by_model, by_day = tables(16)
    colours = shown(by_model)
    figure = bars(by_day, colours)
    values = dict(zip(by_model["group"], by_model["cost_nano_usd"].astype("float64") / 1e9, strict=True))
    share = charts_figures.shares(values, colours, charts.USD)
    assert [bar.name for bar in figure.data] == [*(f"m{number}" for number in range(COLOURS - 1)), charts.OTHERS]
    assert [bar.y[0] for bar in share.data] == [bar.name for bar in figure.data]
    assert [bar.legendgroup for bar in share.data] == [bar.legendgroup for bar in figure.data]
    assert [bar.marker.color for bar in share.data] == [bar.marker.color for bar in figure.data]
    assert sum(bar.y[0] for bar in figure.data) == pytest.approx(sum(values.values()))


def test_no_models_draw_nothing_and_do_not_fail() -> None:
    by_model, by_day = tables(0)
    assert shown(by_model) == {}
    assert len(charts_figures.shares({}, {}, charts.USD).data) == 0
    assert len(bars(by_day, {}).data) == 0


def test_the_legend_names_what_is_drawn_and_is_text() -> None:
    by_model, _ = tables(2)
    by_model.loc[0, "group"] = "<b>"
    colour = shown(by_model)
    text = charts.legend(colour, ["<b>"])
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "m1" not in text


def test_a_tooltip_says_the_part_and_the_whole_and_no_html_of_others() -> None:
    _, by_day = tables(2)
    by_day["group"] = ["<img>", "m1"]
    figure = bars(by_day, {"<img>": "#000000", "m1": "#111111"})
    assert figure.data[0].customdata[0] == "$1.00 of $2.00"
    assert "<img>" not in figure.data[0].hovertemplate
    assert figure.data[0].legendgroup == "<img>"


def test_the_hour_that_comes_twice_is_one_bar() -> None:
    """When summer time ends in Berlin, 02:00 to 03:00 passes twice."""
    first = datetime(2026, 10, 25, 0, tzinfo=UTC)
    starts = pd.date_range(first, periods=3, freq="h", tz="UTC").tz_convert(ZoneInfo("Europe/Berlin"))
    frame = pd.DataFrame({"start": starts, "group": "all", "calls": [1, 2, 4]})
    table = charts.wide(frame, frame["calls"], {"all": "#000000"}, "hour")
    assert table["all"].to_dict() == {"2026-10-25 02:00": 3.0, "2026-10-25 03:00": 4.0}


def test_axes_say_their_units() -> None:
    _, by_day = tables(1)
    assert bars(by_day, {"m0": "#000000"}).layout.yaxis.tickprefix == "$"
    steps = pd.DataFrame({"p95": [1.5, float("nan")]}, index=["2026-03-01", "2026-03-02"])
    figure = charts_figures.lines(steps, {}, charts.SECONDS, "day")
    assert figure.layout.yaxis.ticksuffix == " s"
    assert list(figure.data[0].y) == [1.5, None]
    assert charts_figures.lines(steps, {}, charts.SHARE, "day").layout.yaxis.tickformat == ".0%"


def test_a_month_is_drawn_with_its_band_and_its_budget() -> None:
    figure = charts_figures.pace(["2026-03-01", "2026-03-02"], [1.0, 3.0], "2026-03-31", (40, 45, 55), {"Budget": 60})
    assert [trace.y[-1] for trace in figure.data] == [40, 55, 3.0, 45]
    assert figure.layout.yaxis.range[1] > 60
    assert [shape.y0 for shape in figure.layout.shapes] == [60]
    assert len(charts_figures.pace(["2026-03-01"], [0.0], "2026-03-31", None, {}).data) == 1


def test_two_names_that_look_the_same_are_two_bars() -> None:
    long = "a-very-long-name-of-a-model"
    values = {f"{long}-1": 2.0, f"{long}-2": 1.0}
    figure = charts_figures.shares(values, dict.fromkeys(values, "#111111"), charts.USD)
    assert len({bar.y[0] for bar in figure.data}) == 2


def test_what_is_not_selected_stays_as_it_is_and_every_point_can_be_selected() -> None:
    _, by_day = tables(2)
    moments = [f"2026-03-{day:02}" for day in range(1, 31)] * 3
    steps = pd.DataFrame({"p95": range(90)}, index=moments)
    drawn = [
        *bars(by_day, {"m0": "#000000"}).data,
        *charts_figures.shares({"m0": 1.0}, {}, charts.USD).data,
        *charts_figures.lines(steps, {}, charts.SECONDS, "day").data,
    ]
    assert {one.unselected.marker.opacity for one in drawn} == {1}
    assert "markers" in drawn[-1].mode


def test_percentiles_are_told_apart_by_their_dashes() -> None:
    steps = pd.DataFrame({name: [1.0] for name in charts.PERCENTILES}, index=["2026-03-01"])
    figure = charts_figures.lines(steps, charts.PERCENTILES, charts.SECONDS, "day", dash=charts.DASHES)
    assert [line.line.dash for line in figure.data] == ["solid", "dash", "dot"]
    assert not {line.line.color for line in figure.data} & set(charts._PALETTE)
    assert "dashed" in charts.legend(charts.PERCENTILES, ["p95"], None, charts.DASHES)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (None, "unknown"), (0, "$0"), (1, "$0.0000000010"), (4_200_000, "$0.0042"), (9_940_000, "$0.0099"),
        (9_960_000, "$0.01"), (420_000_000, "$0.42"), (12_300_000_000, "$12.30"), (999_990_000_000, "$999.99"),
        (1_234_560_000_000, "$1,235"),
    ],
)  # fmt: skip
def test_dollars(nano: int | None, text: str) -> None:
    assert figures.usd(nano) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (950, "950"), (999.4, "999"), (1000, "1.00k"), (12_345, "12.3k"), (999_999, "1.00M"), (2.43e9, "2.43B")],
)
def test_big_numbers(number: float, text: str) -> None:
    assert figures.compact(number) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (0.0004, "<0.1%"), (0.034, "3.4%"), (0.0996, "10%"), (1, "100%")]
)
def test_shares(share: float, text: str) -> None:
    assert figures.percent(share) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "–"), (float("nan"), "–"), (0, "0 ms"), (340.4, "340 ms"), (999.6, "1.00 s"), (1240, "1.24 s"),
        (9_996, "10.0 s"), (12_480, "12.5 s"), (59_960, "1 min 0 s"), (125_000, "2 min 5 s"),
    ],
)  # fmt: skip
def test_durations(milliseconds: float | None, text: str) -> None:
    assert figures.duration(milliseconds) == text
