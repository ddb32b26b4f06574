"""Reading the audit log: an admin the entries of their tenant, an operator also those of the whole instance.

Entries hold ids; names are looked up when they are read, so that somebody's new name stands there too, and an erased
person's nowhere.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Text, and_, bindparam, cast, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from chatcore.accounts import audit
from chatcore.accounts.audit_words import sentence
from chatcore.accounts.people import require_admin
from chatcore.accounts.principal import Principal
from chatcore.accounts.validation import is_storable
from chatcore.db import Database
from chatcore.db.tables import AuditEntry, Tenant, User
from chatcore.errors import Forbidden, InvalidInput
from chatcore.sheets import csv_text

Cursor = tuple[datetime, str]

COMMAND_LINE: Final = "The command line"
NOBODY_KNOWN: Final = "An erased person"
AN_OPERATOR: Final = "An operator"
CSV_COLUMNS: Final = (
    "id", "created_at", "tenant", "actor_id", "actor", "action", "target", "target_name", "words", "address", "details",
)  # fmt: skip
_MOST: Final = 500
_PAGE: Final = 2_000
_YEARS: Final = (1970, 2200)
_MAX_CHARS: Final = 500  # of an id or an action
_log: Final = AuditEntry.__table__
_NOWHERE: Final = update(_log).where(_log.c.user_id == bindparam("person")).values(address="")  # type: ignore[arg-type]
_NOTHING: Final = update(_log).where(_log.c.target == bindparam("person")).values(details={})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Wanted:
    """Which entries. `actor`, `target`: ids, '' for any. `action`: its beginning, such as `user.`.

    `since` is part of the range, `until` is not; both carry a time zone. `everywhere`: of all tenants, for operators.
    Raises `InvalidInput` for what can be none of these.
    """

    actor: str = ""
    action: str = ""
    target: str = ""
    since: datetime | None = None
    until: datetime | None = None
    everywhere: bool = False

    def __post_init__(self) -> None:
        for moment in (self.since, self.until):
            if moment is not None and (moment.tzinfo is None or not _YEARS[0] <= moment.year <= _YEARS[1]):
                raise InvalidInput(f"A time needs a time zone and lies between the years {_YEARS[0]} and {_YEARS[1]}.")
        if not all(len(one) <= _MAX_CHARS and is_storable(one) for one in (self.actor, self.action, self.target)):
            raise InvalidInput("There is no person and no action like that.")


@dataclass(frozen=True)
class Entry:
    """What somebody did. `actor` and `target_name`: as they are called now, the latter '' where it is no person.

    `words`: the whole as a sentence. `address`: where from, '' where it is not known.
    """

    id: str
    at: datetime
    tenant: str
    actor_id: str
    actor: str
    action: str
    target: str
    target_name: str
    address: str
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """Who did what to whom: `Ada made Bob admin`."""
        return sentence(self.actor, self.action, self.target_name, self.details, own=self.actor_id == self.target)

    @property
    def cursor(self) -> Cursor:
        """Hand it to `listed(before=…)` for the entries that follow this one."""
        return self.at, self.id


class AuditLog:
    """The audit log, to read. Everything raises `Forbidden` for a member."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def listed(
        self, principal: Principal, wanted: Wanted = Wanted(), *, limit: int = 50, before: Cursor | None = None
    ) -> list[Entry]:
        """The newest entries, at most 500. `before`: the `cursor` of the last one that one has."""
        if not 1 <= limit <= _MOST:
            raise InvalidInput(f"Between 1 and {_MOST} entries can be listed at a time.")
        statement = _listed(principal, wanted, limit, before)
        return self._db.read(partial(_entries, principal, statement))

    def export_csv(self, principal: Principal, wanted: Wanted = Wanted()) -> Iterator[str]:
        """All of them as CSV text, newest first, in pieces; no session stays open between two. That is noted, too."""
        _refuse(principal, wanted)
        self._db.write(lambda session: audit.record(session, principal, "audit.export"))
        return self._lines(principal, wanted)

    def _lines(self, principal: Principal, wanted: Wanted) -> Iterator[str]:
        yield csv_text([CSV_COLUMNS])
        before: Cursor | None = None
        while True:
            statement = _listed(principal, wanted, _PAGE, before)
            found = self._db.read(partial(_entries, principal, statement))
            if found:
                yield csv_text(_row(one) for one in found)
            if len(found) < _PAGE:
                return
            before = found[-1].cursor


def empty(session: Session, user_id: str, *names: str) -> None:
    """Take out of the log what may tell of an erased person: from where they acted, the details of what was done to
    them or speaks of them by their id, and those of their own acts in which one of their `names` stands.

    Who did what to whom and when stays, as ids. The database lets nothing else of an entry be changed.
    """
    for statement in (_NOWHERE, _NOTHING):
        session.execute(statement, {"person": user_id})
    named = (and_(_log.c.user_id == user_id, _says(name)) for name in names if name)
    session.execute(update(_log).where(or_(_says(user_id), *named)).values(details={}))  # type: ignore[arg-type]


def _says(word: str) -> ColumnElement[bool]:
    """Whether it stands in an entry's details, as JSON writes it."""
    written = json.dumps(word)[1:-1].lower()
    return func.lower(cast(_log.c.details, Text)).contains(written, autoescape=True)


def _refuse(principal: Principal, wanted: Wanted) -> None:
    require_admin(principal)
    if wanted.everywhere and not principal.is_operator:
        raise Forbidden("Only an operator sees the audit log of all tenants.")


@cache
def _people() -> tuple[Any, Any]:
    """`users` as those who act, and as those to whom it is done; made on first use, as it sets up all tables."""
    return aliased(User), aliased(User)


def _listed(principal: Principal, wanted: Wanted, limit: int, before: Cursor | None) -> Select[Any]:
    _refuse(principal, wanted)
    row, (who, whom) = AuditEntry, _people()
    statement = (
        select(
            row.id, row.created_at, row.tenant_id, Tenant.name.label("tenant"), row.user_id, row.action, row.target,
            row.address, row.details, who.name.label("actor"), who.tenant_id.label("from_tenant"),
            whom.name.label("whom"),
        )
        .outerjoin(Tenant, Tenant.id == row.tenant_id)
        .outerjoin(who, who.id == row.user_id)
        .outerjoin(whom, and_(whom.id == row.target, whom.tenant_id == row.tenant_id))
    )  # fmt: skip
    if not wanted.everywhere:
        statement = statement.where(row.tenant_id == principal.tenant_id)
    for column, value in ((row.user_id, wanted.actor), (row.target, wanted.target)):
        if value:
            statement = statement.where(column == value)
    if wanted.action:
        statement = statement.where(row.action.startswith(wanted.action, autoescape=True))
    if wanted.since is not None:
        statement = statement.where(row.created_at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(row.created_at < wanted.until)
    if before is not None:
        at, entry_id = before
        older = and_(row.created_at <= at, or_(row.created_at < at, row.id < entry_id))
        statement = statement.where(row.id < entry_id if wanted.everywhere else older)
    # Ids are in the order of time too, and over all tenants only they have an index.
    order = (row.id.desc(),) if wanted.everywhere else (row.created_at.desc(), row.id.desc())
    return statement.order_by(*order).limit(limit)


def _entries(principal: Principal, statement: Select[Any], session: Session) -> list[Entry]:
    return [
        Entry(
            id=row.id,
            at=row.created_at,
            tenant=row.tenant or "",
            actor_id=row.user_id or "",
            actor=_actor(principal, row),
            action=row.action,
            target=row.target,
            target_name=row.whom or "",
            address=row.address,
            details=row.details or {},
        )
        for row in session.execute(statement)
    ]


def _actor(principal: Principal, row: Any) -> str:
    """Who of another tenant did something here was an operator; their name is not this tenant's to see."""
    if row.user_id is None:
        return COMMAND_LINE
    if row.actor is None:
        return NOBODY_KNOWN
    if row.from_tenant != principal.tenant_id and not principal.is_operator:
        return AN_OPERATOR
    return str(row.actor)


def _row(one: Entry) -> tuple[Any, ...]:
    details = json.dumps(one.details, ensure_ascii=False) if one.details else ""
    return (
        one.id, one.at, one.tenant, one.actor_id, one.actor, one.action, one.target, one.target_name, one.words,
        one.address, details,
    )  # fmt: skip
