"""What machines read of turns: counts of questions, calls, tokens, money and time, by model."""

from collections.abc import Callable

import pytest

from chatcore import metrics
from tests.chat import Chat

OK = {"model": "ok;n=20", "provider": "openai"}


def value(name: str, **labels: str) -> float:
    return metrics.registry().get_sample_value(f"chatcore_{name}", labels) or 0.0


def grown(work: Callable[[], object], *names: str, **labels: str) -> list[float]:
    """By how much values grew while something was done."""
    before = [value(name, **labels) for name in names]
    work()
    return [value(name, **labels) - was for name, was in zip(names, before, strict=True)]


def test_a_question_and_its_call_are_counted_once(chat: Chat) -> None:
    assert grown(lambda: chat.answer("ok;n=20"), "turns_started_total", **OK) == [1]
    assert grown(lambda: chat.answer("ok;n=20"), "turns_ended_total", "calls_total", outcome="ok", **OK) == [1, 1]


def test_tokens_and_money_are_those_of_the_ledger(chat: Chat) -> None:
    asked = []
    before = {kind: value("tokens_total", model="ok;n=20", kind=kind) for kind in ("prompt", "completion")}
    spent = grown(lambda: asked.append(chat.answer("ok;n=20")), "cost_usd_total", **OK)
    row = chat.ledger(asked[0].turn_id)
    assert spent == [pytest.approx((row.cost_nano_usd or 0) / 1e9)]
    for kind, tokens in (("prompt", row.prompt_tokens), ("completion", row.completion_tokens)):
        assert value("tokens_total", model="ok;n=20", kind=kind) - before[kind] == tokens > 0


def test_times_are_measured(chat: Chat) -> None:
    names = ("call_first_token_seconds_count", "call_duration_seconds_count")
    assert grown(lambda: chat.answer("ok;n=20"), *names, **OK) == [1, 1]


def test_the_time_from_the_last_word_to_stored_is_measured(chat: Chat) -> None:
    count, seconds = grown(lambda: chat.answer("ok;n=20"), "turn_store_seconds_count", "turn_store_seconds_sum")
    assert count == 1
    assert 0 < seconds < 10


def test_a_call_that_failed_is_counted_with_its_outcome(chat: Chat) -> None:
    names = ("turns_ended_total", "calls_total")
    assert grown(lambda: chat.answer("500"), *names, model="500", provider="openai", outcome="error") == [1, 1]


def test_a_call_without_a_price_is_counted_apart(chat: Chat) -> None:
    assert grown(lambda: chat.answer("unpriced"), "unpriced_calls_total", model="unpriced") == [1]


def test_who_follows_is_counted_for_as_long_as_they_do(chat: Chat) -> None:
    before = value("followers")
    asked = chat.ask("ok;n=40;rate=20")
    assert asked.turn_id is not None
    follower = chat.core.turns.follow(chat.who, asked.turn_id)
    next(follower)
    assert value("followers") == before + 1
    follower.close()  # type: ignore[attr-defined]
    assert value("followers") == before
    chat.words(asked)
    assert value("followers") == before
