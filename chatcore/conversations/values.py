"""What the conversations package hands out: frozen values, no rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Need = Literal["own", "reply"]
"""What one wants of a conversation: all of it as its owner, or to read and go on with one the team may reply in."""


@dataclass(frozen=True)
class Message:
    """One message. `parts` is empty where the message is just its `content`. Times are milliseconds.

    `edited_at`: set where the message is a changed version of another one, its older sibling.
    """

    id: str
    parent_id: str | None
    role: str
    content: str
    status: str
    created_at: datetime
    user_id: str = ""
    edited_at: datetime | None = None
    parts: tuple[Mapping[str, Any], ...] = ()
    turn_id: str | None = None
    agent_id: str | None = None
    model: str | None = None
    provider: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_nano_usd: int | None = None
    ttft_ms: int | None = None
    latency_ms: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Conversation:
    """One conversation. `settings` holds the temperature and max tokens that its person chose.

    `user_id`: whose it is. `expires_at`: set on a temporary chat. `summary`: None without one, else its
    `text`, the message it reaches `up_to`, and the model, cost and time of it; `edited` where a person changed it.
    `workshop_session_id`, `step_id`: of the workshop's step that it belongs to.
    """

    id: str
    title: str
    agent_id: str | None
    model: str | None
    head_message_id: str | None
    message_count: int
    last_message_at: datetime
    settings: Mapping[str, Any] = field(default_factory=dict)
    user_id: str = ""
    folder: str | None = None
    archived_at: datetime | None = None
    pinned_at: datetime | None = None
    expires_at: datetime | None = None
    parent_conversation_id: str | None = None
    summary: Mapping[str, Any] | None = None
    workshop_session_id: str | None = None
    step_id: str | None = None


@dataclass(frozen=True)
class ConversationSummary:
    """A line of the list of recent conversations. `running`: a turn is being answered in it."""

    id: str
    title: str
    last_message_at: datetime
    running: bool
    pinned: bool = False


@dataclass(frozen=True)
class Window:
    """Messages of the branch that ends at the head, oldest first: the newest ones, or those around one of them.

    `earlier`, `later`: whether there are more. `siblings`: for each message that has any, the ids of all children of
    its parent, oldest first, itself among them. `branches_below`: the head has children, so the conversation goes on
    below what is shown.
    """

    messages: tuple[Message, ...]
    earlier: bool
    later: bool = False
    siblings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    branches_below: bool = False


def message_value(row: Any) -> Message:
    """The value of a `messages` row."""
    return Message(
        id=row.id,
        parent_id=row.parent_id,
        role=row.role,
        content=row.content,
        status=row.status,
        created_at=row.created_at,
        user_id=row.user_id,
        edited_at=row.edited_at,
        parts=tuple(row.parts or ()),
        turn_id=row.turn_id,
        agent_id=row.agent_id,
        model=row.model,
        provider=row.provider,
        finish_reason=row.finish_reason,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cost_nano_usd=row.cost_nano_usd,
        ttft_ms=row.ttft_ms,
        latency_ms=row.latency_ms,
        meta=row.meta or {},
    )


def conversation_value(row: Any) -> Conversation:
    """The value of a `conversations` row."""
    return Conversation(
        id=row.id,
        title=row.title,
        agent_id=row.agent_id,
        model=row.model,
        head_message_id=row.head_message_id,
        message_count=row.message_count,
        last_message_at=row.last_message_at,
        settings=row.settings or {},
        user_id=row.user_id,
        folder=row.folder,
        archived_at=row.archived_at,
        pinned_at=row.pinned_at,
        expires_at=row.expires_at,
        parent_conversation_id=row.parent_conversation_id,
        summary=row.summary,
        workshop_session_id=row.workshop_session_id,
        step_id=row.step_id,
    )
