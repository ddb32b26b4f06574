"""The SQL of conversations and messages. Functions take a session and work inside the caller's transaction."""

from typing import Any, Final

from sqlalchemy import Select, exists, insert, literal, select, update
from sqlalchemy.orm import Session, aliased

from chatcore.accounts.principal import Principal
from chatcore.conversations.text import preview_from, title_from
from chatcore.conversations.values import (
    Conversation,
    ConversationSummary,
    Message,
    Window,
    conversation_value,
    message_value,
)
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import Message as MessageRow
from chatcore.db.tables import Turn as TurnRow
from chatcore.db.tables import utcnow
from chatcore.errors import NotFound
from chatcore.ids import new_id

_GONE: Final = "This conversation does not exist, or it is not yours."
_COLUMNS: Final = tuple(column for column in MessageRow.__table__.columns)


def owned(principal: Principal) -> Select[ConversationRow]:
    """The conversations that are the principal's: the one place where ownership is written down."""
    return select(ConversationRow).where(
        ConversationRow.tenant_id == principal.tenant_id, ConversationRow.user_id == principal.user_id
    )


def get(session: Session, principal: Principal, conversation_id: str, *, lock: bool = False) -> Conversation:
    """The principal's conversation. `lock`: nobody else starts a turn in it before this transaction ends.

    Raises `NotFound`, the same for absent and for somebody else's.
    """
    statement = owned(principal).where(ConversationRow.id == conversation_id)
    row = session.scalar(statement.with_for_update() if lock else statement)
    if row is None:
        raise NotFound(_GONE)
    return conversation_value(row)


def create(
    session: Session,
    principal: Principal,
    first_message: str,
    *,
    model: str,
    agent_id: str | None,
    settings: dict[str, Any],
) -> Conversation:
    """A new conversation titled by its first message."""
    row = ConversationRow(
        id=new_id("conv"),
        tenant_id=principal.tenant_id,
        user_id=principal.user_id,
        title=title_from(first_message),
        model=model,
        agent_id=agent_id,
        settings=settings,
        last_message_at=utcnow(),
    )
    session.add(row)
    session.flush()
    return conversation_value(row)


def recent(session: Session, principal: Principal, limit: int, offset: int) -> list[ConversationSummary]:
    """Conversations that are not archived, newest activity first, with whether a turn runs in them."""
    running = exists().where(TurnRow.conversation_id == ConversationRow.id, TurnRow.status == "running")
    rows = session.execute(
        owned(principal)
        .with_only_columns(
            ConversationRow.id, ConversationRow.title, ConversationRow.last_message_at, running.label("running")
        )
        .where(ConversationRow.archived_at.is_(None))
        .order_by(ConversationRow.last_message_at.desc(), ConversationRow.id.desc())
        .limit(limit)
        .offset(offset)
    )
    return [ConversationSummary(row.id, row.title, row.last_message_at, bool(row.running)) for row in rows]


def branch(session: Session, conversation_id: str, head_id: str | None, limit: int) -> Window:
    """Up to `limit` messages from `head_id` towards the root, oldest first. Walks parents by primary key."""
    if head_id is None:
        return Window((), earlier=False)
    walk = (
        select(*_COLUMNS, literal(1).label("depth"))
        .where(MessageRow.id == head_id, MessageRow.conversation_id == conversation_id)
        .cte("walk", recursive=True)
    )
    parent = aliased(MessageRow)
    walk = walk.union_all(
        select(*(getattr(parent, column.key if column.key != "metadata" else "meta") for column in _COLUMNS), walk.c.depth + 1)
        .where(parent.id == walk.c.parent_id, parent.conversation_id == conversation_id)
        .where(walk.c.depth <= limit)
    )
    rows = session.execute(
        select(*(column.label("meta") if column.key == "metadata" else column for column in walk.c)).order_by(
            walk.c.depth.desc()
        )
    ).all()
    messages = [message_value(row) for row in rows]
    return Window(tuple(messages[-limit:]), earlier=len(messages) > limit)


def add_message(session: Session, principal: Principal, conversation_id: str, **values: Any) -> str:
    """Write one message and make it the head; returns its id."""
    message_id = str(values.pop("id", None) or new_id("msg"))
    session.execute(
        insert(MessageRow).values(
            id=message_id,
            tenant_id=principal.tenant_id,
            user_id=principal.user_id,
            conversation_id=conversation_id,
            **values,
        )
    )
    return message_id


def advance(session: Session, conversation_id: str, head_id: str, added: int, **values: Any) -> None:
    """Move the head, count what was added, and mark the activity."""
    session.execute(
        update(ConversationRow)
        .where(ConversationRow.id == conversation_id)
        .values(
            head_message_id=head_id,
            message_count=ConversationRow.message_count + added,
            last_message_at=utcnow(),
            updated_at=utcnow(),
            **values,
        )
        .execution_options(synchronize_session=False)
    )


def finish_message(session: Session, conversation_id: str, message_id: str, content: str, **values: Any) -> None:
    """Write a reply's final content and facts, and the conversation's preview of it."""
    session.execute(
        update(MessageRow)
        .where(MessageRow.id == message_id)
        .values(content=content, updated_at=utcnow(), **values)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(ConversationRow)
        .where(ConversationRow.id == conversation_id)
        .values(preview=preview_from(content), last_message_at=utcnow(), updated_at=utcnow())
        .execution_options(synchronize_session=False)
    )


def message(session: Session, principal: Principal, message_id: str) -> tuple[str, Message]:
    """A message of one of the principal's conversations, with the conversation's id. Raises `NotFound`."""
    row = session.scalar(
        select(MessageRow)
        .join(ConversationRow, ConversationRow.id == MessageRow.conversation_id)
        .where(
            MessageRow.id == message_id,
            ConversationRow.tenant_id == principal.tenant_id,
            ConversationRow.user_id == principal.user_id,
        )
    )
    if row is None:
        raise NotFound("This message does not exist, or it is not yours.")
    return row.conversation_id, message_value(row)


