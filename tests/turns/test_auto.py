"""Aliases and `auto` in turns: the ledger has the model's real name, the conversation keeps what was chosen, and the
reply says why."""

import secrets
from collections.abc import Iterator
from typing import Any, Final

import pytest

from chatcore.bootstrap import Core
from chatcore.conversations import Message
from chatcore.db.tables import Message as Row
from chatcore.db.tables import UsageMetric
from chatcore.errors import ModelUnavailable
from chatcore.turns import Asked, TurnSettings
from tests.chat import Chat, running_core
from tests.hostile import HostileProvider

FAST, BALANCED, POWERFUL, REASONING = "ok;n=5", "ok;n=10", "ok;n=40", "reasoning;n=20"
DEAD: Final = "503"
ALIASES: Final = {"fast": FAST, "balanced": BALANCED, "powerful": POWERFUL, "reasoning": REASONING}
FORMULA: Final = "Solve x^2 + 3x = 4 for x."
LONG: Final = "Tell me about this. " * 100


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    with running_core(
        tmp_path_factory.mktemp("auto"),
        provider,
        [*ALIASES.values(), DEAD],
        first_word=20,
        aliases=ALIASES,
        cache=False,
    ) as core:
        yield core


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    """Its fast model is dead; BALANCED stands behind it."""
    router = {"num_retries": 0, "fallbacks": [{DEAD: [BALANCED]}]}
    aliases = ALIASES | {"fast": DEAD}
    models = [*aliases.values(), FAST]
    folder = tmp_path_factory.mktemp("failing")
    own: dict[str, Any] = {"aliases": aliases, "cache": False, "breaker_failures": 2, "breaker_seconds": 300}
    with running_core(folder, provider, models, router=router, first_word=20, **own) as core:
        yield core


@pytest.fixture
def ada(core: Core, provider: HostileProvider) -> Chat:
    return Chat(core, provider, f"ada-{secrets.token_hex(4)}")


def seen(chat: Chat, asked: Asked) -> tuple[Message, UsageMetric]:
    chat.words(asked)
    return chat.reply(asked), chat.ledger_rows(asked.turn_id)[-1]


@pytest.mark.parametrize(
    ("text", "model", "why"),
    [
        ("How high is Everest?", FAST, "It is a short question."),
        (LONG, BALANCED, "It is complex (long)."),
        (FORMULA, REASONING, "It needs reasoning (a formula)."),
        (LONG + FORMULA, POWERFUL, "It needs reasoning (a formula) and is complex (long)."),
    ],
)
def test_auto_says_why_and_the_ledger_whom(ada: Chat, text: str, model: str, why: str) -> None:
    asked = ada.ask("auto", text)
    reply, row = seen(ada, asked)
    assert (reply.model, reply.meta["asked"], reply.meta["why"]) == (model, "auto", why)
    assert (row.model, row.provider_model) == (model, f"openai/{model}")
    assert ada.core.conversations.get(ada.who, asked.conversation_id).model == "auto"


def test_every_question_of_a_conversation_is_judged_anew(ada: Chat) -> None:
    first = ada.ask("auto", "Hello!")
    reply, _ = seen(ada, first)
    then, _ = seen(ada, ada.ask("auto", FORMULA, first.conversation_id))
    assert (reply.model, then.model) == (FAST, REASONING)
    assert ada.core.conversations.get(ada.who, first.conversation_id).model == "auto"


def test_a_question_that_waited_is_judged_by_itself(ada: Chat) -> None:
    first = ada.ask("auto", "Hello!")
    ada.ask("auto", FORMULA, first.conversation_id)
    ada.words(first)
    turn = next(iter(ada.core.turns.active(ada.who, first.conversation_id)), None)
    if turn is not None:
        ada.words(Asked(first.conversation_id, turn.turn_id))
    reply = ada.messages(first.conversation_id)[3]
    assert (reply.model, reply.meta["why"]) == (REASONING, "It needs reasoning (a formula).")


def test_what_is_wanted_quickly_goes_to_the_fast_model(ada: Chat) -> None:
    reply, _ = seen(ada, ada.ask("auto", LONG, settings=TurnSettings(wanted_ms=300)))
    assert (reply.model, reply.meta["why"]) == (FAST, "The first word is wanted within 300 ms.")


@pytest.mark.parametrize(("alias", "model"), ALIASES.items())
def test_an_alias_stands_for_its_model(ada: Chat, alias: str, model: str) -> None:
    asked = ada.ask(alias)
    reply, row = seen(ada, asked)
    assert (reply.model, row.model, reply.meta["asked"]) == (model, model, alias)
    assert "why" not in reply.meta
    assert ada.core.conversations.get(ada.who, asked.conversation_id).model == alias


def test_a_model_that_was_chosen_by_its_name_needs_no_reason(ada: Chat) -> None:
    reply, _ = seen(ada, ada.ask(FAST))
    assert not reply.meta.keys() & {"asked", "why"}


def test_regenerating_by_auto_judges_the_question(ada: Chat) -> None:
    reply, _ = seen(ada, ada.ask(FAST, FORMULA))
    again, _ = seen(ada, ada.core.turns.retry(ada.who, reply.id, model="auto"))
    assert (again.model, again.meta["why"]) == (REASONING, "It needs reasoning (a formula).")


def test_an_edited_question_is_judged_as_it_is_now(ada: Chat) -> None:
    reply, _ = seen(ada, ada.ask("auto", "Hello!"))
    edited, _ = seen(ada, ada.core.turns.edit(ada.who, str(reply.parent_id), FORMULA, model="auto"))
    assert edited.model == REASONING


def test_auto_and_a_model_can_be_compared(ada: Chat) -> None:
    asked = ada.core.turns.compare(ada.who, None, FORMULA, models=["auto", FAST])
    for one in asked:
        ada.words(one)
    ids = [one.message_id for one in asked]
    replies = ada.core.db.read(lambda session: [session.get_one(Row, one) for one in ids])
    assert [reply.model for reply in replies] == [REASONING, FAST]
    assert replies[0].meta["why"] == "It needs reasoning (a formula)."
    assert "why" not in replies[1].meta


def test_a_fallback_answers_for_what_auto_chose_and_then_auto_goes_round(
    failing: Core, provider: HostileProvider
) -> None:
    ada = Chat(failing, provider, "ada")
    for _ in range(2):
        asked = ada.ask("auto", "Hello!")
        reply, row = seen(ada, asked)
        assert (reply.model, row.model, reply.meta["asked"]) == (BALANCED, BALANCED, "auto")
        assert reply.meta["why"] == "It is a short question."
        assert [one["model"] for one in reply.meta["attempts"]] == [DEAD]
        assert [row.model for row in ada.ledger_rows(asked.turn_id)] == [DEAD, BALANCED]
    asked = ada.ask("auto", "Hello!")
    reply, _ = seen(ada, asked)
    assert [row.model for row in ada.ledger_rows(asked.turn_id)] == [BALANCED], "its breaker is open"
    assert reply.meta["why"] == "It is a short question. The fast model cannot be used now."


def test_a_name_that_is_gone_is_said(ada: Chat) -> None:
    with pytest.raises(ModelUnavailable, match="no longer in the configuration"):
        ada.ask("gone")
