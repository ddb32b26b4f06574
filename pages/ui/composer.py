"""Asking: the input, suggestions, Stop, and the questions that wait behind a running reply."""

import logging
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import streamlit as st

from chatcore.accounts import Principal
from chatcore.agents import ListedAgent
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError, NotFound
from chatcore.gateway import Model
from chatcore.turns import ActiveTurn, Asked, QueuedMessage
from pages.ui import allowance, attachments, chat_sidebar, message_actions, prompt_parts
from pages.ui.text import plain

T = TypeVar("T")
log = logging.getLogger("chatcore.pages")

TEMPORARY: Final = "In no list and no search. Erased when you leave it, or after an hour."
_PROBLEM: Final = "chat_problem"
_UNSENT: Final = "chat_unsent"  # what was typed and could not be sent, until it stands in the input again
_RETURNED: Final = "chat_returned"  # text on its way into the input: a prompt's, or a waiting question's


def draw_input(principal: Principal, conversation_id: str | None) -> None:
    """The one chat input. What is sent is stored in its callback, before anything is drawn."""
    if unsent := st.session_state.pop(_UNSENT, None):
        st.session_state["chat_input"] = unsent
    attachments.draw_kept(conversation_id)
    own = core().settings.own
    st.chat_input(
        "Ask anything", key="chat_input", accept_file="multiple", accept_audio=True,
        max_upload_size=max(own.max_attachment_mb, own.max_video_mb),
        on_submit=_submitted, args=(principal, conversation_id),
    )  # fmt: skip


def draw_problem() -> None:
    """Why the last question was not sent, once."""
    if problem := st.session_state.pop(_PROBLEM, None):
        st.error(plain(problem), icon=":material/error:")


def draw_choice(
    principal: Principal,
    agents: list[ListedAgent],
    choices: list[Model],
    *,
    new: bool = False,
    owner: str | None = None,
) -> None:
    """Who will answer, in one quiet line (on a phone the sidebar is closed), and the prompts. `choices`: what the
    sidebar offers. `owner`: whose conversation it is, where it is a colleague's."""
    shown = {model.name: model for model in choices}
    found = [shown.get(name) for name in chat_sidebar.asked_models()]
    models = " and ".join(plain(model.display_name) for model in found if model)
    agent = next((agent.label for agent in agents if agent.id == chat_sidebar.agent_id()), None)
    with st.container(key="choice", horizontal=True, horizontal_alignment="center", vertical_alignment="center"):
        whose = f"in {plain(owner)}'s conversation, billed to you" if owner else ""
        said = (models, plain(agent or ""), whose, allowance.warning(principal))
        st.caption(" · ".join(name for name in said if name), width="content")
        prompt_parts.draw_picker(principal, put_back)
        if new:
            st.toggle("Temporary", key="temporary", help=TEMPORARY)


def put_back(text: str) -> None:
    """Put text into the input, behind what stands there, when the page is drawn next."""
    st.session_state[_RETURNED] = {"id": secrets.token_hex(4), "text": text}


def returned() -> dict[str, str] | None:
    """The text that goes back into the input without replacing what stands there; handed out once."""
    found: dict[str, str] | None = st.session_state.pop(_RETURNED, None)
    return found


def draw_suggestions(principal: Principal, agent: ListedAgent | None) -> None:
    """Two-line suggestions of the chosen agent: a heading, and the question it asks."""
    for number, suggestion in enumerate(agent.suggestions if agent else ()):
        heading, _, question = suggestion.partition("\n")
        st.button(
            f"**{plain(heading)}**  \n:gray[{plain(question)}]",
            key=f"suggestion-{number}",
            type="tertiary",
            width="stretch",
            on_click=_ask,
            args=(principal, None, question, []),
        )


def draw_stop(principal: Principal, turns: Sequence[ActiveTurn]) -> None:
    """Stop, in its own place: nothing else ever stands there. It stops all that runs in the conversation."""
    st.button(
        "Stop" if len(turns) == 1 else "Stop all", key="stop", icon=":material/stop_circle:", shortcut="Esc",
        on_click=stop, args=(principal, *(turn.turn_id for turn in turns)),
        disabled=all(turn.stopping for turn in turns),
    )  # fmt: skip


def draw_queue(principal: Principal, conversation_id: str, *, running: bool) -> None:
    """The waiting questions: each can be changed or taken back; after a restart, sent."""
    waiting = core().turns.queued(principal, conversation_id)
    for number, question in enumerate(waiting):
        with st.container(key=f"queued-{question.id}", horizontal=True, vertical_alignment="center"):
            files = f" :material/attach_file: {len(question.attachments)}" if question.attachments else ""
            st.markdown(f":gray[:material/schedule: Next:] {plain(question.content[:200])}{files}")
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


def again(principal: Principal, message_id: str, continuing: bool, model: str | None = None) -> None:
    """Regenerate, retry or continue a reply with what is chosen now, or with another model."""
    act = core().turns.resume if continuing else core().turns.retry
    chosen = _chosen() | ({"model": model} if model else {})
    _begun(tried(lambda: act(principal, message_id, **chosen)))


def edit(principal: Principal, message_id: str, text: str) -> None:
    """Ask the changed version of a question."""
    asked = tried(lambda: core().turns.edit(principal, message_id, text, **_chosen()))
    if asked:
        message_actions.end_editing()
    _begun(asked)


def _submitted(principal: Principal, conversation_id: str | None) -> None:
    _ask(principal, conversation_id, *attachments.submitted(st.session_state.chat_input))


def _ask(principal: Principal, conversation_id: str | None, text: str, files: list[tuple[str, bytes]]) -> None:
    files = attachments.take_kept(conversation_id) + files
    if not text.strip() and not files:
        return
    ids, kept, refused = _stored(principal, files)
    if refused:
        st.session_state[_PROBLEM] = " ".join(refused)
    asked = None if refused else tried(lambda: _sent(principal, conversation_id, text, ids))
    if asked is None:
        st.session_state[_UNSENT] = text
        attachments.keep(conversation_id, kept)
    elif asked.conversation_id != conversation_id:
        chat_sidebar.open_conversation(asked.conversation_id)
    _begun(asked)


def _stored(
    principal: Principal, files: list[tuple[str, bytes]]
) -> tuple[list[str], list[tuple[str, bytes]], list[str]]:
    """The ids of the files that were taken, those files, and a sentence for each that was refused."""
    ids, kept, refused = [], [], []
    for name, data in files:
        try:
            ids.append(core().attachments.add(principal, name, data).id)
            kept.append((name, data))
        except ChatcoreError as error:
            refused.append(str(error))
    return ids, kept, refused


def _sent(principal: Principal, conversation_id: str | None, text: str, ids: list[str]) -> Asked:
    """The question to one model, or to all that are compared."""
    more: dict[str, Any] = {"attachments": ids}
    if conversation_id is None:
        more["temporary"] = bool(st.session_state.get("temporary"))
    models = chat_sidebar.asked_models()
    if len(models) == 1:
        return core().turns.ask(principal, conversation_id, text, **_chosen(), **more)
    chosen = {key: value for key, value in _chosen().items() if key != "model"}
    return core().turns.compare(principal, conversation_id, text, models=models, **chosen, **more)[0]


def _begun(asked: Asked | None) -> None:
    """What was asked stands at the end: who looked at an older message is taken there."""
    if asked is not None:
        st.query_params.pop("m", None)


def _chosen() -> dict[str, Any]:
    return {
        "model": chat_sidebar.model_name(),
        "agent_id": chat_sidebar.agent_id(),
        "settings": chat_sidebar.settings(),
    }


def tried(work: Callable[[], T]) -> T | None:
    """What `work` returns; None when it failed, with a sentence for `draw_problem`."""
    try:
        return work()
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)
    except Exception:
        log.exception("an action on the chat page failed")
        st.session_state[_PROBLEM] = "Something went wrong on our side, and this was not done. Try again."
    return None


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
        put_back(text)
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)
    else:
        version = f"queued-version-{queued_id}"
        st.session_state[version] = st.session_state.get(version, 0) + 1


def _withdraw(principal: Principal, conversation_id: str, queued_id: str) -> None:
    try:
        taken = core().turns.withdraw(principal, conversation_id, queued_id)
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)
        return
    if taken is None:
        st.session_state[_PROBLEM] = "This question is already being answered. Stop the reply instead."
        return
    put_back(taken.content)
    found = [tried(partial(_file, principal, attachment_id)) for attachment_id in taken.attachments]
    attachments.keep(conversation_id, [file for file in found if file])


def _file(principal: Principal, attachment_id: str) -> tuple[str, bytes]:
    one, path = core().attachments.get(principal, attachment_id)
    return one.name, path.read_bytes()


def _send_queued(principal: Principal, conversation_id: str) -> None:
    tried(lambda: core().turns.send_queued(principal, conversation_id))


def stop(principal: Principal, *turn_ids: str) -> None:
    """Stop turns; their words stay."""
    for turn_id in turn_ids:
        tried(partial(core().turns.stop, principal, turn_id))
