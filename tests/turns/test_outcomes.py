"""Every behaviour of the hostile provider: what is stored, what the ledger holds, and that both equal its account."""

import secrets

import pytest

from tests.chat import COMPLETION_PRICE, KEY, PROMPT_PRICE, Chat
from tests.hostile.texts import BLOCKS
from tests.turns.conftest import BEHAVIOURS

# behaviour: message status, ledger outcome, error type, who counted the tokens
EXPECTED = {
    "ok;n=20": ("complete", "ok", None, "provider"),
    "ok;n=40;rate=20": ("complete", "ok", None, "provider"),
    "ok;n=4000": ("complete", "ok", None, "provider"),
    "401": ("failed", "error", "bad_key", "none"),
    "403": ("failed", "error", "bad_key", "none"),
    "404": ("failed", "error", "model_unavailable", "none"),
    "408": ("failed", "timeout", "timeout", "none"),
    "429;after=7": ("failed", "rate_limited", "rate_limited", "none"),
    "500": ("failed", "error", "provider_down", "none"),
    "502": ("failed", "error", "provider_down", "none"),
    "503": ("failed", "error", "provider_down", "none"),
    "hang": ("failed", "timeout", "timeout", "estimated"),
    "slow;first=1;n=5": ("complete", "ok", None, "provider"),
    "slow;first=1;n=20;rate=40": ("complete", "ok", None, "provider"),
    "cut;n=40;at=12": ("failed", "truncated", "truncated", "estimated"),
    "cut;at=0": ("failed", "truncated", "truncated", "estimated"),
    "end;n=10": ("failed", "truncated", "truncated", "estimated"),
    "stall;n=20;at=10": ("failed", "timeout", "timeout", "estimated"),
    "garbage;n=20": ("failed", "error", "provider_down", "estimated"),
    "nousage;n=20": ("complete", "ok", None, "estimated"),
    "md": ("complete", "ok", None, "provider"),
    "reasoning": ("complete", "ok", None, "provider"),
    "cached": ("complete", "ok", None, "provider"),
    "overflow": ("failed", "error", "context_too_long", "none"),
    "refused": ("failed", "error", "refused_content", "none"),
    "empty": ("failed", "error", "provider_down", "provider"),
    "length": ("complete", "ok", None, "provider"),
    "tools": ("complete", "ok", None, "provider"),
    "bigchunk": ("complete", "ok", None, "provider"),
    "notjson": ("failed", "error", "provider_down", "estimated"),
    "usagecum;n=10": ("complete", "ok", None, "provider"),
    "control": ("complete", "ok", None, "provider"),
    "comments;n=10": ("complete", "ok", None, "provider"),
    "crlf;n=10": ("complete", "ok", None, "provider"),
    "dribble;n=30": ("complete", "ok", None, "provider"),
    "blocks": ("complete", "ok", None, "provider"),
}


def test_every_behaviour_is_expected() -> None:
    assert set(EXPECTED) == set(BEHAVIOURS)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_outcome(chat: Chat, behaviour: str) -> None:
    marker = secrets.token_hex(8)
    asked = chat.ask(behaviour, f"hello {marker}")
    seen = chat.words(asked)
    reply, row, call = chat.reply(asked), chat.ledger(asked.turn_id), chat.call(marker)
    status, outcome, error, source = EXPECTED[behaviour]

    assert (reply.status, row.outcome, row.error_type, row.usage_source) == (status, outcome, error, source)
    assert reply.content == seen
    assert row.latency_ms is not None
    assert (row.ttft_ms is None) == (not seen and not any(part["type"] != "error" for part in reply.parts))
    if source == "provider":
        assert call.usage is not None
        assert (row.prompt_tokens, row.completion_tokens) == (
            call.usage["prompt_tokens"],
            call.usage["completion_tokens"],
        )
    expected_cost = row.prompt_tokens * PROMPT_PRICE * 1e9 + row.completion_tokens * COMPLETION_PRICE * 1e9
    assert row.cost_nano_usd == round(expected_cost)
    assert reply.cost_nano_usd == row.cost_nano_usd


@pytest.mark.parametrize("behaviour", [name for name, expected in EXPECTED.items() if expected[0] == "failed"])
def test_a_failure_is_a_sentence_without_the_key(chat: Chat, behaviour: str) -> None:
    reply = chat.answer(behaviour)
    [error] = [part for part in reply.parts if part["type"] == "error"]
    assert error["message"].endswith(".")
    assert KEY not in str(reply)
    assert KEY[-8:] not in str(reply)


def test_rate_limit_says_for_how_long(chat: Chat) -> None:
    [error] = chat.answer("429;after=7").parts
    assert "7 seconds" in error["message"]
    assert error["retry_after"] == 7


def test_words_before_a_cut_are_kept(chat: Chat) -> None:
    reply = chat.answer("cut;n=40;at=12")
    assert [f"[{k}]" in reply.content for k in range(13)] == [True] * 12 + [False]


def test_reasoning_is_a_part_and_is_counted(chat: Chat) -> None:
    asked = chat.ask("reasoning")
    chat.words(asked)
    parts = {part["type"]: part for part in chat.reply(asked).parts}
    assert parts["reasoning"]["text"]
    assert parts["text"]["text"] == chat.reply(asked).content
    assert chat.ledger(asked.turn_id).reasoning_tokens > 0


def test_blocks_in_the_text_are_parts_and_the_text_keeps_them(chat: Chat) -> None:
    reply = chat.answer("blocks")
    assert reply.content == BLOCKS
    assert [part["type"] for part in reply.parts] == ["text", "chart", "text", "table", "component", "text"]
    _, chart, _, table, component, rest = reply.parts
    assert chart["series"] == [{"name": "Visits", "values": [3, None]}]
    assert table["rows"] == [["Mon", 3], ["Tue", None]]
    assert component["props"] == {"label": "Visits", "value": 3, "delta": None}
    assert "NaN" in rest["text"]
    assert "an ordinary block" in rest["text"]
    assert "never closed" in rest["text"]


def test_a_reply_of_nothing_but_text_has_no_parts(chat: Chat) -> None:
    assert chat.answer("md").parts == ()


def test_cached_tokens_are_kept(chat: Chat) -> None:
    asked = chat.ask("cached", "one two three four five six")
    chat.words(asked)
    assert chat.ledger(asked.turn_id).cached_tokens > 0


def test_tool_calls_are_put_together(chat: Chat) -> None:
    parts = chat.answer("tools").parts
    assert [part["type"] for part in parts]
    assert all(part["type"] == "tool_call" and part["name"] and part["arguments"].startswith("{") for part in parts)


def test_control_characters_and_surrogates_are_cleaned(chat: Chat) -> None:
    content = chat.answer("control").content
    assert "\x00" not in content
    content.encode("utf-8")
    assert "<script" in content  # stays text: the page never draws it as markup


def test_an_unpriced_model_has_no_cost(chat: Chat) -> None:
    asked = chat.ask("unpriced")
    chat.words(asked)
    row = chat.ledger(asked.turn_id)
    assert (row.cost_nano_usd, row.price_source, row.usage_source) == (None, "none", "provider")
