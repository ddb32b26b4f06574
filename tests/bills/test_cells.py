"""Numbers and days as bills write them."""

from datetime import UTC, date
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.bills.cells import Days, Numbers

POINT, SEMICOLON = Numbers(","), Numbers(";")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.5", "12.5"), ("0.003835980000000000000000000000", "0.00383598"), ("1.5e-05", "0.000015"), ("-3", "-3"),
        ("1,234.50", "1234.50"), ("1.234,50", "1234.50"), ("1,234", "1234"), ("1,234,567", "1234567"),
        ("0,005", "0.005"), ("12,34", "12.34"), ("$1.20", "1.20"), ("-$1.20", "-1.20"), ("$-1.20", "-1.20"),
        ("1 234.5", "1234.5"), ("1\u202f234,5", "1234.5"), ("", "0"), (" ", "0"), ("1.234", "1.234"),
    ],
)  # fmt: skip
def test_an_amount_is_read_exactly(text: str, value: str) -> None:
    assert POINT.amount(text) == Decimal(value)


@pytest.mark.parametrize(
    "text",
    ["=1+1", "=HYPERLINK(1)", "1.2.3", "1,23,4", "abc", "--1", "NaN", "Infinity", "1e999", "€1", ".", ",",
     "1,2,3.4", "-$-1"],
)  # fmt: skip
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is"):
        POINT.amount(text)


def test_with_semicolons_a_comma_is_a_decimal_mark_and_what_could_be_both_is_refused() -> None:
    assert SEMICOLON.amount("12,5") == Decimal("12.5")
    assert SEMICOLON.amount("0.123") == Decimal("0.123")
    assert SEMICOLON.amount("1.234.567,8") == Decimal("1234567.8")
    for text in ("1.234", "1,234"):
        with pytest.raises(ValueError, match="two ways"):
            SEMICOLON.amount(text)
        assert SEMICOLON.count(text) == 1234, "a count has no decimals"


def test_a_decimal_mark_that_is_told_settles_it() -> None:
    assert Numbers(";", ",").amount("1.234") == 1234
    assert Numbers(";", ",").amount("1,234") == Decimal("1.234")
    assert Numbers(";", ".").amount("1.234") == Decimal("1.234")
    assert Numbers(",", ",").amount("1.234,5") == Decimal("1234.5")
    for told, text in ((",", "12.5"), (".", "12,5"), (".", "1.234,5"), (",", "1,234.5")):
        with pytest.raises(ValueError, match="is not a number"):
            Numbers(";", told).amount(text)


@pytest.mark.parametrize(("text", "value"), [("59200.0", 59200), ("1,234", 1234), ("7", 7), ("", 0), ("1e3", 1000)])
def test_a_count_is_whole(text: str, value: int) -> None:
    assert POINT.count(text) == value


@pytest.mark.parametrize("text", ["1.5", "1.234", "x", "9" * 20])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a "):
        POINT.count(text)


@given(st.decimals(min_value=-1_000_000, max_value=1_000_000, places=9))
def test_any_amount_comes_back_however_it_is_written(value: Decimal) -> None:
    assert POINT.amount(f"{value:f}") == POINT.amount(f"{value:,f}") == POINT.amount(f"{value:e}") == value
    comma = f"{value:,f}".replace(",", " ").replace(".", ",").replace(" ", ".")
    assert Numbers(";", ",").amount(comma) == value


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02", "20260302", "2026-03-02T10:00:00Z", "2026-03-02 03:46:57.713", "2026-03-02 10:00:00+00",
        "2026-03-02 10:00:00 UTC", "1772409600", "1772409600.0", "1772409600000", "02.03.2026", "2026/3/2",
        "Mar 2, 2026", "2 March 2026", "2-Mar-2026",
    ],
)  # fmt: skip
def test_a_day_is_read_in_several_forms(text: str) -> None:
    assert Days(UTC).day(text) == date(2026, 3, 2)


def test_with_slashes_a_day_is_read_where_only_one_reading_is_possible() -> None:
    assert Days(UTC).day("03/25/2026") == Days(UTC).day("25/03/2026 10:00") == date(2026, 3, 25)
    assert Days(UTC).day("3/3/2026") == date(2026, 3, 3)
    with pytest.raises(ValueError, match="day or the month first"):
        Days(UTC).day("03/04/2026")


@pytest.mark.parametrize(
    "text", ["", "Total", "2026-02-30", "31.02.2026", "1850-01-01", "2026-13-01", "12", "=TODAY()"]
)
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a day"):
        Days(UTC).day(text)


def test_a_point_in_time_is_in_the_day_that_the_zone_has() -> None:
    berlin = Days(ZoneInfo("Europe/Berlin"))
    assert berlin.day("2026-03-01T23:30:00Z") == date(2026, 3, 2)
    assert berlin.day("2026-03-01T23:30:00") == date(2026, 3, 1), "meant as the zone's own"
    assert berlin.day("1772407800") == date(2026, 3, 2)
