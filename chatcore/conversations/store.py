"""The SQL of conversations and messages. Functions take a session and work inside the caller's transaction."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Select, bindparam, exists, insert, literal, or_, select, update
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.conversations import indexing, words
from chatcore.conversations.access import ALLOWED, OWNED, scope
from chatcore.conversations.text import preview_from, title_from
from chatcore.conversations.values import (
    Conversation,
    ConversationSummary,
    Message,
    Need,
    Window,
    conversation_value,
    message_value,
)
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import Message as MessageRow
from chatcore.db.tables import Turn as TurnRow
from chatcore.db.tables import User as UserRow
from chatcore.db.tables import utcnow
from chatcore.errors import NotFound
from chatcore.ids import new_id

MAX_PINNED: Final = 50  # that are shown
_GONE: Final = "This conversation does not exist, or it is not yours."


# Statements are built once: building one costs more than running it, and pages run these for every click.
_ONE: Final = {
    need: select(*ConversationRow.__table__.columns).where(allowed, ConversationRow.id == bindparam("id"))
    for need, allowed in ALLOWED.items()
}
_ONE_LOCKED: Final = {need: statement.with_for_update(of=ConversationRow) for need, statement in _ONE.items()}
_RUNNING: Final = exists().where(TurnRow.conversation_id == ConversationRow.id, TurnRow.status == "running")
_LISTED: Final = select(
    ConversationRow.id,
    ConversationRow.title,
    ConversationRow.last_message_at,
    ConversationRow.pinned_at,
    _RUNNING.label("running"),
).where(OWNED, ConversationRow.archived_at.is_(None), ConversationRow.expires_at.is_(None))
_PINNED: Final = (
    _LISTED.where(ConversationRow.pinned_at.is_not(None))
    .order_by(ConversationRow.last_message_at.desc(), ConversationRow.id.desc())
    .limit(MAX_PINNED)
)
_RECENT: Final = (
    _LISTED.where(ConversationRow.pinned_at.is_(None))
    .order_by(ConversationRow.last_message_at.desc(), ConversationRow.id.desc())
    .limit(bindparam("limit"))
    .offset(bindparam("offset"))
)
_MESSAGES: Final = select(
    *(column.label("meta") if column.key == "metadata" else column for column in MessageRow.__table__.columns)
)
_MESSAGE: Final = {
    need: _MESSAGES.join(ConversationRow, ConversationRow.id == MessageRow.conversation_id).where(
        allowed, MessageRow.id == bindparam("id")
    )
    for need, allowed in ALLOWED.items()
}


_CONTENT: Final = select(MessageRow.content).where(MessageRow.id == bindparam("id"))
_INSERT_MESSAGE: Final = insert(MessageRow.__table__)  # type: ignore[arg-type]
# What they set is named by the keys of their parameters.
_UPDATE_MESSAGE: Final = update(MessageRow.__table__).where(MessageRow.__table__.c.id == bindparam("of"))  # type: ignore[arg-type]
_UPDATE_CONVERSATION: Final = update(ConversationRow.__table__).where(  # type: ignore[arg-type]
    ConversationRow.__table__.c.id == bindparam("of")
)
_INSERT_CONVERSATION: Final = insert(ConversationRow.__table__)  # type: ignore[arg-type]


def _branch_statement() -> Select[Any]:
    """From a head towards the root, parent by parent, one message more than the limit."""
    columns = [*MessageRow.__table__.columns]
    walk = (
        select(*columns, literal(1).label("depth"))
        .where(MessageRow.id == bindparam("head"), MessageRow.conversation_id == bindparam("conversation"))
        .cte("walk", recursive=True)
    )
    parent = MessageRow.__table__.alias("parent")
    walk = walk.union_all(
        select(*(parent.c[column.key] for column in columns), walk.c.depth + 1)
        .where(parent.c.id == walk.c.parent_id, parent.c.conversation_id == bindparam("conversation"))
        .where(walk.c.depth <= bindparam("limit"))
    )
    named = (column.label("meta") if column.key == "metadata" else column for column in walk.c)
    return select(*named).order_by(walk.c.depth.desc())


_BRANCH: Final = _branch_statement()


def get(
    session: Session, principal: Principal, conversation_id: str, need: Need = "own", *, lock: bool = False
) -> Conversation:
    """A conversation that the principal may have as `need` says. `lock`: nobody else starts a turn in it before this
    transaction ends.

    Raises `NotFound`, the same for absent and for somebody else's.
    """
    statements = _ONE_LOCKED if lock else _ONE
    row = session.execute(statements[need], scope(principal) | {"id": conversation_id}).one_or_none()
    if row is None:
        raise NotFound(_GONE)
    return conversation_value(row)


def create(
    session: Session,
    principal: Principal,
    first_message: str,
    *,
    model: str | None,
    agent_id: str | None,
    settings: dict[str, Any],
    **values: Any,
) -> Conversation:
    """A new conversation titled by its first message. `values`: more of its columns."""
    title = title_from(first_message)
    row = {
        "id": new_id("conv"),
        "tenant_id": principal.tenant_id,
        "user_id": principal.user_id,
        "title": title,
        "title_words": words.normal(title),
        "agent_id": agent_id,
        "model": model,
        "settings": settings,
        **values,
    }
    session.execute(_INSERT_CONVERSATION, row)
    return get(session, principal, row["id"])


def people(session: Session, conversation: Conversation) -> dict[str, str]:
    """The names of a conversation's owner and of those who asked in it, by user id."""
    asked = select(MessageRow.user_id).where(MessageRow.conversation_id == conversation.id, MessageRow.role == "user")
    wanted = or_(UserRow.id == conversation.user_id, UserRow.id.in_(asked))
    return {row.id: row.name for row in session.execute(select(UserRow.id, UserRow.name).where(wanted))}


def head(session: Session, principal: Principal, conversation_id: str) -> str | None:
    """The head of the principal's conversation, None where there is none."""
    row = session.execute(_ONE["reply"], scope(principal) | {"id": conversation_id}).one_or_none()
    return row.head_message_id if row else None


def recent(session: Session, principal: Principal, limit: int, offset: int) -> list[ConversationSummary]:
    """Conversations that are neither archived nor pinned, newest activity first, with whether a turn runs in them."""
    rows = session.execute(_RECENT, scope(principal) | {"limit": limit, "offset": offset})
    return [_summary(row) for row in rows]


def pinned(session: Session, principal: Principal) -> list[ConversationSummary]:
    """Conversations that are pinned and not archived, newest activity first."""
    return [_summary(row) for row in session.execute(_PINNED, scope(principal))]


def _summary(row: Any) -> ConversationSummary:
    return ConversationSummary(row.id, row.title, row.last_message_at, bool(row.running), row.pinned_at is not None)


def branch(session: Session, conversation_id: str, head_id: str | None, limit: int) -> Window:
    """Up to `limit` messages from `head_id` towards the root, oldest first. Walks parents by primary key."""
    if head_id is None:
        return Window((), earlier=False)
    rows = session.execute(_BRANCH, {"head": head_id, "conversation": conversation_id, "limit": limit}).all()
    messages = [message_value(row) for row in rows]
    return Window(tuple(messages[-limit:]), earlier=len(messages) > limit)


def add_message(session: Session, principal: Principal, conversation_id: str, **values: Any) -> str:
    """Write one message and make it the head; returns its id."""
    message_id = str(values.pop("id", None) or new_id("msg"))
    whose = {"tenant_id": principal.tenant_id, "user_id": principal.user_id, "conversation_id": conversation_id}
    values["metadata"] = values.pop("meta", {})
    session.execute(_INSERT_MESSAGE, {"id": message_id, **whose, **values})
    if values["content"]:
        indexing.index(session, conversation_id, message_id, values["content"])
    return message_id


def advance(session: Session, conversation_id: str, head_id: str, added: int, **values: Any) -> None:
    """Move the head, count what was added, and mark the activity."""
    count = ConversationRow.message_count + added
    change(session, conversation_id, head_message_id=head_id, message_count=count, last_message_at=utcnow(), **values)


def change(session: Session, conversation_id: str, **values: Any) -> None:
    """Set columns of a conversation."""
    session.execute(
        update(ConversationRow)
        .where(ConversationRow.id == conversation_id)
        .values(updated_at=utcnow(), **values)
        .execution_options(synchronize_session=False)
    )


def set_title(session: Session, conversation_id: str, title: str, source: str) -> None:
    """Give it a title, and say whose it is: `first` (the first message's), `model` or `person`."""
    change(session, conversation_id, title=title, title_words=words.normal(title), title_source=source)


def set_head(session: Session, conversation_id: str, head_id: str) -> None:
    """Show another branch. No activity: the place in the lists stays."""
    change(session, conversation_id, head_message_id=head_id)


def set_meta(session: Session, message_id: str, meta: Mapping[str, Any]) -> None:
    """Replace a message's metadata."""
    session.execute(_UPDATE_MESSAGE, {"of": message_id, "metadata": dict(meta)})


def finish_message(session: Session, conversation_id: str, message_id: str, content: str, **values: Any) -> None:
    """Write a reply's final content and facts, and the conversation's preview of it."""
    now = utcnow()
    if "meta" in values:
        values["metadata"] = values.pop("meta")
    before = session.scalar(_CONTENT, {"id": message_id}) or ""  # of a turn that another process took for dead
    session.execute(_UPDATE_MESSAGE, {"of": message_id, "content": content, "updated_at": now, **values})
    activity = {"preview": preview_from(content), "last_message_at": now, "updated_at": now}
    session.execute(_UPDATE_CONVERSATION, {"of": conversation_id, **activity})
    indexing.reindex(session, conversation_id, message_id, before, content)


def message(session: Session, principal: Principal, message_id: str, need: Need = "own") -> tuple[str, Message]:
    """A message of a conversation that the principal may have as `need` says, with the conversation's id.

    Raises `NotFound`.
    """
    row = session.execute(_MESSAGE[need], scope(principal) | {"id": message_id}).one_or_none()
    if row is None:
        raise NotFound("This message does not exist, or it is not yours.")
    return row.conversation_id, message_value(row)


def messages(session: Session, conversation_id: str, message_ids: Sequence[str]) -> dict[str, Message]:
    """Messages of a conversation by id."""
    wanted = (MessageRow.conversation_id == conversation_id, MessageRow.id.in_(message_ids))
    return {row.id: message_value(row) for row in session.execute(_MESSAGES.where(*wanted))}
