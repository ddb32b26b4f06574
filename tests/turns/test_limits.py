"""Rate limits in turns: what is refused is told how long, stored nowhere, called nowhere, and counted."""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from sqlalchemy import func, select

from chatcore.bootstrap import Core
from chatcore.db.tables import Conversation, LimitHit, Message, UsageMetric
from chatcore.errors import LimitExceeded
from chatcore.flags import LimitRule
from chatcore.turns import TurnSettings
from tests.chat import Chat, running_core
from tests.conftest import add_person
from tests.hostile import HostileProvider

GOOD, OTHER, THIRD = "ok;n=20", "ok;n=5", "ok;n=6"
FREE: Final = LimitRule("tier", "free", "requests", "day", 10)
DAY: Final = 86_400


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    folder = tmp_path_factory.mktemp("limits")
    with running_core(folder, provider, [GOOD, OTHER, THIRD], first_word=20, rate_limits=True) as core:
        yield core


@pytest.fixture
def ada(core: Core, provider: HostileProvider) -> Chat:
    """A new person of the free tier, in a tenant of their own."""
    mark = secrets.token_hex(4)
    return Chat(core, provider, f"ada-{mark}", tenant=mark)


@contextmanager
def rules(core: Core, *limits: LimitRule, **more: Any) -> Iterator[None]:
    operator = add_person(core.db, f"operator-{secrets.token_hex(4)}", role="operator")
    core.flags.set(operator, limits=list(limits), **more)
    yield
    core.flags.set(operator, limits=None, **dict.fromkeys(more))


def refusal(ask: Callable[[], object]) -> LimitExceeded:
    with pytest.raises(LimitExceeded) as caught:
        ask()
    return caught.value


def hits(chat: Chat) -> dict[tuple[str, str, str], int]:
    """What was counted for a person: by tier, kind and model."""
    statement = select(LimitHit.tier, LimitHit.kind, LimitHit.model, func.sum(LimitHit.hits))
    statement = statement.where(LimitHit.user_id == chat.who.user_id)
    rows = chat.core.db.read(
        lambda session: session.execute(statement.group_by(LimitHit.tier, LimitHit.kind, LimitHit.model)).all()
    )
    return {(tier, kind, model): int(count) for tier, kind, model, count in rows}


def stored(chat: Chat) -> tuple[int, ...]:
    """Conversations, messages and ledger rows of a person."""
    tables: tuple[Any, ...] = (Conversation, Message, UsageMetric)
    counts = [select(func.count()).select_from(table).where(table.user_id == chat.who.user_id) for table in tables]
    return chat.core.db.read(lambda session: tuple(session.scalar(one) or 0 for one in counts))


def test_of_ten_requests_the_eleventh_is_refused_with_its_seconds(ada: Chat, provider: HostileProvider) -> None:
    with rules(ada.core, FREE):
        assert {ada.answer(GOOD, f"question {number}").status for number in range(10)} == {"complete"}
        before, calls = stored(ada), len(provider.log)
        error = refusal(lambda: ada.ask(GOOD, "one too many"))
    assert DAY - 60 < error.retry_after <= DAY
    assert str(error) == (
        f"You have used your 10 requests for today. Try again in {error.retry_after} seconds (about 24 hours)."
    )
    assert hits(ada) == {("free", "requests", GOOD): 1}
    assert stored(ada) == before == (10, 20, 10)
    assert len(provider.log) == calls


def test_every_refusal_is_counted(ada: Chat) -> None:
    with rules(ada.core, LimitRule("tier", "free", "requests", "day", 0)):
        for _ in range(3):
            refusal(lambda: ada.ask(GOOD))
        refusal(lambda: ada.ask(OTHER))
    assert hits(ada) == {("free", "requests", GOOD): 3, ("free", "requests", OTHER): 1}


def test_another_person_has_ten_of_their_own(ada: Chat, provider: HostileProvider) -> None:
    bob = Chat(ada.core, provider, f"bob-{secrets.token_hex(4)}", tenant=ada.who.username.removeprefix("ada-"))
    with rules(ada.core, LimitRule("tier", "free", "requests", "day", 1)):
        ada.answer(GOOD)
        refusal(lambda: ada.ask(GOOD))
        assert bob.answer(GOOD).status == "complete"


def test_comparing_counts_each_model_and_takes_all_or_none(ada: Chat) -> None:
    models = [GOOD, OTHER, THIRD]
    with rules(ada.core, LimitRule("tier", "free", "requests", "day", 5)):
        for asked in ada.core.turns.compare(ada.who, None, "which?", models=models):
            ada.words(asked)
        before = stored(ada)
        error = refusal(lambda: ada.core.turns.compare(ada.who, None, "again?", models=models))
        assert "fewer than 3 of your 5 requests" in str(error)
        assert stored(ada) == before
        assert [ada.answer(GOOD).status for _ in range(2)] == ["complete"] * 2, "two are left, not counted in vain"
        refusal(lambda: ada.ask(GOOD))


def test_asking_again_going_on_and_editing_count(ada: Chat) -> None:
    turns = ada.core.turns
    with rules(ada.core, LimitRule("tier", "free", "requests", "day", 1)):
        reply = ada.answer(GOOD)
        refusal(lambda: turns.retry(ada.who, reply.id, model=GOOD))
        refusal(lambda: turns.resume(ada.who, reply.id, model=GOOD))
        refusal(lambda: turns.edit(ada.who, str(reply.parent_id), "else?", model=GOOD))
    assert hits(ada) == {("free", "requests", GOOD): 3}


def test_a_question_that_waits_counts_when_it_is_asked(ada: Chat) -> None:
    with rules(ada.core, LimitRule("tier", "free", "requests", "day", 2)):
        first = ada.ask(GOOD)
        second = ada.ask(GOOD, "and then?", first.conversation_id)
        refusal(lambda: ada.ask(GOOD, "and then?", first.conversation_id))
        ada.words(first)
    assert second.conversation_id == first.conversation_id


def test_a_summary_counts(ada: Chat) -> None:
    with rules(ada.core, LimitRule("tier", "free", "requests", "day", 2)):
        asked = ada.ask(GOOD)
        ada.words(asked)
        ada.core.turns.summarise(ada.who, asked.conversation_id, model=GOOD)
        refusal(lambda: ada.core.turns.summarise(ada.who, asked.conversation_id, model=GOOD))
    assert stored(ada) == (1, 2, 2)


def test_the_tokens_that_were_used_stop_the_next_request(ada: Chat) -> None:
    with rules(ada.core, LimitRule("tier", "free", "tokens", "hour", 40)):
        used = [ada.ask(GOOD, f"question {number}") for number in range(2)]
        for asked in used:
            ada.words(asked)
        error = refusal(lambda: ada.ask(GOOD))
    assert re.fullmatch(r"You have used your 40 tokens for this hour\. Try again in \d+ seconds.*\.", str(error))
    assert 3500 < error.retry_after <= 3600
    assert hits(ada) == {("free", "tokens", GOOD): 1}


def test_a_reply_from_the_cache_uses_no_tokens(ada: Chat) -> None:
    with rules(ada.core, LimitRule("tier", "free", "tokens", "hour", 40)):
        replies = [ada.answer(GOOD, "the same", settings=TurnSettings(temperature=0.0)) for _ in range(4)]
    assert ["cached" in reply.meta for reply in replies] == [False, True, True, True]


def test_a_models_limit_is_the_teams_and_another_model_is_free(ada: Chat) -> None:
    with rules(ada.core, LimitRule("model", GOOD, "requests", "hour", 1)):
        ada.answer(GOOD)
        error = refusal(lambda: ada.ask(GOOD))
        assert f"1 request to {GOOD}" in str(error)
        assert ada.answer(OTHER).status == "complete"


def test_what_is_left_is_told(ada: Chat) -> None:
    with rules(ada.core, FREE):
        ada.answer(GOOD)
        ada.answer(GOOD)
        (state,) = ada.core.limits.states(ada.who)
    assert (state.used, state.left) == (2, 8)


def test_with_the_flag_off_nothing_is_refused(ada: Chat) -> None:
    with rules(ada.core, LimitRule("tier", "free", "requests", "day", 0), rate_limits=False):
        assert ada.answer(GOOD).status == "complete"
    assert hits(ada) == {}


def test_without_a_word_of_an_operator_the_free_tier_has_a_hundred_a_day(ada: Chat) -> None:
    (state,) = ada.core.limits.states(ada.who)
    assert (state.rule.amount, state.rule.per, state.rule.of) == (100, "day", "requests")
