"""Erasing conversations for good, with all that is in them. The ledger keeps its rows: what was paid was paid."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import bindparam, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from chatcore.conversations import indexing
from chatcore.conversations.attachments import store as attachments
from chatcore.db import Database
from chatcore.db.tables import Conversation, Message, Rating, SearchEntry, Turn, utcnow
from chatcore.errors import DatabaseError

log = logging.getLogger(__name__)

_AT_ONCE: Final = 5  # conversations in one transaction
_MESSAGES_AT_ONCE: Final = 200
_EXPIRED: Final = 50
KEPT: Final = timedelta(days=30)
"""How long what was deleted can be brought back."""
_ENTRIES: Final = (
    select(SearchEntry.id, SearchEntry.user_id, func.substr(Message.content, 1, indexing.MAX_INDEXED).label("content"))
    .join(Message, Message.id == SearchEntry.message_id)
    .where(SearchEntry.conversation_id == bindparam("conversation"))
    .limit(_MESSAGES_AT_ONCE)
)


def erase(session: Session, ids: Sequence[str]) -> None:
    """Take conversations away with their messages, turns, words on the way, queue, shares, links to attachments, and
    their part of the search index. Whose they are, and that nothing runs in them, is the caller's to know.
    """
    attachments.forget(session, ids)
    # The stars are the model's; the words that were sent with them go with the conversation.
    words = update(Rating).where(Rating.conversation_id.in_(ids)).values(question=None, reply=None)
    session.execute(words.execution_options(synchronize_session=False))
    for conversation_id in ids:
        indexing.forget(session, conversation_id)
        # The rest hangs on the conversation: its foreign keys cascade.
        session.execute(
            delete(Conversation).where(Conversation.id == conversation_id).execution_options(synchronize_session=False)
        )


def condemn(session: Session, ids: Sequence[str], deleted_at: datetime | None = None) -> None:
    """Nobody finds these conversations any more, no import either. What `erase_in_steps` does not come to is erased as
    expired; with `deleted_at`, `KEPT` after it.
    """
    nameless: dict[str, Any] = {"client_id": None, "workshop_session_id": None, "step_id": None}
    over = (
        update(Conversation)
        .where(Conversation.id.in_(ids))
        .values(expires_at=utcnow(), deleted_at=deleted_at, **nameless)
    )
    session.execute(over.execution_options(synchronize_session=False))


def erase_in_steps(db: Database, ids: Sequence[str]) -> None:
    """`erase` condemned conversations in small transactions. Raises nothing: what is left over has expired."""
    try:
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            if db.is_sqlite:
                for conversation_id in some:
                    _take_out_words(db, conversation_id)
            db.write(lambda session, some=some: erase(session, some))  # type: ignore[misc]
    except DatabaseError:
        log.warning("the database was away while conversations were erased; the rest follows", exc_info=True)


def _take_out_words(db: Database, conversation_id: str) -> None:
    """Take a condemned conversation out of SQLite's index; the words are spelled outside the transactions."""
    while rows := db.read(lambda session: session.execute(_ENTRIES, {"conversation": conversation_id}).all()):
        spelled = {row.id: indexing.indexed(True, row.id, row.user_id, indexing.spelled(row.content)) for row in rows}
        db.write(partial(_take_out, conversation_id, spelled))


def _take_out(conversation_id: str, spelled: Mapping[int, Mapping[str, Any]], session: Session) -> None:
    still = (SearchEntry.id.in_(spelled), SearchEntry.conversation_id == conversation_id)
    there = session.scalars(select(SearchEntry.id).where(*still)).all()
    if there:
        session.execute(indexing.FORGET_ROW[True], [spelled[one] for one in there])
        gone = delete(SearchEntry).where(SearchEntry.id.in_(there))
        session.execute(gone.execution_options(synchronize_session=False))


def expired(session: Session) -> list[str]:
    """The ids of some temporary chats whose time is over, without those in which a reply is being written."""
    running = exists().where(Turn.conversation_id == Conversation.id, Turn.status == "running")
    is_over = or_(Conversation.deleted_at.is_(None), Conversation.deleted_at <= utcnow() - KEPT)
    query = select(Conversation.id).where(Conversation.expires_at <= utcnow(), is_over, ~running)
    return list(
        session.scalars(query.order_by(Conversation.expires_at).limit(_EXPIRED).with_for_update(skip_locked=True))
    )
