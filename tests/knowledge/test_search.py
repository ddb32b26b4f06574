"""What a question finds, and in which order."""

import pytest

from chatcore.errors import InvalidInput
from chatcore.knowledge import searching
from chatcore.knowledge.finding import fused
from tests.knowledge.conftest import House


def test_what_has_the_seldom_words_comes_first(house: House) -> None:
    house.base(
        "The office is open every day. The office is large.",
        "The office has a parrot, whose name is Otto.",
        "The office is closed on holidays, and the office is quiet then.",
        "A parrot eats seeds.",
    )
    assert house.titles("Does the office have a parrot?")[0] == "text1.txt"
    assert set(house.titles("Does the office have a parrot?")) == {f"text{n}.txt" for n in range(4)}


def test_what_a_document_is_called_counts_more_than_a_word_in_passing(house: House) -> None:
    base = house.base("Many words about this and that, and one of them is travel, in passing, among others.")
    house.knowledge.add(house.ann, base, "Travel.txt", b"Ask for the money within a month, with all receipts.")
    house.knowledge.work_off()
    assert house.titles("travel")[0] == "Travel.txt"


def test_questions_in_other_scripts(house: House) -> None:
    house.base(
        "请在每周五备份数据库。", "数据中心在柏林。", "Größere Straßen werden gesperrt.", "Сохраните данные сегодня."
    )
    assert house.titles("如何备份数据库？")[0] == "text0.txt"
    assert house.titles("grossere strassen") == ["text2.txt"]
    assert house.titles("данные") == ["text3.txt"]


def test_bases_can_be_chosen(house: House) -> None:
    one, other = house.base("apple one"), house.base("apple two")
    assert len(house.titles("apple")) == 2
    assert [found.base_id for found in house.knowledge.search(house.ann, [one], "apple")] == [one]
    assert {found.base_id for found in house.knowledge.search(house.ann, [one, other], "apple")} == {one, other}
    assert house.knowledge.search(house.ann, [], "apple") == []
    assert house.knowledge.search(house.ann, ["kb_not_there"], "apple") == []


def test_as_many_as_were_asked_for(house: House) -> None:
    house.base(*(f"apple number {n}" for n in range(12)))
    assert len(house.knowledge.search(house.ann, None, "apple", limit=5)) == 5
    assert len(house.knowledge.search(house.ann, None, "apple", limit=0)) == 1


@pytest.mark.parametrize(
    "question",
    [
        '") OR base : (*',
        "' | '@kb' & '",
        "NOT AND OR NEAR(",
        "a:b ^c {d}",
        "%s :words :1 {0}",
        "x" * 100_000,
        "\0 \ud800 x",
    ],
)
def test_nothing_in_a_question_means_anything_but_words(house: House, question: str) -> None:
    house.base("Some text.")
    assert house.knowledge.search(house.eve, None, question) == []
    assert house.knowledge.search(house.ann, None, question) == []


def test_a_question_without_any_word(house: House) -> None:
    with pytest.raises(InvalidInput):
        house.knowledge.search(house.ann, None, " ?! ")


def test_words_that_are_everywhere_are_left_out_where_there_are_too_many(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.base(*(f"common {'seldom' if n == 7 else n}" for n in range(10)))
    monkeypatch.setattr(searching, "_MOST_LOOKED_AT", {True: 5, False: 5})
    assert house.titles("common seldom") == ["text7.txt"]
    assert len(house.titles("common")) >= 5, "but not where there is nothing else"


def test_rankings_are_put_together_by_their_places() -> None:
    assert fused([1, 2, 3], [3, 4]) == [3, 1, 2, 4]
    assert fused([], [5, 6]) == [5, 6]
