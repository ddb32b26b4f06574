"""Days of believable usage by made-up people, for trying the usage page and for measuring it.

Every row made here carries `is_demo`, and `remove` takes exactly these away again. The people have no password. Rows
are written with the drivers' own fast ways, and the rollups of their days, weeks and months in the same transaction:
the usage page is right at any moment, and after a run that was killed, too.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, insert, select
from sqlalchemy.orm import Session

from chatcore.db import Database
from chatcore.db.tables import (
    Agent,
    LimitHit,
    Tenant,
    User,
    utcnow,
)
from chatcore.errors import InvalidInput, NotFound
from chatcore.ids import new_id
from chatcore.usage import demo_removal, demo_team, rollup_days, rollups, zones

if TYPE_CHECKING:
    from chatcore.usage.demo_draws import Ints, Row, Scene

_MAX_ROWS: Final = 20_000_000
_AT_ONCE: Final = 50_000  # rows drawn at once
_A_TRANSACTION: Final = 20_000  # rows, at least, but for the last
_MANY: Final = 200_000  # rows from which a large page cache is worth it
_CALLS_A_DAY: Final = 140
_CREATED_AT: Final = 1  # where it stands in a row

OnProgress = Callable[[int, int], None]
"""Told how many of how many calls are written."""


@dataclass(frozen=True)
class DemoSummary:
    """What was made: numbers of people and of ledger rows, and the days they cover."""

    people: int
    calls: int
    days: int


def make(
    db: Database,
    tenant_id: str,
    days: int = 90,
    rows: int | None = None,
    seed: int = 1,
    now: datetime | None = None,
    *,
    people: int | None = None,
    models: int | None = None,
    on_progress: OnProgress = lambda done, of: None,
) -> DemoSummary:
    """Replace the tenant's demo data by `days` days up to `now` with `rows` calls (about 140 a day where None).

    `people`, `models`: how many there are, where None nine and eight, and more with the calls. Written day by day, so
    a running app goes on writing in between. Where less of the ledger is kept (`ledger_since`), it is that many
    days. The same seed and time give the same draws. Raises `InvalidInput` for impossible numbers and `NotFound` where
    there is no such tenant.
    """
    if not 1 <= days <= 3660:
        raise InvalidInput("Demo data can cover 1 to 3660 days.")
    if rows is not None and not 0 <= rows <= _MAX_ROWS:
        raise InvalidInput(f"Demo data can have up to {_MAX_ROWS:,} rows.")
    tenant = db.read(lambda session: session.get(Tenant, tenant_id))
    if tenant is None:
        raise NotFound("There is no such tenant. `tenants list` names those that exist.")
    now = now or utcnow()
    days = _days_kept(tenant, days, now)
    rows = days * _CALLS_A_DAY if rows is None else rows
    demo_removal.remove(db, tenant_id)
    scene = _scene(db, tenant_id, rows, people, models, now)
    _make_calls(db, scene, zones.of_tenant(tenant.timezone), (days, rows, seed, now), on_progress)
    return DemoSummary(people=len(scene.people), calls=rows, days=days)


def remove(db: Database, tenant_id: str | None = None) -> int:
    """Delete all that is marked as demo, and what signing in as a demo person left behind.

    `tenant_id`: only that tenant's. Returns the number of ledger rows deleted; rows that are not marked stay.
    """
    return demo_removal.remove(db, tenant_id)


def _days_kept(tenant: Tenant, days: int, now: datetime) -> int:
    """As many of the days as are in the tenant's ledger: what was counted of older ones could not be told apart."""
    if tenant.ledger_since is None:
        return days
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    kept = min(days, (today - tenant.ledger_since) // timedelta(days=1) + 1)
    if kept < 1:
        raise InvalidInput(f"Calls of this team are kept from {tenant.ledger_since:%-d %B %Y} on: no whole day as yet.")
    return kept


def _scene(db: Database, tenant_id: str, rows: int, people: int | None, models: int | None, now: datetime) -> "Scene":
    from chatcore.usage.demo_draws import Scene

    chosen = demo_team.models(rows, models)
    team = demo_team.people(rows, len(chosen), people)
    made = [_person(one, tenant_id, now) for one in team]
    db.write(lambda session: session.execute(insert(User), made))
    of_team = (Agent.tenant_id == tenant_id, Agent.archived_at.is_(None), Agent.visibility == "team")
    agents = select(Agent.id).where(*of_team).order_by(Agent.position)
    agent_ids = db.read(lambda session: session.scalars(agents.limit(8)).all())
    return Scene(tenant_id, chosen, team, tuple(one["id"] for one in made), tuple(agent_ids))


def _person(person: demo_team.DemoPerson, tenant_id: str, now: datetime) -> dict[str, Any]:
    return {
        "id": new_id("user"), "tenant_id": tenant_id, "username": _username(person.name, tenant_id),
        "name": f"{person.name} (demo)", "role": "member", "tier": person.tier, "team": person.team, "is_demo": True,
        "settings": {}, "created_at": now,
    }  # fmt: skip


def _username(name: str, tenant_id: str) -> str:
    """`mira.okafor.demo-4k2x9a`: usernames are unique over all tenants, and nobody types these."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return f"{re.sub('[^a-z]+', '.', ascii_name)}.demo-{hashlib.sha256(tenant_id.encode()).hexdigest()[:6]}"


@dataclass
class _Batch:
    """What one transaction writes: rows, refusals, and the first moments of the days they are of."""

    rows: list["Row"]
    refusals: list[dict[str, Any]]
    days: list[datetime]
    done: int = 0


def _make_calls(
    db: Database, scene: "Scene", zone: tzinfo, size: tuple[int, int, int, datetime], on_progress: OnProgress
) -> None:
    """Draw the next rows while the last ones are written."""
    days, rows, seed, now = size
    with _writer(db, rows) as connection, ThreadPoolExecutor(1) as pool:
        before: Future[None] | None = None
        for batch in _batches(scene, zone, days, rows, seed, now):
            if before is not None:
                before.result()
            before = pool.submit(_write, connection, partial(_put, batch=batch, scene=scene, zone=zone))
            on_progress(batch.done, rows)
        if before is not None:
            before.result()


def _batches(scene: "Scene", zone: tzinfo, days: int, rows: int, seed: int, now: datetime) -> "Iterator[_Batch]":
    import numpy as np

    from chatcore.usage import demo_draws

    # The tenant is part of the seed, as ids come from the draws and must differ between tenants.
    rng = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(scene.tenant_id.encode()).digest()[:8])])
    times = demo_draws.call_times(rng, rows, days, now)
    batch, done = _Batch([], [], []), 0
    for day, part in _by_day(times, zone):
        for place in range(0, len(part), _AT_ONCE):
            some = part[place : place + _AT_ONCE]
            batch.rows += demo_draws.calls(rng, scene, some, done / rows)
            batch.refusals += demo_draws.refusals(rng, scene, some)
            done += len(some)
        batch.days.append(day)
        if len(batch.rows) >= _A_TRANSACTION or done == rows:
            batch.done = done
            yield batch
            batch = _Batch([], [], [])


def _by_day(times: "Ints", zone: tzinfo) -> "Iterator[tuple[datetime, Ints]]":
    place = 0
    while place < len(times):
        day = zones.day_start(datetime.fromtimestamp(int(times[place]) / 1000, UTC), zone)
        end = int(times.searchsorted(int(zones.next_day(day, zone).timestamp() * 1000)))
        yield day, times[place:end]
        place = end


@contextmanager
def _writer(db: Database, rows: int) -> "Iterator[Connection]":
    """A connection of its own, which keeps its page cache; other writers wait for each transaction only."""
    with db.engine.connect().execution_options(chatcore_write=True) as connection:
        if db.is_sqlite and rows >= _MANY:
            connection.connection.driver_connection.execute("PRAGMA cache_size=-400000")  # type: ignore[union-attr]
        yield connection
        if db.is_sqlite:
            connection.connection.driver_connection.execute("PRAGMA cache_size=-16000")  # type: ignore[union-attr]


def _write(connection: Connection, work: Callable[[Session], Any]) -> None:
    with connection.begin(), Session(connection, join_transaction_mode="rollback_only") as session:
        work(session)


def _put(session: Session, batch: _Batch, scene: "Scene", zone: tzinfo) -> None:
    """Write the batch, and count its days, weeks and months as the tenant keeps them now. `zone`: that of its days."""
    rollups.hold(session, scene.tenant_id, alone=True)
    tenant = session.get_one(Tenant, scene.tenant_id)
    since = tenant.ledger_since
    first = "" if since is None else f"{since:%Y-%m-%d %H:%M:%S.%f}"
    _copy(session, [row for row in batch.rows if row[_CREATED_AT] >= first])
    if batch.refusals:
        session.execute(insert(LimitHit), batch.refusals)
    today = zones.of_tenant(tenant.timezone)
    days = batch.days if today == zone else _days_in(today, batch.days[0], zones.next_day(batch.days[-1], zone))
    for day in days:
        rollup_days.count_day(session, scene.tenant_id, day, today, since)
    rollup_days.count_longer(session, scene.tenant_id, days, today)


def _days_in(zone: tzinfo, begin: datetime, end: datetime) -> list[datetime]:
    found = [zones.day_start(begin, zone)]
    while (day := zones.next_day(found[-1], zone)) < end:
        found.append(day)
    return found


def _copy(session: Session, rows: list["Row"]) -> None:
    from chatcore.usage.demo_draws import COLUMNS

    names = ", ".join(COLUMNS)
    driver: Any = session.connection().connection.driver_connection
    if session.get_bind().dialect.name == "sqlite":
        marks = ", ".join("?" * len(COLUMNS))
        driver.executemany(f"INSERT INTO usage_metrics ({names}) VALUES ({marks})", rows)  # noqa: S608 - our own names
        return
    with driver.cursor() as cursor, cursor.copy(f"COPY usage_metrics ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
