"""Model text cut into elements: the same however it arrives, code untouched, money and maths told apart."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pages.ui.markdown import CUT, Cutter, as_typed, segments

LONG = "word " * 90  # over the length after which a paragraph's end is a cut

# Pieces of the kind that models write, chosen so that their combinations are the hard cases.
pieces = st.lists(
    st.sampled_from(
        ["word ", "a", "\n", "\n\n", "\n \n", "```", "````", "```python\n", "\n```\n", "~~~", "`", "``", "`x`", "$5",
         "$", "$$", " $1,200.50 ", "$x$", "\\(", "\\)", "\\[", "\\]", "\\", "| a | b |\n|---|---|\n", "- item\n",
         "    code\n",
         LONG, LONG + "\n\n", "# title\n", "日本", "> quote\n", "\t", " "]
    ),
    max_size=14,
).map("".join)  # fmt: skip


def feed(parts: list[str]) -> list[str]:
    cutter = Cutter()
    drawn = [""]
    for item in [*(item for part in parts for item in cutter.feed(part)), *cutter.finish()]:
        if item is CUT:
            drawn.append("")
        else:
            drawn[-1] += str(item)
    return drawn


def joined(text: str) -> str:
    return "".join(feed([text]))


@given(pieces, st.lists(st.integers(0, 2000), max_size=10))
def test_in_any_pieces_the_elements_are_the_same(text: str, places: list[int]) -> None:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    parts = [text[start:end] for start, end in pairwise(edges)]
    assert feed(parts) == feed([text])


@given(pieces)
def test_sign_by_sign_the_elements_are_the_same(text: str) -> None:
    assert feed(list(text)) == feed([text])


@given(st.text(max_size=80))
def test_any_text_can_be_fed_in_any_pieces(text: str) -> None:
    assert feed(list(text)) == feed([text])


@given(pieces)
def test_no_word_is_lost(text: str) -> None:
    """Only maths signs, a backslash before money, and the blank lines at a cut may differ."""

    def bare(value: str) -> str:
        return re.sub(r"[\s\\$()\[\]]", "", value)

    assert bare(joined(text)) == bare(text)


def test_a_stored_reply_is_cut_where_the_streamed_one_was() -> None:
    text = f"{LONG}\n\n{LONG}\n\nshort\n\n{LONG}"
    assert segments(text) == [part for part in feed(list(text)) if part.strip()]
    assert len(segments(text)) == 3


def test_short_paragraphs_stay_together() -> None:
    assert segments("one\n\ntwo\n\nthree") == ["one\n\ntwo\n\nthree"]


@pytest.mark.parametrize("fence", ["```", "````", "~~~", "   ```"])
@pytest.mark.parametrize("language", ["", "python", " title='x'"])
def test_a_cut_is_never_inside_a_fence(fence: str, language: str) -> None:
    code = f"{fence}{language}\n{LONG}\n\n{LONG}\n\nprint('$5', \\(x\\))\n{fence}"
    text = f"before\n\n{code}\n\n{LONG}\n\nafter"
    [holding] = [segment for segment in segments(text) if "print" in segment]
    assert code.strip() in holding


def test_an_inner_fence_of_other_marks_does_not_close_the_outer() -> None:
    code = f"````md\n```py\n{LONG}\n\n$5 \\(x\\)\n```\n{LONG}\n\n````"
    assert code in segments(f"{code}\n\nafter")[0]


def test_a_line_of_code_that_begins_like_a_fence_does_not_close_it() -> None:
    code = f"```md\n{LONG}\n\n```python\n\\(x\\)\n```"
    assert "\\(x\\)" in joined(code), "a closing fence carries no language"


def test_a_fence_that_never_closes_reaches_to_the_end() -> None:
    text = f"```\n{LONG}\n\n{LONG}\n\n$5 \\(x\\)"
    assert segments(text) == [text]


@pytest.mark.parametrize(
    "text",
    [
        "`$5 and $6 \\(x\\)`",
        "``a ` $5 \\[x\\] ``",
        "```\n$5 and $6\n\\(x\\)\n```",
        "~~~\n$5 \\(x\\)\n~~~",
        "```py\na = '`$5 '\n```",
    ],
)
def test_nothing_inside_code_is_changed(text: str) -> None:
    assert joined(text) == text
    assert joined(f"a {text}" if not text.startswith(("```", "~~~")) else f"a\n{text}").endswith(text)


@given(pieces)
@example("$5 `")
def test_nothing_inside_a_fence_is_changed(text: str) -> None:
    inner = re.sub(r"[`~]", "", text)
    code = f"```\n{inner}\n```"
    assert joined(code) == code


def test_a_stray_backtick_does_not_open_the_code_that_follows() -> None:
    text = "a ` b\n```\n$5 \\(x\\)\n```\nand \\(y\\)"
    assert joined(text) == "a ` b\n```\n$5 \\(x\\)\n```\nand $y$"


def test_three_backticks_around_words_are_a_span() -> None:
    assert joined("```x``` costs $5 \\(y\\)") == "```x``` costs \\$5 $y$"


def test_what_is_indented_below_a_list_stays_with_it() -> None:
    item = f"1. {LONG}\n\n   {LONG}\n\n       $5\n"
    assert segments(f"{item}\n{LONG}\n\nend") == [item.rstrip("\n").replace("$5", "\\$5"), f"{LONG}", "end"]


def test_a_table_is_never_cut() -> None:
    table = "| a | b |\n|---|---|\n" + "| some words | $5 |\n" * 60
    [holding] = [segment for segment in segments(f"{LONG}\n\n{table}\n{LONG}\n\nend") if "|---|" in segment]
    assert holding.count("some words") == 60


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("\\(x^2\\)", "$x^2$"),
        ("\\[x^2\\]", "$$x^2$$"),
        ("a \\( b \\) c", "a $ b $ c"),
        ("$x^2$ and $y$", "$x^2$ and $y$"),
        ("$$x$$", "$$x$$"),
        ("$2x + 3$", "$2x + 3$"),
        ("It costs $5.", "It costs \\$5."),
        ("$5 and $6", "\\$5 and \\$6"),
        ("from $1,200.50 to $2k, or $3/month", "from \\$1,200.50 to \\$2k, or \\$3/month"),
        ("($5)", "(\\$5)"),
        ("**$5** or *$6*", "**\\$5** or *\\$6*"),
        ("$5-$10, $1,000–$2,000", "\\$5-\\$10, \\$1,000–\\$2,000"),
        ("the answer is $10$, or $5^2$.", "the answer is $10$, or $5^2$."),
        ("\\$5", "\\$5"),
        ("US$5", "US$5"),
        ("$5\n$6", "\\$5\n\\$6"),
        ("a \\\\ b", "a \\\\ b"),
    ],
)
def test_money_and_maths(text: str, drawn: str) -> None:
    assert joined(text) == drawn
    assert "".join(feed(list(text))) == drawn


def test_a_code_span_ends_with_its_paragraph() -> None:
    assert joined("a ` b\n\n$5 `") == "a ` b\n\n\\$5 `"


@pytest.mark.parametrize("text", ["", "\n", "\n\n \n", " "])
def test_nothing_is_no_element(text: str) -> None:
    assert segments(text) == []


def test_what_is_held_back_comes_at_the_end() -> None:
    cutter = Cutter()
    assert cutter.feed("costs $5") == ["costs "]
    assert cutter.finish() == ["\\$5"]
    assert cutter.finish() == []


def test_words_are_handed_on_at_once() -> None:
    cutter = Cutter()
    assert cutter.feed("word ") == ["word "]
    assert cutter.feed("and more") == ["and more"]


# --- what people type -----------------------------------------------------------------------------------------------


def test_line_breaks_stay_as_typed() -> None:
    assert as_typed("one\ntwo\n\nthree") == "one  \ntwo  \n\nthree  "


@pytest.mark.parametrize("mark", ["```", "~~~"])
def test_code_stays_as_typed(mark: str) -> None:
    code = f"{mark}py\nif x:\n    y\n\n    $5\n{mark}"
    assert as_typed(f"look:\n{code}\nwell?") == f"look:  \n{code}\nwell?  "


@given(pieces)
def test_no_typed_word_is_lost(text: str) -> None:
    def bare(value: str) -> str:
        return re.sub(r"[\s\\$()\[\]]", "", value)

    assert bare(as_typed(text)) == bare(text)


def test_typed_money_is_no_maths() -> None:
    assert as_typed("is $5 or $6 more?") == "is \\$5 or \\$6 more?  "
