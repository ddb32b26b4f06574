"""Charts: a colour per model that holds in every chart, small ones joined, and amounts that read well."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from pages.ui import charts, figures

DAY = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = [f"m{number}" for number in range(12)]


def tables(models: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`models` models, m0 the biggest, on one day: as `Usage.by_model` and `Usage.tokens_by_day` return them."""
    names, sizes = [f"m{number}" for number in range(models)], [1000 - number for number in range(models)]
    values = {"prompt_tokens": sizes, "completion_tokens": sizes, "cost_nano_usd": pd.array(sizes, "Int64") * 10**6}
    return pd.DataFrame({"model": names} | values), pd.DataFrame({"day": DAY, "group": names} | values)


def test_eight_models_have_eight_colours() -> None:
    colours = charts.colours(tables(8)[0], NAMES)
    assert list(colours) == [f"m{number}" for number in range(8)]
    assert len(set(colours.values())) == 8


def test_a_models_colour_does_not_hang_on_what_else_is_shown() -> None:
    by_model, _ = tables(8)
    whole = charts.colours(by_model, NAMES[:8])
    for shown in ([3], [5, 2], [7, 6, 0, 1]):
        chosen = by_model.iloc[shown].assign(prompt_tokens=range(len(shown)))
        colours = charts.colours(chosen, NAMES[:8])
        assert colours == {f"m{number}": whole[f"m{number}"] for number in shown}


def test_with_more_models_than_colours_no_two_shown_ones_share_one() -> None:
    by_model, _ = tables(12)
    colours = charts.colours(by_model.iloc[[0, 8, 1, 9, 11, 3]], NAMES)
    assert len(set(colours.values())) == len(colours) == 6


@pytest.mark.parametrize("days", [1, 5, 6, 7, 30, 90, 366])
def test_few_days_have_a_label_and_they_fit_on_a_phone(days: int) -> None:
    _, by_day = tables(1)
    whole = pd.concat([by_day.assign(day=DAY + timedelta(days=number)) for number in range(days)])
    figure = charts.per_day(whole, "tokens", {"m0": "#000000"}, by_hour=False)
    assert 1 <= len(figure.layout.xaxis.tickvals) <= 5
    assert figure.layout.xaxis.tickvals[0] == "2026-03-01 00:00"
    assert figure.layout.xaxis.tickangle == 0


def test_more_models_than_colours_are_joined_in_every_chart() -> None:
    by_model, by_day = tables(12)
    colours = charts.colours(by_model, NAMES)
    figure = charts.per_day(by_day, "cost", colours, by_hour=False)
    assert [bar.name for bar in figure.data] == [*(f"m{number}" for number in range(7)), charts.OTHERS]
    assert sum(bar.y[0] for bar in figure.data) == pytest.approx(by_model["cost_nano_usd"].sum() / 1e9)
    share = charts.cost_share(by_model, colours)
    assert list(share.data[0].y) == [bar.name for bar in figure.data]
    assert list(share.data[0].marker.color) == [bar.marker.color for bar in figure.data]


def test_a_dear_model_with_few_tokens_keeps_its_colour() -> None:
    by_model, _ = tables(12)
    by_model.loc[11, ["prompt_tokens", "completion_tokens"]] = 1
    by_model.loc[11, "cost_nano_usd"] = 10**12
    assert "m11" in charts.colours(by_model, NAMES)


def test_no_models_draw_nothing_and_do_not_fail() -> None:
    by_model, _ = tables(0)
    assert charts.colours(by_model, NAMES) == {}
    assert list(charts.cost_share(by_model, {}).data[0].y) == []


def test_the_legend_names_what_is_drawn_and_is_text() -> None:
    by_model, by_day = tables(2)
    by_day.loc[0, "group"] = by_model.loc[0, "model"] = "<b>"
    text = charts.legend(by_day, charts.colours(by_model, NAMES))
    assert "&lt;b&gt;" in text
    assert "<b>" not in text


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
