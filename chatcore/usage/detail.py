"""All that the ledger knows of one call."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import Conversation, CostCorrection, Share, UsageMetric, User, utcnow
from chatcore.errors import NotFound
from chatcore.usage.rows import NAMES, PERSON, Call, columns
from chatcore.usage.scope import scope

_MORE: Final = (
    "provider_model", "message_id", "turn_id", "cache_write_tokens", "key_source", "price_source", "unit_prices",
    "saved_nano_usd", "cache_hit", "settled_at",
)  # fmt: skip


@dataclass(frozen=True)
class Correction:
    """What a call's cost was before it was priced anew."""

    created_at: datetime
    before_nano_usd: int | None
    after_nano_usd: int | None
    before_source: str
    before_prices: Mapping[str, Any]


@dataclass(frozen=True)
class CallDetail:
    """A call with its prices and its history.

    `unit_prices`: USD a token as they were, as decimal strings. `corrections`: the oldest first. `attempts`: all calls
    of the same turn that the asker may count, in their order, this one among them. `readable`: whether the asker may
    open its conversation: by its id where it is theirs, by the team share `share_id` where that is not None.
    """

    call: Call
    provider_model: str
    message_id: str | None
    turn_id: str | None
    cache_write_tokens: int
    key_source: str
    price_source: str
    unit_prices: Mapping[str, Any]
    saved_nano_usd: int
    cache_hit: bool
    settled_at: datetime | None
    corrections: tuple[Correction, ...]
    attempts: tuple[Call, ...]
    readable: bool
    share_id: str | None


def detail(session: Session, principal: Principal, call_id: str) -> CallDetail:
    """Raises `NotFound` for what is not there or not the asker's to count."""
    one = select(*columns((*NAMES, *_MORE))).outerjoin(User, PERSON)
    row = session.execute(one.where(UsageMetric.id == call_id, *scope(principal))).one_or_none()
    if row is None:
        raise NotFound("There is no such call.")
    call = Call(*row[: len(NAMES)])
    more = dict(zip(_MORE, row[len(NAMES) :], strict=True))
    readable, share_id = _readable(session, principal, call.conversation_id)
    return CallDetail(
        call=call,
        **more,
        corrections=_corrections(session, principal, call_id),
        attempts=_attempts(session, principal, call, more["turn_id"]),
        readable=readable,
        share_id=share_id,
    )


def _corrections(session: Session, principal: Principal, call_id: str) -> tuple[Correction, ...]:
    of = CostCorrection
    statement = (
        select(of.created_at, of.before_nano_usd, of.after_nano_usd, of.before_source, of.before_prices)
        .where(of.usage_id == call_id, of.tenant_id == principal.tenant_id)
        .order_by(of.created_at, of.id)
    )
    return tuple(Correction(*row) for row in session.execute(statement))


def _attempts(session: Session, principal: Principal, call: Call, turn_id: str | None) -> tuple[Call, ...]:
    if turn_id is None:
        return (call,)
    of_turn = select(*columns(NAMES)).outerjoin(User, PERSON).where(UsageMetric.turn_id == turn_id, *scope(principal))
    rows = session.execute(of_turn.order_by(UsageMetric.created_at, UsageMetric.id))
    return tuple(Call(*row) for row in rows)


def _readable(session: Session, principal: Principal, conversation_id: str | None) -> tuple[bool, str | None]:
    """Whether one may open the conversation, and by which share of the team: nobody reads another's by role."""
    if conversation_id is None:
        return False, None
    there = (Conversation.id == conversation_id, Conversation.tenant_id == principal.tenant_id)
    row = session.execute(select(Conversation.user_id, Conversation.expires_at).where(*there)).one_or_none()
    if row is None or row.user_id == principal.user_id:
        return row is not None, None
    if row.expires_at is not None:
        return False, None
    share_id = session.scalar(
        select(Share.id)
        .join(User, User.id == Share.user_id)
        .where(Share.conversation_id == conversation_id, Share.tenant_id == principal.tenant_id)
        .where(Share.kind == "team", Share.revoked_at.is_(None), User.disabled_at.is_(None))
        .where(or_(Share.expires_at.is_(None), Share.expires_at > utcnow()))
        .order_by(Share.up_to_message_id.is_not(None), Share.created_at.desc())
        .limit(1)
    )
    return share_id is not None, share_id
