"""Playbooks: what ships, what the team makes of it, and who may change it."""

from dataclasses import replace

import pytest

from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound
from chatcore.workshops import MAX_PROMPT, MAX_STEPS, Content, Step, contents, playbooks, step_id
from chatcore.workshops.shipped import SHIPPED
from tests.workshops.conftest import House

RETRO = Content(
    "Retro", "What went well", "Be kind.",
    (Step("well", "What went well"), Step("better", "What could be better", brings=("well",))),
)  # fmt: skip


def test_design_thinking_ships_for_every_tenant(house: House) -> None:
    for who in (house.ann, house.stranger):
        found = house.workshops.playbooks(who)
        assert [(one.id, one.ships, one.can_edit) for one in found] == [("design-thinking", True, False)]
    steps = found[0].content.steps
    assert [step.id for step in steps] == ["empathize", "define", "ideate", "prototype", "test"]
    assert all(len(step.guidance) > 200 and len(step.system_prompt) > 400 for step in steps)
    assert steps[1].brings == ("empathize",)


@pytest.mark.parametrize("shipped", SHIPPED.values(), ids=SHIPPED)
def test_what_ships_is_what_a_person_could_have_written(shipped: Content) -> None:
    assert contents.checked(shipped) == shipped


def test_a_playbook_is_the_teams_to_use_and_its_makers_to_change(house: House) -> None:
    made = house.workshops.create_playbook(house.bob, RETRO)
    assert house.workshops.playbook(house.ann, made).content == RETRO
    assert [one.owner for one in house.workshops.playbooks(house.ann)] == [None, "Bob"]
    better = replace(RETRO, name="Retro 2")
    with pytest.raises(Forbidden, match="Make a copy"):
        house.workshops.save_playbook(house.ann, made, better, 1)
    assert house.workshops.save_playbook(house.bob, made, better, 1) == 2
    assert house.workshops.save_playbook(house.admin, made, RETRO, 2) == 3
    copy = house.workshops.copy_playbook(house.ann, made)
    assert house.workshops.save_playbook(house.ann, copy, better, 1) == 2
    assert house.workshops.playbook(house.bob, made).content == RETRO


def test_what_ships_is_copied_not_changed(house: House) -> None:
    with pytest.raises(Forbidden, match="comes with Chatcore"):
        house.workshops.save_playbook(house.admin, "design-thinking", RETRO, 0)
    with pytest.raises(Forbidden, match="comes with Chatcore"):
        house.workshops.archive_playbook(house.admin, "design-thinking")
    copy = house.workshops.playbook(house.bob, house.workshops.copy_playbook(house.bob, "design-thinking"))
    assert (copy.content.name, copy.can_edit) == ("Copy of Design thinking", True)
    assert copy.content.steps == SHIPPED["design-thinking"].steps


def test_the_second_of_two_who_change_it_is_told(house: House) -> None:
    made = house.workshops.create_playbook(house.bob, RETRO)
    house.workshops.save_playbook(house.admin, made, replace(RETRO, name="By the admin"), 1)
    with pytest.raises(Conflict, match="Somebody changed this playbook"):
        house.workshops.save_playbook(house.bob, made, replace(RETRO, name="By Bob"), 1)
    assert house.workshops.playbook(house.bob, made).content.name == "By the admin"


def test_an_archived_one_is_in_no_list_and_begins_nothing(house: House) -> None:
    made = house.workshops.create_playbook(house.bob, RETRO)
    house.workshops.archive_playbook(house.bob, made)
    assert [one.id for one in house.workshops.playbooks(house.bob)] == ["design-thinking"]
    assert [one.id for one in house.workshops.archived_playbooks(house.bob)] == [made]
    assert house.workshops.archived_playbooks(house.ann) == []
    with pytest.raises(Conflict, match="archived"):
        house.workshops.create(house.bob, made, "Late")
    with pytest.raises(Conflict, match="Bring it back"):
        house.workshops.save_playbook(house.bob, made, RETRO, 1)
    house.workshops.archive_playbook(house.bob, made, archived=False)
    assert house.workshops.create(house.ann, made, "In time")


def test_another_tenant_finds_none_of_it(house: House) -> None:
    made = house.workshops.create_playbook(house.bob, RETRO)
    assert [one.id for one in house.workshops.playbooks(house.stranger)] == ["design-thinking"]
    for act in (
        lambda: house.workshops.playbook(house.stranger, made),
        lambda: house.workshops.copy_playbook(house.stranger, made),
        lambda: house.workshops.save_playbook(house.stranger, made, RETRO, 1),
        lambda: house.workshops.archive_playbook(house.stranger, made),
        lambda: house.workshops.create(house.stranger, made, "Theirs"),
    ):
        with pytest.raises(NotFound):
            act()


def test_one_person_has_a_hundred_at_most(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playbooks, "MOST", 2)
    first = house.workshops.create_playbook(house.bob, RETRO)
    house.workshops.create_playbook(house.bob, RETRO)
    with pytest.raises(Conflict, match="Archive one"):
        house.workshops.copy_playbook(house.bob, first)
    house.workshops.archive_playbook(house.bob, first)
    house.workshops.copy_playbook(house.bob, first)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"steps": ()}, "1 to 20 steps"),
        ({"steps": tuple(Step(f"s{n}", "S") for n in range(MAX_STEPS + 1))}, "1 to 20 steps"),
        ({"name": " \x00 "}, "name has 1 to 80"),
        ({"name": "n" * 81}, "there are 81"),
        ({"system_prompt": "p" * (MAX_PROMPT + 1)}, "at most 20,000"),
        ({"steps": (Step("Not One", "x"),)}, "small letters"),
        ({"steps": (Step("a", ""),)}, "title of step 1"),
        ({"steps": (Step("a", "A"), Step("a", "B"))}, "Two steps have the id"),
        ({"steps": (Step("a", "A", brings=("b",)), Step("b", "B"))}, "earlier steps only"),
        ({"steps": (Step("a", "A", brings=("a",)),)}, "earlier steps only"),
        ({"steps": (Step("a", "A", agent_id="../etc"),)}, "agent that does not exist"),
        ({"steps": (Step("a", "A", guidance="g" * 4_001),)}, "guidance of step 1"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(bad: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        contents.checked(replace(RETRO, **bad))  # type: ignore[arg-type]


def test_what_is_typed_is_cleaned_and_read_back() -> None:
    odd = replace(
        RETRO, name=" A \ud800\x07 name \n", steps=(Step("a", "A"), Step("b", "B"), Step("c", "C", brings=("b", "a")))
    )
    found = contents.checked(odd)
    assert found.name == "A name"
    assert found.steps[2].brings == ("a", "b")
    assert contents.unpacked(contents.packed(found)) == found


def test_a_steps_id_comes_from_its_title() -> None:
    assert step_id("What went well?", []) == "what-went-well"
    assert step_id("What went well?", ["what-went-well"]) == "what-went-well-2"
    assert step_id("日本", []) == "step"
