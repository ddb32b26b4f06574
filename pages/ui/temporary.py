"""Temporary chats end when they are left: for another conversation, a new chat, or another page."""

from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import Conversation
from chatcore.errors import ChatcoreError

_OPEN: Final = "temporary_open"  # the id of the one that is shown


def shown(conversation: Conversation | None) -> None:
    """Note which temporary chat is on the page."""
    if conversation is not None and conversation.expires_at is not None:
        st.session_state[_OPEN] = conversation.id


def leave_others(principal: Principal, showing: str | None) -> None:
    """End the temporary chat that was shown, unless it is the one that is `showing`."""
    open_one = st.session_state.get(_OPEN)
    if open_one is None or open_one == showing:
        return
    del st.session_state[_OPEN]
    try:
        core().turns.leave(principal, open_one)
    except ChatcoreError:
        return  # it is gone already, or its hour will end it
