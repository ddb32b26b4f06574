"""Erasing conversations for good, with all that is in them. The ledger keeps its rows: what was paid was paid."""

from collections.abc import Sequence

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from chatcore.conversations.attachments import store as attachments
from chatcore.conversations.indexing import forget
from chatcore.db.tables import Conversation, Turn, utcnow


def erase(session: Session, ids: Sequence[str]) -> None:
    """Take conversations away with their messages, turns, words on the way, queue, shares, links to attachments, and
    their part of the search index. Whose they are, and that nothing runs in them, is the caller's to know.
    """
    attachments.forget(session, ids)
    for conversation_id in ids:
        forget(session, conversation_id)
        # The rest hangs on the conversation: its foreign keys cascade.
        session.execute(
            delete(Conversation).where(Conversation.id == conversation_id).execution_options(synchronize_session=False)
        )


def expired(session: Session) -> list[str]:
    """The ids of temporary chats whose time is over, without those in which a reply is being written."""
    running = exists().where(Turn.conversation_id == Conversation.id, Turn.status == "running")
    query = select(Conversation.id).where(Conversation.expires_at <= utcnow(), ~running)
    return list(session.scalars(query.order_by(Conversation.expires_at).limit(500).with_for_update(skip_locked=True)))
