"""Trying an agent beside its form: a temporary chat, answered as the form says now."""

from collections.abc import Callable
from functools import partial
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.agents import OpenedAgent
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError, NotFound
from pages.ui import chat_acts
from pages.ui.agent_state import Editing, keep, read
from pages.ui.messages import draw_messages, pace, stream_reply
from pages.ui.text import plain

_TALK: Final = "agent_try"  # which agent is tried, in which conversation
_PROBLEM: Final = "agent_try_problem"
_SHOWN: Final = 30


def draw(principal: Principal, agent: OpenedAgent | None, editing: Editing) -> None:
    """The chat. Draw it last: its run lasts until the reply has ended."""
    conversation_id = _conversation(editing.of)
    with st.container(key="agent_try"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.subheader("Try it", anchor="try-it", width="content")
            if conversation_id:
                st.button("Start over", key="agent_try_over", icon=":material/restart_alt:", type="tertiary",
                          on_click=leave, args=(principal,))  # fmt: skip
        if problem := st.session_state.pop(_PROBLEM, None):
            st.error(plain(problem), icon=":material/error:")
        messages = st.container(key="agent_try_messages", height=420 if conversation_id else "content", border=False)
        st.chat_input("Ask it something", key="try_input", on_submit=_ask, args=(principal, agent, editing))
        st.caption("It answers as the form says, saved or not. Nothing of this chat is kept.")
        if conversation_id:
            _draw_talk(principal, conversation_id, messages)
        else:
            messages.caption("Ask a question to see how it answers. Change the form, and ask again.")


def leave(principal: Principal) -> None:
    """End the chat; the next question begins another one."""
    _, conversation_id = st.session_state.pop(_TALK, (None, None))
    if conversation_id:
        _tried(lambda: core().turns.leave(principal, conversation_id))


def _conversation(of: str | None) -> str | None:
    whose, found = st.session_state.get(_TALK, (None, None))
    return found if found and whose == (of or "new") else None


def _draw_talk(principal: Principal, conversation_id: str, place: st.delta_generator.DeltaGenerator) -> None:
    try:
        _, window = core().conversations.window(principal, conversation_id, _SHOWN)
        turns = core().turns.active(principal, conversation_id)
    except NotFound:  # its hour is over
        st.session_state.pop(_TALK, None)
        place.caption("This chat has ended. Ask again to begin another one.")
        return
    labels = {model.name: model.display_name for model in core().gateway.catalog.models()}
    with place:
        draw_messages(window, labels=labels, acts=None)
        if turns:
            turn_id = turns[-1].turn_id
            st.button("Stop", key="agent_try_stop", icon=":material/stop_circle:", on_click=_stop,
                      args=(principal, turn_id))  # fmt: skip
            stream_reply(
                core().turns.follow(principal, turn_id, pace=pace), meanwhile=lambda: None, key=turn_id,
                decide=partial(chat_acts.decide, principal, turn_id),
            )  # fmt: skip
            st.rerun()


def _ask(principal: Principal, agent: OpenedAgent | None, editing: Editing) -> None:
    _tried(lambda: _asked(principal, agent, editing, str(st.session_state["try_input"])))


def _asked(principal: Principal, agent: OpenedAgent | None, editing: Editing, text: str) -> None:
    editing.kept = None  # another tab may have saved or discarded the draft meanwhile
    keep(principal, editing)
    if editing.problem:
        st.session_state[_PROBLEM] = editing.problem
        return
    conversation_id = _conversation(editing.of)
    if conversation_id is None:
        leave(principal)
    default = core().gateway.default(principal)
    asked = core().turns.ask(
        principal, conversation_id, text, model=read().model or (default.name if default else ""),
        agent_id=editing.draft_id or (agent.id if agent else None), temporary=True,
    )  # fmt: skip
    st.session_state[_TALK] = (editing.of or "new", asked.conversation_id)


def _stop(principal: Principal, turn_id: str) -> None:
    _tried(lambda: core().turns.stop(principal, turn_id))


def _tried(work: Callable[[], None]) -> None:
    try:
        work()
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)
