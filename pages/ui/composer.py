"""Asking: the input, suggestions, Stop, and the questions that wait behind a running reply."""

import logging
import secrets
from collections.abc import Callable
from typing import Any, Final, TypeVar

import streamlit as st

from chatcore.accounts import Principal
from chatcore.agents import Agent
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError, NotFound
from chatcore.turns import ActiveTurn, QueuedMessage
from pages.ui import chat_sidebar
from pages.ui.text import plain

T = TypeVar("T")
log = logging.getLogger("chatcore.pages")

_PROBLEM: Final = "chat_problem"
_UNSENT: Final = "chat_unsent"  # what was typed and could not be sent, until it stands in the input again
_RETURNED: Final = "chat_returned"  # a waiting question's text on its way back into the input


def draw_input(principal: Principal, conversation_id: str | None) -> None:
    """The one chat input. What is sent is stored in its callback, before anything is drawn."""
    if unsent := st.session_state.pop(_UNSENT, None):
        st.session_state["chat_input"] = unsent
    st.chat_input("Ask anything", key="chat_input", on_submit=_submitted, args=(principal, conversation_id))


def draw_problem() -> None:
    """Why the last question was not sent, once."""
    if problem := st.session_state.pop(_PROBLEM, None):
        st.error(problem, icon=":material/error:")


def draw_choice(agents: list[Agent]) -> None:
    """Who will answer, in one quiet line: on a phone the sidebar is closed."""
    model = core().gateway.catalog.find(chat_sidebar.model_name())
    agent = next((agent.name for agent in agents if agent.id == chat_sidebar.agent_id()), None)
    if names := [plain(name) for name in (model.display_name if model else None, agent) if name]:
        with st.container(key="choice"):
            st.caption(" · ".join(names), text_alignment="center")


def returned() -> dict[str, str] | None:
    """The text that goes back into the input without replacing what stands there; handed out once."""
    found: dict[str, str] | None = st.session_state.pop(_RETURNED, None)
    return found


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
            version = st.session_state.get(f"queued-version-{question.id}", 0)
            # With another key it is another popover, and that is closed.
            with st.popover("Edit", type="tertiary", icon=":material/edit:", key=f"change-{question.id}-{version}"):
                _draw_editor(principal, conversation_id, question)
            st.button(
                "Withdraw", key=f"withdraw-{question.id}", type="tertiary", icon=":material/close:",
                on_click=_withdraw, args=(principal, conversation_id, question.id),
            )  # fmt: skip
            if number == 0 and not running:
                st.button("Send now", key="send_queued", on_click=_send_queued, args=(principal, conversation_id))


def again(principal: Principal, message_id: str, continuing: bool) -> None:
    """Retry or continue a reply with what is chosen now."""
    act = core().turns.resume if continuing else core().turns.retry
    _tried(lambda: act(principal, message_id, **_chosen()))


def _submitted(principal: Principal, conversation_id: str | None) -> None:
    _ask(principal, conversation_id, st.session_state.chat_input or "")


def _ask(principal: Principal, conversation_id: str | None, text: str) -> None:
    if not text.strip():
        return
    asked = _tried(lambda: core().turns.ask(principal, conversation_id, text, **_chosen()))
    if asked is None:
        st.session_state[_UNSENT] = text
    elif asked.conversation_id != conversation_id:
        chat_sidebar.open_conversation(asked.conversation_id)


def _chosen() -> dict[str, Any]:
    return {
        "model": chat_sidebar.model_name(),
        "agent_id": chat_sidebar.agent_id(),
        "settings": chat_sidebar.settings(),
    }


def _tried(work: Callable[[], T]) -> T | None:
    """What `work` returns; None when it failed, with a sentence for `draw_problem`."""
    try:
        return work()
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)
    except Exception:
        log.exception("an action on the chat page failed")
        st.session_state[_PROBLEM] = "Something went wrong on our side, and this was not done. Try again."
    return None


def _return(text: str) -> None:
    st.session_state[_RETURNED] = {"id": secrets.token_hex(4), "text": text}


def _draw_editor(principal: Principal, conversation_id: str, question: QueuedMessage) -> None:
    key = f"queued-text-{question.id}"
    st.text_area("Waiting question", question.content, key=key, height=68, label_visibility="collapsed")
    st.button("Save", key=f"save-{question.id}", on_click=_edit, args=(principal, conversation_id, question.id, key))


def _edit(principal: Principal, conversation_id: str, queued_id: str, key: str) -> None:
    text = st.session_state[key]
    try:
        core().turns.edit_queued(principal, conversation_id, queued_id, text)
    except NotFound as error:
        st.session_state[_PROBLEM] = f"{error} Your changed text is in the input."
        _return(text)
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)
    else:
        version = f"queued-version-{queued_id}"
        st.session_state[version] = st.session_state.get(version, 0) + 1


def _withdraw(principal: Principal, conversation_id: str, queued_id: str) -> None:
    try:
        text = core().turns.withdraw(principal, conversation_id, queued_id)
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)
        return
    if text is None:
        st.session_state[_PROBLEM] = "This question is already being answered. Stop the reply instead."
    else:
        _return(text)


def _send_queued(principal: Principal, conversation_id: str) -> None:
    _tried(lambda: core().turns.send_queued(principal, conversation_id))


def _stop(principal: Principal, turn_id: str) -> None:
    _tried(lambda: core().turns.stop(principal, turn_id))
