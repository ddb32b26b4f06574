"""Saved prompts: whose they are, who may change the team's, and what becomes of their variables."""

import secrets
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from chatcore.accounts import Principal
from chatcore.conversations.prompts import MAX_PROMPTS, MAX_TEXT, Prompts, fill, variables
from chatcore.db import Database
from chatcore.db.tables import Prompt as PromptRow
from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound
from chatcore.ids import new_id
from tests.conftest import add_person


class House:
    """Ann, her colleague Bob, their admin Dora, and Cleo, who runs another tenant."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.prompts = Prompts(db)
        mark = secrets.token_hex(4)
        self.ann = add_person(db, f"ann-{mark}", tenant=f"A-{mark}")
        self.bob = add_person(db, f"bob-{mark}", tenant=f"A-{mark}")
        self.dora = add_person(db, f"dora-{mark}", tenant=f"A-{mark}", role="admin")
        self.cleo = add_person(db, f"cleo-{mark}", tenant=f"C-{mark}", role="operator")

    def titles(self, who: Principal, search: str = "") -> list[str]:
        return [one.title for one in self.prompts.list(who, search)]


@pytest.fixture
def house(module_database: Database) -> House:
    return House(module_database)


def test_a_prompt_is_saved_read_changed_and_deleted(house: House) -> None:
    made = house.prompts.create(house.ann, "  Review\n code ", "Review {{language}} code\nclosely\x00. ")
    one = house.prompts.get(house.ann, made)
    assert (one.title, one.text) == ("Review code", "Review {{language}} code\nclosely.")
    assert (one.is_team, one.is_own, one.can_edit) == (False, True, True)
    house.prompts.update(house.ann, made, "Check", "Check it", True)
    changed = house.prompts.get(house.ann, made)
    assert (changed.title, changed.text, changed.is_team) == ("Check", "Check it", True)
    assert changed.updated_at >= one.updated_at
    house.prompts.delete(house.ann, made)
    with pytest.raises(NotFound):
        house.prompts.get(house.ann, made)


@pytest.mark.parametrize("who", ["bob", "dora", "cleo", "nobody"])
def test_ones_own_prompt_is_nobody_elses(house: House, who: str) -> None:
    made = house.prompts.create(house.ann, "Mine", "text")
    other = house.ann if who == "nobody" else getattr(house, who)
    wanted = new_id("prompt") if who == "nobody" else made
    for call in (
        lambda: house.prompts.get(other, wanted),
        lambda: house.prompts.update(other, wanted, "Theirs", "text", False),
        lambda: house.prompts.delete(other, wanted),
    ):
        with pytest.raises(NotFound) as found:
            call()
        assert str(found.value) == "This prompt does not exist, or it is not yours."
    assert house.prompts.get(house.ann, made).title == "Mine"
    if who != "nobody":
        assert house.titles(other) == []


def test_a_team_prompt_is_read_by_the_team_and_changed_by_its_author_and_admins(house: House) -> None:
    made = house.prompts.create(house.ann, "Ours", "text", is_team=True)
    assert [house.titles(one) for one in (house.ann, house.bob, house.dora, house.cleo)] == [["Ours"]] * 3 + [[]]
    assert not house.prompts.get(house.bob, made).can_edit
    for change in (
        lambda: house.prompts.update(house.bob, made, "x", "y", True),
        lambda: house.prompts.delete(house.bob, made),
    ):
        with pytest.raises(Forbidden):
            change()
    with pytest.raises(NotFound):
        house.prompts.delete(house.cleo, made)
    house.prompts.update(house.dora, made, "Changed", "text", True)
    assert house.titles(house.bob) == ["Changed"]
    house.prompts.delete(house.dora, made)
    assert house.titles(house.ann) == []


def test_a_prompt_taken_back_from_the_team_is_its_authors_alone(house: House) -> None:
    made = house.prompts.create(house.ann, "Ours", "text", is_team=True)
    house.prompts.update(house.ann, made, "Ours", "text", False)
    assert (house.titles(house.ann), house.titles(house.bob)) == (["Ours"], [])


def test_the_list_is_in_order_and_finds_words_in_any_case(house: House) -> None:
    for title, text in (("beta", "Größe"), ("Alpha", "100% sure_thing"), ("gamma", "beta blocker")):
        house.prompts.create(house.ann, title, text)
    assert house.titles(house.ann) == ["Alpha", "beta", "gamma"]
    assert house.titles(house.ann, "BETA") == ["beta", "gamma"]
    assert house.titles(house.ann, "größe") == house.titles(house.ann, "GRÖSSE") == ["beta"]
    assert house.titles(house.ann, "blocker gamma") == ["gamma"]
    assert house.titles(house.ann, "%") == house.titles(house.ann, "_") == ["Alpha"]
    assert house.titles(house.ann, "' OR 1=1") == []


@pytest.mark.parametrize(
    ("title", "text"), [("", "x"), (" \x00 ", "x"), ("t" * 101, "x"), ("t", ""), ("t", " \n"), ("t", "x" * 20_001)]
)
def test_a_prompt_without_or_with_too_many_words_is_refused(house: House, title: str, text: str) -> None:
    with pytest.raises(InvalidInput):
        house.prompts.create(house.ann, title, text)
    made = house.prompts.create(house.ann, "t" * 100, "x" * MAX_TEXT)
    with pytest.raises(InvalidInput):
        house.prompts.update(house.ann, made, title, text, False)
    assert house.titles(house.ann) == ["t" * 100]


def test_nobody_has_more_than_five_hundred(house: House) -> None:
    row = {"tenant_id": house.ann.tenant_id, "user_id": house.ann.user_id, "title": "t", "text": "x", "is_team": False}
    rows = [row | {"id": new_id("prompt")} for _ in range(MAX_PROMPTS)]
    house.db.write(lambda session: session.execute(insert(PromptRow), rows))
    with pytest.raises(Conflict, match="500 prompts"):
        house.prompts.create(house.ann, "one more", "x")
    assert house.prompts.create(house.bob, "mine", "x")


def test_variables_come_in_order_once_and_with_their_defaults() -> None:
    text = "{{b}} {{ a }} {{b: two}} {{größe_1: 10: 20}} {{a-b c}} {{  x   y }}"
    assert variables(text) == {"b": "two", "a": "", "größe_1": "10: 20", "a-b c": "", "x y": ""}


@pytest.mark.parametrize(
    "text", ["", "{{}}", "{{ }}", "{{a!}}", "{a}", "{{a\nb}}", "{{" + "n" * 51 + "}}", "{{:x}}", "}}{{"]
)
def test_what_is_no_variable_stays_as_it_was_written(text: str) -> None:
    assert variables(text) == {}
    assert fill(text, {"a": "1", "": "2"}) == text


def test_values_fill_variables_and_blanks_take_the_default() -> None:
    text = "{{who}} likes {{what: tea}}, {{what}} and {{else}}!"
    assert fill(text, {"who": "Ann", "what": " "}) == "Ann likes tea, tea and !"
    assert fill(text, {"who": "Ann", "what": "ice", "else": "x", "unknown": "y"}) == "Ann likes ice, ice and x!"


def test_braces_in_a_value_mean_nothing() -> None:
    assert fill("{{a}} {{b}}", {"a": "{{b}}", "b": r"\g<0> \1"}) == r"{{b}} \g<0> \1"
    assert fill("{{{a}}}", {"a": "1"}) == "{1}"


@given(st.text(alphabet="{}ab: -\n", max_size=60), st.text(alphabet="{}ab:", max_size=5))
def test_every_text_can_be_filled_and_only_variables_change(text: str, value: str) -> None:
    names = variables(text)
    filled = fill(text, dict.fromkeys(names, value))
    if not names:
        assert filled == text
    assert fill(text, {}) == fill(text, dict.fromkeys(names, ""))


def test_a_text_full_of_braces_is_read_at_once() -> None:
    begun = time.perf_counter()
    for text in ("{{" * 10_000, "{{" + " " * 19_998, "{{a" * 6_000, "{{" + " a" * 9_000 + "!}}"):
        fill(text, {})
    assert time.perf_counter() - begun < 2
