"""What a provider reported, told apart from what litellm makes up, in the forms that providers' bodies have."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from chatcore.gateway import reported
from chatcore.gateway.protocol import MAX_TOKENS, Usage


def count(prompt: Any, completion: Any, cached: int | None = None, written: int | None = None) -> SimpleNamespace:
    """A usage object as litellm makes it."""
    details = SimpleNamespace(cached_tokens=cached, cache_creation_tokens=written)
    return SimpleNamespace(prompt_tokens=prompt, completion_tokens=completion, prompt_tokens_details=details)


def test_running_totals_are_not_added() -> None:
    assert reported.usage([count(9, 1), count(9, 2), count(9, 3)]) == Usage(source="provider", prompt=9, completion=3)


def test_a_later_total_without_the_prompt_does_not_forget_it() -> None:
    found = reported.usage([count(900, 1, cached=800, written=50), count(0, 30)])
    assert found == Usage(source="provider", prompt=900, cached=800, cache_write=50, completion=30)


@pytest.mark.parametrize("found", [[], [count(0, 0)], [count(0, 0, cached=7)]])
def test_a_count_of_nothing_is_none(found: list[Any]) -> None:
    assert reported.usage(found) is None


@pytest.mark.parametrize(
    "wrong",
    [
        count(MAX_TOKENS + 1, 1),
        count(1, 10**30),
        count(1e30, 1),
        count(-1, 5),
        count(5, -1),
        count(10, 5, cached=-3),
        count(10, 5, cached=11),
        count(10, 5, cached=6, written=5),
        count(1.5, 1),
        count(float("nan"), 1),
        count(float("inf"), 1),
        count("7", 1),
        count(True, 1),
        count(10, [5]),
        SimpleNamespace(
            prompt_tokens=9, completion_tokens=5, completion_tokens_details=SimpleNamespace(reasoning_tokens=6)
        ),
    ],
    ids=str,
)
def test_a_count_that_cannot_be_right_is_no_count(wrong: Any) -> None:
    assert reported.usage([wrong]) is None
    assert reported.usage([count(900, 30), wrong]) is None, "nor is what came before it believed"
    assert reported.whole_usage(SimpleNamespace(usage=wrong), {"usage": {"prompt_tokens": 1}}) is None


def test_the_greatest_count_and_a_whole_number_written_with_a_point_are_believed() -> None:
    assert reported.usage([count(MAX_TOKENS, 5.0, cached=MAX_TOKENS)]) == Usage(
        source="provider", prompt=MAX_TOKENS, cached=MAX_TOKENS, completion=5
    )


def test_an_object_without_counts_is_none() -> None:
    assert reported.usage([SimpleNamespace()]) is None


@pytest.mark.parametrize("number", [-1, MAX_TOKENS + 1])
@pytest.mark.parametrize("name", ["prompt", "cached", "cache_write", "completion", "reasoning"])
def test_what_no_column_holds_is_no_usage(name: str, number: int) -> None:
    with pytest.raises(ValidationError):
        Usage.model_validate({"source": "provider", name: number})


BODIES: dict[str, tuple[dict[str, Any], bool, bool]] = {  # body: does it hold a count, is it finished
    "OpenAI": ({"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}, True, True),
    "OpenAI, no usage": ({"choices": [{"finish_reason": "length"}], "usage": None}, False, True),
    "OpenAI, no finish": ({"choices": [{"finish_reason": None}], "usage": {"prompt_tokens": 1}}, True, False),
    "OpenAI, finish left out": ({"choices": [{"message": {}}]}, False, False),
    "OpenRouter, broken off": ({"choices": [{"finish_reason": "error"}]}, False, False),
    "an unknown reason": ({"choices": [{"finish_reason": "banana"}]}, False, True),
    "Anthropic": ({"content": [], "stop_reason": "end_turn", "usage": {"input_tokens": 1}}, True, True),
    "Anthropic, no finish": ({"content": [], "stop_reason": None, "usage": {"input_tokens": 1}}, True, False),
    "Gemini": ({"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"totalTokenCount": 1}}, True, True),
    "Gemini, no finish": ({"candidates": [{"content": {}}]}, False, False),
    "Ollama": ({"done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4}, True, True),
    "Ollama, prompt not counted": ({"done": True, "done_reason": "stop", "eval_count": 4}, False, True),
    "Bedrock": ({"output": {}, "stopReason": "end_turn", "usage": {"inputTokens": 1}}, True, True),
    "a form of its own": ({"generated_text": "hello"}, False, True),
    "choices that make no sense": ({"choices": [None]}, False, False),
}


@pytest.mark.parametrize("name", BODIES)
def test_what_a_body_holds(name: str) -> None:
    body, has_count, finished = BODIES[name]
    parsed = reported.raw(json.dumps(body))
    assert (reported.whole_usage(SimpleNamespace(usage=count(3, 4)), parsed) is not None) == has_count
    assert reported.finished(parsed) == finished


@pytest.mark.parametrize("original", [None, "", "<html>", "[]", "null", '"text"', b"{}"])
def test_a_body_that_is_no_object_is_none(original: object) -> None:
    assert reported.raw(original) is None


def test_without_a_body_a_count_is_not_believed() -> None:
    assert reported.whole_usage(SimpleNamespace(usage=count(3, 4)), None) is None
    assert reported.whole_usage(SimpleNamespace(), {"usage": {"prompt_tokens": 1}}) is None


def test_an_answer_that_says_what_is_wrong_is_no_nonsense() -> None:
    assert reported.is_nonsense(KeyError("choices"), {"hello": "world"})
    assert not reported.is_nonsense(RuntimeError("down"), {"error": {"message": "down"}})
    assert not reported.is_nonsense(RuntimeError("Connection error."), None)
