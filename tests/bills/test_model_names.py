"""The names of one model, and those of different ones."""

import pytest

from chatcore.bills.model_names import key, keys_of_groups


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("openai/gpt-5-2025-08-07", "GPT-5"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4-0613", "gpt-4"),
        ("claude-opus-4-5-20251101", "Claude Opus 4.5"),
        ("anthropic/claude-3-5-haiku-latest", "Claude Haiku 3.5"),
        ("Claude 3.5 Sonnet 2024-10-22", "claude-3-5-sonnet-20241022"),
        ("vertex_ai/claude-sonnet-4@20250514", "claude-sonnet-4"),
        ("openrouter/openai/gpt-oss-120b:free", "openai/gpt-oss-120b:free"),
        ("openai/gpt-4.1-2025-04-14", "gpt-4.1"),
    ],
)
def test_names_of_one_model_meet(one: str, other: str) -> None:
    assert key(one) == key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("gpt-5", "gpt-5-mini"), ("gpt-oss-120b", "gpt-oss-120b:free"), ("claude-opus-4-5", "claude-opus-5-4"),
     ("o1", "o3"), ("gpt-4", "gpt-4o"), ("claude-sonnet-4", "claude-opus-4")],
)  # fmt: skip
def test_names_of_different_models_do_not(one: str, other: str) -> None:
    assert key(one) != key(other)


def test_a_name_that_is_only_a_date_stays() -> None:
    assert key("20260302")
    assert key("") == ""


def test_the_provider_s_name_counts_before_the_registry_s_own() -> None:
    groups = [("fast", "openai/gpt-5-mini"), ("gpt-5", "openai/gpt-5-mini"), ("team", "proxy/whatever"), ("old", "")]
    found = keys_of_groups(["gpt-5-mini-2025-08-07", "gpt-5", "team"], groups)
    assert found["fast", "openai/gpt-5-mini"] == "gpt-5-mini"
    assert found["gpt-5", "openai/gpt-5-mini"] == "gpt-5-mini"
    assert found["team", "proxy/whatever"] == "team"
    assert found["old", ""] == "old"
