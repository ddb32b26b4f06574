"""Work on the rollups beside the running app: folding a backlog, counting anew, and a tenant's new time zone.

One process at a time does it; the lease `rollups` says which. Each day is a transaction of its own, and what was
broken off goes on where it stopped.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from chatcore.db import Database, leases
from chatcore.db.tables import Setting, Tenant, utcnow
from chatcore.errors import Conflict, DatabaseError, NotFound
from chatcore.ids import new_id
from chatcore.usage import rollup_backlog, rollup_days, rollup_sql, rollups, zones
from chatcore.usage.rollup_check import Difference, differences

log = logging.getLogger(__name__)

_AT_ONCE: Final = 5 * rollup_backlog.BATCH  # rows that are folded before anything else is done
_LEASE: Final = "rollups"
_SECONDS: Final = 120.0  # that the lease lasts: longer than any day takes
_PATIENCE: Final = 150.0
_BREATH: Final = 0.2  # seconds between two days that take long, at most: other processes' turn to write
_KEY: Final = "rollups"
_REMEMBERED: Final = timedelta(days=1)  # how long a broken-off run is gone on with


@dataclass(frozen=True)
class Progress:
    """How far counting anew has come: whose day was just done (its first moment, UTC), and when the last one begins."""

    tenant: str
    day: datetime
    until: datetime
    resumed: bool = False
    """Whether an earlier run was broken off right before this day, and its days are not counted again."""


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class _Plan:
    """A tenant's days to be counted anew, in the time zone that it had then."""

    tenant_id: str
    name: str
    timezone: str
    zone: tzinfo
    since: datetime | None
    begin: datetime
    resumed: bool


class RollupJobs:
    """For housekeeping and the command line. All methods raise `DatabaseError` when the database does not answer."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._holder = new_id("job")
        self._stopped = threading.Event()
        self._backlog = rollup_backlog.Backlog(db, self._stopped)
        self._unmovable: set[tuple[str, str]] = set()  # tenants and time zones, until the process ends

    def stop(self) -> None:
        """End what runs in another thread behind its present step; it goes on with the next process."""
        self._stopped.set()

    # ---- what housekeeping does

    def keep_up(self) -> None:
        """Fold what is settled and in no rollup yet, and count the days of tenants anew whose time zone has changed.

        Two small reads where there is nothing to do; where another process is at it, nothing is done here.
        """
        moved = [tuple(one) for one in self._db.read(lambda session: session.execute(_MOVED).all())]
        moved = [one for one in moved if one not in self._unmovable]
        if not moved and self._backlog.is_empty():
            return
        if not self._db.write(lambda session: leases.take(session, _LEASE, self._holder, _SECONDS)):
            return
        try:
            self.catch_up(_AT_ONCE)
            for tenant_id, timezone in moved:
                self._move(tenant_id, timezone)
        finally:
            self._release()

    def catch_up(self, limit: int | None = None) -> int:
        """Fold settled rows that are in no rollup yet, oldest first, up to about `limit`; returns how many were.

        A row that cannot be counted is logged, and left out until the process starts anew.
        """
        return self._backlog.fold(limit)

    def _move(self, tenant_id: str, timezone: str) -> None:
        """Count a tenant's days anew in its time zone. Where that cannot be done, other tenants' can."""
        try:
            self._rebuild(tenant_id, None, lambda _: None)
        except DatabaseError:
            raise
        except Exception:
            log.exception("a tenant's days could not be moved to its time zone", extra={"tenant_id": tenant_id})
            self._unmovable.add((tenant_id, timezone))

    # ---- what the command line does

    def rebuild(
        self,
        tenant_id: str | None = None,
        since: datetime | None = None,
        on_progress: OnProgress = lambda _: None,
        *,
        afresh: bool = False,
    ) -> int:
        """Count anew from the ledger, day by day: of a tenant, or of all where None. Returns the number of days.

        `since`: only from the day on that this moment is in. Goes on where a call with the same `since` was broken
        off less than a day ago, unless `afresh`. Days whose ledger rows are gone (`ledger_since`) keep their rollups.
        Raises `NotFound`, and `Conflict` while another process is at it.
        """
        chosen = self._db.read(lambda session: _tenants(session, tenant_id))
        self._take()
        try:
            return sum(self._rebuild(one.id, since, on_progress, afresh) for one in chosen)
        finally:
            self._release()

    def check(self, tenant_id: str | None = None, on_progress: OnProgress = lambda _: None) -> list[Difference]:
        """Where rollups and ledger differ, from `ledger_since` on; empty when all is well. Raises `NotFound`.

        A tenant whose days are just being moved to another time zone is looked at by quarters of an hour only.
        """
        found: list[Difference] = []
        for tenant in self._db.read(lambda session: _tenants(session, tenant_id)):
            found += self._check(tenant.id, on_progress)
        return found

    def _check(self, tenant_id: str, on_progress: OnProgress) -> list[Difference]:
        found: list[Difference] = []
        plan = self._db.read(lambda session: _plan(session, tenant_id, None, resume=False))
        day = self._first(plan)
        while day is not None:
            on_progress(Progress(plan.name, day, utcnow()))
            more, day = self._db.read(partial(_check_day, plan=plan, day=day))
            found += more
        return found

    def _first(self, plan: _Plan) -> datetime | None:
        return self._db.read(lambda session: rollup_days.following(session, plan.tenant_id, plan.begin, plan.zone))

    def _take(self) -> None:
        until = time.monotonic() + _PATIENCE
        while not self._db.write(lambda session: leases.take(session, _LEASE, self._holder, _SECONDS)):
            if time.monotonic() > until:
                raise Conflict("Another process is counting the rollups anew. Let it finish, or try again in a minute.")
            time.sleep(0.5)

    def _release(self) -> None:
        self._db.write(lambda session: leases.release(session, _LEASE, self._holder))

    def _rebuild(self, tenant_id: str, since: datetime | None, on_progress: OnProgress, afresh: bool = False) -> int:
        plan = self._db.read(lambda session: _plan(session, tenant_id, since, resume=not afresh))
        day, days = self._first(plan), 0
        if day is None:
            self._db.write(lambda session: _finish(session, plan))
        while day is not None:
            if self._stopped.is_set():
                return days
            began = time.monotonic()
            on_progress(Progress(plan.name, day, utcnow(), plan.resumed and days == 0))
            day = self._db.write(partial(self._step, plan=plan, day=day))
            days += 1
            self._stopped.wait(min((time.monotonic() - began) / 2, _BREATH))
        return days

    def _step(self, session: Session, plan: _Plan, day: datetime) -> datetime | None:
        """Count a day, and its week and month where these are over with it or have more calls now. Returns the next
        day."""
        leases.take(session, _LEASE, self._holder, _SECONDS)
        rollups.hold(session, plan.tenant_id, alone=True)
        tenant = session.get_one(Tenant, plan.tenant_id)  # retention may have moved on, or an admin
        if tenant.timezone != plan.timezone:
            return None
        moving = tenant.timezone != tenant.days_zone
        taken_in = rollup_days.count_day(session, plan.tenant_id, day, plan.zone, tenant.ledger_since)
        after = rollup_days.following(session, plan.tenant_id, zones.next_day(day, plan.zone), plan.zone)
        over = None if after is None or (taken_in and not moving) else after
        rollup_days.count_longer(session, plan.tenant_id, [day], plan.zone, over)
        _remember(session, plan, after)
        if after is None:
            _finish(session, plan)
        return after


_MOVED: Final = select(Tenant.id, Tenant.timezone).where(Tenant.timezone != Tenant.days_zone).order_by(Tenant.id)


def _tenants(session: Session, tenant_id: str | None) -> list[Tenant]:
    found = session.scalars(select(Tenant).order_by(Tenant.id)).all()
    chosen = [one for one in found if tenant_id in (None, one.id)]
    if not chosen:
        raise NotFound("There is no such tenant. `tenants list` names those that exist.")
    return chosen


def _plan(session: Session, tenant_id: str, since: datetime | None, *, resume: bool) -> _Plan:
    """Where the tenant's days are to be counted from: what comes before `ledger_since` only for a new time zone."""
    tenant = session.get_one(Tenant, tenant_id)
    zone = zones.of_tenant(tenant.timezone)
    begin = zones.day_start(since, zone) if since else datetime(1, 1, 2, tzinfo=UTC)
    if tenant.ledger_since and tenant.timezone == tenant.days_zone:
        begin = max(begin, tenant.ledger_since)
    left = _cursors(session).get(tenant_id) if resume else None
    resumed = left is not None and _goes_on(left, tenant.timezone, since)
    if left and resumed:
        begin = datetime.fromisoformat(left["next"])
    return _Plan(tenant_id, tenant.name, tenant.timezone, zone, since, begin, resumed)


def _check_day(session: Session, plan: _Plan, day: datetime) -> tuple[list[Difference], datetime | None]:
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    following = rollup_days.following(session, plan.tenant_id, zones.next_day(day, plan.zone), plan.zone)
    tenant = session.get_one(Tenant, plan.tenant_id, populate_existing=True)
    moving = not plan.timezone == tenant.timezone == tenant.days_zone
    chosen = rollup_days.day(plan.tenant_id, day, plan.zone)
    chosen["begin"] = max(chosen["begin"], tenant.ledger_since or chosen["begin"])
    looked_at = rollup_sql.parts_of_day()[:1] if moving else rollup_sql.parts_of_day()
    parts = [(part, chosen) for part in looked_at if chosen["begin"] < chosen["end"]]
    if not moving:
        parts += rollup_days.longer(plan.tenant_id, day, plan.zone, following)
    return [one for part, given in parts for one in differences(session, part, plan.name, given)], following


# ---- where counting anew has come to


def _cursors(session: Session) -> dict[str, Any]:
    row = session.get(Setting, _KEY, populate_existing=True)
    return dict(row.value) if row is not None else {}


def _goes_on(cursor: dict[str, Any], timezone: str, since: datetime | None) -> bool:
    if (cursor["timezone"], cursor["since"]) != (timezone, since and since.isoformat()):
        return False
    return "at" in cursor and datetime.fromisoformat(cursor["at"]) > utcnow() - _REMEMBERED


def _remember(session: Session, plan: _Plan, after: datetime | None) -> None:
    cursors = _cursors(session)
    cursors.pop(plan.tenant_id, None)
    if after is not None:
        since = plan.since.isoformat() if plan.since else None
        cursors[plan.tenant_id] = {
            "timezone": plan.timezone, "since": since, "next": after.isoformat(), "at": utcnow().isoformat(),
        }  # fmt: skip
    session.merge(Setting(key=_KEY, value=cursors, updated_at=utcnow()))


def _finish(session: Session, plan: _Plan) -> None:
    """All days are counted in the tenant's time zone now, where it is still the one that they were counted in."""
    tenant = session.get_one(Tenant, plan.tenant_id, with_for_update=True)
    if plan.since is None and tenant.timezone == plan.timezone:
        tenant.days_zone = plan.timezone
