"""Agents that people make: whose they are, what is stored, and what two people at once do to each other."""

import secrets
from dataclasses import replace
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import event, insert, select, update

from chatcore import agents
from chatcore.accounts import Principal
from chatcore.agents import Agents, AgentTool, Content, contents, store
from chatcore.db import Database
from chatcore.db.tables import Agent as AgentRow
from chatcore.db.tables import AuditEntry, Conversation, User, utcnow
from chatcore.errors import ChatcoreError, Conflict, Forbidden, InvalidInput, NotFound, Unauthorized
from chatcore.ids import new_id
from tests.conftest import add_person

PLAN = Content("Travel planner", system_prompt="Plan trips.", suggestions=("To Rome\nPlan two days in Rome.",))


class House:
    """Ann, her colleagues Bob and Ida, their admin Dora, and Cleo, who runs another tenant."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.agents = Agents(db)
        mark = secrets.token_hex(4)
        self.ann, self.bob, self.ida = (
            add_person(db, f"{one}-{mark}", tenant=f"A-{mark}") for one in ("ann", "bob", "ida")
        )
        self.dora = add_person(db, f"dora-{mark}", tenant=f"A-{mark}", role="admin")
        self.cleo = add_person(db, f"cleo-{mark}", tenant=f"C-{mark}", role="operator")

    def names(self, who: Principal) -> list[str]:
        """Of what people made."""
        return [one.name for one in self.agents.list(who) if not one.built_in]

    def find(self, who: Principal, agent_id: str | None) -> agents.Agent | None:
        return self.db.read(lambda session: agents.find(session, who, agent_id))

    def built_in(self, who: Principal, slug: str = "coder") -> agents.ListedAgent:
        return next(one for one in self.agents.list(who) if one.slug == slug)

    def audit(self, who: Principal) -> list[str]:
        rows = select(AuditEntry.action).where(AuditEntry.tenant_id == who.tenant_id).order_by(AuditEntry.id)
        return [one for one in self.db.read(lambda s: list(s.scalars(rows))) if one.startswith("agent.")]


@pytest.fixture
def house(module_database: Database) -> House:
    return House(module_database)


def test_an_agent_is_made_found_and_changed(house: House) -> None:
    whole = replace(
        PLAN, name="  Travel\n planner ", icon="🧭", model="auto", parameters={"temperature": 0.5, "max_tokens": 900},
        tools=(AgentTool("search_knowledge"), AgentTool("mcp/files", True)), knowledge=("kb_1",),
    )  # fmt: skip
    made = house.agents.create(house.ann, whole)
    one = house.find(house.ann, made)
    assert one is not None
    assert (one.name, one.slug, one.system_prompt, one.model) == (
        "Travel planner",
        "travel-planner",
        "Plan trips.",
        "auto",
    )
    assert one.tools == (AgentTool("search_knowledge", None), AgentTool("mcp/files", True))
    assert (one.parameters, one.knowledge) == ({"temperature": 0.5, "max_tokens": 900}, ("kb_1",))
    listed = house.agents.list(house.ann)[-1]
    assert (listed.label, listed.is_own, listed.can_edit, listed.suggestions) == (
        "🧭 Travel planner",
        True,
        True,
        PLAN.suggestions,
    )
    assert house.agents.save(house.ann, made, replace(whole, name="Trips"), 1, "shorter") == 2
    assert house.agents.get(house.ann, made).content.name == "Trips"
    assert house.agents.get(house.ann, made).slug == "travel-planner", "links go on working"


def test_an_agent_of_ones_own_is_nobody_elses(house: House) -> None:
    made = house.agents.create(house.ann, PLAN)
    for other in (house.bob, house.dora, house.cleo):
        assert house.names(other) == []
        assert house.find(other, made) is None
        said = set()
        for wanted in (made, new_id("agent")):
            for call in calls(house, other, wanted):
                with pytest.raises(NotFound) as found:
                    call()
                said.add(str(found.value))
        assert said == {"This agent does not exist, or it is not yours to use."}
        assert house.agents.names(other, [made]) == {} == house.agents.pictures(other, [made])
        assert house.agents.figures(replace(other, role="member"), [made]) == {}
    assert house.agents.get(house.ann, made).version == 1


def calls(house: House, who: Principal, agent_id: str) -> list[Any]:
    of = house.agents
    return [
        lambda: of.get(who, agent_id), lambda: of.copy(who, agent_id), lambda: of.export(who, agent_id, {}),
        lambda: of.save(who, agent_id, PLAN, 1), lambda: of.versions(who, agent_id),
        lambda: of.version(who, agent_id, 1), lambda: of.roll_back(who, agent_id, 1, 1),
        lambda: of.reset(who, agent_id, 1), lambda: of.archive(who, agent_id), lambda: of.restore(who, agent_id),
        lambda: of.delete(who, agent_id), lambda: of.keep_draft(who, agent_id, PLAN, 1),
    ]  # fmt: skip


def test_the_team_uses_what_it_was_given_and_its_owner_and_admins_change_it(house: House) -> None:
    made = house.agents.create(house.ann, replace(PLAN, visibility="team"))
    assert house.names(house.bob) == house.names(house.dora) == ["Travel planner"]
    assert house.names(house.cleo) == []
    assert not house.agents.get(house.bob, made).can_edit
    for call in calls(house, house.bob, made)[3:]:
        with pytest.raises(Forbidden):
            call()
    assert house.agents.save(house.dora, made, replace(PLAN, name="Ours", visibility="team"), 1) == 2
    assert house.names(house.bob) == ["Ours"]
    with pytest.raises(InvalidInput, match="Only its owner can take"):
        house.agents.save(house.dora, made, PLAN, 2)
    assert house.agents.save(house.ann, made, PLAN, 2) == 3
    assert house.names(house.bob) == house.names(house.dora) == [], "taken back"
    with pytest.raises(NotFound):
        house.agents.get(house.dora, made)
    assert house.audit(house.ann) == ["agent.share", "agent.change", "agent.take_back"]


def test_it_can_be_shared_with_some_people_only(house: House) -> None:
    made = house.agents.create(house.ann, replace(PLAN, visibility="people", shared_with=(house.bob.user_id,)))
    assert house.names(house.bob) == ["Travel planner"]
    assert house.names(house.ida) == house.names(house.dora) == house.names(house.cleo) == []
    assert house.find(house.bob, made) is not None
    assert house.agents.get(house.bob, made).content.shared_with == (), "with whom else is not theirs to know"
    assert house.agents.get(house.ann, made).content.shared_with == (house.bob.user_id,)
    house.agents.save(house.ann, made, replace(PLAN, visibility="people", shared_with=(house.ida.user_id,)), 1)
    assert house.find(house.bob, made) is None
    assert house.find(house.ida, made) is not None
    assert house.audit(house.ann) == ["agent.share_people"]


def test_an_id_is_no_pattern(house: House) -> None:
    made = house.agents.create(house.ann, replace(PLAN, visibility="people", shared_with=(house.bob.user_id,)))
    for user_id in ("%", house.bob.user_id[:-1] + "_", house.bob.user_id[:-1], house.bob.user_id.replace("_", "x", 1)):
        assert house.find(replace(house.bob, user_id=user_id), made) is None


@pytest.mark.parametrize("stranger", ["cleo", "nobody"])
def test_it_cannot_be_shared_beyond_the_tenant(house: House, stranger: str) -> None:
    person = new_id("usr") if stranger == "nobody" else house.cleo.user_id
    shared = replace(PLAN, visibility="people", shared_with=(house.bob.user_id, person))
    with pytest.raises(InvalidInput, match="not of your team"):
        house.agents.create(house.ann, shared)
    made = house.agents.create(house.ann, PLAN)
    with pytest.raises(InvalidInput, match="not of your team"):
        house.agents.save(house.ann, made, shared, 1)


def test_built_in_agents_are_for_admins_to_change_and_can_be_taken_back(house: House) -> None:
    one = house.built_in(house.ann)
    assert not one.can_edit
    before = house.agents.get(house.dora, one.id).content
    with pytest.raises(Forbidden):
        house.agents.save(house.ann, one.id, replace(before, name="Mine"), 1)
    house.agents.save(house.dora, one.id, replace(before, name="Reviewer", parameters={}), 1)
    assert house.built_in(house.bob).name == "Reviewer"
    assert house.built_in(house.cleo).name == "Code reviewer", "each tenant has its own"
    with pytest.raises(InvalidInput, match="Only its owner"):
        house.agents.save(house.dora, one.id, replace(before, visibility="own"), 2)
    assert house.agents.reset(house.dora, one.id, 2) == 3
    assert house.agents.get(house.dora, one.id).content == before
    assert [each.note for each in house.agents.versions(house.dora, one.id)] == ["Back to what was shipped", "", ""]


def test_what_somebody_made_was_never_shipped(house: House) -> None:
    made = house.agents.create(house.ann, replace(PLAN, name="Coder"))
    with pytest.raises(Conflict, match="did not come with Chatcore"):
        house.agents.reset(house.ann, made, 1)


def test_slugs_come_from_names_and_are_unique_in_the_tenant(house: House) -> None:
    def slug(who: Principal, name: str) -> str:
        return house.agents.get(who, house.agents.create(who, Content(name))).slug

    assert slug(house.ann, "Coder") == "coder-2"
    assert slug(house.bob, "Coder") == "coder-3"
    assert slug(house.ann, "Überblick & Ähnliches!") == "uberblick-ahnliches"
    assert slug(house.ann, "旅行") == "agent"
    assert slug(house.ann, "🧭") == "agent-2"
    assert len(slug(house.ann, "a" * 60)) <= 40


def test_many_at_once_get_slugs_of_their_own(house: House) -> None:
    together, made, errors = Barrier(6), [], []

    def make() -> None:
        together.wait()
        try:
            made.append(house.agents.create(house.ann, PLAN))
        except ChatcoreError as error:
            errors.append(error)

    threads = [Thread(target=make) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []
    assert len({house.agents.get(house.ann, one).slug for one in made}) == 6


def test_a_copy_is_private_and_its_makers(house: House) -> None:
    shared = replace(PLAN, visibility="people", shared_with=(house.bob.user_id,))
    made = house.agents.create(house.ann, shared)
    copied = house.agents.copy(house.bob, made)
    one = house.agents.get(house.bob, copied)
    assert (one.content.name, one.content.visibility, one.content.shared_with) == ("Copy of Travel planner", "own", ())
    assert one.is_own
    assert house.find(house.ann, copied) is None
    built_in = house.agents.copy(house.bob, house.built_in(house.bob).id)
    assert not house.agents.get(house.bob, built_in).built_in


def test_two_who_save_at_once_lose_nothing(house: House) -> None:
    made = house.agents.create(house.ann, replace(PLAN, visibility="team"))
    house.agents.save(house.dora, made, replace(PLAN, name="Hers", visibility="team"), 1)
    with pytest.raises(Conflict, match=r"^Dora-\w+ saved version 2 of this agent while you were changing it"):
        house.agents.save(house.ann, made, replace(PLAN, name="Mine", visibility="team"), 1)
    assert house.agents.save(house.ann, made, replace(PLAN, name="Mine", visibility="team"), 2) == 3
    assert [house.agents.version(house.ann, made, number).name for number in (1, 2, 3)] == [PLAN.name, "Hers", "Mine"]


@pytest.mark.parametrize("kind", ["made", "shipped"])
def test_of_two_at_the_very_same_moment_one_is_told(house: House, kind: str) -> None:
    made = house.agents.create(house.ann, replace(PLAN, visibility="team"))
    if kind == "shipped":  # without a version of its own yet
        made, house.ann = house.built_in(house.dora).id, replace(house.ann, role="admin")
    together, told, saved = Barrier(2), [], []

    def save(who: Principal, name: str) -> None:
        together.wait()
        try:
            saved.append(house.agents.save(who, made, replace(PLAN, name=name, visibility="team"), 1))
        except Conflict as error:
            told.append(str(error))

    threads = [Thread(target=save, args=one) for one in ((house.ann, "Ann's"), (house.dora, "Dora's"))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (saved, len(told)) == ([2], 1)
    assert house.agents.get(house.ann, made).content.name in ("Ann's", "Dora's")


def test_archived_ones_are_named_and_can_come_back(house: House) -> None:
    made = house.agents.create(house.ann, replace(PLAN, visibility="team"))
    talk(house, house.bob, made)
    house.agents.archive(house.ann, made)
    house.agents.archive(house.ann, made)
    assert house.names(house.ann) == []
    assert house.find(house.bob, made) is None
    with pytest.raises(NotFound):
        house.agents.get(house.bob, made)
    assert house.agents.names(house.bob, [made]) == {made: "Travel planner"}
    assert [one.id for one in house.agents.archived(house.ann)] == [made]
    assert [one.id for one in house.agents.archived(house.dora)] == [made], "an admin of the team"
    assert house.agents.archived(house.bob) == []
    with pytest.raises(Conflict, match="archived"):
        house.agents.save(house.ann, made, PLAN, 1)
    house.agents.restore(house.dora, made)
    assert house.names(house.bob) == ["Travel planner"]
    assert house.audit(house.ann) == ["agent.share", "agent.archive", "agent.restore"]


def test_what_is_deleted_for_good_leaves_a_name(house: House) -> None:
    made = house.agents.create(house.ann, PLAN)
    talk(house, house.ann, made)
    with pytest.raises(Conflict, match="Archive"):
        house.agents.delete(house.ann, made)
    house.agents.archive(house.ann, made)
    house.agents.delete(house.ann, made)
    with pytest.raises(NotFound):
        house.agents.restore(house.ann, made)
    assert house.agents.archived(house.ann) == []
    assert house.agents.names(house.ann, [made]) == {made: "Travel planner"}
    row = house.db.read(lambda s: s.execute(select(AgentRow).where(AgentRow.id == made)).scalar_one())
    assert (row.system_prompt, row.suggestions, row.picture) == ("", [], None)


def test_a_name_stays_known_where_one_talked_to_it(house: House) -> None:
    shared = replace(PLAN, visibility="people", shared_with=(house.bob.user_id, house.ida.user_id))
    made = house.agents.create(house.ann, shared)
    talk(house, house.bob, made)
    house.agents.save(house.ann, made, PLAN, 1)
    assert house.agents.names(house.bob, [made]) == {made: "Travel planner"}
    assert house.agents.names(house.ida, [made]) == {}
    assert house.agents.names(replace(house.bob, tenant_id=house.cleo.tenant_id), [made]) == {}


def talk(house: House, who: Principal, agent_id: str) -> None:
    row = {"id": new_id("conv"), "tenant_id": who.tenant_id, "user_id": who.user_id, "title": "x", "settings": {}}
    house.db.write(lambda s: s.execute(insert(Conversation).values(agent_id=agent_id, **row)))


def test_who_was_shut_out_changes_nothing(house: House) -> None:
    made = house.agents.create(house.ann, PLAN)
    shut = update(User).where(User.id == house.ann.user_id).values(disabled_at=utcnow())
    house.db.write(lambda session: session.execute(shut))
    for call in (
        lambda: house.agents.create(house.ann, PLAN),
        lambda: house.agents.save(house.ann, made, replace(PLAN, name="x"), 1),
        lambda: house.agents.archive(house.ann, made),
        lambda: house.agents.keep_draft(house.ann, None, PLAN),
    ):
        with pytest.raises(Unauthorized):
            call()


def test_one_person_has_at_most_so_many(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_AGENTS", 2)
    house.agents.create(house.ann, PLAN)
    house.agents.keep_draft(house.ann, None, PLAN)
    house.agents.create(house.ann, PLAN)
    with pytest.raises(Conflict, match="already"):
        house.agents.create(house.ann, PLAN)
    house.agents.create(house.bob, PLAN)


def test_the_list_is_one_statement_without_what_is_long(house: House) -> None:
    for number in range(5):
        house.agents.create(house.ann, replace(PLAN, name=f"Agent {number}", system_prompt="long " * 9_000))
    said: list[str] = []
    hear = lambda *one: said.append(one[2])  # noqa: E731
    event.listen(house.db.engine, "before_cursor_execute", hear)
    house.agents.list(house.ann)
    event.remove(house.db.engine, "before_cursor_execute", hear)
    found = [one for one in said if "agents" in one]
    assert len(found) == 1
    assert "system_prompt" not in found[0]
    assert "agents.picture," not in found[0]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "1 to 60"),
    ({"name": " \n\x00 "}, "1 to 60"),
    ({"name": "x" * 10_240}, "this one has 10,240"),
    ({"description": "x" * 301}, "at most 300"),
    ({"system_prompt": "x" * 200_000}, "at most 50,000 characters; this one has 200,000"),
    ({"icon": "compass"}, "one emoji"),
    ({"icon": "🧭" * 11}, "one emoji"),
    ({"icon": "<b>"}, "one emoji"),
    ({"icon": "12"}, "one emoji"),
    ({"picture": b"GIF89a"}, "Upload it again"),
    ({"picture": b"\x89PNG\r\n\x1a\n" + b"x" * 40_000}, "Upload it again"),
    ({"model": "m" * 201}, "at most 200"),
    ({"parameters": {"temperature": 2.1}}, "0 to 2"),
    ({"parameters": {"temperature": float("nan")}}, "0 to 2"),
    ({"parameters": {"temperature": True}}, "0 to 2"),
    ({"parameters": {"max_tokens": 0}}, "whole number"),
    ({"parameters": {"max_tokens": 1.5}}, "whole number"),
    ({"suggestions": ("a\nb",) * 7}, "at most 6"),
    ({"suggestions": ("x" * 81 + "\nb",)}, "at most 80"),
    ({"suggestions": ("a\n" + "x" * 2_001,)}, "at most 2,000"),
    ({"tools": (AgentTool("rm -rf /"),)}, "A tool's name"),
    ({"tools": tuple(AgentTool(f"t{number}") for number in range(65))}, "at most 64"),
    ({"knowledge": ("../../etc",)}, "unknown"),
    ({"knowledge": tuple(f"kb_{number}" for number in range(21))}, "At most 20"),
    ({"visibility": "draft"}, "one of own"),
    ({"visibility": "gone"}, "one of own"),
    ({"visibility": "people", "shared_with": tuple(f"usr_{number}" for number in range(501))}, "At most 500"),
]


@pytest.mark.parametrize(("fields", "said"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_what_cannot_be_kept_says_why(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as found:
        contents.checked(replace(PLAN, **fields))
    assert said in str(found.value)
    assert len(str(found.value)) < 200


@pytest.mark.parametrize("icon", ["", "🧭", "👩‍💻", "❤️", "🇩🇪", "1️⃣", "👨‍👩‍👧‍👦", "☀️"])
def test_an_emoji_is_an_icon(icon: str) -> None:
    assert contents.checked(replace(PLAN, icon=icon))["icon"] == icon


def test_what_is_typed_is_tidied(house: House) -> None:
    messy = Content(
        "A\ud800\x00gent", description=" a \n b ", system_prompt=" a\r\nb\x00 ",
        suggestions=("", "\n", "\nOnly text", "Only a heading", " H \n two\nlines "),
        tools=(AgentTool("a"), AgentTool("b"), AgentTool("a", True)), shared_with=("usr_1",),
    )  # fmt: skip
    one = house.agents.get(house.ann, house.agents.create(house.ann, messy)).content
    assert (one.name, one.description, one.system_prompt) == ("Agent", "a b", "a\nb")
    assert one.suggestions == ("Only text\nOnly text", "Only a heading\nOnly a heading", "H\ntwo\nlines")
    assert one.tools == (AgentTool("a", True), AgentTool("b"))
    assert one.shared_with == (), "it is shared with nobody"


def test_errors_are_of_the_tree_for_any_id(house: House) -> None:
    for wanted in ("", "agent'; --", "x" * 10_000, "draft:x:new", "🧭"):
        for call in calls(house, house.ann, wanted):
            with pytest.raises(ChatcoreError):
                call()
