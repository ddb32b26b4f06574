"""What the buttons beside messages do."""

from functools import partial

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import Conversation
from pages.ui import browser, chat_dialogs, chat_sidebar, composer, message_actions
from pages.ui.message_actions import Acts


def acts(principal: Principal, conversation: Conversation) -> Acts:
    """The callbacks of one conversation's messages."""
    return Acts(
        again=partial(composer.again, principal),
        edit=partial(composer.edit, principal),
        switch=partial(_switch, principal, conversation.id),
        choose=partial(_choose, principal, conversation.id),
        user_id=principal.user_id,
        is_own=conversation.user_id == principal.user_id,
        is_temporary=conversation.expires_at is not None,
    )


def pick(principal: Principal, conversation_id: str, message_id: str) -> None:
    """Go on with one of the compared replies; the next question goes to one model again."""
    st.session_state["compare"] = []
    composer.tried(partial(core().conversations.pick, principal, conversation_id, message_id))


def decide(principal: Principal, turn_id: str, call_id: str, approved: bool) -> None:
    """Allow a tool that asks first, or refuse it."""
    composer.tried(partial(core().turns.decide, principal, turn_id, call_id, approved=approved))


def _switch(principal: Principal, conversation_id: str, message_id: str) -> None:
    st.query_params.pop("m", None)
    message_actions.end_editing()
    composer.tried(partial(core().conversations.switch, principal, conversation_id, message_id))


def _choose(principal: Principal, conversation_id: str, message_id: str, entry: str) -> None:
    if entry == "copy":
        if found := composer.tried(partial(core().conversations.replies, principal, conversation_id, [message_id])):
            browser.copy(found[0].content)
    elif entry == "reply":
        st.query_params.pop("m", None)
        composer.tried(partial(core().conversations.reply_from, principal, conversation_id, message_id))
    elif entry == "fork":
        if made := composer.tried(partial(core().conversations.fork, principal, message_id)):
            chat_sidebar.open_conversation(made)
    else:
        chat_dialogs.ask_for(entry, message_id)
