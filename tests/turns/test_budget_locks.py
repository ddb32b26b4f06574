"""Whoever counts for several people locks their budgets in the order in which everybody does."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.config import Settings
from chatcore.db import Database, upgrade
from chatcore.db.tables import (
    Budget,
    BudgetPeriod,
    Conversation,
    Message,
    QueuedMessage,
    Turn,
    UsageMetric,
    User,
    utcnow,
)
from chatcore.gateway import AttemptResult, Catalog, CompletionRequest, Route, Usage
from chatcore.ids import new_id
from chatcore.turns.journal import Entry, Journal
from chatcore.turns.live import LiveTurn
from chatcore.turns.owner import Owner
from chatcore.turns.recovery import recover
from chatcore.turns.values import Begun, Spent, TurnEnd
from chatcore.usage import budget_locks, budgets, ledger
from tests.chat import until
from tests.conftest import add_person

pytestmark = pytest.mark.postgres

WAITING = text("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
FAR = Owner("far", 1, "elsewhere/1")


class House:
    """Two people of one tenant. Bob has a budget of his own, and it was made before the tenant's."""

    def __init__(self, db: Database, thread: ThreadPoolExecutor) -> None:
        self.db, self.thread = db, thread
        self.ann, self.bob = add_person(db, "ann"), add_person(db, "bob")
        self.bobs, self.everybodys = self.budget("user", self.bob.user_id), self.budget("tenant", "")
        for who in (self.ann, self.bob):
            self.hold(who, "before")

    def budget(self, scope: str, scope_id: str, tenant_id: str | None = None, period: str = "month") -> str:
        budget_id, whose = new_id("bud"), {"tenant_id": tenant_id or self.ann.tenant_id, "scope": scope}
        made = insert(Budget).values(
            id=budget_id, scope_id=scope_id, period=period, amount_nano_usd=10**12, hard=True, **whose
        )
        self.change(made)
        return budget_id

    def change(self, statement: Any) -> None:
        self.db.write(lambda session: session.execute(statement))

    def hold(self, who: Principal, holder: str) -> None:
        self.db.write(lambda session: hold(session, who, holder, 100))

    def call(self, who: Principal, turn_id: str, conversation_id: str | None = None) -> tuple[ledger.NewCall, str]:
        call = ledger.NewCall(
            who.tenant_id, who.user_id, "demo", "demo/words", "words", "t", turn_id=turn_id,
            conversation_id=conversation_id,
        )  # fmt: skip
        return call, self.db.write(lambda session: ledger.open_call(session, call))

    def end(self, who: Principal, settings: Settings, conversation_id: str = "conv") -> Entry:
        """A turn that cost something and waits to be stored; its conversation was erased while it ran."""
        turn_id, model = new_id("turn"), Catalog(settings).models()[0]
        call, row_id = self.call(who, turn_id)
        self.hold(who, turn_id)
        request = CompletionRequest(model, [], "t")
        begun = Begun(turn_id, conversation_id, "msg", row_id, request, "", "up", False, call, Route([], None), None, 1)
        result = AttemptResult("ok", None, "stop", Usage(), "demo", 10, None, 1)
        live = LiveTurn(turn_id, conversation_id, "msg")
        entry = Entry(live, begun, who.tenant_id, on_stop=lambda: None)
        entry.end = TurnEnd(begun, "complete", "", [], result, {}, row_id, Spent(), model.name, "demo", None, 1)
        return entry

    def dead_turn(self, who: Principal) -> str:
        """A turn whose process has gone, with words that cost something."""
        turn_id, conversation_id, message_id = new_id("turn"), self.conversation(who), new_id("msg")
        where = {"tenant_id": who.tenant_id, "user_id": who.user_id, "conversation_id": conversation_id}
        reply = {"role": "assistant", "content": "", "status": "streaming", "turn_id": turn_id}
        self.change(insert(Message).values(id=message_id, **where, **reply))
        self.turn(who, turn_id, conversation_id, message_id)
        self.call(who, turn_id, conversation_id)
        self.hold(who, turn_id)
        return turn_id

    def conversation(self, who: Principal) -> str:
        conversation_id, whose = new_id("conv"), {"tenant_id": who.tenant_id, "user_id": who.user_id}
        self.change(insert(Conversation).values(id=conversation_id, title="t", **whose))
        return conversation_id

    def turn(self, who: Principal, turn_id: str, conversation_id: str, message_id: str) -> None:
        made = insert(Turn).values(
            id=turn_id, tenant_id=who.tenant_id, user_id=who.user_id, conversation_id=conversation_id,
            message_id=message_id, status="running", heartbeat_at=utcnow() - timedelta(minutes=5),
            owner_host=FAR.host, owner_pid=FAR.pid, owner_started=FAR.started,
        )  # fmt: skip
        self.change(made)

    def spent(self) -> dict[str, tuple[int, int]]:
        """Spent and reserved, by budget."""
        rows = self.db.read(lambda session: session.scalars(select(BudgetPeriod)).all())
        return {row.budget_id: (row.spent_nano_usd, row.reserved_nano_usd) for row in rows}

    @contextmanager
    def asking(self) -> Iterator[Callable[[], bool]]:
        """A question of Bob's in mid-transaction: his own counter is locked. Yields whether the tenant's, which comes
        next, is free once another transaction waits for his."""
        with Session(self.db.engine) as session:
            session.execute(_of(self.bobs).with_for_update())

            def tenants_is_free() -> bool:
                until(lambda: self.db.read(lambda other: other.scalar(WAITING)))
                return bool(session.execute(_of(self.everybodys).with_for_update(skip_locked=True)).all())

            yield tenants_is_free


def hold(session: Session, who: Principal, holder: str, nano: int) -> None:
    budgets.hold(session, tenant_id=who.tenant_id, user_id=who.user_id, holder=holder, nano=nano)


def _of(budget_id: str) -> Any:
    return select(BudgetPeriod.budget_id).where(BudgetPeriod.budget_id == budget_id)


def locked_by(db: Database, work: Callable[[Session], None]) -> set[tuple[str, int]]:
    """The counters that a transaction has locked after `work`, by budget and day of the month."""
    every = select(BudgetPeriod.budget_id, BudgetPeriod.starts_at)
    with Session(db.engine) as session, Session(db.engine) as other:
        work(session)
        free = {(one, at) for one, at in other.execute(every.with_for_update(skip_locked=True))}
        return {(one, at.day) for one, at in session.execute(every) if (one, at) not in free}


@pytest.fixture
def house(postgres_url: URL) -> Iterator[House]:
    db = Database(postgres_url)
    upgrade(db)
    with ThreadPoolExecutor(1) as thread:
        yield House(db, thread)
    db.close()


def stored(house: House, entries: list[Entry], after_end: Callable[..., Any]) -> Future[None]:
    """Store the ends in one commit, on a thread of its own."""

    async def work() -> None:
        journal = Journal(house.db, after_end)
        for entry in entries:
            journal.add(entry)
        running = asyncio.create_task(journal.run())
        await asyncio.wait_for(journal.idle.wait(), 30)
        running.cancel()

    return house.thread.submit(lambda: asyncio.run(work()))


def test_ends_of_several_people_hold_no_counter_that_others_lock_later(house: House, settings: Settings) -> None:
    ends = [house.end(house.ann, settings), house.end(house.bob, settings)]
    with house.asking() as tenants_is_free:
        done = stored(house, ends, lambda session, end: None)
        assert tenants_is_free()
    done.result(30)
    assert house.spent() == {house.bobs: (10, 100), house.everybodys: (20, 100)}


def test_a_colleagues_question_that_follows_an_end_is_thought_of(house: House, settings: Settings) -> None:
    shared = house.conversation(house.ann)
    whose = {"tenant_id": house.bob.tenant_id, "user_id": house.bob.user_id, "conversation_id": shared}
    waits = {"content": "and then?", "model": "m", "settings": {}, "attachments": []}
    house.change(insert(QueuedMessage).values(id=new_id("queued"), **whose, **waits))
    end = house.end(house.ann, settings, shared)
    house.turn(house.ann, end.begun.turn_id, shared, "msg")

    def after(session: Session, _: TurnEnd) -> None:
        hold(session, house.bob, "follows", 5)

    with house.asking() as tenants_is_free:
        done = stored(house, [end], after)
        assert tenants_is_free()
    done.result(30)
    assert house.spent() == {house.bobs: (0, 105), house.everybodys: (10, 105)}


def test_recovery_of_several_peoples_turns_holds_no_counter_that_others_lock_later(house: House) -> None:
    turns = [house.dead_turn(house.ann), house.dead_turn(house.bob)]
    with house.asking() as tenants_is_free:
        done = house.db.submit(lambda session: recover(session, Owner.this()))
        assert tenants_is_free()
    assert done.result(30) == len(turns)
    assert house.spent() == {house.bobs: (0, 100), house.everybodys: (0, 100)}


def test_chores_that_a_dead_process_left_give_back_in_that_order_too(house: House) -> None:
    old = utcnow() - timedelta(hours=1)
    for who in (house.ann, house.bob):
        _, row_id = house.call(who, "")
        house.change(update(UsageMetric).where(UsageMetric.id == row_id).values(turn_id=None, created_at=old))
        house.hold(who, row_id)
    with house.asking() as tenants_is_free:
        done = house.db.submit(lambda session: recover(session, Owner.this()))
        assert tenants_is_free()
    assert done.result(30) == 0
    assert house.spent() == {house.bobs: (0, 100), house.everybodys: (0, 100)}


def test_only_counters_that_apply_are_locked(house: House) -> None:
    eve = add_person(house.db, "eve", tenant="Elsewhere")
    house.change(update(User).where(User.id == house.ann.user_id).values(team="Red"))
    reds, blues = house.budget("team", "Red"), house.budget("team", "Blue")
    house.budget("tenant", "", eve.tenant_id)
    now = utcnow().replace(day=15)
    daily = house.budget("user", house.ann.user_id, period="day")
    rows = [(reds, 1), (blues, 1), (daily, 13), (daily, 14), (daily, 15), (daily, 16)]

    def made(session: Session) -> None:
        for budget_id, day in rows:
            starts = now.replace(day=day, hour=0, minute=0, second=0, microsecond=0)
            values = {"tenant_id": house.ann.tenant_id, "spent_nano_usd": 0, "reserved_nano_usd": 0}
            session.execute(insert(BudgetPeriod).values(budget_id=budget_id, starts_at=starts, **values))

    house.db.write(made)
    house.hold(eve, "hers")
    ann = {(house.ann.tenant_id, house.ann.user_id)}
    found = locked_by(house.db, lambda session: budget_locks.lock(session, ann, now - timedelta(days=1), now))
    assert found == {(reds, 1), (house.everybodys, 1), (daily, 14), (daily, 15)}


def test_what_is_held_of_a_budget_that_no_longer_applies_is_locked_with_the_others(house: House) -> None:
    house.hold(house.bob, "turn-1")
    ann = {(house.ann.tenant_id, house.ann.user_id)}
    found = locked_by(house.db, lambda session: budget_locks.lock_for_ends(session, ann, ["turn-1"]))
    assert found == {(house.bobs, 1), (house.everybodys, 1)}
    found = locked_by(house.db, lambda session: budget_locks.lock_for_ends(session, ann, ["turn-2"]))
    assert found == {(house.everybodys, 1)}
