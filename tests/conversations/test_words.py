"""The one spelling of words, what a typed search means, and the piece of text that is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.conversations.words import MAX_QUERY, Query, Term, normal, snippet
from chatcore.errors import InvalidInput

TEXTS = st.text(st.characters(codec=None), max_size=200)


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("Hello, WORLD! It's foo_bar.", "hello world it s foo bar"),
        ("Ärger Straße café", "arger strasse cafe"),
        ("cafe\u0301 CAFÉ", "cafe cafe"),
        ("Ёлка йод", "елка йод"),
        ("Ἀθήνα", "αθηνα"),
        ("नमस्ते दुनिया", "नमस्ते दुनिया"),
        ("مَرْحَبًا", "مرحبا"),
        ("ครับ", "ค รั บ"),
        ("日本語abcテスト", "日 本 語 abc テ ス ト"),
        ("안녕", "안 녕"),
        ("ｆｕｌｌ ﬁne", "full fine"),
        ("👍🏽ok ❤️", "u1f44d ok u2764"),
        ("👩\u200d👧 🇩🇪", "u1f469 u1f467 u1f1e9 u1f1ea"),
        ("soft\u00adhyphen", "softhyphen"),
        ("a\x00b\ud800c", "a b c"),
        ("x" * 100, "x" * 64),
        ("  \n\t.,;", ""),
    ],
)
def test_one_spelling(text: str, spelled: str) -> None:
    assert normal(text) == spelled


@given(TEXTS)
def test_spelling_twice_is_spelling_once_and_never_fails(text: str) -> None:
    spelled = normal(text)
    assert normal(spelled) == spelled
    assert not set(spelled) & set("'\"\\*:()-_\x00%")


@given(TEXTS)
def test_ascii_and_other_texts_are_spelled_alike(text: str) -> None:
    plain = text.encode("ascii", "ignore").decode()
    assert normal(plain + " é") == f"{normal(plain)} e".strip()


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("budget", [(("budget",), True)]),
        ("of", [(("of",), False)]),
        ('budget "next year"', [(("budget",), False), (("next", "year"), False)]),
        ("“next year”", [(("next", "year"), False)]),
        ('"not closed', [(("not",), False), (("closed",), True)]),
        (
            "a AND b OR NOT c NEAR(x)",
            [*(((word,), False) for word in ["a", "and", "b", "or", "not", "c"]), (("near", "x"), False)],
        ),
        ("get_user-id*", [(("get", "user", "id"), False)]),
        ("get_user", [(("get", "user"), True)]),
        ("日本語", [(("日", "本", "語"), False)]),
        ("👍", [(("u1f44d",), False)]),
        ("a a a", [(("a",), False)]),
        ("^x:y(", [(("x", "y"), False)]),
    ],
)
def test_what_a_search_means(text: str, terms: list[tuple[tuple[str, ...], bool]]) -> None:
    assert Query.parse(text).terms == tuple(Term(*term) for term in terms)


@pytest.mark.parametrize("text", ["", "   ", '""', "*", "--- ' ()", "\x00", "\ud800"])
def test_nothing_to_look_for_is_said(text: str) -> None:
    with pytest.raises(InvalidInput, match="no word"):
        Query.parse(text)


@pytest.mark.parametrize("text", ["x" * (MAX_QUERY + 1), "word " * 2_000, "日" * 500, " ".join(map(str, range(150)))])
def test_too_much_to_look_for_is_said(text: str) -> None:
    with pytest.raises(InvalidInput, match="at most"):
        Query.parse(text)


def shown(text: str, query: str, around: int = 80) -> str:
    return "".join(f"[{piece}]" if hit else piece for piece, hit in snippet(text, Query.parse(query), around))


def test_hits_are_marked_in_the_original() -> None:
    assert (
        shown("Das Café\nin der Straße 日本語 👍🏽", "cafe strasse 本語") == "Das [Café] in der [Straße] 日[本語] 👍🏽"
    )


def test_the_place_with_the_most_words_is_shown() -> None:
    text = f"The budget. {'Nothing here. ' * 40}The budget of the rollout. {'More. ' * 40}"
    found = shown(text, "rollout budget ", 40)
    assert "[budget] of the [rollout]" in found
    assert found.startswith("…")
    assert found.endswith("…")
    assert len(found) < 130


def test_a_phrase_is_marked_as_one_and_its_words_elsewhere_are_not() -> None:
    assert shown("year next, the next year", '"next year"') == "year next, the [next year]"


def test_an_unfinished_word_marks_the_whole_one() -> None:
    assert shown("some budgets", "budg") == "some [budgets]"


def test_without_a_hit_the_beginning_is_shown() -> None:
    assert shown("word " * 100, "absent", 10).startswith("word word")
    assert snippet("", Query.parse("x")) == ()


@given(TEXTS, TEXTS)
def test_a_snippet_never_fails_and_is_made_of_the_text(text: str, query: str) -> None:
    try:
        parsed = Query.parse(query)
    except InvalidInput:
        return
    for piece, hit in snippet(text, parsed):
        assert piece
        if hit:
            assert normal(piece).replace(" ", "") in normal(text).replace(" ", "")


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("## Tuples\n\n| Type | For |\n|---|:--|\n| `a` | **b** c |", "for", "Tuples Type · [For] a · b c"),
        ("- *first* item\n- [x] see [the docs](http://x.y)", "docs", "• first item • see the [docs]"),
        ("the **next** year", '"next year"', "the [next year]"),
        ("> ```python\nx = 2**3 + get_user_by * 2\n```", "get_user_by", "x = 2**3 + [get_user_by] * 2 "),
    ],
)
def test_markdown_is_shown_as_plain_text(text: str, query: str, expected: str) -> None:
    assert shown(text, query).strip() == expected.strip()


def test_a_hit_inside_of_markup_is_shown_with_it() -> None:
    assert shown("see [docs](http://zebra.org) there", "zebra") == "see [docs](http://[zebra].org) there"


@given(TEXTS)
def test_every_text_is_found_by_its_own_words(text: str) -> None:
    spelled = normal(text)
    if spelled and len(spelled.split()) <= 100 and len(text) <= MAX_QUERY:
        assert Query.parse(text).matches(spelled)
