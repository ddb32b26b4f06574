"""How long a tenant's messages and calls are kept, as its admins set it.

Messages: a conversation without activity for so long is erased whole, pinned and archived ones too; in one that goes on
the older messages lose their words. Calls: ledger rows that the rollups count are deleted, the rollups stay. Everything
goes in small transactions, so that others write in between, and what a killed process left is done by the next run.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, exists, func, or_, select, text, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal, audit
from chatcore.accounts.people import require_admin
from chatcore.conversations import erasing, removing
from chatcore.db import Database
from chatcore.db.tables import (
    Conversation,
    CostCorrection,
    LimitHit,
    Message,
    Tenant,
    Turn,
    UsageDaily,
    UsageMetric,
    utcnow,
)
from chatcore.usage import rollups, zones
from chatcore.workshops import erasing as workshops

log = logging.getLogger(__name__)

_CONVERSATIONS: Final = 50  # in one round
_MESSAGES: Final = 100  # in one transaction
_ROWS: Final = 2_000  # of the ledger in one transaction
_REST: Final = 0.02  # seconds between two transactions, for others to write
_ROLLED_UP: Final = text("rolled_up")


@dataclass(frozen=True)
class Removed:
    """What goes, or has gone, of a tenant: whole conversations, words of messages in others, calls."""

    tenant_id: str
    tenant: str
    conversations: int = 0
    messages: int = 0
    calls: int = 0

    @property
    def anything(self) -> bool:
        """Whether there is any of it."""
        return bool(self.conversations or self.messages or self.calls)


class Retention:
    """Removes what is older than its time. Runs are safe beside a working app and beside each other."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def preview(self, principal: Principal, message_days: int | None, ledger_days: int | None) -> Removed:
        """What would go at once if this were set for the principal's tenant. Raises `Forbidden` for a member."""
        require_admin(principal)

        def work(session: Session) -> Removed:
            tenant = session.get_one(Tenant, principal.tenant_id)
            return _counted(session, tenant, message_days, ledger_days)

        return self._db.read(work)

    def due(self) -> list[Removed]:
        """What the next run removes, for each tenant that keeps anything for a time."""

        def work(session: Session) -> list[Removed]:
            found = session.scalars(_limited()).all()
            return [_counted(session, one, one.message_days, one.ledger_days) for one in found]

        return self._db.read(work)

    def run(self) -> list[Removed]:
        """Remove it. Returns what went, tenants that lost nothing left out.

        Where that fails for a tenant, the others' goes all the same, and then the first error is raised.
        """
        done, errors = [], []
        for tenant in self._db.read(lambda session: session.scalars(_limited()).all()):
            try:
                removed = self._of_tenant(tenant)
                if removed.anything:
                    self._db.write(partial(_note, removed))
                    log.info("old data removed", extra={"tenant_id": tenant.id, **_counts(removed)})
                    done.append(removed)
            except Exception as error:
                log.exception("old data of a tenant was not removed", extra={"tenant_id": tenant.id})
                errors.append(error)
        if errors:
            raise errors[0]
        return done

    def _of_tenant(self, tenant: Tenant) -> Removed:
        conversations = messages = calls = 0
        if tenant.message_days is not None:
            before = utcnow() - timedelta(days=tenant.message_days)
            conversations = self._erase_conversations(tenant.id, before)
            messages = self._blank_messages(tenant.id, before, tenant.message_days)
        if tenant.ledger_days is not None:
            calls = self._delete_calls(tenant.id)
        return Removed(tenant.id, tenant.name, conversations, messages, calls)

    def _erase_conversations(self, tenant_id: str, before: datetime) -> int:
        gone = 0
        self._db.write(lambda session: workshops.erase_old(session, tenant_id, before))
        while ids := self._db.write(partial(_condemn_old, tenant_id, before)):
            erasing.erase_in_steps(self._db, ids)
            gone += len(ids)
        return gone

    def _blank_messages(self, tenant_id: str, before: datetime, days: int) -> int:
        said, gone = f"Removed after {days:,} {'day' if days == 1 else 'days'}.", 0
        after: tuple[datetime, str] | None = None
        while found := self._db.read(partial(_old_messages, tenant_id, before, after)):
            gone += self._db.write(partial(_blank, [message_id for _, message_id in found], said, days))
            after = found[-1]
            time.sleep(_REST)
        return gone

    def _delete_calls(self, tenant_id: str) -> int:
        gone = 0
        while some := self._db.write(partial(_delete_some, tenant_id)):
            gone += some
            time.sleep(_REST)
        return gone


def _limited() -> Select[Tenant]:
    return select(Tenant).where(or_(Tenant.message_days.is_not(None), Tenant.ledger_days.is_not(None)))


def _ledger_end(tenant: Tenant, days: int) -> datetime:
    """The day of the tenant's that its ledger begins with: none is kept by half, so that days can be counted anew."""
    return zones.day_start(utcnow() - timedelta(days=days), zones.of_tenant(tenant.timezone))


# ---- messages


_KEPT: Final = or_(Conversation.expires_at.is_(None), Conversation.deleted_at.is_not(None))


def _old(tenant_id: str, before: datetime) -> tuple[ColumnElement[bool], ...]:
    """Conversations that nobody has gone on with since then. Temporary chats have a time of their own; what was deleted
    and could be brought back has not."""
    running = exists().where(Turn.conversation_id == Conversation.id, Turn.status == "running")
    return (
        Conversation.tenant_id == tenant_id,
        Conversation.last_message_at < before,
        _KEPT,
        ~running,
    )


def _condemn_old(tenant_id: str, before: datetime, session: Session) -> list[str]:
    query = select(Conversation.id).where(*_old(tenant_id, before)).order_by(Conversation.id).limit(_CONVERSATIONS)
    ids = list(session.scalars(query.with_for_update(of=Conversation, skip_locked=True)))
    if ids:
        erasing.condemn(session, ids)
    return ids


def _of_living(tenant_id: str, before: datetime) -> tuple[ColumnElement[bool], ...]:
    """Messages from before then that have words still, in conversations that went on since."""
    return (
        Message.tenant_id == tenant_id,
        Message.created_at < before,
        removing.removable(),
        exists().where(
            Conversation.id == Message.conversation_id,
            Conversation.last_message_at >= before,
            _KEPT,
        ),
    )


def _old_messages(
    tenant_id: str, before: datetime, after: tuple[datetime, str] | None, session: Session
) -> list[tuple[datetime, str]]:
    """When some of them were written, and their ids, the oldest first."""
    query = select(Message.created_at, Message.id).where(*_of_living(tenant_id, before))
    if after is not None:
        at, message_id = after
        query = query.where(Message.created_at >= at, or_(Message.created_at > at, Message.id > message_id))
    rows = session.execute(query.order_by(Message.created_at, Message.id).limit(_MESSAGES))
    return [(row.created_at, row.id) for row in rows]


def _blank(ids: list[str], said: str, days: int, session: Session) -> int:
    return removing.remove(session, removing.rows(session, ids), said, {"after_days": days})


# ---- calls


def _old_calls(tenant_id: str, before: datetime) -> tuple[ColumnElement[bool], ...]:
    return UsageMetric.tenant_id == tenant_id, UsageMetric.created_at < before, _ROLLED_UP  # type: ignore[return-value]


def _delete_some(tenant_id: str, session: Session) -> int:
    """Delete some of the oldest calls, with what hangs on them, as the tenant has it by now. That there are none from
    before is said in the same transaction, so that nothing counts their days anew. Made-up calls leave the sums, too:
    nothing could take them out later. While days are being moved to another time zone, nothing is deleted.
    """
    rollups.hold(session, tenant_id, alone=False)
    tenant = session.get_one(Tenant, tenant_id, populate_existing=True)
    if tenant.ledger_days is None or tenant.days_zone != tenant.timezone:
        return 0
    before = _ledger_end(tenant, tenant.ledger_days)
    since = update(Tenant).where(Tenant.id == tenant_id)
    since = since.where(or_(Tenant.ledger_since.is_(None), Tenant.ledger_since < before))
    query = select(UsageMetric.id, UsageMetric.is_demo).where(*_old_calls(tenant_id, before))
    rows = session.execute(query.order_by(UsageMetric.created_at).limit(_ROWS)).all()
    ids = [row.id for row in rows]
    rollups.take_out(session, [row.id for row in rows if row.is_demo])
    rollups.write(session)
    hits = delete(LimitHit).where(LimitHit.minute < before, LimitHit.tenant_id == tenant_id)
    statements = [hits]
    if ids:
        statements = [
            since.values(ledger_since=before),  # type: ignore[list-item]
            hits,
            delete(CostCorrection).where(CostCorrection.usage_id.in_(ids)),
            delete(UsageMetric).where(UsageMetric.id.in_(ids)),
        ]
    for statement in statements:
        session.execute(statement.execution_options(synchronize_session=False))
    return len(ids)


# ---- what went


def _counted(session: Session, tenant: Tenant, message_days: int | None, ledger_days: int | None) -> Removed:
    conversations = messages = calls = 0
    if message_days is not None:
        before = utcnow() - timedelta(days=message_days)
        conversations = _count(session, Conversation, *_old(tenant.id, before))
        messages = _count(session, Message, *_of_living(tenant.id, before))
    if ledger_days is not None:
        calls = _rolled_calls(session, tenant, _ledger_end(tenant, ledger_days))
    return Removed(tenant.id, tenant.name, conversations, messages, calls)


def _rolled_calls(session: Session, tenant: Tenant, before: datetime) -> int:
    """How many calls of before then are left, by the rollups: the ledger itself may have millions of them."""
    day = UsageDaily
    where = [day.tenant_id == tenant.id, day.level == "day", day.kind == "model", day.start < before]
    if tenant.ledger_since is not None:
        where.append(day.start >= tenant.ledger_since)
    return int(session.scalar(select(func.coalesce(func.sum(day.calls), 0)).where(*where)) or 0)


def _count(session: Session, table: Any, *where: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*where)) or 0


def _counts(removed: Removed) -> dict[str, int]:
    return {"conversations": removed.conversations, "messages": removed.messages, "calls": removed.calls}


def _note(removed: Removed, session: Session) -> None:
    audit.note(session, removed.tenant_id, None, "retention.run", removed.tenant_id, "", **_counts(removed))
