"""Saved prompts: one's own and the team's."""

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations.prompts import Prompt, variables
from pages.ui import composer, prompt_parts, session
from pages.ui.text import ago, plain

_SHOWN = 30


def page() -> None:
    principal = session.require_principal()
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.title("Prompts", width="content")
        if st.button("New prompt", key="new_prompt", type="primary", icon=":material/add:"):
            prompt_parts.edit(principal, None)
    note = st.session_state.pop(prompt_parts.NOTE, None)
    if note:
        st.success(note, icon=":material/check:")
    search = st.text_input("Search", key="prompts_search", placeholder="Search titles and texts",
                           icon=":material/search:", label_visibility="collapsed")  # fmt: skip
    prompts = core().prompts.list(principal, search)
    if not prompts:
        if search.strip():
            st.info("No prompt has these words.", icon=":material/search_off:")
        else:
            st.info(
                "A prompt is a text that you use again and again. Save one, and insert it beside the chat input.",
                icon=":material/library_books:",
            )
        return
    shown = st.session_state.get("prompts_shown", _SHOWN)
    for prompt in prompts[:shown]:
        row(principal, prompt)
    if len(prompts) > shown:
        st.button(f"Show more ({len(prompts) - shown})", key="more_prompts", on_click=show_more, type="tertiary")


def show_more() -> None:
    st.session_state["prompts_shown"] = st.session_state.get("prompts_shown", _SHOWN) + _SHOWN


def row(principal: Principal, prompt: Prompt) -> None:
    with st.container(border=True, key=f"prompt-{prompt.id}", gap="xxsmall"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            team = " :gray-badge[:material/group: team]" if prompt.is_team else ""
            st.markdown(f"**{plain(prompt.title)}**{team}", width="stretch")
            with st.container(horizontal=True, width="content", gap="small"):
                if st.button("Use in chat", key=f"use-{prompt.id}", icon=":material/chat_bubble:", type="tertiary"):
                    use(prompt)
                if prompt.can_edit:
                    if st.button("Edit", key=f"edit-{prompt.id}", icon=":material/edit:", type="tertiary"):
                        prompt_parts.edit(principal, prompt)
                    if st.button("Delete", key=f"delete-{prompt.id}", icon=":material/delete:", type="tertiary"):
                        prompt_parts.remove(principal, prompt)
        preview = " ".join(prompt.text.split())
        st.markdown(f":gray[{plain(preview[:200])}{'…' if len(preview) > 200 else ''}]")
        names = [f"`{name}`" for name in variables(prompt.text)]
        whose = [] if prompt.is_own else ["a colleague's"]
        st.caption(" · ".join([*whose, f"changed {ago(prompt.updated_at)}", *([", ".join(names)] if names else [])]))


def use(prompt: Prompt) -> None:
    """Go to the chat with the prompt in the input; what it asks for is asked first."""
    if variables(prompt.text):
        prompt_parts.use(prompt, composer.put_back)
    else:
        composer.put_back(prompt.text)
        st.switch_page("chat.py")


page()
