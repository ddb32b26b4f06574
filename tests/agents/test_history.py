"""Versions of an agent, what is not saved yet, and what is left of somebody who was erased."""

import secrets
import time
from dataclasses import replace

import pytest
from sqlalchemy import select

from chatcore import agents
from chatcore.accounts import Principal
from chatcore.agents import Agents, AgentTool, Change, Content, changes, square
from chatcore.db import Database
from chatcore.db.tables import Agent as AgentRow
from chatcore.db.tables import AgentVersion as VersionRow
from chatcore.errors import Conflict, InvalidInput, NotFound
from tests.agents.test_pictures import picture
from tests.conftest import add_person

PLAN = Content("Planner", system_prompt="Plan trips.\nBe brief.")


class House:
    """Ann, her colleague Bob and their admin Dora."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.agents = Agents(db)
        mark = secrets.token_hex(4)
        self.ann, self.bob = (add_person(db, f"{one}-{mark}", tenant=f"A-{mark}") for one in ("ann", "bob"))
        self.dora = add_person(db, f"dora-{mark}", tenant=f"A-{mark}", role="admin")

    def find(self, who: Principal, agent_id: str) -> agents.Agent | None:
        return self.db.read(lambda session: agents.find(session, who, agent_id))


@pytest.fixture
def house(module_database: Database) -> House:
    return House(module_database)


def test_each_save_is_a_version_with_who_when_and_a_note(house: House) -> None:
    team = replace(PLAN, visibility="team")
    made = house.agents.create(house.ann, team, "first")
    house.agents.save(house.dora, made, replace(team, name="Trips"), 1, "  shorter\nname ")
    found = house.agents.versions(house.ann, made)
    assert [(one.number, one.person, one.note) for one in found] == [
        (2, house.dora.name, "shorter name"), (1, house.ann.name, "first"),
    ]  # fmt: skip
    assert found[0].created_at >= found[1].created_at
    with pytest.raises(InvalidInput, match="A note"):
        house.agents.save(house.ann, made, team, 2, "x" * 201)


def test_saving_what_is_the_same_writes_nothing(house: House) -> None:
    made = house.agents.create(house.ann, PLAN)
    assert house.agents.save(house.ann, made, replace(PLAN, name=" Planner "), 1) == 1
    assert len(house.agents.versions(house.ann, made)) == 1


def test_going_back_is_a_new_version_and_shares_nothing(house: House) -> None:
    made = house.agents.create(house.ann, replace(PLAN, visibility="team", picture=square(picture())))
    house.agents.save(house.ann, made, replace(PLAN, name="Private"), 1)
    assert house.agents.roll_back(house.ann, made, 1, 2) == 3
    now = house.agents.get(house.ann, made).content
    assert (now.name, now.picture, now.visibility) == ("Planner", square(picture()), "own")
    assert house.find(house.bob, made) is None
    assert [one.note for one in house.agents.versions(house.ann, made)] == ["Back to version 1", "", ""]
    with pytest.raises(Conflict, match="saved version 3"):
        house.agents.roll_back(house.ann, made, 1, 2)
    with pytest.raises(NotFound):
        house.agents.roll_back(house.ann, made, 9, 3)


def test_what_was_there_before_there_were_versions_is_kept_when_it_passes(house: House) -> None:
    one = next(agent for agent in house.agents.list(house.dora) if agent.slug == "editor")
    before = house.agents.get(house.dora, one.id).content
    assert [each.number for each in house.agents.versions(house.dora, one.id)] == [1]
    house.agents.save(house.dora, one.id, replace(before, system_prompt="Edit."), 1)
    assert [(each.number, each.person) for each in house.agents.versions(house.dora, one.id)] == [
        (2, house.dora.name), (1, ""),
    ]  # fmt: skip
    assert house.agents.version(house.dora, one.id, 1) == before


def test_long_histories_come_in_pages(house: House) -> None:
    made = house.agents.create(house.ann, PLAN)
    for number in range(1, 53):
        house.agents.save(house.ann, made, replace(PLAN, name=f"Name {number}"), number)
    first = house.agents.versions(house.ann, made)
    assert (len(first), first[0].number) == (50, 53)
    assert [one.number for one in house.agents.versions(house.ann, made, first[-1].number)] == [3, 2, 1]
    assert house.agents.versions(house.ann, made, 1) == []


def test_a_difference_can_be_read() -> None:
    after = Content(
        "Planner 2", icon="🧭", system_prompt="Plan trips.\nBe kind.", model="auto", parameters={"temperature": 0.5},
        tools=(AgentTool("a", True), AgentTool("b")), knowledge=("kb_1", "kb_2"), visibility="people",
        shared_with=("usr_1",), suggestions=("Rome\nPlan Rome.",),
    )  # fmt: skip
    names = {"a": "Search", "kb_1": "Handbook", "usr_1": "Bob"}
    assert changes(PLAN, PLAN) == []
    assert changes(PLAN, after, names) == [
        Change("Name", "Planner", "Planner 2"),
        Change("Icon", "none", "🧭"),
        Change("System prompt", lines=("@@ -1,2 +1,2 @@", " Plan trips.", "-Be brief.", "+Be kind.")),
        Change("Model", "as the person chooses", "auto"),
        Change("Parameters", "none", "temperature 0.5"),
        Change("Tools", "none", "Search (asks first), b"),
        Change("Knowledge", "none", "Handbook, one that you cannot see"),
        Change("Suggestions", lines=("@@ -0,0 +1,2 @@", "+Rome", "+Plan Rome.")),
        Change("Who may use it", "only its owner", "chosen people"),
        Change("People", "none", "Bob"),
    ]
    assert changes(replace(PLAN, picture=b"x"), PLAN) == [Change("Picture", "a picture", "none")]


@pytest.mark.parametrize(("before", "after"), [("a\n" * 25_000, "b\n" * 25_000), ("a\nb\n" * 12_500, "b\na\n" * 12_500),
                                               ("ab" * 25_000, "ba" * 25_000)])  # fmt: skip
def test_the_longest_prompts_are_compared_in_no_time(before: str, after: str) -> None:
    began = time.process_time()
    changes(Content("x", system_prompt=before), Content("x", system_prompt=after))
    assert time.process_time() - began < 2


def test_versions_are_for_those_who_change_it(house: House) -> None:
    """What stood in it before it was shared was never meant for the others."""
    made = house.agents.create(house.ann, replace(PLAN, system_prompt="secret plans"))
    house.agents.save(house.ann, made, replace(PLAN, visibility="team"), 1)
    assert house.agents.get(house.bob, made).content.system_prompt == PLAN.system_prompt
    assert house.agents.version(house.dora, made, 1).system_prompt == "secret plans"


# ---- drafts


def test_a_draft_is_kept_and_answers_its_writer_only(house: House) -> None:
    made = house.agents.create(house.ann, replace(PLAN, visibility="team"))
    assert house.agents.draft(house.dora, made) is None
    typed = replace(PLAN, name="", system_prompt="Not yet.", visibility="team")
    draft_id = house.agents.keep_draft(house.dora, made, typed, 1)
    assert house.agents.keep_draft(house.dora, made, replace(typed, model="auto"), 1) == draft_id
    found = house.agents.draft(house.dora, made)
    assert found is not None
    assert (found.agent_id, found.version, found.content.visibility) == (draft_id, 1, "team")
    assert (found.content.name, found.content.model) == ("", "auto")
    answers = house.find(house.dora, draft_id)
    assert answers is not None
    assert (answers.name, answers.system_prompt, answers.model) == ("Untitled (draft)", "Not yet.", "auto")
    for other in (house.ann, house.bob, replace(house.dora, tenant_id="tenant_x")):
        assert house.find(other, draft_id) is None
        assert draft_id not in {one.id for one in house.agents.list(other)}
    assert house.agents.draft(house.ann, made) is None
    assert draft_id not in {one.id for one in (*house.agents.list(house.dora), *house.agents.archived(house.dora))}
    with pytest.raises(NotFound):
        house.agents.get(house.dora, draft_id)
    assert house.agents.get(house.ann, made).content.system_prompt == PLAN.system_prompt


def test_a_draft_goes_when_it_is_saved_or_dropped(house: House) -> None:
    new = house.agents.keep_draft(house.ann, None, PLAN)
    made = house.agents.create(house.ann, PLAN)
    assert house.agents.draft(house.ann, None) is None
    assert house.find(house.ann, new) is None
    old = house.agents.keep_draft(house.ann, made, replace(PLAN, name="x"), 1)
    house.agents.save(house.ann, made, replace(PLAN, name="x"), 1)
    assert house.agents.draft(house.ann, made) is None
    assert house.agents.keep_draft(house.ann, made, PLAN, 2) == old, "the same row again"
    house.agents.drop_draft(house.ann, made)
    house.agents.drop_draft(house.ann, "never there")
    assert house.agents.draft(house.ann, made) is None
    row = house.db.read(lambda s: s.execute(select(AgentRow).where(AgentRow.id == old)).scalar_one())
    assert (row.name, row.system_prompt) == ("Draft", "")


def test_a_draft_has_the_limits_of_an_agent(house: House) -> None:
    with pytest.raises(InvalidInput, match="at most 50,000"):
        house.agents.keep_draft(house.ann, None, replace(PLAN, system_prompt="x" * 50_001))


def test_who_may_no_longer_change_an_agent_keeps_no_draft_of_it(house: House) -> None:
    made = house.agents.create(house.ann, replace(PLAN, visibility="team"))
    house.agents.keep_draft(house.dora, made, PLAN, 1)
    house.agents.save(house.ann, made, PLAN, 1)
    with pytest.raises(NotFound):
        house.agents.keep_draft(house.dora, made, PLAN, 1)
    kept = house.agents.draft(house.dora, made)
    assert kept is not None, "what she typed is still hers"
    assert kept.content == replace(PLAN)


# ---- erasing


def test_nothing_is_left_of_who_is_erased_but_what_is_the_teams(house: House) -> None:
    own = house.agents.create(house.ann, PLAN)
    teams = house.agents.create(house.ann, replace(PLAN, visibility="team"))
    some = house.agents.create(house.ann, replace(PLAN, visibility="people", shared_with=(house.bob.user_id,)))
    bobs = house.agents.create(
        house.bob, replace(PLAN, visibility="people", shared_with=(house.ann.user_id, house.dora.user_id))
    )
    draft = house.agents.keep_draft(house.ann, own, PLAN, 1)
    house.db.write(lambda session: agents.erase_person(session, house.ann.user_id))
    rows = {row.id: row for row in house.db.read(lambda s: list(s.scalars(select(AgentRow))))}
    for gone in (own, some, draft):
        assert (rows[gone].name, rows[gone].system_prompt, rows[gone].owner_id) == ("Former agent", "", None)
        assert house.find(house.bob, gone) is None
    assert house.find(house.bob, teams) is not None
    assert [one.person for one in house.agents.versions(house.dora, teams)] == [""]
    assert house.agents.get(house.bob, bobs).content.shared_with == (house.dora.user_id,)
    left = house.db.read(lambda s: s.scalars(select(VersionRow).where(VersionRow.user_id == house.ann.user_id)).all())
    assert left == []
    assert house.ann.user_id not in {row.owner_id for row in rows.values()}
