"""Messages as they are drawn: stored ones, and the one that is being said.

A streamed reply is drawn with the same elements in the same places as the stored one, so nothing jumps at its end.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import streamlit as st

from chatcore.conversations import Message, Window, removing
from chatcore.gateway import Delta
from pages.ui import answerers, attachments, message_actions, parts
from pages.ui.figures import seconds, usd, whole
from pages.ui.markdown import CUT, Cutter, as_typed, segments
from pages.ui.message_actions import Acts
from pages.ui.text import plain
from pages.ui.tool_parts import Decide, LiveTools

THINKING: Final = ":shimmer[Thinking…]"
CURSOR: Final = " ▍"
_REST_AFTER: Final = 0.2  # seconds: when many ask at once, the first words of all come before the sidebar of any
_THOUGHT: Final = 1_500  # characters after which a thought without paragraphs goes on in an element of its own
_LONG_REPLY: Final = 40_000  # characters over which the updates' interval grows by a second


def draw_messages(
    window: Window,
    *,
    labels: Mapping[str, str],
    acts: Acts | None,
    target: str | None = None,
    compared: Sequence[str] = (),
    authors: Mapping[str, str] | None = None,
    share: str | None = None,
) -> None:
    """Stored messages, oldest first. `labels`: the models' names as people read them.

    `acts`: what can be done about them; None for who may only read. `target`: the id of one that somebody looks for.
    `authors`: names by user id, where several people ask. `share`: the token of the share through which they are read.
    """
    messages = window.messages
    for number, message in enumerate(messages):
        following = messages[number + 1] if number + 1 < len(messages) else None
        if message.status == "streaming" or message.id in compared:
            continue
        if removing.MARK in message.meta:
            with st.chat_message("user" if message.role == "user" else "assistant"):
                st.markdown(f":gray[{plain(message.content)}]")  # nothing can be done with what is gone
            continue
        # Only the one that is looked for stands in a container: a run that begins where another page ended would keep
        # that page's elements in it until its own end.
        with st.container(key="target") if message.id == target else nullcontext():
            if message.role == "user":
                _draw_question(message, window, acts, share, (authors or {}).get(message.user_id))
            else:
                last = following is None and not window.later
                _draw_reply(
                    message, window, labels, following, acts if last or acts is None else acts.of_earlier, share
                )


def _draw_question(message: Message, window: Window, acts: Acts | None, share: str | None, author: str | None) -> None:
    """A person's message, as they typed it, with its attachments and its versions."""
    if acts and message_actions.draw_editor(message, acts):
        return
    with st.chat_message("user"):
        if author:
            st.caption(plain(author))
        attachments.draw(message.parts, share=share)
        if message.content:
            st.markdown(as_typed(message.content))
    if acts:
        message_actions.draw_question_row(message, window.siblings.get(message.id, ()), acts)


def _draw_reply(
    message: Message,
    window: Window,
    labels: Mapping[str, str],
    following: Message | None,
    acts: Acts | None,
    share: str | None,
) -> None:
    """A stored reply with its caption, and with what can be done about it."""
    continued = following is not None and following.role == "assistant"
    with st.chat_message("assistant"):
        draw_body(message, following, share)
        if said := "Continued after a break." if continued else note(message):
            st.markdown(f":gray[{said}]")
        if share is None and (acts is None or acts.is_own or message.user_id == acts.user_id):
            st.caption(caption(message, labels), help=_speed(message, labels))
        else:  # what it cost is not the reader's
            st.caption(plain(answerers.name(message.model, labels)))
        if acts:
            message_actions.draw_reply_row(message, window.siblings.get(message.id, ()), acts)


def draw_body(message: Message, following: Message | None = None, share: str | None = None) -> None:
    """What a reply says: its thinking folded away, its words, charts, tables and tool calls, its error."""
    with st.container():
        for part in message.parts:
            if part["type"] == "reasoning":
                parts.draw_reasoning(part)
    structured = [part for part in message.parts if part["type"] not in ("reasoning", "error")]
    if any(part["type"] not in ("text", "media", "file") for part in structured):
        for number, part in enumerate(structured):
            if not parts.draw(part, key=f"{message.id}-{number}"):
                attachments.draw([part], share=share)
    else:
        for segment in segments(message.content):
            st.markdown(segment)
        attachments.draw(message.parts, share=share)
    for part in message.parts:
        if part["type"] == "error" and following is None:
            st.error(plain(part["message"]), icon=":material/error:")
        elif part["type"] == "error" and following is not None and following.role == "user":
            st.markdown(f":gray[:material/error: {plain(part['message'])}]")


def stream_reply(
    batches: Iterator[list[Delta]], *, meanwhile: Callable[[], None], key: str = "live", decide: Decide | None = None
) -> None:
    """Draw a running reply with `st.write_stream` until its end, with its thinking and its first sign of life.

    `meanwhile` draws the rest of the page: after the first words, or when they let wait for themselves.
    `key`: tells this reply's elements from all others. `decide`: says yes or no to a tool that asks first.
    """
    message = st.chat_message("assistant")  # not entered: what `meanwhile` draws belongs to the page, not in here
    head = message.container()
    sign = head.empty()
    sign.markdown(THINKING)
    tools = LiveTools(message, key, decide)
    message.write_stream(_Running(head, sign, meanwhile, tools).items(batches), cursor=CURSOR)


class _Running:
    """A running reply's pieces, as `st.write_stream` takes them: text, and a callable where an element ends."""

    def __init__(self, head: Any, sign: Any, meanwhile: Callable[[], None], tools: LiveTools) -> None:
        self._tools = tools
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
            self._tools.look_ahead(batch)
            for delta in batch:
                if delta.kind == "reasoning":
                    self._think(delta.text)
                elif delta.kind == "text":
                    self._answer()
                    if self._tools.has_more:
                        yield self._tools.draw_after
                    yield from self._drawn(self._cutter.feed(delta.text))
                elif delta.kind in ("tool_call", "tool_result"):
                    yield from self._drawn(self._cutter.finish())
                    self._cutter = Cutter()
                    self._answer()
                    yield partial(self._tools.take, delta)
            if time.monotonic() >= rest_at:
                self._draw_rest()
        self._draw_rest()
        yield from self._drawn(self._cutter.finish())
        self._answer()
        if self._tools.has_more:
            yield self._tools.draw_after

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


def caption(message: Message, labels: Mapping[str, str]) -> str:
    """Model, tokens, cost and time of a reply, in one line. `labels`: the models' names as people read them."""
    facts = [answerers.said(message, labels)]
    if message.prompt_tokens is not None and message.completion_tokens is not None:
        about = "≈ " if message.meta.get("usage_source") == "estimated" or message.status == "interrupted" else ""
        facts.append(f"{about}{whole(message.prompt_tokens + message.completion_tokens)} tokens")
    if source := message.meta.get("imported"):
        facts.append("copied" if source == "copy" else "imported")
    elif cached := message.meta.get("cached"):
        facts.append(f"from the cache, {usd(cached.get('saved_nano_usd'))} saved")
    else:
        facts.append("cost unknown" if message.cost_nano_usd is None else usd(message.cost_nano_usd))
    if message.latency_ms is not None:
        facts.append(seconds(message.latency_ms))
    return " · ".join(fact.replace("$", "\\$") for fact in facts)


def _speed(message: Message, labels: Mapping[str, str]) -> str | None:
    lines = answerers.why(message, labels)
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


def note(message: Message) -> str:
    """How a reply ended, where it did not simply end."""
    notes = []
    if isinstance(trimmed := message.meta.get("trimmed"), int) and trimmed:
        notes.append(f"The {whole(trimmed)} oldest messages no longer fit this model's window and were left out.")
    if message.meta.get("no_tools"):
        notes.append("This model cannot use tools, so it answered without its agent's.")
    if message.status == "stopped":
        notes.append("Stopped.")
    elif message.status == "interrupted":
        notes.append("Interrupted when the server stopped. The words so far are kept.")
    elif message.finish_reason == "length":
        notes.append("The reply reached its token limit.")
    return " ".join(notes)
