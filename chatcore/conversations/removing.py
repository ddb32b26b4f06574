"""Taking the words out of messages that stay: the tree, the models and the costs remain, what was said does not."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session

from chatcore.conversations import indexing, store
from chatcore.db.tables import Conversation, Message, MessageAttachment, Rating, utcnow

MARK: Final = "removed"
"""What stands in the metadata of a message whose words were removed."""
_KEPT: Final = ("trace_id", "session_id", "step_id", "usage_source", "picked", "compare", "imported", "cached", "asked")
_message: Final = Message.__table__.c
_BLANK: Final = (
    update(Message.__table__)  # type: ignore[arg-type]
    .where(_message.id == bindparam("of"))
    .values(content=bindparam("said"), parts=[], metadata=bindparam("meta"), updated_at=bindparam("now"))
)


def removable() -> Any:
    """The condition of messages that have words and are not being written."""
    return Message.meta[MARK].as_string().is_(None) & (Message.status != "streaming")


def rows(session: Session, ids: Sequence[str]) -> list[Any]:
    """What `remove` needs of these messages, as they are now; those that have no words any more are left out."""
    wanted = (Message.id, Message.conversation_id, Message.parent_id, Message.content, Message.meta, Message.created_at)
    locked = select(*wanted).where(Message.id.in_(ids), removable()).order_by(Message.id)
    return list(session.execute(locked.with_for_update(of=Message)))


def remove(session: Session, found: Sequence[Any], said: str, why: Mapping[str, Any]) -> int:
    """Put `said` in the place of what the messages say, their parts and attachments; returns how many there were.

    `found`: messages as `rows` returns them. `why`: kept in their metadata. What was made of the words goes too: their
    part of the search, copies that were sent with a rating, summaries, titles and previews.
    """
    ids = [row.id for row in found]
    for row in found:
        indexing.reindex(session, row.conversation_id, row.id, row.content, "")
    now = utcnow()
    values = [{"of": row.id, "said": said, "now": now, "meta": {**_facts(row.meta), MARK: dict(why)}} for row in found]
    if values:
        session.execute(_BLANK, values)
    copies = update(Rating).where(Rating.message_id.in_(ids)).values(question=None, reply=None)
    answered = update(Rating).where(Rating.message_id.in_(select(Message.id).where(Message.parent_id.in_(ids))))
    for statement in (
        delete(MessageAttachment).where(MessageAttachment.message_id.in_(ids)),
        copies,
        answered.values(question=None, reply=None),
    ):
        session.execute(statement.execution_options(synchronize_session=False))
    _conversations(session, ids, sorted({row.conversation_id for row in found}), said)
    for row in found:
        if row.parent_id is None:
            _retitle(session, row.conversation_id, f"Chat of {row.created_at:%-d %B %Y}")
    return len(ids)


def _facts(meta: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (meta or {}).items() if name in _KEPT}


def _conversations(session: Session, ids: Sequence[str], conversation_ids: Sequence[str], said: str) -> None:
    """What conversations tell of these messages: in a summary, and in the preview of the last one."""
    these = Conversation.id.in_(conversation_ids)
    for statement in (
        update(Conversation).where(these, Conversation.summary.is_not(None)).values(summary=None),
        update(Conversation).where(these, Conversation.head_message_id.in_(ids)).values(preview=said),
    ):
        session.execute(statement.execution_options(synchronize_session=False))


def _retitle(session: Session, conversation_id: str, title: str) -> None:
    """A title that was made of the first message's words goes with them; one that a person chose stays."""
    source = select(Conversation.title_source).where(Conversation.id == conversation_id)
    if session.scalar(source) in ("first", "model"):
        store.set_title(session, conversation_id, title, "removed")
