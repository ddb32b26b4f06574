"""Rules of what is wrong, where notices go, and each time that something was."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from chatcore.db.tables.base import Base, utcnow


class AlertChannel(Base):
    """Where notices go. `address`: encrypted, as a webhook's address is a secret; `shown`: what may be seen of it.

    `tenant_id` is '' for the whole instance's.
    """

    __tablename__ = "alert_channels"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    kind: Mapped[str]  # slack | email | pagerduty | webhook
    address: Mapped[str] = mapped_column(Text)
    shown: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)


class AlertRule(Base):
    """When to raise an alert. `threshold` is in the metric's own unit. `tenant_id`: '' for the whole instance's."""

    __tablename__ = "alert_rules"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    metric: Mapped[str]
    threshold: Mapped[float]
    window_seconds: Mapped[int] = mapped_column(Integer)
    for_seconds: Mapped[int] = mapped_column(Integer, default=0)
    cooldown_seconds: Mapped[int] = mapped_column(Integer, default=3600)
    min_calls: Mapped[int] = mapped_column(Integer, default=1)
    severity: Mapped[str]  # critical | warning
    channels: Mapped[list[Any]] = mapped_column(default=list)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)


class Alert(Base):
    """One time that a rule was broken, by its `subject`: a provider, a budget, '' for the rule's own scope.

    `value`: as last seen, `peak` the worst. `pending` until the rule was broken for long enough. `due_at`: when the
    next of its notices is to be sent, NULL where all were.
    """

    __tablename__ = "alerts"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    rule_id: Mapped[str]
    rule_name: Mapped[str] = mapped_column(default="")
    severity: Mapped[str] = mapped_column(default="warning")
    subject: Mapped[str] = mapped_column(default="")
    state: Mapped[str]  # pending | firing | recovered
    value: Mapped[float]
    peak: Mapped[float]
    threshold: Mapped[float]
    message: Mapped[str] = mapped_column(Text, default="")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    began_at: Mapped[datetime] = mapped_column(default=utcnow)
    fired_at: Mapped[datetime | None]
    recovered_at: Mapped[datetime | None]
    notified_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (
        Index("ix_alerts_tenant", "tenant_id", "began_at"),
        Index("ix_alerts_rule", "rule_id", "subject", "state"),
        Index("ix_alerts_due", "due_at"),
        Index("ix_alerts_state", "state"),
        Index("ix_alerts_notified", "notified_at"),
    )
