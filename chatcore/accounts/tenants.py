"""Tenants: what their admins set for them, and the list of them for operators."""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final
from zoneinfo import available_timezones

from sqlalchemy import func, select, union_all, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chatcore.accounts import audit, codes, people, setup
from chatcore.accounts.codes import Link
from chatcore.accounts.principal import Principal
from chatcore.accounts.setup import NewTenantHook
from chatcore.accounts.validation import clean_name
from chatcore.db import Database
from chatcore.db.tables import NOT_ROLLED_UP, Tenant, UsageDaily, UsageMetric, User, utcnow
from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound

MIN_LEDGER_DAYS: Final = 62
"""Budgets, alerts and forecasts count this month and the one before it from the ledger."""
MAX_DAYS: Final = 36_500
RECENTLY: Final = timedelta(days=30)


@dataclass(frozen=True)
class TenantSettings:
    """What holds for a tenant. `timezone`: where its days begin; `counted_anew`: its past days still begin elsewhere.

    `message_days`, `ledger_days`: how long messages and calls are kept, None for ever. `ledger_since`: there are no
    calls from before, only their sums.
    """

    id: str
    name: str
    timezone: str
    counted_anew: bool
    message_days: int | None
    ledger_days: int | None
    ledger_since: datetime | None


@dataclass(frozen=True)
class TenantLine:
    """A tenant in an operator's list: its people who may sign in, and the calls and costs of the last 30 days."""

    id: str
    name: str
    people: int
    timezone: str
    created_at: datetime
    calls: int
    cost_nano_usd: int


@cache
def timezones() -> tuple[str, ...]:
    """The names of the time zones there are, in their order: `Africa/Abidjan`, …, `UTC`."""
    areas = ("Africa/", "America/", "Antarctica/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/")
    return tuple(sorted(name for name in available_timezones() if name.startswith(areas) or name == "UTC"))


class Tenants:
    """Everything raises `Forbidden` for who may not: members nothing, admins their own tenant, operators all."""

    def __init__(
        self, db: Database, on_new_tenant: NewTenantHook | None = None, company_tenant: str | None = None
    ) -> None:
        """`on_new_tenant`: as for `Accounts`. `company_tenant`: `chatcore.oidc.tenant`, whom new people join."""
        self._db = db
        self._on_new_tenant = on_new_tenant
        self._company_tenant = company_tenant

    def settings(self, principal: Principal) -> TenantSettings:
        """What holds for the principal's tenant."""
        people.require_admin(principal)
        return self._db.read(lambda session: _settings(session, principal.tenant_id))

    def rename(self, principal: Principal, name: str, tenant_id: str | None = None) -> None:
        """Give one's own tenant another name; an operator any. Raises `InvalidInput`, `Conflict`, `NotFound`.

        The name by which a company's people are let in is an operator's to give and to take: `Forbidden` for others.
        """
        name = clean_name(name, "A tenant's name")
        reserved = None if principal.is_operator else self._company_tenant
        self._db.write(lambda session: _rename(session, principal, tenant_id or principal.tenant_id, name, reserved))

    def set_timezone(self, principal: Principal, timezone: str) -> None:
        """Say where the tenant's days begin. Past days are counted anew in the background. Raises `InvalidInput`."""
        if timezone not in timezones():
            raise InvalidInput("There is no such time zone; one is written like Europe/Berlin.")

        def work(session: Session) -> None:
            people.require_acting_admin(session, principal)
            before = _settings(session, principal.tenant_id).timezone
            if before != timezone:
                _change(session, principal.tenant_id, timezone=timezone)
                audit.record(session, principal, "tenant.timezone", principal.tenant_id, before=before, after=timezone)

        self._db.write(work)

    def set_retention(self, principal: Principal, message_days: int | None, ledger_days: int | None) -> None:
        """Say after how many days messages and calls are removed for good, None for never.

        Raises `InvalidInput`: messages are kept for a day at least, calls for 62.
        """
        _check_days(message_days, 1, "Messages")
        _check_days(ledger_days, MIN_LEDGER_DAYS, "Calls")
        wanted = {"message_days": message_days, "ledger_days": ledger_days}

        def work(session: Session) -> None:
            people.require_acting_admin(session, principal)
            was = _settings(session, principal.tenant_id)
            before = {"message_days": was.message_days, "ledger_days": was.ledger_days}
            if before != wanted:
                _change(session, principal.tenant_id, **wanted)
                audit.record(session, principal, "tenant.retention", principal.tenant_id, before=before, after=wanted)

        self._db.write(work)

    # ---- for operators

    def listed(self, principal: Principal) -> list[TenantLine]:
        """All tenants, the oldest first."""
        _require_operator(principal)
        return self._db.read(_lines)

    def add(self, principal: Principal, name: str, username: str, person: str) -> Link:
        """A new tenant, its first admin, and the link with which they join. Raises `InvalidInput`, `Conflict`."""
        _require_operator(principal)

        def work(session: Session) -> Link:
            people.require_acting_admin(session, principal)
            tenant_id = setup.add_tenant(session, name, self._on_new_tenant)
            there = replace(principal, tenant_id=tenant_id)
            user_id = people.add(session, there, username, person, "admin", "free", None)
            audit.record(session, principal, "tenant.add", tenant_id, name=name.strip())
            return Link("invite", *codes.issue(session, "invite", user_id))

        return self._db.write(work)


def _require_operator(principal: Principal) -> None:
    if not principal.is_operator:
        raise Forbidden("Only an operator can do this.")


def _settings(session: Session, tenant_id: str) -> TenantSettings:
    row = session.get(Tenant, tenant_id)
    if row is None:
        raise NotFound("There is no such tenant.")
    return TenantSettings(
        row.id, row.name, row.timezone, row.timezone != row.days_zone, row.message_days, row.ledger_days,
        row.ledger_since,
    )  # fmt: skip


def _change(session: Session, tenant_id: str, **values: Any) -> None:
    changed = update(Tenant).where(Tenant.id == tenant_id).values(**values)
    session.execute(changed.execution_options(synchronize_session=False))


def _rename(session: Session, principal: Principal, tenant_id: str, name: str, reserved: str | None) -> None:
    people.require_acting_admin(session, principal)
    if tenant_id != principal.tenant_id:
        _require_operator(principal)
    before = _settings(session, tenant_id).name
    if before == name:
        return
    if reserved in (before, name):
        raise Forbidden(
            f"The company's sign-in finds its organisation by the name {reserved}: only an operator changes that."
        )
    try:
        with session.begin_nested():
            _change(session, tenant_id, name=name)
    except IntegrityError as error:
        raise Conflict(f"There is a tenant called {name} already.") from error
    there = replace(principal, tenant_id=tenant_id)
    audit.record(session, there, "tenant.rename", tenant_id, before=before, after=name)


def _check_days(days: int | None, least: int, what: str) -> None:
    if days is not None and not least <= days <= MAX_DAYS:
        raise InvalidInput(f"{what} are kept for {least} to {MAX_DAYS:,} days, or for ever.")


def _lines(session: Session) -> list[TenantLine]:
    since = utcnow() - RECENTLY
    there = (User.tenant_id == Tenant.id) & User.is_demo.is_(False) & User.disabled_at.is_(None)
    rows = session.execute(
        select(Tenant.id, Tenant.name, func.count(User.id), Tenant.timezone, Tenant.created_at)
        .outerjoin(User, there)
        .group_by(Tenant.id, Tenant.name, Tenant.timezone, Tenant.created_at)
        .order_by(Tenant.id)
    ).all()
    recent = _recent(session, since)
    return [TenantLine(*row, *recent[row.id]) for row in rows]


def _recent(session: Session, since: datetime) -> dict[str, tuple[int, int]]:
    """Calls and their cost since then, by the day, of every tenant; what no rollup counts yet is counted from the
    ledger. From each tenant to its rows, or all of them would be read.
    """
    day, call = UsageDaily, UsageMetric
    of_days = (day.tenant_id == Tenant.id) & (day.level == "day") & (day.kind == "model") & (day.start >= since)
    of_calls = (call.tenant_id == Tenant.id) & (call.created_at >= since) & NOT_ROLLED_UP
    sums = (
        select(Tenant.id, func.sum(day.calls), func.sum(day.cost_nano_usd)).outerjoin(day, of_days),
        select(Tenant.id, func.count(call.id), func.sum(call.cost_nano_usd)).outerjoin(call, of_calls),
    )
    found: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for tenant_id, calls, cost in session.execute(union_all(*(one.group_by(Tenant.id) for one in sums))):
        before = found[tenant_id]
        found[tenant_id] = before[0] + int(calls or 0), before[1] + int(cost or 0)
    return found
