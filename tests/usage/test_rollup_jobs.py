"""Work on the rollups beside the running app: backlogs, counting anew, new time zones, and the comparison."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from chatcore.db import Database, leases
from chatcore.db.tables import USAGE_LATENCY, Setting, Tenant, UsageDaily, UsageHourly, UsageMetric
from chatcore.errors import NotFound
from chatcore.usage import ledger, rollups
from chatcore.usage.repricing import Price, Repricing
from chatcore.usage.rollup_jobs import Progress, RollupJobs
from tests.usage.test_rollups import Books

APRIL = datetime(2026, 4, 1, tzinfo=UTC)


class Cut(Exception):
    """The process dies."""


@pytest.fixture
def books(any_database: Database) -> Books:
    return Books(any_database)


def month_of_calls(books: Books, days: int = 20) -> list[dict[str, Any]]:
    """Three calls a day, over a month's end."""
    return [
        books.call(
            created_at=APRIL - timedelta(days=days - 10) + timedelta(hours=24 * day + 9 * number + 1),
            model=f"m{number}", user_id=f"u{day % 3}", cost_nano_usd=day * 1000 + number, latency_ms=100 * day + 50,
            outcome="timeout" if day % 7 == 0 else "ok",
        )
        for day in range(days)
        for number in range(3)
    ]  # fmt: skip


def jobs(books: Books) -> RollupJobs:
    return RollupJobs(books.db)


def change(books: Books, **values: Any) -> None:
    books.db.write(lambda session: session.execute(update(Tenant).where(Tenant.id == books.tenant_id).values(values)))


def tenant(books: Books) -> Tenant:
    return books.db.read(lambda session: session.get_one(Tenant, books.tenant_id))


def starts(books: Books, kind: str = "user") -> set[tuple[int, int]]:
    where = UsageDaily.tenant_id == books.tenant_id, UsageDaily.kind == kind
    found = books.db.read(lambda session: session.scalars(select(UsageDaily.start).where(*where)).all())
    return {(one.hour, one.minute) for one in found}


# ---- backlogs


def test_rows_that_others_wrote_are_folded_in(books: Books) -> None:
    books.put(*month_of_calls(books))
    assert (books.counted(), books.missing()) == (0, 60)
    jobs(books).keep_up()
    assert (books.counted(), books.missing(), books.wrong()) == (60, 0, [])


def test_a_running_row_is_no_backlog(books: Books) -> None:
    books.db.write(lambda session: books.opened(session))
    jobs(books).keep_up()
    assert books.counted() == 0


def test_a_late_row_counts_on_its_own_day(books: Books) -> None:
    books.fold(*month_of_calls(books))
    before = books.sum(UsageDaily.calls, UsageDaily.level == "day", UsageDaily.kind == "user")
    books.put(books.call(created_at=APRIL - timedelta(days=9), user_id="late"))
    jobs(books).keep_up()
    late = UsageDaily.user_id == "late", UsageDaily.kind == "user", UsageDaily.level == "day"
    assert books.sum(UsageDaily.calls, UsageDaily.start == APRIL - timedelta(days=9), *late) == 1
    assert books.sum(UsageDaily.calls, UsageDaily.level == "day", UsageDaily.kind == "user") == before + 1
    assert books.wrong() == []


def test_whoever_has_no_lease_leaves_the_work_to_the_other(books: Books) -> None:
    books.put(books.call())
    books.db.write(lambda session: leases.take(session, "rollups", "somebody else", 60))
    jobs(books).keep_up()
    assert books.missing() == 1
    books.db.write(lambda session: leases.release(session, "rollups", "somebody else"))
    jobs(books).keep_up()
    assert books.missing() == 0


def test_a_job_that_was_stopped_does_nothing_more(books: Books) -> None:
    books.put(*month_of_calls(books))
    work = jobs(books)
    work.stop()
    work.keep_up()
    assert work.rebuild(books.tenant_id) == 0
    assert books.missing() == 60


# ---- counting anew


def test_counted_anew_it_is_as_it_was(books: Books) -> None:
    books.fold(*month_of_calls(books))
    before = books.everything()
    assert jobs(books).rebuild(books.tenant_id) == 22  # the first days of the first month and week are looked at, too
    assert books.everything() == before


def test_what_somebody_broke_is_found_and_mended(books: Books) -> None:
    books.fold(*month_of_calls(books, 15))
    before = books.everything()
    broken = update(UsageDaily).where(UsageDaily.tenant_id == books.tenant_id, UsageDaily.kind == "user")
    books.db.write(lambda session: session.execute(broken.values(cost_nano_usd=UsageDaily.cost_nano_usd + 1)))
    books.db.write(lambda session: session.execute(delete(USAGE_LATENCY).where(USAGE_LATENCY.c.level == "day")))
    extra = {"tenant_id": books.tenant_id, "slot": APRIL + timedelta(days=90), "model": "ghost", "provider": "x"}
    zeros = {column.name: 0 for column in UsageHourly.__table__.columns if not column.primary_key}
    books.db.write(lambda session: session.execute(insert(UsageHourly), [extra | zeros | {"tier": "free", "calls": 4}]))
    found = books.wrong()
    assert {(one.kind, one.measure) for one in found} >= {("user", "cost_nano_usd"), ("quarters", "calls")}
    assert any(one.kind.startswith("times") for one in found)
    ghost = next(one for one in found if one.key == "ghost x free" or "ghost" in one.key)
    assert (ghost.ledger, ghost.rollup) == (0, 4)
    jobs(books).rebuild(books.tenant_id)
    assert books.wrong() == []
    assert books.everything() == before


def test_only_from_a_day_on(books: Books) -> None:
    books.put(*month_of_calls(books))
    days = jobs(books).rebuild(books.tenant_id, since=APRIL + timedelta(days=3, hours=5))
    assert days == 7
    assert books.counted() == 21
    assert books.missing() == 39
    assert books.wrong() == []


def test_what_was_broken_off_goes_on_where_it_stopped(books: Books) -> None:
    books.put(*month_of_calls(books))

    def cut(progress: Progress) -> None:
        if progress.day == APRIL - timedelta(days=5):
            raise Cut

    with pytest.raises(Cut):
        jobs(books).rebuild(books.tenant_id, on_progress=cut)
    assert books.counted() == 15
    seen: list[datetime] = []
    jobs(books).rebuild(books.tenant_id, on_progress=lambda progress: seen.append(progress.day))
    assert (seen[0], len(seen)) == (APRIL - timedelta(days=5), 15)
    assert (books.counted(), books.missing(), books.wrong()) == (60, 0, [])
    assert not books.db.read(lambda session: session.get_one(Setting, "rollups").value)
    assert jobs(books).rebuild(books.tenant_id) == 22


def test_days_whose_ledger_rows_are_gone_keep_their_rollups(books: Books) -> None:
    books.fold(*month_of_calls(books))
    before = books.everything()
    since = APRIL - timedelta(days=4)
    gone = UsageMetric.tenant_id == books.tenant_id, UsageMetric.created_at < since
    books.db.write(lambda session: session.execute(delete(UsageMetric).where(*gone)))
    change(books, ledger_since=since)
    assert books.wrong() == []
    assert jobs(books).rebuild(books.tenant_id) == 14
    assert books.everything() == before


def test_an_unknown_tenant_is_said_to_be_unknown(books: Books) -> None:
    with pytest.raises(NotFound):
        jobs(books).rebuild("tenant_none")
    with pytest.raises(NotFound):
        jobs(books).check("tenant_none")


def test_one_tenants_days_are_not_anothers(books: Books) -> None:
    other = Books(books.db)
    other.fold(*month_of_calls(other, 12))
    books.put(*month_of_calls(books, 12))
    before = other.everything()
    jobs(books).rebuild(books.tenant_id)
    assert other.everything() == before
    assert jobs(books).check() == []


def test_calls_that_are_settled_meanwhile_are_counted_once(books: Books) -> None:
    """Settled, settled after all, and priced anew, while the days are counted again and again."""
    books.put(*month_of_calls(books, 12))

    def settle(number: int) -> None:
        row_id = books.db.write(lambda session: books.opened(session))
        for outcome in ("interrupted", "ok"):
            settled = ledger.Settlement(outcome, cost_nano_usd=number, latency_ms=70)  # type: ignore[arg-type]
            books.db.write(lambda session, end=settled: ledger.settle_call(session, row_id, end))

    with ThreadPoolExecutor(3) as pool:
        settled = [pool.submit(settle, number) for number in range(90)]
        for _ in range(2):
            jobs(books).rebuild(books.tenant_id)
        for one in settled:
            one.result()
    assert books.sum(UsageHourly.cost_nano_usd, UsageHourly.model == "big") == sum(range(90))
    assert (books.missing(), books.wrong()) == (0, [])


# ---- a tenant's new time zone


@pytest.mark.parametrize("timezone", ["Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_a_new_time_zone_moves_the_days(books: Books, timezone: str) -> None:
    books.fold(*month_of_calls(books))
    change(books, timezone=timezone)
    assert tenant(books).days_zone == "UTC"
    jobs(books).keep_up()
    assert tenant(books).days_zone == timezone
    assert (0, 0) not in starts(books)
    assert books.wrong() == []
    moved = Books(books.db, timezone)
    moved.fold(*({**call, "tenant_id": moved.tenant_id, "id": call["id"] + "x"} for call in month_of_calls(books)))
    rows = {name: [tuple(row)[1:] for row in rows] for name, rows in moved.everything().items()}
    assert {name: [tuple(row)[1:] for row in rows] for name, rows in books.everything().items()} == rows


def test_calls_settled_between_the_change_and_the_move_are_not_lost(books: Books) -> None:
    books.fold(*month_of_calls(books))
    change(books, timezone="America/New_York")
    books.fold(books.call(created_at=APRIL), books.call(created_at=APRIL - timedelta(days=5)))
    assert books.wrong() == []  # by quarters of an hour
    jobs(books).keep_up()
    assert (books.counted(), books.wrong()) == (62, [])
    for level in ("day", "month"):
        assert books.sum(UsageDaily.calls, UsageDaily.kind == "user", UsageDaily.level == level) == 62


def test_a_zone_that_changes_back_and_forth_ends_where_it_should(books: Books) -> None:
    books.fold(*month_of_calls(books))
    before = books.everything()
    for timezone in ("Asia/Kathmandu", "America/New_York", "UTC"):
        change(books, timezone=timezone)
        jobs(books).keep_up()
    assert books.everything() == before


def test_a_new_time_zone_keeps_what_retention_left(books: Books) -> None:
    books.fold(*month_of_calls(books))
    since = APRIL - timedelta(days=4)
    gone = UsageMetric.tenant_id == books.tenant_id, UsageMetric.created_at < since
    books.db.write(lambda session: session.execute(delete(UsageMetric).where(*gone)))
    change(books, ledger_since=since, timezone="Europe/Berlin")
    jobs(books).keep_up()
    for level in ("day", "month"):
        for kind in ("model", "user"):
            where = UsageDaily.kind == kind, UsageDaily.level == level
            assert books.sum(UsageDaily.calls, *where) == 60
    assert books.sum(UsageDaily.calls, UsageDaily.kind == "detail") == 60
    assert books.counted() == 60


# ---- corrections


def test_pricing_anew_changes_the_rollups_too(books: Books) -> None:
    calls = month_of_calls(books, 12)
    books.fold(*({**call, "cost_nano_usd": None} for call in calls))
    price = Repricing(books.db, lambda call: Price(5, "config") if call.tenant_id == books.tenant_id else None)
    price.recompute(dry_run=True)
    assert books.sum(UsageHourly.priced) == 0
    price.recompute()
    assert (books.sum(UsageHourly.cost_nano_usd), books.sum(UsageHourly.priced)) == (5 * 36, 36)
    assert (books.missing(), books.wrong()) == (0, [])


def test_a_correction_of_a_row_that_is_no_rollups_yet_folds_it(books: Books) -> None:
    (row_id,) = books.put(books.call())

    def work(session: Session) -> None:
        rollups.take_out(session, [row_id])
        session.execute(update(UsageMetric).where(UsageMetric.id == row_id).values(user_id="nobody"))
        rollups.note(session, row_id)

    books.db.write(work)
    assert books.sum(UsageDaily.calls, UsageDaily.user_id == "nobody", UsageDaily.level == "day") == 1
    assert books.wrong() == []


# ---- what went wrong in between


def killed_after(books: Books, days: int, monkeypatch: pytest.MonkeyPatch) -> RollupJobs:
    """Jobs whose process dies when so many days are counted."""
    work, done = jobs(books), 0
    step = work._step

    def dying(*given: Any, **named: Any) -> Any:
        nonlocal done
        done += 1
        if done > days:
            raise Died
        return step(*given, **named)

    monkeypatch.setattr(work, "_step", dying)
    return work


class Died(BaseException):
    """No `except Exception` keeps a process alive that is killed."""


def test_a_zone_changed_back_before_its_days_have_moved_leaves_none_of_them_behind(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.fold(*month_of_calls(books))
    before = books.everything()
    change(books, timezone="America/New_York")
    with pytest.raises(Died):
        killed_after(books, 10, monkeypatch).keep_up()
    assert tenant(books).days_zone == ""
    change(books, timezone="UTC")
    jobs(books).keep_up()
    assert tenant(books).days_zone == "UTC"
    assert books.everything() == before


@pytest.mark.parametrize("timezone", ["America/New_York", "Asia/Tokyo"])
def test_the_day_that_the_ledger_begins_in_is_counted_once(books: Books, timezone: str) -> None:
    """Its calls that are settled late, its days counted anew, and the comparison."""
    books.fold(*month_of_calls(books))
    since = APRIL - timedelta(days=4)
    gone = UsageMetric.tenant_id == books.tenant_id, UsageMetric.created_at < since
    books.db.write(lambda session: session.execute(delete(UsageMetric).where(*gone)))
    change(books, ledger_since=since, timezone=timezone)
    jobs(books).keep_up()
    assert books.wrong() == []
    books.fold(*(books.call(created_at=since + timedelta(hours=hour), outcome="timeout") for hour in (0, 1, 12)))
    before = books.everything()
    assert books.wrong() == []
    jobs(books).rebuild(books.tenant_id)
    assert books.everything() == before
    for level in ("day", "month"):
        for kind in ("model", "user", "agent"):
            assert books.sum(UsageDaily.calls, UsageDaily.kind == kind, UsageDaily.level == level) == 63


def test_a_run_that_was_broken_off_says_that_it_goes_on_and_can_begin_afresh(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.put(*month_of_calls(books))
    for afresh, days in ((False, 10), (True, 22)):
        with pytest.raises(Died):
            killed_after(books, 10, monkeypatch).rebuild(books.tenant_id, afresh=True)
        seen: list[Progress] = []
        assert jobs(books).rebuild(books.tenant_id, on_progress=seen.append, afresh=afresh) == days
        assert [one.resumed for one in seen] == [not afresh] + [False] * (days - 1)


def test_one_that_was_broken_off_long_ago_is_forgotten(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.put(*month_of_calls(books))
    with pytest.raises(Died):
        killed_after(books, 10, monkeypatch).rebuild(books.tenant_id)
    monkeypatch.setattr("chatcore.usage.rollup_jobs._REMEMBERED", timedelta(0))
    assert jobs(books).rebuild(books.tenant_id) == 22


def test_a_run_that_is_killed_leaves_its_months_right(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.put(*month_of_calls(books))
    with pytest.raises(Died):
        killed_after(books, 5, monkeypatch).rebuild(books.tenant_id)
    sums = {books.sum(UsageDaily.calls, UsageDaily.kind == "user", UsageDaily.level == one) for one in ("day", "month")}
    assert sums == {books.counted()}


def test_a_row_that_cannot_be_counted_holds_nobody_up(books: Books, caplog: pytest.LogCaptureFixture) -> None:
    other = Books(books.db)
    other.fold(*month_of_calls(other))
    (bad,) = books.put(books.call(created_at=datetime(9999, 12, 31, 23, 50, tzinfo=UTC)))
    books.put(*month_of_calls(books))
    for one in (books, other):
        change(one, timezone="Asia/Tokyo")
    work = jobs(books)
    for _ in range(3):
        work.keep_up()
    assert (books.counted(), books.missing()) == (60, 1)
    assert [tenant(one).days_zone for one in (books, other)] == ["Asia/Tokyo"] * 2
    assert [record.usage_id for record in caplog.records if hasattr(record, "usage_id")] == [bad]
    assert books.wrong() == other.wrong() == []


def test_a_tenant_whose_days_cannot_be_moved_holds_nobody_up(
    books: Books, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = Books(books.db)
    for one in (books, other):
        one.fold(one.call())
        change(one, timezone="Asia/Tokyo")
    work = jobs(books)
    step = work._step

    def failing(session: Session, plan: Any, day: datetime) -> Any:
        if plan.tenant_id == books.tenant_id:
            raise ZeroDivisionError
        return step(session, plan=plan, day=day)

    monkeypatch.setattr(work, "_step", failing)
    for _ in range(2):
        work.keep_up()
    assert tenant(other).days_zone == "Asia/Tokyo"
    assert sum("could not be moved" in record.message for record in caplog.records) == 1
