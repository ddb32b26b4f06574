"""Words of passages and questions: what is one word, and what is not looked for."""

import pytest

from chatcore.knowledge.spelling import MAX_TERMS, spelled, terms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("indexed documents", "Indexing a document"),
        ("Größe", "GROSSE"),
        ("naïve résumé", "naive resume"),
    ],
)
def test_forms_of_a_word_are_one_word(one: str, other: str) -> None:
    assert [word for word in spelled(one) if word != "a"] == [word for word in spelled(other) if word != "a"]


def test_numbers_and_names_stay_as_they_are() -> None:
    assert spelled("RFC 9110 x86") == ["rfc", "9110", "x86"]


def test_words_that_questions_are_made_of_are_not_looked_for() -> None:
    assert terms("What is the capital of France?") == [("capit",), ("franc",)]
    assert terms("Wie hoch ist der Eiffelturm?") == [("hoch",), ("eiffelturm",)]


def test_a_question_of_nothing_else_is_looked_for_all_the_same() -> None:
    assert terms("What is it?") == [("what",), ("is",), ("it",)]
    assert terms("?! …") == []


def test_scripts_without_spaces_are_looked_for_in_pairs() -> None:
    assert terms("备份数据") == [("备", "份"), ("份", "数"), ("数", "据")]
    assert terms("猫") == [("猫",)]
    assert terms("กา") == [("ก", "า")] or terms("กา") == [("กา",)]


def test_a_long_question_is_bounded() -> None:
    assert len(terms(" ".join(f"word{n}" for n in range(500)))) == MAX_TERMS
