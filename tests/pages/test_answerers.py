"""What a reply's caption says of who answered, and why."""

from datetime import UTC, datetime
from typing import Any

import pytest

from chatcore.conversations import Message
from pages.ui import answerers

LABELS = {"gpt": "GPT-5", "haiku": "Claude Haiku"}


def reply(model: str = "haiku", status: Any = "complete", **meta: Any) -> Message:
    now = datetime.now(UTC)
    values: dict[str, Any] = dict.fromkeys(Message.__dataclass_fields__)
    values |= {"id": "msg_1", "role": "assistant", "content": "x", "parts": (), "created_at": now}
    return Message(**values | {"model": model, "status": status, "meta": meta})


def tried(model: str, code: str | None, said: bool = False) -> dict[str, Any]:
    return {"model": model, "provider": "openai", "outcome": "error", "code": code, "said": said}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (reply(), "Claude Haiku"),
        (reply(asked="auto"), "Claude Haiku (auto)"),
        (reply(asked="auto", why="It is a short question."), "Claude Haiku (auto: a short question)"),
        (
            reply(asked="auto", why="It needs reasoning (“prove”). The reasoning model cannot be used now."),
            "Claude Haiku (auto: needs reasoning (“prove”))",
        ),
        (reply(asked="gpt"), "Claude Haiku, in place of GPT-5"),
        (reply(attempts=[tried("gpt", "provider_down")] * 3), "Claude Haiku, as GPT-5 could not be reached"),
        (reply(attempts=[tried("gpt", "timeout")]), "Claude Haiku, as GPT-5 did not answer in time"),
        (reply(attempts=[tried("gpt", None)]), "Claude Haiku, as GPT-5 was slower"),
        (reply(attempts=[tried("gpt", "truncated", said=True)]), "GPT-5, continued by Claude Haiku as it broke off"),
        (reply(attempts=[tried("haiku", "provider_down")]), "Claude Haiku"),
        (reply(status="failed", attempts=[tried("gpt", "provider_down")]), "Claude Haiku"),
        (reply(attempts=[tried("gone", "never heard of")]), "Claude Haiku, as gone failed"),
        (reply(model="gone"), "gone"),
    ],
)
def test_the_caption_names_who_answered_and_why(message: Message, words: str) -> None:
    assert answerers.said(message, LABELS) == words


def test_the_lines_behind_it_tell_every_call_and_the_choice() -> None:
    message = reply(why="It is a short question.", attempts=[tried("gpt", "provider_down"), tried("gpt", "timeout")])
    assert answerers.why(message, LABELS) == [
        "Chosen by Auto. It is a short question\\.",
        "Call 1: GPT\\-5 could not be reached",
        "Call 2: GPT\\-5 did not answer in time",
    ]


def test_a_cached_reply_says_so() -> None:
    [line] = answerers.why(reply(cached={"saved_nano_usd": 1}), LABELS)
    assert "Regenerate" in line
