"""The chat: one conversation, its running reply, and the place to ask."""

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import WINDOW, Conversation, Window
from chatcore.errors import ChatcoreError, NotFound
from chatcore.turns import ActiveTurn
from pages.ui import browser, chat_sidebar, composer, sidebar
from pages.ui.messages import draw_messages, pace, stream_reply
from pages.ui.session import require_principal
from pages.ui.text import plain

_WATCH_EVERY = 2.0  # seconds after which an idle tab notices what happened in another


def show() -> None:
    """One run of the page. It lasts until the running reply, if any, has ended."""
    principal = require_principal()
    try:
        conversation, window, turn = _wanted(principal)
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")
        composer.draw_input(principal, st.query_params.get("c"))  # what was typed must not go with the page
        return
    if conversation is None:
        _draw_empty(principal)
        return
    if window.earlier:
        st.button("Show earlier messages", key="earlier", type="tertiary", icon=":material/expand_less:",
                  on_click=_show_earlier)  # fmt: skip
    draw_messages(
        window.messages,
        labels={model.name: model.display_name for model in core().gateway.catalog.models()},
        again=lambda message_id, continuing: composer.again(principal, message_id, continuing),
    )
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


def _wanted(principal: Principal) -> tuple[Conversation | None, Window, ActiveTurn | None]:
    """The conversation that the URL names, what is drawn of it, and the turn that answers; nothing for a new chat."""
    nothing = None, Window((), earlier=False), None
    wanted = st.query_params.get("c")
    if not wanted:
        return nothing
    try:
        # A reply may end between the two reads, and the next one begin: then what was read first is old.
        for _ in range(3):
            conversation, window = core().conversations.window(principal, wanted, st.session_state.get("shown", WINDOW))
            if not window.messages or window.messages[-1].status != "streaming":
                return conversation, window, None
            turn = core().turns.active(principal, conversation.id)
            if turn and turn.message_id == window.messages[-1].id:
                return conversation, window, turn
    except NotFound as error:
        st.info(str(error), icon=":material/search_off:")
        return nothing
    return conversation, window, turn


def _draw_empty(principal: Principal) -> None:
    agents = core().agents.list(principal)
    chat_sidebar.draw(principal, None, agents)
    sidebar.draw_navigation(principal)
    with st.container(key="welcome"):
        names = principal.name.split() or [principal.username]
        st.title(f"Hello, {plain(names[0])}", anchor=False)
        composer.draw_problem()
        composer.draw_input(principal, None)
        composer.draw_choice(agents)
        composer.draw_suggestions(principal, next((a for a in agents if a.id == chat_sidebar.agent_id()), None))
    browser.draw(principal.user_id, "new", composer.returned())
    _watch(principal, None)


def _draw_rest(principal: Principal, conversation: Conversation, turn: ActiveTurn | None) -> None:
    """All but the messages: the sidebar, why a question was not sent, the queue, Stop, the input."""
    agents = core().agents.list(principal)
    chat_sidebar.draw(principal, conversation, agents)
    sidebar.draw_navigation(principal)
    composer.draw_problem()
    with st.bottom:
        composer.draw_queue(principal, conversation.id, running=turn is not None)
        if turn:
            composer.draw_stop(principal, turn)
    composer.draw_input(principal, conversation.id)
    with st.bottom:
        composer.draw_choice(agents)
    browser.draw(principal.user_id, conversation.id, composer.returned())


def _show_earlier() -> None:
    st.session_state["shown"] = st.session_state.get("shown", WINDOW) + WINDOW


@st.fragment(run_every=_WATCH_EVERY)
def _watch(principal: Principal, conversation: Conversation | None) -> None:
    """Draw the page anew when another tab, a program, or a reply that nobody watched changed what is shown."""
    try:
        changed = chat_sidebar.is_stale(principal, conversation)
    except ChatcoreError:
        return  # the next look tells
    if changed:
        st.rerun()


show()
