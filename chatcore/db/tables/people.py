"""Tenants, people and how they come in; what was done by whom; and what holds for the whole instance."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from chatcore.db.tables.base import Base, utcnow


class Tenant(Base):
    """A team. `timezone`: where its days begin; `days_zone`: where those in `usage_daily` do, which follows;
    '' while some of them are counted anew and some are not.

    `message_days`, `ledger_days`: how long messages and ledger rows are kept, NULL for ever. `ledger_since`: no ledger
    row from before is left, only what was counted of them.
    """

    __tablename__ = "tenants"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    timezone: Mapped[str] = mapped_column(default="UTC", server_default="UTC")
    days_zone: Mapped[str] = mapped_column(default="UTC", server_default="UTC")
    message_days: Mapped[int | None]
    ledger_days: Mapped[int | None]
    ledger_since: Mapped[datetime | None]


class User(Base):
    """`username` is stored as typed at sign-in: lower case, trimmed. `password_hash`: NULL until an invite is used.

    `identity`: whom a company's sign-in knows them as, issuer and subject in one. `erased_at`: nothing is left of them
    but a name for the ledger. `is_service`: a program that is nobody's; it has API keys and never signs in.
    """

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), index=True)
    username: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    role: Mapped[str]  # operator | admin | member
    tier: Mapped[str] = mapped_column(default="free")
    team: Mapped[str | None]
    password_hash: Mapped[str | None]
    disabled_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]
    identity: Mapped[str | None]
    is_demo: Mapped[bool] = mapped_column(Boolean, default=False)
    is_service: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (Index("ix_users_identity", "identity", unique=True),)


class BrowserSession(Base):
    """One signed-in browser. The cookie holds the token; only its sha256 is here."""

    __tablename__ = "browser_sessions"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    token_sha256: Mapped[str] = mapped_column(unique=True)
    user_agent: Mapped[str] = mapped_column(default="")
    address: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    last_seen_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class OneTimeCode(Base):
    """A link that works once: `setup`, `invite`, `reset`, or the `ticket` that becomes a session cookie."""

    __tablename__ = "one_time_codes"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    code_sha256: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class LoginAttempt(Base):
    """A failed attempt to sign in, counted per typed name and per address."""

    __tablename__ = "login_attempts"
    id: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str]
    address: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (
        Index("ix_login_attempts_username", "username", "created_at"),
        Index("ix_login_attempts_address", "address", "created_at"),
    )


class ApiKey(Base):
    """A key for programs, shown once. `prefix` stays visible so that a person can tell theirs apart."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    key_sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AuditEntry(Base):
    """Who did what, from where. Only ever added to."""

    __tablename__ = "audit_log"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    user_id: Mapped[str | None]
    action: Mapped[str]
    target: Mapped[str] = mapped_column(default="")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    address: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (Index("ix_audit_log_tenant", "tenant_id", "created_at"),)


class ProviderKey(Base):
    """A provider's key that a person or a tenant brought, encrypted with the instance's secret key.

    `owner_id`: the person's id, '' for the tenant's own.
    """

    __tablename__ = "provider_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    owner_id: Mapped[str] = mapped_column(default="")
    provider: Mapped[str]
    secret: Mapped[str] = mapped_column(Text)
    last4: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (UniqueConstraint("tenant_id", "owner_id", "provider"),)


class Setting(Base):
    """Flags and other values that change while running."""

    __tablename__ = "settings"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)


class Lease(Base):
    """What only one process does at a time: `holder` until then, unless it goes on."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[datetime]
