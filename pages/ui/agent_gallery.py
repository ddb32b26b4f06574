"""All agents as cards, with a search; what is not saved yet; the archive."""

from collections.abc import Mapping, Sequence
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.agents import ListedAgent
from chatcore.bootstrap import core
from pages.ui import agent_acts, agent_choices, agent_figures
from pages.ui.text import ago, plain

_SHOWN: Final = 24
_MORE: Final = "agents_shown"


def draw(principal: Principal) -> None:
    """The whole gallery."""
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.title("Agents", anchor=False, width="content")
        with st.container(horizontal=True, width="content"):
            agent_acts.draw_import(principal)
            st.button("New agent", key="new_agent", type="primary", icon=":material/add:", on_click=agent_acts.open_,
                      args=(None,))  # fmt: skip
    _draw_unsaved(principal)
    search = st.text_input("Search", key="agents_search", placeholder="Search names and descriptions",
                           icon=":material/search:", label_visibility="collapsed")  # fmt: skip
    found = [one for one in core().agents.list(principal) if _matches(one, search)]
    if not found:
        st.info("No agent has these words.", icon=":material/search_off:")
    shown = found[: st.session_state.get(_MORE, _SHOWN)]
    _draw_cards(principal, shown)
    if len(found) > len(shown):
        st.button(f"Show more ({len(found) - len(shown)})", key="more_agents", type="tertiary", on_click=_more)
    _draw_archive(principal)


def _matches(one: ListedAgent, search: str) -> bool:
    text = f"{one.name}\n{one.description}\n{one.slug}".casefold()
    return all(word in text for word in search.casefold().split())


def _draw_unsaved(principal: Principal) -> None:
    for number, one in enumerate(core().agents.drafts(principal)):
        with (
            st.container(border=True, key=f"agent_unsaved-{number}"),
            st.container(horizontal=True, vertical_alignment="center"),
        ):
            st.markdown(f":material/edit_note: **{plain(one.name)}** :gray[is not saved yet, {ago(one.updated_at)}]")
            st.button("Go on", key=f"agent_go_on-{number}", on_click=agent_acts.open_, args=(one.of,))
            if st.button("Discard", key=f"agent_discard-{number}", type="tertiary"):
                agent_acts.discard(principal, one.of, one.name)


def _draw_cards(principal: Principal, shown: Sequence[ListedAgent]) -> None:
    ids = [one.id for one in shown]
    pictures = core().agents.pictures(principal, [one.id for one in shown if one.has_picture])
    counted = [one.id for one in shown if one.is_own or principal.is_admin]
    used = {
        agent_id: agent_figures.line(found) for agent_id, found in core().agents.figures(principal, counted).items()
    }
    facts = _facts(principal, shown)
    with st.container(key="agent_cards"):
        for one in shown:
            _draw_card(principal, one, pictures.get(one.id), facts[ids.index(one.id)], used.get(one.id, ""))


def _facts(principal: Principal, shown: Sequence[ListedAgent]) -> list[str]:
    """Whose each is, which model and tools it has: in one line."""
    owners = {one.id: one.name for one in core().agents.colleagues(principal)}
    models = {one.name: one.display_name for one in core().gateway.choices(principal)}
    tools = {name: one.label for name, one in agent_choices.tools(principal).items()}
    return [" · ".join(_of(one, owners, models, tools)) for one in shown]


def _of(one: ListedAgent, owners: Mapping[str, str], models: Mapping[str, str], tools: Mapping[str, str]) -> list[str]:
    owner = plain(owners.get(one.owner_id or "", ""))
    whose = {"own": "Only yours", "people": "Shared with people", "team": "Shared with the team"}[one.visibility]
    if not one.is_own:
        whose = f"From {owner}" if owner else "The team's"
    said = [whose]
    if one.model:
        said.append(plain(models.get(one.model, one.model)))
    if one.tools:
        named = [plain(tools.get(tool.name, tool.name)) for tool in one.tools]
        said.append(", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else ""))
    return said


def _draw_card(principal: Principal, one: ListedAgent, picture: bytes | None, facts: str, used: str) -> None:
    with st.container(border=True, key=f"agent_card-{one.id}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False):
            with st.container(key=f"agent_face-{one.id}", width=40):
                if picture:
                    st.image(picture, width=40)
                else:
                    st.markdown(one.icon or ":material/smart_toy:")
            st.markdown(f"**{plain(one.name)}**", width="stretch")
        st.markdown(f":gray[{plain(one.description)}]" if one.description else ":gray[No description]")
        st.caption("  \n".join(one for one in (facts, used) if one))
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"agent_doors-{one.id}"):
            st.page_link("chat.py", label="Chat", icon=":material/chat_bubble:", query_params={"agent": one.slug})
            st.button("Edit" if one.can_edit else "Open", key=f"open-{one.id}", type="tertiary",
                      icon=":material/edit:" if one.can_edit else ":material/visibility:",
                      on_click=agent_acts.open_, args=(one.id,))  # fmt: skip
            st.button("Copy", key=f"copy-{one.id}", type="tertiary", icon=":material/content_copy:",
                      on_click=agent_acts.copy, args=(principal, one.id))  # fmt: skip


def _draw_archive(principal: Principal) -> None:
    archived = core().agents.archived(principal)
    if not archived:
        return
    with st.expander(f"Archived ({len(archived)})", icon=":material/archive:", key="agent_archived"):
        for one in archived:
            with st.container(horizontal=True, vertical_alignment="center", key=f"agent_old-{one.id}"):
                st.markdown(plain(one.name), width="stretch")
                st.button("Bring back", key=f"restore-{one.id}", type="tertiary", icon=":material/unarchive:",
                          on_click=agent_acts.restore, args=(principal, one.id))  # fmt: skip
                if st.button("Delete", key=f"delete-{one.id}", type="tertiary", icon=":material/delete:"):
                    agent_acts.delete(principal, one)


def _more() -> None:
    st.session_state[_MORE] = st.session_state.get(_MORE, _SHOWN) + _SHOWN
