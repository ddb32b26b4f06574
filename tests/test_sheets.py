"""CSV that a spreadsheet may split as it likes: no cell is run as a formula."""

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.sheets import csv_text, safe_cell

SIGNS = "=+-@＝＋－＠﹦﹢﹣﹫"
UNSEEN = ' "\u00a0\u3000\ufeff\u200b\u2060\x00\x0b\x0c\x1c\x1f\x7f\x85\u2028'

texts = st.text(st.sampled_from(SIGNS + UNSEEN + ",;\t\r\n'ab1"), max_size=12)


def starts(text: str, delimiter: str) -> list[str]:
    """The cells that a spreadsheet finds, each without what cannot be seen before its first sign."""
    found = csv.reader(io.StringIO(text.replace("\0", " "), newline=""), delimiter=delimiter)
    return [cell.lstrip(UNSEEN + "\t\r\n") for row in found for cell in row]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@given(st.lists(st.lists(texts, min_size=1, max_size=4), min_size=1, max_size=3))
def test_no_cell_begins_with_a_formula_sign_whatever_splits_it(delimiter: str, rows: list[list[str]]) -> None:
    assert not [cell for cell in starts(csv_text(rows), delimiter) if cell.startswith(tuple(SIGNS))]


@given(st.lists(texts, min_size=1, max_size=4))
def test_nothing_but_apostrophes_is_added(row: list[str]) -> None:
    text = csv_text([row])
    (back,) = csv.reader(io.StringIO(text, newline=""))
    assert [cell.replace("'", "") for cell in back] == [cell.replace("'", "") for cell in row]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("\ufeff=1", "'\ufeff=1"),
        ("\x0b=1", "\x0b'=1"),
        ("＝1", "'＝1"),
        ("hi;=1", "hi;'=1"),
        ("hi\t @a", "hi\t' @a"),
        ("one\n- two", "one\n'- two"),
        ('x;"=1', "x;'\"=1"),
        ("a-b; c=d, e", "a-b; c=d, e"),
        ("'=1", "'=1"),
        ("", ""),
    ],
)
def test_a_formula_is_made_text_where_one_could_begin(text: str, safe: str) -> None:
    assert safe_cell(text) == safe


def test_every_cell_is_quoted_and_values_are_told_plainly() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert csv_text([[at, True, None, -5, 'a"b', "-2"]]) == '"2026-03-01T12:00:00+00:00","1","","-5","a""b","\'-2"\r\n'
