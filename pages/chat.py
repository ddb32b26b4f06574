"""The chat: one conversation, its running reply, and the place to ask."""

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import WINDOW, Conversation, Message, Window
from chatcore.errors import NotFound
from chatcore.turns import ActiveTurn
from pages.ui import browser, chat_sidebar, composer, sidebar
from pages.ui.messages import draw_question, draw_reply, pace, stream_reply
from pages.ui.session import require_principal
from pages.ui.text import plain

_WATCH_EVERY = 2.0  # seconds after which an idle tab notices what happened in another


def show() -> None:
    """One run of the page. It lasts until the running reply, if any, has ended."""
    principal = require_principal()
    conversation, window = _wanted(principal)
    if conversation is None:
        _draw_empty(principal)
        return
    answering = bool(window.messages) and window.messages[-1].status == "streaming"
    turn = core().turns.active(principal, conversation.id) if answering else None
    if window.earlier:
        st.button(
            "Show earlier messages",
            key="earlier",
            type="tertiary",
            icon=":material/expand_less:",
            on_click=_show_earlier,
        )
    for message in window.messages:
        _draw_message(principal, message, last=message.id == conversation.head_message_id)
    if turn is None:
        _draw_rest(principal, conversation, None)
        _watch(principal, conversation)
    else:
        # Words first: when many people ask at once, each sees theirs before anybody's sidebar is drawn again.
        stream_reply(
            core().turns.follow(principal, turn.turn_id, pace=pace),
            meanwhile=lambda: _draw_rest(principal, conversation, turn),
        )
        st.rerun()


def _wanted(principal: Principal) -> tuple[Conversation | None, Window]:
    """The conversation that the URL names and what is drawn of it; nothing for a new chat."""
    wanted = st.query_params.get("c")
    if wanted:
        try:
            return core().conversations.window(principal, wanted, st.session_state.get("shown", WINDOW))
        except NotFound as error:
            st.info(str(error), icon=":material/search_off:")
    return None, Window((), earlier=False)


def _draw_empty(principal: Principal) -> None:
    agents = core().agents.list(principal)
    sidebar.draw_navigation(principal)
    chat_sidebar.draw(principal, None, agents)
    with st.container(key="welcome"):
        names = principal.name.split() or [principal.username]
        st.title(f"Hello, {plain(names[0])}", anchor=False)
        composer.draw_problem()
        composer.draw_input(principal, None)
        composer.draw_suggestions(principal, next((a for a in agents if a.id == chat_sidebar.agent_id()), None))
    browser.draw(principal.user_id, "new")


def _draw_rest(principal: Principal, conversation: Conversation, turn: ActiveTurn | None) -> None:
    """All but the messages: the sidebar, why a question was not sent, the queue, Stop, the input."""
    sidebar.draw_navigation(principal)
    chat_sidebar.draw(principal, conversation, core().agents.list(principal))
    composer.draw_problem()
    with st.bottom:
        composer.draw_queue(principal, conversation.id, running=turn is not None)
        if turn:
            composer.draw_stop(principal, turn)
    composer.draw_input(principal, conversation.id)
    browser.draw(principal.user_id, conversation.id)


def _draw_message(principal: Principal, message: Message, *, last: bool) -> None:
    if message.status == "streaming":
        return
    if message.role == "user":
        draw_question(message)
    else:
        model = core().gateway.catalog.find(message.model)
        label = model.display_name if model else message.model or "Unknown model"
        draw_reply(message, label, last=last, again=lambda key, continuing: composer.again(principal, key, continuing))


def _show_earlier() -> None:
    st.session_state["shown"] = st.session_state.get("shown", WINDOW) + WINDOW


@st.fragment(run_every=_WATCH_EVERY)
def _watch(principal: Principal, conversation: Conversation) -> None:
    """Draw the page anew when another tab, or a program, went on in this conversation."""
    if core().conversations.head(principal, conversation.id) != conversation.head_message_id:
        st.rerun()


show()
