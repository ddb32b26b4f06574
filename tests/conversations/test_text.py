"""Cleaning what people and models write."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.conversations.text import PREVIEW_LENGTH, TITLE_LENGTH, Cleaner, clean, preview_from, title_from

# Text with many of the signs that matter: broken and whole surrogates, control characters, white space.
nasty = st.text(
    st.one_of(
        st.characters(codec=None, categories=None),
        st.sampled_from("\ud83d\ude00\udbff\ud800\udfff\x00\x07\x1b\x7f\x85\x9f\t\n\r \u2028a😀"),
    ),
    max_size=60,
)


@given(nasty)
def test_what_is_clean_can_be_stored_and_holds_nothing_unseen(text: str) -> None:
    found = clean(text)
    found.encode("utf-8")
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", found)


@given(nasty)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert clean(text) == text


def test_tabs_and_line_breaks_stay() -> None:
    assert clean("a\tb\nc\r\nd") == "a\tb\nc\r\nd"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\ud83d\ude00", "😀"),
        ("a\ud83d", "a\ufffd"),
        ("\ude00b", "\ufffdb"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ud83d\ud83d\ude00", "\ufffd😀"),
        ("a\x00b\x1b[31m", "ab[31m"),
    ],
)
def test_broken_characters(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(nasty, st.lists(st.integers(0, 60), max_size=8))
def test_in_any_pieces_it_is_cleaned_as_a_whole(text: str, places: list[int]) -> None:
    edges = [0, *sorted(places), len(text)]
    cleaner = Cleaner()
    pieces = [cleaner.feed(text[start:end]) for start, end in pairwise(edges)]
    assert "".join(pieces) + cleaner.finish() == clean(text)


@given(nasty)
def test_whatever_is_fed_can_be_stored_at_once(text: str) -> None:
    cleaner = Cleaner()
    for piece in text:
        cleaner.feed(piece).encode("utf-8")
    cleaner.finish().encode("utf-8")
    assert cleaner.finish() == ""


# --- titles and previews --------------------------------------------------------------------------------------------


@given(st.text(max_size=400))
def test_a_title_is_one_line_of_at_most_100_characters(text: str) -> None:
    title = title_from(text)
    assert 0 < len(title) <= TITLE_LENGTH == 100
    assert len(title.splitlines()) == 1
    assert title == title.strip()


@given(st.text(max_size=400))
def test_a_preview_is_one_line(text: str) -> None:
    preview = preview_from(text)
    assert len(preview) <= PREVIEW_LENGTH
    assert len(preview.splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("What is this?", "What is this?"),
        ("  two\n\nlines\tand  gaps ", "two lines and gaps"),
        ("", "New chat"),
        (" \n ", "New chat"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 99 + "…"),
        ("word " * 30, "word " * 18 + "word…"),
    ],
)
def test_titles(text: str, title: str) -> None:
    assert title_from(text) == title


def test_a_long_title_ends_with_a_whole_word() -> None:
    title = title_from("alpha beta gamma delta " * 20)
    assert title.endswith("…")
    assert title[:-1].split()[-1] in {"alpha", "beta", "gamma", "delta"}


def test_a_huge_message_is_not_read_to_its_end_for_a_title() -> None:
    assert title_from(" " * 5_000_000 + "late") == "New chat"
