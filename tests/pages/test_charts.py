"""Charts: a colour per model that holds in every chart, small ones joined, and amounts that read well."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from pages.ui import charts, figures

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def tables(models: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`models` models, m0 the biggest, on one day: as `Usage.by_model` and `Usage.tokens_by_day` return them."""
    names, sizes = [f"m{number}" for number in range(models)], [1000 - number for number in range(models)]
    values = {"prompt_tokens": sizes, "completion_tokens": sizes, "cost_nano_usd": pd.array(sizes, "Int64") * 10**6}
    return pd.DataFrame({"model": names} | values), pd.DataFrame({"day": DAY, "group": names} | values)


def test_eight_models_have_eight_colours() -> None:
    colours = charts.colours(tables(8)[0])
    assert list(colours) == [f"m{number}" for number in range(8)]
    assert len(set(colours.values())) == 8


def test_more_models_than_colours_are_joined_in_every_chart() -> None:
    by_model, by_day = tables(12)
    colours = charts.colours(by_model)
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
    assert "m11" in charts.colours(by_model)


def test_no_models_draw_nothing_and_do_not_fail() -> None:
    by_model, _ = tables(0)
    assert charts.colours(by_model) == {}
    assert list(charts.cost_share(by_model, {}).data[0].y) == []


def test_the_legend_names_what_is_drawn_and_is_text() -> None:
    by_model, by_day = tables(2)
    by_day.loc[0, "group"] = by_model.loc[0, "model"] = "<b>"
    text = charts.legend(by_day, "tokens", charts.colours(by_model))
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
