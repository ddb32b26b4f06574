"""Messages as they are drawn: stored ones, and the one that is being said.

A streamed reply is drawn with the same elements in the same places as the stored one, so nothing jumps at its end.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import streamlit as st

from chatcore.conversations import Message
from chatcore.gateway import Delta
from chatcore.turns import can_continue
from pages.ui import browser
from pages.ui.figures import seconds, usd, whole
from pages.ui.markdown import CUT, Cutter, as_typed, segments
from pages.ui.text import plain

THINKING: Final = ":shimmer[Thinking…]"
CURSOR: Final = " ▍"
_REST_AFTER: Final = 0.2  # seconds: when many ask at once, the first words of all come before the sidebar of any
Again = Callable[[str, bool], None]
_THOUGHT: Final = 1_500  # characters after which a thought without paragraphs goes on in an element of its own
_LONG_REPLY: Final = 40_000  # characters over which the updates' interval grows by a second


def draw_messages(messages: Sequence[Message], *, labels: Mapping[str, str], again: Again) -> None:
    """Stored messages, oldest first. `labels`: the models' names as people read them.

    `again(message_id, continuing)` is called by Regenerate, Retry and Continue.
    """
    for number, message in enumerate(messages):
        following = messages[number + 1] if number + 1 < len(messages) else None
        if message.status == "streaming":
            continue
        if message.role == "user":
            draw_question(message)
        else:
            label = labels.get(message.model or "") or message.model or "Unknown model"
            _draw_reply(message, label, following, again)


def draw_question(message: Message) -> None:
    """A person's message, as they typed it."""
    with st.chat_message("user"):
        st.markdown(as_typed(message.content))


def _draw_reply(message: Message, model_label: str, following: Message | None, again: Again) -> None:
    """A stored reply with its caption; with what can be done about it where nothing follows."""
    continued = following is not None and following.role == "assistant"
    with st.chat_message("assistant"):
        with st.container():
            _draw_reasoning(message.parts)
        for segment in segments(message.content):
            st.markdown(segment)
        for part in message.parts:
            if part["type"] == "tool_call":
                _draw_tool_call(part)
            elif part["type"] == "error" and following is None:
                st.error(part["message"], icon=":material/error:")
            elif part["type"] == "error" and not continued:
                st.markdown(f":gray[:material/error: {plain(part['message'])}]")
        if note := "Continued after a break." if continued else _note(message):
            st.markdown(f":gray[{note}]")
        st.caption(caption(message, model_label), help=_speed(message))
        if following is None:
            _draw_actions(message, again)


def stream_reply(batches: Iterator[list[Delta]], *, meanwhile: Callable[[], None]) -> None:
    """Draw a running reply with `st.write_stream` until its end, with its thinking and its first sign of life.

    `meanwhile` draws the rest of the page: after the first words, or when they let wait for themselves.
    """
    message = st.chat_message("assistant")  # not entered: what `meanwhile` draws belongs to the page, not in here
    head = message.container()
    sign = head.empty()
    sign.markdown(THINKING)
    message.write_stream(_Running(head, sign, meanwhile).items(batches), cursor=CURSOR)


class _Running:
    """A running reply's pieces, as `st.write_stream` takes them: text, and a callable where an element ends."""

    def __init__(self, head: Any, sign: Any, meanwhile: Callable[[], None]) -> None:
        self._meanwhile: Callable[[], None] | None = meanwhile
        self._head = head
        self._sign: Any = sign
        self._cutter = Cutter()
        self._status: Any = None
        self._slot: Any = None
        self._thought = ""  # what stands in the slot
        self._thoughts = Cutter()

    def items(self, batches: Iterator[list[Delta]]) -> Iterator[Any]:
        rest_at = time.monotonic() + _REST_AFTER
        for batch in batches:
            # Touching the session's state is where Streamlit ends a run whose tab has gone.
            st.session_state.setdefault("stream", 0)
            for delta in batch:
                if delta.kind == "reasoning":
                    self._think(delta.text)
                elif delta.kind == "text":
                    self._answer()
                    yield from self._drawn(self._cutter.feed(delta.text))
            if time.monotonic() >= rest_at:
                self._draw_rest()
        self._draw_rest()
        yield from self._drawn(self._cutter.finish())
        self._answer()

    def _draw_rest(self) -> None:
        if self._meanwhile is not None:
            draw, self._meanwhile = self._meanwhile, None
            draw()

    @staticmethod
    def _drawn(items: list[object]) -> Iterator[Any]:
        for item in items:
            yield (lambda: None) if item is CUT else item

    def _think(self, text: str) -> None:
        if self._status is None:
            self._clear_sign()
            self._status = self._head.status(THINKING, type="compact", expanded=True)
            self._slot = self._status.empty()
        self._draw_thoughts(self._thoughts.feed(text))

    def _draw_thoughts(self, items: list[object]) -> None:
        for item in items:
            if item is CUT or len(self._thought) > _THOUGHT:
                self._slot, self._thought = self._status.empty(), ""
            if item is not CUT:
                self._thought += str(item)
                self._slot.markdown(self._thought)

    def _answer(self) -> None:
        self._clear_sign()
        if self._status is not None:
            self._draw_thoughts(self._thoughts.finish())
            self._status.update(label="Thought", state="complete", expanded=False)
            self._status, self._thought, self._thoughts = None, "", Cutter()

    def _clear_sign(self) -> None:
        if self._sign is not None:
            self._sign.empty()
            self._sign = None


def pace(characters: int) -> float:
    """Seconds between two updates of a reply of so many characters: short ones flow, long ones spare the wire."""
    return min(0.5, 0.1 + characters / _LONG_REPLY)


def caption(message: Message, model_label: str) -> str:
    """Model, tokens, cost and time of a reply, in one line."""
    parts = [model_label]
    if message.prompt_tokens is not None and message.completion_tokens is not None:
        about = "≈ " if message.meta.get("usage_source") == "estimated" or message.status == "interrupted" else ""
        parts.append(f"{about}{whole(message.prompt_tokens + message.completion_tokens)} tokens")
    parts.append("cost unknown" if message.cost_nano_usd is None else usd(message.cost_nano_usd))
    if message.latency_ms is not None:
        parts.append(seconds(message.latency_ms))
    return " · ".join(part.replace("$", "\\$") for part in parts)


def _speed(message: Message) -> str | None:
    lines = []
    if message.ttft_ms is not None and message.latency_ms is not None:
        lines.append(f"First words after {seconds(message.ttft_ms)}")
        writing = (message.latency_ms - message.ttft_ms) / 1000
        if writing > 0.2:
            lines.append(f"{len(message.content.split()) / writing:.0f} words per second")
    if message.prompt_tokens is not None and message.completion_tokens is not None:
        lines.append(f"{whole(message.prompt_tokens)} tokens in, {whole(message.completion_tokens)} out")
    if message.meta.get("usage_source") == "estimated":
        lines.append("Tokens are estimated: the provider did not report them")
    return "  \n".join(lines) or None


def _note(message: Message) -> str:
    notes = []
    if trimmed := message.meta.get("trimmed"):
        notes.append(f"The {whole(int(trimmed))} oldest messages no longer fit this model's window and were left out.")
    if message.status == "stopped":
        notes.append("Stopped.")
    elif message.status == "interrupted":
        notes.append("Interrupted when the server stopped. The words so far are kept.")
    elif message.finish_reason == "length":
        notes.append("The reply reached its token limit.")
    return " ".join(notes)


def _draw_actions(message: Message, again: Again) -> None:
    error = next((part for part in message.parts if part["type"] == "error"), {})
    whole_reply = message.status == "complete"
    with st.container(horizontal=True, key=f"actions-{message.id}", gap="xsmall", vertical_alignment="center"):
        if can_continue(message):
            st.button(
                "Continue", key=f"continue-{message.id}", icon=":material/play_arrow:", on_click=again,
                args=(message.id, True),
            )  # fmt: skip
        if whole_reply or error.get("retryable", True):
            st.button(
                "Regenerate" if whole_reply else "Retry", key=f"regenerate-{message.id}", icon=":material/refresh:",
                type="tertiary" if whole_reply else "secondary", on_click=again, args=(message.id, False),
            )  # fmt: skip
        if whole_reply and message.content:
            browser.draw_copy(message.content)


def _draw_reasoning(parts: tuple[Mapping[str, Any], ...]) -> None:
    for part in parts:
        if part["type"] == "reasoning":
            duration = part.get("duration_ms")
            label = f"Thought for {seconds(duration)}" if duration else "Thought"
            with st.expander(label, type="compact"):
                for segment in segments(part["text"]):
                    st.markdown(segment)


def _draw_tool_call(part: Mapping[str, Any]) -> None:
    with st.expander(f"Tool call: {part['name']}", type="step", icon=":material/build:"):
        try:
            st.json(json.loads(part["arguments"] or "{}"))
        except ValueError:
            st.code(part["arguments"], language=None)
