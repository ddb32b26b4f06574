"""The chat: one conversation, its running reply, and the place to ask."""

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import WINDOW, Conversation, Message, Window
from chatcore.errors import NotFound
from chatcore.turns import ActiveTurn
from pages.ui import browser, chat_sidebar, composer
from pages.ui.messages import draw_question, draw_reply, pace, stream_reply
from pages.ui.session import require_principal

_WATCH_EVERY = 2.0  # seconds after which an idle tab notices what happened in another


def show() -> None:
    """One run of the page. It lasts until the running reply, if any, has ended."""
    principal = require_principal()
    wanted = st.query_params.get("c")
    conversation, window = None, Window((), earlier=False)
    if wanted:
        try:
            conversation, window = core().conversations.window(principal, wanted, st.session_state.get("shown", WINDOW))
        except NotFound as error:
            st.info(f"{error}", icon=":material/search_off:")
    agents = core().agents.list(principal)
    chat_sidebar.draw(principal, conversation, agents)
    if conversation is None:
        chosen = next((agent for agent in agents if agent.id == chat_sidebar.agent_id()), None)
        _draw_empty(principal, chosen)
    else:
        _draw_conversation(principal, conversation, window)


def _draw_empty(principal: Principal, agent: object) -> None:
    with st.container(key="welcome"):
        st.title(f"Hello, {principal.name.split()[0] if principal.name.split() else principal.username}", anchor=False)
        composer.draw_problem()
        composer.draw_input(principal, None)
        composer.draw_suggestions(principal, agent)  # type: ignore[arg-type]
    browser.draw(principal.user_id, "new")


def _draw_conversation(principal: Principal, conversation: Conversation, window: Window) -> None:
    answering = bool(window.messages) and window.messages[-1].status == "streaming"
    turn = core().turns.active(principal, conversation.id) if answering else None
    if window.earlier:
        st.button("Show earlier messages", key="earlier", type="tertiary", icon=":material/expand_less:", on_click=_show_earlier)
    for message in window.messages:
        _draw_message(principal, message, last=message.id == conversation.head_message_id and turn is None)
    composer.draw_problem()
    with st.bottom:
        composer.draw_queue(principal, conversation.id, running=turn is not None)
        if turn:
            composer.draw_stop(principal, turn)
    composer.draw_input(principal, conversation.id)
    browser.draw(principal.user_id, conversation.id)
    if turn:
        _stream(principal, turn)
    else:
        _watch(principal, conversation)


def _draw_message(principal: Principal, message: Message, *, last: bool) -> None:
    if message.status == "streaming":
        return
    if message.role == "user":
        draw_question(message)
    else:
        model = core().gateway.catalog.find(message.model)
        label = model.display_name if model else message.model or "Unknown model"
        draw_reply(message, label, last=last, again=lambda key, continuing: composer.again(principal, key, continuing))


def _stream(principal: Principal, turn: ActiveTurn) -> None:
    stream_reply(core().turns.follow(principal, turn.turn_id, pace=pace))
    st.rerun()


def _show_earlier() -> None:
    st.session_state["shown"] = st.session_state.get("shown", WINDOW) + WINDOW


@st.fragment(run_every=_WATCH_EVERY)
def _watch(principal: Principal, conversation: Conversation) -> None:
    """Draw the page anew when another tab, or a program, went on in this conversation."""
    if core().conversations.head(principal, conversation.id) != conversation.head_message_id:
        st.rerun()


show()
