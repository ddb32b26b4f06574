"""What the chat page's address names."""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import WINDOW, Conversation, Window
from chatcore.errors import NotFound
from chatcore.turns import ActiveTurn
from pages.ui import compare, composer

_JUMPED: Final = "chat_jumped"  # the message that was last jumped to: the branch is switched to it once
_SHOWN: Final = "chat_shown"  # a conversation, and how many of its messages are drawn


@dataclass(frozen=True)
class Place:
    """What the address names: a conversation, the messages drawn of it, and the turns that run in it."""

    conversation: Conversation | None = None
    window: Window = field(default_factory=lambda: Window((), earlier=False))
    turns: tuple[ActiveTurn, ...] = ()
    compared: tuple[str, ...] = ()

    @property
    def streaming(self) -> ActiveTurn | None:
        """The turn whose reply is the last message."""
        last = self.window.messages[-1].id if self.window.messages else None
        return next((turn for turn in self.turns if turn.message_id == last), None)


def find(principal: Principal) -> Place:
    """The conversation and what is drawn of it; nothing for a new chat, or, with a sentence, for what is not theirs."""
    wanted, message_id = st.query_params.get("c"), st.query_params.get("m")
    if not wanted:
        return Place()
    conversations = core().conversations
    try:
        if message_id and st.session_state.get(_JUMPED) != message_id:
            conversations.switch_to(principal, wanted, message_id)
        st.session_state[_JUMPED] = message_id
        # A reply may end between the two reads, and the next one begin: then what was read first is old.
        for _ in range(3):
            conversation, window = conversations.window(principal, wanted, shown(wanted), around=message_id)
            turns = tuple(core().turns.active(principal, conversation.id))
            place = Place(conversation, window, turns, compare.undecided(window))
            last = window.messages[-1] if window.messages else None
            if last is None or last.status != "streaming" or place.streaming or place.compared:
                return place
    except NotFound as error:
        st.info(str(error), icon=":material/search_off:")
        return Place()
    return place


def shown(conversation_id: str) -> int:
    """How many messages of a conversation are drawn."""
    of, count = st.session_state.get(_SHOWN, ("", 0))
    return int(count) if of == conversation_id else WINDOW


def show_earlier(conversation_id: str) -> None:
    """Draw more of its earlier messages."""
    st.session_state[_SHOWN] = (conversation_id, shown(conversation_id) + WINDOW)


def people(principal: Principal, conversation: Conversation, window: Window) -> dict[str, str]:
    """Names by user id where others than the principal ask here; empty where it is only theirs."""
    if all(message.user_id == principal.user_id for message in window.messages):
        return {}
    return core().conversations.people(principal, conversation.id)


def draw_later(principal: Principal, conversation: Conversation, window: Window) -> None:
    """From an older message to the end of the branch; from a reply that is to be answered anew to what was below it."""
    if window.branches_below:
        st.caption(":material/reply: Your next question goes on from here. What was said below stays as a version.")
    st.button(
        "Show what follows", key="later", type="tertiary", icon=":material/expand_more:", on_click=_show_latest,
        args=(principal, conversation, window),
    )  # fmt: skip


def _show_latest(principal: Principal, conversation: Conversation, window: Window) -> None:
    st.query_params.pop("m", None)
    if window.branches_below:
        composer.tried(partial(core().conversations.switch, principal, conversation.id, window.messages[-1].id))
