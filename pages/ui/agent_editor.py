"""One agent: its form with a chat beside it, its history, its figures."""

from functools import partial
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.agents import MAX_NOTE, OpenedAgent, changes
from chatcore.bootstrap import core
from chatcore.errors import NotFound
from pages.ui import acts, agent_acts, agent_choices, agent_figures, agent_form, agent_history, agent_state, agent_try
from pages.ui.agent_choices import Choices
from pages.ui.agent_state import Editing
from pages.ui.text import ago, plain

_SECTIONS: Final = {
    "form": ":material/edit: Agent", "history": ":material/history: History", "figures": ":material/bar_chart: Usage",
}  # fmt: skip
_NOTE: Final = f"{agent_state.KEY}note"


def draw(principal: Principal, wanted: str) -> None:
    """`wanted`: the agent's id, `new` for one that is made."""
    try:
        agent = None if wanted == "new" else core().agents.get(principal, wanted)
    except NotFound as error:
        st.info(str(error), icon=":material/search_off:")
        st.button("All agents", key="agent_all", icon=":material/arrow_back:", on_click=agent_acts.close)
        return
    choices = agent_choices.find(principal)
    editing = agent_state.opened(principal, agent, choices)
    can_edit = agent is None or (agent.can_edit and agent.archived_at is None)
    if can_edit:
        agent_state.keep(principal, editing)
    _draw_bar(principal, agent, editing, can_edit=can_edit)
    agent_acts.draw_imported()
    _draw_notes(principal, agent, editing, choices)
    section = _section(agent)
    if section == "history" and agent is not None:
        agent_history.draw(principal, agent, choices.names)
    elif section == "figures" and agent is not None:
        agent_figures.draw(principal, agent.id)
    else:
        _draw_form(principal, agent, editing, choices, can_edit=can_edit)


def _section(agent: OpenedAgent | None) -> str:
    if agent is None or not agent.can_edit:
        return "form"
    st.session_state.setdefault("agent_section", "form")
    chosen = st.segmented_control("Section", list(_SECTIONS), key="agent_section", format_func=_SECTIONS.__getitem__,
                                  label_visibility="collapsed", required=True)  # fmt: skip
    return chosen or "form"


def _draw_bar(principal: Principal, agent: OpenedAgent | None, editing: Editing, *, can_edit: bool) -> None:
    """The way back, the name, and what can be done."""
    st.button("All agents", key="agent_all", icon=":material/arrow_back:", type="tertiary", on_click=agent_acts.close)
    with st.container(key="agent_bar", horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        name = agent_state.value("name") or ("New agent" if agent is None else agent.content.name)
        st.title(plain(f"{agent_state.value('icon') or ''} {name}"), anchor=False, width="content")
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            if agent is not None:
                st.page_link("chat.py", label="Chat", icon=":material/chat_bubble:", query_params={"agent": agent.slug})
                agent_acts.draw_menu(principal, agent)
            if can_edit:
                _draw_save("agent_save", principal, agent, editing)


def _draw_save(key: str, principal: Principal, agent: OpenedAgent | None, editing: Editing) -> None:
    st.button("Save", key=key, type="primary", icon=":material/check:", on_click=_save,
              args=(principal, agent, editing), disabled=not editing.is_changed)  # fmt: skip


def _draw_notes(principal: Principal, agent: OpenedAgent | None, editing: Editing, choices: Choices) -> None:
    """What the person should know: that it is not theirs, not saved, or that somebody saved it meanwhile."""
    if editing.problem:
        st.error(plain(editing.problem), icon=":material/error:")
    if agent is not None and not agent.can_edit:
        st.info("You can use this agent, not change it. Make a copy to change it.", icon=":material/lock:")
    elif agent is not None and agent.archived_at is not None:
        st.info("This agent is archived. Bring it back on the page of all agents to change it.",
                icon=":material/archive:")  # fmt: skip
    elif agent is not None and agent.version != editing.version:
        _draw_overtaken(principal, agent, editing, choices)
    elif editing.draft_id is not None:
        with st.container(horizontal=True, vertical_alignment="center", key="agent_unsaved"):
            st.caption(":material/edit_note: Not saved yet. What you typed is kept here for you.", width="content")
            if st.button("Discard", key="agent_discard", type="tertiary"):
                agent_acts.discard(principal, editing.of, agent_state.value("name") or "New agent")


def _draw_overtaken(principal: Principal, agent: OpenedAgent, editing: Editing, choices: Choices) -> None:
    newest = core().agents.versions(principal, agent.id)[0]
    who, when = plain(newest.person or "Somebody"), ago(newest.created_at)
    with st.container(border=True, key="agent_overtaken"):
        st.warning(f"{who} saved version {newest.number} of this agent, {when}, while you were changing it. "
                   "Nothing of yours is lost.", icon=":material/group:")  # fmt: skip
        with st.expander("What is different in yours"):
            agent_history.draw_changes(changes(agent.content, agent_state.read(), choices.names))
        with st.container(horizontal=True):
            st.button(
                "Save mine as the newest", key="agent_save_over", on_click=_save, args=(principal, agent, editing)
            )
            if st.button("Take theirs", key="agent_take", type="tertiary"):
                agent_acts.discard(principal, agent.id, agent.content.name)


def _draw_form(
    principal: Principal, agent: OpenedAgent | None, editing: Editing, choices: Choices, *, can_edit: bool
) -> None:
    with st.container(key="agent_to_try"):
        st.markdown("[Try it, below the form](#try-it)")
    form, trial = st.columns([3, 2], gap="large")
    with form, st.container(key="agent_editor"):
        agent_form.draw(principal, agent, choices)
        if can_edit:
            with st.container(horizontal=True, vertical_alignment="bottom"):
                st.text_input("What did you change?", key=_NOTE, max_chars=MAX_NOTE,
                              placeholder="A note for the history")  # fmt: skip
                _draw_save("agent_save_below", principal, agent, editing)
    if agent is None or agent.archived_at is None:
        with trial:
            agent_try.draw(principal, agent, editing)


def _save(principal: Principal, agent: OpenedAgent | None, editing: Editing) -> None:
    content, note = agent_state.read(), st.session_state.get(_NOTE) or ""
    if agent is None:
        made: list[str] = []
        if acts.act(lambda: made.append(core().agents.create(principal, content, note)), "The agent is saved."):
            agent_acts.open_(made[0])
    elif acts.act(
        partial(core().agents.save, principal, agent.id, content, agent.version, note), "The agent is saved."
    ):
        agent_state.forget()
    else:
        agent_state.keep(principal, editing)
