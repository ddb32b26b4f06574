"""The conversation of a workshop's step: all who take part see the same stream, and each may ask."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import Conversation, Window
from chatcore.errors import ChatcoreError, NotFound
from chatcore.turns import ActiveTurn
from chatcore.workshops import OpenStep, Pulse, Workshop
from pages.ui import browser, chat_acts, composer, message_actions, messages
from pages.ui.message_actions import Acts

_EVERY: Final = 3.0  # seconds after which a tab notices what somebody else did: there may be hundreds of them
_PACE: Final = 0.5  # seconds between two updates of a reply, for all who did not ask for it
_UNSENT: Final = "workshop_unsent"  # what was typed and could not be sent, until it stands in the input again
_WINDOW: Final = 12  # messages drawn at a time: all who take part draw them anew whenever anybody asks
_SHOWN: Final = "workshop_shown"  # a conversation, and how many of its messages are drawn
_MODEL: Final = "workshop_chosen_model"  # Streamlit forgets the widget while another page is shown


@dataclass(frozen=True)
class Talk:
    """What is drawn of a step's conversation, and the turns that run in it."""

    conversation: Conversation | None = None
    window: Window = field(default_factory=lambda: Window((), earlier=False))
    turns: Sequence[ActiveTurn] = ()

    @property
    def streaming(self) -> ActiveTurn | None:
        """The turn whose reply is the last message."""
        last = self.window.messages[-1].id if self.window.messages else None
        return next((turn for turn in self.turns if turn.message_id == last), None)


class _StepActs(Acts):
    """What is done about messages here: a step's conversation is neither shared elsewhere nor rated."""

    @property
    def menu(self) -> list[str]:
        return ["copy", "reply"]


def find(principal: Principal, here: OpenStep) -> Talk:
    """The conversation of a step as far as it is drawn; nothing before its first question. Raises `NotFound`."""
    if here.conversation_id is None:
        return Talk()
    talk = Talk()
    # A reply may end between the two reads, and the next one begin: then what was read first is old.
    for _ in range(3):
        conversation, window = core().conversations.window(principal, here.conversation_id, _shown(here))
        talk = Talk(conversation, window, core().turns.active(principal, conversation.id))
        last = window.messages[-1] if window.messages else None
        if last is None or last.status != "streaming" or talk.streaming:
            break
    return talk


def draw_messages(principal: Principal, workshop: Workshop, talk: Talk) -> None:
    """What was said so far."""
    conversation = talk.conversation
    if conversation is None:
        if not workshop.is_over:
            st.caption("Nobody has asked anything in this step yet. All who take part see what is asked and answered.")
        return
    if talk.window.earlier:
        st.button("Show earlier messages", key="workshop_earlier", type="tertiary", icon=":material/expand_less:",
                  on_click=_show_earlier, args=(conversation.id, len(talk.window.messages)))  # fmt: skip
    acts = None if workshop.is_over else _acts(principal, conversation)
    messages.draw_messages(
        talk.window, labels=_labels(), acts=acts, authors=_authors(principal, workshop, conversation, talk.window)
    )


def draw_input(principal: Principal, workshop: Workshop, here: OpenStep, talk: Talk) -> None:
    """What waits, Stop, the input, and who answers."""
    if workshop.is_over:
        return
    if talk.conversation is not None:
        with st.bottom:
            composer.draw_queue(principal, talk.conversation.id, running=bool(talk.turns))
            if talk.turns:
                composer.draw_stop(principal, talk.turns)
    if unsent := st.session_state.pop(_UNSENT, None):
        st.session_state["workshop_input"] = unsent
    st.chat_input(
        "Ask for all to see", key="workshop_input", on_submit=_submitted, args=(principal, workshop.id, here.step.id)
    )
    with st.bottom, st.container(key="workshop_foot", horizontal=True, vertical_alignment="center"):
        _draw_model(principal)
    conversation_id = talk.conversation.id if talk.conversation else f"{workshop.id}-{here.step.id}"
    browser.draw(principal.user_id, conversation_id, composer.returned(), editing=message_actions.editing())


def follow(principal: Principal, talk: Talk) -> None:
    """Draw the running reply until its end, whoever asked for it; then the page is drawn anew."""
    if turn := talk.streaming:
        asked = talk.window.messages[-2].user_id if len(talk.window.messages) > 1 else ""
        pace = messages.pace if asked == principal.user_id else _unhurried
        messages.stream_reply(
            core().turns.follow(principal, turn.turn_id, pace=pace), meanwhile=lambda: None, key=turn.turn_id,
            decide=partial(chat_acts.decide, principal, turn.turn_id),
        )  # fmt: skip
        st.rerun()


@st.fragment(run_every=_EVERY)
def watch(principal: Principal, session_id: str, step_id: str, drawn: Pulse) -> None:
    """Draw the page anew when somebody else did something in the workshop. `drawn`: what it was like before."""
    try:
        now = core().workshops.pulse(principal, session_id, step_id)
    except NotFound:
        st.rerun()
    except ChatcoreError:
        return  # the next look tells
    if now != drawn:
        st.rerun()


def model_name() -> str:
    """The model that was chosen to answer here, empty where there is none."""
    return st.session_state.get("workshop_model") or ""


def _unhurried(_: int) -> float:
    return _PACE


def _draw_model(principal: Principal) -> None:
    choices = {model.name: model for model in core().gateway.choices(principal) if model.available}
    chosen = st.session_state.get("workshop_model") or st.session_state.get(_MODEL)
    if chosen not in choices:
        default = core().gateway.default(principal)
        chosen = default.name if default and default.name in choices else next(iter(choices), None)
    st.session_state["workshop_model"] = chosen
    st.selectbox(
        "Model", list(choices), key="workshop_model", label_visibility="collapsed", width=190,
        format_func=lambda name: choices[name].display_name if name in choices else name,
        placeholder="No model can be used now",
    )  # fmt: skip
    st.session_state[_MODEL] = chosen
    st.caption("Billed to who asks", width="content")


def _submitted(principal: Principal, session_id: str, step_id: str) -> None:
    text = str(st.session_state["workshop_input"] or "")
    ask = partial(core().turns.ask_in_step, principal, (session_id, step_id), text, model=model_name())
    if text.strip() and composer.tried(ask) is None:
        st.session_state[_UNSENT] = text


def _acts(principal: Principal, conversation: Conversation) -> Acts:
    turns, conversations = core().turns, core().conversations

    def again(message_id: str, continuing: bool) -> None:
        act = turns.resume if continuing else turns.retry
        composer.tried(partial(act, principal, message_id, model=model_name()))

    def edit(message_id: str, text: str) -> None:
        if composer.tried(partial(turns.edit, principal, message_id, text, model=model_name())):
            message_actions.end_editing()

    def switch(message_id: str) -> None:
        message_actions.end_editing()
        composer.tried(partial(conversations.switch, principal, conversation.id, message_id))

    def choose(message_id: str, entry: str) -> None:
        if entry == "reply":
            composer.tried(partial(conversations.reply_from, principal, conversation.id, message_id))
        elif found := composer.tried(partial(conversations.replies, principal, conversation.id, [message_id])):
            browser.copy(found[0].content)

    return _StepActs(again=again, edit=edit, switch=switch, choose=choose, user_id=principal.user_id, is_own=False)


def _authors(principal: Principal, workshop: Workshop, conversation: Conversation, window: Window) -> dict[str, str]:
    """Names by user id, those of who takes part no longer too."""
    names = {one.user_id: one.name for one in workshop.people}
    if all(message.user_id in names for message in window.messages):
        return names
    return names | core().conversations.people(principal, conversation.id)


def _labels() -> dict[str, str]:
    return {model.name: model.display_name for model in core().gateway.catalog.models()}


def _shown(here: OpenStep) -> int:
    of, count = st.session_state.get(_SHOWN, ("", 0))
    return int(count) if of == here.conversation_id else _WINDOW


def _show_earlier(conversation_id: str, drawn: int) -> None:
    st.session_state[_SHOWN] = (conversation_id, drawn + _WINDOW)
