"""The chat: one conversation, its running replies, and the place to ask."""

from functools import partial

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import Conversation
from chatcore.errors import ChatcoreError
from pages.ui import (
    browser,
    chat_dialogs,
    chat_place,
    chat_sidebar,
    compare,
    composer,
    conversation_bar,
    message_actions,
    sidebar,
    temporary,
)
from pages.ui.chat_acts import acts, decide, pick
from pages.ui.chat_place import Place
from pages.ui.messages import draw_messages, pace, stream_reply
from pages.ui.session import require_principal
from pages.ui.text import plain

_WATCH_EVERY = 2.0  # seconds after which an idle tab notices what happened in another


def show() -> None:
    """One run of the page. It lasts until the running reply, if any, has ended."""
    principal = require_principal()
    try:
        place = chat_place.find(principal)
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")
        composer.draw_problem()
        composer.draw_input(principal, st.query_params.get("c"))  # what was typed must not go with the page
        _watch(principal, None, running=False)
        return
    temporary.shown(place.conversation)
    if place.conversation is None:
        _draw_empty(principal)
    else:
        _draw_conversation(principal, place.conversation, place)


def _draw_conversation(principal: Principal, conversation: Conversation, place: Place) -> None:
    window, labels = place.window, {model.name: model.display_name for model in core().gateway.catalog.models()}
    people = chat_place.people(principal, conversation, window)
    owner = people.get(conversation.user_id) if conversation.user_id != principal.user_id else None
    conversation_bar.draw(principal, conversation, owner)
    if window.earlier:
        st.button("Show earlier messages", key="earlier", type="tertiary", icon=":material/expand_less:",
                  on_click=chat_place.show_earlier, args=(conversation.id,))  # fmt: skip
    draw_messages(
        window, labels=labels, acts=acts(principal, conversation), target=st.query_params.get("m"),
        compared=place.compared, authors=people,
    )  # fmt: skip
    if window.later or window.branches_below:
        chat_place.draw_later(principal, conversation, window)
    rest = partial(_draw_rest, principal, conversation, place, owner)
    if place.compared:
        compare.draw(
            principal, conversation, place.compared, place.turns, labels=labels, meanwhile=rest,
            pick=partial(pick, principal, conversation.id), stop=partial(composer.stop, principal),
            decide=partial(decide, principal),
        )  # fmt: skip
    elif turn := place.streaming:
        # Words first: when many people ask at once, each sees theirs before anybody's sidebar is drawn again.
        stream_reply(
            core().turns.follow(principal, turn.turn_id, pace=pace), meanwhile=rest, key=turn.turn_id,
            decide=partial(decide, principal, turn.turn_id),
        )  # fmt: skip
        st.rerun()
    else:
        rest()
    _watch(principal, conversation, running=bool(place.turns))


def _draw_empty(principal: Principal) -> None:
    agents = core().agents.list(principal)
    choices = chat_sidebar.draw(principal, None, agents)
    sidebar.draw_navigation(principal, partial(chat_dialogs.ask_for, "shortcuts"))
    st.html("<i hidden></i>")  # where a conversation has a container: else the welcome would stay in that for a while
    with st.container(key="welcome"):
        names = principal.name.split() or [principal.username]
        st.title(f"Hello, {plain(names[0])}", anchor=False)
        composer.draw_problem()
        composer.draw_input(principal, None)
        composer.draw_choice(principal, agents, choices, new=True)
        composer.draw_suggestions(principal, next((a for a in agents if a.id == chat_sidebar.agent_id()), None))
    browser.draw(principal.user_id, "new", composer.returned())
    chat_dialogs.draw(None, streaming=False)
    _watch(principal, None, running=False)


def _draw_rest(principal: Principal, conversation: Conversation, place: Place, owner: str | None) -> None:
    """All but the messages: the sidebar, why a question was not sent, the queue, Stop, the input."""
    agents = core().agents.list(principal)
    choices = chat_sidebar.draw(principal, conversation, agents)
    sidebar.draw_navigation(principal, partial(chat_dialogs.ask_for, "shortcuts"))
    composer.draw_problem()
    with st.bottom:
        composer.draw_queue(principal, conversation.id, running=bool(place.turns))
        if place.turns:
            composer.draw_stop(principal, place.turns)
    composer.draw_input(principal, conversation.id)
    with st.bottom:
        composer.draw_choice(principal, agents, choices, owner=owner)
    browser.draw(
        principal.user_id, conversation.id, composer.returned(), target=st.query_params.get("m"),
        editing=message_actions.editing(),
    )  # fmt: skip
    chat_dialogs.draw(conversation, streaming=place.streaming is not None or bool(place.compared and place.turns))


@st.fragment(run_every=_WATCH_EVERY)
def _watch(principal: Principal, conversation: Conversation | None, *, running: bool) -> None:
    """Draw the page anew when another tab, a program, or a reply that nobody watched changed what is shown."""
    try:
        changed = chat_sidebar.is_stale(principal, conversation, running=running)
    except ChatcoreError:
        return  # the next look tells
    if changed and not chat_dialogs.is_open():  # a dialog would close, and what is typed in it be lost
        st.rerun()


show()
