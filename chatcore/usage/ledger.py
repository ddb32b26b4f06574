"""The ledger's two verbs: a row is opened before a call to a model and settled, once, after it.

Both work inside the caller's transaction, so that a turn's end and its row are one commit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from sqlalchemy import bindparam, insert, update
from sqlalchemy.orm import Session

from chatcore.db import changed_rows
from chatcore.db.tables import UsageMetric, utcnow
from chatcore.ids import new_id

Purpose = Literal["chat", "title", "tool", "api", "embedding"]
Outcome = Literal["ok", "stopped", "interrupted", "error", "timeout", "rate_limited", "truncated", "cached"]
UsageSource = Literal["provider", "estimated", "none"]


@dataclass(frozen=True)
class NewCall:
    """What is known before a call. `model` is the registry's name, `provider_model` what the provider is asked for.

    `unit_prices`: USD a token as they are now, as decimal strings: recovery bills with them what a dead process left.
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
    price_source: str = "none"
    unit_prices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Settlement:
    """What is known after it. Tokens are counts; `cost_nano_usd` is None where the cost is unknown.

    `prompt_tokens` contains `cached_tokens`, and `completion_tokens` contains `reasoning_tokens`.
    `unit_prices`: USD a token as they were, as decimal strings. Times are whole milliseconds from the call's start.
    """

    outcome: Outcome
    error_type: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    usage_source: UsageSource = "none"
    price_source: str = "none"
    unit_prices: Mapping[str, str] = field(default_factory=dict)
    cost_nano_usd: int | None = None
    ttft_ms: int | None = None
    latency_ms: int | None = None


_SETTLE: Final = update(UsageMetric.__table__).where(  # type: ignore[arg-type]
    UsageMetric.__table__.c.id == bindparam("of"), UsageMetric.__table__.c.outcome.in_(("running", "interrupted"))
)
_INSERT: Final = insert(UsageMetric.__table__)  # type: ignore[arg-type]


def open_call(session: Session, call: NewCall) -> str:
    """Write the `running` row of a call that is about to be made; returns its id."""
    row_id = new_id("use")
    values = {name: getattr(call, name) for name in call.__dataclass_fields__}
    values["unit_prices"] = dict(call.unit_prices)
    session.execute(_INSERT, {"id": row_id, "outcome": "running", **values})
    return row_id


def settle_call(session: Session, row_id: str, settlement: Settlement) -> bool:
    """Write a call's outcome. False when the row was settled before.

    The first word stands, but for `interrupted`: that is what others assume of a process that seems dead.
    """
    values = {name: getattr(settlement, name) for name in settlement.__dataclass_fields__}
    values["unit_prices"] = dict(settlement.unit_prices)
    return changed_rows(session.execute(_SETTLE, {"of": row_id, "settled_at": utcnow(), **values})) == 1
