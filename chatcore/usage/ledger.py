"""The ledger's two verbs: a row is opened before a call to a model and settled, once, after it.

Both work inside the caller's transaction, so that a turn's end, its row and the rollups are one commit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from chatcore.db import changed_rows
from chatcore.db.tables import STILL_RUNNING, UsageMetric, utcnow
from chatcore.ids import new_id
from chatcore.usage import budgets, rollups

Purpose = Literal["chat", "title", "tool", "api", "embedding"]
Outcome = Literal["ok", "stopped", "interrupted", "error", "timeout", "rate_limited", "truncated", "cached"]
UsageSource = Literal["provider", "estimated", "none"]
KeySource = Literal["shared", "tenant", "person"]


@dataclass(frozen=True)
class NewCall:
    """What is known before a call. `model` is the registry's name, `provider_model` what the provider is asked for.

    `unit_prices`: USD a token as they are now, as decimal strings: recovery bills with them what a dead process left.
    `key_source`: whose key pays. What a person pays with their own counts in no budget.
    """

    tenant_id: str
    user_id: str
    provider: str
    model: str
    provider_model: str
    trace_id: str
    purpose: Purpose = "chat"
    tier: str = "free"
    attempt: int = 1
    conversation_id: str | None = None
    message_id: str | None = None
    turn_id: str | None = None
    agent_id: str | None = None
    key_source: KeySource = "shared"
    price_source: str = "none"
    unit_prices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Settlement:
    """What is known after it. Tokens are counts; `cost_nano_usd` is None where the cost is unknown.

    `prompt_tokens` contains `cached_tokens` and `cache_write_tokens`, and `completion_tokens` `reasoning_tokens`.
    `provider`: who answered, None for the one that the row was opened with.
    `unit_prices`: USD a token as they were, as decimal strings. Times are whole milliseconds from the call's start.
    """

    outcome: Outcome
    error_type: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    usage_source: UsageSource = "none"
    price_source: str = "none"
    unit_prices: Mapping[str, str] = field(default_factory=dict)
    cost_nano_usd: int | None = None
    saved_nano_usd: int = 0
    cache_hit: bool = False
    ttft_ms: int | None = None
    latency_ms: int | None = None
    provider: str | None = None


_row: Final = UsageMetric.__table__.c
_BEFORE: Final = (
    select(
        _row.tenant_id, _row.user_id, _row.turn_id, _row.created_at, _row.cost_nano_usd, _row.key_source, _row.is_demo,
        _row.outcome, _row.rolled_up,
    )
    .where(_row.id == bindparam("of"))
    .with_for_update()
)  # fmt: skip
_SETTLE: Final = update(UsageMetric.__table__).where(  # type: ignore[arg-type]
    _row.id == bindparam("of"), _row.outcome.in_(("running", "interrupted"))
)
_DISCARD: Final = delete(UsageMetric.__table__).where(  # type: ignore[arg-type]
    _row.id == bindparam("of"), _row.outcome == "running"
)
_ABANDON: Final = (
    update(UsageMetric.__table__)  # type: ignore[arg-type]
    .where(_row.turn_id == bindparam("turn"), STILL_RUNNING)
    .values(outcome="error", error_type="provider_error", settled_at=bindparam("now"))
    .returning(_row.id)
)
_INSERT: Final = insert(UsageMetric.__table__)  # type: ignore[arg-type]


def open_call(session: Session, call: NewCall, row_id: str | None = None) -> str:
    """Write the `running` row of a call that is about to be made; returns its id, a new one where None is given."""
    row_id = row_id or new_id("use")
    values = {name: getattr(call, name) for name in call.__dataclass_fields__}
    values["unit_prices"] = dict(call.unit_prices)
    session.execute(_INSERT, {"id": row_id, "outcome": "running", **values})
    return row_id


def settle_call(session: Session, row_id: str, settlement: Settlement) -> bool:
    """Write a call's outcome, and count what it cost in the budgets. False when the row was settled before.

    The first word stands, but for `interrupted`: that is what others assume of a process that seems dead. What it cost
    then beyond what was assumed is what the budgets get.
    """
    before = session.execute(_BEFORE, {"of": row_id}).one_or_none()
    if before is None:
        return False
    values = {name: getattr(settlement, name) for name in settlement.__dataclass_fields__}
    values["unit_prices"] = dict(settlement.unit_prices)
    if settlement.provider is None:
        del values["provider"]
    if before.rolled_up and before.outcome == "interrupted":
        rollups.take_out(session, [row_id])
    if changed_rows(session.execute(_SETTLE, {"of": row_id, "settled_at": utcnow(), **values})) == 0:
        return False
    rollups.note(session, row_id)
    more = (settlement.cost_nano_usd or 0) - (before.cost_nano_usd or 0)
    if more and before.key_source != "person" and not before.is_demo:
        budgets.spend(
            session,
            tenant_id=before.tenant_id,
            user_id=before.user_id,
            holder=before.turn_id or row_id,
            at=before.created_at,
            nano=more,
        )
    return True


def discard(session: Session, row_id: str) -> None:
    """Take back the row of a call that was never made: what we refuse ourselves has none."""
    session.execute(_DISCARD, {"of": row_id})


def abandon(session: Session, turn_id: str) -> None:
    """Settle what our own code left open of a turn, and nobody knows the use of."""
    rollups.note(session, *session.scalars(_ABANDON, {"turn": turn_id, "now": utcnow()}))
