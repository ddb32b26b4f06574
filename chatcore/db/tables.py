"""The tables. Rows stay inside a session; the packages hand out frozen values.

Times are UTC. Money is integer nano-USD, so that sums are exact. Ids come from `ids.new_id`. Every table but
`tenants` and what belongs to nobody yet (attempts to sign in, codes, instance settings) carries `tenant_id`.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time: aware UTC in Python, `timestamptz` on PostgreSQL, `YYYY-MM-DD HH:MM:SS.ffffff` on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: UtcDateTime(), str: String(), dict[str, Any]: JSON(), list[Any]: JSON()}


def utcnow() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


class Tenant(Base):
    __tablename__ = "tenants"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class User(Base):
    """`username` is stored as typed at sign-in: lower case, trimmed. `password_hash`: NULL until an invite is used."""

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
    is_demo: Mapped[bool] = mapped_column(Boolean, default=False)
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


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


class Setting(Base):
    """Flags and other values that change while running."""

    __tablename__ = "settings"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)


class Agent(Base):
    """A system prompt, a model and parameters under a name. `slug` is unique in its tenant and stands in links."""

    __tablename__ = "agents"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    slug: Mapped[str]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    icon: Mapped[str] = mapped_column(default="")
    system_prompt: Mapped[str] = mapped_column(Text, default="")
    model: Mapped[str | None]
    parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    tools: Mapped[list[Any]] = mapped_column(default=list)
    suggestions: Mapped[list[Any]] = mapped_column(default=list)
    built_in: Mapped[bool] = mapped_column(Boolean, default=False)
    position: Mapped[int] = mapped_column(Integer, default=0)
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (UniqueConstraint("tenant_id", "slug"),)


class Conversation(Base):
    """A tree of messages with one head: the branch from the root to the head is what is read and continued.

    `title_words`: the title as `words.normal` spells it, for the search. `expires_at`: set on a temporary chat, which
    is erased then. `client_id`: the id a program or an import knows it by.
    """

    __tablename__ = "conversations"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    agent_id: Mapped[str | None] = mapped_column(ForeignKey("agents.id"))
    model: Mapped[str | None]
    head_message_id: Mapped[str | None]
    parent_conversation_id: Mapped[str | None]
    client_id: Mapped[str | None]
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    message_count: Mapped[int] = mapped_column(Integer, default=0)
    preview: Mapped[str] = mapped_column(default="")
    last_message_at: Mapped[datetime] = mapped_column(default=utcnow)
    archived_at: Mapped[datetime | None]
    pinned_at: Mapped[datetime | None]
    folder: Mapped[str | None]
    title_source: Mapped[str] = mapped_column(default="first", server_default="first")  # first | model | person
    title_words: Mapped[str] = mapped_column(Text, default="", server_default="")
    summary: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
    is_demo: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (
        Index("ix_conversations_recent", "tenant_id", "user_id", "archived_at", "last_message_at", "id"),
        Index("ix_conversations_pinned", "user_id", "pinned_at"),
        UniqueConstraint("user_id", "client_id"),
    )


class Message(Base):
    """`parts` is the whole content as a list of typed objects; `content` is its plain text, for search and BI."""

    __tablename__ = "messages"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    parent_id: Mapped[str | None]
    user_id: Mapped[str]
    role: Mapped[str]  # user | assistant | system | tool
    content: Mapped[str] = mapped_column(Text)
    parts: Mapped[list[Any]] = mapped_column(default=list)
    status: Mapped[str]  # complete | streaming | stopped | interrupted | failed
    turn_id: Mapped[str | None]
    agent_id: Mapped[str | None]
    model: Mapped[str | None]
    provider: Mapped[str | None]
    finish_reason: Mapped[str | None]
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    total_tokens: Mapped[int | None]
    cost_nano_usd: Mapped[int | None] = mapped_column(BigInteger)
    ttft_ms: Mapped[int | None]
    latency_ms: Mapped[int | None]
    edited_at: Mapped[datetime | None]
    client_message_id: Mapped[str | None]
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (
        Index("ix_messages_conversation", "conversation_id", "id"),
        Index("ix_messages_parent", "parent_id"),
        UniqueConstraint("conversation_id", "client_message_id"),
    )


class Turn(Base):
    """One question being answered. `owner_host` and `owner_pid` say which process runs it."""

    __tablename__ = "turns"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    message_id: Mapped[str]
    status: Mapped[str]  # running | complete | stopped | interrupted | failed
    owner_host: Mapped[str]
    owner_pid: Mapped[int]
    owner_started: Mapped[str]
    heartbeat_at: Mapped[datetime] = mapped_column(default=utcnow)
    stop_requested_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]
    __table_args__ = (
        Index("ix_turns_conversation", "conversation_id", "status"),
        Index("ix_turns_status", "status", "finished_at"),
    )


class TurnChunk(Base):
    """Words of a running turn, as they were written by the group commit. Kept about a minute after its end."""

    __tablename__ = "turn_chunks"
    turn_id: Mapped[str] = mapped_column(ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    tenant_id: Mapped[str]
    kind: Mapped[str]  # text | reasoning | tool_call | notice
    text: Mapped[str] = mapped_column(Text)


class QueuedMessage(Base):
    """A question sent while another was being answered. It becomes a message when its turn starts."""

    __tablename__ = "queued_messages"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    content: Mapped[str] = mapped_column(Text)
    model: Mapped[str]
    agent_id: Mapped[str | None]
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    attachments: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Attachment(Base):
    """A file that a person attached. Its bytes lie once, by their hash, below the data folder.

    `details`: width and height in pixels, pages, characters, seconds: what was found of it.
    """

    __tablename__ = "attachments"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    sha256: Mapped[str] = mapped_column(index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str]  # image | audio | pdf | text
    media_type: Mapped[str]
    name: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=utcnow, index=True)
    __table_args__ = (Index("ix_attachments_user", "user_id", "created_at"),)


class MessageAttachment(Base):
    """Which messages carry which attachments: who may read a message may read them."""

    __tablename__ = "message_attachments"
    message_id: Mapped[str] = mapped_column(primary_key=True)
    attachment_id: Mapped[str] = mapped_column(ForeignKey("attachments.id"), primary_key=True, index=True)
    tenant_id: Mapped[str]
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    position: Mapped[int] = mapped_column(Integer, default=0)


class Share(Base):
    """Lets others of the tenant read a conversation, all of them or whoever has the link.

    `up_to_message_id`: the branch that ends there and nothing else; NULL for the visible branch as it grows.
    The link's token is derived from the id and the instance's secret key, so it is stored nowhere.
    """

    __tablename__ = "shares"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]  # team | link
    can_reply: Mapped[bool] = mapped_column(Boolean, default=False)
    up_to_message_id: Mapped[str | None]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (Index("ix_shares_tenant", "tenant_id", "kind", "revoked_at"),)


class Prompt(Base):
    """A saved prompt with `{{variables}}`, one's own or the team's."""

    __tablename__ = "prompts"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    text: Mapped[str] = mapped_column(Text)
    is_team: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (Index("ix_prompts_tenant", "tenant_id", "is_team", "user_id"),)


class Rating(Base):
    """One to five stars for a reply. `question` and `reply` are filled only where the person chose to send them.

    No foreign keys but to people: what models were rated outlives the conversations.
    """

    __tablename__ = "ratings"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    conversation_id: Mapped[str]
    message_id: Mapped[str]
    model: Mapped[str]
    agent_id: Mapped[str | None]
    stars: Mapped[int] = mapped_column(Integer)
    comment: Mapped[str] = mapped_column(Text, default="")
    question: Mapped[str | None] = mapped_column(Text)
    reply: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (
        UniqueConstraint("user_id", "message_id"),
        Index("ix_ratings_tenant", "tenant_id", "created_at"),
    )


class SearchEntry(Base):
    """One indexed message. The number is its row in `message_search`, the full-text index of each database's own kind:
    an FTS5 table on SQLite, a table with a tsvector on PostgreSQL. Later messages have higher numbers.
    """

    __tablename__ = "search_entries"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    tenant_id: Mapped[str]
    user_id: Mapped[str]
    conversation_id: Mapped[str] = mapped_column(index=True)
    message_id: Mapped[str] = mapped_column(unique=True)


# As text: SQLite uses a partial index only for the very condition it was made with.
STILL_RUNNING = text("outcome = 'running'")


class UsageMetric(Base):
    """The ledger: one row for each call to a model. No foreign keys: it outlives what it was made for.

    `cost_nano_usd` is NULL where the cost is unknown. `unit_prices` holds the prices as they were, in USD a token.
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
    __table_args__ = (
        Index("ix_usage_metrics_tenant", "tenant_id", "created_at"),
        Index("ix_usage_metrics_user", "user_id", "created_at"),
        Index("ix_usage_metrics_turn", "turn_id"),
        Index("ix_usage_metrics_conversation", "conversation_id"),
        Index("ix_usage_metrics_running", "created_at", sqlite_where=STILL_RUNNING, postgresql_where=STILL_RUNNING),
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


class CachedReply(Base):
    """A reply that an identical request gets again. `key`: a hash over whom it is for and all that was asked."""

    __tablename__ = "cached_replies"
    key: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str]
    model: Mapped[str]
    reply: Mapped[dict[str, Any]]
    size: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime] = mapped_column(index=True)
