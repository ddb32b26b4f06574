"""The ledger, and the limits and budgets that are counted beside it."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from chatcore.db.tables.base import Base, utcnow

STILL_RUNNING: Final = text("outcome = 'running'")
"""Spelt as the partial index spells it, which is what makes SQLite use it."""
NOT_ROLLED_UP: Final = text("NOT rolled_up")
"""So too."""


class UsageMetric(Base):
    """The ledger: one row for each call to a model. No foreign keys: it outlives what it was made for.

    `cost_nano_usd` is NULL where the cost is unknown. `unit_prices` holds the prices as they were, in USD a token.
    `rolled_up`: whether the rollups below count this row as it is. Who reads the rollups adds the rows they lack.
    """

    __tablename__ = "usage_metrics"
    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    tenant_id: Mapped[str]
    user_id: Mapped[str]
    conversation_id: Mapped[str | None]
    message_id: Mapped[str | None]
    turn_id: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    purpose: Mapped[str]  # chat | title | tool | api | embedding
    provider: Mapped[str]
    model: Mapped[str]
    provider_model: Mapped[str] = mapped_column(default="")
    agent_id: Mapped[str | None]
    outcome: Mapped[str]  # running | ok | stopped | interrupted | error | timeout | rate_limited | truncated | cached
    error_type: Mapped[str | None]
    prompt_tokens: Mapped[int] = mapped_column(Integer, default=0)
    cached_tokens: Mapped[int] = mapped_column(Integer, default=0)
    completion_tokens: Mapped[int] = mapped_column(Integer, default=0)
    reasoning_tokens: Mapped[int] = mapped_column(Integer, default=0)
    cache_write_tokens: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    key_source: Mapped[str] = mapped_column(default="shared", server_default="shared")  # shared | tenant | person
    usage_source: Mapped[str] = mapped_column(default="none")  # provider | estimated | none
    price_source: Mapped[str] = mapped_column(default="none")  # config | litellm | demo | tenant | none
    unit_prices: Mapped[dict[str, Any]] = mapped_column(default=dict)
    cost_nano_usd: Mapped[int | None] = mapped_column(BigInteger)
    saved_nano_usd: Mapped[int] = mapped_column(BigInteger, default=0)
    ttft_ms: Mapped[int | None]
    latency_ms: Mapped[int | None]
    cache_hit: Mapped[bool] = mapped_column(Boolean, default=False)
    tier: Mapped[str] = mapped_column(default="free")
    trace_id: Mapped[str]
    is_demo: Mapped[bool] = mapped_column(Boolean, default=False)
    settled_at: Mapped[datetime | None]
    rolled_up: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    __table_args__ = (
        Index("ix_usage_metrics_tenant", "tenant_id", "created_at"),
        Index("ix_usage_metrics_user", "user_id", "created_at"),
        Index("ix_usage_metrics_turn", "turn_id"),
        Index("ix_usage_metrics_conversation", "conversation_id"),
        Index("ix_usage_metrics_running", "created_at", sqlite_where=STILL_RUNNING, postgresql_where=STILL_RUNNING),
        Index(
            "ix_usage_metrics_not_rolled_up",
            "tenant_id",
            "created_at",
            sqlite_where=NOT_ROLLED_UP,
            postgresql_where=NOT_ROLLED_UP,
        ),
    )


class CostCorrection(Base):
    """What a ledger row's cost was before it was priced anew. Only ever added to."""

    __tablename__ = "cost_corrections"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    usage_id: Mapped[str] = mapped_column(index=True)
    before_nano_usd: Mapped[int | None] = mapped_column(BigInteger)
    after_nano_usd: Mapped[int | None] = mapped_column(BigInteger)
    before_source: Mapped[str]
    before_prices: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class LimitHit(Base):
    """How many requests of a person were refused in a minute, by what refused them: nothing was called.

    `kind`: `requests`, `tokens`, `budget`, `breaker`, `access`.
    """

    __tablename__ = "limit_hits"
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)
    tier: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    hits: Mapped[int] = mapped_column(Integer, default=1)
    __table_args__ = (Index("ix_limit_hits_tenant", "tenant_id", "minute"),)


class Budget(Base):
    """What a person, a team or the tenant may spend in a day or a month (UTC).

    `scope_id`: a user's id, a team's name, '' for the tenant. A budget that is not `hard` only warns.
    """

    __tablename__ = "budgets"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    scope: Mapped[str]  # user | team | tenant
    scope_id: Mapped[str] = mapped_column(default="")
    period: Mapped[str]  # day | month
    amount_nano_usd: Mapped[int] = mapped_column(BigInteger)
    hard: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (UniqueConstraint("tenant_id", "scope", "scope_id", "period"),)


class BudgetPeriod(Base):
    """What was spent and what is reserved of a budget in one of its days or months."""

    __tablename__ = "budget_periods"
    budget_id: Mapped[str] = mapped_column(ForeignKey("budgets.id", ondelete="CASCADE"), primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    spent_nano_usd: Mapped[int] = mapped_column(BigInteger, default=0)
    reserved_nano_usd: Mapped[int] = mapped_column(BigInteger, default=0)


class Reservation(Base):
    """What a running turn may still cost, held of one budget. `holder`: the turn, or a call that is no turn's."""

    __tablename__ = "reservations"
    holder: Mapped[str] = mapped_column(primary_key=True)
    budget_id: Mapped[str] = mapped_column(ForeignKey("budgets.id", ondelete="CASCADE"), primary_key=True)
    starts_at: Mapped[datetime]
    tenant_id: Mapped[str]
    amount_nano_usd: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[datetime] = mapped_column(index=True)
