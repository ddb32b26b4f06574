"""What can be done about a message: its versions, Edit, Regenerate, Continue, and a menu with the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import streamlit as st

from chatcore.conversations import Message
from chatcore.turns import can_continue
from pages.ui import browser

_EDITING: Final = "chat_editing"  # the id of the question that is being changed
MENU: Final = {
    "copy": ":material/content_copy: Copy",
    "other": ":material/swap_horiz: Regenerate with another model",
    "reply": ":material/reply: Reply from here",
    "fork": ":material/call_split: Fork into a new chat",
    "share": ":material/share: Share up to here",
    "rate": ":material/star: Rate",
}


@dataclass(frozen=True)
class Acts:
    """The page's callbacks. Each takes the message's id first."""

    again: Callable[[str, bool], None]  # regenerate, or continue
    edit: Callable[[str, str], None]  # with the new text
    switch: Callable[[str], None]
    choose: Callable[[str, str], None]  # an entry of MENU
    user_id: str  # who may press them: a colleague's question is theirs to edit
    is_own: bool = True
    is_temporary: bool = False
    is_last: bool = True

    @property
    def of_earlier(self) -> "Acts":
        """The same for a reply that something follows."""
        return replace(self, is_last=False)

    @property
    def menu(self) -> list[str]:
        """What the menu holds: a temporary chat leaves nothing behind, a colleague's is theirs to share."""
        hidden = {"share"} if not self.is_own else set()
        if self.is_temporary:
            hidden |= {"fork", "share", "rate"}
        return [entry for entry in MENU if entry not in hidden]


def draw_editor(message: Message, acts: Acts) -> bool:
    """The question as a form while it is being changed. False where it is not."""
    if st.session_state.get(_EDITING) != message.id:
        return False
    key = f"edited-{message.id}"
    with st.container(key="editor", border=True):
        st.text_area("Your question", message.content, key=key, height="content", label_visibility="collapsed")
        with st.container(horizontal=True, horizontal_alignment="right"):
            st.button("Cancel", key=f"cancel-edit-{message.id}", on_click=end_editing)
            st.button(
                "Send", key=f"send-edit-{message.id}", type="primary", on_click=_send_edit, args=(message.id, key, acts)
            )
        st.caption("The old version stays: switch between them with the arrows.")
    return True


def draw_question_row(message: Message, siblings: Sequence[str], acts: Acts) -> None:
    """Below a question: its versions, whether it was edited, and Edit."""
    with st.container(
        horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="xxsmall",
        key=f"row-{message.id}",
    ):  # fmt: skip
        if message.edited_at is not None:
            st.caption("edited")
        _draw_versions(message, siblings, acts)
        if message.user_id == acts.user_id:
            st.button(
                "Edit", key=f"edit-{message.id}", icon=":material/edit:", type="tertiary",
                on_click=_edit, args=(message.id,),
            )  # fmt: skip


def draw_reply_row(message: Message, siblings: Sequence[str], acts: Acts) -> None:
    """Below a reply: its versions, Continue, Regenerate or Retry, and the menu."""
    error: Any = next((part for part in message.parts if part["type"] == "error"), {})
    whole = message.status == "complete"
    with st.container(horizontal=True, key=f"actions-{message.id}", gap="xxsmall", vertical_alignment="center"):
        _draw_versions(message, siblings, acts)
        if acts.is_last and can_continue(message):
            st.button(
                "Continue", key=f"continue-{message.id}", icon=":material/play_arrow:", on_click=acts.again,
                args=(message.id, True),
            )  # fmt: skip
        if whole or error.get("retryable", True):
            _draw_again(message, acts, whole=whole)
        if acts.is_last and whole and message.content:
            browser.draw_copy(message.content)
        st.menu_button(
            "More", acts.menu, key=f"more-{message.id}", icon=":material/more_horiz:", type="tertiary",
            format_func=MENU.__getitem__, on_click=_chosen, args=(message.id, acts),
        )  # fmt: skip


def _draw_again(message: Message, acts: Acts, *, whole: bool) -> None:
    st.button(
        "Regenerate" if whole else "Retry", key=f"regenerate-{message.id}", icon=":material/refresh:",
        type="tertiary" if whole or not acts.is_last else "secondary",
        on_click=acts.again, args=(message.id, False), shortcut="Alt+G" if acts.is_last else None,
    )  # fmt: skip


def _draw_versions(message: Message, siblings: Sequence[str], acts: Acts) -> None:
    """‹ 2/3 › for a message that has siblings."""
    if len(siblings) < 2:
        return
    here = siblings.index(message.id)
    for step, icon, name in ((-1, "chevron_left", "Previous version"), (1, "chevron_right", "Next version")):
        there = here + step
        st.button(
            name, key=f"version{step:+d}-{message.id}", icon=f":material/{icon}:", type="tertiary",
            disabled=not 0 <= there < len(siblings), on_click=acts.switch,
            args=(siblings[max(0, min(there, len(siblings) - 1))],),
        )  # fmt: skip
        if step < 0:
            st.caption(f"{here + 1}/{len(siblings)}")


def _edit(message_id: str) -> None:
    st.session_state[_EDITING] = message_id


def _send_edit(message_id: str, key: str, acts: Acts) -> None:
    acts.edit(message_id, st.session_state[key])


def end_editing() -> None:
    """The form goes: the changed question was sent, or another conversation is shown."""
    st.session_state.pop(_EDITING, None)


def editing() -> str | None:
    """The id of the question that is being changed."""
    found: str | None = st.session_state.get(_EDITING)
    return found


def _chosen(message_id: str, acts: Acts) -> None:
    if entry := st.session_state.get(f"more-{message_id}"):
        acts.choose(message_id, entry)
