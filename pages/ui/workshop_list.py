"""All workshops of a person, and the playbooks of their team."""

from collections.abc import Sequence
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.workshops import MAX_NAME, Listed, Playbook
from pages.ui import workshop_acts
from pages.ui.text import ago, plain

_SECTIONS: Final = {"sessions": "Workshops", "playbooks": "Playbooks"}
_CHOSEN: Final = "workshop_chosen_section"  # Streamlit forgets the widget while something else is shown


def draw(principal: Principal) -> None:
    """The whole list."""
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.title("Workshops", anchor=False, width="content")
        with st.container(horizontal=True, width="content"):
            st.button("New playbook", key="new_playbook", icon=":material/playlist_add:",
                      on_click=workshop_acts.open_playbook, args=(workshop_acts.NEW,))  # fmt: skip
            if st.button("New workshop", key="new_workshop", type="primary", icon=":material/add:"):
                begin(principal, None)
    st.session_state.setdefault("workshop_section", st.session_state.get(_CHOSEN, "sessions"))
    section = st.segmented_control("Section", list(_SECTIONS), key="workshop_section", required=True,
                                   format_func=_SECTIONS.__getitem__, label_visibility="collapsed")  # fmt: skip
    st.session_state[_CHOSEN] = section
    if section == "playbooks":
        _draw_playbooks(principal)
    else:
        _draw_sessions(principal)


@st.dialog("New workshop")
def begin(principal: Principal, playbook_id: str | None) -> None:
    """Ask for the title, the playbook and the people. `playbook_id`: the one that stands first."""
    playbooks = {one.id: one.content.name for one in core().workshops.playbooks(principal)}
    title = st.text_input("Title", key="workshop_new_title", max_chars=MAX_NAME, placeholder="What you work on")
    chosen = st.selectbox(
        "Playbook", list(playbooks), key="workshop_new_playbook", format_func=playbooks.__getitem__,
        index=list(playbooks).index(playbook_id) if playbook_id in playbooks else 0,
    )  # fmt: skip
    names = {one.id: one.name for one in core().agents.colleagues(principal) if one.id != principal.user_id}
    people = st.multiselect("Invite", list(names), key="workshop_new_people", format_func=names.__getitem__,
                            placeholder="People of your team, now or later")  # fmt: skip
    is_open = st.toggle("Open to the team", key="workshop_new_open", help="Everybody who has its link can take part.")
    with st.container(horizontal=True, horizontal_alignment="right"):
        wanted = st.button("Start", key="workshop_start", type="primary")
    if wanted and (made := workshop_acts.begin(principal, chosen, title, people, open_to_team=is_open)):
        workshop_acts.open_session(made)
        st.rerun()


def _draw_sessions(principal: Principal) -> None:
    found = core().workshops.list(principal)
    mine = [one for one in found if one.takes_part]
    others = [one for one in found if not one.takes_part]
    if not found:
        with st.container(border=True):
            st.markdown("**Work through a problem together, step by step.**")
            st.markdown(
                "A workshop has a playbook with steps, such as those of design thinking. In each step all who take "
                "part share one conversation with a model, and notes that the next step builds on."
            )
    _draw_cards(mine)
    if others:
        st.subheader("Open to the team", anchor=False)
        _draw_cards(others)
    archived = core().workshops.list(principal, archived=True)
    if archived:
        with st.expander(f"Archived ({len(archived)})", icon=":material/archive:", key="workshops_archived"):
            _draw_cards(archived)


def _draw_cards(found: Sequence[Listed]) -> None:
    for one in found:
        with st.container(border=True, key=f"workshop_card-{one.id}", gap="xsmall"):
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                st.button(
                    f"**{plain(one.title)}**", key=f"workshop_open-{one.id}", type="tertiary", width="content",
                    on_click=workshop_acts.open_session, args=(one.id,),
                )  # fmt: skip
                if one.ended_at is not None:
                    st.badge("Ended", color="gray")
                elif one.open_to_team:
                    st.badge("Open to the team", icon=":material/group:", color="blue")
            led = "led by you" if one.is_owner else f"led by {plain(one.owner)}"
            people = f"{one.people} {'person' if one.people == 1 else 'people'}"
            st.caption(f"{plain(one.playbook)} · {led} · {people} · {ago(one.updated_at)}")
            st.progress(one.done / max(one.steps, 1), f"{one.done} of {one.steps} steps done")


def _draw_playbooks(principal: Principal) -> None:
    for one in core().workshops.playbooks(principal):
        _draw_playbook(principal, one)
    archived = core().workshops.archived_playbooks(principal)
    if archived:
        with st.expander(f"Archived ({len(archived)})", icon=":material/archive:", key="playbooks_archived"):
            for one in archived:
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.markdown(plain(one.content.name), width="stretch")
                    st.button("Bring back", key=f"restore-{one.id}", type="tertiary", icon=":material/unarchive:",
                              on_click=workshop_acts.archive_playbook, args=(principal, one.id),
                              kwargs={"archived": False})  # fmt: skip


def _draw_playbook(principal: Principal, one: Playbook) -> None:
    with st.container(border=True, key=f"workshop_card-{one.id}", gap="xsmall"):
        st.markdown(f"**{plain(one.content.name)}**")
        if one.content.description:
            st.markdown(plain(one.content.description))
        whose = "Comes with Chatcore" if one.ships else f"By {plain(one.owner or 'a former teammate')}"
        st.caption(f"{whose} · {' → '.join(plain(step.title) for step in one.content.steps)}")
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if st.button("Start a workshop", key=f"start-{one.id}", icon=":material/play_arrow:"):
                begin(principal, one.id)
            st.button("Edit" if one.can_edit else "Read", key=f"edit-{one.id}", type="tertiary",
                      icon=":material/edit:" if one.can_edit else ":material/visibility:",
                      on_click=workshop_acts.open_playbook, args=(one.id,))  # fmt: skip
            st.button("Copy", key=f"copy-{one.id}", type="tertiary", icon=":material/content_copy:",
                      on_click=workshop_acts.copy_playbook, args=(principal, one.id))  # fmt: skip
