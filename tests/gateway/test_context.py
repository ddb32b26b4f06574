"""Fitting a conversation into a window, and estimating what a call used."""

import asyncio
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatcore.config import load_settings, worker_environment
from chatcore.errors import ChatcoreError
from chatcore.gateway.demo import count_tokens

# What the worker sets before it imports litellm, which takes two seconds: once for all tests here.
for _name in ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "LITELLM_MODE", "HF_HUB_OFFLINE"):
    os.environ.setdefault(_name, worker_environment(load_settings({"CHATCORE_SECRET_KEY": "x"}))[_name])

from chatcore.gateway import context  # noqa: E402

DEMO = "chatcore-demo/quick"
Messages = list[dict[str, Any]]


def fit(messages: Messages, window: int | None, max_tokens: int | None = None) -> tuple[Messages, int]:
    return asyncio.run(context.fit(messages, DEMO, window, max_tokens))


def tokens(messages: Messages) -> int:
    return sum(4 + count_tokens(message["content"]) for message in messages)


def dialogue(turns: int, words: int = 50, system: bool = True) -> Messages:
    messages: Messages = [{"role": "system", "content": "Be brief."}] if system else []
    for number in range(turns):
        messages.append({"role": "user", "content": f"question {number} " + "word " * words})
        messages.append({"role": "assistant", "content": f"answer {number} " + "word " * words})
    return [*messages, {"role": "user", "content": "the last question"}]


@st.composite
def conversations(draw: st.DrawFn) -> Messages:
    words = st.integers(0, 120).map(lambda count: "word " * count)
    said = draw(st.lists(st.tuples(words, st.lists(words, max_size=2)), max_size=8))
    messages: Messages = [{"role": "system", "content": draw(words)}] if draw(st.booleans()) else []
    for question, answers in said:
        messages.append({"role": "user", "content": question})
        messages.extend({"role": "assistant", "content": answer} for answer in answers)
    return [*messages, {"role": "user", "content": draw(words)}]


@settings(max_examples=60, deadline=None)
@given(conversations(), st.integers(20, 1500), st.one_of(st.none(), st.integers(1, 2000)))
def test_whatever_the_window_the_rules_hold(messages: Messages, window: int, max_tokens: int | None) -> None:
    kept, dropped = fit(messages, window, max_tokens)
    system = [message for message in messages if message["role"] == "system"]
    turns = [message for message in messages if message["role"] != "system"]
    assert kept == system + turns[dropped:], "the oldest go, the rest stays as it was"
    assert kept[len(system)]["role"] == "user"
    assert kept[-1] is messages[-1], "never the last question"
    budget = window - min(max_tokens or 4096, window // 2)
    assert tokens(kept) <= budget or kept == [*system, messages[-1]], "what remains fits, or cannot be made smaller"
    if dropped:
        earlier = next(start for start in range(dropped - 1, -1, -1) if turns[start]["role"] == "user")
        assert tokens(system + turns[earlier:]) > budget, "no turn goes that would have fitted"


def test_what_fits_is_sent_as_it_is() -> None:
    messages = dialogue(3)
    assert fit(messages, 100_000) == (messages, 0)


def test_a_model_without_a_known_window_gets_everything() -> None:
    messages = dialogue(3)
    assert fit(messages, None) == (messages, 0)


def test_the_oldest_turns_go_and_are_counted() -> None:
    messages = dialogue(10)
    kept, dropped = fit(messages, 1000)
    assert kept[0]["role"] == "system"
    assert dropped == len(messages) - len(kept)
    assert 0 < dropped < 20
    assert dropped % 2 == 0, "a question goes with its answer"


def test_room_is_left_for_the_reply_and_never_more_than_half() -> None:
    messages = dialogue(10)
    assert fit(messages, 2000, 100)[1] < fit(messages, 2000, 900)[1]
    assert fit(messages, 2000, 1_000_000) == fit(messages, 2000, 1000)


def test_a_last_question_that_alone_is_too_long_is_still_sent() -> None:
    messages = [*dialogue(2), {"role": "assistant", "content": "x"}, {"role": "user", "content": "word " * 5000}]
    kept, _ = fit(messages, 100)
    assert kept == [messages[0], messages[-1]]


def test_continuing_keeps_the_question_and_what_was_said() -> None:
    messages = [*dialogue(5), {"role": "assistant", "content": "half a rep"}]
    kept, dropped = fit(messages, 100)
    assert [message["content"] for message in kept] == ["Be brief.", "the last question", "half a rep"]
    assert dropped == 10


def test_what_surely_fits_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(*_: object) -> int:
        raise ChatcoreError("counted")

    monkeypatch.setattr(context, "_tokens", count)
    messages = dialogue(1)
    size = sum(len(message["content"]) + 4 for message in messages)
    assert fit(messages, size + 50, 50) == (messages, 0)
    with pytest.raises(ChatcoreError, match="counted"):
        fit(messages, size + 49, 50)


def test_parts_and_nothing_count_as_their_text() -> None:
    parts = [{"type": "text", "text": "word " * 50}, {"type": "image_url", "image_url": {"url": "data:"}}]
    messages: Messages = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "and?"},
    ]
    assert fit(messages, 60) == ([messages[-1]], 2)


# --- estimating -----------------------------------------------------------------------------------------------------


def test_the_demo_counts_for_itself() -> None:
    messages: Messages = [{"role": "user", "content": "one two three"}]
    used = asyncio.run(context.estimate(DEMO, messages, "four five", "six"))
    assert used.source == "estimated"
    assert used.prompt == 4 + count_tokens("one two three")
    assert used.reasoning == count_tokens("six")
    assert used.completion == count_tokens("four five") + used.reasoning


@pytest.mark.parametrize("target", ["openai/gpt-4o", "openai/made-up", "anthropic/claude-sonnet-4-5", "nobody/knows"])
def test_any_model_is_counted_without_a_network(target: str) -> None:
    used = asyncio.run(context.estimate(target, [{"role": "user", "content": "word " * 100}], "word " * 50, ""))
    assert 90 <= used.prompt <= 220
    assert 45 <= used.completion <= 110
    assert used.reasoning == 0


def test_nothing_said_is_nothing_used() -> None:
    used = asyncio.run(context.estimate("openai/gpt-4o", [], "", ""))
    assert (used.prompt, used.completion, used.reasoning) == (0, 0, 0)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=60))
def test_any_text_can_be_counted(text: str) -> None:
    used = asyncio.run(context.estimate("openai/gpt-4o", [{"role": "user", "content": text}], text, text))
    assert used.prompt - 4 == used.reasoning
    assert used.completion == 2 * used.reasoning


# --- pictures and sound ---------------------------------------------------------------------------------------------

IMAGE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 3_000_000}}


def audio(size: int, format_: str) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": "A" * (size * 4 // 3), "format": format_}}


@pytest.mark.parametrize("target", [DEMO, "openai/gpt-4o"])
@pytest.mark.parametrize(
    ("part", "counted"),
    [(IMAGE, 1000), (audio(320_000, "wav"), 320), (audio(160_000, "mp3"), 320), ({"type": "file"}, 0)],
)
def test_media_count_by_rule_and_never_as_text(
    target: str, part: dict[str, Any], counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = 0
    plain = context._tokens

    def count(target: str, text: str) -> int:
        nonlocal longest
        longest = max(longest, len(text))
        return plain(target, text)

    monkeypatch.setattr(context, "_tokens", count)
    text = {"type": "text", "text": "look"}
    without = asyncio.run(context.estimate(target, [{"role": "user", "content": [text]}], "", ""))
    used = asyncio.run(context.estimate(target, [{"role": "user", "content": [text, part]}], "", ""))
    assert counted <= used.prompt - without.prompt <= counted + 1
    assert longest < 100


def test_a_picture_alone_does_not_push_out_what_fits_beside_it() -> None:
    messages: Messages = [*dialogue(2)[:-1], {"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE]}]
    assert fit(messages, 8000) == (messages, 0)


def test_old_pictures_go_with_their_turn_when_the_window_is_full() -> None:
    seen: Messages = [{"role": "user", "content": [IMAGE]}, {"role": "assistant", "content": "nice"}]
    kept, dropped = fit([*seen, *seen, *seen, {"role": "user", "content": "and?"}], 4000, 100)
    assert dropped == 0
    kept, dropped = fit([*seen, *seen, *seen, {"role": "user", "content": "and?"}], 3000, 100)
    assert dropped == 2
    assert len(kept) == 5
