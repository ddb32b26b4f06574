"""Numbers as people read them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.ui.figures import compact, exact_usd, percent, seconds, usd, whole


@pytest.mark.parametrize(
    ("nano_usd", "words"),
    [
        (None, "unknown"),
        (0, "$0"),
        (1, "$0.0000000010"),
        (150, "$0.00000015"),
        (310_000, "$0.00031"),
        (4_200_000, "$0.0042"),
        (9_949_999, "$0.0099"),
        (9_950_000, "$0.01"),
        (42_000_000, "$0.04"),
        (999_900_000, "$1.00"),
        (12_300_000_000, "$12.30"),
        (999_994_000_000, "$999.99"),
        (1_234_567_890_000, "$1,235"),
    ],
)
def test_money(nano_usd: int | None, words: str) -> None:
    assert usd(nano_usd) == words


@pytest.mark.parametrize(
    ("nano_usd", "words"),
    [(None, "unknown"), (0, "$0.00"), (1, "$0.000000001"), (38_572_000, "$0.038572"), (1_234_500_000_000, "$1,234.50")],
)
def test_money_to_its_last_digit(nano_usd: int | None, words: str) -> None:
    assert exact_usd(nano_usd) == words


def shown(nano_usd: int) -> Decimal:
    return Decimal(usd(nano_usd).removeprefix("$").replace(",", ""))


@given(st.integers(1, 10**15))
def test_money_is_never_nothing_and_near_the_truth(nano_usd: int) -> None:
    exact = Decimal(nano_usd) / 10**9
    assert shown(nano_usd) > 0
    assert abs(shown(nano_usd) - exact) <= max(exact / 20, min(Decimal("0.005"), exact / 2))


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_more_money_never_reads_as_less(one: int, other: int) -> None:
    assert shown(min(one, other)) <= shown(max(one, other))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"), (950, "950"), (999.4, "999"), (1_000, "1.00k"), (12_345, "12.3k"), (999_499, "999k"),
        (999_500, "1.00M"), (4_560_000, "4.56M"), (2_430_000_000, "2.43B"), (-12_345, "-12.3k"),
    ],
)  # fmt: skip
def test_compact(number: float, words: str) -> None:
    assert compact(number) == words


@given(st.integers(0, 10**12))
def test_a_compact_number_is_short_and_near_the_truth(number: int) -> None:
    words = compact(number)
    scale = {"k": 1e3, "M": 1e6, "B": 1e9}.get(words[-1], 1)
    assert len(words) <= 6
    assert abs(float(words.rstrip("kMB").replace(",", "")) * scale - number) <= number * 0.006


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0%"), (0.0004, "<0.1%"), (0.034, "3.4%"), (0.0996, "10%"), (0.34, "34%"), (1, "100%"), (0.001, "0.1%")],
)
def test_percent(share: float, words: str) -> None:
    assert percent(share) == words


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (0, "0.0 s"), (420, "0.4 s"), (9_940, "9.9 s"), (12_300, "12 s"), (59_400, "59 s"), (60_000, "1 min 0 s"),
        (125_000, "2 min 5 s"), (3_600_000, "60 min 0 s"), (9_960, "10 s"), (59_600, "1 min 0 s"),
        (119_700, "2 min 0 s"),
    ],
)  # fmt: skip
def test_seconds(milliseconds: int, words: str) -> None:
    assert seconds(milliseconds) == words


@pytest.mark.parametrize(("number", "words"), [(0, "0"), (999, "999"), (12_345, "12,345"), (1_000_000, "1,000,000")])
def test_whole(number: int, words: str) -> None:
    assert whole(number) == words
