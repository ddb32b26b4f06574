"""The page of agents: the gallery, the form, its history and figures, driven without a browser."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from chatcore import bootstrap
from chatcore.agents import AgentTool, Content
from chatcore.errors import NotFound
from chatcore.tools import ToolChoice
from pages.ui import agent_acts, session
from tests.conftest import add_person

PAGE = Path(__file__).parents[2] / "pages" / "agents.py"
PLAN = Content(
    "Planner", description="Plans *trips*", system_prompt="Plan for {{team}}.", suggestions=("Rome\nTo Rome?",)
)
TOOLS = (
    ToolChoice("search_knowledge", "Search knowledge", "Finds passages."),
    ToolChoice("execute_code", "Run code", "Runs Python.", asks_first=True, why_not="Off on this machine."),
)


@pytest.fixture
def agents_house(house: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    house.ann, house.bob = add_person(house.db, "ann"), add_person(house.db, "bertha")
    house.dora = add_person(house.db, "dora", role="admin")
    house.who = house.ann
    house.toolbox = SimpleNamespace(choices=lambda _: TOOLS)
    bases = [SimpleNamespace(id="kb_1", name="Handbook", description="")]
    house.knowledge = SimpleNamespace(bases=lambda _: bases)
    monkeypatch.setattr(session, "current_principal", lambda: house.who)
    monkeypatch.setattr("streamlit.page_link", lambda *_, **__: None)  # the page runs without the router
    bootstrap.use(house)
    return house


def run(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception
    return at


def page(edit: str | None = None) -> AppTest:
    at = AppTest.from_file(str(PAGE), default_timeout=30)
    if edit:
        at.query_params["edit"] = edit
    return run(at)


def words(at: AppTest) -> str:
    kinds = (at.title, at.markdown, at.caption, at.info, at.success, at.warning, at.error, at.toast)
    return "\n".join(str(one.value) for kind in kinds for one in kind)


def press(at: AppTest, key: str) -> AppTest:
    at.button(key=key).click()
    return run(at)


def type_(at: AppTest, field: str, text: str) -> AppTest:
    kind = at.text_area if field in ("prompt", "question-0") else at.text_input
    kind(key=f"agent-form-{field}").set_value(text)
    return run(at)


def edited(at: AppTest) -> str:
    found = at.query_params["edit"]
    return found if isinstance(found, str) else str(found[0])


def test_the_gallery_shows_cards_and_finds_words(agents_house: Any) -> None:
    made = agents_house.agents.create(
        agents_house.bob, replace(PLAN, name="Our *planner*", visibility="team", model="gpt")
    )
    agents_house.agents.create(agents_house.bob, replace(PLAN, name="Secret"))
    at = page()
    assert "**Our \\*planner\\***" in words(at)
    assert ":gray[Plans \\*trips\\*]" in words(at)
    assert "From Bertha · GPT \\*X\\*" in words(at)
    assert "Secret" not in words(at)
    assert at.button(key=f"open-{made}").label == "Open"
    at.text_input(key="agents_search").set_value("our PLAN")
    assert [one.key for one in run(at).button if one.key and one.key.startswith("open-")] == [f"open-{made}"]
    at.text_input(key="agents_search").set_value("nothing like it")
    assert "No agent has these words." in words(run(at))


def test_an_agent_is_made(agents_house: Any) -> None:
    at = press(page(), "new_agent")
    assert at.button(key="agent_save").disabled
    type_(at, "name", "Planner")
    type_(at, "icon", "🧭")
    type_(at, "prompt", "Plan for {{team}}.")
    at.multiselect(key="agent-form-tools").set_value(["search_knowledge", "execute_code"])
    at.multiselect(key="agent-form-knowledge").set_value(["kb_1"])
    at.selectbox(key="agent-form-model").set_value("claude")
    run(at)
    assert "Off on this machine." in words(at).replace("\\", "")
    at.checkbox(key="agent-form-asks-search_knowledge").check()
    at.toggle(key="agent-form-own_temperature").set_value(True)
    run(at)
    at.slider(key="agent-form-temperature").set_value(0.3)
    press(at, "agent_suggest")
    type_(at, "heading-0", "Rome")
    type_(at, "question-0", "To Rome?")
    at.radio(key="agent-form-visibility").set_value("people")
    run(at)
    at.multiselect(key="agent-form-people").set_value([agents_house.bob.user_id])
    at.text_input(key="agent-form-note").set_value("first")
    run(at)
    press(at, "agent_save")
    one = agents_house.agents.get(agents_house.ann, edited(at))
    assert one.content == Content(
        "Planner", icon="🧭", system_prompt="Plan for {{team}}.", model="claude", parameters={"temperature": 0.3},
        tools=(AgentTool("search_knowledge", True), AgentTool("execute_code", None)), knowledge=("kb_1",),
        suggestions=("Rome\nTo Rome?",), visibility="people", shared_with=(agents_house.bob.user_id,),
    )  # fmt: skip
    assert agents_house.agents.versions(agents_house.ann, one.id)[0].note == "first"
    assert at.button(key="agent_save").disabled
    assert agents_house.agents.draft(agents_house.ann, None) is None


def test_what_is_typed_outlives_the_tab_and_can_be_discarded(agents_house: Any) -> None:
    made = agents_house.agents.create(agents_house.ann, PLAN)
    type_(page(made), "prompt", "Something long that I typed.")
    assert agents_house.agents.get(agents_house.ann, made).content == PLAN
    at = page()
    assert "**Planner** :gray[is not saved yet, just now]" in words(at)
    press(at, "agent_go_on-0")
    assert at.text_area(key="agent-form-prompt").value == "Something long that I typed."
    assert "Not saved yet." in words(at)
    at = page(made)
    assert at.text_area(key="agent-form-prompt").value == "Something long that I typed."
    press(at, "agent_discard")
    assert "will be gone" in words(at)
    assert agents_house.agents.draft(agents_house.ann, made) is not None, "it asks first"
    assert type_(page(made), "prompt", PLAN.system_prompt).button(key="agent_save").disabled
    assert agents_house.agents.draft(agents_house.ann, made) is None, "typed back is as if nothing was typed"


def test_a_new_agent_that_was_begun_is_still_there(agents_house: Any) -> None:
    type_(page("new"), "description", "Half an idea")
    assert "**Untitled**" in words(page())
    at = page("new")
    assert at.text_input(key="agent-form-description").value == "Half an idea"
    assert at.text_input(key="agent-form-name").value == ""
    press(at, "agent_save")
    assert "An agent's name has 1 to 60 characters" in words(at).replace("\\", "")
    assert at.text_input(key="agent-form-description").value == "Half an idea"


def test_the_second_of_two_is_told_and_loses_nothing(agents_house: Any) -> None:
    shared = replace(PLAN, visibility="team")
    made = agents_house.agents.create(agents_house.ann, shared)
    at = type_(page(made), "prompt", "Mine.")
    agents_house.agents.save(agents_house.dora, made, replace(shared, system_prompt="Hers."), 1)
    press(at, "agent_save")
    assert "Dora saved version 2 of this agent" in words(at)
    assert at.text_area(key="agent-form-prompt").value == "Mine."
    assert "-Hers." in at.code[0].value
    assert "+Mine." in at.code[0].value
    press(at, "agent_save_over")
    found = [agents_house.agents.version(agents_house.ann, made, number).system_prompt for number in (1, 2, 3)]
    assert found == [PLAN.system_prompt, "Hers.", "Mine."]
    assert "saved version" not in words(run(at))


def test_who_changed_nothing_just_sees_the_newest(agents_house: Any) -> None:
    made = agents_house.agents.create(agents_house.ann, replace(PLAN, visibility="team"))
    at = page(made)
    agents_house.agents.save(agents_house.dora, made, replace(PLAN, name="Hers", visibility="team"), 1)
    assert run(at).text_input(key="agent-form-name").value == "Hers"
    assert "saved version" not in words(at)


def test_who_may_only_use_it_can_look_and_copy(agents_house: Any) -> None:
    made = agents_house.agents.create(agents_house.ann, replace(PLAN, visibility="team"))
    agents_house.who = agents_house.bob
    at = page(made)
    assert at.text_area(key="agent-form-prompt").disabled
    assert "Make a copy to change it" in words(at)
    assert not [one for one in at.button if one.key in ("agent_save", "agent_archive", "agent_save_below")]
    press(at, "agent_copy")
    assert agents_house.agents.get(agents_house.bob, edited(at)).content.name == "Copy of Planner"
    assert not at.text_area(key="agent-form-prompt").disabled


@pytest.mark.parametrize("wanted", ["agent_never", "x" * 500, "new'--"])
def test_what_is_not_theirs_is_not_found(agents_house: Any, wanted: str) -> None:
    at = page(wanted)
    assert "does not exist, or it is not yours" in words(at)
    press(at, "agent_all")
    assert "New agent" in [one.label for one in at.button]


def test_anothers_agent_is_as_absent(agents_house: Any) -> None:
    made = agents_house.agents.create(agents_house.bob, PLAN)
    at = page(made)
    assert "does not exist, or it is not yours" in words(at)
    assert "Plan for" not in words(at)


def test_the_history_shows_what_changed_and_goes_back(agents_house: Any) -> None:
    made = agents_house.agents.create(agents_house.ann, PLAN)
    agents_house.agents.save(agents_house.ann, made, replace(PLAN, system_prompt="Other."), 1, "*better*")
    at = page(made)
    at.button_group(key="agent_section").set_value("history")
    run(at)
    assert [one.label for one in at.expander][:2] == [
        "**Version 2** · Ann · just now · now  \n\\*better\\*", "**Version 1** · Ann · just now",
    ]  # fmt: skip
    at.session_state["agent_version-1"] = True
    press(run(at), "agent_back-1")
    assert agents_house.agents.get(agents_house.ann, made).content.system_prompt == PLAN.system_prompt
    at.button_group(key="agent_section").set_value("form")
    assert run(at).text_area(key="agent-form-prompt").value == PLAN.system_prompt


def test_typed_words_survive_a_look_at_the_history(agents_house: Any) -> None:
    made = agents_house.agents.create(agents_house.ann, PLAN)
    at = type_(page(made), "prompt", "Typed.")
    for section in ("history", "figures", "form"):
        at.button_group(key="agent_section").set_value(section)
        run(at)
    assert at.text_area(key="agent-form-prompt").value == "Typed."


def test_the_figures_are_cards(agents_house: Any) -> None:
    made = agents_house.agents.create(agents_house.ann, PLAN)
    at = page(made)
    at.button_group(key="agent_section").set_value("figures")
    run(at)
    assert {one.label: one.value for one in at.metric} == {
        "Calls": "0", "People": "0", "Tokens": "0", "Cost": "$0", "Rating": "–",
    }  # fmt: skip


def test_a_suggestion_is_removed_and_the_next_moves_up(agents_house: Any) -> None:
    made = agents_house.agents.create(agents_house.ann, replace(PLAN, suggestions=("A\na", "B\nb", "C\nc")))
    at = press(page(made), "agent_unsuggest-0")
    press(at, "agent_save")
    assert agents_house.agents.get(agents_house.ann, made).content.suggestions == ("B\nb", "C\nc")


def test_what_is_no_longer_there_to_choose_stays_until_it_is_taken_out(agents_house: Any) -> None:
    old = replace(PLAN, model="gone", tools=(AgentTool("mcp/old", True),), knowledge=("kb_other",))
    made = agents_house.agents.create(agents_house.ann, old)
    at = page(made)
    assert at.button(key="agent_save").disabled
    type_(at, "name", "Renamed")
    press(at, "agent_save")
    assert agents_house.agents.get(agents_house.ann, made).content == replace(old, name="Renamed")


def archive_script(who, agent_id):  # type: ignore[no-untyped-def]  # it runs without this module's names
    from pages.ui import agent_acts

    agent_acts.archive(who, agent_id, "Planner", is_team=True)


def delete_script(who, agent):  # type: ignore[no-untyped-def]
    from pages.ui import agent_acts

    agent_acts.delete(who, agent)


def dialog(script: Any, *arguments: Any) -> AppTest:
    return run(AppTest.from_function(script, default_timeout=30, args=arguments))


def test_it_is_archived_brought_back_and_deleted_after_a_word(agents_house: Any) -> None:
    of, ann = agents_house.agents, agents_house.ann
    made = of.create(ann, PLAN)
    at = press(page(made), "agent_archive")
    assert "“Planner”" in words(at)
    assert of.archived(ann) == [], "it asks first"

    press(dialog(archive_script, ann, made), "archive_agent")
    assert [one.id for one in of.archived(ann)] == [made]
    assert "is archived" in words(page(made))
    at = page()
    assert "Planner" in words(at)
    press(at, f"restore-{made}")
    assert of.archived(ann) == []
    of.archive(ann, made)
    assert "cannot be undone" in words(press(page(), f"delete-{made}"))
    press(dialog(delete_script, ann, of.archived(ann)[0]), "delete_agent")
    with pytest.raises(NotFound):
        of.get(ann, made)


def test_a_built_in_agent_goes_back_to_what_was_shipped(agents_house: Any) -> None:
    of, dora = agents_house.agents, agents_house.dora
    agents_house.who = dora
    one = next(agent for agent in of.list(dora) if agent.slug == "coder")
    content = of.get(dora, one.id).content
    of.save(dora, one.id, replace(content, system_prompt="Mine."), 1)
    press(page(one.id), "agent_reset")
    assert of.get(dora, one.id).content == content


class File:
    """What the browser hands over."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def getvalue(self) -> bytes:
        return self.data


def import_script(who: object, data: bytes) -> None:
    import streamlit as st

    from pages.ui import acts, agent_acts
    from tests.pages.test_agents import File

    st.session_state["file"] = File(data)
    st.button("Take", on_click=agent_acts._import, args=(who, "file"), key="take")
    acts.say()
    agent_acts.draw_imported()


def test_an_import_says_what_it_left_out(agents_house: Any) -> None:
    agent = {"name": "From afar", "tools": [{"name": "search_knowledge"}, {"name": "mcp/x"}], "knowledge": ["Handbook"]}
    data = json.dumps({"format": "chatcore.agent", "version": 1, "agent": agent}).encode()
    at = press(run(AppTest.from_function(import_script, default_timeout=30, args=(agents_house.ann, data))), "take")
    assert "The tool “mcp/x”" in words(at).replace("\\", "")
    one = agents_house.agents.get(agents_house.ann, edited(at))
    assert (one.content.tools, one.content.knowledge) == ((AgentTool("search_knowledge"),), ("kb_1",))


def test_a_bad_import_says_why(agents_house: Any) -> None:
    at = run(AppTest.from_function(import_script, default_timeout=30, args=(agents_house.ann, b"[" * 100_000)))
    assert "no JSON" in words(press(at, "take"))
    assert agent_acts.EDIT not in at.query_params


def sidebar_script(who):  # type: ignore[no-untyped-def]
    from chatcore.bootstrap import core
    from pages.ui import chat_sidebar

    chat_sidebar.draw(who, None, core().agents.list(who))


def sidebar(house: Any, **address: str) -> AppTest:
    at = AppTest.from_function(sidebar_script, default_timeout=30, args=(house.ann,))
    for name, value in address.items():
        at.query_params[name] = value
    return run(at)


def test_an_agent_brings_its_model_along_to_the_chat(agents_house: Any) -> None:
    made = agents_house.agents.create(agents_house.ann, replace(PLAN, icon="🧭", model="claude"))
    agents_house.agents.create(agents_house.ann, Content("coder"))
    at = sidebar(agents_house, agent="planner")
    assert (at.selectbox(key="agent").value, at.selectbox(key="model").value) == (made, "claude")
    assert "🧭 Planner" in at.selectbox(key="agent").options
    assert sidebar(agents_house, agent="planner", model="gpt").selectbox(key="model").value == "gpt", "the link decides"
    at = sidebar(agents_house, agent="coder")
    assert at.selectbox(key="agent").value == next(
        one.id for one in agents_house.agents.list(agents_house.ann) if one.slug == "coder"
    ), "a slug goes before a name"
    assert at.selectbox(key="model").value == "gpt"
    at.selectbox(key="agent").set_value(made)
    assert run(at).selectbox(key="model").value == "claude"


def test_a_model_that_is_not_there_is_not_chosen(agents_house: Any) -> None:
    agents_house.agents.create(agents_house.ann, replace(PLAN, model="gone"))
    assert sidebar(agents_house, agent="planner").selectbox(key="model").value == "gpt"
