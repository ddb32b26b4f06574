"""Every behaviour once, at once, streamed and whole, going on and beginning anew after a break, and stops at the worst
moment: the ledger and the provider tell one story."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import delete, update

from chatcore.bootstrap import Core
from chatcore.db.tables import UsageMetric
from tests.benchmarks.ledger_story import Ask, Story, compare
from tests.benchmarks.soak_ledger import MODELS, PLANNED, router, run
from tests.chat import Chat, running_core, until
from tests.conftest import add_person
from tests.hostile import HostileProvider


@dataclass
class Ran:
    """A run of every behaviour."""

    core: Core
    provider: HostileProvider
    asks: list[Ask]

    def story(self) -> Story:
        return compare(self.core, self.provider, self.asks)

    def with_one_changed(self, row: UsageMetric, **values: Any) -> dict[str, list[str]]:
        """The faults while one row says something else."""
        before = {name: getattr(row, name) for name in values}
        of = update(UsageMetric).where(UsageMetric.id == row.id)
        self.core.db.write(lambda session: session.execute(of.values(**values)))
        found = self.story().found
        self.core.db.write(lambda session: session.execute(of.values(**before)))
        return found


@pytest.fixture(scope="module", params=["continue", "restart"])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    own = {"mid_reply": request.param, "slow_after": 1.0}
    folder = tmp_path_factory.mktemp("ledger")
    with HostileProvider() as provider, running_core(folder, provider, list(MODELS), router=router(), **own) as core:
        chat, operator = Chat(core, provider, "ada"), add_person(core.db, "operator", role="operator")
        asks = run(chat, len(PLANNED), seed=7)
        core.flags.set(operator, streaming=False)
        asks += run(chat, len(PLANNED) // 2, seed=8)
        yield Ran(core, provider, asks)


def test_every_behaviour_at_once(ran: Ran) -> None:
    story = ran.story()
    assert story.found == {}
    assert story.cached
    assert len(story.pairs) > len(ran.asks), "some were tried twice"
    assert len(story.billed) > len(ran.asks) // 3


def test_the_comparison_finds_what_is_wrong(ran: Ran) -> None:
    story = ran.story()
    (row, _), cached = story.billed[0], story.cached[0]
    assert ran.with_one_changed(row, prompt_tokens=row.prompt_tokens + 1)
    assert ran.with_one_changed(row, cached_tokens=row.cached_tokens + 1)
    assert ran.with_one_changed(row, cost_nano_usd=(row.cost_nano_usd or 0) + 1)
    assert ran.with_one_changed(row, outcome="running")
    assert ran.with_one_changed(row, usage_source="estimated")
    assert ran.with_one_changed(cached, saved_nano_usd=cached.saved_nano_usd + 1)
    assert ran.with_one_changed(cached, outcome="ok", cache_hit=False, saved_nano_usd=0), "a row without a call"
    assert ran.with_one_changed(row, outcome="cached", cache_hit=True), "a call without a row"
    assert ran.story().found == {}


def test_the_comparison_misses_no_row(ran: Ran) -> None:
    row = ran.story().pairs[0][0]
    values = {column.name: getattr(row, column.name) for column in UsageMetric.__table__.columns}
    ran.core.db.write(lambda session: session.execute(delete(UsageMetric).where(UsageMetric.id == row.id)))
    assert ran.story().found
    ran.core.db.write(lambda session: session.add(UsageMetric(**values)))
    ran.core.db.write(lambda session: session.add(UsageMetric(**values | {"id": "use_twice", "attempt": 2})))
    assert ran.story().found
    ran.core.db.write(lambda session: session.execute(delete(UsageMetric).where(UsageMetric.id == "use_twice")))
    assert ran.story().found == {}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Core, HostileProvider]]:
    """Nothing is tried twice."""
    folder = tmp_path_factory.mktemp("plain")
    with HostileProvider() as provider, running_core(folder, provider, ["cut", "ok;n=30"]) as core:
        yield core, provider


@pytest.mark.parametrize("model", ["cut", "ok;n=30"])
def test_a_stop_in_the_last_moment_is_billed(plain: tuple[Core, HostileProvider], model: str) -> None:
    """The words are there, the call is ending by itself, and its tokens are just being counted."""
    core, provider = plain
    chat = Chat(core, provider, f"late-{model[:2]}")
    for _ in range(30):
        asked = chat.ask(model, "stop me late")
        live = core.turns.engine.live(str(asked.turn_id))
        assert live is not None
        until(lambda live=live: live.deltas or live.finished)  # type: ignore[misc]
        core.turns.stop(chat.who, str(asked.turn_id))
        chat.words(asked)
        row, reply = chat.ledger(asked.turn_id), chat.reply(asked)
        assert reply.content
        assert row.usage_source != "none", f"{len(reply.content)} characters and no tokens: {row.outcome}"
        assert row.completion_tokens > 0
