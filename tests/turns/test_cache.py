"""Earlier replies in turns: who gets which one again, and what the ledger says that it saved."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import func, select

from chatcore.bootstrap import Core
from chatcore.conversations import Message
from chatcore.db.tables import BudgetPeriod, CachedReply, UsageMetric, utcnow
from chatcore.turns import TurnSettings
from chatcore.usage import Filter
from tests.benchmarks.bench_cache import ask_all, plan
from tests.chat import Chat, running_core, until
from tests.conftest import add_person
from tests.hostile import HostileProvider

GOOD, LONG, DEAD = "ok;n=20", "ok;n=4000", "503"
NEVER_KEPT: Final = ("length", "tools", "cut;n=40;at=12", "empty", "filtered")
COLD: Final = TurnSettings(temperature=0.0)
QUESTION: Final = "What is the tallest tree?"


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    router = {"num_retries": 0, "fallbacks": [{DEAD: [GOOD]}]}
    models = [GOOD, LONG, DEAD, *NEVER_KEPT]
    with running_core(tmp_path_factory.mktemp("cache"), provider, models, router=router, first_word=20) as core:
        yield core


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    """A Core whose cache is shared within a tenant."""
    folder = tmp_path_factory.mktemp("sharing")
    with running_core(folder, provider, [GOOD], first_word=20, cache_scope="tenant") as core:
        yield core


def person(core: Core, provider: HostileProvider, tenant: str | None = None) -> Chat:
    """A new person, by default in a tenant of their own."""
    mark = secrets.token_hex(4)
    return Chat(core, provider, f"person-{mark}", tenant=tenant or f"tenant-{mark}")


@pytest.fixture
def ada(core: Core, provider: HostileProvider) -> Chat:
    return person(core, provider)


@contextmanager
def flags(core: Core, **changes: Any) -> Iterator[None]:
    operator = add_person(core.db, f"operator-{secrets.token_hex(4)}", role="operator")
    core.flags.set(operator, **changes)
    yield
    core.flags.set(operator, **dict.fromkeys(changes))


def answered(chat: Chat, model: str = GOOD, **more: Any) -> tuple[Message, UsageMetric]:
    """Ask QUESTION in a new conversation; the reply and its ledger row."""
    asked = chat.ask(model, QUESTION, **{"settings": COLD} | more)
    chat.words(asked)
    return chat.reply(asked), chat.ledger_rows(asked.turn_id)[-1]


def is_new(reply: Message, row: UsageMetric) -> bool:
    """Whether somebody was called for it. The two must agree."""
    hit = "cached" in reply.meta
    assert (row.outcome == "cached", row.cache_hit) == (hit, hit)
    return not hit


def test_an_identical_question_gets_the_reply_again_and_nobody_is_called(ada: Chat, provider: HostileProvider) -> None:
    first, paid = answered(ada)
    calls = len(provider.log)
    asked = ada.ask(GOOD, QUESTION, settings=COLD)
    seen, again, free = ada.words(asked), ada.reply(asked), ada.ledger(asked.turn_id)
    assert len(provider.log) == calls
    assert seen == again.content == first.content
    assert (again.status, again.finish_reason, again.model) == ("complete", "stop", GOOD)
    assert (free.outcome, free.cost_nano_usd, free.prompt_tokens, free.completion_tokens) == ("cached", 0, 0, 0)
    assert free.saved_nano_usd == paid.cost_nano_usd
    assert again.meta["cached"] == {"saved_nano_usd": paid.cost_nano_usd}
    assert again.cost_nano_usd == 0
    assert paid.saved_nano_usd == 0


def test_a_reply_from_the_cache_is_not_what_is_kept_next(ada: Chat) -> None:
    _, paid = answered(ada)
    saved = [answered(ada)[1].saved_nano_usd for _ in range(3)]
    assert saved == [paid.cost_nano_usd] * 3


def test_at_the_providers_own_temperature_every_reply_is_new(ada: Chat) -> None:
    assert all(is_new(*answered(ada, settings=None)) for _ in range(2))
    assert all(is_new(*answered(ada, settings=TurnSettings(temperature=0.9))) for _ in range(2))


def test_another_person_of_the_team_is_answered_anew(ada: Chat, provider: HostileProvider) -> None:
    answered(ada)
    bob = Chat(ada.core, provider, f"bob-{secrets.token_hex(4)}", tenant=tenant_name(ada))
    assert bob.who.tenant_id == ada.who.tenant_id
    assert is_new(*answered(bob))


def test_where_the_setting_says_so_the_team_shares_and_no_other_tenant(
    sharing: Core, provider: HostileProvider
) -> None:
    ada, bob, eve = (person(sharing, provider, name) for name in ("red", "red", "blue"))
    assert is_new(*answered(ada))
    assert not is_new(*answered(bob))
    assert is_new(*answered(eve))


def test_who_pays_with_a_key_of_their_own_shares_with_nobody(sharing: Core, provider: HostileProvider) -> None:
    ada, bob = (person(sharing, provider, "green") for _ in range(2))
    slot = sharing.gateway.catalog.get(GOOD).key_slot
    sharing.keyring.save(ada.who, slot, "sk-hostile-of-her-own-0123")
    assert is_new(*answered(ada))
    assert not is_new(*answered(ada))
    assert is_new(*answered(bob))


def test_a_temporary_chat_is_neither_kept_nor_served(ada: Chat) -> None:
    assert is_new(*answered(ada, temporary=True))
    assert kept(ada) == 0
    assert is_new(*answered(ada))
    assert is_new(*answered(ada, temporary=True))


def test_who_regenerates_wants_another_reply(ada: Chat) -> None:
    reply, _ = answered(ada)
    asked = ada.core.turns.retry(ada.who, reply.id, model=GOOD, settings=COLD)
    ada.words(asked)
    assert is_new(ada.reply(asked), ada.ledger(asked.turn_id))


def test_a_question_can_ask_to_be_answered_anew(ada: Chat) -> None:
    answered(ada)
    anew = TurnSettings(temperature=0.0, cache=False)
    assert is_new(*answered(ada, settings=anew))
    assert not is_new(*answered(ada)), "the earlier reply is still there for who does not mind"


def test_an_edited_question_is_another_one_and_the_old_one_is_known(ada: Chat) -> None:
    reply, _ = answered(ada)
    edited = ada.core.turns.edit(ada.who, str(reply.parent_id), "And the smallest?", model=GOOD, settings=COLD)
    ada.words(edited)
    assert is_new(ada.reply(edited), ada.ledger(edited.turn_id))
    question = ada.reply(edited).parent_id
    back = ada.core.turns.edit(ada.who, str(question), QUESTION, model=GOOD, settings=COLD)
    ada.words(back)
    assert not is_new(ada.reply(back), ada.ledger(back.turn_id))


def test_what_was_said_before_makes_it_another_question(ada: Chat) -> None:
    def both() -> list[bool]:
        first = ada.ask(GOOD, "Trees are plants.", settings=COLD)
        ada.words(first)
        then = ada.ask(GOOD, QUESTION, first.conversation_id, settings=COLD)
        ada.words(then)
        return [is_new(ada.reply(one), ada.ledger(one.turn_id)) for one in (first, then)]

    answered(ada)
    assert both() == [True, True]
    assert both() == [False, False]


@pytest.mark.parametrize("flag", ["cache", "gateway"])
def test_with_the_flag_off_nothing_is_kept_and_nothing_served(ada: Chat, flag: str) -> None:
    with flags(ada.core, **{flag: False}):
        assert all(is_new(*answered(ada)) for _ in range(2))
        assert kept(ada) == 0
    answered(ada)
    with flags(ada.core, **{flag: False}):
        assert is_new(*answered(ada))
    assert not is_new(*answered(ada))


@pytest.mark.parametrize("model", NEVER_KEPT)
def test_only_whole_replies_in_words_are_kept(ada: Chat, model: str) -> None:
    assert all(is_new(*answered(ada, model)) for _ in range(2))
    assert kept(ada) == 0


def test_a_fallbacks_reply_is_never_given_as_the_models_own(ada: Chat) -> None:
    reply, row = answered(ada, DEAD)
    assert (reply.model, row.model) == (GOOD, GOOD)
    assert kept(ada) == 0
    assert is_new(*answered(ada, DEAD))
    assert is_new(*answered(ada, GOOD))


def test_a_reply_from_the_cache_can_be_stopped_in_its_middle(ada: Chat) -> None:
    whole, _ = answered(ada, LONG)
    asked = ada.ask(LONG, QUESTION, settings=COLD)
    live = ada.core.turns.engine.live(str(asked.turn_id))
    assert live is not None
    until(lambda: live.deltas)
    ada.core.turns.stop(ada.who, str(asked.turn_id))
    ada.words(asked)
    reply, row = ada.reply(asked), ada.ledger(asked.turn_id)
    assert reply.status == "stopped"
    assert 0 < len(reply.content) < len(whole.content)
    assert whole.content.startswith(reply.content)
    assert (row.outcome, row.cost_nano_usd, row.completion_tokens) == ("stopped", 0, 0)


def test_a_reply_from_the_cache_spends_nothing_of_a_budget(ada: Chat, provider: HostileProvider) -> None:
    admin = add_person(ada.core.db, f"admin-{secrets.token_hex(4)}", tenant=tenant_name(ada), role="admin")
    ada.core.budgets.set(admin, "tenant", "", "month", 10**9)
    settings = TurnSettings(temperature=0.0, max_tokens=100)
    _, paid = answered(ada, settings=settings)
    assert not is_new(*answered(ada, settings=settings))
    period = ada.core.db.read(
        lambda session: session.scalars(select(BudgetPeriod).filter_by(tenant_id=ada.who.tenant_id)).one()
    )
    assert (period.spent_nano_usd, period.reserved_nano_usd) == (paid.cost_nano_usd, 0)


def test_thirty_percent_of_repeated_prompts_save_thirty_percent(ada: Chat, provider: HostileProvider) -> None:
    calls = len(provider.log)
    ask_all(ada, GOOD, plan(100, 0.3, seed=3))
    sums = ada.core.usage.totals(ada.who, today())
    assert (sums.calls, sums.cached) == (100, 30)
    assert len(provider.log) - calls == 70
    assert sums.share_saved >= 0.3
    assert ada.core.usage.report(ada.who, today()).totals == sums


def today() -> Filter:
    """Since yesterday: a run may see midnight."""
    now = utcnow()
    return Filter(now - timedelta(days=1), now + timedelta(days=1))


def kept(chat: Chat) -> int:
    mine = select(func.count()).select_from(CachedReply).where(CachedReply.user_id == chat.who.user_id)
    return chat.core.db.read(lambda session: session.scalar(mine) or 0)


def tenant_name(chat: Chat) -> str:
    """A person of `person` has their tenant named like them."""
    return chat.who.username.replace("person", "tenant")
