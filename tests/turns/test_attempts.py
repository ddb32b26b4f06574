"""A turn as a list of attempts: what is tried after what, what stays, and what the ledger holds of each call."""

import re
import secrets
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from chatcore.accounts import Principal
from chatcore.bootstrap import Core
from chatcore.conversations import Message
from chatcore.db.tables import UsageMetric, utcnow
from chatcore.errors import DatabaseError
from tests.chat import Chat, running_core, until
from tests.conftest import add_person
from tests.hostile import HostileProvider

GOOD = "ok;n=20;tag=good"
MODELS = [
    "500", "503", "401", "404", "429;after=1", "429;after=60", "hang", "slow;first=2.5;n=5", "cut;n=40;at=12",
    "stall;n=20;at=10", "overflow", "refused", "flaky;fails=1", "flaky;fails=2", "tools", "ok;n=20", GOOD,
    "ok;n=40;rate=20", "hang;tag=a", "hang;tag=b",
    "hang;tag=c", "500;tag=c", "401;first=1", "500;tag=d",
]  # fmt: skip
BEHIND = ("500", "401", "hang", "slow;first=2.5;n=5", "cut;n=40;at=12", "429;after=60", "stall;n=20;at=10")
ROUTER = {
    "fallbacks": [{name: [GOOD]} for name in BEHIND]
    + [{"503": ["500"]}, {"hang;tag=a": ["hang;tag=b"]}]
    + [{"hang;tag=c": ["500;tag=c", GOOD]}, {"401;first=1": ["500;tag=d"]}],
    "context_window_fallbacks": [{"overflow": [GOOD]}],
    "content_policy_fallbacks": [{"refused": [GOOD]}],
}


@pytest.fixture(scope="module")
def attempts_core(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    folder = tmp_path_factory.mktemp("attempts")
    with running_core(folder, provider, MODELS, router=ROUTER, slow_after=0.7) as core:
        yield core


@pytest.fixture
def chat(attempts_core: Core, provider: HostileProvider) -> Chat:
    return Chat(attempts_core, provider, f"person-{secrets.token_hex(4)}")


def answered(chat: Chat, model: str, **more: Any) -> tuple[Message, list[UsageMetric]]:
    asked = chat.ask(model, f"hello {secrets.token_hex(8)}", **more)
    chat.words(asked)
    return chat.reply(asked), chat.ledger_rows(asked.turn_id)


def outline(rows: list[UsageMetric]) -> list[tuple[int, str, str]]:
    return [(row.attempt, row.model, row.outcome) for row in rows]


def numbers(text: str) -> list[int]:
    return [int(found) for found in re.findall(r"\[(\d+)\]", text)]


def test_what_may_pass_is_tried_again_on_the_same_model(chat: Chat) -> None:
    reply, rows = answered(chat, "flaky;fails=2")
    assert reply.status == "complete"
    assert [row.outcome for row in rows] == ["error", "error", "ok"]
    assert [row.attempt for row in rows] == [1, 2, 3]
    assert reply.cost_nano_usd == sum(row.cost_nano_usd or 0 for row in rows)


def test_after_its_tries_comes_the_fallback_and_the_reader_waits_less_than_five_seconds(chat: Chat) -> None:
    started = time.monotonic()
    reply, rows = answered(chat, "500")
    assert time.monotonic() - started < 5
    assert outline(rows) == [(1, "500", "error"), (2, "500", "error"), (3, "500", "error"), (4, GOOD, "ok")]
    assert (reply.status, reply.model) == ("complete", GOOD)
    assert numbers(reply.content) == list(range(20))
    assert [one["model"] for one in reply.meta["attempts"]] == ["500"] * 3
    assert not any(part["type"] == "error" for part in reply.parts)


def test_a_refused_key_is_not_tried_twice(chat: Chat) -> None:
    _, rows = answered(chat, "401")
    assert outline(rows) == [(1, "401", "error"), (2, GOOD, "ok")]


def test_what_has_no_fallback_fails_with_its_own_sentence(chat: Chat) -> None:
    reply, rows = answered(chat, "404")
    assert outline(rows) == [(1, "404", "error")]
    [error] = reply.parts
    assert error["code"] == "model_unavailable"


def test_when_the_fallback_is_dead_too_the_reader_is_told_of_both(chat: Chat) -> None:
    reply, rows = answered(chat, "503")
    assert [row.model for row in rows] == ["503"] * 3 + ["500"] * 2
    [error] = reply.parts
    assert reply.status == "failed"
    assert error["message"].endswith("Another model failed before it.")
    assert reply.model == "500"


def test_a_short_retry_after_is_obeyed_and_a_long_one_told(chat: Chat) -> None:
    started = time.monotonic()
    reply, rows = answered(chat, "429;after=1")
    assert [row.outcome for row in rows] == ["rate_limited"] * 3
    assert time.monotonic() - started >= 2
    [error] = reply.parts
    assert error["retry_after"] == 1
    started = time.monotonic()
    _, rows = answered(chat, "429;after=60")
    assert outline(rows) == [(1, "429;after=60", "rate_limited"), (2, GOOD, "ok")]
    assert time.monotonic() - started < 5


def test_beside_one_that_is_silent_another_is_asked_and_the_first_word_wins(chat: Chat) -> None:
    started = time.monotonic()
    reply, rows = answered(chat, "hang")
    assert time.monotonic() - started < 2  # the silent one's own time limit is 2 seconds
    assert reply.model == GOOD
    assert outline(rows) == [(1, "hang", "stopped"), (2, GOOD, "ok")]
    assert rows[0].usage_source == "estimated"


def test_where_the_one_beside_fails_the_next_is_asked(chat: Chat) -> None:
    started = time.monotonic()
    reply, rows = answered(chat, "hang;tag=c")
    assert time.monotonic() - started < 5
    assert reply.model == GOOD
    assert [row.model for row in rows if row.model != "500;tag=c"] == ["hang;tag=c", GOOD]


def test_what_fails_beside_another_is_not_tried_again_where_there_is_no_sense_in_it(chat: Chat) -> None:
    _, rows = answered(chat, "401;first=1")
    assert [row.model for row in rows].count("401;first=1") == 1
    assert [row.model for row in rows].count("500;tag=d") == 2


def test_stop_counts_for_no_breaker(chat: Chat, provider: HostileProvider) -> None:
    marker = secrets.token_hex(8)
    asked = chat.ask("hang;tag=a", f"hello {marker}")
    provider.wait_until(lambda log: sum(marker in str(call.messages) for call in log) == 2)
    chat.core.turns.stop(chat.who, str(asked.turn_id))
    chat.words(asked)
    for model in ("hang;tag=a", "hang;tag=b"):
        assert chat.core.gateway.breakers.health(f"{model}#1@shared").failed == 0


def test_a_database_that_fails_beside_a_reply_costs_it_nothing(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row of the call that was beaten cannot be settled at once: it is with the end, and the reply stands."""
    honest, failing = chat.core.db.awrite, iter([True])

    async def awrite(work: Any) -> Any:
        if "settle" in getattr(work, "__qualname__", "") and next(failing, False):
            raise DatabaseError("away")
        return await honest(work)

    monkeypatch.setattr(chat.core.db, "awrite", awrite)
    reply, rows = answered(chat, "hang")
    assert next(failing, "used") == "used"
    assert (reply.status, reply.model) == ("complete", GOOD)
    assert outline(rows) == [(1, "hang", "stopped"), (2, GOOD, "ok")]
    assert rows[1].usage_source == "provider"


def test_what_is_said_in_mid_reply_stays_and_the_next_model_goes_on_below(
    chat: Chat, provider: HostileProvider
) -> None:
    reply, rows = answered(chat, "cut;n=40;at=12")
    assert outline(rows) == [(1, "cut;n=40;at=12", "truncated"), (2, GOOD, "ok")]
    assert numbers(reply.content) == [*range(12), *range(20)]
    assert (reply.status, reply.model) == ("complete", GOOD)
    assert reply.meta["attempts"][0]["said"] is True
    sent = provider.log[-1].messages
    assert [message["role"] for message in sent][-2:] == ["assistant", "user"]
    assert numbers(sent[-2]["content"]) == list(range(12))
    assert reply.cost_nano_usd == sum(row.cost_nano_usd or 0 for row in rows)


def test_too_long_and_refused_have_fallbacks_of_their_own(chat: Chat) -> None:
    for model, code in (("overflow", "context_too_long"), ("refused", "refused_content")):
        reply, rows = answered(chat, model)
        assert outline(rows) == [(1, model, "error"), (2, GOOD, "ok")]
        assert rows[0].error_type == code
        assert reply.status == "complete"


def test_stop_in_the_pause_before_a_second_try_ends_the_turn(chat: Chat) -> None:
    asked = chat.ask("429;after=1")
    until(lambda: any(row.outcome == "rate_limited" for row in chat.ledger_rows(asked.turn_id)) or _calls(chat) > 0)
    started = time.monotonic()
    chat.core.turns.stop(chat.who, str(asked.turn_id))
    chat.words(asked)
    assert time.monotonic() - started < 0.9
    assert (chat.reply(asked).status, chat.reply(asked).parts) == ("stopped", ())
    assert all(row.outcome != "running" for row in chat.ledger_rows(asked.turn_id))


def _calls(chat: Chat) -> int:
    return sum(call.ended is not None for call in chat.provider.log if call.behaviour == "429")


def test_stop_ends_both_of_two_that_run_side_by_side(chat: Chat, provider: HostileProvider) -> None:
    marker = secrets.token_hex(8)
    asked = chat.ask("hang;tag=a", f"hello {marker}")
    provider.wait_until(lambda log: sum(marker in str(call.messages) for call in log) == 2)
    chat.core.turns.stop(chat.who, str(asked.turn_id))
    chat.words(asked)
    assert outline(chat.ledger_rows(asked.turn_id)) == [(1, "hang;tag=a", "stopped"), (2, "hang;tag=b", "stopped")]
    assert chat.turn(asked.turn_id).status == "stopped"
    provider.wait_until(lambda log: all(call.ended for call in log if marker in str(call.messages)))


def test_the_gateway_switched_off_makes_one_direct_call(chat: Chat) -> None:
    chat.core.flags.set(_operator(chat), gateway=False)
    try:
        reply, rows = answered(chat, "500")
    finally:
        chat.core.flags.set(_operator(chat), gateway=None)
    assert outline(rows) == [(1, "500", "error")]
    assert reply.status == "failed"


def test_failover_switched_off_tries_the_same_model_only(chat: Chat) -> None:
    chat.core.flags.set(_operator(chat), failover=False)
    try:
        _, rows = answered(chat, "500")
    finally:
        chat.core.flags.set(_operator(chat), failover=None)
    assert [row.model for row in rows] == ["500"] * 3


def test_streaming_switched_off_gives_whole_replies(chat: Chat, provider: HostileProvider) -> None:
    chat.core.flags.set(_operator(chat), streaming=False)
    try:
        reply, rows = answered(chat, "ok;n=20")
    finally:
        chat.core.flags.set(_operator(chat), streaming=None)
    assert numbers(reply.content) == list(range(20))
    assert not provider.log[-1].params.get("stream")
    assert rows[0].usage_source == "provider"


def test_an_open_breaker_without_a_fallback_answers_at_once_and_has_no_row(chat: Chat) -> None:
    breaker = "ok;n=20#1@shared"
    chat.core.gateway.breakers.say(breaker, "open")
    try:
        reply, rows = answered(chat, "ok;n=20")
    finally:
        chat.core.gateway.breakers.say(breaker, None)
    assert rows == []
    [error] = reply.parts
    assert (reply.status, error["code"]) == ("failed", "breaker_open")
    assert "switched off by an operator" in error["message"]
    hits = chat.core.limits.refusals(_operator(chat), utcnow() - timedelta(minutes=2))
    assert any(hit.kind == "breaker" for hit in hits)


def _operator(chat: Chat) -> Principal:
    return add_person(chat.core.db, f"operator-{secrets.token_hex(4)}", role="operator")


CUT, CUT_TOO = "cut;n=40;at=12", "cut;n=40;at=5"


@pytest.fixture(scope="module")
def restarting(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Chat]:
    """A person at a Core where another model begins a new reply instead of going on."""
    router = {"fallbacks": [{CUT: [GOOD]}, {CUT_TOO: [CUT_TOO + ";tag=two"]}, {CUT_TOO + ";tag=two": [CUT_TOO]}]}
    models = [CUT, CUT_TOO, CUT_TOO + ";tag=two", GOOD]
    with running_core(tmp_path_factory.mktemp("restart"), provider, models, router=router, mid_reply="restart") as core:
        yield Chat(core, provider, "restarting")


def test_a_new_reply_is_begun_beside_the_one_that_broke_off(restarting: Chat) -> None:
    chat = restarting
    asked = chat.ask(CUT)
    chat.words(asked)
    until(lambda: not chat.core.turns.active(chat.who, asked.conversation_id))
    _, window = chat.core.conversations.window(chat.who, asked.conversation_id, 10)
    shown = window.messages[-1]
    assert (shown.model, shown.status, numbers(shown.content)) == (GOOD, "complete", list(range(20)))
    old = next(one for one in window.siblings[shown.id] if one != shown.id)
    assert old == asked.message_id
    [first] = chat.core.conversations.replies(chat.who, asked.conversation_id, [old])
    assert (first.status, numbers(first.content)) == ("failed", list(range(12)))
    assert outline(chat.ledger_rows(asked.turn_id)) == [(1, CUT, "truncated")]


def test_two_models_that_break_off_do_not_take_turns_for_ever(restarting: Chat) -> None:
    chat = restarting
    asked = chat.ask(CUT_TOO)
    chat.words(asked)
    until(lambda: not chat.core.turns.active(chat.who, asked.conversation_id))
    _, window = chat.core.conversations.window(chat.who, asked.conversation_id, 10)
    assert len(window.siblings[window.messages[-1].id]) == 2
    assert window.messages[-1].status == "failed"
