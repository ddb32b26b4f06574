"""The demo models: no key, no network, no intelligence, and honest about it.

They exist so that every part of the product can be tried and tested with nothing configured: words arrive at a
natural pace, the reply reacts to the question, to the system prompt and to what was said before, and failures come
on request. What they say is composed in `writer`; here is how it is said.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from chatcore.gateway.demo.reader import Message, read, text_of
from chatcore.gateway.demo.writer import Draft, write

LONGEST_REPLY_SECONDS: Final = 75.0
"""A reply so long that it would take more than this is spoken faster."""

_PIECE = re.compile(r"\s*\S+\s*")
_SENTENCE_END = re.compile(r"[.!?:]\s*$")


@dataclass(frozen=True)
class DemoModel:
    """What the catalog shows of one demo model. Prices are invented, in USD as decimal text, so that charts live."""

    name: str
    display_name: str
    description: str
    input_usd_per_token: str
    output_usd_per_token: str
    context_window: int
    supports_reasoning: bool
    supports_vision: bool
    words_per_second: float


DEMO_MODELS: Final = (
    DemoModel(
        "demo/assistant",
        "Demo Assistant",
        "Offline demo, no key needed: balanced replies with code, tables and maths. Ask it for help.",
        "0.0000005",
        "0.0000015",
        32_000,
        False,
        True,
        28.0,
    ),
    DemoModel(
        "demo/quick",
        "Demo Quick",
        "Offline demo, no key needed: short replies, fast.",
        "0.0000001",
        "0.0000004",
        8_000,
        False,
        False,
        45.0,
    ),
    DemoModel(
        "demo/thinker",
        "Demo Thinker",
        "Offline demo, no key needed: shows its reasoning before it answers.",
        "0.000002",
        "0.000008",
        64_000,
        True,
        True,
        25.0,
    ),
)


class DemoFailure(Exception):
    """The failure that was asked for, as a provider would report it. `status`: the HTTP status."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


class DemoCut(Exception):
    """The reply ends here, in the middle, without a finish, as when a connection breaks."""


@dataclass(frozen=True)
class DemoEvent:
    """One piece of a reply. "finish" comes last, once, with `finish_reason` stop, length or tool_calls.

    `tool_call`: one whole call in the shape of OpenAI's deltas: index, id, type and function (name, arguments as JSON).
    """

    kind: Literal["text", "reasoning", "tool_call", "finish"]
    text: str = ""
    tool_call: dict[str, Any] | None = None
    finish_reason: str | None = None


def demo_model(name: str) -> DemoModel:
    """The model of that name. Raises `DemoFailure` 404 for any other."""
    for model in DEMO_MODELS:
        if model.name == name:
            return model
    raise DemoFailure(404, f"There is no demo model named {name}.")


def count_tokens(text: str) -> int:
    """An approximation, good to about 20 % for English: one token for each four characters begun."""
    return (len(text) + 3) // 4


def prompt_tokens(messages: list[Message]) -> int:
    """Tokens of all messages, and 4 for each message's frame."""
    return sum(4 + count_tokens(text_of(message)) for message in messages)


def usage(messages: list[Message], text: str, reasoning: str = "") -> dict[str, Any]:
    """What the call used, in the shape of OpenAI's `usage`."""
    asked, thought = prompt_tokens(messages), count_tokens(reasoning)
    said = count_tokens(text) + thought
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


async def reply(
    model: str,
    messages: list[Message],
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    tools: list[dict[str, Any]] | None = None,
    pace: float = 1.0,
) -> AsyncIterator[DemoEvent]:
    """The reply to a conversation, a word or two at a time.

    `messages`, `tools`: in OpenAI's shapes. `max_tokens`: reasoning included. `temperature`: another one, another
    choice of words; the same question with the same temperature is answered with the same words.
    `pace`: 1 is natural, 0 does not wait at all. Raises `DemoFailure` and `DemoCut`, where asked for.
    """
    chosen = demo_model(model)
    asked = prompt_tokens(messages)
    if asked > chosen.context_window:
        limit = f"This model's maximum context length is {chosen.context_window} tokens"
        raise DemoFailure(400, f"{limit}, and the messages hold {asked}. Reduce the length of the messages.")
    draft = write(read(messages, temperature), chosen.name, tools or [])
    await asyncio.sleep(draft.first_word_after * pace)
    if draft.fail_status and not draft.fail_midway:
        raise DemoFailure(draft.fail_status, draft.fail_message, draft.retry_after)
    async for event in _speak(draft, chosen, max_tokens, pace):
        yield event


async def _speak(draft: Draft, model: DemoModel, max_tokens: int | None, pace: float) -> AsyncIterator[DemoEvent]:
    room = max_tokens * 4 if max_tokens is not None else None
    reasoning = draft.reasoning if model.supports_reasoning else ""
    text = draft.text[: draft.stop_at] if draft.stop_at is not None else draft.text
    speed = max(model.words_per_second, len((reasoning + text).split()) / LONGEST_REPLY_SECONDS)
    for kind, whole in (("reasoning", reasoning), ("text", text)):
        for piece, wait in _pieces(whole, speed * (1.6 if kind == "reasoning" else 1.0)):
            if room is not None and len(piece) > room:
                if room > 0:
                    yield DemoEvent("reasoning" if kind == "reasoning" else "text", piece[:room])
                yield DemoEvent("finish", finish_reason="length")
                return
            room = room - len(piece) if room is not None else None
            yield DemoEvent("reasoning" if kind == "reasoning" else "text", piece)
            if pace and wait:
                await asyncio.sleep(wait * pace)
    await _end_badly(draft, pace)
    for call in draft.tool_calls:
        yield DemoEvent("tool_call", tool_call=call)
    yield DemoEvent("finish", finish_reason="tool_calls" if draft.tool_calls and not draft.text else "stop")


async def _end_badly(draft: Draft, pace: float) -> None:
    if draft.fail_midway:
        raise DemoFailure(draft.fail_status, draft.fail_message, draft.retry_after)
    if draft.stalls:
        await asyncio.sleep(3600 * pace)
    if draft.stop_at is not None:
        raise DemoCut("The demo reply was cut, as asked.")


def _pieces(text: str, speed: float) -> Iterator[tuple[str, float]]:
    """Pieces of one or two words that join to exactly `text`, each with the seconds to wait after it."""
    chance = random.Random(text)
    words = _PIECE.findall(text)
    # Timers finer than 20 ms cost more than anyone can see.
    most = max(2, round(speed / 25))
    position = 0
    while position < len(words):
        count = most if most > 2 else chance.choice((1, 1, 2))
        piece = "".join(words[position : position + count])
        position += count
        wait = count / speed * chance.uniform(0.5, 1.3)
        if most == 2 and _SENTENCE_END.search(piece):
            wait += 0.25 if piece.endswith("\n\n") else 0.12
        yield piece, wait
