"""Asking: the input, suggestions, Stop, and the questions that wait behind a running reply."""

from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.agents import Agent
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from chatcore.turns import ActiveTurn, QueuedMessage
from pages.ui import chat_sidebar
from pages.ui.text import plain

_PROBLEM: Final = "chat_problem"


def draw_input(principal: Principal, conversation_id: str | None) -> None:
    """The one chat input. What is sent is stored in its callback, before anything is drawn."""
    st.chat_input("Ask anything", key="chat_input", on_submit=_submitted, args=(principal, conversation_id))


def draw_problem() -> None:
    """Why the last question was not sent, once."""
    if problem := st.session_state.pop(_PROBLEM, None):
        st.error(problem, icon=":material/error:")


def draw_suggestions(principal: Principal, agent: Agent | None) -> None:
    """Two-line suggestions of the chosen agent: a heading, and the question it asks."""
    for number, suggestion in enumerate(agent.suggestions if agent else ()):
        heading, _, question = suggestion.partition("\n")
        st.button(
            f"**{plain(heading)}**  \n:gray[{plain(question)}]",
            key=f"suggestion-{number}",
            type="tertiary",
            width="stretch",
            on_click=_ask,
            args=(principal, None, question),
        )


def draw_stop(principal: Principal, turn: ActiveTurn) -> None:
    """Stop, in its own place: nothing else ever stands there."""
    st.button(
        "Stop", key="stop", icon=":material/stop_circle:", on_click=_stop, args=(principal, turn.turn_id),
        disabled=turn.stopping, shortcut="Esc",
    )  # fmt: skip


def draw_queue(principal: Principal, conversation_id: str, *, running: bool) -> None:
    """The waiting questions: each can be changed or taken back; after a restart, sent."""
    waiting = core().turns.queued(principal, conversation_id)
    for number, question in enumerate(waiting):
        with st.container(key=f"queued-{question.id}", horizontal=True, vertical_alignment="center"):
            st.markdown(f":gray[:material/schedule: Next:] {plain(question.content[:200])}")
            with st.popover("Edit", type="tertiary", icon=":material/edit:"):
                _draw_editor(principal, conversation_id, question)
            st.button(
                "Withdraw", key=f"withdraw-{question.id}", type="tertiary", icon=":material/close:",
                on_click=_withdraw, args=(principal, conversation_id, question.id),
            )  # fmt: skip
            if number == 0 and not running:
                st.button("Send now", key="send_queued", on_click=_send_queued, args=(principal, conversation_id))


def again(principal: Principal, message_id: str, continuing: bool) -> None:
    """Retry or continue a reply with the chosen model."""
    turns = core().turns
    try:
        (turns.resume if continuing else turns.retry)(principal, message_id, model=chat_sidebar.model_name())
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)


def _submitted(principal: Principal, conversation_id: str | None) -> None:
    _ask(principal, conversation_id, st.session_state.chat_input or "")


def _ask(principal: Principal, conversation_id: str | None, text: str) -> None:
    if not text.strip():
        return
    try:
        asked = core().turns.ask(
            principal, conversation_id, text, model=chat_sidebar.model_name(), agent_id=chat_sidebar.agent_id(),
            settings=chat_sidebar.settings(),
        )  # fmt: skip
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)
        st.session_state["chat_input"] = text  # what was typed is not lost
        return
    if asked.conversation_id != conversation_id:
        chat_sidebar.open_conversation(asked.conversation_id)


def _draw_editor(principal: Principal, conversation_id: str, question: QueuedMessage) -> None:
    key = f"queued-text-{question.id}"
    st.text_area("Waiting question", question.content, key=key)
    st.button("Save", key=f"save-{question.id}", on_click=_edit, args=(principal, conversation_id, question.id, key))


def _edit(principal: Principal, conversation_id: str, queued_id: str, key: str) -> None:
    try:
        core().turns.edit_queued(principal, conversation_id, queued_id, st.session_state[key])
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)


def _withdraw(principal: Principal, conversation_id: str, queued_id: str) -> None:
    text = core().turns.withdraw(principal, conversation_id, queued_id)
    if text is None:
        st.session_state[_PROBLEM] = "This question is already being answered. Stop the reply instead."


def _send_queued(principal: Principal, conversation_id: str) -> None:
    try:
        core().turns.send_queued(principal, conversation_id)
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)


def _stop(principal: Principal, turn_id: str) -> None:
    try:
        core().turns.stop(principal, turn_id)
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)
