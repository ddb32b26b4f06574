"""Days of believable usage by made-up people, for trying the usage page and for measuring it.

Every row made here carries `is_demo`, and `remove` takes exactly these away again. The people have no password.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, delete, insert, select, update
from sqlalchemy.orm import Session

from chatcore.db import Database
from chatcore.db.tables import (
    Agent,
    ApiKey,
    BrowserSession,
    Conversation,
    OneTimeCode,
    Tenant,
    UsageMetric,
    User,
    utcnow,
)
from chatcore.errors import InvalidInput, NotFound
from chatcore.ids import new_id

_MAX_ROWS: Final = 20_000_000
_BATCH: Final = 20_000
_CALLS_A_DAY: Final = 140


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
) -> DemoSummary:
    """Replace the tenant's demo data by `days` days up to `now` with `rows` calls (about 140 a day where None).

    Written in batches, so a running app goes on writing in between. The same seed and time give the same draws.
    Raises `InvalidInput` for impossible numbers and `NotFound` where there is no such tenant.
    """
    if not 1 <= days <= 3660:
        raise InvalidInput("Demo data can cover 1 to 3660 days.")
    rows = days * _CALLS_A_DAY if rows is None else rows
    if not 0 <= rows <= _MAX_ROWS:
        raise InvalidInput(f"Demo data can have up to {_MAX_ROWS:,} rows.")
    if db.read(lambda session: session.get(Tenant, tenant_id)) is None:
        raise NotFound("There is no such tenant. `tenants list` names those that exist.")
    remove(db, tenant_id)
    users = _make_people(db, tenant_id, days, now or utcnow())
    for batch in _batches(tenant_id, users, days, rows, seed, now or utcnow()):
        db.write(_insert_calls(batch))
    return DemoSummary(people=len(users), calls=rows, days=days)


def remove(db: Database, tenant_id: str | None = None) -> int:
    """Delete all that is marked as demo, and what signing in as a demo person left behind.

    `tenant_id`: only that tenant's. Returns the number of ledger rows deleted; rows that are not marked stay.
    """
    users = db.read(lambda session: session.scalars(select(User.id).where(*_demo(User, tenant_id))).all())
    removed = 0
    for user_id in users:
        # One person at a time goes along their index; the last round takes what has no demo person.
        removed += _delete(db, UsageMetric, UsageMetric.user_id == user_id, *_demo(UsageMetric, tenant_id))
        _delete(db, Conversation, Conversation.user_id == user_id)
    removed += _delete(db, UsageMetric, *_demo(UsageMetric, tenant_id))
    _delete(db, Conversation, *_demo(Conversation, tenant_id))
    db.write(lambda session: _delete_people(session, tenant_id))
    return removed


def _make_people(db: Database, tenant_id: str, days: int, now: datetime) -> list[tuple[str, str]]:
    from chatcore.usage.demo_draws import PEOPLE

    people: list[dict[str, Any]] = [
        {
            "id": new_id("user"),
            "tenant_id": tenant_id,
            "username": _username(person.name, tenant_id),
            "name": f"{person.name} (demo)",
            "role": "member",
            "tier": "free",
            "is_demo": True,
            "settings": {},
            "created_at": now,
        }
        for person in PEOPLE
    ]
    db.write(lambda session: session.execute(insert(User), people))
    return [(person["id"], person["tier"]) for person in people]


def _username(name: str, tenant_id: str) -> str:
    """`mira.okafor.demo-4k2x9a`: usernames are unique over all tenants, and nobody types these."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return f"{re.sub('[^a-z]+', '.', ascii_name)}.demo-{hashlib.sha256(tenant_id.encode()).hexdigest()[:6]}"


def _batches(
    tenant_id: str, users: list[tuple[str, str]], days: int, rows: int, seed: int, now: datetime
) -> Iterator[list[dict[str, Any]]]:
    import numpy as np

    from chatcore.usage import demo_draws

    # The tenant is part of the seed, as ids come from the draws and must differ between tenants.
    rng = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(tenant_id.encode()).digest()[:8])])
    times = demo_draws.call_times(rng, rows, days, now)
    return demo_draws.calls(rng, times, tenant_id, users)


def _insert_calls(batch: list[dict[str, Any]]) -> Any:
    table = UsageMetric.__table__
    assert isinstance(table, Table)
    return lambda session: session.execute(insert(table), batch)


def _demo(table: type[User | UsageMetric | Conversation], tenant_id: str | None) -> list[ColumnElement[bool]]:
    return [table.is_demo.is_(True), *([table.tenant_id == tenant_id] if tenant_id else [])]


def _delete(db: Database, table: type[UsageMetric | Conversation], *where: ColumnElement[bool]) -> int:
    """Delete in batches, each its own transaction, and return how many rows went."""
    # A conversation takes its messages along.
    batch = select(table.id).where(*where).limit(_BATCH if table is UsageMetric else _BATCH // 40)
    statement = delete(table).where(table.id.in_(batch)).execution_options(synchronize_session=False)

    def work(session: Session) -> int:
        return int(session.execute(statement).rowcount)  # type: ignore[attr-defined]

    total = 0
    while count := db.write(work):
        total += count
    return total


def _delete_people(session: Session, tenant_id: str | None) -> None:
    people = select(User.id).where(*_demo(User, tenant_id))
    statements = (
        update(Agent).where(Agent.owner_id.in_(people)).values(owner_id=None),
        *(delete(table).where(table.user_id.in_(people)) for table in (BrowserSession, ApiKey, OneTimeCode)),
        delete(User).where(*_demo(User, tenant_id)),
    )
    for statement in statements:
        session.execute(statement.execution_options(synchronize_session=False))
