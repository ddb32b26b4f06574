"""Conversations, their messages and turns, and what belongs to them."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from chatcore.db.tables.base import Base, utcnow


class Agent(Base):
    """A system prompt, a model, parameters and tools under a name. `slug` is unique in its tenant and stands in links.

    `tools`: objects with `name` and `asks_first`. `knowledge`: ids of knowledge bases. `visibility`: own | people |
    team; `shared_with`: ids of the people, where it is theirs. `version`: the number of its newest `AgentVersion`.
    `picture`: a small PNG.
    """

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
    knowledge: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    visibility: Mapped[str] = mapped_column(default="team", server_default="team")
    shared_with: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    picture: Mapped[bytes | None] = mapped_column(LargeBinary)
    version: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    built_in: Mapped[bool] = mapped_column(Boolean, default=False)
    position: Mapped[int] = mapped_column(Integer, default=0)
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (UniqueConstraint("tenant_id", "slug"),)


class AgentVersion(Base):
    """An agent as it was from a change on. `content`: the columns that a person writes."""

    __tablename__ = "agent_versions"
    agent_id: Mapped[str] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    content: Mapped[dict[str, Any]] = mapped_column(default=dict)
    note: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Conversation(Base):
    """A tree of messages with one head: the branch from the root to the head is what is read and continued.

    `title_words`: the title as `words.normal` spells it, for the search. `expires_at`: set on a temporary chat, which
    is erased then. `client_id`: the id a program or an import knows it by. `workshop_session_id`, `step_id`: semantic
    ids of the workshop's session and step that it belongs to, in no table. `deleted_at`: it has expired then, and is
    erased later than others that have, so that it can be brought back.
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
    workshop_session_id: Mapped[str | None]
    step_id: Mapped[str | None]
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
    deleted_at: Mapped[datetime | None]
    is_demo: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (
        Index("ix_conversations_recent", "tenant_id", "user_id", "archived_at", "last_message_at", "id"),
        Index("ix_conversations_pinned", "user_id", "pinned_at"),
        Index("ix_conversations_created", "tenant_id", "created_at"),
        UniqueConstraint("user_id", "client_id"),
        Index("ix_conversations_step", "user_id", "workshop_session_id", "step_id", unique=True),
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
        Index("ix_messages_created", "tenant_id", "created_at"),
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
    kind: Mapped[str]  # text | reasoning | tool_call | tool_result
    text: Mapped[str] = mapped_column(Text)


class ToolDecision(Base):
    """What a person said to a call of a tool that asks first. The first word counts."""

    __tablename__ = "tool_decisions"
    turn_id: Mapped[str] = mapped_column(ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True)
    call_id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    approved: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


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
