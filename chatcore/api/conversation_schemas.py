"""Conversations and messages as the API shows them. Times are UTC in ISO 8601, money is dollars as a decimal string."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from chatcore.api.schemas import Answer, Schema
from chatcore.conversations import Conversation, Message
from chatcore.conversations.history import FOLDER_LENGTH, HistoryRow
from chatcore.conversations.ratings import Rating
from chatcore.conversations.text import TITLE_LENGTH


class ConversationRow(Answer):
    """A line of the list. `preview`: of the last reply. `running`: a reply is being written."""

    id: str
    title: str
    preview: str
    message_count: int
    last_message_at: str
    model: str | None
    agent_id: str | None
    folder: str | None
    pinned: bool
    archived: bool
    shared: bool
    running: bool


class ConversationPage(Answer):
    """Some conversations, the newest activity first. `nextCursor`: null at the end."""

    conversations: list[ConversationRow]
    next_cursor: str | None


class MessageAnswer(Answer):
    """A message. `parentId`: what it follows. Tokens, cost and times are null for questions, and where nobody knows.

    `parts`: its structured content (reasoning, tool calls, charts, ...); `content`: its plain text.
    """

    id: str
    parent_id: str | None
    role: Literal["user", "assistant", "system", "tool"]
    content: str
    parts: list[dict[str, Any]]
    status: Literal["complete", "streaming", "stopped", "interrupted", "failed"]
    created_at: str
    edited: bool
    model: str | None
    provider: str | None
    agent_id: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    cost_usd: str | None
    ttft_ms: int | None
    latency_ms: int | None
    trace_id: str | None
    rating: int | None = Field(description="My own, 1 to 5 stars.")


class ConversationAnswer(Answer):
    """A conversation without its messages."""

    id: str
    title: str
    model: str | None
    agent_id: str | None
    message_count: int
    last_message_at: str
    folder: str | None
    pinned: bool
    archived: bool
    parent_conversation_id: str | None


class MessagePage(Answer):
    """A conversation, and messages of its visible branch, the newest first. `nextCursor`: null at its beginning."""

    conversation: ConversationAnswer
    messages: list[MessageAnswer]
    next_cursor: str | None


class BranchPage(Answer):
    """Messages of a branch, the newest first. `nextMessageId`: the one before them, null at the beginning."""

    messages: list[MessageAnswer]
    next_message_id: str | None


_Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_LENGTH)]
_Folder = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=FOLDER_LENGTH)]


class ConversationChange(Schema):
    """What is to be changed; what is not given stays. `folder`: null takes it out of its folder."""

    title: _Title | None = None
    folder: _Folder | None = None
    pinned: bool | None = None


def row(found: HistoryRow) -> ConversationRow:
    """A line of the list."""
    return ConversationRow(
        id=found.id, title=found.title, preview=found.preview, message_count=found.message_count,
        last_message_at=stamp(found.last_message_at), model=found.model, agent_id=found.agent_id, folder=found.folder,
        pinned=found.pinned, archived=found.archived, shared=found.shared, running=found.running,
    )  # fmt: skip


def conversation(found: Conversation) -> ConversationAnswer:
    """A conversation."""
    return ConversationAnswer(
        id=found.id, title=found.title, model=found.model, agent_id=found.agent_id, message_count=found.message_count,
        last_message_at=stamp(found.last_message_at), folder=found.folder, pinned=found.pinned_at is not None,
        archived=found.archived_at is not None, parent_conversation_id=found.parent_conversation_id,
    )  # fmt: skip


def message(found: Message, mine: Rating | None) -> MessageAnswer:
    """A message, with my rating of it."""
    tokens = (found.prompt_tokens, found.completion_tokens)
    return MessageAnswer(
        id=found.id, parent_id=found.parent_id, role=found.role, content=found.content,
        parts=[dict(part) for part in found.parts], status=found.status,
        created_at=stamp(found.created_at), edited=found.edited_at is not None, model=found.model,
        provider=found.provider, agent_id=found.agent_id, finish_reason=found.finish_reason,
        prompt_tokens=found.prompt_tokens, completion_tokens=found.completion_tokens,
        total_tokens=None if None in tokens else sum(one or 0 for one in tokens), cost_usd=dollars(found.cost_nano_usd),
        ttft_ms=found.ttft_ms, latency_ms=found.latency_ms, trace_id=found.meta.get("trace_id"),
        rating=mine.stars if mine else None,
    )  # fmt: skip


def messages(found: Sequence[Message], mine: dict[str, Rating]) -> list[MessageAnswer]:
    """Messages, the newest first."""
    return [message(one, mine.get(one.id)) for one in reversed(found)]


def stamp(moment: datetime) -> str:
    """A time in UTC, as `2026-01-05T09:30:00.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def dollars(nano: int | None) -> str | None:
    """Nano-dollars as dollars, exactly."""
    return None if nano is None else f"{Decimal(nano).scaleb(-9):f}"
