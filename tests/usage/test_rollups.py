"""Rollups: kept call by call, counted anew, and as a direct GROUP BY says, in any time zone, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from chatcore.db import Database
from chatcore.db.tables import Base, Tenant, UsageDaily, UsageHourly, UsageMetric
from chatcore.ids import new_id
from chatcore.usage import ledger, rollups
from chatcore.usage.rollup_jobs import RollupJobs

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")
NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)  # the day before the clocks of Berlin change


class Books:
    """A tenant of its own, and its ledger."""

    def __init__(self, db: Database, timezone: str = "UTC") -> None:
        self.db, self.tenant_id = db, new_id("tenant")
        row = {"id": self.tenant_id, "name": self.tenant_id, "timezone": timezone, "days_zone": timezone}
        db.write(lambda session: session.execute(insert(Tenant), [row]))

    def call(self, **values: Any) -> dict[str, Any]:
        """A ledger row's values: a settled call, but for what is said otherwise."""
        plain = {
            "id": new_id("use"), "created_at": NOON, "tenant_id": self.tenant_id, "user_id": "user_a",
            "purpose": "chat", "provider": "acme", "model": "big", "outcome": "ok", "trace_id": "t",
            "prompt_tokens": 10,
            "completion_tokens": 5, "cost_nano_usd": 700, "ttft_ms": 300, "latency_ms": 2000,
        }  # fmt: skip
        return plain | values

    def put(self, *rows: dict[str, Any]) -> list[str]:
        """Rows that somebody else wrote: settled, and in no rollup."""
        self.db.write(lambda session: session.execute(insert(UsageMetric), list(rows)))
        return [row["id"] for row in rows]

    def fold(self, *rows: dict[str, Any]) -> list[str]:
        """Rows that are counted in the transaction that writes them."""

        def work(session: Session) -> None:
            session.execute(insert(UsageMetric), list(rows))
            rollups.note(session, *(row["id"] for row in rows))

        self.db.write(work)
        return [row["id"] for row in rows]

    def opened(self, session: Session, **values: Any) -> str:
        call = ledger.NewCall(self.tenant_id, "user_a", "acme", "big", "acme/big", "t", **values)
        return ledger.open_call(session, call)

    def wrong(self) -> list[Any]:
        return RollupJobs(self.db).check(self.tenant_id)

    def counted(self) -> int:
        """How many calls the quarters hold."""
        return self.sum(UsageHourly.calls)

    def sum(self, column: Any, *where: Any) -> int:
        table = column.class_
        statement = select(func.coalesce(func.sum(column), 0)).where(table.tenant_id == self.tenant_id, *where)
        return int(self.db.read(lambda session: session.scalar(statement)))

    def missing(self) -> int:
        """How many settled rows are in no rollup."""
        where = UsageMetric.tenant_id == self.tenant_id, UsageMetric.rolled_up.is_(False)
        statement = select(func.count()).where(*where, UsageMetric.outcome != "running")
        return int(self.db.read(lambda session: session.scalar(statement)) or 0)

    def everything(self) -> dict[str, list[Any]]:
        """All rows of the rollups that hold anything."""
        found = {}
        for name in ("usage_hourly", "usage_daily", "usage_latency"):
            table = Base.metadata.tables[name]
            statement = select(table).where(table.c.tenant_id == self.tenant_id).order_by(*table.primary_key)
            rows = self.db.read(lambda session, asked=statement: session.execute(asked).all())
            values = [column.name for column in table.columns if not column.primary_key]
            found[name] = [row for row in rows if any(getattr(row, value) for value in values)]
        return found


@pytest.fixture
def books(module_database: Database) -> Books:
    return Books(module_database)


outcomes = st.sampled_from(
    ["ok", "ok", "ok", "stopped", "interrupted", "error", "timeout", "rate_limited", "truncated", "cached", "running"]
)
moments = st.datetimes(datetime(2026, 3, 1), datetime(2026, 4, 30)).map(lambda moment: moment.replace(tzinfo=UTC))
changes = st.sampled_from(
    [datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 4, 4, 15, tzinfo=UTC)]
)
near_changes = st.tuples(changes, st.integers(-50 * 3600, 50 * 3600)).map(
    lambda one: one[0] + timedelta(seconds=one[1])
)
times = st.none() | st.integers(0, 200_000)


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    prompt = draw(st.integers(0, 10**6))
    return {
        "created_at": draw(moments | near_changes), "outcome": draw(outcomes), "model": draw(st.sampled_from("ab")),
        "provider": draw(st.sampled_from("xy")), "tier": draw(st.sampled_from(["free", "pro"])),
        "user_id": draw(st.sampled_from(["u1", "u2"])), "agent_id": draw(st.sampled_from([None, "agent_1"])),
        "purpose": draw(st.sampled_from(["chat", "title"])),
        "error_type": draw(st.sampled_from([None, "provider_down"])),
        "prompt_tokens": prompt, "cached_tokens": draw(st.integers(0, prompt)), "attempt": draw(st.integers(1, 3)),
        "completion_tokens": draw(st.integers(0, 10**5)), "is_demo": draw(st.booleans()),
        "cost_nano_usd": draw(st.none() | st.integers(0, 10**12)), "saved_nano_usd": draw(st.integers(0, 10**9)),
        "usage_source": draw(st.sampled_from(["provider", "estimated", "none"])), "ttft_ms": draw(times),
        "latency_ms": draw(times),
    }  # fmt: skip


SUMMED = ("prompt_tokens", "cached_tokens", "completion_tokens", "saved_nano_usd")


def _by_hand(calls: list[dict[str, Any]], timezone: str) -> dict[Any, list[int]]:
    """What the days, weeks and months of people hold, by the clock of the zone."""
    found: dict[Any, list[int]] = {}
    for call in calls:
        if call["outcome"] != "running":
            date = call["created_at"].astimezone(ZoneInfo(timezone)).date()
            spoke = call["outcome"] != "cached" and call["completion_tokens"] and None not in (
                call["ttft_ms"], call["latency_ms"]
            ) and call["latency_ms"] > call["ttft_ms"]  # fmt: skip
            values = [
                1, call["cost_nano_usd"] or 0, call["cost_nano_usd"] is not None, call["outcome"] == "ok",
                call["outcome"] == "timeout", call["attempt"] > 1, call["usage_source"] == "estimated",
                call["latency_ms"] - call["ttft_ms"] if spoke else 0, *(call[name] for name in SUMMED),
            ]  # fmt: skip
            week = date - timedelta(days=date.weekday())
            for start in (("day", date), ("week", week), ("month", date.replace(day=1))):
                key = (*start, call["user_id"], call["tier"])
                found[key] = [a + b for a, b in zip(found.get(key, [0] * len(values)), values, strict=True)]
    return found


def _by_day(rows: list[Any], timezone: str) -> dict[Any, list[int]]:
    return {
        (row.level, row.start.astimezone(ZoneInfo(timezone)).date(), row.user_id, row.tier): [
            row.calls, row.cost_nano_usd, row.priced, row.ok, row.timeout, row.again, row.estimated, row.generating_ms,
            *(getattr(row, name) for name in SUMMED),
        ]
        for row in rows
        if row.kind == "user"
    }  # fmt: skip


@hypothesis_settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=st.lists(rows(), min_size=1, max_size=9), timezone=st.sampled_from(ZONES))
def test_folded_one_by_one_is_counted_anew_is_a_direct_group_by(
    module_database: Database, made: list[dict[str, Any]], timezone: str
) -> None:
    books = Books(module_database, timezone)
    calls = [books.call(**one) for one in made]
    for call in calls:
        books.fold(call)
    assert books.wrong() == []
    folded = books.everything()
    assert _by_day(folded["usage_daily"], timezone) == _by_hand(calls, timezone)
    RollupJobs(module_database).rebuild(books.tenant_id)
    assert books.everything() == folded
    assert books.missing() == 0
    settled = [call for call in calls if call["outcome"] != "running"]
    held = sum(sum(row[-32:]) for row in folded["usage_latency"] if (row.level, row.metric) == ("quarter", "ttft"))
    assert held == sum(call["ttft_ms"] is not None and call["outcome"] != "cached" for call in settled)


def test_a_settled_call_is_counted_at_once(books: Books) -> None:
    row_id = books.db.write(lambda session: books.opened(session))
    assert (books.counted(), books.missing()) == (0, 0)
    settled = ledger.Settlement("ok", prompt_tokens=7, cost_nano_usd=900, ttft_ms=120, latency_ms=800)
    books.db.write(lambda session: ledger.settle_call(session, row_id, settled))
    assert (books.counted(), books.missing(), books.wrong()) == (1, 0, [])
    for level, kind in (("day", "model"), ("day", "agent"), ("day", "detail"), ("day", "user"),
                        ("week", "user"), ("month", "model"), ("month", "agent"), ("month", "user")):  # fmt: skip
        where = UsageDaily.level == level, UsageDaily.kind == kind
        assert books.sum(UsageDaily.cost_nano_usd, *where) == 900


def test_what_an_interrupted_call_was_taken_for_goes_when_it_is_settled_after_all(books: Books) -> None:
    row_id = books.db.write(lambda session: books.opened(session))
    for outcome, cost in (("interrupted", 100), ("ok", 900), ("ok", 5000)):
        settled = ledger.Settlement(outcome, cost_nano_usd=cost, latency_ms=cost)  # type: ignore[arg-type]
        books.db.write(lambda session, of=settled: ledger.settle_call(session, row_id, of))
    assert (books.counted(), books.sum(UsageHourly.cost_nano_usd), books.sum(UsageHourly.interrupted)) == (1, 900, 0)
    assert (books.missing(), books.wrong()) == (0, [])


def test_a_call_that_our_own_code_gave_up_is_an_error(books: Books) -> None:
    books.db.write(lambda session: books.opened(session, turn_id="turn_given_up"))
    books.db.write(lambda session: ledger.abandon(session, "turn_given_up"))
    for level in ("day", "month"):
        of_type = UsageDaily.kind == "error", UsageDaily.error_type == "provider_error"
        assert books.sum(UsageDaily.error, UsageDaily.level == level, *of_type) == 1
    assert books.wrong() == []


def test_a_savepoint_that_is_rolled_back_takes_its_rows_with_it(books: Books) -> None:
    kept, changed = books.fold(books.call(), books.call(cost_nano_usd=50))

    def work(session: Session) -> None:
        with pytest.raises(ZeroDivisionError), session.begin_nested():  # noqa: PT012 - all of it is undone
            row = books.call()
            session.execute(insert(UsageMetric), [row])
            rollups.note(session, row["id"])
            rollups.take_out(session, [changed])
            session.execute(update(UsageMetric).where(UsageMetric.id == changed).values(cost_nano_usd=9))
            rollups.note(session, changed)
            raise ZeroDivisionError
        with session.begin_nested():
            rollups.take_out(session, [kept])
            session.execute(update(UsageMetric).where(UsageMetric.id == kept).values(cost_nano_usd=8))
            rollups.note(session, kept)

    books.db.write(work)
    assert (books.counted(), books.sum(UsageHourly.cost_nano_usd)) == (2, 58)
    assert (books.missing(), books.wrong()) == (0, [])


def test_a_transaction_that_fails_counts_nothing(books: Books) -> None:
    def work(session: Session) -> None:
        books.opened(session)
        row = books.call()
        session.execute(insert(UsageMetric), [row])
        rollups.note(session, row["id"])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        books.db.write(work)
    assert books.counted() == 0


def test_a_row_is_taken_out_and_counted_once_however_often_that_is_said(books: Books) -> None:
    (row_id,) = books.fold(books.call())

    def work(session: Session) -> None:
        for cost in (1, 2, 3):
            rollups.take_out(session, [row_id, row_id, "use_unknown"])
            session.execute(update(UsageMetric).where(UsageMetric.id == row_id).values(cost_nano_usd=cost))
            rollups.note(session, row_id, row_id, "use_unknown")

    books.db.write(work)
    assert (books.counted(), books.sum(UsageHourly.cost_nano_usd), books.wrong()) == (1, 3, [])


def test_a_row_that_is_taken_out_and_deleted_leaves_nothing(books: Books) -> None:
    (row_id,) = books.fold(books.call())

    def work(session: Session) -> None:
        rollups.take_out(session, [row_id])
        session.execute(UsageMetric.__table__.delete().where(UsageMetric.id == row_id))  # type: ignore[attr-defined]

    books.db.write(work)
    assert all(not rows for rows in books.everything().values())


def test_a_row_taken_out_and_left_so_is_folded_by_the_next_who_catches_up(books: Books) -> None:
    (row_id,) = books.fold(books.call())
    books.db.write(lambda session: rollups.take_out(session, [row_id]))
    assert (books.counted(), books.missing()) == (0, 1)
    RollupJobs(books.db).catch_up()
    assert (books.counted(), books.missing(), books.wrong()) == (1, 0, [])


def test_a_session_that_goes_on_after_its_commit_counts_what_follows(books: Books) -> None:
    with Session(books.db.engine) as session:
        if books.db.is_sqlite:
            session.connection(execution_options={"chatcore_write": True})
        for _ in range(2):
            row = books.call()
            session.execute(insert(UsageMetric), [row])
            rollups.note(session, row["id"])
            session.commit()
    assert (books.counted(), books.missing()) == (2, 0)


def test_a_row_of_no_tenant_is_counted_in_utc(module_database: Database) -> None:
    books = Books(module_database)
    books.tenant_id = new_id("tenant")
    books.fold(books.call(created_at=datetime(2026, 5, 1, 0, 30, tzinfo=UTC)))
    starts = {row.start for row in books.everything()["usage_daily"]}
    assert starts == {datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 4, 27, tzinfo=UTC)}, (
        "its day and month, and its week"
    )


def test_a_time_zone_that_this_machine_does_not_know_keeps_nobody_from_settling(module_database: Database) -> None:
    books = Books(module_database, "Mars/Olympus")
    books.fold(books.call())
    assert books.counted() == 1


def test_folds_at_once_wait_for_each_other_without_a_deadlock_and_lose_nothing(module_database: Database) -> None:
    books = [Books(module_database) for _ in range(2)]
    midnight = datetime(2026, 3, 28, tzinfo=UTC)

    def work(number: int) -> None:
        rows = [
            one.call(created_at=midnight + timedelta(minutes=7 * (number + step) - 60), model=f"m{(number * step) % 5}")
            for step in range(6)
            for one in (books if number % 2 else reversed(books))
        ]

        def write(session: Session) -> None:
            session.execute(insert(UsageMetric), rows)
            rollups.note(session, *(row["id"] for row in rows))

        module_database.write(write)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    for one in books:
        assert (one.counted(), one.missing(), one.wrong()) == (144, 0, [])
