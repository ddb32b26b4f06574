"""Several models' replies to one question, side by side until one of them is picked."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import Conversation, Message, Window
from chatcore.gateway import Delta
from chatcore.turns import ActiveTurn
from pages.ui import answerers
from pages.ui.markdown import CUT, Cutter
from pages.ui.messages import CURSOR, THINKING, caption, draw_body, note
from pages.ui.text import plain
from pages.ui.tool_parts import Decide, LiveTools

_THOUGHT_SHOWN: Final = 300  # characters


def undecided(window: Window) -> tuple[str, ...]:
    """The ids of the replies among which one is still to be picked; empty where there are none."""
    if len(window.messages) < 2 or window.later or window.branches_below:
        return ()
    question, last = window.messages[-2:]
    found = question.meta.get("compare")
    compared = tuple(dict.fromkeys(found)) if isinstance(found, list) and len(found) > 1 else ()
    return compared if last.id in compared and not question.meta.get("picked") else ()


def draw(
    principal: Principal,
    conversation: Conversation,
    replies: Sequence[str],
    turns: Sequence[ActiveTurn],
    *,
    labels: Mapping[str, str],
    pick: Callable[[str], None],
    stop: Callable[[str], None],
    decide: Callable[[str, str, bool], None],
    meanwhile: Callable[[], None],
) -> None:
    """The replies in columns. `meanwhile` draws the rest of the page; the run lasts until the next reply has ended."""
    running = {turn.message_id: turn for turn in turns}
    places: dict[str, _Column] = {}
    with st.container(key="compared"):
        messages = core().conversations.replies(principal, conversation.id, replies)
        for column, message in zip(st.columns(len(messages), border=True), messages, strict=True):
            with column:
                st.markdown(f"**{plain(answerers.name(message.model, labels))}**")
                turn = running.get(message.id)
                if turn is None:
                    _draw_ended(message, labels, pick)
                else:
                    places[turn.turn_id] = _Column(st.container(), turn.turn_id, partial(decide, turn.turn_id))
                    st.button(
                        f"Stop {plain(answerers.name(message.model, labels))}", key=f"stop-{turn.turn_id}",
                        icon=":material/stop_circle:", type="tertiary",
                        disabled=turn.stopping, on_click=stop, args=(turn.turn_id,),
                    )  # fmt: skip
    meanwhile()
    if places:
        _stream(principal, places)
        st.rerun()


def _draw_ended(message: Message, labels: Mapping[str, str], pick: Callable[[str], None]) -> None:
    st.html("<i hidden></i>")  # where a running reply has a container: else its words would stay in that for a while
    draw_body(message)
    if said := note(message):
        st.markdown(f":gray[{said}]")
    st.caption(caption(message, labels))
    st.button(
        f"Go on with {plain(answerers.name(message.model, labels))}", key=f"pick-{message.id}", icon=":material/check:",
        width="stretch",
        on_click=pick, args=(message.id,),
    )  # fmt: skip


def _stream(principal: Principal, places: Mapping[str, "_Column"]) -> None:
    """Draw what all of them say until the first one ends: then the page is drawn anew, with its caption and choice."""
    for round_ in core().turns.follow_together(principal, list(places)):
        # Touching the session's state is where Streamlit ends a run whose tab has gone.
        st.session_state.setdefault("stream", 0)
        if len(round_) < len(places):
            return
        for turn_id, batch in round_.items():
            places[turn_id].feed(batch)


class _Column:
    """One running reply: elements that end where `markdown.Cutter` cuts, so that long replies stay cheap."""

    def __init__(self, box: Any, turn_id: str, decide: Decide) -> None:
        """`decide`: says yes or no to a tool that asks first."""
        self._box = box
        self._tools = LiveTools(box, turn_id, decide)
        self._slot: Any = box.empty()
        self._slot.markdown(THINKING)
        self._cutter = Cutter()
        self._text = ""
        self._thought = ""

    def feed(self, batch: Sequence[Delta]) -> None:
        """Draw what was thought and said since the last time: the end of the thought, until there are words."""
        self._thought += "".join(delta.text for delta in batch if delta.kind == "reasoning")
        if self._thought and not self._text:
            self._slot.markdown(f"{THINKING}\n\n:gray[{plain(self._thought[-_THOUGHT_SHOWN:])}]")
        self._tools.look_ahead(batch)
        for delta in batch:
            if delta.kind == "text":
                self._say(delta.text)
            elif delta.kind in ("tool_call", "tool_result"):
                self._close()
                self._tools.take(delta)
                self._slot = self._box.empty()

    def _say(self, said: str) -> None:
        self._tools.draw_after()
        for item in self._cutter.feed(said):
            if item is CUT:
                self._slot.markdown(self._text)
                self._slot, self._text = self._box.empty(), ""
            else:
                self._text += str(item)
        self._slot.markdown(self._text + CURSOR)

    def _close(self) -> None:
        """What was said so far stands; what comes next stands below."""
        self._text += "".join(str(item) for item in self._cutter.finish() if item is not CUT)
        self._slot.markdown(self._text)
        self._cutter, self._text = Cutter(), ""
