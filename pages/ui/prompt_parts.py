"""Saved prompts: the picker of the chat, with a form for variables, and the dialogs that change and delete them."""

from collections.abc import Callable
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations.prompts import MAX_TEXT, MAX_TITLE, Prompt, fill, variables
from chatcore.errors import ChatcoreError, NotFound
from pages.ui import confirm
from pages.ui.text import plain

Insert = Callable[[str], None]
_SHOWN: Final = 8
_CHOSEN: Final = "prompt_chosen"  # the id of a prompt whose variables are asked for
_ROUND: Final = "prompt_round"  # counts what was inserted: with another key the popover is another one, and closed
_PREVIEW: Final = 48  # characters
_STYLE: Final = """<style>
.st-key-prompt_list [data-testid="stBaseButton-tertiary"],
.st-key-prompt_list [data-testid="stBaseButton-tertiary"] :is(div, span) {
  justify-content: flex-start; text-align: left;
}
</style>"""
_HELP: Final = "Write {{name}} for what is asked when the prompt is inserted, {{name: default}} to suggest a value."
NOTE: Final = "prompts_note"  # what was done, for the page to say once


def draw_picker(principal: Principal, insert: Insert) -> None:
    """The popover beside the input. `insert(text)` puts a prompt, its variables filled, into the input."""
    key = f"prompts-{st.session_state.get(_ROUND, 0)}"
    picker = st.popover("Prompts", icon=":material/library_books:", type="tertiary", key=key, on_change="rerun")
    if not picker.open:
        return
    with picker:
        try:
            _draw_open(principal, insert)
        except ChatcoreError as error:
            st.error(str(error))


def _draw_open(principal: Principal, insert: Insert) -> None:
    chosen = st.session_state.get(_CHOSEN)
    if chosen is not None:
        try:
            _draw_form(core().prompts.get(principal, chosen), insert)
        except NotFound as error:
            _back()
            st.info(str(error))
        else:
            return
    _draw_list(principal, insert)


def _draw_list(principal: Principal, insert: Insert) -> None:
    search = st.text_input("Search prompts", key="prompt_search", placeholder="Search prompts",
                           label_visibility="collapsed")  # fmt: skip
    prompts = core().prompts.list(principal, search)
    st.html(_STYLE)
    with st.container(key="prompt_list", gap="xxsmall"):
        for prompt in prompts[:_SHOWN]:
            st.button(_label(prompt), key=f"insert-{prompt.id}", type="tertiary", width="stretch",
                      on_click=_choose, args=(prompt, insert))  # fmt: skip
    if len(prompts) > _SHOWN:
        st.caption(f"{len(prompts) - _SHOWN} more. Search to find them.")
    elif not prompts:
        st.caption("No prompt has these words." if search.strip() else "You have no saved prompts yet.")
    st.page_link("prompts.py", label="Manage prompts", icon=":material/edit:")


def _label(prompt: Prompt) -> str:
    team = " :gray-badge[team]" if prompt.is_team else ""
    words = " ".join(prompt.text.split())
    preview = words if len(words) <= _PREVIEW else f"{words[: _PREVIEW - 1]}…"
    return f"**{plain(prompt.title)}**{team}  \n:gray[{plain(preview)}]"


def _draw_form(prompt: Prompt, insert: Insert) -> None:
    st.markdown(f"**{plain(prompt.title)}**")
    with st.form(f"fill-{prompt.id}", border=False):
        _draw_fields(prompt)
        with st.container(horizontal=True, horizontal_alignment="right"):
            st.form_submit_button("Back", on_click=_back)
            st.form_submit_button("Insert", type="primary", on_click=_insert_filled, args=(prompt, insert))


def _draw_fields(prompt: Prompt) -> None:
    """A field for each variable; an area for one that has a line of the prompt to itself: code, or a letter."""
    alone = {name for line in prompt.text.splitlines() if _is_variable(line) for name in variables(line)}
    for name, default in variables(prompt.text).items():
        key = f"fill-{prompt.id}-{name}"
        if name in alone or "\n" in default:
            st.text_area(plain(name), key=key, placeholder=default, height=96)
        else:
            st.text_input(plain(name), key=key, placeholder=default)


def _is_variable(line: str) -> bool:
    line = line.strip()
    return line.startswith("{{") and line.find("}}") == len(line) - 2


@st.dialog("Use in chat")
def use(prompt: Prompt, insert: Insert) -> None:
    """Ask for the variables of a prompt, then open the chat page with it; `insert(text)` hands it on."""
    st.markdown(f"**{plain(prompt.title)}**")
    with st.form(f"use-{prompt.id}", border=False):
        _draw_fields(prompt)
        wanted = st.form_submit_button("Use in chat", type="primary", icon=":material/chat_bubble:")
    if wanted:
        insert(_filled(prompt))
        st.switch_page("chat.py")


def _choose(prompt: Prompt, insert: Insert) -> None:
    if variables(prompt.text):
        st.session_state[_CHOSEN] = prompt.id
    else:
        _insert(prompt.text, insert)


def _insert_filled(prompt: Prompt, insert: Insert) -> None:
    _insert(_filled(prompt), insert)


def _filled(prompt: Prompt) -> str:
    return fill(prompt.text, {name: st.session_state[f"fill-{prompt.id}-{name}"] for name in variables(prompt.text)})


def _insert(text: str, insert: Insert) -> None:
    insert(text)
    _back()
    st.session_state.pop("prompt_search", None)
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1


def _back() -> None:
    st.session_state.pop(_CHOSEN, None)


@st.dialog("Prompt", width="medium")
def edit(principal: Principal, prompt: Prompt | None) -> None:
    """Change a prompt, or make one where it is None."""
    with st.form("prompt", border=False):
        title = st.text_input("Title", value=prompt.title if prompt else "", max_chars=MAX_TITLE)
        text = st.text_area("Text", value=prompt.text if prompt else "", max_chars=MAX_TEXT, height=220)
        st.caption(_HELP)
        is_team = st.toggle("For the whole team", value=bool(prompt and prompt.is_team),
                            help="Everybody of your team can insert it. You and admins can change it.")  # fmt: skip
        if not st.form_submit_button("Save", type="primary"):
            return
    try:
        if prompt is None:
            core().prompts.create(principal, title, text, is_team)
        else:
            core().prompts.update(principal, prompt.id, title, text, is_team)
    except ChatcoreError as error:
        st.error(str(error))
    else:
        _done("The prompt is saved.")


@st.dialog("Delete for good?")
def remove(principal: Principal, prompt: Prompt) -> None:
    """Delete a prompt, after a word of warning."""
    whose = " for you and everybody of your team" if prompt.is_team else ""
    st.markdown(f"“{plain(prompt.title)}” will be gone{whose}. This cannot be undone.")
    if not confirm.draw("Delete", "delete_prompt"):
        return
    try:
        core().prompts.delete(principal, prompt.id)
    except ChatcoreError as error:
        st.error(str(error))
    else:
        _done("The prompt is deleted.")


def _done(note: str) -> None:
    st.session_state[NOTE] = note
    st.rerun()
