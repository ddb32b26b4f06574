"""Whatever is done to a tenant's calls and days, in any order and killed at any moment: no sum of it changes."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.care.retention import Retention
from chatcore.db import Database
from chatcore.db.tables import Tenant, UsageMetric
from chatcore.usage import Filter, Usage, demo_data, demo_removal, rollups
from chatcore.usage.rollup_jobs import RollupJobs
from tests.usage.test_rollups import Books

TODAY = datetime.now(UTC).replace(hour=11, minute=0, second=0, microsecond=0)
ALL = Filter(TODAY - timedelta(days=200), TODAY + timedelta(days=3))
ages = st.integers(0, 70 * 24 * 4).map(lambda quarters: TODAY - timedelta(minutes=15 * quarters))
some_people, some_models = st.sampled_from(["ann", "bob"]), st.sampled_from(["big", "small"])
killed_after = st.none() | st.integers(0, 25)


class Killed(BaseException):
    """The process is."""


def dying(work: Callable[..., Any], steps: int | None) -> Callable[..., Any]:
    """As it is, until it has been called so often."""
    left = [10**9 if steps is None else steps]

    def call(*given: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return work(*given, **named)

    return call


class Lives(RuleBasedStateMachine):
    def __init__(self, db: Database) -> None:
        super().__init__()
        self.db, self.books, self.jobs, self.usage = db, Books(db), RollupJobs(db), Usage(db)
        self.tenant_id = self.books.tenant_id
        self.admin = Principal("user_admin", self.tenant_id, "admin", "Admin", "admin")
        self.removed: list[Any] = []
        calls = [self.books.call(created_at=TODAY - timedelta(days=days), user_id="ann") for days in range(0, 70, 10)]
        self.books.fold(*calls)

    # ---- what is done

    @rule(at=ages, who=some_people, model=some_models, counted=st.booleans())
    def settle(self, at: datetime, who: str, model: str, counted: bool) -> None:
        write = self.books.fold if counted else self.books.put
        write(self.books.call(created_at=at, user_id=who, model=model))

    @rule(model=some_models, cost=st.integers(0, 1_000), place=st.integers(0, 9))
    def correct(self, model: str, cost: int, place: int) -> None:
        ids = [row.id for row in self.ledger()]

        def work(session: Session) -> None:
            rollups.take_out(session, [chosen])
            session.execute(update(UsageMetric).where(UsageMetric.id == chosen).values(model=model, cost_nano_usd=cost))
            rollups.note(session, chosen)

        if ids:
            chosen = ids[place % len(ids)]
            self.db.write(work)

    @rule(days=st.integers(15, 60))
    def retain(self, days: int) -> None:
        before = self.ledger()
        self.change(ledger_days=days)
        Retention(self.db)._delete_calls(self.tenant_id)
        left = {row.id for row in self.ledger()}
        self.removed += [row for row in before if row.id not in left and not row.is_demo]

    @rule(zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu"]))
    def move(self, zone: str) -> None:
        self.change(timezone=zone)

    @rule(steps=killed_after)
    def keep_up(self, steps: int | None) -> None:
        self.run_jobs(self.jobs.keep_up, steps)

    @rule(steps=killed_after, afresh=st.booleans())
    def rebuild(self, steps: int | None, afresh: bool) -> None:
        self.run_jobs(lambda: self.jobs.rebuild(self.tenant_id, afresh=afresh), steps)

    @rule(steps=killed_after)
    def make(self, steps: int | None) -> None:
        put = dying(demo_data._put, steps)
        with suppress(Killed), mock.patch.multiple(demo_data, _put=put, _A_TRANSACTION=10):
            demo_data.make(self.db, self.tenant_id, days=8, rows=30, now=TODAY)

    @rule(steps=killed_after)
    def remove(self, steps: int | None) -> None:
        remove_day = dying(demo_removal._remove_day, steps)
        with suppress(Killed), mock.patch.object(demo_removal, "_remove_day", remove_day):
            demo_data.remove(self.db, self.tenant_id)

    def run_jobs(self, work: Callable[[], Any], steps: int | None) -> None:
        with suppress(Killed), mock.patch.object(self.jobs, "_step", dying(self.jobs._step, steps)):
            work()

    # ---- what must be so

    @invariant()
    def every_reading_tells_the_same(self) -> None:
        there = [*self.ledger(), *self.removed]
        totals = self.usage.totals(self.admin, ALL)
        assert (totals.calls, totals.cost_nano_usd or 0) == (len(there), sum(row.cost_nano_usd or 0 for row in there))
        for by, column in (("model", "model"), ("user", "user_id")):
            found = self.usage.breakdown(self.admin, ALL, by)  # type: ignore[arg-type]
            assert dict(zip(found["group"], found["calls"], strict=True)) == Counter(
                getattr(row, column) for row in there
            )

    def teardown(self) -> None:
        self.rollups_are_what_the_ledger_says()

    @rule()
    def rollups_are_what_the_ledger_says(self) -> None:
        assert self.jobs.check(self.tenant_id) == []

    def ledger(self) -> list[Any]:
        statement = select(UsageMetric).where(UsageMetric.tenant_id == self.tenant_id).order_by(UsageMetric.id)
        return list(self.db.read(lambda session: session.scalars(statement).all()))

    def change(self, **values: Any) -> None:
        statement = update(Tenant).where(Tenant.id == self.tenant_id).values(values)
        self.db.write(lambda session: session.execute(statement))


def test_no_order_of_events_changes_a_sum(module_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatcore.usage.rollup_jobs._BREATH", 0.0)
    monkeypatch.setattr("chatcore.care.retention._REST", 0.0)
    examples = 8 if module_database.is_sqlite else 2
    chosen = settings(deadline=None, max_examples=examples, stateful_step_count=8)
    run_state_machine_as_test(lambda: Lives(module_database), settings=chosen)
