"""Numbers from before the ledger, of which only rollups are left."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from chatcore.db import Database
from chatcore.db.tables import Tenant, UsageMetric
from chatcore.ids import new_id
from chatcore.usage import Filter, TooManyCalls, cells, zones
from chatcore.usage.rollup_jobs import RollupJobs
from tests.usage.test_questions import JANUARY, House, all_of, ended

ALL = Filter(JANUARY - timedelta(days=40), JANUARY + timedelta(days=200))


def without_ledger_before(house: House, since: datetime) -> None:
    def work(session: Session) -> None:
        of = UsageMetric.tenant_id == house.tenant
        session.execute(delete(UsageMetric).where(of, UsageMetric.created_at < since))
        session.execute(update(Tenant).where(Tenant.id == house.tenant).values(ledger_since=since))

    house.db.write(work)


def moved_to(house: House, timezone: str, **more: str) -> None:
    changed = update(Tenant).where(Tenant.id == house.tenant).values(timezone=timezone, **more)
    house.db.write(lambda session: session.execute(changed))


@pytest.mark.parametrize("timezone", ["America/New_York", "Europe/Berlin", "Asia/Kathmandu"])
@pytest.mark.parametrize("days_zone", ["UTC", ""])
def test_each_old_call_counts_once_while_days_move(module_database: Database, timezone: str, days_zone: str) -> None:
    house = House(module_database, "UTC")
    house.put([ended(created_at=JANUARY + timedelta(hours=6 * n)) for n in range(400)], all_of)
    without_ledger_before(house, JANUARY + timedelta(days=50))
    moved_to(house, timezone, days_zone=days_zone)

    assert house.usage.totals(house.admin, ALL).calls == 400
    for group_by in ("model", "user", "agent", "tier", "team"):
        assert house.usage.breakdown(house.admin, ALL, group_by)["calls"].sum() == 400, group_by
        assert house.usage.series(house.admin, ALL, group_by, "month")["calls"].sum() == 400, group_by
    for by in ("none", "model"):
        assert set(house.usage.percentiles(house.admin, ALL, by)["calls"]) == {400}, by
    RollupJobs(house.db).keep_up()
    assert house.usage.breakdown(house.admin, ALL, "user")["calls"].sum() == 400


def test_what_would_read_too_many_calls_is_refused(module_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(module_database)
    house.put([ended(created_at=JANUARY + timedelta(hours=n)) for n in range(60)], all_of)
    monkeypatch.setattr(cells, "MOST_READ", 50)
    free = replace(ALL, tiers=("free",))
    with pytest.raises(TooManyCalls, match="60 calls one by one"):
        house.usage.percentiles(house.admin, free)
    with pytest.raises(TooManyCalls):
        house.usage.breakdown(house.admin, replace(ALL, models=("m",)), "user")
    assert house.usage.breakdown(house.admin, free, "model")["calls"].sum() >= 0
    house.usage.percentiles(house.member("ann"), ALL)
    house.usage.percentiles(house.admin, replace(free, start=JANUARY, end=JANUARY + timedelta(days=1)))


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Africa/Cairo", "UTC"])
def test_the_range_before_whole_days_is_as_many_whole_days(name: str) -> None:
    zone = ZoneInfo(name)
    for first in (date(2026, 3, 20), date(2026, 4, 1), date(2026, 10, 30), date(2026, 11, 2)):
        chosen = Filter(zones.begin(first, zone), zones.begin(first + timedelta(days=7), zone))
        before = chosen.previous(chosen.end + timedelta(days=1), zone)
        assert (before.start, before.end) == (zones.begin(first - timedelta(days=7), zone), chosen.start)
        noon = datetime(first.year, first.month, first.day, 12, tzinfo=zone)
        assert chosen.previous(noon, zone).end.astimezone(zone).hour == 12


def test_a_page_of_calls_is_found_however_far_back(module_database: Database) -> None:
    house = House(module_database)
    rows = house.put([ended(created_at=JANUARY + timedelta(days=n * n)) for n in range(14)], all_of)
    newest = [row["id"] for row in sorted(rows, key=lambda row: row["created_at"], reverse=True)]
    first = house.usage.calls(house.admin, ALL, limit=5)
    second = house.usage.calls(house.admin, ALL, limit=20, before=first[-1].cursor)
    assert [one.id for one in (*first, *second)] == newest
    assert house.usage.calls(house.admin, replace(ALL, models=("absent",))) == []


def test_people_beyond_the_largest_count_once_before_the_ledger(module_database: Database) -> None:
    house = House(module_database)
    crowd = {f"p{number:02}": new_id("user") for number in range(70)}
    house.people |= crowd
    times = [JANUARY + timedelta(days=day, hours=9) for day in (1, 2)]
    house.put([ended(user_id=name, created_at=time) for name in crowd for time in times], all_of)
    without_ledger_before(house, JANUARY + timedelta(days=40))
    chosen = Filter(JANUARY + timedelta(days=1), JANUARY + timedelta(days=3))
    assert house.usage.series(house.admin, chosen, "user", "hour")["calls"].sum() == 140


def test_it_is_said_from_when_on_a_question_is_answered(module_database: Database) -> None:
    house, since = House(module_database), JANUARY + timedelta(days=40)
    house.put([ended(created_at=JANUARY)], all_of)
    without_ledger_before(house, since)
    assert house.usage.known_since(house.admin, ALL) is None
    assert house.usage.known_since(house.member("ann"), ALL) == since
    assert house.usage.known_since(house.member("ann"), replace(ALL, start=since)) is None
