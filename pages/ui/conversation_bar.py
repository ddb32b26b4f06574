"""The line above a conversation: its title, what is special about it, and what can be done with it."""

from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import Conversation
from pages.ui import chat_dialogs, composer
from pages.ui.text import plain

_MENU: Final = {
    "share": ":material/share: Share",
    "export": ":material/download: Export",
    "rename": ":material/edit: Rename",
    "pin": ":material/keep: Pin",
    "unpin": ":material/keep_off: Unpin",
    "summary": ":material/summarize: Summary",
    "details": ":material/payments: Tokens and cost",
    "archive": ":material/archive: Archive",
    "restore": ":material/unarchive: Restore",
    "delete": ":material/delete: Delete",
}


def draw(principal: Principal, conversation: Conversation, owner: str | None) -> None:
    """The line. A temporary chat says what it is, a colleague's says whose it is: `owner`'s."""
    is_own = conversation.user_id == principal.user_id
    with st.container(key="bar", horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        with st.container(width="stretch", gap=None):
            st.markdown(f"**{plain(conversation.title)}**")
        if entries := _entries(conversation, is_own=is_own):
            st.menu_button(
                "Conversation", entries, key="conversation_menu", icon=":material/more_vert:", type="tertiary",
                format_func=_MENU.__getitem__, on_click=_chosen, args=(principal, conversation),
            )  # fmt: skip
    if conversation.expires_at is not None:
        st.caption(f":material/visibility_off: Temporary chat. {composer.TEMPORARY}")
    elif not is_own:
        st.caption(f":material/group: {plain(owner or 'A colleague')}'s conversation, open to the team.")
    elif conversation.archived_at is not None:
        st.caption(":material/archive: Archived.")


def _entries(conversation: Conversation, *, is_own: bool) -> list[str]:
    if not is_own:
        return []
    if conversation.expires_at is not None:
        return ["details"]
    hidden = {"unpin" if conversation.pinned_at is None else "pin"}
    hidden.add("restore" if conversation.archived_at is None else "archive")
    return [entry for entry in _MENU if entry not in hidden]


def _chosen(principal: Principal, conversation: Conversation) -> None:
    history, chosen = core().history, st.session_state.get("conversation_menu")
    verbs = {
        "pin": history.pin,
        "unpin": history.unpin,
        "archive": history.archive,
        "restore": history.restore,
    }
    if chosen in verbs:
        composer.tried(lambda: verbs[chosen](principal, [conversation.id]))
    elif chosen:
        chat_dialogs.ask_for(chosen)
