"""What the chat page's address names."""

from dataclasses import dataclass, field

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import WINDOW, Conversation, Window
from chatcore.errors import NotFound
from chatcore.turns import ActiveTurn
from pages.ui import compare


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
    conversations, shown = core().conversations, st.session_state.get("shown", WINDOW)
    try:
        if message_id and st.session_state.get("chat_jumped") != message_id:
            st.session_state["chat_jumped"] = message_id
            conversations.switch_to(principal, wanted, message_id)
        # A reply may end between the two reads, and the next one begin: then what was read first is old.
        for _ in range(3):
            conversation, window = conversations.window(principal, wanted, shown, around=message_id)
            compared = compare.undecided(window)
            last = window.messages[-1] if window.messages else None
            if not compared and (last is None or last.status != "streaming"):
                return Place(conversation, window)
            turns = tuple(core().turns.active(principal, conversation.id))
            place = Place(conversation, window, turns, compared)
            if compared or place.streaming:
                return place
    except NotFound as error:
        st.info(str(error), icon=":material/search_off:")
        return Place()
    return Place(conversation, window)
