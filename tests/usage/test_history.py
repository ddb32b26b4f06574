"""Numbers from before the ledger, of which only rollups are left."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete, update

from chatcore.db.tables import Tenant, UsageMetric
from chatcore.usage import Filter
from chatcore.usage.rollup_jobs import RollupJobs
from tests.usage.test_questions import JANUARY, House, all_of, ended

ALL = Filter(JANUARY - timedelta(days=40), JANUARY + timedelta(days=200))


def without_ledger_before(house: House, since: datetime) -> None:
    def work(session: object) -> None:
        of = UsageMetric.tenant_id == house.tenant
        session.execute(delete(UsageMetric).where(of, UsageMetric.created_at < since))  # type: ignore[attr-defined]
        session.execute(update(Tenant).where(Tenant.id == house.tenant).values(ledger_since=since))  # type: ignore[attr-defined]

    house.db.write(work)


def moved_to(house: House, timezone: str, **more: str) -> None:
    changed = update(Tenant).where(Tenant.id == house.tenant).values(timezone=timezone, **more)
    house.db.write(lambda session: session.execute(changed))


@pytest.mark.parametrize("timezone", ["America/New_York", "Europe/Berlin", "Asia/Kathmandu"])
@pytest.mark.parametrize("days_zone", ["UTC", ""])
def test_each_old_call_counts_once_while_days_move(module_database, timezone: str, days_zone: str) -> None:
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
